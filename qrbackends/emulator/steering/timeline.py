"""Runs the steps of a scenario when the emulator's clock reaches them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from .clock import Clock
from .scenario import Step

logger = logging.getLogger("qrbackends.emulator")

_SHORTEST = 0.01  # seconds of a wait, so that a clock that hardly moves does not keep the loop busy


class Timeline:
    """Moves a clock, and runs each step that is due at its own time, in order.

    Args:
        clock: the emulator's clock.
        run: runs a step.
    """

    def __init__(self, clock: Clock, run: Callable[[Step], Awaitable[object]]) -> None:
        self._clock = clock
        self._run = run
        self._steps: tuple[Step, ...] = ()
        self._next = 0
        self._begin = 0.0
        self._turn = asyncio.Lock()
        self._moved = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    async def start(self, steps: tuple[Step, ...]) -> None:
        """Run the steps that are due at once, and the others when the clock reaches them."""
        self._turn, self._moved = asyncio.Lock(), asyncio.Event()  # of this event loop
        self._steps = tuple(sorted(steps, key=lambda step: step.at))
        self._begin, self._next = self._clock(), 0
        await self.advance(0.0)
        if self._steps:
            self._following = asyncio.create_task(self._follow())

    async def restart(self, restore: Callable[[], Awaitable[None]]) -> None:
        """Begin anew: the steps count from the end of `restore`, during which none is run."""
        async with self._turn:
            await restore()
            self._begin, self._next = self._clock(), 0
        await self.advance(0.0)

    def cancel(self) -> list[asyncio.Task[None]]:
        """Run no more steps; return the task that ends then, if there is one."""
        tasks = [self._following] if self._following is not None else []
        self._following = None
        for task in tasks:
            task.cancel()
        return tasks

    async def advance(self, seconds: float) -> None:
        """Move the clock, and run each step that is due on the way when the clock shows its time."""
        async with self._turn:
            left = seconds
            while (wait := self._wait()) is not None and wait <= left:
                self._clock.advance(max(wait, 0.0))
                left -= max(wait, 0.0)
                await self._one()
            self._clock.advance(left)
        self._moved.set()

    def run_at(self, rate: float) -> None:
        """Let the clock run at a rate."""
        self._clock.run(rate)
        self._moved.set()

    def _wait(self) -> float | None:
        """Return the seconds of the clock until the next step, or None if there is none."""
        if self._next == len(self._steps):
            return None
        return self._begin + self._steps[self._next].at - self._clock()

    async def _one(self) -> None:
        step = self._steps[self._next]
        self._next += 1
        try:
            await self._run(step)
        except (OSError, ValueError, RuntimeError) as error:  # such as a port that another program has taken
            logger.warning("step %d of the scenario failed: %s", self._next, error)

    async def _follow(self) -> None:
        while True:
            self._moved.clear()
            wait, rate = self._wait(), self._clock.rate
            if wait is not None and wait <= 0:
                await self.advance(0.0)
                continue
            seconds = None if wait is None or rate == 0 else max(wait / rate, _SHORTEST)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._moved.wait()
