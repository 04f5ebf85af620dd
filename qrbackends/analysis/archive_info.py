"""What an archive has: of each backend, and how it is kept."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from typing import Any

from msgspec import Struct

from .archive_compaction import partitions
from .archive_store import ArchiveStore
from .archive_table import DataFile, Version
from .arrow import pa, pa_dataset
from .intervals import Interval, joined, missing

_UNSETTLED = timedelta(hours=1)  # before the newest calibration: the next sync reads this time again


class Holding(Struct, frozen=True):
    """What an archive holds of one backend.

    Attributes:
        backend: its name.
        calibrations: number of its calibrations.
        rows: number of their values.
        files: number of its files.
        bytes: size of its files.
        first: when the oldest calibration was done.
        last: when the newest calibration was done.
        unread: the stretches of time between these two that no `sync` has read to their end; there may be
            calibrations that the archive does not have.
    """

    backend: str
    calibrations: int
    rows: int
    files: int
    bytes: int
    first: datetime
    last: datetime
    unread: tuple[Interval, ...] = ()


class Storage(Struct, frozen=True):
    """How an archive is kept, and what a compaction would save.

    Attributes:
        files: number of the files that are read.
        bytes: their size.
        fewest: how many files there are after a compaction.
        dead_files: number of the files that are read no more, and that a compaction deletes after a day.
        dead_bytes: their size.
    """

    files: int
    bytes: int
    fewest: int
    dead_files: int
    dead_bytes: int


def holdings(store: ArchiveStore, version: Version) -> tuple[Holding, ...]:
    """Return what an archive holds of each backend, sorted by name."""
    files: dict[str, list[DataFile]] = {}
    for one in version.files():
        files.setdefault(one.partition[0], []).append(one)
    covered: dict[str, list[list[Interval]]] = {}
    for series, intervals in store.coverage.intervals().items():
        covered.setdefault(series.backend, []).append(intervals)
    rows = version.dataset(texts=["origin", "calibration_id"])
    return tuple(
        _holding(store, rows, name, own, covered.get(name) or [[]]) for name, own in sorted(files.items())
    )


def storage(store: ArchiveStore, version: Version) -> Storage:
    """Return how an archive is kept."""
    files = version.files()
    return Storage(len(files), sum(one.bytes for one in files), len(partitions(files)), *store.dead(version))


def _holding(
    store: ArchiveStore, rows: Any, name: str, files: list[DataFile], covered: list[list[Interval]]
) -> Holding:
    first, last = min(one.first for one in files), max(one.last for one in files)
    known = first, max(first, last - _UNSETTLED)
    unread = joined(part for intervals in covered for part in missing(known, intervals))
    return Holding(
        name,
        len(set(_calibrations(store, rows, name))),
        sum(one.rows for one in files),
        len(files),
        sum(one.bytes for one in files),
        first,
        last,
        tuple(unread),
    )


def _calibrations(store: ArchiveStore, rows: Any, name: str) -> Iterator[tuple[Any, ...]]:
    """Yield what tells calibrations of a backend apart; the same ones more than once."""
    columns = ["calibrated_at", "origin", "calibration_id"]
    backend = pa_dataset.field("backend") == name
    for batch in store.read(rows, columns, backend):
        instants, *series = (batch.column(one).unique().to_pylist() for one in columns)
        if all(len(one) == 1 for one in series):  # as nearly everywhere, and sooner than by groups
            yield from product(instants, *series)
        else:
            table = pa.Table.from_batches([batch]).group_by(columns).aggregate([])
            yield from zip(*(table[one].to_pylist() for one in columns), strict=True)
