"""Single flight: concurrent callers who ask for the same key share one piece of work."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Iterable
from contextvars import Context
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

import anyio
from msgspec import Struct

from ..errors import ClientClosed, QRBackendsError, TransportError
from .deadlines import overdue
from .leader import Leader

T = TypeVar("T")

_NO_TASK: Any = None  # while the leader's does the work
_CANCELLED: Final = "the call was cancelled by other code"
_SPARE = 64  # callers who have left and are still in the heap of deadlines

Deadline: TypeAlias = float | Callable[[], float]
"""An instant in the event loop's time, or what returns it: the deadline of a flight moves as callers join."""


def unexplained(error: QRBackendsError, now: float) -> QRBackendsError:
    """Return the error as it is: the work knows nothing more."""
    return error


class Flight(Struct, Generic[T], eq=False):
    """The work for one key, while it runs.

    Attributes:
        key: identifies the work.
        loop: the event loop that runs the work; asking for the running one takes a system call.
        until: the latest deadline of all callers, in the event loop's time, as far as it does not move.
        moving: the deadlines of callers that move, as those do that are flights themselves.
        explain: returns the error for a caller whose own deadline has passed, given the `Timeout` and the
            time. The work replaces it if it can give a better reason, such as the last failed request.
        task: the task that runs the work; None if only the first caller's own does.
        leader: what that one does it by; None if the work has had a task from the beginning.
        waiting: a future for each caller; it is resolved when the work ends or the caller's deadline passes.
            A leader is one as soon as the work has a task.
        wanted: until when the work goes on although no caller waits.
        answered: whether the answer, or the failure, has arrived, and is only being stored or told. Who has
            to have a later one must not join. The work sets it.
    """

    key: Hashable
    loop: asyncio.AbstractEventLoop
    until: float = -inf
    moving: list[Callable[[], float]] = []
    explain: Callable[[QRBackendsError, float], QRBackendsError] = unexplained
    task: asyncio.Task[T] = _NO_TASK
    leader: Leader[T] | None = None
    waiting: dict[asyncio.Future[None] | Leader[T], None] = {}
    wanted: float = -inf
    answered: bool = False

    def deadline(self) -> float:
        """Return when the work has to end; a caller with a later deadline may still join."""
        return max(self.until, *(deadline() for deadline in self.moving)) if self.moving else self.until


Work: TypeAlias = Callable[[Flight[T]], Coroutine[Any, Any, T]]
"""A function that begins the work of a flight."""


