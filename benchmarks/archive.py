"""An archive that grows: what it costs to write, what it takes, and how soon it is asked."""

import asyncio
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import duckdb
import polars

from qrbackends import Client
from qrbackends.analysis.archive import Archive
from qrbackends.emulator import Emulator, SyntheticFleet

from .measure import Table, Timing, summarized

QUBITS = 156
DEVICES, DAYS = 12, 30  # 8,640 calibrations
NOW = datetime(2026, 6, 1, tzinfo=UTC)
QUERY = """
    select backend, epoch(calibrated_at) // 86400 as day, median(value) as t1
    from read_parquet({})
    where name = 'T1' group by all order by all
"""


def run(rounds: int) -> list[Table]:
    """Measure, and return the tables."""
    devices, days = (DEVICES, DAYS) if rounds > 10 else (2, 1)
    return asyncio.run(measured(devices, days))


async def measured(devices: int, days: int) -> list[Table]:
    """Archive a quarter of the devices, half of them, all; ask each time."""
    names = [f"device_{number:02}" for number in range(devices)]
    fleet = SyntheticFleet(dict.fromkeys(names, QUBITS))
    writing: dict[str, Timing] = {}
    asking: dict[str, Timing] = {}
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive(folder)
        async with (
            Emulator(fleet, regions=("us-east",), clock=NOW.timestamp, token_lifetime=10**9) as emulator,
            Client(emulator.account()) as client,
        ):
            done = 0
            for count in sorted({devices, max(1, devices // 2), max(1, devices // 4)}):
                began = time.perf_counter()
                since = NOW - timedelta(days=days)
                synced = await archive.sync(client, names[done:count], since=since, until=NOW)
                added = sum(synced.added.values())
                seconds = (time.perf_counter() - began) / added
                calibrations = sum(one.calibrations for one in archive.info())
                writing[f"{calibrations:,} calibrations"] = Timing(seconds, seconds, seconds)
                asking[f"DuckDB, {calibrations:,}"] = timed(lambda: by_duckdb(archive))
                asking[f"polars, {calibrations:,}"] = timed(lambda: by_polars(folder))
                done = count
            rows = archive.scan().count_rows()
            size = sum(one.bytes for one in archive.info())
            per = writing[f"{calibrations:,} calibrations"].median * calibrations
    note = (
        f"{rows:,} rows in {size / 1e6:,.0f} MB, {size / rows:.1f} bytes a row; "
        f"{rows / per:,.0f} rows a second, with the emulator's own work"
    )
    return [
        Table(f"archive: time per calibration of {QUBITS} qubits, fetched and written", writing, note),
        Table("archive: the median T1 of each backend and day", asking),
    ]


def timed(ask: Callable[[], object]) -> Timing:
    """Return how long a query takes."""
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        ask()
        seconds.append(time.perf_counter() - began)
    return summarized(seconds)


def by_duckdb(archive: Archive) -> list[object]:
    """Ask with DuckDB."""
    found: list[object] = duckdb.sql(QUERY.format(archive.files())).fetchall()
    return found


def by_polars(folder: str) -> polars.DataFrame:
    """Ask with polars."""
    return (
        polars.scan_delta(folder)
        .filter(polars.col("name") == "T1")
        .group_by("backend", polars.col("calibrated_at").dt.truncate("1d"))
        .agg(polars.col("value").median())
        .collect()
    )
