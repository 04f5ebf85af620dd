"""What fails towards the service: one line in the log when it begins, and one when it ends."""

from collections.abc import Callable
from datetime import UTC, datetime

from ..errors import QRBackendsError
from ..fleet.failure_log import FailureLog


class Failures:
    """The failures of a gateway's requests, by region.

    Args:
        now: returns the current time.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._log = FailureLog()

    def begin(self, error: QRBackendsError) -> None:
        """Note a failure; only outages are written, as a refusal is between the service and its caller."""
        if error.outage or error.final:
            region = error.region or "the service"
            self._log.begin(region, region, region, "read", self._now(), error)

    def end(self, region: str) -> None:
        """Note that a region answers."""
        self._log.end(region, self._now())
