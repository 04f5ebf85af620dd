"""Changes in the fleet as server-sent events: one monitor for any number of readers.

No reader has a queue: all read one log of the latest events, at their own pace. A reader that falls behind
the log gets the full state instead, and a reader that does not accept a piece in time is dropped.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import secrets
import signal
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from contextvars import Context
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final
from weakref import ref

import anyio
import msgspec
from msgspec import Struct
from msgspec.structs import replace
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..client import Client
from ..errors import ClientClosed
from ..fleet.monitor import Monitor
from ..fleet.monitored import MonitoredBackend, MonitorEvent
from ..models import BackendSummary
from .encoding import Listed, listed
from .problems import problem_of

TRANSPORT: Final = "qrbackends.transport"
"""The key of a request's scope under which its connection is, if the server exposes it."""

_AT_ONCE: Final = 128  # events in one piece, so that a slow reader holds little memory
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
    patience: float = 30.0
    linger: float = 300.0
    log: int = 4096
    readers: int = 1000


class Shown(Struct, frozen=True, omit_defaults=True):
    """A backend: its entry in the list, and the summary of its calibration.

    Of the gates the summary has the native two-qubit gate only, as each event holds it.
    """

    backend: Listed
    calibration: BackendSummary | None = None


class Trouble(Struct, frozen=True):
    """A region that cannot be listed: since when, and the error."""

    region: str | None
    since: datetime
    detail: str


class Event(Struct, frozen=True, omit_defaults=True):
    """A change; the fields are those of `qrbackends.MonitorEvent`."""

    kind: str
    at: datetime
    region: str | None = None
    name: str | None = None
    before: Shown | None = None
    after: Shown | None = None
    detail: str | None = None


class FullState(Struct, frozen=True):
    """The whole fleet: the first event that a reader gets.

    Attributes:
        at: when the event was made.
        interval: seconds between two polls.
        backends: all backends.
        troubles: the regions whose data is old, with the errors.
        queues: for each backend its region, its name and the length of its queue over time: Unix seconds and
            jobs at each change.
    """

    at: datetime
    interval: float
    backends: tuple[Shown, ...]
    troubles: tuple[Trouble, ...]
    queues: tuple[tuple[str | None, str, tuple[tuple[float, int], ...]], ...]


