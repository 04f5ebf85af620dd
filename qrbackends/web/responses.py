"""Responses and exception handlers for Starlette and FastAPI."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..errors import QRBackendsError
from .encoding import encode
from .problems import Problem, problem_log, problem_of


class MsgspecResponse(Response):
    """A JSON response for any of this package's documents, or any value that `msgspec` can encode.

    Units are those of the wire. Configurations and properties are encoded once, however often they are sent.
    """

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return encode(content)


class ProblemResponse(Response):
    """A response with problem details (RFC 9457)."""

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(encode(problem), problem.status, {**problem.headers, **(headers or {})})


async def _problem(_: Request, error: Exception) -> Response:
    if not isinstance(error, QRBackendsError):
        raise error
    found = problem_of(error)
    if found.status >= 500:  # the answer has no details; the log has them
        problem_log.add(error)
    return ProblemResponse(found)


exception_handlers: dict[Any, Any] = {QRBackendsError: _problem}
"""Answers a `QRBackendsError` with problem details.

For `FastAPI(exception_handlers=…)` and `Starlette(exception_handlers=…)`.
"""
