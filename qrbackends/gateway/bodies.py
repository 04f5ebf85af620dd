"""The bodies of requests, which have to come in time: small ones as a whole, uploads as streams."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from aiohttp import web

from ..surface.wire import Errors, Refused

_LARGEST: Final = 64 * 2**10  # bytes of a request to IAM or Global Search
_SLOWEST: Final = 10.0  # seconds for such a body to come
_SILENCE: Final = 30.0  # seconds in which the next bytes of an upload have to come, and to be taken


async def small_body(request: web.BaseRequest, errors: Errors) -> bytes:
    """Return the body of a small request.

    Raises:
        Refused: it is too large, or comes too slowly.
    """
    body = bytearray()
    if (request.content_length or 0) > _LARGEST:
        raise _too_large(errors)
    with suppress(TimeoutError):
        async with asyncio.timeout(_SLOWEST):
            async for chunk in _chunks(request):
                body += chunk
                if len(body) > _LARGEST:
                    raise _too_large(errors)
            return bytes(body)
    raise too_late(errors)


class Upload:
    """The body of a request of any size, which is read while it is sent on.

    Args:
        request: the request.
        answer: seconds in which the head of the answer has to come after the body.

    Attributes:
        is_awaited: whether the caller's next bytes are waited for, and not whoever takes them.
    """

    def __init__(self, request: web.BaseRequest, answer: float) -> None:
        self._request = request
        self._answer = answer
        self._limit: asyncio.Timeout | None = None
        self.is_awaited = False

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Raise `TimeoutError` if the next part of the body comes, or is taken, too late inside."""
        async with asyncio.timeout(None) as self._limit:
            try:
                yield
            finally:
                self._limit = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body."""
        self._wait(_SILENCE, caller=True)
        async for chunk in _chunks(self._request):
            self._wait(_SILENCE, caller=False)
            yield chunk
            self._wait(_SILENCE, caller=True)
        self._wait(self._answer, caller=False)

    def _wait(self, seconds: float, *, caller: bool) -> None:
        self.is_awaited = caller
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + seconds)


def too_late(errors: Errors) -> Refused:
    """Return the answer to a request whose body does not come."""
    return errors.refuse(408, "The body did not come in time.", headers={"Connection": "close"})


def _too_large(errors: Errors) -> Refused:
    return errors.refuse(413, "The body is too large.", headers={"Connection": "close"})


async def _chunks(request: web.BaseRequest) -> AsyncIterator[bytes]:
    expects = request.headers.get("Expect", "").lower() == "100-continue"
    if expects and not isinstance(request, web.Request) and request.transport is not None:  # else aiohttp did
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    async for chunk in request.content.iter_any():
        yield chunk
