"""A listening port that can die and come back."""

import socket
from collections.abc import Callable

from aiohttp import web

from .gate import Gate

# Requests in flight get this long to end by themselves when a port closes; then they are cancelled.
_GRACE = 0.05
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104


class Port:
    """A port and the server behind it.

    Its number stays reserved while it is down: a socket that is bound and does not listen refuses
    connections, as a dead server does.

    Args:
        host: the address to bind.
        number: the port; 0 takes a free one.
        make_gate: makes the handler, given what tells whether a Host header means this port.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, host: str, number: int, make_gate: Callable[[Callable[[str], bool]], Gate]) -> None:
        self._host = host
        self._socket: socket.socket | None = _bound(host, number)
        self.number: int = self._socket.getsockname()[1]
        self._gate = make_gate(self.is_own)
        self._runner: web.ServerRunner | None = None

    @property
    def netloc(self) -> str:
        """Host and port, as in a URL."""
        return _netloc(_ANY.get(self._host, self._host), self.number)

    async def start(self) -> None:
        """Listen; does nothing when it listens already."""
        if self._runner is None:
            self._runner = web.ServerRunner(web.Server(self._gate, access_log=None), shutdown_timeout=_GRACE)
            await self._runner.setup()
            listening, self._socket = self._socket or _bound(self._host, self.number), None
            await web.SockSite(self._runner, listening, backlog=1024).start()

    async def stop(self) -> None:
        """Cut all connections and refuse new ones; does nothing when it is down already."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()
            self._socket = _bound(self._host, self.number)

    async def close(self) -> None:
        """Stop for good, and give the number back."""
        await self.stop()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def is_own(self, host: str) -> bool:
        """Return whether a Host header means this port.

        At a loopback address any of loopback's names does. Where it listens at all addresses, it cannot know
        its names, and only the port is compared.
        """
        if self._host in _ANY:
            return host.rpartition(":")[2] == str(self.number)
        names = _LOOPBACK if self._host in _LOOPBACK else (self._host,)
        return host.lower() in {_netloc(name.lower(), self.number) for name in names}


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bound(host: str, number: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setblocking(False)
        bound.bind((host, number))
    except OSError:
        bound.close()
        raise
    return bound
