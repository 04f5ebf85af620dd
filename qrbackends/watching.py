"""What changes in the fleet: one poll of the lists for all who watch."""

import asyncio
import math
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Iterator
from contextvars import Context
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, TypeAlias

import anyio
from msgspec import Struct

from .api import Request
from .cache import Fetched
from .errors import (
    AccountError,
    ClientClosed,
    InstanceUnavailable,
    InvalidRequest,
    QRBackendsError,
    Timeout,
    WrongEventLoop,
)
from .models import Backend, BackendList

Ask: TypeAlias = Callable[..., Awaitable[Fetched[Any]]]
"""`Client.fetch`, or what stands in for it: takes the request, `instance=` and `refresh=`."""

Kind: TypeAlias = Literal[
    "present", "appeared", "disappeared", "status", "queue", "recalibrated", "failed", "recovered"
]
_Key: TypeAlias = tuple[str | None, str]  # an instance's CRN, and a backend's name

_JITTER = 0.1  # of the interval: how far the polls of processes that begin together lie apart
_NEARLY = 0.999  # of an interval that has passed: clocks and timers are not that exact
_AT_ONCE = 32  # calibrations that are asked for at a time
_FINAL = (AccountError, ClientClosed, WrongEventLoop)  # what asking again will not mend


class Change(Struct, frozen=True):
    """Something that happened to a backend, or to an instance's list.

    Attributes:
        kind: `present` tells what there is when the watching begins; `appeared` and `disappeared`;
            `status`: online, paused or offline, or its reason; `queue`: the number of jobs waiting;
            `recalibrated`; `failed` and `recovered`: whether an instance can be listed.
        at: when it was seen.
        backend: the backend's name; None for `failed` and `recovered`.
        region: the region.
        instance: the instance's CRN.
        before: the entry in the list that was told last, or None.
        after: the entry as it is now, or None.
        calibrated_at: the date of the new calibration, for `recalibrated`.
        error: why, for `failed`.
    """

    kind: Kind
    at: datetime
    backend: str | None = None
    region: str | None = None
    instance: str | None = None
    before: Backend | None = None
    after: Backend | None = None
    calibrated_at: datetime | None = None
    error: QRBackendsError | None = None


class _State:
    """What was seen of the fleet, or told of it."""

    def __init__(self) -> None:
        self.backends: dict[_Key, Backend] = {}
        self.failing: dict[str | None, QRBackendsError] = {}  # by the instance's CRN
        self.calibrated: dict[_Key, datetime] = {}

    def listed(self, backends: Iterable[Backend], errors: Iterable[QRBackendsError]) -> None:
        """Take new lists; backends of instances that could not be listed stay as they were."""
        self.failing = {error.instance: error for error in errors}
        kept = {key: one for key, one in self.backends.items() if key[0] in self.failing}
        self.backends = kept | {(one.instance, one.name): one for one in backends}

    def unlisted(self, error: QRBackendsError) -> None:
        """Take that no list came at all."""
        errors = error.errors if isinstance(error, InstanceUnavailable) else (error,)
        known = dict.fromkeys((instance for instance, _ in self.backends), error)
        self.failing = known | {one.instance: one for one in errors}


