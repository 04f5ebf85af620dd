"""Filling an archive: the calibrations that are missing are read from the service, and no others."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from errno import ENAMETOOLONG
from typing import NamedTuple

from msgspec import field

from ..client import Client
from ..errors import InvalidRequest, NotFound, QRBackendsError
from ..fleet.history import Gap, ends_history
from ..models import ABackend, name_of
from ..models.shown import Shown
from ..protocol.requests import Request
from ..tasks.fanout import answers
from .archive_files import ArchiveFiles, Series
from .intervals import Interval, missing

_SETTLED = timedelta(hours=1)  # the service may add calibrations this long before a backend's newest one
_EARLIEST = datetime.min.replace(tzinfo=UTC) + _SETTLED
_AT_ONCE = 4  # backends
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
    files: ArchiveFiles,
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
        origin = origins.get(backend.instance or "", "") if backend else ""
        done[name] = _BackendSync(files, client, Series(name, origin, calibration_id), progress)
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
        self, files: ArchiveFiles, client: Client, series: Series, progress: Callable[[SyncProgress], None]
    ) -> None:
        self.added = 0
        self.gaps: list[Gap] = []
        self.error: QRBackendsError | None = None
        self.newest: datetime | None = None
        self._files = files
        self._client = client
        self._series = series
        self._progress = progress

    async def run(self, interval: Interval) -> None:
        """Add what is missing in an interval; raise errors only if they concern the whole account."""
        try:
            # A name that no request can carry must not become one of a directory.
            Request("properties", self._series.backend, self._series.calibration_id)
            covered = await asyncio.to_thread(self._files.covered, self._series)
        except (InvalidRequest, OSError) as error:
            self._failed(error)
            return
        for part in missing(interval, covered):
            try:
                await self._read(part)
            except NotFound as error:
                if self._series.origin:  # it is listed, but was never calibrated, or has no such variant
                    return
                self._failed(error)
            except (QRBackendsError, OSError) as error:
                self._failed(error)

    def _failed(self, error: QRBackendsError | OSError) -> None:
        """Note an error of this backend; raise it if it would be the same for any other."""
        if isinstance(error, OSError) and error.errno == ENAMETOOLONG:
            error = InvalidRequest("its name is too long for that of a directory")
        if not isinstance(error, QRBackendsError) or error.final:
            raise error
        self.error = error.about(backend=self._series.backend[:_SHOWN])

    async def _read(self, interval: Interval) -> None:
        backend, origin, calibration_id = self._series
        history = self._client.history(backend, *interval, calibration_id=calibration_id)
        async for window in history.windows():
            for calibration in window.calibrations:
                self.added += await asyncio.to_thread(self._files.add, calibration, origin, calibration_id)
            if window.gap is not None:
                self.gaps.append(window.gap)
            settled = window.until
            if history.newest is not None:
                settled = min(settled, max(history.newest, _EARLIEST) - _SETTLED)
            begin = window.since if window.gap is None else window.gap.until
            if begin < settled:
                await asyncio.to_thread(self._files.cover, self._series, (begin, settled))
            self._progress(SyncProgress(backend, window.until, self.added))
        self.newest = history.newest
