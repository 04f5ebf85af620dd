"""Limits on the connections of a stand-alone server, which hold before a request is read or a token checked.

uvicorn gives the first request of a connection any time to come, and a reader any time to take an answer. So
a thousand silent connections would use up the process's descriptors, and lock everybody out.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:  # the gateway, whose connections have the same limits, needs no Starlette
    from starlette.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger("qrbackends.web")

ACCEPTED_AT_ONCE: Final = 32  # connections that the event loop accepts before it looks at the limits again
_RESERVE = 256  # descriptors that are left for the service, the store and files
_MOST = 4096  # connections, however many descriptors there are
_TAKEN = 4096  # bytes that a reader has to take for its time to begin anew
_LOGGED = 60.0  # seconds between two lines in the log
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 10\r\nContent-Length: 0\r\n\r\n"
)


def _most_connections() -> int:
    try:
        from resource import RLIMIT_NOFILE, getrlimit
    except ImportError:  # on Windows there is no limit of descriptors, and select() takes 512
        return 256
    soft, _ = getrlimit(RLIMIT_NOFILE)
    return _MOST if soft < 0 else max(ACCEPTED_AT_ONCE, min(_MOST, soft - _RESERVE))


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """The limits on a stand-alone server's connections.

    Args:
        head: seconds in which a connection has to send the head of its next request.
        taking: seconds in which a reader has to take some of what is sent to it.
        per_address: the greatest number of connections from one address, or from one IPv6 network of 64
            bits; 0 for no limit, such as behind a proxy, where all visitors have the proxy's address.
        connections: the greatest number of connections. When it is reached, a new one takes the place of the
            one that has not sent a request for the longest time. By default it leaves 256 of the process's
            descriptors free.
    """

    head: float = 10.0
    taking: float = 10.0
    per_address: int = 128
    connections: int = field(default_factory=_most_connections)


def network_of(host: str) -> str:
    """Return the address, of IPv6 the first 64 bits only: whoever has one address has all of the network."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    return str(address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64))


