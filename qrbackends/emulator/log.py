"""What was asked of the emulator, for tests to read. It never holds a credential."""

from collections import Counter, deque
from dataclasses import dataclass, replace

KEPT = 100_000
"""Records kept, and backends counted by name: a long-running emulator must not grow without end.

The counts stay exact; those of still more backends are counted without their names.
"""


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request that arrived.

    Attributes:
        region: the region asked, or `cloud` for IAM, Global Search and Global Catalog.
        resource: `backends`, `configuration`, `properties`, `defaults`, `status`, `token`, `search`,
            `catalog`, or None for a path that names none of them.
        backend: the backend's name as decoded from the path, or None.
        method: the HTTP method.
        path_qs: path and query as they were sent.
        auth: the scheme of the Authorization header, `Bearer` or `apikey`, or None.
        crn: the Service-CRN header, or None.
        gzip: whether the client accepts gzip.
        status: the HTTP status of the answer; None while there is none, or when a fault sent none.
    """

    region: str
    resource: str | None
    backend: str | None
    method: str
    path_qs: str
    auth: str | None
    crn: str | None = None
    gzip: bool = False
    status: int | None = None


class RequestLog:
    """The requests in the order of their arrival."""

    def __init__(self) -> None:
        self._records: dict[int, LoggedRequest] = {}
        self._order: deque[int] = deque()
        self._counts: Counter[tuple[str | None, str | None, str]] = Counter()
        self._next = 0

    def arrived(self, request: LoggedRequest) -> int:
        """Add a request; return the number under which its answer is noted."""
        number = self._next
        self._next += 1
        self._records[number] = request
        self._order.append(number)
        counted = request.resource, request.backend, request.region
        if counted not in self._counts and len(self._counts) >= KEPT:  # somebody invents names
            counted = request.resource, None, request.region
        self._counts[counted] += 1
        if len(self._order) > KEPT:
            del self._records[self._order.popleft()]
        return number

    def answered(self, number: int, status: int | None) -> None:
        """Note the status of the answer."""
        if number in self._records:
            self._records[number] = replace(self._records[number], status=status)

    def records(self) -> tuple[LoggedRequest, ...]:
        """The last requests, oldest first."""
        return tuple(self._records.values())

    def count(self, resource: str | None, backend: str | None, region: str | None) -> int:
        """The number of requests since the last reset; None stands for any."""
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
