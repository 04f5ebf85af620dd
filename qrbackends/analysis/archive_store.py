"""What an archive consists of: the table of calibrations and the coverage, and what is done with both."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from ..errors import InvalidRequest
from ..models import BackendProperties
from .archive_compaction import compact, in_order, partitions
from .archive_coverage import Coverage, Series
from .archive_location import Location
from .archive_rows import SCHEMA, table_of
from .archive_table import LONGEST_KEPT, ArchiveTable, Change, Version
from .arrow import pa, pa_dataset, pa_fs

_PARTITIONS: Final = ("backend", "month")
_LONGEST: Final = 240  # bytes of a backend's name in the name of a folder
_MOST_FILES: Final = 2  # of a backend's month between two syncs
_BATCH: Final = 64 * 1024  # rows


class Compacted(NamedTuple):
    """What a compaction did.

    Attributes:
        replaced: number of files that were replaced by fewer ones.
        deleted: number of files that were deleted, as nobody needs them any more.
    """

    replaced: int
    deleted: int


class ArchiveStore:
    """The tables of an archive.

    Args:
        url: where it is; it need not exist.

    Raises:
        InvalidRequest: no archive can be at such a URL.

    Attributes:
        coverage: which stretches of time were read.
    """

    def __init__(self, url: str) -> None:
        self._location = Location(url)
        self._table = ArchiveTable(self._location, SCHEMA, "calibrated_at", _PARTITIONS)
        self.coverage = Coverage(self._location)

    @property
    def url(self) -> str:
        """Where it is."""
        return self._location.url

    def opened(self) -> Version | None:
        """Return the table of calibrations as it is now; None if there is none.

        Raises:
            ArchiveError: the store failed, or there is something else.
        """
        return self._table.opened()

    def read(self, rows: Any, columns: list[str] | None = None, where: Any = None) -> Iterator[Any]:
        """Yield the record batches of a dataset; the memory that it takes does not grow with their number.

        A scanner of pyarrow reads on while its batches are worked on; this reads one group of rows at a time.

        Args:
            rows: a dataset of this archive, without a filter.
            columns: these only; None for all.
            where: the condition that rows have to fulfil, or None.
        """
        how = {"schema": rows.schema, "columns": columns, "filter": where, "batch_size": _BATCH}
        with self._location.explained():
            for file in rows.get_fragments(filter=where):
                for group in file.split_by_row_group(filter=where, schema=rows.schema):
                    yield from group.to_batches(**how)

    def file_url(self, path: str) -> str:
        """Return the path of a file on this machine, or its URL."""
        return self._location.file(path)

    def add(self, series: Series, calibrations: Iterable[BackendProperties]) -> int:
        """Add those calibrations that are not there, all at once, and return their number.

        Raises:
            DecodeError: a unit is not known; nothing was added.
            InvalidRequest: the backend's name is too long.
            ArchiveError: they cannot be written.
        """
        return self.add_tables(
            series,
            {
                one.last_update_date.astimezone(UTC): table_of(one, series.origin, series.calibration_id)
                for one in calibrations
            },
        )

    def add_tables(self, series: Series, tables: Mapping[datetime, Any]) -> int:
        """Do what `add` does with tables of `SCHEMA`, by when each calibration was done."""
        checked_name(series.backend)
        filled = {at: rows for at, rows in sorted(tables.items()) if rows.num_rows}
        if not filled:
            return 0

        def change(version: Version) -> Change[int]:
            there = _present(version, series, min(filled), max(filled))
            months: dict[str, list[Any]] = {}
            for at, rows in filled.items():
                if at not in there:
                    months.setdefault(f"{at:%Y-%m}", []).append(rows)
            actions = [
                self._table.written(
                    version, [in_order(pa.concat_tables(new))], (series.backend, month), is_new=True
                )
                for month, new in months.items()
            ]
            return actions, sum(map(len, months.values()))

        return self._table.commit(blake2b(repr(series).encode(), digest_size=16).hexdigest(), change)

    def tidy(self, backend: str) -> None:
        """Compact those months of a backend that have too many files, and those that are over.

        When all files of a month were replaced, those that nobody needs any more are deleted if many.
        """
        months = {key: files for key, files in self._months().items() if key[0] == backend}
        replaced = [
            compact(self._table, key, is_over=key != max(months)) >= len(files)
            for key, files in months.items()
            if len(files) > (1 if key != max(months) else _MOST_FILES)
        ]
        if any(replaced):
            self._table.clean()

    def compact(self, keep: timedelta) -> Compacted:
        """Compact all months, and delete the files that no version of this last time has.

        Raises:
            InvalidRequest: the time is negative, or longer than the log knows of replaced files.
            ArchiveError: the archive cannot be read or written.
        """
        if not timedelta() <= keep <= LONGEST_KEPT:
            raise InvalidRequest(f"files that were replaced are kept for 0 to {LONGEST_KEPT.days} days")
        replaced = sum(compact(self._table, key, is_over=True) for key in self._months())
        self.coverage.join()
        self.coverage.vacuum(keep)
        return Compacted(replaced, self._table.vacuum(keep))

    def dead(self, version: Version) -> tuple[int, int]:
        """Return the number and the bytes of the files that are no part of a version of the calibrations."""
        live = {one.path for one in version.files()}
        with self._location.explained():
            found = version.system.get_file_info(pa_fs.FileSelector("", recursive=True))
        dead = [
            one.size
            for one in found
            if one.type == pa_fs.FileType.File and not one.path.startswith("_") and one.path not in live
        ]
        return len(dead), sum(dead)

    def _months(self) -> dict[tuple[str, ...], list[Any]]:
        version = self._table.refreshed()
        return {} if version is None else partitions(version.files())


def checked_name(backend: str) -> None:
    """Raise an error for a backend that no folder can be named after.

    Raises:
        InvalidRequest: its name is too long.
    """
    if len(quote(backend, safe="")) > _LONGEST:
        raise InvalidRequest("its name is too long for that of a directory")


def _present(version: Version, series: Series, first: datetime, last: datetime) -> set[datetime]:
    """Return the instants of those calibrations of a series that the table has, from one to another."""
    at, month = pa_dataset.field("calibrated_at"), pa_dataset.field("month")
    wanted = (month >= f"{first:%Y-%m}") & (month <= f"{last:%Y-%m}") & (at >= first) & (at <= last)
    for name, value in zip(Series._fields, series, strict=True):
        wanted &= pa_dataset.field(name) == value
    batches = version.dataset().to_batches(columns=["calibrated_at"], filter=wanted)
    return {one for batch in batches for one in batch.column(0).unique().to_pylist()}
