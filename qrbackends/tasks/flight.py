"""Single flight: concurrent callers who ask for the same key share one piece of work."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Iterable
from contextvars import Context
from dataclasses import dataclass, field
from math import inf
from typing import Any, Generic, TypeAlias, TypeVar

import anyio

from ..errors import ClientClosed, QRBackendsError, Timeout, TransportError

T = TypeVar("T")

Deadline: TypeAlias = float | Callable[[], float]
"""An instant in the event loop's time, or what returns it: the deadline of a flight moves as callers join."""


def unexplained(error: QRBackendsError, now: float) -> QRBackendsError:
    """Return the error as it is: the work knows nothing more."""
    return error


@dataclass(slots=True, eq=False)
class Flight(Generic[T]):
    """The work for one key, while it runs.

    Attributes:
        until: the latest deadline of all callers, in the event loop's time, as far as it does not move.
        moving: the deadlines of callers that move, as those do that are flights themselves.
        explain: returns the error for a caller whose own deadline has passed, given the `Timeout` and the
            time. The work replaces it if it can give a better reason, such as the last failed request.
        task: the task that runs the work.
        waiting: a future for each caller; it is resolved when the work ends or the caller's deadline passes.
        wanted: until when the work goes on although no caller waits.
        answered: whether the answer, or the failure, has arrived, and is only being stored or told. Who has
            to have a later one must not join. The work sets it.
    """

    until: float
    moving: list[Callable[[], float]] = field(default_factory=list)
    explain: Callable[[QRBackendsError, float], QRBackendsError] = unexplained
    task: asyncio.Task[T] = field(init=False)
    waiting: set[asyncio.Future[None]] = field(default_factory=set)
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
        self._tasks: set[asyncio.Task[T]] = set()
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
        flight = self.under_way.get(key) or self._start(key, work)
        if callable(until):
            flight.moving.append(until)
        else:
            flight.until = max(flight.until, until)
        # A future per caller: for a thousand callers that is much cheaper than `asyncio.wait`.
        loop = asyncio.get_running_loop()
        began = loop.time()
        waiter = loop.create_future()
        flight.waiting.add(waiter)
        alarm: asyncio.TimerHandle | _MovingAlarm | None = None
        if callable(until):
            alarm = _MovingAlarm(waiter, until)
        elif until < inf:
            alarm = loop.call_at(until, _wake, waiter)
        try:
            await waiter
        finally:
            if alarm is not None:
                alarm.cancel()
            flight.waiting.discard(waiter)
            if callable(until):
                flight.moving.remove(until)
            if not flight.waiting and flight.wanted == -inf and not flight.task.done():
                self._stop(key, flight)
        if flight.task.done():
            return self.outcome(flight.task)
        at = until() if callable(until) else until
        late = Timeout(f"no answer within {max(0.0, at - began):.3g} s")
        raise flight.explain(late, loop.time()).again()

    def begin(self, key: Hashable, work: Work[T], until: float = inf) -> asyncio.Task[T]:
        """Begin `work` in the background, unless work for this key already runs; return its task.

        Callers may join the work. Until `until`, in the event loop's time, it goes on even when all callers
        have left; after that it is cancelled unless a caller waits. An error is raised only in those callers
        and in the task; `work` itself has to log it.
        """
        flight = self.under_way.get(key) or self._start(key, work)
        flight.until = max(flight.until, until)
        flight.wanted = max(flight.wanted, until)
        if until < inf:
            alarm = asyncio.get_running_loop().call_at(until, self._unwanted, key, flight, until)
            flight.task.add_done_callback(lambda _: alarm.cancel())
        return flight.task

    def _unwanted(self, key: Hashable, flight: Flight[T], until: float) -> None:
        if until < flight.wanted:  # it was begun again, for longer
            return
        flight.wanted = -inf
        if not flight.waiting and not flight.task.done():
            self._stop(key, flight)

    def _stop(self, key: Hashable, flight: Flight[T]) -> None:
        if self.under_way.get(key) is flight:  # so that no caller joins a flight that is being cancelled
            del self.under_way[key]
        flight.task.cancel()

    def _start(self, key: Hashable, work: Work[T]) -> Flight[T]:
        if self.closed:
            raise ClientClosed("the client is closed")
        flight: Flight[T] = Flight(-inf)
        flight.task = asyncio.get_running_loop().create_task(work(flight), context=Context())
        self.under_way[key] = flight
        self._tasks.add(flight.task)

        def ended(task: asyncio.Task[T]) -> None:
            self._tasks.discard(task)
            if self.under_way.get(key) is flight:
                del self.under_way[key]
            if not task.cancelled():
                task.exception()  # marks it as retrieved, even if every caller has left
            for waiter in flight.waiting:
                if not waiter.done():
                    waiter.set_result(None)

        flight.task.add_done_callback(ended)
        return flight

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
            raise TransportError("the call was cancelled by other code")
        error = task.exception()
        if isinstance(error, QRBackendsError):
            raise error.again()
        return task.result()

    async def aclose(self, patience: float | None = None) -> None:
        """Cancel all work, and wait until it has ended, or for `patience` seconds.

        Callers get `ClientClosed`.
        """
        self.closed = True
        await stopped(self._tasks, patience)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class _MovingAlarm:
    """Wakes a caller at a deadline that may have moved by then."""

    def __init__(self, waiter: asyncio.Future[None], until: Callable[[], float]) -> None:
        self._waiter = waiter
        self._until = until
        self._handle: asyncio.TimerHandle | None = None
        self._at = -inf
        self._ring()

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _ring(self) -> None:
        until = self._until()
        if until <= self._at:
            _wake(self._waiter)
        elif until < inf:
            self._at = until
            self._handle = asyncio.get_running_loop().call_at(until, self._ring)


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
