"""Counts of a gateway's requests."""

from bisect import bisect_left
from collections import Counter
from typing import Final

AGES: Final = (1.0, 5.0, 30.0, 60.0, 300.0, 600.0, 3600.0, 14400.0, 86400.0)
"""Upper bounds, in seconds, of the buckets of the answers' ages; the last bucket has no bound."""


class Counts:
    """What a gateway has answered since it was made.

    Attributes:
        requests: the number of requests by what was asked for, the status, and how the cache answered.
        sent: the bytes of all bodies that were sent from the cache.
        ages: the number of answers by age: one for each of `AGES`, and one for older answers.
        age_sum: the sum of all ages, in seconds.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int, str]] = Counter()
        self.sent = 0
        self.ages = [0] * (len(AGES) + 1)
        self.age_sum = 0.0

    def add(self, resource: str, status: int, told: str, size: int, age: float | None) -> None:
        """Count one request."""
        self.requests[resource, status, told] += 1
        self.sent += size
        if age is not None:
            self.ages[bisect_left(AGES, age)] += 1
            self.age_sum += age
