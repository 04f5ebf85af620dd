"""Connections on which only the answer to the request in flight is read."""

import asyncio
import select
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import aiohttp

from ..errors import ReadTimeout, TransportError
from ..tasks.loops import let_go

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

_START = b"HTTP/1."
_poll = getattr(select, "poll", None)  # Windows has none


class Connector(aiohttp.TCPConnector):
    """Reuses a connection only if nothing has arrived on it since the last answer.

    aiohttp takes what a server sends unasked, such as a second answer, or a 408 before it closes, for the
    answer to the next request, which may be another tenant's. Of bytes that arrive after the next request was
    sent, HTTP/1.1 does not say which request they answer; `protocol.answers` compares the backend's name.
    A part of a head that comes in the segment of an answer's end is dropped; its rest begins no answer.

    The timeouts of aiohttp and asyncio start and stop timers with each request and each segment, which takes
    a fifth of a small call. Here a connection has one timer, which looks what happened when it goes off.

    Args:
        connect: seconds in which a connection has to be made.
        read: seconds that may pass without a byte of an answer. With `connect` it is the time in which the
            head of an answer has to come.
        options: those of aiohttp's connector.

    Attributes:
        generation: how often the connections have been retired.
        inherited: whether it is that of the process from which this one was forked.
    """

    generation = 0
    inherited = False

    def __init__(self, *, connect: float, read: float, **options: Any) -> None:
        self._connect, self._read, self._head = connect, read, connect + read
        self._clock = asyncio.get_running_loop().time
        self._own_sockets: WeakSet[socket.socket] = WeakSet()
        self._guards: WeakSet[_Guard] = WeakSet()
        super().__init__(**options, socket_factory=self._make_socket)

    def __del__(self, *arguments: Any) -> None:
        if not self.inherited:  # or else it must not be closed, and nobody has forgotten to close it
            super().__del__(*arguments)

    def leave_to_parent(self) -> None:
        """Let go of the connections, in a child process."""
        self.inherited = True
        let_go(self._own_sockets)
        made_by_others = (guard.socket for guard in self._guards)  # by the library of a proxy
        let_go([sock for sock in made_by_others if sock is not None])

    def close_sockets(self) -> None:
        """Close what is left of the connections, where aiohttp cannot, as the event loop has ended."""
        if not self._loop.is_closed():
            return
        for sock in tuple(self._own_sockets):
            sock.close()
        let_go(guard.socket for guard in tuple(self._guards) if guard.socket is not None)

    def _make_socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        made = socket.socket(*address[:3])
        self._own_sockets.add(made)
        return made

    def retire(self) -> None:
        """Let no connection that is open now be used for another request."""
        self.generation += 1

    async def connect(
        self, req: aiohttp.ClientRequest, traces: "list[Trace]", timeout: aiohttp.ClientTimeout
    ) -> "Connection":
        """Return a connection for one request.

        Raises:
            TransportError: the server sent something on a new connection before it was asked.
        """
        began = now = self._clock()
        while True:
            connection = await super().connect(req, traces, timeout)
            handler = connection.protocol
            transport = None if handler is None else handler.transport
            if handler is None or transport is None:  # it was lost; sending on it fails
                return connection
            guard = transport.get_protocol()
            if not isinstance(guard, _Guard):
                if handler.should_close:
                    connection.close()
                    raise TransportError("the server sent something before it was asked")
                guard = _Guard(transport, handler, self.generation, self._read)
                self._guards.add(guard)
                transport.set_protocol(guard)
                now = self._clock()
            elif guard.generation != self.generation or not guard.is_clean():
                connection.close()
                continue
            guard.take(req, now, began + self._head)
            connection.add_callback(guard.note_end)
            return connection

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: "list[Trace]", timeout: aiohttp.ClientTimeout
    ) -> "ResponseHandler":
        """Make a connection, with a timeout that is not aiohttp's (see `made_in_time`)."""
        return await made_in_time(partial(super()._create_connection, req, traces, timeout), self._connect)


