"""Watches of the fleet: one poll of the lists serves every subscription."""

import asyncio
import math
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import anyio

from ..accounts.account import Instance
from ..cache.entry import Fetch
from ..errors import ClientClosed, InvalidRequest, QRBackendsError, Timeout, TransportError
from ..messages.suggestions import suggested
from ..models import ABackend, Backend, name_of
from ..models.integers import is_number, whole
from ..protocol.requests import Request, checked_name
from ..tasks.deadlines import Seconds
from ..tasks.fanout import answers, awaited
from ..tasks.flight import stopped
from ..tasks.misuse import AsyncContext, AsyncIteration
from .changes import Change, FleetState, differences
from .checks import check_callable
from .lists import InstanceLists
from .ranking import BackendTest
from .subscription import Only, Subscription

_JITTER = 0.1  # of the interval: the greatest random delay of the second poll, and of all after it
_YOUNG = 0.9  # of the interval: the greatest age of a list that another process fetched
_AT_ONCE = 32  # calibrations that are requested at the same time
_PATIENCE = 5.0  # seconds at most that a poll waits for an instance; a later list goes with the next poll


class Watcher:
    """Polls the lists for all subscriptions, at the shortest of their intervals.

    Polls begin at multiples of the interval; a poll that takes longer skips the ones that it overlaps. After
    the first poll these moments are moved by a random part of an interval, so that processes that start
    together do not send their requests together. Processes that share a store use the list that one of them
    fetched and poll at the same moments from then on; the store's lease chooses the one that sends the
    request. An instance that does not answer delays no other: its list is reported when it arrives.

    Args:
        fetch: answers requests, as `Client.fetch` does.
        instances: returns the account's instances.
        check: raises an error where nobody may subscribe, such as after closing or in another event loop.
        shared: whether answers are shared with other processes, so that one of them polls for all.
        clock: returns the seconds of a monotonic clock.
        sleep: waits for a number of seconds.
        now: returns the current time.
        draw: returns a random number from 0 to 1.
    """

    def __init__(
        self,
        fetch: Fetch,
        instances: Callable[[], Awaitable[Sequence[Instance]]],
        *,
        check: Callable[[], None] = lambda: None,
        shared: bool = False,
        clock: Callable[[], float] = anyio.current_time,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._state = FleetState()
        self._polled_at = -math.inf  # when the last finished poll began
        self.polled_at: datetime | None = None
        """When the last poll ended; None before the first."""
        self._asked: set[str | None] = set()  # the instances of the last poll; None stands for all
        self._calibrations = 0  # finished rounds of calibrations
        self._fetch = fetch
        self._instances = instances
        self._check = check
        self._shared = shared
        self._clock = clock
        self._sleep = sleep
        self._now = now
        self._draw = draw
        self._subscriptions: set[Subscription] = set()
        self._lists = InstanceLists(fetch, sleep)
        self._task: asyncio.Task[None] | None = None
        self._calibrating: asyncio.Task[None] | None = None
        self._rest: asyncio.Future[None] | None = None

    @property
    def crns(self) -> Sequence[str]:
        """The CRNs of the account's instances at the last poll, in order of preference."""
        return self._lists.crns

    def watch(
        self,
        interval: float = 30.0,
        backends: Collection[ABackend] | None = None,
        threshold: int = 1,
        *,
        detail: bool = False,
        per_instance: bool = False,
        only: Only = None,
    ) -> "Watch":
        """Return an async iterable of the changes; `only` looks up the instance whose list is watched.

        Raises:
            InvalidRequest: an argument has the wrong type, or is out of its range.
        """
        _check_seconds("interval", interval)
        jobs = whole(threshold)
        if jobs is None or jobs < 1:
            raise InvalidRequest("threshold has to be a whole number of jobs, 1 or more")
        if isinstance(backends, (str, Backend)) or not isinstance(backends, Iterable | None):
            raise InvalidRequest("backends has to be a list of names")
        names = None if backends is None else frozenset(map(checked_name, backends))
        return Watch(self, interval, names, jobs, detail, per_instance, only)

    async def wait_for(
        self,
        backend: ABackend,
        until: BackendTest,
        timeout: float | None,
        interval: float,
        only: Only = None,
    ) -> Backend:
        """Return a backend's entry in the list as soon as `until` returns true for it.

        Raises:
            Timeout: that did not happen within `timeout` seconds.
            InvalidRequest: an argument has the wrong type, or is out of its range.
        """
        _check_seconds("interval", interval)
        if timeout is not None:
            _check_seconds("timeout", timeout)
        check_callable("until", until, "lambda one: one.online")
        self._check()
        name = checked_name(backend)
        state: FleetState | None = None
        with anyio.move_on_after(timeout):
            watched = None if only is None else (await only()).crn
            wanted = Subscription(interval, frozenset([name]), False, watched)
            async with self.subscribed(wanted) as subscription:
                while True:
                    state = await self.look(subscription)
                    for crn in self.crns if watched is None else (watched,):
                        # The entries of an instance that fails, and those that cannot be read now, are old.
                        old = crn in state.failing or (crn, name) in state.odd
                        entry = None if old else state.backends.get((crn, name))
                        if entry is not None and await awaited(until(entry)):
                            return entry
        raise _timed_out(f"what was waited for did not happen within {timeout:g} s", name, state)

    async def wait_for_recalibration(
        self, backend: ABackend, timeout: Seconds, interval: float, only: Only = None
    ) -> datetime:
        """Wait for a backend's next calibration, and return its date.

        Raises:
            Timeout: there was none within `timeout` seconds.
            InvalidRequest: `timeout` or `interval` is not a number of seconds.
        """
        if timeout is not None:
            _check_seconds("timeout", timeout)
        self._check()
        state: FleetState | None = None
        with anyio.move_on_after(timeout):
            async with self.watch(interval, [backend], detail=True, only=only) as changes:
                state = self._state  # which the polls change until nobody watches
                async for change in changes:
                    if change.calibrated_at is not None:
                        return change.calibrated_at
        problem = f"there was no new calibration within {timeout:g} s"
        raise _timed_out(problem, name_of(backend), state)

    async def aclose(self) -> None:
        """Stop polling; every subscription ends with `ClientClosed`."""
        self._end(ClientClosed("the client was closed"))
        await self._stop()

    @asynccontextmanager
    async def subscribed(self, subscription: Subscription) -> AsyncGenerator[Subscription, None]:
        """Keep a subscription while the context is open; polls run while there is a subscription."""
        self._check()
        self._subscriptions.add(subscription)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._poll_on(), context=Context())
        elif self._rest is not None:
            self._rest.cancel()  # the next poll may have to be sooner
        # A poll that is no older than the interval is reported at once.
        subscription.polled = self._clock() - 2 * subscription.interval + self._interval() / 2
        subscription.calibrations = self._calibrations
        if not self._asked_for(subscription):
            subscription.not_before = self._clock()
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            if not self._subscriptions:
                await self._stop()

    async def look(self, subscription: Subscription) -> FleetState:
        """Return the fleet's state at the subscription's next report.

        Raises:
            QRBackendsError: the subscription has ended.
        """
        while subscription.end is None and not self._has_changed(subscription):
            subscription.changed.clear()
            await subscription.changed.wait()
        if isinstance(subscription.end, QRBackendsError):
            raise subscription.end.again()
        if subscription.end is not None:
            raise subscription.end
        subscription.polled, subscription.calibrations = self._polled_at, self._calibrations
        subscription.check_names(self._state, self.crns)
        return self._state

    def _has_changed(self, subscription: Subscription) -> bool:
        # Polls may be more frequent than this interval; the one nearest to its end is reported.
        due = self._polled_at - subscription.polled >= subscription.interval - self._interval() / 2
        due = due and self._polled_at >= subscription.not_before
        return due or (subscription.detail and self._calibrations > subscription.calibrations)

    async def _stop(self) -> None:
        own = (task for task in (self._task, self._calibrating) if task is not None)
        tasks: set[asyncio.Task[Any]] = {*own, *self._lists.forgotten()}
        self._task = self._calibrating = None
        # A later subscription must not see this state; it is replaced, as a consumer may still read it.
        self._state, self._polled_at = FleetState(), -math.inf
        await stopped(tasks)

    def _end(self, error: Exception) -> None:
        """End all subscriptions with an error; a new subscription starts from nothing."""
        subscriptions, self._subscriptions = self._subscriptions, set()
        for subscription in subscriptions:
            subscription.end = error
            subscription.changed.set()

    # --- polling

    async def _poll_on(self) -> None:
        try:
            await self._keep_polling()
        except Exception as error:  # every subscription raises it
            self._task = None
            self._end(error)
        except asyncio.CancelledError:
            if self._task is asyncio.current_task():  # `_stop` did not cancel it: nobody shall wait for ever
                self._task = None
                self._end(TransportError("the polls were cancelled by other code"))
            raise

    async def _keep_polling(self) -> None:
        grid = due = self._clock()
        moved = False
        while True:
            now = self._clock()
            if now < due and all(map(self._asked_for, self._subscriptions)):
                if not await self._rested(due - now):
                    due = min(due, self._polled_at + self._interval())
                continue
            await self._poll(now)
            interval = self._interval()
            if self._lists.behind:  # another process polled: from now on we poll at the same moments
                grid, moved = now - self._lists.behind, True
            elif not moved:
                grid, moved = grid + _JITTER * interval * self._draw(), True
            due = grid + interval * max(1, math.floor((self._clock() - grid) / interval) + 1)

    async def _rested(self, seconds: float) -> bool:
        """Wait, and return True if the time passed, False if a new subscription needs a poll sooner."""
        self._rest = rest = asyncio.ensure_future(self._sleep(seconds))
        try:
            while not rest.done():
                await asyncio.wait({rest, *self._lists.under_way}, return_when=asyncio.FIRST_COMPLETED)
                self._state.listed(self._lists.arrived(), self.crns, self._now())  # late lists
        finally:
            self._rest = None
            rest.cancel()  # this task may have been cancelled itself
        return not rest.cancelled()

    def _interval(self) -> float:
        return min((subscription.interval for subscription in self._subscriptions), default=math.inf)

    async def _poll(self, began: float) -> None:
        """Fetch the lists and wake the subscriptions; then fetch the calibrations that are watched."""
        self._asked = {subscription.only for subscription in self._subscriptions}
        try:
            crns = [one.crn for one in await self._instances() if not self._asked.isdisjoint((None, one.crn))]
        except QRBackendsError as error:
            if error.final:
                raise
            self._state.unlisted(error, self._now())
        else:
            patience = min(_PATIENCE, self._interval() / 2)
            arrived = await self._lists.poll(crns, patience, **self._how())
            self._state.listed(arrived, self.crns, self._now())
            detailed = [one for one in self._subscriptions if one.detail]
            if detailed and (self._calibrating is None or self._calibrating.done()):
                wanted = [
                    one
                    for (_, name), one in self._state.unique.items()
                    if one.instance in arrived and any(s.wants(name) for s in detailed)
                ]
                if wanted:
                    self._calibrating = asyncio.ensure_future(self._calibrate(wanted))
        self._polled_at = began
        self.polled_at = self._now()
        self._notify()

    def _asked_for(self, subscription: Subscription) -> bool:
        return None in self._asked or subscription.only in self._asked

    def _notify(self) -> None:
        for subscription in self._subscriptions:
            subscription.changed.set()

    def _how(self) -> dict[str, Any]:
        return {"max_age": _YOUNG * self._interval()} if self._shared else {"refresh": True}

    async def _calibrate(self, backends: Iterable[Backend]) -> None:
        try:
            await answers(backends, self._calibration, _AT_ONCE)
        except Exception as error:  # every subscription raises it
            self._end(error)
            return
        self._calibrations += 1
        self._notify()

    async def _calibration(self, backend: Backend) -> None:
        state = self._state
        try:
            request = Request("properties", backend.name)
            properties = (await self._fetch(request, instance=backend.instance, **self._how())).value
        except QRBackendsError as error:
            if error.final:
                raise
            return  # the next poll asks again
        state.recalibrated(backend, properties.last_update_date)


