"""The last known fleet: its lists and the summaries of its calibrations, renewed in the background."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextvars import Context
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias

import anyio
from msgspec.structs import replace

from ..cache.entry import Fetched
from ..errors import QRBackendsError
from ..models import Backend, BackendList, BackendSummary
from ..models.backend import is_of_entry
from ..protocol.requests import Request
from ..tasks.flight import stopped
from ..tasks.loops import LoopBound
from ..tasks.misuse import AsyncContext
from .calibrations import CLOSED, Calibrations
from .changes import Change, ListedName, RegionalName, kind_of
from .failure_log import FailureLog
from .monitored import (
    CalibrationFailure,
    EntryFailure,
    FleetView,
    InstanceFailure,
    MonitoredBackend,
    MonitorEvent,
)
from .recent import CalibrationFigures, QueueHistory, RecentHistory
from .watch import Watch

logger = logging.getLogger("qrbackends.monitor")

Listener: TypeAlias = Callable[[MonitorEvent], None]

_IN_A_ROW = 256  # changes that are taken in without a pause
_PAUSE = 60.0  # seconds until the next attempt after the account was refused


class WatchedClient(Protocol):
    """The two methods of `Client` that a monitor calls."""

    async def fetch(self, request: Request, *, instance: str | None = None) -> Fetched[Any]:
        """Return the answer to a request."""
        ...

    def watch(self, interval: float, *, per_instance: bool) -> Watch:
        """Return an async iterable of the changes in the fleet."""
        ...


class Monitor(LoopBound, AsyncContext):
    """Keeps the last known fleet while it is open: one watch of the lists, and each backend's calibration.

    A backend that several instances list is kept once, as a `Watch` reports it. The backends of an instance
    that fails stay as they were, and `failures` has the instance. Each backend's properties are asked for
    again when their freshness ends, and not before, even if the cache has evicted them. The log
    `qrbackends.monitor` gets a warning when a failure begins, and one when it ends. Closing the monitor does
    not close the client.

    Args:
        client: sends the requests.
        interval: seconds between two polls of the lists.
        sleep: waits for a number of seconds.
        now: returns the current time.
        clock: returns the seconds of a monotonic clock.

    Raises:
        InvalidRequest: `interval` is not a number of seconds.
    """

    def __init__(
        self,
        client: WatchedClient,
        interval: float = 30.0,
        *,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._client = client
        self._watch = client.watch(interval, per_instance=True)  # where one fails, another is used
        self._sleep = sleep
        self._now = now
        self._entries: dict[RegionalName, dict[str | None, Backend]] = {}  # then by the instance's CRN
        self._recent = RecentHistory()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = 0  # the event loop's, once the monitor is started
        self._view = FleetView()
        self._is_old = False  # whether something has changed since the view was made
        self.fleet: dict[RegionalName, MonitoredBackend] = {}
        """The newest data of every backend; in another thread, read a copy: `monitor.fleet.copy()`."""
        self.failures: dict[str | None, InstanceFailure] = {}
        """The failing instances by CRN; the key is None where not even the instances could be looked up.

        In another thread, read a copy: `monitor.failures.copy()`.
        """
        self.entry_failures: dict[ListedName, EntryFailure] = {}
        """The entries of lists that cannot be read, by the instance's CRN and the backend's name."""
        self.calibration_failures: dict[RegionalName, CalibrationFailure] = {}
        """The backends whose calibrations cannot be read, although they are listed."""
        self.listeners: set[Listener] = set()
        """Functions that are called with each event; what they raise is logged."""
        self.ended = asyncio.Event()
        """Set when the monitor has stopped: it or its client was closed, or its tasks were cancelled."""
        self._log = FailureLog()
        tell = self._calibrated, self._judged
        self._calibrations = Calibrations(
            client.fetch, self.fleet, self.failures, *tell, sleep=sleep, clock=clock
        )

    @property
    def view(self) -> FleetView:
        """What is known now; other threads than the event loop's get what its last step knew.

        It is the same object as long as nothing changes.
        """
        if self._is_old and threading.get_ident() == self._thread:
            self._make_view()
        return self._view

    def _changed(self) -> None:
        if not self._is_old:  # many changes come in one step, and have one view
            self._is_old = True
            asyncio.get_running_loop().call_soon(self._make_view)

    def _make_view(self) -> None:
        if self._is_old:
            self._is_old = False
            is_up = not self.ended.is_set()
            self._view = FleetView(
                tuple(self.fleet.values()),
                tuple(self.failures.values()),
                is_up,
                tuple(self.entry_failures.values()),
                tuple(self.calibration_failures.values()),
            )

    @property
    def asked_at(self) -> datetime | None:
        """When the last poll of the lists ended, whether or not they could be read; None before the first."""
        return self._watch.polled_at

    def queue_history(self, key: RegionalName) -> QueueHistory:
        """Return the length of a backend's queue over time: Unix seconds and jobs at each change.

        Half of the samples are the newest ones, and the others become fewer with their age. Any thread may
        call it.
        """
        return self._recent.queue(key)

    def calibration_history(self, key: RegionalName) -> tuple[CalibrationFigures, ...]:
        """Return the medians of a backend's last calibrations, in order of time; any thread may call it."""
        return self._recent.calibrations(key)

    def start(self) -> None:
        """Start the background tasks, in a context of their own; `async with` does it."""
        self.check_loop()
        if not self._tasks:
            self._thread = threading.get_ident()
            self._changed()
            for work in (self._follow, self._calibrations.follow):
                self._begin(work).add_done_callback(self._stop)

    async def aclose(self) -> None:
        """Stop the background tasks; the fleet stays readable."""
        if not self.has_ended():  # with its event loop, they have ended
            self.check_loop()
            await stopped(self._tasks)
        self._end()

    def leave_to_parent(self) -> None:
        """Refuse every use from now on, in a child process, where no task follows the fleet."""
        super().leave_to_parent()
        self._view, self._thread = replace(self._view, is_up=False), 0

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._until_closed(work), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _stop(self, _: object) -> None:
        """Say that the fleet is followed no longer, whyever one of the two tasks has ended."""
        self._end()
        for task in self._tasks:
            task.cancel()

    def _end(self) -> None:
        self.ended.set()
        self._is_old = True
        self._make_view()  # at once, as the event loop may be about to end

    async def _until_closed(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                await work()
                return
            except CLOSED:
                self._end()
                return
            except Exception:  # after a programming error boards and exporters must not stop without a word
                logger.exception("a task of the monitor failed; it is tried again")
                await self._sleep(_PAUSE)

    # --- lists

    async def _follow(self) -> None:
        while True:
            try:
                async with self._watch as changes:
                    applied = 0
                    async for change in changes:
                        self._apply(change)
                        applied += 1
                        if not applied % _IN_A_ROW:  # a first list may have thousands of backends
                            await asyncio.sleep(0)
            except CLOSED:
                raise
            except QRBackendsError as error:  # perhaps a refused key, which may be valid again later
                self._all_failed(error)
            except Exception as error:  # such as one of the account's own provider of tokens
                logger.exception("the fleet could not be followed; it is tried again")
                self._all_failed(QRBackendsError(f"the fleet could not be followed: {type(error).__name__}"))
            await self._sleep(_PAUSE)

    def _all_failed(self, error: QRBackendsError) -> None:
        self._log.forget({*self.failures, *self.entry_failures} - {None})
        self.failures.clear()  # the next watch reports them again
        self.entry_failures.clear()
        self._failed(Change("failed", self._now(), error=error))

    def _apply(self, change: Change) -> None:
        if change.kind in ("failed", "recovered") and change.backend is not None:
            self._of_entry(change, change.backend)
        elif change.kind == "failed":
            self._failed(change)
        elif change.kind == "recovered":
            self.failures.pop(change.instance, None)
            self._log.end(change.instance, change.at)
            self._notify(MonitorEvent("recovered", change.at, change.region))
            self._update_shared(change.instance, change.at)
            self._begin(partial(self._reconcile, change.instance))
        elif change.backend is not None:
            if self.failures.pop(None, None):
                self._log.end(None, change.at)
                self._notify(MonitorEvent("recovered", change.at, None))
                self._begin(partial(self._reconcile, None))
            key = (change.region, change.backend)
            self._put(change.instance, key, change.after)
            self._update(key, change.at, first=change.kind == "present")

    def _of_entry(self, change: Change, name: str) -> None:
        entry, key = (change.instance or "", name), (change.region, name)
        if change.kind == "failed":
            error = change.error or QRBackendsError("it failed")
            self.entry_failures[entry] = EntryFailure(name, change.region, change.at, error)
            self._log.begin(entry, entry, f"an entry of {change.region}'s list", "read", change.at, error)
        else:
            self.entry_failures.pop(entry, None)
            self._log.end(entry, change.at)
        if key in self.fleet:
            self._update(key, change.at, first=False)
        known = self.fleet.get(key)
        self._notify(MonitorEvent(change.kind, change.at, *key, known, known, error=change.error))

    def _failed(self, change: Change) -> None:
        error = change.error or QRBackendsError("it failed")
        crns = list(self._watch.crns)
        number = crns.index(change.instance) + 1 if change.instance in crns else None
        self.failures[change.instance] = InstanceFailure(change.region, change.at, error, number)
        subject = "the fleet" if change.instance is None else f"the list of {change.region}"
        # An outage is that of the region, whichever instances there are; a refusal is one of the instance.
        group = (change.region, None if error.outage else change.instance)
        self._log.begin(group, change.instance, subject, "read", change.at, error)
        self._notify(MonitorEvent("failed", change.at, change.region, error=error))
        self._update_shared(change.instance, change.at)
        if change.instance is not None and not any(change.instance in one for one in self._entries.values()):
            self._begin(partial(self._recall, change.instance))

    async def _recall(self, crn: str) -> None:
        """Use an instance's old list from the cache, as it could not be listed since the monitor started."""
        listed = await self._fetched(Request("backends"), crn)
        if listed is not None and crn in self.failures:
            at = self._now() - timedelta(seconds=listed.age)
            self.failures[crn] = self.failures[crn]._replace(since=at)
            for backend in listed.value:
                key = (backend.region, backend.name)
                self._put(crn, key, backend)
                self._update(key, at, first=True)

    async def _reconcile(self, crn: str | None) -> None:
        """Remove backends that are no longer listed: a watch reports only those that it listed before."""
        listed = BackendList(())
        if crn is None or crn in self._watch.crns:  # an instance that is gone lists nothing
            fetched = await self._fetched(Request("backends"), crn)
            if fetched is None:
                return
            listed = fetched.value
        there = {(one.instance, one.region, one.name) for one in listed}
        there |= {(one.instance, one.region, one.backend or "") for one in listed.errors if is_of_entry(one)}
        silent = {error.instance for error in listed.errors if not is_of_entry(error)}
        for key, listing in tuple(self._entries.items()):
            for instance in tuple(listing):
                answered = instance == crn if crn is not None else instance not in silent
                if answered and (instance, *key) not in there:
                    self._put(instance, key, None)
                    self._update(key, self._now(), first=False)

    async def _fetched(self, request: Request, crn: str | None) -> Fetched[Any] | None:
        """Return an answer, or None if the request failed; it is asked again later."""
        try:
            return await self._client.fetch(request, instance=crn)
        except CLOSED:
            raise
        except QRBackendsError:
            return None

    def _put(self, crn: str | None, key: RegionalName, backend: Backend | None) -> None:
        listing = self._entries.setdefault(key, {})
        if backend is not None:
            listing[crn] = backend
        else:
            listing.pop(crn, None)
            if not listing:
                del self._entries[key]

    def _update_shared(self, crn: str | None, at: datetime) -> None:
        """Choose again the instance of each backend that this instance and others list."""
        for key, listing in tuple(self._entries.items()):
            if crn in listing and len(listing) > 1:
                self._update(key, at, first=False)

    def _first(self, name: str, listing: Collection[str | None]) -> str | None:
        """Return the first of these instances in the account's order; those with old entries come last."""
        crns = [crn for crn in self._watch.crns if crn in listing]
        working = (one for one in crns if one not in self.failures and (one, name) not in self.entry_failures)
        return next(chain(working, crns, listing), None)

    def _update(self, key: RegionalName, at: datetime, *, first: bool) -> None:
        """Update a backend from the instance to use."""
        listing = self._entries.get(key, {})
        before, after = self.fleet.get(key), listing.get(self._first(key[1], listing))
        self._changed()
        if after is None:
            if before is not None:
                del self.fleet[key]
                self._calibrations.removed(key)
                if self.calibration_failures.pop(key, None) is not None:
                    self._log.end(("calibration", key), at)
                self._recent.forget(key)
                self._notify(MonitorEvent("disappeared", at, *key, before))
            return
        known = self.fleet[key] = _renewed(before, after, at)
        self._recent.add_queue(key, at, after.queue_length)
        if before is None:
            self._calibrations.added()
        kind = kind_of(before.backend if before else None, after, first=first)
        if kind is not None:
            self._notify(MonitorEvent(kind, at, *key, before, known))

    def _notify(self, event: MonitorEvent) -> None:
        self._changed()
        for listener in tuple(self.listeners):
            try:
                listener(event)
            except Exception:  # its mistake must not keep the event from the others, nor end the monitor
                logger.exception("a listener failed")

    def _calibrated(self, key: RegionalName, calibration: BackendSummary) -> None:
        before = self.fleet[key]
        if before.calibration != calibration:
            after = self.fleet[key] = replace(before, calibration=calibration)
            self._recent.add_calibration(key, calibration)
            self._notify(MonitorEvent("calibrated", self._now(), *key, before, after))

    def _judged(self, key: RegionalName, error: QRBackendsError | None) -> None:
        """Note whether a backend's calibration can be read, and tell when that changes."""
        known, at, member = self.fleet[key], self._now(), ("calibration", key)
        if error is None:
            if self.calibration_failures.pop(key, None) is not None:
                self._log.end(member, at)
                self._notify(MonitorEvent("calibration_recovered", at, *key, known, known))
        elif key not in self.calibration_failures:
            self.calibration_failures[key] = CalibrationFailure(key[1], key[0], at, error)
            group = ("calibrations", key[0], type(error))
            self._log.begin(group, member, f"calibrations of {key[0]}", "read", at, error)
            self._notify(MonitorEvent("calibration_failed", at, *key, known, known, error=error))


def _renewed(before: MonitoredBackend | None, backend: Backend, at: datetime) -> MonitoredBackend:
    """Return what is known of a backend with a newer entry of the list."""
    if before is None:
        return MonitoredBackend(backend, status_since=at)
    if before.backend.status.name == backend.status.name:
        return replace(before, backend=backend)
    return replace(before, backend=backend, status_since=at, status_changed=True)
