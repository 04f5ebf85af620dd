"""A caller's task that does shared work itself, as long as it is the only one to wait for it."""

from asyncio import AbstractEventLoop, CancelledError, Future, Task
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, Generic, TypeVar

from msgspec import Struct

T = TypeVar("T")


class Leader(Struct, Generic[T], eq=False):
    """Does some work in the task that awaits it, until the work ends or the task is called away.

    `await leader` returns whether the work has ended, and its result. Whatever the work waits for, the task
    waits for the leader, which is a future to it ("future-like", see `asyncio.isfuture`): when the task
    leaves, the work can go on, in another task.

    Attributes:
        work: the work. It may use no cancel scopes, timeouts or other things of the task it runs in, no
            leader for work of its own, and no tasks that have to end before it when it is cancelled.
        loop: the running event loop.
        context: the context of the work.
        pending: what the work waits for; None while it runs, when it has ended, and once it is another
            task's.
        ended: whether the work has ended, be it with an error.
        asleep: whether the task waits, and nothing is going to wake it yet.
        away: whether it was called away.
        cancelled: the arguments of the `CancelledError` to raise there, if it was cancelled while it waited.
    """

    work: Coroutine[Any, Any, T]
    loop: AbstractEventLoop
    context: Context
    pending: Future[Any] | None = None
    ended: bool = False
    asleep: bool = False
    away: bool = False
    cancelled: tuple[object, ...] | None = None
    _asyncio_future_blocking: bool = False
    _wakes: list[Callable[[object], object]] = []  # at most one
    _wake_context: Context | None = None

    def __repr__(self) -> str:
        return f"<Leader asleep={self.asleep} ended={self.ended}>"  # asyncio logs it; the rest may be secret

    def __await__(self) -> Generator[Any, None, tuple[bool, Any]]:
        while True:
            try:
                pending = self.context.run(self.work.send, None)
            except StopIteration as end:
                self.ended = True
                return True, end.value
            except BaseException:  # an interrupt ends it, too
                self.ended = True
                raise
            self.pending = self._next_turn() if pending is None else pending
            if not self.away:
                self.asleep = self._asyncio_future_blocking = True
                try:
                    yield self
                except GeneratorExit:  # the caller's coroutine is closed, as when the event loop has ended
                    if self.pending is not None:
                        self.ended = True
                        self.work.close()
                    raise
            if self.away:
                return False, None
            self.pending = None

    def _next_turn(self) -> Future[None]:
        """Return what ends in the event loop's next turn, where the work gives way to others."""
        turn: Future[None] = self.loop.create_future()
        self.loop.call_soon(_resolve, turn)
        return turn

    def _proceed(self, pending: Future[Any]) -> None:
        if self.asleep and pending is self.pending:
            self.asleep = False
            self._wake_up()

    def _wake_up(self) -> None:
        """Wake the task, once: the heap of deadlines may still hold this object, which must hold no task."""
        self._wake_context = None
        if self._wakes:
            self._wakes.pop()(self)  # no variable, which the traceback of a cancellation would keep

    # --- the work, while it waits for something, for others

    def stop(self) -> bool:
        """Cancel the work and what it waits for, not awaiting that; return whether the work has ended."""
        self._let_go().cancel()
        try:
            pending = self.context.run(self.work.throw, CancelledError())
        except BaseException as error:  # nobody waits for how it has ended
            self.ended = True
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            return True
        self.pending = self._next_turn() if pending is None else pending
        return False

    def hand_over(self) -> Task[T]:
        """Let a new task go on with the work; return the task."""
        rest = _Rest(self.work, self._let_go())
        return Task(rest, loop=self.loop, context=self.context)

    def _let_go(self) -> Future[Any]:
        """Return what the work waits for, and do not go on with the work after it."""
        pending, self.pending = self.pending, None
        if pending is None:
            raise RuntimeError("the work waits for nothing")
        pending.remove_done_callback(self._proceed)
        return pending

    # --- what asyncio's tasks call of a future, under its names

    def get_loop(self) -> AbstractEventLoop:
        return self.loop

    def add_done_callback(self, wake: Callable[[object], object], *, context: Context | None = None) -> None:
        self._wakes.append(wake)
        self._wake_context = context
        pending: Any = self.pending
        pending._asyncio_future_blocking = False
        pending.add_done_callback(self._proceed, context=context)

    def done(self) -> bool:
        """Return whether nobody has to wake the task any more."""
        return self.ended or self.away or self.cancelled is not None

    def result(self) -> None:
        if self.cancelled is not None:
            raise CancelledError(*self.cancelled)

    def set_result(self, result: None) -> None:
        """Call the task away."""
        self.away = True
        if self.asleep:
            self._rouse()

    def cancel(self, msg: object = None) -> bool:
        if not self.asleep:
            return False
        self.cancelled = () if msg is None else (msg,)
        self._rouse()
        return True

    def _rouse(self) -> None:
        self.asleep = False
        self.loop.call_soon(self._wake_up, context=self._wake_context)


class _Rest(Coroutine[Any, Any, T]):
    """The rest of a coroutine that waits for something, for the task that goes on with it."""

    def __init__(self, work: Coroutine[Any, Any, T], pending: Future[Any]) -> None:
        self._work = work
        self._pending: Any = pending
        self.__qualname__ = getattr(work, "__qualname__", "")  # for the repr of its task

    def __await__(self) -> Generator[Any, Any, T]:
        return self._work.__await__()

    def send(self, value: Any) -> Any:
        pending, self._pending = self._pending, None
        if pending is None:
            return self._work.send(value)
        pending._asyncio_future_blocking = True
        return pending

    def throw(self, *error: Any) -> Any:
        pending, self._pending = self._pending, None
        if pending is not None:  # the task is cancelled before its first step
            pending.cancel()
        return self._work.throw(*error)

    def close(self) -> None:
        self._work.close()


def _resolve(pending: Future[Any]) -> None:
    if not pending.done():
        pending.set_result(None)
