"""An archive of a year: three devices of 156 qubits, calibrated hourly, and then a month of hourly syncs."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow.parquet as pa_parquet

from qrbackends.analysis.archive import Archive
from qrbackends.analysis.archive_coverage import Series
from qrbackends.analysis.archive_store import ArchiveStore

from .calibrations import HOUR, NEWEST, Calibrations
from .measure import Table, Timing, alternate

DEVICES, DAYS, MORE = 3, 365, 30
WINDOW = 12  # calibrations that a sync adds at a time
MEMORY = """
import sys
from pathlib import Path
from datetime import datetime, timedelta
from qrbackends.analysis.archive import Archive
from qrbackends.analysis.comparison import stability
archive = Archive(sys.argv[1])
{}
lines = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) // 1024)
"""
TASKS = {
    "import": "",
    "count": "archive.scan().count_rows()",
    "count of T1": "archive.scan(names=['T1']).count_rows()",
    "export of all": "archive.export(sys.argv[2])",
    "stability of a year": "stability(archive, 'device_0', timedelta(days=365))",
    "info": "archive.info()",
}


def run(rounds: int) -> Iterator[Table | str]:
    """Measure, and yield the tables."""
    devices, days, more = (DEVICES, DAYS, MORE) if rounds > 10 else (2, 4, 1)
    with tempfile.TemporaryDirectory() as folder:
        yield from measured(Path(folder), devices, days, more)


def measured(folder: Path, devices: int, days: int, more: int) -> Iterator[Table | str]:
    """Write a year in both ways, ask, and sync for another month."""
    new, old = folder / "new", folder / "old"
    own = [Calibrations(f"device_{number}") for number in range(devices)]
    archive, store = Archive(new), ArchiveStore(str(new))
    seconds = {"a file per calibration": 0.0, "Delta Lake": 0.0, "compaction": 0.0}
    first = NEWEST - days * 24 * HOUR
    for one in own:
        series = Series(one.name, "https://origin", "")
        for part in windows(one.hours(first, days * 24), WINDOW):
            seconds["Delta Lake"] += taken(store.add_tables, series, dict(part))
            seconds["a file per calibration"] += taken(plain, old, one.name, part)
        seconds["compaction"] += taken(store.tidy, one.name)
    rows, kept = archive.scan().count_rows(), archive.storage()
    count = devices * days * 24
    assert rows == sum(one.rows for one in own) * days * 24
    size = sum(path.stat().st_size for path in old.rglob("*.parquet"))
    per = {name: Timing(*3 * [value / count]) for name, value in seconds.items()}
    note = f"{rows:,} rows: {kept.files:,} files, {kept.bytes / 1e6:,.0f} MB; "
    note += f"before, {count:,} files, {size / 1e6:,.0f} MB"
    yield Table("year: time per calibration, written; and compacted", per, note)
    yield from asked(new, old, days)
    yield "year: memory of a process, MB: " + ", ".join(f"{n} {m}" for n, m in memory(folder, new).items())
    before = archive.storage().files
    for number in range(more * 24):
        for one in own:
            at = NEWEST + number * HOUR
            store.add_tables(Series(one.name, "https://origin", ""), {at: one.at(at)})
            store.tidy(one.name)
    after = archive.storage()
    archive.compact(keep=timedelta(0))
    fewest = archive.storage()
    yield (
        f"year: {before} files; after {more} days of hourly syncs {after.files}, compacted {fewest.files}; "
        f"not yet deleted then {after.dead_files} files, {after.dead_bytes / 1e6:,.0f} MB"
    )


def windows(calibrations: Any, size: int) -> Any:
    """Yield lists of so many calibrations."""
    while part := list(islice(calibrations, size)):
        yield part


def plain(folder: Path, name: str, calibrations: list[tuple[datetime, Any]]) -> None:
    """Write a file per calibration, as archives did before."""
    for at, rows in calibrations:
        month = folder / f"backend={name}" / f"month={at:%Y-%m}"
        month.mkdir(parents=True, exist_ok=True)
        draft = month / f".{at:%Y%m%dT%H%M%SZ}"
        pa_parquet.write_table(rows.drop_columns(["backend", "month"]), draft, compression="zstd")
        draft.rename(month / f"{at:%Y%m%dT%H%M%SZ}.parquet")


def asked(new: Path, old: Path, days: int) -> list[Table | str]:
    """Return how long readers take for one qubit's T1 of all, and of the last day."""
    files = f"{old}/backend=*/month=*/*.parquet"
    archive = Archive(new)
    where = "name = 'T1' and backend = 'device_0' and qubits[1] = 5"
    sql = f"select calibrated_at, value from {{}} where {where} order by 1"  # noqa: S608

    def duckdb_files(source: str) -> Any:
        return duckdb.sql(sql.format(f"read_parquet({source}, hive_partitioning = true)")).fetchall()

    def polars_rows(rows: Any) -> Any:
        chosen = (polars.col("name") == "T1") & (polars.col("backend") == "device_0")
        found = rows.filter(chosen & (polars.col("qubits").list.first() == 5)).select(
            "calibrated_at", "value"
        )
        return found.sort("calibrated_at").collect().height

    def duckdb_scan() -> Any:
        return duckdb.from_arrow(archive.scan()).query("rows", sql.format("rows")).fetchall()

    since = NEWEST - timedelta(days=1)
    year: dict[str, Callable[[], Any]] = {
        "DuckDB, archive.files()": lambda: len(duckdb_files(json.dumps(archive.files()).replace('"', "'"))),
        "DuckDB, archive.scan()": lambda: len(duckdb_scan()),
        "DuckDB, before": lambda: len(duckdb_files(f"'{files}'")),
        "polars, scan_delta": lambda: polars_rows(polars.scan_delta(str(new))),
        "polars, before": lambda: polars_rows(polars.scan_parquet(files, hive_partitioning=True)),
    }
    assert {count() for count in year.values()} == {days * 24}
    last: dict[str, Callable[[], Any]] = {
        "scan": lambda: archive.scan(["device_0"], since=since, names=["T1"]).to_table().num_rows,
        "DuckDB, before": lambda: len(
            duckdb.sql(
                f"select * from read_parquet('{files}', hive_partitioning = true) where name = 'T1' "  # noqa: S608
                f"and backend = 'device_0' and month >= '{since:%Y-%m}' "
                f"and calibrated_at >= '{since.isoformat()}'"
            ).fetchall()
        ),
    }
    assert len({count() for count in last.values()}) == 1
    rounds = 3
    opened = archive.files(["device_0"], since=since)
    return [
        Table("year: T1 of one qubit of one device, all of it", alternate(year, rounds)),
        Table(
            "year: T1 of the last day of one device", alternate(last, rounds), f"opens {len(opened)} files"
        ),
    ]


def memory(folder: Path, archive: Path) -> dict[str, int]:
    """Return the most memory that a process takes for a task, in MB."""
    found = {}
    for name, task in TASKS.items():
        command = [sys.executable, "-c", MEMORY.format(task), str(archive), str(folder / "all.parquet")]
        began = time.perf_counter()
        outcome = subprocess.run(command, capture_output=True, text=True, check=True)
        found[f"{name} ({time.perf_counter() - began:.1f} s)"] = int(outcome.stdout)
    return found


def taken(work: Callable[..., Any], *arguments: Any) -> float:
    """Return the seconds that something takes."""
    began = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began
