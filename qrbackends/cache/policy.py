"""How long answers may be used."""

from dataclasses import dataclass, fields
from datetime import datetime
from math import inf
from typing import Final

from ..protocol.requests import Request
from .memory import MAX_BYTES

_SETTLED: Final = 3600.0  # seconds after which nothing is added to the past any more


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How long answers are used, in seconds, and how much memory they may take.

    A freshness of 0 means that such an answer is never kept; callers at the same time still share it.

    Args:
        backends: freshness of an instance's list, with its states and queues.
        configuration: freshness of configurations.
        properties: freshness of calibrations.
        defaults: freshness of pulse-level defaults.
        status: freshness of a single backend's status.
        history: freshness of calibrations `updated_before` an instant more than an hour ago, which do not
            change any more.
        stale_while_revalidate: for so long after that an old answer is given at once, while a new one is
            fetched in the background.
        stale_if_error: for so long after that an old answer is given when the service fails.
        negative: freshness of a 404.
        jitter: the part, from 0 to 1, by which freshness is shortened at random, so that what was fetched
            together is not fetched together again.
        max_bytes: what a client's own memory may take. A `Memory` that is shared has its own limit.

    Raises:
        ValueError: a number is negative or not finite, or `jitter` is above 1.
    """

    backends: float = 30.0
    configuration: float = 3600.0
    properties: float = 300.0
    defaults: float = 3600.0
    status: float = 0.0
    history: float = 30 * 86400.0
    stale_while_revalidate: float = 60.0
    stale_if_error: float = 86400.0
    negative: float = 5.0
    jitter: float = 0.1
    max_bytes: int = MAX_BYTES

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not 0 <= value < inf:
                raise ValueError(f"{field.name} has to be a number, 0 or more")
        if self.jitter > 1 or not isinstance(self.max_bytes, int):
            raise ValueError("jitter has to be at most 1, and max_bytes a whole number")

    def freshness(self, request: Request, now: datetime | None = None) -> float:
        """Return the seconds for which the answer to `request` is fresh.

        Args:
            request: what was asked.
            now: the time, best by the service's own clock; it matters only for `updated_before`.
        """
        if now is not None and is_settled(request, now):
            return self.history
        freshness: float = getattr(self, request.resource)
        return freshness

    @property
    def grace(self) -> float:
        """The seconds for which an answer is kept after it is not fresh any more."""
        return max(self.stale_while_revalidate, self.stale_if_error)


def is_settled(request: Request, now: datetime) -> bool:
    """Return whether the answer does not change any more: it is about an instant well in the past."""
    before = request.updated_before
    return before is not None and (now - before).total_seconds() > _SETTLED
