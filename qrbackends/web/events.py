"""Changes in the fleet as server-sent events: one monitor for any number of readers.

No reader has a queue: all read one log of the latest events, at their own pace. A reader that falls behind
the log gets the full state instead. https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import secrets
import signal
from collections import deque
from collections.abc import AsyncGenerator
from contextvars import Context
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, NamedTuple
from weakref import ref

import anyio
import msgspec
from msgspec import Struct

from ..client import Client
from ..errors import ClientClosed
from ..fleet.changes import RegionalName
from ..fleet.monitor import Monitor
from ..fleet.monitored import FleetView, MonitoredBackend, MonitorEvent
from .event_data import Event, shown, trouble
from .problems import problem_of
from .responses import SLICE

_PIECES: Final = 8  # pieces that are kept for the readers that come to them later
_AT_ONCE: Final = 128  # events in one piece, and backends that are encoded without a pause
_LOG_BYTES: Final = 32 * 2**20  # the most bytes of encoded events in the log
_SAMPLES: Final = 60  # lengths of each queue in the full state
_ENDING: Final = 0.5  # seconds between two checks of whether the server is shutting down


@dataclass(frozen=True, slots=True)
class Pace:
    """How events are sent.

    Args:
        interval: seconds between two polls of the lists, which serve all readers.
        beat: seconds without an event after which a reader gets a heart-beat.
        patience: seconds in which a reader has to accept one piece, or is dropped.
        linger: seconds for which the monitor runs on without readers.
        log: the number of events that are kept for readers that reconnect.
        readers: the greatest number of readers at the same time.
    """

    interval: float = 30.0
    beat: float = 15.0
    patience: float = 10.0
    linger: float = 300.0
    log: int = 4096
    readers: int = 1000


class _Logged(Struct, gc=False):
    """An event in the log; `data` is how it is sent, once the first reader wants it."""

    event: MonitorEvent
    id: str
    data: bytes = b""


class _Piece(NamedTuple):
    """Events that are sent together; `end` is the number of the last one."""

    end: int
    data: bytes
    is_full: bool


class _Encoded(Struct, gc=False):
    """A backend as the full state holds it: what the monitor knows of it, and this as JSON."""

    known: MonitoredBackend
    shown: msgspec.Raw
    queue: msgspec.Raw


class Seen(NamedTuple):
    """What a monitor knew within a second of its event loop, and the id of the last event before that."""

    second: int
    view: FleetView
    version: str


class Hub:
    """One monitor and the log of its events, for all readers of one client's events.

    Each event and each state is encoded once, whoever reads it; the log is limited in events and bytes.

    Args:
        client: the client that the monitor uses.
        pace: how events are sent.
    """

    def __init__(self, client: Client, pace: Pace) -> None:
        self.pace = pace
        self.readers = 0
        self.dropped = 0
        self.monitor: Monitor | None = None
        self._client = ref(client)  # a hub lives as long as its client, and must not keep the client alive
        self._log: deque[_Logged] = deque()
        self._bytes = 0  # of the encoded events in the log
        self._count = 0  # all events so far, also those that have left the log
        self._epoch = ""  # names this run of the monitor: ids of another worker or run are not known here
        self._waiting: dict[asyncio.Future[None], None] = {}  # one for each reader that has everything
        self._beat = b""  # the last heart-beat
        self._pieces: dict[int, _Piece] = {}  # the last ones, by the number of events before them
        self._state: tuple[tuple[int, int], bytes] | None = None
        self._encoded: dict[RegionalName, _Encoded] = {}
        self._brief = b"", -1, b""  # the last heart-beat, the number of events, and what `changes` tells
        self._seen = Seen(-1, FleetView(), "")
        self._keeper: asyncio.Task[None] | None = None
        self._used_at = 0.0

    def wake(self) -> Monitor:
        """Return the monitor, started if it was not running; it runs while there are readers."""
        self._used_at = asyncio.get_running_loop().time()
        if self.monitor is None:
            # Changes before this moment were not logged, so that ids from before are not valid.
            self._epoch, self._count, self._state = secrets.token_hex(6), 0, None
            self._pieces.clear()
            self._log.clear()
            self._encoded.clear()
            self._bytes = 0
            client = self._client()
            if client is None:
                raise ClientClosed("the client is gone")
            self.monitor = Monitor(client, self.pace.interval)
            self.monitor.listeners.add(self._take)
            self.monitor.start()
            self._keeper = asyncio.get_running_loop().create_task(self._keep(self.monitor), context=Context())
        return self.monitor

    def view(self) -> FleetView:
        """Return the fleet as the monitor knew it when it was first asked for within this second."""
        return self.seen().view

    def seen(self) -> "Seen":
        """Return what the monitor knew when it was first asked for within this second."""
        second = int(asyncio.get_running_loop().time())
        if self._seen.second != second:
            monitor = self.wake()
            self._seen = Seen(second, monitor.view, self._id_of(self._count))
        return self._seen

    async def read(self, last_id: str | None) -> AsyncGenerator[bytes, None]:
        """Yield the events after `last_id`, or the full state first where the log does not hold them.

        The stream ends when the client is closed, or the server shuts down.
        """
        monitor = self.wake()
        at = self._position(last_id)
        beat = self._beat
        while not monitor.ended.is_set():
            if at is None or self._count - at > len(self._log):
                await self._encode_backends(monitor)
                at = self._count
                yield self._full_state(monitor)
            elif at < self._count:
                at, piece = self._events_after(at)
                yield piece
            elif beat is not self._beat:
                beat = self._beat
                yield beat
            else:
                await self._news()

    async def changes(self) -> AsyncGenerator[bytes, None]:
        """Yield an event of a few bytes at the begin, whenever the fleet has changed, and as a heart-beat.

        Its data are `at`, `asked` (the time of the last poll) and `version`, which names what is known.
        """
        monitor = self.wake()
        at, beat = -1, self._beat
        while not monitor.ended.is_set():
            if at != self._count or beat is not self._beat:
                at, beat = self._count, self._beat
                yield self._change(monitor)
            else:
                await self._news()

    def _change(self, monitor: Monitor) -> bytes:
        if self._brief[0] is not self._beat or self._brief[1] != self._count:
            now = {"at": datetime.now(UTC), "asked": monitor.asked_at, "version": self._id_of(self._count)}
            self._brief = self._beat, self._count, _event("change", now)
        return self._brief[2]

    async def until_end(self) -> None:
        """Wait until the streams end."""
        if self.monitor is not None:
            await self.monitor.ended.wait()

    def _position(self, last_id: str | None) -> int | None:
        """Return the number of events that a reader has, or None where `last_id` does not say it."""
        epoch, _, number = (last_id or "").partition("-")
        if epoch != self._epoch or not (number.isascii() and number.isdecimal() and len(number) < 20):
            return None
        at = int(number)
        return at if self._count - len(self._log) <= at <= self._count else None

    def _id_of(self, number: int) -> str:
        return f"{self._epoch}-{number}"

    def _take(self, event: MonitorEvent) -> None:
        self._count += 1
        self._log.append(_Logged(event, self._id_of(self._count)))
        if len(self._log) > self.pace.log:
            self._forget_oldest()
        self._wake_readers()

    def _forget_oldest(self) -> None:
        self._bytes -= len(self._log.popleft().data)

    async def _news(self) -> None:
        """Wait until there is something to read."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = None
        try:
            await waiter
        finally:
            self._waiting.pop(waiter, None)

    def _wake_readers(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _events_after(self, at: int) -> tuple[int, bytes]:
        """Return the number of the last event in a piece that begins after `at`, and the piece.

        All readers are sent the same bytes objects: a copy for each would cost more than all else.
        """
        piece = self._pieces.get(at)
        if piece is None or not (piece.is_full or piece.end == self._count):
            first = len(self._log) - self._count + at
            events: list[bytes] = []
            room = SLICE
            for logged in islice(self._log, first, first + _AT_ONCE):
                room -= len(self._data(logged))
                if events and room < 0:
                    break
                events.append(logged.data)
            if len(self._pieces) >= _PIECES:
                self._pieces.clear()
            is_full = room < 0 or len(events) == _AT_ONCE
            piece = self._pieces[at] = _Piece(at + len(events), b"".join(events), is_full)
            while self._bytes > _LOG_BYTES and len(self._log) > 1:
                self._forget_oldest()
        return piece.end, piece.data

    def _data(self, logged: "_Logged") -> bytes:
        """Return an event as it is sent; it is encoded for its first reader."""
        if not logged.data:
            event = logged.event
            document = Event(
                kind=event.kind,
                at=event.at,
                region=event.region,
                name=event.name,
                before=shown(event.before) if event.before else None,
                after=shown(event.after) if event.after else None,
                detail=problem_of(event.error).detail if event.error else None,
            )
            logged.data = _event("change", document, logged.id)
            self._bytes += len(logged.data)
        return logged.data

    async def _encode_backends(self, monitor: Monitor) -> None:
        """Encode the backends that are new to the state, a few at a time, so that the event loop goes on."""
        missing = [key for key, known in monitor.fleet.items() if not self._is_encoded(key, known)]
        for number, key in enumerate(missing):
            known = monitor.fleet.get(key)
            if known is not None and not self._is_encoded(key, known):
                self._encode(monitor, key, known)
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)

    def _is_encoded(self, key: RegionalName, known: MonitoredBackend) -> bool:
        encoded = self._encoded.get(key)
        return encoded is not None and encoded.known is known

    def _encode(self, monitor: Monitor, key: RegionalName, known: MonitoredBackend) -> None:
        queue = (*key, monitor.queue_history(key)[-_SAMPLES:])
        self._encoded[key] = _Encoded(known, _raw(shown(known)), _raw(queue))

    def _full_state(self, monitor: Monitor) -> bytes:
        key = self._count, int(asyncio.get_running_loop().time())
        if self._state is None or self._state[0] != key:  # all readers of one second get the same
            for name, known in monitor.fleet.items():
                if not self._is_encoded(name, known):
                    self._encode(monitor, name, known)
            encoded = self._encoded = {name: self._encoded[name] for name in monitor.fleet}
            state = {  # a `FullState`
                "at": datetime.now(UTC),
                "interval": self.pace.interval,
                "backends": [one.shown for one in encoded.values()],
                "troubles": [
                    *(trouble(one, None) for one in monitor.failures.values()),
                    *(trouble(one, one.name) for one in monitor.entry_failures.values()),
                ],
                "queues": [one.queue for one in encoded.values()],
            }
            self._state = key, _event("state", state, self._id_of(self._count))
        return self._state[1]

    async def _keep(self, monitor: Monitor) -> None:
        """Send heart-beats; end the streams with the server, and the monitor when no one read for long."""
        clock = asyncio.get_running_loop().time
        told, count = clock(), self._count
        try:
            while not monitor.ended.is_set() and not _server_is_ending():
                if self.readers:
                    self._used_at = clock()
                elif clock() > self._used_at + self.pace.linger:
                    break
                if count != self._count:
                    told, count = clock(), self._count
                elif clock() >= told + self.pace.beat:
                    told = clock()
                    self._send_beat()
                with anyio.move_on_after(min(_ENDING, self.pace.beat)):
                    await monitor.ended.wait()
        finally:
            self.monitor = None
            await monitor.aclose()
            self._wake_readers()

    def _send_beat(self) -> None:
        self._beat = _event("beat", {"at": datetime.now(UTC)})
        self._wake_readers()


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _event(name: str, data: Any, number: str | None = None) -> bytes:
    head = f"id: {number}\n" if number else ""
    # The JSON has no line breaks, so that no text of a backend can end the event.
    return f"{head}event: {name}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"


def _server_is_ending() -> bool:
    """Return whether the uvicorn that runs this app shuts down; it informs no app before streams end."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(server, "should_exit", False) is True
