"""One reader's stream of a hub's events, ended when the reader does not accept a piece in time."""

import asyncio
from contextlib import aclosing
from math import inf
from types import TracebackType
from typing import Final, Self

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..tasks.flight import stopped
from .events import Hub
from .responses import slices

TRANSPORT: Final = "qrbackends.transport"
"""The key of a request's scope under which its connection is, if the server exposes it."""


class EventStream(Response):
    """A response that streams a hub's events to one reader.

    Args:
        hub: the hub.
        last_id: the last event that the reader has, or None.
        brief: whether only the fact that there are changes is told, not what they are.
    """

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, last_id: str | None = None, *, brief: bool = False) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._hub = hub
        self._last_id = last_id
        self._brief = brief

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the reader leaves, the server shuts down, or the reader takes too long."""
        hub = self._hub
        hub.readers += 1
        left = asyncio.create_task(_until_left(receive))
        try:
            with _Patience(hub.pace.patience) as patience:
                left.add_done_callback(patience.leave)
                await self._send(send, patience, head=scope["method"] == "HEAD")
            if patience.is_over:
                hub.dropped += 1
                if not _aborted(scope):  # its connection still holds unsent data: it counts as a reader
                    with anyio.CancelScope() as waiting:
                        left.add_done_callback(lambda _: waiting.cancel())
                        await hub.until_end()
        finally:
            hub.readers -= 1
            await stopped([left])

    async def _send(self, send: Send, patience: "_Patience", *, head: bool) -> None:
        """Send the whole stream."""
        patience.begin()
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if not head:
            read = self._hub.changes() if self._brief else self._hub.read(self._last_id)
            async with aclosing(read) as pieces:
                patience.end()
                async for piece in pieces:
                    patience.begin()
                    for part in slices(piece):
                        await send({"type": "http.response.body", "body": part, "more_body": True})
                    patience.end()
        patience.begin()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Patience:
    """Cancels the body of a `with` when one piece takes too long.

    It has one timer that is seldom moved, as a timer for each piece of each of many readers would cost more
    than sending it.

    Args:
        seconds: how long a piece may take.
    """

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._seconds = seconds
        self._scope = anyio.CancelScope()
        self._loop = asyncio.get_running_loop()
        self._until = inf

    def begin(self) -> None:
        """Begin a piece."""
        self._until = self._loop.time() + self._seconds

    def end(self) -> None:
        """End a piece."""
        self._until = inf

    def leave(self, _: object) -> None:
        """Cancel the body."""
        self._scope.cancel()

    def __enter__(self) -> Self:
        self._scope.__enter__()
        self._timer = self._loop.call_later(self._seconds, self._look)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._timer.cancel()
        return self._scope.__exit__(kind, error, trace)

    def _look(self) -> None:
        now = self._loop.time()
        if self._until <= now:
            self.is_over = True
            self._scope.cancel()
        else:
            self._timer = self._loop.call_at(min(self._until, now + self._seconds), self._look)


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _aborted(scope: Scope) -> bool:
    """Abort a connection whose reader accepts nothing, and return whether that was possible.

    ASGI has no message for it, so that the server's transport is used.
    """
    transport = scope.get(TRANSPORT)
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
        return True
    return False
