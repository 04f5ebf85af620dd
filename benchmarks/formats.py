"""Formats for archives: Delta Lake, Apache Iceberg with an SQL catalog, a Parquet file per calibration."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pyarrow.fs as pa_fs
import pyarrow.parquet as pa_parquet
from deltalake import DeltaTable, write_deltalake

from .calibrations import HOUR, NEWEST, QUBITS, Calibrations
from .measure import Table, Timing
from .s3 import S3Server

WINDOW = 12  # calibrations that are written at a time


class Format(Protocol):
    """A way to keep calibrations."""

    def add(self, calibrations: list[Any]) -> None:
        """Write the tables of several calibrations, all of them or none."""

    def compact(self) -> None:
        """Make few sorted files of many."""

    def rows(self) -> Any:
        """Return a pyarrow dataset, opened anew as a reader does, or what is scanned like one."""


class PlainFiles:
    """A file per calibration: a draft that is renamed; compaction would be up to us."""

    def __init__(self, url: str) -> None:
        self._system, self._root = pa_fs.FileSystem.from_uri(url)

    def add(self, calibrations: list[Any]) -> None:
        for table in calibrations:
            at, month = table["calibrated_at"][0].as_py(), table["month"][0].as_py()
            folder = f"{self._root}/backend=device/month={month}"
            name = f"{folder}/{at:%Y%m%dT%H%M%SZ}.parquet"
            if self._system.get_file_info(name).type != pa_fs.FileType.NotFound:
                continue
            self._system.create_dir(folder)
            draft = f"{folder}/.{at:%Y%m%dT%H%M%SZ}.draft"
            table = table.drop_columns(["backend", "month"])
            pa_parquet.write_table(table, draft, filesystem=self._system, compression="zstd")
            self._system.move(draft, name)

    def compact(self) -> None:
        pass

    def rows(self) -> Any:
        partitions = pa_dataset.partitioning(
            pa.schema([("backend", pa.string()), ("month", pa.string())]), flavor="hive"
        )
        return pa_dataset.dataset(self._root, filesystem=self._system, partitioning=partitions)


class Delta:
    """Delta Lake by delta-rs."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._table: Any = None

    def add(self, calibrations: list[Any]) -> None:
        write_deltalake(
            self._table or self._url,
            pa.concat_tables(calibrations),
            mode="append",
            partition_by=["backend", "month"],
        )
        self._table = self._table or DeltaTable(self._url)

    def compact(self) -> None:
        DeltaTable(self._url).optimize.z_order(["name", "calibrated_at"])

    def rows(self) -> Any:
        return DeltaTable(self._url).to_pyarrow_dataset()


class Iceberg:
    """Apache Iceberg by pyiceberg, with a catalog in SQLite beside it."""

    def __init__(self, url: str, folder: str) -> None:
        from pyiceberg.catalog.sql import SqlCatalog

        options = {"uri": f"sqlite:///{folder}/catalog.db", "warehouse": url}
        if url.startswith("s3://"):
            options |= {
                "s3.endpoint": os.environ["AWS_ENDPOINT_URL"],
                "s3.access-key-id": os.environ["AWS_ACCESS_KEY_ID"],
                "s3.secret-access-key": os.environ["AWS_SECRET_ACCESS_KEY"],
                "s3.region": os.environ["AWS_REGION"],
            }
        self._catalog = SqlCatalog("catalog", **options)
        self._catalog.create_namespace("archive")
        self._table: Any = None

    def add(self, calibrations: list[Any]) -> None:
        from pyiceberg.transforms import IdentityTransform

        rows = pa.concat_tables(calibrations)
        if self._table is None:
            self._table = self._catalog.create_table("archive.rows", rows.schema)
            with self._table.update_spec() as update:
                update.add_field("backend", IdentityTransform(), "of_backend")
                update.add_field("month", IdentityTransform(), "of_month")
        self._table.append(rows)

    def compact(self) -> None:
        rows = self._table.scan().to_arrow()  # pyiceberg has no compaction: all is read, sorted and written
        self._table.overwrite(rows.sort_by([("name", "ascending"), ("calibrated_at", "ascending")]))

    def rows(self) -> Any:
        return _IcebergRows(self._catalog.load_table("archive.rows"))


