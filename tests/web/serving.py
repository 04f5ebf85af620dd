"""Apps over real sockets, and events as a browser reads them."""

import asyncio
import math
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, NamedTuple

import aiohttp
import msgspec
import uvicorn
from starlette.types import ASGIApp

from qrbackends.web.connections import Connections
from qrbackends.web.events import Hub
from qrbackends.web.serving import configured
from qrbackends.web.stream import EventStream


class Server(uvicorn.Server):
    """A server in the test's own event loop, which leaves the process's signals alone."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def served(
    app: ASGIApp, *, send_buffer: int | None = None, port: int | None = None
) -> AsyncIterator[str]:
    """Serve an app at a port, by default a free one, with its lifespan, and yield its address.

    `Connections` are served as the stand-alone servers serve them: with limits, and without a lifespan.
    """
    with socket.socket() as listener:
        if send_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        if not hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port or 0))
        if isinstance(app, Connections):
            config = configured(app)
        else:
            config = uvicorn.Config(app, lifespan="auto", log_level="critical", timeout_graceful_shutdown=1)
        server = Server(config)
        task = asyncio.create_task(server.serve([listener]))
        while not server.started:
            assert not task.done(), "it did not start"
            await asyncio.sleep(0)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


class Sent(NamedTuple):
    """A server-sent event."""

    id: str | None
    event: str
    data: Any


async def events(response: aiohttp.ClientResponse) -> AsyncGenerator[Sent, None]:
    """Yield the events of a stream, as they come."""
    fields: dict[str, str] = {}
    async for line in response.content:
        text = line.decode().rstrip("\n")
        if text:
            name, _, value = text.partition(": ")
            fields[name] = value
        else:
            yield Sent(fields.get("id"), fields["event"], msgspec.json.decode(fields["data"]))
            fields = {}


class Reader:
    """A reader without a server: what was sent to it, and a place at which it stops to accept anything."""

    def __init__(self, hub: Hub, last_id: str | None = None, accepts: float = math.inf) -> None:
        self.sent: list[bytes] = []
        self.changed = asyncio.Event()
        self._stream = EventStream(hub, last_id)
        self._accepts = accepts
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        await self._stream({"type": "http", "method": "GET"}, self._receive, self._send)

    async def _receive(self) -> Any:
        await asyncio.Event().wait()

    async def _send(self, message: Any) -> None:
        self.sent.append(message.get("body", b""))
        self.changed.set()
        if len(self.sent) > self._accepts:
            await asyncio.Event().wait()

    async def until(self, found: bytes) -> None:
        """Wait until a text was sent."""
        while found not in b"".join(self.sent):
            self.changed.clear()
            await self.changed.wait()

    async def leave(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