class Hub:
    """One monitor and the log of its events, for all readers of one client's events.

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
        self._log: deque[bytes] = deque(maxlen=pace.log)
        self._count = 0  # all events so far, also those that have left the log
        self._epoch = ""  # names this run of the monitor: ids of another worker or run are not known here
        self._changed = asyncio.Event()
        self._state: tuple[tuple[int, int], bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._used_at = 0.0

    def wake(self) -> Monitor:
        """Return the monitor, started if it was not running; it runs while there are readers."""
        self._used_at = asyncio.get_running_loop().time()
        if self.monitor is None:
            # Changes before this moment were not logged, so that ids from before are not valid.
            self._epoch, self._count, self._state = secrets.token_hex(6), 0, None
            self._log.clear()
            client = self._client()
            if client is None:
                raise ClientClosed("the client is gone")
            self.monitor = Monitor(client, self.pace.interval)
            self.monitor.listeners.add(self._take)
            self.monitor.start()
            self._keeper = asyncio.get_running_loop().create_task(self._keep(self.monitor), context=Context())
        return self.monitor

    async def read(self, last_id: str | None) -> AsyncGenerator[bytes, None]:
        """Yield the events after `last_id`, or the full state first where the log does not hold them.

        The stream ends when the client is closed, or the server shuts down.
        """
        monitor = self.wake()
        at = self._position(last_id)
        while not monitor.ended.is_set():
            if at is None or self._count - at > len(self._log):
                at = self._count
                yield self._full_state(monitor)
            elif at < self._count:
                begin = len(self._log) - self._count + at
                pieces = list(islice(self._log, begin, begin + _AT_ONCE))
                at += len(pieces)
                yield b"".join(pieces)
            elif not await self._waited():
                yield _event("beat", {"at": datetime.now(UTC)})

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

    async def _waited(self) -> bool:
        """Wait for an event; return False if there is none within the time of a heart-beat."""
        with anyio.move_on_after(self.pace.beat):
            await self._changed.wait()
            return True
        return False

    def _take(self, event: MonitorEvent) -> None:
        self._count += 1
        found = Event(
            kind=event.kind,
            at=event.at,
            region=event.region,
            name=event.name,
            before=_shown(event.before) if event.before else None,
            after=_shown(event.after) if event.after else None,
            detail=problem_of(event.error).detail if event.error else None,
        )
        self._log.append(_event("change", found, self._id()))
        self._wake_readers()

    def _wake_readers(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _id(self) -> str:
        return f"{self._epoch}-{self._count}"

    def _full_state(self, monitor: Monitor) -> bytes:
        key = self._count, int(asyncio.get_running_loop().time())
        if self._state is None or self._state[0] != key:  # all readers of one second get the same
            self._state = key, _event("state", state_of(monitor, self.pace.interval), self._id())
        return self._state[1]

    async def _keep(self, monitor: Monitor) -> None:
        """End the streams when the server shuts down, and the monitor when there was no reader for long."""
        clock = asyncio.get_running_loop().time
        try:
            while not monitor.ended.is_set() and not _server_is_ending():
                if self.readers:
                    self._used_at = clock()
                elif clock() > self._used_at + self.pace.linger:
                    break
                with anyio.move_on_after(_ENDING):
                    await monitor.ended.wait()
        finally:
            self.monitor = None
            await monitor.aclose()
            self._wake_readers()


def state_of(monitor: Monitor, interval: float) -> FullState:
    """Return the whole fleet as the monitor has it."""
    return FullState(
        at=datetime.now(UTC),
        interval=interval,
        backends=tuple(map(_shown, monitor.fleet.values())),
        troubles=tuple(
            Trouble(one.region, one.since, problem_of(one.error).detail) for one in monitor.failures.values()
        ),
        queues=tuple((*place, monitor.queue_history(place)) for place in monitor.fleet),
    )


class EventStream(Response):
    """A response that streams a hub's events to one reader."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, last_id: str | None) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._hub = hub
        self._last_id = last_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the reader leaves, the server shuts down, or the reader takes too long."""
        hub = self._hub
        hub.readers += 1
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_until_left, receive, group.cancel_scope.cancel)
                taken = await self._send(send, head=scope["method"] == "HEAD")
                if not taken and not _aborted(scope):
                    await hub.until_end()  # its connection still holds unsent data: it counts as a reader
                group.cancel_scope.cancel()
        finally:
            hub.readers -= 1

    async def _send(self, send: Send, *, head: bool) -> bool:
        """Send the whole stream, and return whether the reader accepted all of it."""
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        if not await self._sent(send, start):
            return False
        if head:
            return await self._sent(send, {"type": "http.response.body", "body": b""})
        async with aclosing(self._hub.read(self._last_id)) as pieces:
            async for piece in pieces:
                body = {"type": "http.response.body", "body": piece, "more_body": True}
                if not await self._sent(send, body):
                    return False
        return await self._sent(send, {"type": "http.response.body", "body": b"", "more_body": False})

    async def _sent(self, send: Send, message: dict[str, Any]) -> bool:
        """Send one message, and return whether the reader accepted it in time."""
        with anyio.move_on_after(self._hub.pace.patience):
            await send(message)
            return True
        self._hub.dropped += 1
        return False


async def _until_left(receive: Receive, left: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    left()


def _aborted(scope: Scope) -> bool:
    """Abort a connection whose reader accepts nothing, and return whether that was possible.

    ASGI has no message for it, so that the server's transport is used.
    """
    transport = scope.get(TRANSPORT)
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
        return True
    return False


def _shown(known: MonitoredBackend) -> Shown:
    calibration = known.calibration
    if calibration is not None:
        native = tuple(gate for gate in calibration.gates if gate.gate == calibration.two_qubit_gate)
        # The list's entry beside it has the rest.
        calibration = replace(calibration, gates=native, qubits=None, basis_gates=())
    return Shown(listed(known.backend), calibration)


def _event(name: str, data: Any, number: str | None = None) -> bytes:
    head = f"id: {number}\n" if number else ""
    # The JSON has no line breaks, so that no text of a backend can end the event.
    return f"{head}event: {name}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"


def _server_is_ending() -> bool:
    """Return whether the uvicorn that runs this app shuts down; it informs no app before streams end."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(server, "should_exit", False) is True
