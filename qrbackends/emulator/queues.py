"""The queues of backends: seeded random walks that take one step at every poll."""

from random import Random
from statistics import median

_SECONDS_PER_JOB = 20


class Queue:
    """The queue of one backend.

    Args:
        seed: the same seed gives the same length after the same number of polls.
    """

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        """Go back to the length before the first poll."""
        self._random = Random(self._seed)
        self._home = round(self._random.lognormvariate(2.5, 1.2))  # a median of 12 jobs, now and then 200
        self.length = self._home

    def poll(self) -> int:
        """Change the length by one or two jobs, more likely towards its usual value; return it."""
        pull = (self._home - self.length) / (4 * self._home + 20)
        step = self._random.choice((1, 1, 2))
        up = self._random.random() < median((0.1, 0.5 + pull, 0.9))
        self.length += step if up or self.length < step else -step
        return self.length

    def wait_times(self) -> dict[str, int]:
        """Return the waiting times of jobs in seconds, as the list sends them."""
        mean = self.length * _SECONDS_PER_JOB
        return {"average": mean, "p50": mean * 2 // 3, "p95": mean * 3}
