"""The log of requests to the emulator, for tests. It contains no credentials."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace

KEPT = 100_000
"""How many requests are kept, and for how many backends they are counted by name.

Without a limit, an emulator that runs for long would need more and more memory. The counts stay exact;
requests for further backends are counted without the name.
"""


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request that arrived.

    Attributes:
        region: the region, or `cloud` for IAM, Global Search and Global Catalog.
        resource: one of those that faults are for, such as `properties`, or None for any other path.
        backend: the backend's name, decoded from the path, or None.
        method: the HTTP method.
        path_qs: path and query as they were sent.
        auth: the scheme of the Authorization header, `Bearer` or `apikey`, or None.
        crn: the Service-CRN header, or None.
        gzip: whether the client accepts gzip.
        if_none_match: the If-None-Match header, or None.
        if_modified_since: the If-Modified-Since header, or None.
        status: the HTTP status of the answer; None before it is sent, and if a fault prevented it.
        version: the IBM-API-Version header, or None.
        at: when it arrived, in Unix seconds of the emulator's clock.
        number: how many requests arrived before it.
    """

    region: str
    resource: str | None
    backend: str | None
    method: str
    path_qs: str
    auth: str | None
    crn: str | None = None
    gzip: bool = False
    if_none_match: str | None = None
    if_modified_since: str | None = None
    status: int | None = None
    version: str | None = None
    at: float = 0.0
    number: int = 0


class RequestLog:
    """The requests in the order of their arrival.

    Args:
        clock: the time in Unix seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.on_answer: Callable[[LoggedRequest], None] | None = None
        self._records: dict[int, LoggedRequest] = {}
        self._order: deque[int] = deque()
        self._counts: Counter[tuple[str | None, str | None, str]] = Counter()
        self._next = 0

    def arrived(self, request: LoggedRequest) -> int:
        """Add a request; return its number, which `answered` takes."""
        number = self._next
        self._next += 1
        self._records[number] = replace(request, number=number, at=self._clock())
        self._order.append(number)
        counted = request.resource, request.backend, request.region
        if counted not in self._counts and len(self._counts) >= KEPT:
            counted = request.resource, None, request.region
        self._counts[counted] += 1
        if len(self._order) > KEPT:
            del self._records[self._order.popleft()]
        return number

    def answered(self, number: int, status: int | None) -> None:
        """Add the status of the answer to a request."""
        if number in self._records:
            request = self._records[number] = replace(self._records[number], status=status)
            if self.on_answer is not None:
                self.on_answer(request)

    def records(self) -> tuple[LoggedRequest, ...]:
        """Return the last requests, oldest first."""
        return tuple(self._records.values())

    def count(self, resource: str | None, backend: str | None, region: str | None) -> int:
        """Return the number of requests since the last `clear()`; None stands for any value."""
        return sum(
            number
            for (its_resource, its_backend, its_region), number in self._counts.items()
            if resource in (None, its_resource)
            and backend in (None, its_backend)
            and region in (None, its_region)
        )

    def clear(self) -> None:
        """Forget all requests and counts."""
        self._records.clear()
        self._order.clear()
        self._counts.clear()