class Watcher:
    """Polls the lists for all who watch, as often as the most eager of them wants.

    Polls lie on a grid; one that takes longer than an interval leaves out what it overran. The grid is moved
    by a random part of an interval, so that processes that begin together do not ask together.

    Args:
        ask: answers requests.
        clock: seconds, of a steady clock.
        sleep: waits so many seconds.
        now: the time.
        draw: gives random numbers from 0 to 1.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        clock: Callable[[], float] = anyio.current_time,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.state = _State()
        self.polled_at = -math.inf  # when the last poll began that has ended
        self.now = now
        self._ask = ask
        self._clock = clock
        self._sleep = sleep
        self._draw = draw
        self._watches: set[Watch] = set()
        self._task: asyncio.Task[None] | None = None
        self._rest: asyncio.Future[None] | None = None

    def watch(
        self,
        interval: float = 30.0,
        backends: Collection[str] | None = None,
        threshold: int = 1,
        *,
        detail: bool = False,
    ) -> "Watch":
        """Return the changes, to be iterated.

        Raises:
            InvalidRequest: one of the arguments makes no sense.
        """
        if isinstance(interval, bool) or not isinstance(interval, (int, float)) or not 0 < interval < 1e9:
            raise InvalidRequest("interval has to be a number of seconds greater than zero")
        if isinstance(threshold, bool) or not isinstance(threshold, int) or threshold < 1:
            raise InvalidRequest("threshold has to be a whole number of jobs, 1 or more")
        if isinstance(backends, str):
            raise InvalidRequest("backends has to be a list of names")
        return Watch(self, interval, None if backends is None else frozenset(backends), threshold, detail)

    async def wait_for(
        self, name: str, until: Callable[[Backend], bool], timeout: float | None, interval: float
    ) -> Backend:
        """Return a backend's entry in the list as soon as `until` is true of it.

        Raises:
            Timeout: it was not, within `timeout` seconds.
        """
        with anyio.move_on_after(timeout):
            async with self.watch(interval, [name]) as changes:
                async for change in changes:
                    if change.after is not None and until(change.after):
                        return change.after
        raise Timeout(f"what was waited for did not happen within {timeout:g} s").about(backend=name)

    async def wait_for_recalibration(self, name: str, timeout: float | None, interval: float) -> datetime:
        """Return the date of a backend's next calibration, as soon as it is there.

        Raises:
            Timeout: it was not, within `timeout` seconds.
        """
        with anyio.move_on_after(timeout):
            async with self.watch(interval, [name], detail=True) as changes:
                async for change in changes:
                    if change.calibrated_at is not None:
                        return change.calibrated_at
        raise Timeout(f"there was no new calibration within {timeout:g} s").about(backend=name)

    async def aclose(self) -> None:
        """End the watching; who watches gets `ClientClosed`."""
        for watch in self._watches:
            watch.ended(ClientClosed("the client was closed"))
        await self._stop()

    def enter(self, watch: "Watch") -> None:
        """Poll for one more."""
        self._watches.add(watch)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._poll_on(), context=Context())
        elif self._rest is not None:
            self._rest.cancel()  # the next poll may have to be sooner

    async def leave(self, watch: "Watch") -> None:
        """Poll for one less; without any, not at all."""
        self._watches.discard(watch)
        if not self._watches:
            await self._stop()

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        self.state, self.polled_at = _State(), -math.inf  # it would be old when somebody comes

    # --- polling

    async def _poll_on(self) -> None:
        grid = due = self._clock()
        moved = False
        while True:
            now = self._clock()
            if now < due:
                if not await self._rested(due - now):
                    due = min(due, self.polled_at + self._interval())
                continue
            try:
                await self._poll(now)
            except Exception as error:  # it ends the watching, and is told to those who watch
                self._task = None  # whoever comes now begins anew
                for watch in self._watches:
                    watch.ended(error)
                self._watches.clear()
                return
            interval = self._interval()
            if not moved:
                grid, moved = grid + _JITTER * interval * self._draw(), True
            due = grid + interval * max(1, math.floor((self._clock() - grid) / interval) + 1)

    async def _rested(self, seconds: float) -> bool:
        """Wait, and return whether for so long: someone may come who wants a poll sooner."""
        self._rest = rest = asyncio.ensure_future(self._sleep(seconds))
        try:
            await asyncio.wait({rest})
        finally:
            self._rest = None
            rest.cancel()  # this task may have been cancelled itself
        return not rest.cancelled()

    def _interval(self) -> float:
        return min((watch.interval for watch in self._watches), default=math.inf)

    async def _poll(self, began: float) -> None:
        """Ask for the lists, and for the calibrations that somebody watches."""
        try:
            listed: BackendList = (await self._ask(Request("backends"), refresh=True)).value
        except _FINAL:
            raise
        except QRBackendsError as error:
            self.state.unlisted(error)
        else:
            self.state.listed(listed, listed.errors)
        closely = [watch for watch in self._watches if watch.detail]
        wanted = [one for one in self.state.backends.values() if any(w.wants(one.name) for w in closely)]
        places = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(self._calibration(one, places) for one in wanted))
        self.polled_at = began
        for watch in self._watches:
            watch.news.set()

    async def _calibration(self, backend: Backend, places: asyncio.Semaphore) -> None:
        request = Request("properties", backend.name)
        async with places:
            try:
                properties = (await self._ask(request, instance=backend.instance, refresh=True)).value
            except _FINAL:
                raise
            except QRBackendsError:
                return  # the next poll asks again
        self.state.calibrated[backend.instance, backend.name] = properties.last_update_date


class Watch:
    """Changes as one consumer sees them: an async iterable, which `async with` ends at once.

    Nothing is queued: when the consumer asks, what was seen last is compared with what it was told last.
    Who is slow misses what was undone meanwhile, and nothing else.
    """

    def __init__(
        self, watcher: Watcher, interval: float, names: frozenset[str] | None, threshold: int, detail: bool
    ) -> None:
        self.interval = interval
        self.detail = detail
        self.news = asyncio.Event()
        self._watcher = watcher
        self._names = names
        self._threshold = threshold
        self._end: Exception | None = None
        self._changes: AsyncGenerator[Change, None] | None = None

    def wants(self, name: str) -> bool:
        """Return whether a backend of this name is watched."""
        return self._names is None or name in self._names

    def ended(self, error: Exception) -> None:
        """Take that there is nothing more to come, and why."""
        self._end = error
        self.news.set()

    def __aiter__(self) -> AsyncGenerator[Change, None]:
        return self._iterate()

    async def __aenter__(self) -> AsyncGenerator[Change, None]:
        self._changes = self._iterate()
        return self._changes

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._changes is not None:
            await self._changes.aclose()

    async def _iterate(self) -> AsyncGenerator[Change, None]:
        watcher, told, taken = self._watcher, _State(), -math.inf
        watcher.enter(self)
        try:
            while True:
                while not watcher.polled_at - taken >= _NEARLY * self.interval:  # inf - inf is no number
                    await self._wait()
                first, taken = taken == -math.inf, watcher.polled_at
                for change in self._differences(told, first):
                    yield change
        finally:
            await watcher.leave(self)

    async def _wait(self) -> None:
        if self._end is None:
            self.news.clear()
            await self.news.wait()
        if isinstance(self._end, QRBackendsError):
            raise self._end.again()
        if self._end is not None:
            raise self._end

    def _differences(self, told: _State, first: bool) -> Iterator[Change]:
        """Yield what is to be told, each as it is when it is asked for, and note it as told."""
        for instance in {**told.failing, **self._watcher.state.failing}:
            yield from self._of_instance(told, instance)
        for key in {**told.backends, **self._watcher.state.backends}:
            if self.wants(key[1]):
                yield from self._of_backend(told, key, first)

    def _of_instance(self, told: _State, instance: str | None) -> Iterator[Change]:
        before, error = told.failing.get(instance), self._watcher.state.failing.get(instance)
        region = (error or before or QRBackendsError("")).region
        if error is not None and before is None:
            told.failing[instance] = error
            yield Change("failed", self._watcher.now(), None, region, instance, error=error)
        elif error is None and before is not None:
            del told.failing[instance]
            yield Change("recovered", self._watcher.now(), None, region, instance)

    def _of_backend(self, told: _State, key: _Key, first: bool) -> Iterator[Change]:
        before, after = told.backends.get(key), self._watcher.state.backends.get(key)
        one = after or before
        kind = self._kind(before, after, first)
        if kind is not None and one is not None:
            if after is None:
                del told.backends[key]
            else:
                told.backends[key] = after
            yield Change(kind, self._watcher.now(), one.name, one.region, one.instance, before, after)
        calibrated = self._watcher.state.calibrated.get(key) if self.detail else None
        known = told.calibrated.get(key)
        if calibrated is None or calibrated == known:
            return
        told.calibrated[key] = calibrated
        if known is not None and after is not None:
            yield Change(
                "recalibrated",
                self._watcher.now(),
                after.name,
                after.region,
                after.instance,
                after=after,
                calibrated_at=calibrated,
            )

    def _kind(self, before: Backend | None, after: Backend | None, first: bool) -> Kind | None:
        if before is None:
            return None if after is None else "present" if first else "appeared"
        if after is None:
            return "disappeared"
        if (before.status.name, before.status.reason) != (after.status.name, after.status.reason):
            return "status"
        moved = abs(before.queue_length - after.queue_length)
        return "queue" if moved >= self._threshold else None
