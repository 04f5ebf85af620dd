"""Stand-alone servers: uvicorn until SIGINT or SIGTERM."""

import asyncio
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from ..tasks.flight import stopped
from .connections import ACCEPTED_AT_ONCE, Connections, ServerLimits
from .listening import listening, url_of

_ENDING = 5  # seconds that running answers have to finish after the signal
_QUEUED = 1024  # connections that wait in the system until they are accepted


class _Server(uvicorn.Server):
    """A uvicorn server that calls a function once it listens, and lets its process exit with 0."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, and announce it."""
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(_QUEUED)
        if self.started:
            self._announce()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Shut down at SIGINT or SIGTERM; unlike uvicorn's own method, do not raise the signal again."""
        handlers = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in handlers.items():
                signal.signal(sig, handler)


async def serve(
    app: ASGIApp,
    host: str,
    port: int,
    announce: Callable[[str], None],
    limits: ServerLimits | None = None,
) -> None:
    """Serve an app until SIGINT or SIGTERM.

    Args:
        app: an ASGI app; its lifespan is not run.
        host: the address to listen at.
        port: 0 for a free one.
        announce: called with the base URL once the server listens.
        limits: the limits on connections.

    Raises:
        OSError: the server cannot listen at the address.
    """
    with listening(host, port) as listener:
        url = url_of(listener)
        connections = Connections(app, limits or ServerLimits())
        server = _Server(configured(connections), lambda: announce(url))
        keeping = asyncio.create_task(connections.keep())
        try:
            await server.serve([listener])
        finally:
            await stopped([keeping])


def configured(connections: Connections) -> uvicorn.Config:
    """Return uvicorn's configuration for an app whose connections have limits."""
    config = uvicorn.Config(
        connections,
        lifespan="off",
        http="h11",  # with httptools, heads, trailers and requests that come before their turn have no limit
        ws="none",
        log_level="error",  # its warnings are one for each malformed request, of which anybody can send many
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=ACCEPTED_AT_ONCE,
        timeout_graceful_shutdown=_ENDING,
    )
    config.load()
    wrapped: Any = partial(connections.protocol, config.http_protocol_class)
    config.http_protocol_class = wrapped
    return config
