"""What changes in the fleet: one poll of the lists for all who watch."""

import asyncio
import inspect
import math
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TypeAlias

import anyio

from ..accounts.account import Instance
from ..cache.entry import Fetched
from ..errors import AccountError, ClientClosed, InvalidRequest, QRBackendsError, Timeout, WrongEventLoop
from ..models import Backend, BackendList
from ..protocol.requests import Request
from .changes import Change, State, differences

Ask: TypeAlias = Callable[..., Awaitable[Fetched[Any]]]
"""`Client.fetch`, or what stands in for it: takes the request, `instance=`, `refresh=` and `max_age=`."""

Until: TypeAlias = Callable[[Backend], bool | Awaitable[bool]]

_JITTER = 0.1  # of the interval: how far the polls of processes that begin together lie apart
_YOUNG = 0.9  # of the interval: a list that another process asked for is as good if it is no older
_AT_ONCE = 32  # calibrations that are asked for at a time
_PATIENCE = 5.0  # seconds at most that a poll waits for an instance; who is later is told of with the next
_FINAL = (AccountError, ClientClosed, WrongEventLoop)  # what asking again will not mend


class _Seat:
    """One who watches, while they do.

    Attributes:
        interval: how often they want to be told.
        names: the backends that they watch, or None for all.
        detail: whether they want to know of calibrations.
        news: set when there is something new.
        end: why there is nothing more to come.
    """

    def __init__(self, interval: float, names: frozenset[str] | None, detail: bool) -> None:
        self.interval = interval
        self.names = names
        self.detail = detail
        self.news = asyncio.Event()
        self.end: Exception | None = None
        self.polled = -math.inf  # the poll that they were told of last
        self.calibrations = 0  # likewise

    def wants(self, name: str) -> bool:
        """Return whether a backend of this name is watched."""
        return self.names is None or name in self.names