class Watch(AsyncIteration, AsyncContext):
    """The changes for one consumer: an async iterable, which `async with` ends at once.

    Changes are not queued: at each report the newest state is compared with the one that was reported last.
    A slow consumer misses only changes that were undone in the meantime. Each iteration starts from nothing.

    Unless `per_instance` is set, a backend that several instances list is reported once: as the first one in
    the account's order that does not fail lists it.
    """

    read_by = "`async for change in client.watch(…)`"

    def __init__(
        self,
        watcher: Watcher,
        interval: float,
        names: frozenset[str] | None,
        threshold: int,
        detail: bool,
        per_instance: bool,
        only: Only,
    ) -> None:
        self._watcher = watcher
        self._interval = interval
        self._names = names
        self._told = threshold, detail, per_instance or only is not None  # what `differences` takes
        self._only = only
        self._open: list[AsyncGenerator[Change, None]] = []

    @property
    def crns(self) -> Sequence[str]:
        """The CRNs of the account's instances at the last poll, in order of preference."""
        return self._watcher.crns

    @property
    def polled_at(self) -> datetime | None:
        """When the last poll ended; None before the first."""
        return self._watcher.polled_at

    def __aiter__(self) -> AsyncGenerator[Change, None]:
        return self._iterate()

    async def __aenter__(self) -> AsyncGenerator[Change, None]:
        self._open.append(self._iterate())
        return self._open[-1]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.pop().aclose()

    async def _iterate(self) -> AsyncGenerator[Change, None]:
        reported = FleetState()
        crn = None if self._only is None else (await self._only()).crn
        wanted = Subscription(self._interval, self._names, self._told[1], crn)
        async with self._watcher.subscribed(wanted) as subscription:
            while True:
                state = await self._watcher.look(subscription)
                for change in differences(reported, state, subscription.wants, *self._told, crn):
                    yield change


def _timed_out(problem: str, name: str, state: FleetState | None) -> Timeout:
    """Return the error for a wait that was in vain; it says so if no list that came has the backend."""
    unread = state is None or not state.instances or state.failing
    listed = {name} if state is None or unread else {one for _, one in state.backends}
    if name not in listed:
        problem = suggested(f"{problem}; no list has this backend", name, listed)
    return Timeout(problem).about(backend=name)


def _check_seconds(name: str, value: float) -> None:
    if not is_number(value) or not 0 < value < 1e9:
        raise InvalidRequest(f"{name} has to be a number of seconds greater than zero, not {value!r:.80}")
