"""An event loop that does not wait for timers: when there is nothing to do, its clock jumps to the next."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_ARRIVAL = 0.001  # seconds, by the real clock, in which bytes arrive that were sent over loopback
_ROUND = 0.0001  # seconds that each round of the loop is taken to last: an answer comes after its request


class _Selector(selectors.DefaultSelector):
    """Adds to its clock the seconds that it would have waited.

    Attributes:
        now: the clock, in seconds.
        threads: how many calls run in threads; while any does, the clock stands still.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; if nothing is, the clock jumps to the next timer."""
        if timeout is None or self.threads:
            return super().select(timeout)
        ready = super().select(0 if timeout <= 0 else _ARRIVAL)
        self.now += _ROUND
        if not ready:
            self.now += max(0.0, timeout)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now

    def run_in_executor(
        self, executor: Any, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._clock.threads += 1
        future.add_done_callback(self._ended)
        return future

    def _ended(self, _: object) -> None:
        self._clock.threads -= 1


def run_at_once(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine and return its result, without waiting for timers.

    Client and service have to be in this process. The sockets between them are real. The seconds of
    `loop.time()` then do not depend on the machine and its load.
    """
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)