class Connections:
    """An ASGI app that wraps another one, and a protocol that wraps the server's: together they keep limits.

    The protocol sees a connection from its first moment, and the app when the head of a request is complete.
    A request belongs to the connection with the same address and port of the visitor.

    Args:
        app: the wrapped app; None where another kind of server tells by `answering` what is answered.
        limits: the limits.
        clock: returns the seconds of a monotonic clock.
    """

    def __init__(
        self, app: "ASGIApp | None", limits: ServerLimits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits = limits
        self.clock = clock
        self.open: dict[Any, Connection] = {}
        """The connections, by the visitor's address and port."""
        self.dropped: Counter[str] = Counter()
        """The number of connections that were dropped so far, by the reason."""
        self._app = app
        self._waiting: dict[Connection, float] = {}  # for a head since when; the first for longest
        self._networks: Counter[str] = Counter()
        self._logged: Counter[str] = Counter()
        self._logged_at: float | None = None

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request to the app; while it is answered, its connection does not count as silent."""
        if self._app is None:
            raise RuntimeError("these connections are not those of an app")
        with self.answering(scope.get("client")) as connection:
            try:
                await self._app(scope, receive, send)
            except Exception:
                if connection is None or not connection.closing:
                    raise
                # The server itself refused the rest of the request, and sends nothing more.
                logger.debug("a request was refused while it was answered", exc_info=True)
                while (await receive())["type"] != "http.disconnect":
                    pass

    @contextmanager
    def answering(self, client: Any) -> Iterator["Connection | None"]:
        """Let the connection of a visitor not count as silent inside; yield it, or None if it is not known.

        Args:
            client: the visitor's address and port; None if they are not known.
        """
        connection = self.open.get(tuple(client or ())[:2])
        if connection is None:
            yield None
            return
        connection.requests += 1
        self._waiting.pop(connection, None)
        try:
            yield connection
        finally:
            connection.requests -= 1  # the next request may have begun when the last answer was sent
            if not connection.requests and self.open.get(connection.peer) is connection:
                self._waiting[connection] = self.clock()

    def heard(self, client: Any) -> None:
        """Note that a visitor's request was answered at once; the connection is silent from now on only."""
        connection = self.open.get(tuple(client or ())[:2])
        if connection is not None and not connection.requests:
            self._waiting.pop(connection, None)
            self._waiting[connection] = self.clock()

    def protocol(self, server: Callable[..., asyncio.Protocol], **state: Any) -> asyncio.Protocol:
        """Return the protocol of a new connection; `server` returns the wrapped one."""
        return Connection(self, server(**state))

    def admit(self, connection: "Connection") -> bool:
        """Take a new connection in, and return whether there was room for it."""
        network = network_of(connection.peer[0])
        if 0 < self.limits.per_address <= self._networks[network]:
            self.dropped["too many from one address"] += 1
            return False
        if len(self.open) >= self.limits.connections:
            useless = self._useless()
            if useless is None:
                self.dropped["too many"] += 1
                return False
            useless.drop("in the way of new ones")
        self._networks[network] += 1
        self.open[connection.peer] = connection
        self._waiting[connection] = self.clock()
        return True

    def forget(self, connection: "Connection") -> None:
        """Forget a connection that has ended."""
        if self.open.get(connection.peer) is connection:
            del self.open[connection.peer]
            self._waiting.pop(connection, None)
            network = network_of(connection.peer[0])
            self._networks[network] -= 1
            if not self._networks[network]:
                del self._networks[network]

    def sweep(self) -> None:
        """Drop the connections that send no head in time, and those that take nothing of what is sent."""
        now = self.clock()
        for connection in tuple(self.open.values()):
            if connection.stuck(now) > self.limits.taking:
                connection.drop("took nothing")
        late = [one for one, since in self._waiting.items() if now - since > self.limits.head]
        for connection in late:
            if not connection.stuck(now):
                connection.drop("said nothing")
        new = self.dropped - self._logged
        if new and (self._logged_at is None or now - self._logged_at >= _LOGGED):
            self._logged, self._logged_at = self.dropped.copy(), now
            reasons = ", ".join(f"{reason}: {number}" for reason, number in sorted(new.items()))
            logger.warning("connections were dropped: %s; %d are open", reasons, len(self.open))

    async def keep(self, interval: float = 1.0) -> None:
        """Sweep until the task is cancelled."""
        while True:
            await asyncio.sleep(interval)
            self.sweep()

    def _useless(self) -> "Connection | None":
        """Return the connection that sent no request for longest, or else took nothing for longest."""
        if self._waiting:
            return next(iter(self._waiting))
        now = self.clock()
        stuck = {connection: connection.stuck(now) for connection in self.open.values()}
        worst = max(stuck, key=stuck.__getitem__)
        return worst if stuck[worst] else None


class Connection(asyncio.Protocol):
    """One connection: passes everything on to the server's protocol, and knows whether its reader reads."""

    def __init__(self, connections: Connections, server: asyncio.Protocol) -> None:
        self.requests = 0
        """The number of requests that are being answered."""
        self.peer: Any = None
        """The visitor's address and port."""
        self._connections = connections
        self._server = server
        self._transport: asyncio.Transport
        self._unsent = 0
        self._taken_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless there are too many connections."""
        self._transport = cast("asyncio.Transport", transport)  # those of uvloop are no subclasses of it
        self._taken_at = self._connections.clock()
        self.peer = tuple((transport.get_extra_info("peername") or ())[:2])
        if self._connections.admit(self):
            self._server.connection_made(transport)
        else:
            self._server = asyncio.Protocol()  # which does nothing
            self._transport.write(_FULL)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._connections.forget(self)
        self._server.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on what was received."""
        self._server.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on that nothing more comes."""
        return self._server.eof_received()

    def pause_writing(self) -> None:
        """Pass on that the reader is slower than the app."""
        self._server.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the reader has taken nearly all."""
        self._unsent, self._taken_at = 0, self._connections.clock()
        self._server.resume_writing()

    @property
    def closing(self) -> bool:
        """Whether the connection is closed, or is closed once all is sent."""
        return self._transport.is_closing()

    @property
    def unsent(self) -> int:
        """The number of bytes that the reader has not taken, without those in the system's buffers."""
        return self._transport.get_write_buffer_size()

    def stuck(self, now: float) -> float:
        """Return the seconds for which the reader has taken nothing of what is to be sent; else 0."""
        unsent = self.unsent
        if not unsent or unsent <= self._unsent - _TAKEN:
            self._unsent, self._taken_at = unsent, now
        self._unsent = max(unsent, self._unsent)
        return now - self._taken_at

    def drop(self, reason: str) -> None:
        """End the connection at once, whatever was not sent yet."""
        self._connections.dropped[reason] += 1
        self._connections.forget(self)
        self._transport.abort()