class Watcher:
    """Polls the lists for all who watch, as often as the most eager of them wants.

    Polls lie on a grid; one that takes longer than an interval leaves out what it overran. The grid is moved
    by a random part of an interval, so that processes that begin together do not ask together; those that
    share a store take what one of them has asked for, and poll at the same moments from then on, when the
    store's lease picks the one who asks. An instance whose list does not come holds up no other: it is told
    of when it comes.

    Args:
        ask: answers requests.
        instances: gives the account's instances.
        check: raises what keeps anybody from watching here and now.
        shared: whether answers are shared with other processes, of which one polls then for all.
        clock: seconds, of a steady clock.
        sleep: waits so many seconds.
        now: the time.
        draw: gives random numbers from 0 to 1.
    """

    def __init__(
        self,
        ask: Ask,
        instances: Callable[[], Awaitable[Sequence[Instance]]],
        *,
        check: Callable[[], None] = lambda: None,
        shared: bool = False,
        clock: Callable[[], float] = anyio.current_time,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._state = State()
        self._polled_at = -math.inf  # when the last poll began that has ended
        self._calibrations = 0  # how often they were asked for
        self._ask = ask
        self._instances = instances
        self._check = check
        self._shared = shared
        self._behind = 0.0  # seconds that the last poll's oldest list was old
        self._clock = clock
        self._sleep = sleep
        self._now = now
        self._draw = draw
        self._seats: set[_Seat] = set()
        self._crns: Sequence[str] = ()
        self._lists: dict[str, asyncio.Task[BackendList]] = {}  # under way, by CRN
        self._task: asyncio.Task[None] | None = None
        self._calibrating: asyncio.Task[None] | None = None
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
        _check_seconds("interval", interval)
        if isinstance(threshold, bool) or not isinstance(threshold, int) or threshold < 1:
            raise InvalidRequest("threshold has to be a whole number of jobs, 1 or more")
        if isinstance(backends, str):
            raise InvalidRequest("backends has to be a list of names")
        return Watch(self, interval, None if backends is None else frozenset(backends), threshold, detail)

    async def wait_for(self, name: str, until: Until, timeout: float | None, interval: float) -> Backend:
        """Return a backend's entry in the list as soon as `until` is true of it.

        Raises:
            Timeout: it was not, within `timeout` seconds.
            InvalidRequest: `timeout` or `interval` makes no sense.
        """
        _check_seconds("interval", interval)
        if timeout is not None:
            _check_seconds("timeout", timeout)
        with anyio.move_on_after(timeout):
            async with self.seated(_Seat(interval, frozenset([name]), False)) as seat:
                while True:
                    state = await self.look(seat)
                    for (crn, known), backend in state.backends.items():
                        # Of an instance that fails it is known what was, and not what is.
                        if known == name and crn not in state.failing and await _said(until(backend)):
                            return backend
        raise Timeout(f"what was waited for did not happen within {timeout:g} s").about(backend=name)

    async def wait_for_recalibration(self, name: str, timeout: float | None, interval: float) -> datetime:
        """Return the date of a backend's next calibration, as soon as it is there.

        Raises:
            Timeout: it was not, within `timeout` seconds.
            InvalidRequest: `timeout` or `interval` makes no sense.
        """
        if timeout is not None:
            _check_seconds("timeout", timeout)
        with anyio.move_on_after(timeout):
            async with self.watch(interval, [name], detail=True) as changes:
                async for change in changes:
                    if change.calibrated_at is not None:
                        return change.calibrated_at
        raise Timeout(f"there was no new calibration within {timeout:g} s").about(backend=name)

    async def aclose(self) -> None:
        """End the watching; who watches gets `ClientClosed`."""
        self._end(ClientClosed("the client was closed"))
        await self._stop()

    @asynccontextmanager
    async def seated(self, seat: _Seat) -> AsyncGenerator[_Seat, None]:
        """Poll for one more, and in the end for one less; without any, not at all."""
        self._check()
        self._seats.add(seat)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._poll_on(), context=Context())
        elif self._rest is not None:
            self._rest.cancel()  # the next poll may have to be sooner
        # What was seen before is news if it is no older than what they ask for.
        seat.polled = self._clock() - 2 * seat.interval + self._interval() / 2
        seat.calibrations = self._calibrations
        try:
            yield seat
        finally:
            self._seats.discard(seat)
            if not self._seats:
                await self._stop()

    async def look(self, seat: _Seat) -> State:
        """Return what there is, as soon as it is time and there is something new.

        Raises:
            QRBackendsError: there is nothing more to come.
        """
        while seat.end is None and not self._has_news(seat):
            seat.news.clear()
            await seat.news.wait()
        if isinstance(seat.end, QRBackendsError):
            raise seat.end.again()
        if seat.end is not None:
            raise seat.end
        seat.polled, seat.calibrations = self._polled_at, self._calibrations
        return self._state

    def _has_news(self, seat: _Seat) -> bool:
        # Of the polls, which are as frequent as the most eager wants, the nearest one to each interval.
        due = self._polled_at - seat.polled >= seat.interval - self._interval() / 2
        return due or (seat.detail and self._calibrations > seat.calibrations)

    async def _stop(self) -> None:
        tasks = {task for task in (self._task, self._calibrating, *self._lists.values()) if task is not None}
        self._task = self._calibrating = None
        # It would be old when somebody comes; a new one, as somebody may still read this one.
        self._state, self._polled_at, self._lists = State(), -math.inf, {}
        for task in tasks:
            task.cancel()
            task.add_done_callback(_seen)
        if tasks:
            await asyncio.wait(tasks)

    def _end(self, error: Exception) -> None:
        """Tell all who watch that there is nothing more to come; whoever comes now begins anew."""
        seats, self._seats = self._seats, set()
        for seat in seats:
            seat.end = error
            seat.news.set()

    # --- polling

    async def _poll_on(self) -> None:
        try:
            await self._keep_polling()
        except Exception as error:  # it ends the watching, and is told to those who watch
            self._task = None
            self._end(error)

    async def _keep_polling(self) -> None:
        grid = due = self._clock()
        moved = False
        while True:
            now = self._clock()
            if now < due:
                if not await self._rested(due - now):
                    due = min(due, self._polled_at + self._interval())
                continue
            await self._poll(now)
            interval = self._interval()
            if self._behind:  # another process polled: from now on at the same moment as we
                grid, moved = now - self._behind, True
            elif not moved:
                grid, moved = grid + _JITTER * interval * self._draw(), True
            due = grid + interval * max(1, math.floor((self._clock() - grid) / interval) + 1)

    async def _rested(self, seconds: float) -> bool:
        """Wait, and return whether for so long: someone may come who wants a poll sooner."""
        self._rest = rest = asyncio.ensure_future(self._sleep(seconds))
        try:
            while not rest.done():
                await asyncio.wait({rest, *self._lists.values()}, return_when=asyncio.FIRST_COMPLETED)
                self._state.listed(self._collected(), self._crns, self._now())  # what came late
        finally:
            self._rest = None
            rest.cancel()  # this task may have been cancelled itself
        return not rest.cancelled()

    def _interval(self) -> float:
        return min((seat.interval for seat in self._seats), default=math.inf)

    async def _poll(self, began: float) -> None:
        """Ask for the lists, and tell; then for the calibrations that somebody watches."""
        try:
            self._crns = [instance.crn for instance in await self._instances()]
        except _FINAL:
            raise
        except QRBackendsError as error:
            self._state.unlisted(error, self._now())
        else:
            answers = await self._listed()
            self._state.listed(answers, self._crns, self._now())
            if self._calibrating is None or self._calibrating.done():
                wanted = [
                    one
                    for (crn, name), one in self._state.backends.items()
                    if crn in answers and any(s.detail and s.wants(name) for s in self._seats)
                ]
                if wanted:
                    self._calibrating = asyncio.ensure_future(self._calibrate(wanted))
        self._polled_at = began
        self._tell()

    def _tell(self) -> None:
        for seat in self._seats:
            seat.news.set()

    async def _listed(self) -> dict[str, BackendList | QRBackendsError]:
        """Return each instance's list or error; those that take too long come with a later poll."""
        self._behind = 0.0
        for crn in self._lists.keys() - set(self._crns):
            self._lists.pop(crn).cancel()
        for crn in self._crns:
            if crn not in self._lists:
                self._lists[crn] = asyncio.ensure_future(self._list(crn))
        patience = asyncio.ensure_future(self._sleep(min(_PATIENCE, self._interval() / 2)))
        try:
            while not patience.done() and (under_way := [t for t in self._lists.values() if not t.done()]):
                await asyncio.wait({patience, *under_way}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            patience.cancel()
        return self._collected()

    def _collected(self) -> dict[str, BackendList | QRBackendsError]:
        """Return what came, and wait for it no more."""
        answers: dict[str, BackendList | QRBackendsError] = {}
        for crn, task in [(crn, task) for crn, task in self._lists.items() if task.done()]:
            del self._lists[crn]
            error = task.exception()
            if isinstance(error, _FINAL):
                raise error
            answers[crn] = error if isinstance(error, QRBackendsError) else task.result()
        return answers

    async def _list(self, crn: str) -> BackendList:
        listed = await self._ask(Request("backends"), instance=crn, **self._how())
        if listed.source != "origin":
            self._behind = max(self._behind, listed.age)
        backends: BackendList = listed.value
        return backends

    def _how(self) -> dict[str, Any]:
        return {"max_age": _YOUNG * self._interval()} if self._shared else {"refresh": True}

    async def _calibrate(self, backends: Iterable[Backend]) -> None:
        places = asyncio.Semaphore(_AT_ONCE)
        try:
            await asyncio.gather(*(self._calibration(one, places) for one in backends))
        except Exception as error:  # it ends the watching, and is told to those who watch
            self._end(error)
            return
        self._calibrations += 1
        self._tell()

    async def _calibration(self, backend: Backend, places: asyncio.Semaphore) -> None:
        state = self._state
        request = Request("properties", backend.name)
        async with places:
            try:
                properties = (await self._ask(request, instance=backend.instance, **self._how())).value
            except _FINAL:
                raise
            except QRBackendsError:
                return  # the next poll asks again
        state.calibrated[backend.instance, backend.name] = properties.last_update_date


class Watch:
    """Changes as one consumer sees them: an async iterable, which `async with` ends at once.

    Nothing is queued: when the consumer asks, what was seen last is compared with what it was told last.
    Who is slow misses what was undone meanwhile, and nothing else. Whoever iterates once more begins anew.
    """

    def __init__(
        self, watcher: Watcher, interval: float, names: frozenset[str] | None, threshold: int, detail: bool
    ) -> None:
        self._watcher = watcher
        self._interval = interval
        self._names = names
        self._threshold = threshold
        self._detail = detail
        self._open: list[AsyncGenerator[Change, None]] = []

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
        told, first = State(), True
        async with self._watcher.seated(_Seat(self._interval, self._names, self._detail)) as seat:
            while True:
                state = await self._watcher.look(seat)
                for change in differences(told, state, seat.wants, self._threshold, first, self._detail):
                    yield change
                first = False


def _seen(task: asyncio.Task[Any]) -> None:
    """Look at an error that is nobody's any more."""
    if not task.cancelled():
        task.exception()


def _check_seconds(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e9:
        raise InvalidRequest(f"{name} has to be a number of seconds greater than zero")


async def _said(answer: Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer
