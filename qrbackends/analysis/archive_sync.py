"""Filling an archive: the calibrations that are missing are read from the service, and no others."""

import asyncio
import random
from collections.abc import Callable, Iterable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from msgspec import field

from ..client import Client
from ..errors import ArchiveError, InvalidRequest, NotFound, QRBackendsError
from ..fleet.history import Gap, ends_history
from ..models import ABackend, name_of
from ..models.shown import Shown
from ..protocol.requests import Request
from ..tasks.fanout import answers
from .archive_coverage import Series
from .archive_rows import portless
from .archive_store import ArchiveStore, checked_name
from .intervals import Interval, joined, missing

_SETTLED = timedelta(hours=1)  # the service may add calibrations this long before a backend's newest one
_EARLIEST = datetime.min.replace(tzinfo=UTC) + _SETTLED
_AT_ONCE = 4  # backends
_COVERED: Final = 4  # windows that are noted as read at once
_SHORTEST: Final = timedelta(days=2)  # a part that one of several writers reads
_LONGEST: Final = timedelta(days=200)
_WANTED: Final = 48  # calibrations of a part, at least
_SHOWN = 100  # characters of a name that an error shows


class SyncProgress(NamedTuple):
    """How far a `sync` has come with one backend.

    Attributes:
        backend: its name.
        until: the instant up to which its calibrations were read.
        added: number of its calibrations that were added until now.
    """

    backend: str
    until: datetime
    added: int


class Synced(Shown, frozen=True):
    """What a `sync` did.

    Attributes:
        added: number of calibrations that were added, by backend.
        gaps: intervals that could not be read, by backend; the next `sync` reads them.
        errors: for each backend of which nothing could be read, the reason.
        newest: when the newest calibration of each backend was done that was asked about, also where that is
            before the interval.
    """

    added: dict[str, int]
    gaps: dict[str, tuple[Gap, ...]]
    errors: dict[str, QRBackendsError]
    newest: dict[str, datetime] = field(default_factory=dict)


async def sync(
    store: ArchiveStore,
    client: Client,
    backends: Iterable[ABackend] | None,
    interval: Interval,
    calibration_id: str | None,
    progress: Callable[[SyncProgress], None],
) -> Synced:
    """Add the calibrations of an interval that are missing, as `Archive.sync` describes."""
    listed = {backend.name: backend for backend in reversed(await client.backends())}
    names = list(listed) if backends is None else list(dict.fromkeys(map(name_of, backends)))
    origins = await client.addresses()
    done: dict[str, _BackendSync] = {}

    async def one(name: str) -> None:
        backend = listed.get(name)
        origin = portless(origins.get(backend.instance or "", ""), backend.emulated) if backend else ""
        done[name] = _BackendSync(store, client, Series(name, origin, calibration_id or ""), progress)
        await done[name].run(interval)

    await answers(names, one, _AT_ONCE)
    errors = {name: error for name in names if (error := done[name].error) is not None}
    if names and len(errors) == len(names) and all(map(_is_refusal, errors.values())):
        raise errors[names[0]]
    return Synced(
        {name: done[name].added for name in names},
        {name: tuple(done[name].gaps) for name in names if done[name].gaps},
        errors,
        {name: at for name in names if (at := done[name].newest) is not None},
    )


def _is_refusal(error: QRBackendsError) -> bool:
    """Return whether whoever asks has to change something; a backend may just not be there."""
    return ends_history(error) and not isinstance(error, NotFound)


class _BackendSync:
    """Adds what is missing of one series, and counts it."""

    def __init__(
        self, store: ArchiveStore, client: Client, series: Series, progress: Callable[[SyncProgress], None]
    ) -> None:
        self.added = 0
        self.gaps: list[Gap] = []
        self.error: QRBackendsError | None = None
        self.newest: datetime | None = None
        self._store = store
        self._client = client
        self._series = series
        self._progress = progress
        self._read: list[Interval] = []  # by this sync, whether or not it was all that there is
        self._before: list[Interval] | None = None  # what was covered when this sync began
        self._others = False  # whether other writers add calibrations of the series at the same time
        self._length = _SHORTEST  # of a part

    async def run(self, interval: Interval) -> None:
        """Add what is missing in an interval; raise errors only of the whole account or archive."""
        try:
            # A name that no request can carry must not become one of a directory.
            Request("properties", self._series.backend, self._series.calibration_id or None)
            checked_name(self._series.backend)
        except InvalidRequest as error:
            self._failed(error)
            return
        while (part := await self._next(interval)) is not None:
            try:
                await self._add(part)
            except NotFound as error:
                if (
                    not self._series.origin
                ):  # else it is listed, but was never calibrated, or has no such variant
                    self._failed(error)
                break
            except QRBackendsError as error:
                self._failed(error)
                self._read.append(part)
        if self.added:
            await asyncio.to_thread(self._store.tidy, self._series.backend)

    async def _next(self, interval: Interval) -> Interval | None:
        """Return the next part to read; None when all was read.

        It is the earliest one. Beside other writers it is one at random, so that all read different ones.
        """
        covered = await asyncio.to_thread(self._store.coverage.of, self._series)
        if self._before is None:
            self._before = covered
        known = joined([*self._before, *self._read])
        self._others = self._others or any(next(missing(one, known), None) for one in covered)
        stretches = list(missing(interval, joined([*covered, *self._read])))
        if not stretches:
            return None
        begin, end = random.choice(stretches) if self._others else stretches[0]  # noqa: S311
        if self._others:
            begin += random.randrange(-(-(end - begin) // self._length)) * self._length  # noqa: S311
        return begin, begin + min(self._length, end - begin)

    def _failed(self, error: QRBackendsError) -> None:
        """Note an error of this backend; raise it if it would be the same for any other."""
        if error.final or isinstance(error, ArchiveError):
            raise error
        self.error = error.about(backend=self._series.backend[:_SHOWN])

    async def _add(self, part: Interval) -> None:
        """Add the calibrations of a part, and notice whether others have added some of them meanwhile."""
        backend, _, calibration_id = self._series
        found = 0
        covered: list[Interval] = []  # what is to be noted
        history = self._client.history(backend, *part, calibration_id=calibration_id or None)
        async with aclosing(history.windows()) as windows:
            async for window in windows:
                added = await asyncio.to_thread(self._store.add, self._series, window.calibrations)
                self.added += added
                found += len(window.calibrations)
                if window.gap is not None:
                    self.gaps.append(window.gap)
                self.newest = history.newest
                settled = window.until
                if history.newest is not None:
                    settled = min(settled, max(history.newest, _EARLIEST) - _SETTLED)
                begin = window.since if window.gap is None else window.gap.until
                if begin < settled:
                    covered = [*covered, (begin, settled)]
                if len(covered) >= _COVERED:
                    covered = await self._cover(covered)
                self._read.append((window.since, window.until))
                self._progress(SyncProgress(backend, window.until, self.added))
                self._others = self._others or added < len(window.calibrations)
        self._read.append(part)
        if found < _WANTED:
            self._length = min(4 * self._length, _LONGEST)
        self.newest = history.newest
        await self._cover(covered)

    async def _cover(self, intervals: list[Interval]) -> list[Interval]:
        """Note that intervals were read, and return those that are still to be noted."""
        for interval in joined(intervals):
            await asyncio.to_thread(self._store.coverage.cover, self._series, interval)
        return []