class _IcebergRows:
    """A scan of pyiceberg behind the two methods of a dataset that are used here."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def count_rows(self) -> int:
        return int(self._table.scan().count())

    def to_table(self, filter: Any, columns: list[str]) -> Any:  # noqa: A002
        since = filter if isinstance(filter, datetime) else None
        where = "name = 'T1'" + (f" and calibrated_at >= '{since.isoformat()}'" if since else "")
        return self._table.scan(row_filter=where, selected_fields=tuple(columns)).to_arrow()


class Measured(NamedTuple):
    """What was measured of one format: seconds by task, requests to S3 by task, files and bytes."""

    seconds: dict[str, float]
    requests: dict[str, int]
    files: int
    bytes: int


MADE: dict[str, Callable[[str, str], Format]] = {
    "Delta Lake": lambda url, _: Delta(url),
    "Iceberg": Iceberg,
    "plain files": lambda url, _: PlainFiles(url),
}


def run(rounds: int) -> list[Table | str]:
    """Measure, and return the tables."""
    local, remote = (720, 120) if rounds > 10 else (48, 24)
    results: list[Table | str] = []
    with tempfile.TemporaryDirectory() as folder, S3Server() as server:
        for where, count in (("on local disk", local), ("on S3", remote)):
            found: dict[str, Measured] = {}
            for name in MADE:
                url = f"s3://{server.bucket}/{name.replace(' ', '-')}"
                if where == "on local disk":
                    url = Path(folder, name.replace(" ", "-")).as_uri()
                own = Path(folder, f"{where}-{name}")
                own.mkdir()
                found[name] = measured(MADE[name](url, str(own)), count, url, server)
            for task in next(iter(found.values())).seconds:
                timings = {name: Timing(*3 * [one.seconds[task]]) for name, one in found.items()}
                note = ""
                if where == "on S3":
                    note = "requests: " + ", ".join(
                        f"{name} {one.requests[task]}" for name, one in found.items()
                    )
                results.append(Table(f"formats, {count} calibrations {where}: {task}", timings, note))
            sizes = [f"{name} {one.files:,} files, {one.bytes / 1e6:.1f} MB" for name, one in found.items()]
            results.append(
                f"formats, {where}, live and dead files after the compaction: {'; '.join(sizes)}\n"
            )
    return results


def measured(made: Format, count: int, url: str, server: S3Server) -> Measured:
    """Write calibrations, ask, compact, and ask again."""
    calibrations = Calibrations()
    seconds: dict[str, float] = {}
    requests: dict[str, int] = {}

    def task(name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        server.requests()
        began = time.perf_counter()
        found = work(*arguments)
        seconds[name] = time.perf_counter() - began
        requests[name] = server.requests()
        return found

    tables = [table for _, table in calibrations.hours(NEWEST - count * HOUR, count)]
    parts = [tables[place : place + WINDOW] for place in range(0, count, WINDOW)]
    task("written, 12 at a time", add_all, made, parts)
    last = NEWEST - 24 * HOUR
    rows = len(parts[0][0]) * count
    for when in ("", ", compacted"):
        if when:
            task("compaction", made.compact)
        assert task(f"count{when}", lambda: made.rows().count_rows()) == rows
        for what, since in (("T1 of all", None), ("T1 of the last day", last)):
            found = task(f"{what}{when}", asked, made, since)
            assert 0 < found.num_rows <= QUBITS * (24 if since else count)
    files = list(server.sizes(url) if url.startswith("s3://") else _sizes(url))
    return Measured(seconds, requests, len(files), sum(files))


def add_all(made: Format, parts: list[list[Any]]) -> None:
    """Write calibrations, a part at a time."""
    for part in parts:
        made.add(part)


def asked(made: Format, since: datetime | None) -> Any:
    """Return T1 from an instant on."""
    rows = made.rows()
    columns = ["qubits", "calibrated_at", "value"]
    if isinstance(rows, _IcebergRows):
        return rows.to_table(since, columns)
    where = pa_dataset.field("name") == "T1"
    if since is not None:
        where &= (pa_dataset.field("calibrated_at") >= since) & (
            pa_dataset.field("month") >= f"{since:%Y-%m}"
        )
    return rows.to_table(filter=where, columns=columns)


def _sizes(url: str) -> Iterator[int]:
    folder = Path(url.removeprefix("file://"))
    return (path.stat().st_size for path in folder.rglob("*") if path.is_file())
