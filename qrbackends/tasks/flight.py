"""Single flight: one piece of work for all who ask for the same thing at once."""

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
    """Work that is under way for one key.

    Attributes:
        until: the deadline of whoever waits longest, in the event loop's time. The work may try for so long.
        explain: returns what to raise for a caller whose own deadline has passed, given the `Timeout` and the
            time; the work may know more than that there is no answer yet.
    """

    until: float
    explain: Callable[[QRBackendsError, float], QRBackendsError] = field(default=lambda error, now: error)
    task: asyncio.Task[T] = field(init=False)
    waiting: set[asyncio.Future[None]] = field(default_factory=set)
    wanted: bool = False  # whether it goes on although nobody waits

    def deadline(self) -> float:
        """Return when the work has to end, as far as is known now: another caller may have longer."""
        return self.until


Work: TypeAlias = Callable[[Flight[T]], Coroutine[Any, Any, T]]
"""Begins the work of a flight."""


class Flights(Generic[T]):
    """Callers who ask for the same key while work on it is under way share its outcome.

    A flight has no deadline of its own: it is as patient as whoever waits longest. Each caller leaves at
    their own deadline, and the last to leave stops the work. It runs in a context of its own, so that no
    caller's context variables or cancel scopes reach it.
    """

    def __init__(self) -> None:
        self.under_way: dict[Hashable, Flight[T]] = {}
        """The flights that callers may join, by key; read only."""
        self._tasks: set[asyncio.Task[T]] = set()
        self.closed = False

    async def join(self, key: Hashable, work: Work[T], until: float = inf) -> T:
        """Return what `work` returns, beginning it unless it is under way for this key.

        Args:
            key: what the work is about.
            work: begins it.
            until: when to give up, in the event loop's time.

        Raises:
            Timeout: it did not end in time.
            ClientClosed: the flights were closed, before or meanwhile.
            QRBackendsError: what the work raised; each caller gets an instance of their own.
        """
        flight = self.under_way.get(key) or self._start(key, work, until)
        flight.until = max(flight.until, until)
        # A future per caller: a thousand who wait cost a fraction of what `asyncio.wait` takes.
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
        """Begin `work` in the background, unless it is under way, and return its task; callers may join it.

        It goes on however many callers join and leave, until `until`, in the event loop's time; then it is
        stopped unless a caller waits. Its failure reaches those who ask for it, and nobody else: `work`
        itself logs what has to be known.
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
        self.under_way.pop(key, None)  # nobody joins what is being stopped
        flight.task.cancel()

    def _start(self, key: Hashable, work: Work[T], until: float) -> Flight[T]:
        if self.closed:
            raise ClientClosed("the client is closed")
        flight = self.under_way[key] = Flight(until)
        flight.task = asyncio.get_running_loop().create_task(work(flight), context=Context())
        self._tasks.add(flight.task)

        def landed(task: asyncio.Task[T]) -> None:
            self._tasks.discard(task)
            if self.under_way.get(key) is flight:
                del self.under_way[key]
            if not task.cancelled():
                task.exception()  # seen, even where every caller has left
            for waiter in flight.waiting:
                if not waiter.done():
                    waiter.set_result(None)

        flight.task.add_done_callback(landed)
        return flight

    async def aclose(self) -> None:
        """Stop all work; callers get `ClientClosed`."""
        self.closed = True
        await stopped(self._tasks)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


async def stopped(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended; their outcomes are nobody's any more."""
    ending = set(tasks)
    for task in ending:
        task.cancel()
        task.add_done_callback(_seen)
    if ending:
        await asyncio.wait(ending)


def _seen(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


def outcome(task: asyncio.Task[T]) -> T:
    """Return what a task that has ended returned, or raise an error of the caller's own.

    Raises:
        ClientClosed: it was cancelled.
        QRBackendsError: what it raised.
    """
    if task.cancelled():
        raise ClientClosed("the client was closed during the call")
    error = task.exception()
    if isinstance(error, QRBackendsError):
        raise error.again()
    return task.result()
