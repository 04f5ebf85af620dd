"""Counts of the requests to a region: their outcomes and durations. No I/O."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from msgspec import Struct

CircuitState: TypeAlias = Literal["closed", "open", "probing"]

BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds, in seconds, of the buckets of `RegionStats.durations`; the last bucket has no bound."""


class RegionStats(Struct, frozen=True):
    """The requests that were sent to one region.

    Attributes:
        region: its name, such as `us-east`; `iam`, `search`, `catalog` and `versions` are services of
            their own.
        outcomes: the number of requests by outcome: a status such as `200`, the name of an error such as
            `ReadTimeout`, or `abandoned` if all callers left before the answer came.
        retries: how many of the requests repeated another one.
        durations: the number of requests by duration: one number for each of `traffic.BOUNDS`, and one for
            longer requests.
        seconds: the sum of all durations.
        circuit: the state of the circuit breaker. `closed`: all requests pass; `open`: none passes, because
            the region failed too often; `probing`: one request tests whether it works again.
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
        self._outcomes: Counter[int | str] = Counter()
        self._durations = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0
        self._retries = 0

    def count(self, outcome: int | str, seconds: float, *, repeated: bool) -> None:
        """Count one request that has ended.

        Args:
            outcome: its status, or the name of its error.
            seconds: how long it took.
            repeated: whether it repeated another request.
        """
        self._outcomes[outcome] += 1
        self._durations[bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds
        self._retries += repeated

    def stats(self, region: str, circuit: CircuitState) -> RegionStats:
        """Return the counts until now."""
        durations = tuple(self._durations)
        counted = dict(self._outcomes)  # a copy in one step: other threads may ask
        outcomes = {str(outcome): number for outcome, number in counted.items()}
        return RegionStats(region, outcomes, self._retries, durations, self._seconds, circuit)
