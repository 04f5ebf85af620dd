"""Which stretches of time an archive has read: a small table of its own beside the calibrations."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final, NamedTuple

from .archive_location import Location
from .archive_table import ArchiveTable, Change, Version
from .arrow import pa, pa_parquet
from .intervals import Interval, joined

_FOLDER: Final = "_covered"  # readers of Delta and Parquet leave out names with an underscore
_MOST_FILES: Final = 16  # each sync adds some; more than these are joined
_TIME: Final = pa.timestamp("us", tz="UTC")
_SCHEMA: Final = pa.schema(
    [
        pa.field("backend", pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("calibration_id", pa.string(), nullable=False),
        pa.field("since", _TIME, nullable=False),
        pa.field("until", _TIME, nullable=False),
    ]
)


class Series(NamedTuple):
    """Which calibrations belong together.

    Attributes:
        backend: the backend's name.
        origin: which service they come from, such as the address of its API.
        calibration_id: the variant of the backend; empty for none.
    """

    backend: str
    origin: str
    calibration_id: str


class Coverage:
    """The intervals of each series in which no calibration is missing.

    Args:
        location: where the archive is.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        self._table = ArchiveTable(location, _SCHEMA, "since", folder=_FOLDER)
        self._known: dict[str, list[tuple[Series, Interval]]] = {}  # by file; files never change

    def intervals(self) -> dict[Series, list[Interval]]:
        """Return them in order of time, those that touch as one.

        Raises:
            ArchiveError: the store failed.
        """
        version = self._table.refreshed()
        with self._location.explained():
            return {} if version is None else self._joined(version)

    def of(self, series: Series) -> list[Interval]:
        """Return those of one series."""
        return self.intervals().get(series, [])

    def cover(self, series: Series, interval: Interval) -> None:
        """Note that no calibration of the series is missing in an interval.

        Raises:
            ArchiveError: it cannot be written.
        """

        def change(version: Version) -> Change[int]:
            rows = _rows([(series, interval)])
            return [self._table.written(version, [rows], (), is_new=True)], len(version.files()) + 1

        if self._table.commit(None, change) > _MOST_FILES:
            self.join()
            self._table.clean()

    def join(self) -> None:
        """Make one file of all."""

        def change(version: Version) -> Change[None]:
            files = version.files()
            if len(files) < 2:
                return [], None
            rows = _rows((series, one) for series, parts in self._joined(version).items() for one in parts)
            added = self._table.written(version, [rows], (), is_new=False)
            return [added, *map(self._table.removed, files)], None

        if self._table.refreshed() is not None:
            self._table.commit("join", change)

    def vacuum(self, keep: timedelta) -> None:
        """Delete the files that no version of this last time has."""
        self._table.vacuum(keep)

    def _joined(self, version: Version) -> dict[Series, list[Interval]]:
        paths = [one.path for one in version.files()]
        self._known = {path: self._known.get(path) or _read(version, path) for path in paths}
        found: dict[Series, list[Interval]] = {}
        for series, interval in sorted(row for rows in self._known.values() for row in rows):
            found.setdefault(series, []).append(interval)
        return {series: joined(parts) for series, parts in found.items()}


def _read(version: Version, path: str) -> list[tuple[Series, Interval]]:
    rows = pa_parquet.read_table(path, filesystem=version.system, partitioning=None).to_pylist()
    return [
        (Series(row["backend"], row["origin"], row["calibration_id"]), (row["since"], row["until"]))
        for row in rows
    ]


def _rows(covered: Iterable[tuple[Series, Interval]]) -> Any:
    rows = [(*series, *interval) for series, interval in covered]
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=_SCHEMA)
