"""What went over the wire, counted. No I/O."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from msgspec import Struct

CircuitState: TypeAlias = Literal["closed", "open", "probing"]

BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds, in seconds, of the classes of `RegionStats.durations`; there is one more without a bound."""


class RegionStats(Struct, frozen=True):
    """What was sent to one region.

    Attributes:
        region: its name, such as `us-east`; `iam` and the like for the cloud's own services.
        outcomes: how many requests ended with what: a status such as `200`, the name of an error such as
            `ReadTimeout`, or `abandoned` where nobody waited any more.
        retries: how many of them repeated another.
        durations: how many took how long: one number for each of `traffic.BOUNDS`, and one for the rest.
        seconds: how long they took together.
        circuit: `open` while the region is left alone as it kept failing, `probing` while one request finds
            out whether it recovered.
    """

    region: str
    outcomes: Mapping[str, int]
    retries: int
    durations: tuple[int, ...]
    seconds: float
    circuit: CircuitState

    @property
    def requests(self) -> int:
        """How many requests were sent."""
        return sum(self.outcomes.values())


class Traffic:
    """Counts the requests to one region."""

    def __init__(self) -> None:
        self._outcomes: Counter[str] = Counter()
        self._durations = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0
        self._retries = 0

    def count(self, outcome: str, seconds: float, *, repeated: bool) -> None:
        """Count one request that has ended.

        Args:
            outcome: its status, or the name of its error.
            seconds: how long it took.
            repeated: whether it repeated another.
        """
        self._outcomes[outcome] += 1
        self._durations[bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds
        self._retries += repeated

    def stats(self, region: str, circuit: CircuitState) -> RegionStats:
        """Return what was counted until now."""
        durations = tuple(self._durations)
        return RegionStats(region, dict(self._outcomes), self._retries, durations, self._seconds, circuit)
