"""Single flight: concurrent callers who ask for the same key share one piece of work."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Iterable
from contextvars import Context
from dataclasses import dataclass, field
from math import inf
from typing import Any, Generic, TypeAlias, TypeVar

from ..errors import ClientClosed, QRBackendsError, Timeout

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Flight(Generic[T]):
    """The work for one key, while it runs.

    Attributes:
        until: the latest deadline of all callers, in the event loop's time; the work may go on until then.
        explain: returns the error for a caller whose own deadline has passed, given the `Timeout` and the
            time. The work replaces it if it can give a better reason, such as the last failed request.
        task: the task that runs the work.
        waiting: a future for each caller; it is resolved when the work ends or the caller's deadline passes.
        wanted: whether the work goes on although no caller waits.
    """

    until: float
    explain: Callable[[QRBackendsError, float], QRBackendsError] = field(default=lambda error, now: error)
    task: asyncio.Task[T] = field(init=False)
    waiting: set[asyncio.Future[None]] = field(default_factory=set)
    wanted: bool = False

    def deadline(self) -> float:
        """Return when the work has to end; a caller with a later deadline may still join."""
        return self.until


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

    async def join(self, key: Hashable, work: Work[T], until: float = inf) -> T:
        """Return the result of `work`; begin it unless work for this key already runs.

        Args:
            key: identifies the work.
            work: begins the work.
            until: the caller's deadline, in the event loop's time.

        Raises:
            Timeout: the work did not end before the deadline.
            ClientClosed: the flights were closed, before or during the call.
            QRBackendsError: the work raised it; each caller gets an instance of their own.
        """
        flight = self.under_way.get(key) or self._start(key, work, until)
        flight.until = max(flight.until, until)
        # A future per caller: for a thousand callers that is much cheaper than `asyncio.wait`.
        loop = asyncio.get_running_loop()
        began = loop.time()
        waiter = loop.create_future()
        flight.waiting.add(waiter)
        alarm = loop.call_at(until, _wake, waiter) if until < inf else None
        try:
            await waiter
        finally:
            if alarm is not None:
                alarm.cancel()
            flight.waiting.discard(waiter)
            if not flight.waiting and not flight.wanted and not flight.task.done():
                self._stop(key, flight)
        if flight.task.done():
            return outcome(flight.task)
        late = Timeout(f"no answer within {max(0.0, until - began):.3g} s")
        raise flight.explain(late, loop.time()).again()

    def begin(self, key: Hashable, work: Work[T], until: float = inf) -> asyncio.Task[T]:
        """Begin `work` in the background, unless work for this key already runs; return its task.

        Callers may join the work. Until `until`, in the event loop's time, it goes on even when all callers
        have left; after that it is cancelled unless a caller waits. An error is raised only in those callers
        and in the task; `work` itself has to log it.
        """
        flight = self.under_way.get(key) or self._start(key, work, until)
        flight.until = max(flight.until, until)
        flight.wanted = True
        if until < inf:
            alarm = asyncio.get_running_loop().call_at(until, self._unwanted, key, flight)
            flight.task.add_done_callback(lambda _: alarm.cancel())
        return flight.task

    def _unwanted(self, key: Hashable, flight: Flight[T]) -> None:
        flight.wanted = False
        if not flight.waiting and not flight.task.done():
            self._stop(key, flight)

    def _stop(self, key: Hashable, flight: Flight[T]) -> None:
        self.under_way.pop(key, None)  # so that no caller joins a flight that is being cancelled
        flight.task.cancel()

    def _start(self, key: Hashable, work: Work[T], until: float) -> Flight[T]:
        if self.closed:
            raise ClientClosed("the client is closed")
        flight = self.under_way[key] = Flight(until)
        flight.task = asyncio.get_running_loop().create_task(work(flight), context=Context())
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

    async def aclose(self) -> None:
        """Cancel all work, and wait until it has ended; callers get `ClientClosed`."""
        self.closed = True
        await stopped(self._tasks)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


async def stopped(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended; their results and errors are dropped."""
    ending = set(tasks)
    for task in ending:
        task.cancel()
        task.add_done_callback(_retrieve)
    if ending:
        await asyncio.wait(ending)


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Mark a task's error as retrieved, so that asyncio does not log it."""
    if not task.cancelled():
        task.exception()


def outcome(task: asyncio.Task[T]) -> T:
    """Return the result of a task that has ended.

    Raises:
        ClientClosed: the task was cancelled.
        QRBackendsError: the task raised it; the caller gets an instance of their own.
    """
    if task.cancelled():
        raise ClientClosed("the client was closed during the call")
    error = task.exception()
    if isinstance(error, QRBackendsError):
        raise error.again()
    return task.result()
