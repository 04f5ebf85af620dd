"""One piece of work for many callers at once."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .errors import ClientClosed, QRBackendsError

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    waiters: int = 0


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

    async def join(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what `work` returns, beginning it unless it is under way for this key.

        Raises:
            ClientClosed: the flights were closed, before or meanwhile.
            QRBackendsError: what the work raised; each caller gets an instance of their own.
        """
        flight = self._flights.get(key) or self._start(key, work)
        flight.waiters += 1
        try:
            await asyncio.wait((flight.task,))
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                self._flights.pop(key, None)  # nobody joins what is being stopped
                flight.task.cancel()
        return outcome(flight.task)

    def begin(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """Begin `work` in the background, unless it is under way, and return its task; callers may join it.

        It goes on however many join and leave. Its failure reaches those who ask for it, and nobody else:
        `work` itself logs what has to be told.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._start(key, work)
            flight.waiters += 1
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
