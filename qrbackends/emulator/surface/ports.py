"""A listening port that can be stopped and started again."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import anyio
from aiohttp import web

from ...surface.hosts import Hosts, netloc

T = TypeVar("T")
AnyHandler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_GRACE = 0.05  # seconds after which the requests in flight are cancelled when a port stops


class Port:
    """A port, and the server that listens at it.

    While it is stopped, a socket is bound to the port without listening. Connections are refused, as by a
    dead server, and no other program can take the port.

    Args:
        host: the address to bind.
        number: the port; 0 takes a free one.
        make_handler: makes the handler, given a function that returns whether a Host header is one of this
            port.
        hosts: the names that reach it; by default those of the address.

    Raises:
        OSError: the port is taken, or the host is not this machine's; the error names the address.
    """

    def __init__(
        self,
        host: str,
        number: int,
        make_handler: Callable[[Callable[[str], bool]], AnyHandler],
        hosts: Hosts | None = None,
    ) -> None:
        self._host = host
        self._hosts = hosts or Hosts(host)
        self._reserved: socket.socket | None = _bound(host, number)
        self.number: int = self._reserved.getsockname()[1]
        self._handler = make_handler(self.is_own)
        self._runner: web.ServerRunner | None = None
        self._changing = asyncio.Lock()
        self._closed = False

    @property
    def netloc(self) -> str:
        """Host and port, as in a URL."""
        return netloc(self._hosts.advertised, self.number)

    @property
    def runs(self) -> bool:
        """Whether it listens."""
        return self._runner is not None

    async def start(self) -> None:
        """Listen, unless it listens already.

        Raises:
            OSError: another program listens at the port.
            RuntimeError: it is closed.
        """
        await to_its_end(self._start())

    async def stop(self) -> None:
        """Close all connections and refuse new ones, unless it is stopped already."""
        await to_its_end(self._stop())

    async def reset(self) -> None:
        """Cut all connections, and listen, whether it listened before or not.

        Raises:
            OSError: another program listens on that port.
            RuntimeError: it is closed.
        """
        await to_its_end(self._reset())

    async def close(self) -> None:
        """Stop for ever, and release the port."""
        async with self._changing:
            self._closed = True
            if self._runner is not None:
                await self._cut()
            if self._reserved is not None:
                self._reserved.close()
                self._reserved = None

    async def _start(self) -> None:
        async with self._changing:
            if self._closed:
                raise RuntimeError("the emulator is closed")
            if self._runner is not None:
                return
            server = web.Server(self._handler, access_log=None, auto_decompress=False)
            runner = web.ServerRunner(server, shutdown_timeout=_GRACE)
            await runner.setup()
            listening, self._reserved = self._reserved or _bound(self._host, self.number), None
            try:
                await web.SockSite(runner, listening, backlog=1024).start()
            except BaseException:  # whatever happens: a socket that stays open would occupy the port
                listening.close()
                await runner.cleanup()
                raise
            self._runner = runner

    async def _stop(self) -> None:
        async with self._changing:
            if self._runner is not None:
                await self._cut()
                self._reserved = _bound(self._host, self.number)

    async def _reset(self) -> None:
        async with self._changing:
            server = self._runner.server if self._runner is not None else None
            if server is not None and server.connections:
                server.pre_shutdown()
                await server.shutdown(_GRACE)
        await self._start()

    async def _cut(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def is_own(self, host: str) -> bool:
        """Return whether a Host header is one of this port."""
        return self._hosts.are_named(host, self.number)


async def to_its_end(change: Awaitable[T]) -> T:
    """Return what a short operation returns; a cancellation takes effect only when the operation has ended.

    A start or stop that is interrupted would leave an open socket.
    """
    task = asyncio.ensure_future(change)
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        task.exception()  # retrieved, so that asyncio does not log it
        raise cancelled
    return task.result()


def _bound(host: str, number: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        if not hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # on Windows it would let two programs have one port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setblocking(False)
        bound.bind((host, number))
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"cannot listen at {netloc(host, number)}: {error.strerror}") from None
    return bound
