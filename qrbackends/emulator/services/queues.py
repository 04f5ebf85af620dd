"""The queues of backends: seeded random walks that take one step at every poll."""

from collections.abc import Callable
from random import Random
from statistics import median

_SECONDS_PER_JOB = 20
_SECONDS_PER_STEP = 60
_MOST_STEPS = 500  # of a clock that was moved far: a walk forgets where it was


class Queue:
    """The queue of one backend.

    Args:
        seed: the same seed gives the same length after the same number of polls.
        moved: returns by how many seconds the emulator's clock was moved; each minute is another step.
    """

    def __init__(self, seed: str, moved: Callable[[], float] = float) -> None:
        self._seed = seed
        self._moved = moved
        self.reset()

    def reset(self) -> None:
        """Go back to the length before the first poll."""
        self._random = Random(self._seed)
        self._home = round(self._random.lognormvariate(2.5, 1.2))  # a median of 12 jobs, now and then 200
        self.length = self._home
        self._seen = self._moved()

    def poll(self) -> int:
        """Change the length by one or two jobs, more likely towards its usual value; return it."""
        moved = self._moved()
        self._seen = min(self._seen, moved)  # a clock that was moved backward goes on from there
        minutes = int((moved - self._seen) / _SECONDS_PER_STEP)
        self._seen += minutes * _SECONDS_PER_STEP
        for _ in range(1 + min(minutes, _MOST_STEPS)):
            self._step()
        return self.length

    def _step(self) -> None:
        pull = (self._home - self.length) / (4 * self._home + 20)
        step = self._random.choice((1, 1, 2))
        up = self._random.random() < median((0.1, 0.5 + pull, 0.9))
        self.length += step if up or self.length < step else -step

    def wait_times(self) -> dict[str, int]:
        """Return the waiting times of jobs in seconds, as the list sends them."""
        mean = self.length * _SECONDS_PER_JOB
        return {"average": mean, "p50": mean * 2 // 3, "p95": mean * 3}
