"""Responses and exception handlers for Starlette and FastAPI."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..errors import QRBackendsError
from .encoding import encode
from .problems import Problem, problem_log, problem_of

SLICE: Final = 2**16
"""Bytes that are sent at once: what a server holds for a reader that accepts nothing."""


def slices(piece: bytes) -> Iterator[bytes]:
    """Yield bytes in parts of at most `SLICE`; where they are no more, they are not copied."""
    if len(piece) <= SLICE:
        yield piece
        return
    for at in range(0, len(piece), SLICE):
        yield piece[at : at + SLICE]


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


class SlicedResponse(Response):
    """A response with a body of several pieces, however large, which are shared and sent slice by slice.

    So no visitor has a copy of it, and a visitor who takes nothing holds up one slice.
    """

    def __init__(self, pieces: Sequence[bytes], status: int, headers: Mapping[str, str]) -> None:
        super().__init__(None, status, {**headers, "Content-Length": str(sum(map(len, pieces)))})
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in self._pieces:
            for part in slices(piece):
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _problem(_: Request, error: Exception) -> Response:
    if not isinstance(error, QRBackendsError):
        raise error
    found = problem_of(error)
    problem_log.add(error, found.log_level)  # the answer has no details
    return ProblemResponse(found)


exception_handlers: dict[Any, Any] = {QRBackendsError: _problem}
"""Answers a `QRBackendsError` with problem details.

For `FastAPI(exception_handlers=…)` and `Starlette(exception_handlers=…)`.
"""
