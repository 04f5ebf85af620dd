"""The calibrations of a range of time, for the commands that show what has changed."""

import functools
from collections.abc import AsyncIterator, Callable, Sized
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar

import click

from ..client import Client
from ..errors import NotFound, QRBackendsError
from ..fleet.history import Gap
from ..models import BackendProperties
from .arguments import backend_argument, calibration_option, every_option, range_options
from .columns import minute
from .options import Source
from .screen import Bar
from .text import warn

F = TypeVar("F", bound=Callable[..., None])

T = TypeVar("T")

WEEK: Final = timedelta(days=7)
_WHOLE: Final = timedelta(days=365 * 10_000)  # longer than any range
_PART: Final = timedelta(hours=12)  # the shortest part of a range that is read backwards
_SECOND: Final = timedelta(seconds=1)


class Asked(NamedTuple):
    """The calibrations of a backend that are asked for.

    Attributes:
        backend_id: the backend's name.
        since: where the range begins; None for a week before its newest calibration.
        until: where it ends, exclusive; None for now.
        calibration_id: a named variant of the backend, or None.
        every: the time between two calibrations; None for all of them.
    """

    backend_id: str
    since: datetime | None
    until: datetime | None
    calibration_id: str | None
    every: timedelta | None = None

    async def newest(self, client: Client, before: datetime | None) -> BackendProperties:
        """Return the newest calibration before an instant, or of all."""
        return await client.properties(
            self.backend_id, calibration_id=self.calibration_id, updated_before=before
        )

    async def range(self, client: Client) -> "Range":
        """Return the range of time."""
        since = self.since
        if since is None:
            since = (await self.newest(client, self.until)).last_update_date - WEEK
        return Range(since, self.until or datetime.now(UTC))

    async def note(self, client: Client, within: "Range", found: Sized) -> str:
        """Return the line below a table of what was found in a range; an empty text if there is something."""
        if found:
            return ""
        newest = None
        with suppress(QRBackendsError):
            newest = (await self.newest(client, self.until)).last_update_date
        return f"No calibration in this time{further_back(within.since, newest)}."

    async def read(self, client: Client, within: "Range", bar: Bar) -> AsyncIterator[BackendProperties]:
        """Yield the calibrations in a range; of what is not known, a line is written on stderr."""
        history = client.history(
            self.backend_id,
            within.since,
            within.until,
            every=self.every,
            calibration_id=self.calibration_id,
        )
        async for one in history:
            if isinstance(one, Gap):
                warn(unknown(one))
            else:
                bar.step()
                yield one

    async def latest(
        self,
        client: Client,
        within: "Range",
        count: int,
        bar: Bar,
        made: Callable[[BackendProperties], T],
    ) -> list[T]:
        """Return what `made` makes of the newest calibrations in a range, at most `count`, in order of time.

        They are read from the end of the range backwards, in parts that grow: older ones are not asked for.
        """
        since, until = within
        with suppress(NotFound):  # there may be none before the range's end
            until = min(until, (await self.newest(client, until)).last_update_date + _SECOND)
        step = self.every or _SECOND
        span = max(_PART, count * min(step, _WHOLE // count))
        found: list[T] = []
        while len(found) < count and until > since:
            # Compared first: an instant before the year 1 is none.
            begin = since if span >= until - since else since + (until - span - since) // step * step
            found = [made(one) async for one in self.read(client, Range(begin, until), bar)] + found
            until, span = begin, min(4 * span, _WHOLE)
        return found[-count:]


class Range(NamedTuple):
    """A range of time."""

    since: datetime
    until: datetime

    def __str__(self) -> str:
        return f"from {minute(self.since)} to {minute(self.until)} UTC"


def further_back(since: datetime, newest: datetime | None) -> str:
    """Return of when the newest calibration is, and how to ask for it, as the end of a sentence.

    Args:
        since: where the range begins that has no calibration.
        newest: when the newest one was done; None if there is none.
    """
    if newest is None:
        return ""
    told = f"; the newest one is of {minute(newest)} UTC"
    if newest >= since:
        return told
    earlier = newest.astimezone(UTC) - WEEK
    return f"{told}: --since {earlier:%Y-%m-%dT%H:%M:%SZ} asks further back"


def only_one(source: Source, newest: datetime) -> str:
    """Return that a backend has one calibration only, and where there are more if it is a snapshot's."""
    text = f"there is only one calibration, of {minute(newest)} UTC"
    is_snapshot = source.emulator is not None and source.emulator.startswith("snapshots")
    return f"{text}: a snapshot has no others, those of --emulator synthetic have" if is_snapshot else text


def unknown(gap: Gap) -> str:
    """Return of which time nothing is known, and why."""
    return f"nothing is known {Range(gap.since, gap.until)}: {gap.error}"


def asked_options(*, stepped: bool = True) -> Callable[[F], F]:
    """Return a decorator that adds a backend's name and the range of time; the command gets them as `asked`.

    Args:
        stepped: whether there is `--every`.
    """
    options = [backend_argument, range_options("7 days before the newest calibration"), calibration_option]
    if stepped:
        options.insert(2, every_option("all calibrations"))

    def add(command: F) -> F:
        @functools.wraps(command)
        def with_asked(
            backend_id: str, since: datetime | None, until: datetime | None, **others: Any
        ) -> None:
            if since is not None and until is not None and since > until:
                raise click.UsageError("--since has to be before --until")
            variant, every = others.pop("calibration_id"), others.pop("every", None)
            command(asked=Asked(backend_id, since, until, variant, every), **others)

        decorated: Any = with_asked
        for option in reversed(options):
            decorated = option(decorated)
        found: F = decorated
        return found

    return add
