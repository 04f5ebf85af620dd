"""The emulator's clock, which can be moved, run at another rate, or stand still."""

from collections.abc import Callable

from msgspec import Struct

LAST = 253_402_300_799.0
"""The end of the year 9999 in Unix seconds, beyond which there are no dates."""


class ClockState(Struct, frozen=True):
    """What a clock shows.

    Attributes:
        now: the time in Unix seconds.
        rate: how many of its seconds pass in one second; 0 if it stands still.
    """

    now: float
    rate: float


class Clock:
    """A clock that begins as its source.

    Args:
        source: the time in Unix seconds.
    """

    def __init__(self, source: Callable[[], float]) -> None:
        self._source = source
        self.reset()

    def reset(self) -> None:
        """Show the source's time again."""
        self.rate = 1.0
        self._base = (0.0, 0.0)  # what it and its source showed at the last change

    def __call__(self) -> float:
        """Return the time in Unix seconds."""
        return self._at(self._source())

    def moved(self) -> float:
        """Return how many seconds it is ahead of its source."""
        source = self._source()
        return self._at(source) - source

    def state(self) -> ClockState:
        """Return what it shows."""
        return ClockState(self(), self.rate)

    def advance(self, seconds: float) -> None:
        """Move it forward, or backward."""
        source = self._source()
        self._start(self._at(source) + seconds, source, self.rate)

    def set(self, now: float) -> None:
        """Let it show a time."""
        self._start(now, self._source(), self.rate)

    def run(self, rate: float) -> None:
        """Let it run at a rate from now on; 0 lets it stand still."""
        source = self._source()
        self._start(self._at(source), source, rate)

    def _start(self, now: float, source: float, rate: float) -> None:
        self.rate, self._base = rate, (now, source)

    def _at(self, source: float) -> float:
        then, at = self._base
        return max(0.0, min(then + (source - at) * self.rate, LAST))
