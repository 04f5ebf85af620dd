"""The whole body of a request that has to be small and to come in time."""

from http import HTTPStatus

import anyio
from starlette.requests import ClientDisconnect, Request

from .problems import problem
from .responses import ProblemResponse

BODY_TIME = 10.0  # seconds in which a body has to be complete


class BodyRefused(Exception):
    """A body that is too long, late or cut off.

    Attributes:
        response: the answer to its request.
    """

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.response = ProblemResponse(problem(status, detail))


async def read_body(request: Request, most: int) -> bytes:
    """Return the body of a request.

    Args:
        request: the request, of whose body nothing was read.
        most: the most bytes that it may have.

    Raises:
        BodyRefused: it has more bytes, does not come in time, or is cut off.
    """
    body = b""
    try:
        with anyio.fail_after(BODY_TIME):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise BodyRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too long.")
    except TimeoutError:
        raise BodyRefused(HTTPStatus.REQUEST_TIMEOUT, "The body did not come in time.") from None
    except ClientDisconnect:
        raise BodyRefused(HTTPStatus.BAD_REQUEST, "The body was cut off.") from None
    return body