class _Guard(asyncio.Protocol):
    """Stands between a transport and aiohttp's protocol.

    It closes an idle connection on which bytes arrive, and ends a request whose answer takes too long.

    Attributes:
        generation: the connector's when the connection was opened.
        idle: whether no request is in flight. Unless aiohttp says so, the connection is not used again.
    """

    def __init__(
        self, transport: asyncio.Transport, handler: "ResponseHandler", generation: int, read: float
    ) -> None:
        self._transport = transport
        self._handler = handler
        self.generation = generation
        self._is_readable = _readable(transport)
        self.idle = False
        self._start = b""  # of the answer, as far as it has come
        self._read = read
        self._clock = asyncio.get_running_loop().time
        self._request: aiohttp.ClientRequest | None = None  # that is in flight
        self._heard = self._head_until = 0.0  # when bytes came last; when the head has to be here
        self._timer: asyncio.TimerHandle | None = None

    @property
    def socket(self) -> socket.socket | None:
        """The connection's socket; None at its end, when its number may be another file's."""
        transport = self._transport
        return None if transport.is_closing() else transport.get_extra_info("socket")

    def take(self, request: aiohttp.ClientRequest, now: float, head_until: float) -> None:
        """Note that a request is about to be sent; the head of its answer has to come until an instant."""
        self.idle = False
        self._start = b""
        self._request, self._heard, self._head_until = request, now, head_until
        if self._timer is None:  # or else it goes off before this request is late
            self._watch(min(now + self._read, head_until))

    def note_end(self) -> None:
        """Note that the answer has ended."""
        self.idle = True
        self._request = None  # it holds a credential

    def _watch(self, until: float) -> None:
        self._timer = asyncio.get_running_loop().call_at(until, self._look)

    def _look(self) -> None:
        """End the request in flight if its answer is late; otherwise look again when it might be."""
        self._timer = None
        if self._request is None:
            return
        content = getattr(self._request.response, "content", None)  # None until the head has come
        until, late = self._heard + self._read, f"no byte for {self._read:g} s"
        if content is None and self._head_until < until:
            until, late = self._head_until, "the answer's headers did not come in time"
        if self._clock() < until:
            self._watch(until)
            return
        error = ReadTimeout(late)
        self._handler.set_exception(error)  # raised where the head is awaited; closes the connection
        if content is not None:
            content.set_exception(error)

    def is_clean(self) -> bool:
        """Return whether nothing has arrived since the last answer, not even in the system's buffer."""
        # aiohttp keeps the rest of a segment of many chunks, and reads it later, past this guard.
        return self.idle and not self._handler.should_close and not self._is_readable()

    def data_received(self, data: bytes) -> None:
        unasked = self.idle
        if not unasked:
            self._heard = self._clock()
            if self._start != _START:  # aiohttp also takes RTSP, HTTP/0.9 and HTTP/2.0
                self._start += data[: len(_START) - len(self._start)]
                if not _START.startswith(self._start):
                    self._handler.set_exception(TransportError("the answer is not HTTP/1.1"))
                    self._transport.abort()
                    return
            self._handler.data_received(data)  # calls `note_end` if the body ends in these bytes
            unasked = self.idle and self._handler.should_close and not self._transport.is_closing()
        if unasked:
            self._transport.abort()

    def eof_received(self) -> None:
        self._handler.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._handler.connection_lost(exc)

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()


def _readable(transport: asyncio.Transport) -> Callable[[], object]:
    """Return a function that is true if the system has bytes of a connection, or its end, or cannot tell."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return lambda: True
    if _poll is None:
        return lambda: select.select([sock.fileno()], (), (), 0)[0]
    poll = _poll()
    poll.register(sock.fileno(), select.POLLIN)
    return partial(poll.poll, 0)


async def made_in_time(
    make: "Callable[[], Coroutine[Any, Any, ResponseHandler]]", limit: float
) -> "ResponseHandler":
    """Return a connection, or end the attempt when this is cancelled or `limit` seconds have passed.

    The attempt is a task of its own, as one cancellation does not end it: within the handshake of TLS, the
    library of a SOCKS proxy closes the connection and waits for its end, which asyncio does not tell. And the
    request may change its task meanwhile (`tasks.leader`), to which timeouts belong.

    Raises:
        TimeoutError: there was no connection in time.
    """
    failed: list[Exception] = []  # not the task's own: asyncio logs those, and aiohttp's tell credentials

    async def attempt() -> "ResponseHandler | None":
        try:
            return await make()
        except Exception as error:
            failed.append(error)
            return None

    making = asyncio.create_task(attempt())
    try:
        done, _ = await asyncio.wait([making], timeout=limit)
    except (asyncio.CancelledError, GeneratorExit):
        _abandon(making)
        raise
    if not done:
        _abandon(making)
        raise TimeoutError
    made = making.result()  # unless it was cancelled by other code
    if made is None:
        raise failed.pop()
    return made


def _abandon(making: "asyncio.Task[ResponseHandler | None]") -> None:
    """Cancel an attempt until it has ended, and close the connection if it was made all the same."""

    def cancel() -> None:
        if not making.done():
            making.cancel()
            making.get_loop().call_soon(cancel)

    def discard(_: object) -> None:
        made = None if making.cancelled() or making.exception() else making.result()
        if made is not None:  # aiohttp's are false while nothing has come
            made.close()

    if not making.get_loop().is_closed():
        making.add_done_callback(discard)
        cancel()
