"""The last known fleet: its lists and the figures of its calibrations, kept up to date in the background."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Literal, NamedTuple, Protocol, Self, TypeAlias

import anyio
from msgspec import Struct
from msgspec.structs import replace

from ..cache.entry import Fetched
from ..errors import ClientClosed, QRBackendsError, WrongEventLoop
from ..models import Backend, BackendProperties
from ..protocol.requests import Request
from .changes import Change, Kind, kind_of
from .watch import Watch

logger = logging.getLogger("qrbackends.monitor")

Place: TypeAlias = tuple[str | None, str]
"""A region and a backend's name: what a backend is known by, whichever of the instances lists it."""

Listener: TypeAlias = "Callable[[News], None]"

_CALIBRATIONS = 60.0  # seconds between two looks; the cache decides whether the service is asked
_AT_ONCE = 8  # calibrations that are asked for at a time
_PAUSE = 60.0  # seconds before a service that refused the account is asked again
_SAMPLES = 60  # of each queue's length


class Calibration(Struct, frozen=True):
    """A calibration at a glance: medians over what works, in SI units; None for what is not known.

    Attributes:
        calibrated_at: when the properties were last updated.
        t1, t2: in seconds.
        readout_error, two_qubit_error: probabilities; the latter is the native two-qubit gate's.
        two_qubit_gate: which that is.
        faulty_qubits, faulty_gates: how many do not work.
    """

    calibrated_at: datetime
    t1: float | None = None
    t2: float | None = None
    readout_error: float | None = None
    two_qubit_error: float | None = None
    two_qubit_gate: str | None = None
    faulty_qubits: int = 0
    faulty_gates: int = 0


class Known(Struct, frozen=True):
    """What is known of a backend.

    Attributes:
        backend: its entry in the list.
        calibration: its newest calibration, or None where it has none, or none came yet.
    """

    backend: Backend
    calibration: Calibration | None = None


class Failure(NamedTuple):
    """Why nothing new comes from an instance, and since when."""

    region: str | None
    since: datetime
    error: QRBackendsError


class News(Struct, frozen=True):
    """Something that changed.

    Attributes:
        kind: as for `Change`, or `calibrated`: the figures of a calibration came, the first or new ones.
        at: when it was seen.
        region: where.
        name: the backend's name; None for `failed` and `recovered`.
        before: what was known before, or None.
        after: what is known now, or None.
        error: why, for `failed`.
    """

    kind: Kind | Literal["calibrated"]
    at: datetime
    region: str | None
    name: str | None = None
    before: Known | None = None
    after: Known | None = None
    error: QRBackendsError | None = None


class Source(Protocol):
    """What a monitor asks: a `Client`, or anything with its two methods."""

    async def fetch(self, request: Request, *, instance: str | None = None) -> Fetched[Any]:
        """Return the answer to a request."""
        ...

    def watch(self, interval: float) -> Watch:
        """Return the changes in the fleet as they happen."""
        ...


