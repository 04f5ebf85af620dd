"""The limits of one call and of one region."""

from dataclasses import dataclass

from ..models.integers import is_number, whole

_MOST = 2**60  # the largest limit: timers and zlib cannot count much further


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one call and of one region.

    Args:
        per_region: how many requests to one region may be in flight at a time. The others wait in a queue; a
            tenant with few requests does not wait behind one with many.
        total: seconds that a whole call may take: the wait in the queue, the token and the answer.
        connect: seconds that making a connection may take.
        read: seconds that may pass without a byte from the service, and from the request to the answer's
            headers.
        rate: the lowest average speed of an answer, in bytes per second, once it takes longer than `read`.
        body: the largest size of an answer in bytes, after decompression. The list, the status and the
            answers of IAM, Global Search and Global Catalog have lower limits, too. Of an answer with another
            status than 200, only the first 64 kB are read.
        failures: how many failures in a row open a region's circuit breaker.
        rest: the longest pause of an open circuit breaker in seconds; the first takes 2 s, and each next one
            twice as long.

    Raises:
        ValueError: a limit is not a number greater than zero, is larger than 2**60, or is not an integer
            where it counts something.
    """

    per_region: int = 32
    total: float = 30.0
    connect: float = 5.0
    read: float = 10.0
    rate: float = 1024.0
    body: int = 64 * 2**20
    failures: int = 5
    rest: float = 30.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            is_count = name in ("per_region", "body", "failures")
            number = whole(value) if is_count else value
            kind = "a whole number" if is_count else "a number"
            if not is_number(number) or not value > 0:
                raise ValueError(f"{name} has to be {kind} greater than zero, and not {value!r:.80}")
            if value > _MOST:
                raise ValueError(f"{name} has to be no more than 2**60, and not {value!r:.80}")
            object.__setattr__(self, name, number)