class Flights(Generic[T]):
    """The flights by key: a caller who asks for a key while work on it runs shares the result.

    The work has no deadline of its own; it may go on until the latest deadline of its callers. Each caller
    leaves at their own deadline, and the work is cancelled when the last caller leaves. It runs in a new
    context, so that no caller's context variables or cancel scopes affect it.
    """

    def __init__(self) -> None:
        self.under_way: dict[Hashable, Flight[T]] = {}
        """The flights that callers may join, by key; other modules only read it."""
        self._tasks: dict[asyncio.Task[T], Flight[T]] = {}
        self._alarms = _Alarms()
        self.closed = False

    async def join(self, key: Hashable, work: Work[T], until: Deadline = inf) -> T:
        """Return the result of `work`; begin it unless work for this key already runs.

        Args:
            key: identifies the work.
            work: begins the work.
            until: the caller's deadline.

        Raises:
            Timeout: the work did not end before the deadline.
            QRBackendsError: any error that `outcome` raises.
        """
        return await self.result(self.under_way.get(key) or self.start(key, work), until)

    async def result(self, flight: Flight[T], until: Deadline = inf) -> T:
        """Return the result of a flight that is under way; the rest is as for `join`."""
        if flight.task is _NO_TASK:
            self._give_task(flight)
        # A future per caller: for a thousand callers that is much cheaper than `asyncio.wait`.
        loop = flight.loop
        began = loop.time()
        waiter = loop.create_future()
        flight.waiting[waiter] = None
        if callable(until):
            flight.moving.append(until)
        elif until > flight.until:
            flight.until = until
        self._alarms.set(loop, waiter, until)
        try:
            await waiter
            if callable(until) and not (flight.task.done() or self.closed) and until() > loop.time():
                return await self.result(flight, until)  # a caller joined at the moment of the deadline
        finally:
            self._alarms.drop(loop)
            if not flight.task.done():
                del flight.waiting[waiter]
                if callable(until):
                    flight.moving.remove(until)
                self._leave(flight)
        return self._result(flight, until() if callable(until) else until, began)

    def _result(self, flight: Flight[T], until: float, began: float) -> T:
        """Return the result for a caller who does not wait any more, or raise why there is none."""
        if flight.task is not _NO_TASK and flight.task.done():
            return self.outcome(flight.task)
        if self.closed:
            raise ClientClosed("the client was closed during the call")
        raise flight.explain(overdue(until - began), flight.loop.time()).again()

    async def lead(self, key: Hashable, work: Work[T], until: float) -> T:
        """Begin `work`, for whose key none is under way, and return its result; the rest is as for `join`.

        The caller's own task does the work until another caller joins, which saves a task and two turns of
        the event loop, some 7 % of a small call. So the work may be another task's after each `await`:
        `Leader` says what it may not use. Nothing may join the flight from within a step of the work.
        """
        self._check_open()
        loop = asyncio.get_running_loop()
        flight: Flight[T] = Flight(key, loop, until)
        flight.leader = leader = Leader(work(flight), loop, Context())
        self.under_way[key] = flight
        began = loop.time()
        self._alarms.set(loop, leader, until)
        try:
            ended, answer = await leader
            if ended:
                return cast("T", answer)
            # Before the work is stopped: until then it can say why it is late.
            return self._result(flight, until, began)
        except QRBackendsError as error:
            failure = error.again()  # without the traceback, whose frames hold credentials
        except asyncio.CancelledError:
            if not leader.ended:
                raise
            failure = TransportError(_CANCELLED)
        finally:
            self._alarms.drop(loop)
            if not leader.ended:
                self._relieve(flight, leader)
            elif self.under_way.get(key) is flight:
                del self.under_way[key]
        raise failure

    def _relieve(self, flight: Flight[T], leader: Leader[T]) -> None:
        """Let the leader of a flight go, and stop the work if nobody else waits for it."""
        if flight.task is _NO_TASK:
            self._forget(flight)
            if not leader.stop():  # it has still to wait for something
                self._give_task(flight)
                del flight.waiting[leader]
        elif not flight.task.done():
            del flight.waiting[leader]
            self._leave(flight)

    def _give_task(self, flight: Flight[T]) -> None:
        """Let a task of its own go on with work that the leader's has begun; the leader waits for it, too."""
        leader: Any = flight.leader
        flight.task = task = leader.hand_over()
        flight.waiting[leader] = None
        self._tasks[task] = flight
        task.add_done_callback(self._ended)

    def begin(self, key: Hashable, work: Work[T], until: float = inf) -> asyncio.Task[T]:
        """Begin `work` in the background, unless work for this key already runs; return its task.

        Callers may join the work. Until `until`, in the event loop's time, it goes on even when all callers
        have left; after that it is cancelled unless a caller waits. An error is raised only in those callers
        and in the task; `work` itself has to log it.
        """
        flight = self.under_way.get(key) or self.start(key, work)
        if flight.task is _NO_TASK:
            self._give_task(flight)
        flight.until = max(flight.until, until)
        flight.wanted = max(flight.wanted, until)
        if until < inf:
            alarm = asyncio.get_running_loop().call_at(until, self._unwanted, flight, until)
            flight.task.add_done_callback(lambda _: alarm.cancel())
        return flight.task

    def start(self, key: Hashable, work: Work[T]) -> Flight[T]:
        """Begin `work`, and return its flight, which ends when the last caller of `result` has left.

        Raises:
            ClientClosed: the flights are closed.
        """
        self._check_open()
        flight: Flight[T] = Flight(key, asyncio.get_running_loop())
        self.under_way[key] = flight
        # Not by the loop's factory, which might begin the work before a deadline is known.
        flight.task = task = asyncio.Task(self._run(flight, work), loop=flight.loop, context=Context())
        self._tasks[task] = flight
        task.add_done_callback(self._ended)
        return flight

    def _check_open(self) -> None:
        if self.closed:
            raise ClientClosed("the client is closed")

    async def _run(self, flight: Flight[T], work: Work[T]) -> T:
        answer = await work(flight)
        if flight.waiting:  # the callback comes one turn of the event loop later
            flight.task.remove_done_callback(self._ended)
            self._forget(self._tasks.pop(flight.task))
        return answer

    def _ended(self, task: asyncio.Task[T]) -> None:
        self._forget(self._tasks.pop(task))
        _retrieve(task)  # even if every caller has left

    def _forget(self, flight: Flight[T]) -> None:
        """Let nobody join a flight that has ended, is cancelled or closed, and wake those who wait for it."""
        if self.under_way.get(flight.key) is flight:
            del self.under_way[flight.key]
        for caller in flight.waiting:
            if not caller.done():
                caller.set_result(None)

    def _unwanted(self, flight: Flight[T], until: float) -> None:
        if until == flight.wanted:  # otherwise it was begun again, for longer
            flight.wanted = -inf
            self._leave(flight)

    def _leave(self, flight: Flight[T]) -> None:
        """Cancel the work if nobody waits for it any more."""
        if not flight.waiting and flight.wanted == -inf and not flight.task.done():
            self._forget(flight)
            flight.task.cancel()

    def outcome(self, task: asyncio.Task[T]) -> T:
        """Return the result of work that has ended.

        Raises:
            ClientClosed: the work was cancelled, as the flights were closed.
            TransportError: the work was cancelled, but not by the flights.
            QRBackendsError: the work raised it; the caller gets an instance of their own.
        """
        if task.cancelled():
            if self.closed:
                raise ClientClosed("the client was closed during the call")
            raise TransportError(_CANCELLED)
        error = task.exception()
        if isinstance(error, QRBackendsError):
            raise error.again()
        return task.result()

    async def aclose(self, patience: float | None = None) -> None:
        """Cancel all work, and wait until it has ended, or for `patience` seconds.

        Callers get `ClientClosed`, even if their work goes on all the same.
        """
        self.closed = True
        for flight in tuple(self.under_way.values()):
            if flight.leader is None or flight.task is not _NO_TASK:
                continue
            if flight.leader.pending is None:  # this is called by the work itself
                flight.leader.set_result(None)
            else:
                self._give_task(flight)
        try:
            await stopped(self._tasks, patience)
        finally:
            for flight in self._tasks.values():
                self._forget(flight)
            self._alarms.stop()


