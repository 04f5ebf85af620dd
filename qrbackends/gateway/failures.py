"""What fails towards the service: one line in the log when it begins, and one when it ends."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from ..errors import QRBackendsError
from ..fleet.failure_log import FailureLog
from ..service.sender import Credentials, Message, Sender
from ..tasks.flight import Flight
from ..transport.retry import RetryPolicy

T = TypeVar("T")


class Failures:
    """The failures of a gateway's requests, by region.

    Args:
        now: returns the current time.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._log = FailureLog()

    def note(self, region: str, error: QRBackendsError | None = None) -> None:
        """Note that a region has answered, or why it has not; a refusal is an answer.

        Args:
            region: the region.
            error: what failed; None for nothing.
        """
        if error is not None and (error.outage or error.final):
            self._log.begin(region, region, region, "read", self._now(), error)
        else:
            self._log.end(region, self._now())


class WatchedSender:
    """Sends messages by another sender, and notes which regions fail, also where nobody gets an error of it.

    Args:
        sender: sends them.
        failures: the log.
    """

    def __init__(self, sender: Sender, failures: Failures) -> None:
        self._sender = sender
        self._failures = failures

    async def send(
        self,
        message: Message[T],
        credentials: Credentials,
        flight: Flight[Any],
        retry: RetryPolicy | None = None,
    ) -> T:
        """Return the answer to a message; see `Sender.send`."""
        try:
            answer = await self._sender.send(message, credentials, flight, retry)
        except QRBackendsError as error:
            self._failures.note(message.region, error)
            raise
        self._failures.note(message.region)
        return answer
