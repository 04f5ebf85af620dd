"""A listening port that can be stopped and started again."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import anyio
from aiohttp import web

T = TypeVar("T")
AnyHandler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_GRACE = 0.05  # seconds after which the requests in flight are cancelled when a port stops
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104


class Port:
    """A port, and the server that listens at it.

    While it is stopped, a socket is bound to the port without listening. Connections are refused, as by a
    dead server, and no other program can take the port.

    Args:
        host: the address to bind.
        number: the port; 0 takes a free one.
        make_handler: makes the handler, given a function that returns whether a Host header is one of this
            port.

    Raises:
        OSError: the port is taken, or the host is not this machine's; the error names the address.
    """

    def __init__(
        self, host: str, number: int, make_handler: Callable[[Callable[[str], bool]], AnyHandler]
    ) -> None:
        self._host = host
        self._reserved: socket.socket | None = _bound(host, number)
        self.number: int = self._reserved.getsockname()[1]
        self._handler = make_handler(self.is_own)
        self._runner: web.ServerRunner | None = None
        self._changing = asyncio.Lock()
        self._closed = False

    @property
    def netloc(self) -> str:
        """Host and port, as in a URL."""
        return _netloc(_ANY.get(self._host, self._host), self.number)

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
        """Return whether a Host header is one of this port.

        If it listens at a loopback address, every name of loopback is accepted. If it listens at all
        addresses, its names are not known, and only the port number is compared.
        """
        if self._host in _ANY:
            return host.rpartition(":")[2] == str(self.number)
        names = _LOOPBACK if self._host in _LOOPBACK else (self._host,)
        return host.lower() in {_netloc(name.lower(), self.number) for name in names}


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


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bound(host: str, number: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setblocking(False)
        bound.bind((host, number))
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"cannot listen at {_netloc(host, number)}: {error.strerror}") from None
    return bound