class _Alarms:
    """Wakes callers at their deadlines; one timer of the event loop serves all of them."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, asyncio.Future[None] | Leader[Any], Deadline]] = []  # a heap
        self._numbers = count()  # two deadlines may be equal
        self._callers = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._at = inf  # when the timer ends

    def set(
        self, loop: asyncio.AbstractEventLoop, caller: asyncio.Future[None] | Leader[Any], until: Deadline
    ) -> None:
        """Wake a caller at a deadline, which may move until then; `drop` has to be called in any case."""
        if loop is not self._loop:  # another loop has ended with its callers and its timer
            self._loop, self._due, self._callers, self._timer, self._at = loop, [], 0, None, inf
        self._callers += 1
        at = until() if callable(until) else until
        heappush(self._due, (at, next(self._numbers), caller, until))
        if at < self._at:
            self._arm(at)

    def drop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Note that a caller leaves; the deadline stays in the heap until half of all are such."""
        if loop is not self._loop:  # a caller of the loop that has ended, collected only now
            return
        self._callers -= 1
        if not self._callers:
            self._due.clear()
        elif len(self._due) > _SPARE + 2 * self._callers:
            self._due = [one for one in self._due if not one[2].done()]
            heapify(self._due)

    def stop(self) -> None:
        """Stop the timer, which would keep the callers' objects for as long as it runs."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._ring, context=Context())

    def _ring(self) -> None:
        now, self._at = max(self._at, asyncio.get_running_loop().time()), inf  # a timer may end too early
        while self._due and (self._due[0][0] <= now or self._due[0][2].done()):
            _, _, caller, until = heappop(self._due)
            at = until() if callable(until) else now
            if caller.done():
                continue
            if at > now:
                heappush(self._due, (at, next(self._numbers), caller, until))
            else:
                caller.set_result(None)
        if self._due and self._due[0][0] < self._at:
            self._arm(self._due[0][0])


async def stopped(tasks: Iterable[asyncio.Task[Any]], patience: float | None = None) -> None:
    """Cancel tasks and wait until they have ended; their results and errors are dropped.

    A caller who is cancelled meanwhile, be it again and again, leaves when the tasks have ended. Tasks of
    which some ignore that they are cancelled are left to themselves after `patience` seconds, if given.
    """
    clock = asyncio.get_running_loop().time
    until = None if patience is None else clock() + patience
    ending = set(tasks)
    for task in ending:
        task.cancel()
        task.add_done_callback(_retrieve)
    ending.discard(asyncio.current_task())  # a task cannot wait for its own end
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while ending and (until is None or clock() < until):
            try:
                _, ending = await asyncio.wait(ending, timeout=None if until is None else until - clock())
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Mark a task's error as retrieved, so that asyncio does not log it."""
    if not task.cancelled():
        task.exception()
