"""How long answers may be used."""

from dataclasses import dataclass, fields
from datetime import datetime
from math import inf
from typing import Final

from ..errors import InvalidRequest
from ..models.integers import is_number, whole
from ..protocol.requests import Request
from .memory import MAX_BYTES

_SETTLED: Final = 3600.0  # seconds; about an older instant, the service's answer does not change any more


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How long answers are used, in seconds, and how much memory they may take.

    An answer is fresh for some time, and stale afterwards. An answer whose freshness is 0 is never kept, but
    concurrent callers still share it.

    Args:
        backends: freshness of an instance's list, which holds the states and queues of its backends.
        configuration: freshness of configurations.
        properties: freshness of calibrations.
        defaults: freshness of pulse-level defaults.
        status: freshness of a single backend's status.
        history: freshness of calibrations `updated_before` an instant more than an hour ago; they do not
            change any more.
        stale_while_revalidate: seconds after the end of freshness, during which a stale answer is returned at
            once while a new one is fetched in the background.
        stale_if_error: seconds after the end of freshness, during which a stale answer is returned if the
            service fails.
        negative: freshness of a 404.
        jitter: the largest part of the freshness, from 0 to 1, by which it is shortened at random; so answers
            that were fetched together are not renewed together.
        max_bytes: the limit of a client's own memory in bytes. A shared `Memory` has its own limit.

    Raises:
        ValueError: a number is negative or not finite, `jitter` is above 1, or `max_bytes` is not an integer.
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
            if not is_number(value) or not 0 <= value < inf:
                raise ValueError(f"{field.name} has to be a number, 0 or more")
        most = whole(self.max_bytes)
        if self.jitter > 1 or most is None:
            raise ValueError("jitter has to be at most 1, and max_bytes a whole number")
        object.__setattr__(self, "max_bytes", most)

    def freshness(self, request: Request, now: datetime | None = None) -> float:
        """Return the seconds for which the answer to `request` is fresh.

        Args:
            request: the request.
            now: the time, if possible by the service's clock; it is needed only for `updated_before`.
        """
        if now is not None and is_settled(request, now):
            return self.history
        freshness: float = getattr(self, request.resource)
        return freshness

    @property
    def grace(self) -> float:
        """The seconds for which a stale answer is kept."""
        return max(self.stale_while_revalidate, self.stale_if_error)


def checked_age(max_age: float | None) -> float | None:
    """Return a caller's `max_age` in seconds.

    Raises:
        InvalidRequest: it is not a number of seconds.
    """
    if max_age is not None and not (isinstance(max_age, (int, float)) and max_age >= 0):
        raise InvalidRequest("max_age has to be a number of seconds, 0 or more")
    return max_age and min(max_age, 1e300)  # an integer may be larger than any float


def is_settled(request: Request, now: datetime) -> bool:
    """Return whether the answer cannot change any more: its `updated_before` is more than an hour ago."""
    before = request.updated_before
    return before is not None and (now - before).total_seconds() > _SETTLED