class Monitor:
    """Keeps the last known fleet while it is open, by one watch and a look at each backend's calibration.

    A backend that several instances list is there once. What an instance told last stays when it fails;
    `failures` says so. The client is not closed with it.

    Args:
        client: asks.
        interval: seconds between two polls of the lists.
        sleep: waits so many seconds.
        now: the time.

    Raises:
        InvalidRequest: `interval` is no number of seconds.
    """

    def __init__(
        self,
        client: Source,
        interval: float = 30.0,
        *,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._watch = client.watch(interval)
        self._sleep = sleep
        self._now = now
        self._entries: dict[Place, dict[str | None, Backend]] = {}  # by the instance that lists it, too
        self._documents: dict[Place, BackendProperties] = {}
        self._queues: dict[Place, deque[tuple[float, int]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wanted = asyncio.Event()  # calibrations of backends that are new
        self.fleet: dict[Place, Known] = {}
        """Every backend, as it was last."""
        self.failures: dict[str | None, Failure] = {}
        """By the CRN of the instance; under None where not even the instances could be looked up."""
        self.listeners: set[Listener] = set()
        """Called with each change; they must not raise."""
        self.ended = asyncio.Event()
        """Set when nothing more will come: the monitor, or its client, was closed."""

    def queue_history(self, place: Place) -> tuple[tuple[float, int], ...]:
        """Return how long a backend's queue was: Unix seconds and jobs, each time that it changed."""
        return tuple(self._queues.get(place, ()))

    def start(self) -> None:
        """Begin, in a context of its own; `async with` does it."""
        if not self._tasks:
            self._begin(self._follow)
            self._begin(self._calibrate)

    async def aclose(self) -> None:
        """Stop; what is known stays readable."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self.ended.set()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.get_running_loop().create_task(self._until_closed(work), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _until_closed(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                await work()
                return
            except (ClientClosed, WrongEventLoop):
                self.ended.set()
                return
            except Exception:  # a mistake of ours must not freeze boards and exporters in silence
                logger.exception("the fleet could not be followed; it is tried again")
                await self._sleep(_PAUSE)

    # --- lists

    async def _follow(self) -> None:
        while True:
            try:
                async with self._watch as changes:
                    async for change in changes:
                        self._take(change)
            except (ClientClosed, WrongEventLoop):
                raise
            except QRBackendsError as error:  # a refused key, perhaps; a service lives on
                self.failures.clear()  # the new watch tells of them anew
                self._failed(Change("failed", self._now(), error=error))
            await self._sleep(_PAUSE)

    def _take(self, change: Change) -> None:
        if change.kind == "failed":
            self._failed(change)
        elif change.kind == "recovered":
            self.failures.pop(change.instance, None)
            self._tell(News("recovered", change.at, change.region))
            self._show_again(change.instance, change.at)
            self._begin(partial(self._reconcile, change.instance))
        elif change.backend is not None:
            if self.failures.pop(None, None):
                self._tell(News("recovered", change.at, None))
                self._begin(partial(self._reconcile, None))
            place = (change.region, change.backend)
            self._put(change.instance, place, change.after)
            self._show(place, change.at, first=change.kind == "present")

    def _failed(self, change: Change) -> None:
        error = change.error or QRBackendsError("it failed")
        self.failures[change.instance] = Failure(change.region, change.at, error)
        self._tell(News("failed", change.at, change.region, error=error))
        self._show_again(change.instance, change.at)
        if change.instance is not None and not any(change.instance in one for one in self._entries.values()):
            self._begin(partial(self._recall, change.instance))

    async def _recall(self, crn: str) -> None:
        """Take an instance's old list, if the cache has one, as none has come since we began."""
        try:
            listed = await self._client.fetch(Request("backends"), instance=crn)
        except (ClientClosed, WrongEventLoop):
            raise
        except QRBackendsError:
            return
        if crn in self.failures:
            at = self._now() - timedelta(seconds=listed.age)
            self.failures[crn] = self.failures[crn]._replace(since=at)
            for backend in listed.value:
                place = (backend.region, backend.name)
                self._put(crn, place, backend)
                self._show(place, at, first=True)

    async def _reconcile(self, crn: str | None) -> None:
        """Forget what is not listed any more: a watch tells of what is gone only if it has told of it."""
        try:
            listed = (await self._client.fetch(Request("backends"), instance=crn)).value
        except (ClientClosed, WrongEventLoop):
            raise
        except QRBackendsError:
            return
        there = {(one.instance, one.region, one.name) for one in listed}
        silent = {error.instance for error in listed.errors}
        for place, listing in tuple(self._entries.items()):
            for instance in tuple(listing):
                answered = instance == crn if crn is not None else instance not in silent
                if answered and (instance, *place) not in there:
                    self._put(instance, place, None)
                    self._show(place, self._now(), first=False)

    def _put(self, crn: str | None, place: Place, backend: Backend | None) -> None:
        listing = self._entries.setdefault(place, {})
        if backend is not None:
            listing[crn] = backend
        else:
            listing.pop(crn, None)
            if not listing:
                del self._entries[place]

    def _show_again(self, crn: str | None, at: datetime) -> None:
        """Show what others list, too: it may be known by another from now on."""
        for place, listing in tuple(self._entries.items()):
            if crn in listing and len(listing) > 1:
                self._show(place, at, first=False)

    def _show(self, place: Place, at: datetime, *, first: bool) -> None:
        """Know a backend by the first instance that lists it now; where none does, by one that did."""
        listing = self._entries.get(place, {})
        crn = min(listing, key=self.failures.__contains__, default=None)
        before, after = self.fleet.get(place), listing.get(crn)
        if after is None:
            if before is not None:
                del self.fleet[place]
                self._documents.pop(place, None)
                self._queues.pop(place, None)
                self._tell(News("disappeared", at, *place, before))
            return
        known = self.fleet[place] = replace(before, backend=after) if before else Known(after)
        samples = self._queues.setdefault(place, deque(maxlen=_SAMPLES))
        if not samples or samples[-1][1] != after.queue_length:
            samples.append((at.timestamp(), after.queue_length))
        if before is None:
            self._wanted.set()
        kind = kind_of(before.backend if before else None, after, first=first)
        if kind is not None:
            self._tell(News(kind, at, *place, before, known))

    def _tell(self, news: News) -> None:
        for listener in tuple(self.listeners):
            listener(news)

    # --- calibrations

    async def _calibrate(self) -> None:
        places = asyncio.Semaphore(_AT_ONCE)
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await asyncio.gather(*(self._calibration(place, places) for place in tuple(self.fleet)))
            waiting = asyncio.ensure_future(self._wanted.wait())
            resting = asyncio.ensure_future(self._sleep(_CALIBRATIONS))
            try:
                await asyncio.wait({waiting, resting}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                resting.cancel()
            self._wanted.set()

    async def _calibration(self, place: Place, places: asyncio.Semaphore) -> None:
        async with places:
            known = self.fleet.get(place)
            if known is None:
                return
            request = Request("properties", known.backend.name)
            try:
                properties = (await self._client.fetch(request, instance=known.backend.instance)).value
                if properties is self._documents.get(place):
                    return
                calibration = _at_a_glance(properties)
            except (ClientClosed, WrongEventLoop):
                raise
            except QRBackendsError:  # simulators and new backends have none; of all it is asked again
                return
        before = self.fleet.get(place)
        if before is not None:
            self._documents[place] = properties
            after = self.fleet[place] = replace(before, calibration=calibration)
            if before.calibration != calibration:
                self._tell(News("calibrated", self._now(), *place, before, after))


def _at_a_glance(properties: BackendProperties) -> Calibration:
    return Calibration(
        calibrated_at=properties.last_update_date,
        t1=properties.median_t1(),
        t2=properties.median_t2(),
        readout_error=properties.median_readout_error(),
        two_qubit_error=properties.median_two_qubit_error(),
        two_qubit_gate=properties.native_entangler,
        faulty_qubits=len(properties.faulty_qubits()),
        faulty_gates=len(properties.faulty_gates()),
    )
