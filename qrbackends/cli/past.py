"""The calibrations of a range of time, for the commands that show what has changed."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from ..client import Client
from ..fleet.history import Gap
from ..models import BackendProperties
from .columns import minute
from .screen import Bar
from .text import warn

WEEK: Final = timedelta(days=7)
BEGINS: Final = "7 days before the newest calibration"
"""Where a range begins by default, for the help."""


class Range(NamedTuple):
    """A range of time of a backend's calibrations.

    Attributes:
        backend_id: the backend's name.
        since: where it begins; None for a week before its newest calibration.
        until: where it ends, exclusive; None for now.
        calibration_id: a named variant of the backend, or None.
        every: the time between two calibrations; None for all of them.
    """

    backend_id: str
    since: datetime | None
    until: datetime | None
    calibration_id: str | None
    every: timedelta | None = None

    async def newest(self, client: Client) -> BackendProperties:
        """Return the newest calibration of the range, or from before it."""
        return await client.properties(
            self.backend_id, calibration_id=self.calibration_id, updated_before=self.until
        )

    async def bounded(self, client: Client) -> "Range":
        """Return the range with a beginning and an end."""
        since = self.since or (await self.newest(client)).last_update_date.astimezone(UTC) - WEEK
        return self._replace(since=since, until=self.until or datetime.now(UTC))

    def __str__(self) -> str:
        return f"{self.backend_id} from {minute(self.since)} to {minute(self.until)} UTC"


async def calibrations(client: Client, past: Range, bar: Bar) -> AsyncIterator[BackendProperties]:
    """Yield the calibrations of a bounded range; of what is not known, a line is written on stderr."""
    since, until = past.since, past.until
    assert since is not None  # noqa: S101  # it is bounded
    history = client.history(
        past.backend_id, since, until, every=past.every, calibration_id=past.calibration_id
    )
    async for one in history:
        if isinstance(one, Gap):
            warn(f"nothing is known from {minute(one.since)} to {minute(one.until)} UTC: {one.error}")
        else:
            bar.step()
            yield one
