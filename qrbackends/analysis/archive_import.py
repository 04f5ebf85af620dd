"""Archives as they were before they were tables: copied into a new one.

    backend=ibm_boston/month=2026-11/20261117T110502Z-1f0c….parquet   one calibration
    _covered/ibm_boston/1f0c…/20261101T000000Z_20261117T100502Z       an interval without missing calibrations

The hexadecimal digits stand for origin and variant of a calibration.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter
from typing import Any, Final
from urllib.parse import unquote

from ..errors import ArchiveError
from .archive_coverage import Series
from .archive_location import Location
from .archive_rows import SCHEMA, portless
from .archive_store import ArchiveStore
from .arrow import pa, pa_dataset, pa_fs
from .intervals import joined

_AT_ONCE: Final = 48  # calibrations
_HIVE: Final = pa_dataset.partitioning(
    pa.schema([SCHEMA.field("backend"), SCHEMA.field("month")]), flavor="hive"
)


def import_files(location: Location, store: ArchiveStore) -> dict[str, int]:
    """Add the calibrations of an archive of files that are missing, and return their number by backend.

    Raises:
        ArchiveError: one of both cannot be read or written, or there are no such files.
    """
    added: dict[str, int] = {}
    series: dict[tuple[str, str], Series] = {}
    with location.explained():
        for one, rows in groupby(_calibrations(location), key=itemgetter(0)):
            backend, origin, calibration_id, emulated = one
            own = Series(backend, portless(origin, emulated), calibration_id)
            series[backend, _digest(origin, calibration_id)] = own
            tables: dict[datetime, Any] = {}
            for _, at, table in rows:
                tables[at] = table.set_column(0, SCHEMA.field(0), pa.array([own.origin] * len(table)))
                if len(tables) == _AT_ONCE:
                    added[backend] = added.get(backend, 0) + store.add_tables(own, tables)
                    tables = {}
            added[backend] = added.get(backend, 0) + store.add_tables(own, tables)
        _import_coverage(location, store, series)
    for backend in added:
        store.tidy(backend)
    return added


def _calibrations(location: Location) -> Iterator[tuple[tuple[str, str, str, bool], datetime, Any]]:
    """Yield each calibration: which series it belongs to, when it was done, and its rows."""
    system, found = location.file_system(), []
    if system.get_file_info("").type == pa_fs.FileType.Directory:
        rows = pa_dataset.dataset("", filesystem=system, schema=SCHEMA, format="parquet", partitioning=_HIVE)
        for fragment in rows.get_fragments():
            folder, _, name = fragment.path.rpartition("/")
            if folder.startswith("backend="):
                found.append((folder, name.partition("-")[2], fragment))
    if not found:
        raise ArchiveError(
            f"{location.url}: there are no files of calibrations as earlier versions wrote them"
        )
    for _, _, fragment in sorted(found, key=lambda one: (*one[:2], one[2].path)):
        table = fragment.to_table(schema=SCHEMA)
        if table.num_rows:
            first = table.slice(0, 1).to_pylist()[0]
            key = first["backend"], first["origin"], first["calibration_id"], bool(first["emulated"])
            yield key, first["calibrated_at"].astimezone(UTC), table


def _import_coverage(location: Location, store: ArchiveStore, series: dict[tuple[str, str], Series]) -> None:
    selector = pa_fs.FileSelector("_covered", recursive=True, allow_not_found=True)
    covered: dict[Series, list[tuple[datetime, datetime]]] = {}
    for info in location.file_system().get_file_info(selector):
        parts = info.path.split("/")
        own = series.get((unquote(parts[1]), parts[2])) if len(parts) == 4 else None
        if own is not None:
            since, _, until = parts[3].partition("_")
            covered.setdefault(own, []).append((datetime.fromisoformat(since), datetime.fromisoformat(until)))
    for own, intervals in covered.items():
        for interval in joined(intervals):
            store.coverage.cover(own, interval)


def _digest(origin: str, calibration_id: str) -> str:
    return blake2b(f"{origin}\0{calibration_id}".encode(), digest_size=8).hexdigest()
