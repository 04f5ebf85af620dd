"""One piece of work for many callers at once."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from contextvars import Context
from dataclasses import dataclass, field
from math import inf
from typing import Any, Generic, TypeVar

from ..errors import ClientClosed, QRBackendsError

T = TypeVar("T")


class Overdue(Exception):
    """Whoever waited has no more time."""


@dataclass(slots=True, eq=False)
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    waiting: set[asyncio.Future[None]] = field(default_factory=set)
    wanted: bool = False  # whether it goes on without anybody who waits


class Flights(Generic[T]):
    """Callers who ask for the same key while work on it is under way share its outcome.

    The work has no deadline of its own: each caller leaves at their own, and the last one to leave stops
    it. It runs in a context of its own, so that no caller's context variables or cancel scopes reach it.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}
        self._tasks: set[asyncio.Task[T]] = set()
        self._closed = False

    def __contains__(self, key: Hashable) -> bool:
        return key in self._flights

    async def join(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]], until: float = inf) -> T:
        """Return what `work` returns, beginning it unless it is under way for this key.

        Args:
            key: what the work is about.
            work: begins it.
            until: when to give up, in the event loop's time.

        Raises:
            Overdue: it did not end in time.
            ClientClosed: the flights were closed, before or meanwhile.
            QRBackendsError: what the work raised; each caller gets an instance of their own.
        """
        flight = self._flights.get(key) or self._start(key, work)
        # A future of one's own: a thousand who wait cost a fraction of what `asyncio.wait` takes.
        loop = asyncio.get_running_loop()
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
                self._flights.pop(key, None)  # nobody joins what is being stopped
                flight.task.cancel()
        if not flight.task.done():
            raise Overdue
        return outcome(flight.task)

    def begin(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """Begin `work` in the background, unless it is under way, and return its task; callers may join it.

        It goes on however many join and leave. Its failure reaches those who ask for it, and nobody else:
        `work` itself logs what has to be told.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._start(key, work)
            flight.wanted = True
        return flight.task

    def _start(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> _Flight[T]:
        if self._closed:
            raise ClientClosed("the client is closed")
        task = asyncio.get_running_loop().create_task(work(), context=Context())
        flight = self._flights[key] = _Flight(task)
        self._tasks.add(task)

        def landed(task: asyncio.Task[T]) -> None:
            self._tasks.discard(task)
            if self._flights.get(key) is flight:
                del self._flights[key]
            if not task.cancelled():
                task.exception()  # seen, even where every caller has left
            for waiter in flight.waiting:
                _wake(waiter)

        task.add_done_callback(landed)
        return flight

    async def aclose(self) -> None:
        """Stop all work; callers get `ClientClosed`."""
        self._closed = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


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
