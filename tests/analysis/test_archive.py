"""Archives: complete, the same however often they are written, and read by everybody."""

import asyncio
import hashlib
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import polars
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from qrbackends import (
    ArchiveError,
    BackendProperties,
    Client,
    Forbidden,
    InvalidRequest,
    Limits,
    NotFound,
    RetryPolicy,
)
from qrbackends.analysis import archive_table
from qrbackends.analysis.archive import Archive
from qrbackends.analysis.archive_coverage import Series
from qrbackends.analysis.comparison import stability
from qrbackends.analysis.intervals import joined, missing
from qrbackends.cli import run as run_command
from qrbackends.emulator import Emulator, Status, SyntheticFleet
from qrbackends.models import Nduv
from qrbackends.models.properties import GateProperties

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def emulator_of(*names: str, qubits: int = 5) -> Emulator:
    fleet = SyntheticFleet(dict.fromkeys(names, qubits))
    return Emulator(fleet, regions=("us-east",), clock=NOW.timestamp, token_lifetime=10**9)


def client_of(emulator: Emulator) -> Client:
    quick = RetryPolicy(base=0.0, cap=0.0)
    return Client(emulator.account(), retry=quick, limits=Limits(failures=10**9))


def content(archive: Archive) -> list[dict[str, Any]]:
    """Return all rows, in an order of their own."""
    table = archive.scan().to_table()
    order = [("backend", "ascending"), ("calibrated_at", "ascending"), ("kind", "ascending")]
    return list(table.sort_by([*order, ("gate", "ascending"), ("name", "ascending")]).to_pylist())


def written(folder: Path) -> dict[Path, int]:
    """Return all files of rows, and when each was written."""
    return {
        path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet") if "_delta_log" not in path.parts
    }


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "calibrations")


async def test_what_is_archived_is_every_value_of_every_calibration(archive: Archive) -> None:
    async with emulator_of("a", "b") as emulator, client_of(emulator) as client:
        reported: list[Any] = []
        synced = await archive.sync(client, since=NOW - DAY, until=NOW, progress=reported.append)
        assert synced.added == {"a": 24, "b": 24}
        assert not synced.gaps
        assert not synced.errors
        assert {one.backend for one in reported} == {"a", "b"}
        assert max(one.added for one in reported) == 24
        properties = await client.properties("a", updated_before=NOW - 5 * HOUR)
        address = (await client.instances())[0].instance.base_url
    base = re.sub(r":\d+/", "/", address)  # an emulator has another port each time
    table = archive.scan(["a"], since=properties.last_update_date, until=properties.last_update_date + HOUR)
    rows = table.to_table().to_pylist()
    values = [value for qubit in properties.qubits for value in qubit]
    values += [value for gate in properties.gates for value in gate.parameters]
    values += [value for value in properties.general if not isinstance(value, str)]
    assert len(rows) == len(values)
    t1 = {row["qubits"][0]: row for row in rows if row["name"] == "T1"}
    for qubit, row in t1.items():
        assert row["value"] == properties.t1(qubit)
        assert (row["unit"], row["kind"], row["gate"]) == ("s", "qubit", None)
        assert row["measured_at"] == properties.qubit_property(qubit, "T1").measured_at  # type: ignore[union-attr]
        assert (row["origin"], row["calibration_id"], row["month"]) == (base, "", "2026-05")
    for row in rows:
        if row["kind"] == "gate" and row["name"] == "gate_error":
            assert row["value"] == properties.gate_error(row["gate"], row["qubits"])


async def test_the_same_again_adds_and_asks_for_nothing(archive: Archive, tmp_path: Path) -> None:
    async with emulator_of("a") as emulator:
        async with client_of(emulator) as client:
            await archive.sync(client, since=NOW - DAY, until=NOW)
        before = written(tmp_path)
        emulator.reset_log()
        async with client_of(emulator) as client:
            again = await archive.sync(client, since=NOW - DAY, until=NOW)
        assert again.added == {"a": 0}
        assert emulator.count("properties") <= 4  # the last hour is not settled
        assert written(tmp_path) == before
        async with client_of(emulator) as client:
            wider = await archive.sync(client, since=NOW - 2 * DAY, until=NOW)
        assert wider.added == {"a": 24}


async def test_two_writers_at_once_write_the_same(tmp_path: Path) -> None:
    async with emulator_of("a", "b") as emulator:
        alone, both = Archive(tmp_path / "alone"), Archive(tmp_path / "both")
        async with client_of(emulator) as one, client_of(emulator) as other:
            await alone.sync(one, since=NOW - DAY, until=NOW)
            await asyncio.gather(
                both.sync(one, since=NOW - DAY, until=NOW), both.sync(other, since=NOW - DAY, until=NOW)
            )
    assert content(both) == content(alone)


KILLED = """
import asyncio, sys
from datetime import datetime
import msgspec
from benchmarks.service import Service
from qrbackends import Client
from qrbackends.analysis import archive_table
from qrbackends.analysis.archive import Archive
from qrbackends.analysis.archive_coverage import Series
from qrbackends.analysis.comparison import stability

async def main(service, path, since, until):
    account = msgspec.json.decode(service, type=Service).account()
    async with Client(account) as client:
        def show(progress):
            print(progress.added, flush=True)
        await Archive(path).sync(
            client, since=datetime.fromisoformat(since), until=datetime.fromisoformat(until), progress=show
        )

asyncio.run(main(*sys.argv[1:]))
"""


async def killed_and_restarted(tmp_path: Path, days: int, kills: int) -> None:
    import msgspec

    from benchmarks.service import service_of

    random = Random(3)
    since = NOW - days * DAY
    async with emulator_of("a", "b") as emulator:
        service = msgspec.json.encode(service_of(emulator)).decode()
        command = [sys.executable, "-c", KILLED, service, str(tmp_path / "killed")]
        for _ in range(kills):
            process = await asyncio.create_subprocess_exec(
                *command, since.isoformat(), NOW.isoformat(), stdout=asyncio.subprocess.PIPE
            )
            assert process.stdout is not None
            for _ in range(random.randrange(1, 4)):
                await process.stdout.readline()
            if process.returncode is None:
                process.kill()
            await process.wait()
        async with client_of(emulator) as client:
            await Archive(tmp_path / "killed").sync(client, since=since, until=NOW)
            await Archive(tmp_path / "whole").sync(client, since=since, until=NOW)
    killed, whole = Archive(tmp_path / "killed"), Archive(tmp_path / "whole")
    assert content(killed) == content(whole)
    killed.compact(keep=timedelta(0))
    assert content(killed) == content(whole)
    storage = killed.storage()
    assert (storage.files, storage.dead_files) == (whole.storage().fewest, 0), "nothing of the killed is left"


@pytest.mark.long
async def test_what_was_killed_goes_on_and_ends_with_the_same(tmp_path: Path) -> None:
    await killed_and_restarted(tmp_path, days=3, kills=1)


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_what_was_killed_again_and_again_ends_with_the_same(tmp_path: Path) -> None:
    await killed_and_restarted(tmp_path, days=60, kills=12)


async def test_what_fails_is_told_and_read_the_next_time(archive: Archive) -> None:
    async with emulator_of("a") as emulator, client_of(emulator) as client:
        await client.backends()
        await client.properties("a")
        emulator.fault(Status(500), resource="properties", backend="a", times=40)
        synced = await archive.sync(client, ["a", "nowhere"], since=NOW - 2 * DAY, until=NOW)
        emulator.clear_faults()
        assert isinstance(synced.errors["nowhere"], NotFound)
        assert synced.gaps or synced.errors.get("a")
        again = await archive.sync(client, ["a"], since=NOW - 2 * DAY, until=NOW)
        assert not again.gaps
        assert synced.added["a"] + again.added["a"] == 48
    assert archive.info()[0].calibrations == 48


async def test_a_refusal_ends_it(archive: Archive) -> None:
    async with emulator_of("a") as emulator, client_of(emulator) as client:
        emulator.fault(Status(403), resource="backends", times=None)
        with pytest.raises(Forbidden):
            await archive.sync(client, since=NOW - DAY)
        emulator.clear_faults()
        with pytest.raises(InvalidRequest):
            await archive.sync(client, since=NOW, until=NOW - DAY)
        await client.backends()
        emulator.fault(Status(403), resource="properties", times=None)
        with pytest.raises(Forbidden):
            await archive.sync(client, since=NOW - DAY, until=NOW)


async def test_a_backend_that_is_refused_ends_it_for_no_other(archive: Archive) -> None:
    async with emulator_of("a", "b", "c") as emulator, client_of(emulator) as client:
        emulator.fault(Status(403), resource="properties", backend="b", times=None)
        synced = await archive.sync(client, since=NOW - 3 * HOUR, until=NOW)
        assert synced.added == {"a": 3, "b": 0, "c": 3}
        assert {name: type(error) for name, error in synced.errors.items()} == {"b": Forbidden}
        emulator.fault(Status(403), resource="properties", times=None)
        with pytest.raises(Forbidden):  # all are refused
            await archive.sync(client, since=NOW - DAY, until=NOW)


async def test_odd_names_are_errors_of_their_own_and_leave_the_archive_s_directory_alone(
    tmp_path: Path,
) -> None:
    outside = tmp_path / "archive" / "20260101T000000Z_20270101T000000Z"  # an interval's marker, by its name
    outside.parent.mkdir()
    outside.touch()
    odd = ("", ".", "..", "../..", "a/b", "nul\x00", "x" * 100_000, "\U0001f600" * 500)
    async with emulator_of("a") as emulator, client_of(emulator) as client:
        archive = Archive(tmp_path / "archive")
        synced = await archive.sync(client, [*odd, "a"], since=NOW - 3 * HOUR, until=NOW)
        assert synced.added["a"] == 3
        assert set(synced.errors) == set(odd)
        assert max(len(str(error)) for error in synced.errors.values()) < 700
    assert await asyncio.to_thread(lambda: [path.name for path in tmp_path.iterdir()]) == ["archive"]


async def test_an_account_that_names_its_instances_needs_no_search(archive: Archive) -> None:
    async with emulator_of("a") as emulator, client_of(emulator) as client:
        await archive.sync(client, since=NOW - 3 * HOUR, until=NOW)
        assert (emulator.count("search"), emulator.count("catalog")) == (0, 0)
        found = emulator.account().instances
        assert await client.addresses() == {one.crn: one.base_url for one in found}


async def test_variants_and_origins_are_kept_apart(archive: Archive) -> None:
    async with emulator_of("a") as emulator, client_of(emulator) as client:
        await archive.sync(client, since=NOW - 3 * HOUR, until=NOW)
        await archive.sync(client, since=NOW - 3 * HOUR, until=NOW, calibration_id="extra_gates")
        plain = await client.properties("a")
    assert archive.add(plain, origin="elsewhere")
    assert not archive.add(plain, origin="elsewhere")
    variants = set(archive.scan().to_table().column("calibration_id").to_pylist())
    assert variants == {"", "extra_gates"}
    assert archive.info()[0].calibrations == 7


async def test_an_export_is_one_file(archive: Archive, tmp_path: Path) -> None:
    async with emulator_of("a") as emulator, client_of(emulator) as client:
        await archive.sync(client, since=NOW - 3 * HOUR, until=NOW)
    rows = archive.scan().count_rows()
    assert archive.export(tmp_path / "all.parquet") == rows
    assert pq.read_table(tmp_path / "all.parquet").num_rows == rows
    assert archive.export(tmp_path / "t1.csv", names=["T1"]) == 15
    frame = polars.read_csv(tmp_path / "t1.csv")
    assert frame["qubits"].to_list() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    with pytest.raises(ValueError, match=r"\.parquet or \.csv"):
        archive.export(tmp_path / "all.xlsx")


def test_an_export_that_fails_leaves_what_was_there(archive: Archive, tmp_path: Path) -> None:
    value = Nduv("2026-01-01T00:00:00Z", "T1", "us", 1.0)
    for hour in range(2):
        archive.add(BackendProperties("a", "1", NOW + hour * HOUR, ((value,),), (), ()))
    for suffix in ("csv", "parquet"):
        target = tmp_path / f"t1.{suffix}"
        target.write_text("of yesterday")
        last = Path(archive.files()[-1])
        whole = last.read_bytes()
        last.write_bytes(b"broken")
        with pytest.raises(ArchiveError):
            archive.export(target)
        assert target.read_text() == "of yesterday"
        last.write_bytes(whole)
        assert archive.export(target) == 2
        assert target.read_text(errors="replace") != "of yesterday"
    assert {path.name for path in tmp_path.iterdir()} == {"calibrations", "t1.csv", "t1.parquet"}


def test_the_command_line_tells_what_a_compaction_would_save(
    archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    value = Nduv("2026-01-01T00:00:00Z", "T1", "us", 1.0)
    for hour in range(2):
        archive.add(BackendProperties("a", "1", NOW + hour * HOUR, ((value,),), (), ()))
    url = str(tmp_path / "calibrations")
    assert run_command(["archive", "info", url]) == 0
    told = capsys.readouterr().out
    assert "`archive compact` would leave 1 file." in told
    assert "Besides" not in told
    archive.compact()
    assert run_command(["archive", "info", url]) == 0
    told = capsys.readouterr().out
    assert "would leave" not in told
    assert "Besides, 2 files of 0.0 MB are kept" in told


def test_an_instant_without_a_time_zone_is_refused(archive: Archive) -> None:
    naive = NOW.replace(tzinfo=None)
    for method in (archive.scan, archive.files):
        with pytest.raises(InvalidRequest, match="since has to be a datetime with a time zone"):
            method(since=naive)
        with pytest.raises(InvalidRequest, match="until has to be a datetime with a time zone"):
            method(until=naive)


@pytest.mark.parametrize("url", ["{}/mistyped/archive", "file://{}/mistyped/archive"])
def test_what_only_reads_creates_nothing(url: str, tmp_path: Path) -> None:
    archive = Archive(url.format(tmp_path))
    assert archive.info() == ()
    assert archive.scan(["a"], since=NOW - DAY, until=NOW, kinds=["qubit"], names=["T1"]).count_rows() == 0
    assert set(archive.scan().schema.names) >= {"backend", "month", "value"}
    assert list(tmp_path.iterdir()) == []
    assert (archive.files(), archive.names(), archive.backends()) == ([], [], {})
    assert archive.storage().files == 0
    assert archive.compact() == (0, 0)
    with pytest.raises(ArchiveError, match="there is no archive of calibrations"):
        archive.export(tmp_path / "none.csv")
    assert list(tmp_path.iterdir()) == []


async def test_info_tells_what_there_is(archive: Archive) -> None:
    assert archive.info() == ()
    assert archive.scan().count_rows() == 0
    async with emulator_of("a") as emulator, client_of(emulator) as client:
        await archive.sync(client, since=NOW - 3 * HOUR, until=NOW)
        newest = await client.properties("a")
    (held,) = archive.info()
    assert (held.backend, held.calibrations, held.last) == ("a", 3, newest.last_update_date)
    assert held.last - held.first == 2 * HOUR
    assert (held.rows, held.files, held.unread) == (archive.scan().count_rows(), 1, ())
    assert held.bytes == sum(map(os.path.getsize, archive.files())) > 0


async def test_stretches_that_no_sync_has_read_are_told(archive: Archive) -> None:
    async with emulator_of("a") as emulator, client_of(emulator) as client:
        for since, until in ((5, 4), (2, 0)):
            await archive.sync(client, since=NOW - since * DAY, until=NOW - until * DAY)
        (held,) = archive.info()
        assert held.calibrations == 72
        assert held.unread == ((NOW - 4 * DAY, NOW - 2 * DAY),)
        await archive.sync(client, since=NOW - 5 * DAY, until=NOW)
        (held,) = archive.info()
        assert (held.calibrations, held.unread) == (120, ())
        one = await client.properties("a", updated_before=NOW - 9 * DAY)
    archive.add(one, origin="elsewhere")
    assert archive.info()[0].unread[0][0] == one.last_update_date


@pytest.mark.long
async def test_hourly_syncs_leave_two_files_for_a_month_that_goes_on(archive: Archive) -> None:
    times = [NOW - DAY]
    fleet = SyntheticFleet({"a": 5})
    async with (
        Emulator(
            fleet, regions=("us-east",), clock=lambda: times[0].timestamp(), token_lifetime=10**9
        ) as emulator,
        client_of(emulator) as client,
    ):
        for _ in range(30):  # into the next month
            times[0] += HOUR
            await archive.sync(client, since=NOW - 3 * DAY, until=times[0])
            assert archive.storage().files <= 2 + (times[0] >= NOW) * 1
        whole = content(archive)
        assert len({row["calibrated_at"] for row in whole}) == 48 + 30
        before = archive.storage()
        assert (before.fewest, before.dead_files > 20) == (2, True)
        assert archive.compact().deleted == 0, "readers of the last day may need them"
        assert archive.compact(keep=timedelta(0)).deleted >= before.dead_files
        after = archive.storage()
        assert (after.files, after.dead_files) == (2, 0)
        assert content(archive) == whole
        assert (await archive.sync(client, since=NOW - 3 * DAY, until=times[0])).added == {"a": 0}


@pytest.mark.long
def test_hourly_syncs_do_not_grow_what_is_dead_nor_the_logs(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_table, "_now", lambda: int((time.time() - 3 * 86_400) * 1000))
    store, series, seen = archive._store, Series("a", "", ""), set[Path]()
    value = Nduv("2026-01-01T00:00:00Z", "T1", "us", 1.0)
    for hour in range(100):
        at = NOW + hour * HOUR
        store.add(series, [BackendProperties("a", "1", at, ((value,),), (), ())])
        store.coverage.cover(series, (at, at + HOUR))
        store.tidy("a")
        for path in {path for path in tmp_path.rglob("*") if path.is_file()} - seen:
            seen.add(path)
            os.utime(path, (time.time() - 3 * 86_400,) * 2)  # it is three days old
    assert archive.scan().count_rows() == 100
    assert store.coverage.of(series) == [(NOW, NOW + 100 * HOUR)]
    for folder in (tmp_path / "calibrations", tmp_path / "calibrations/_covered"):
        assert len(list(folder.glob("_delta_log/*.json"))) < 100
    assert archive.storage().dead_files < 100
    assert len(list((tmp_path / "calibrations/_covered").glob("*.parquet"))) < 100


def test_how_long_files_are_kept(archive: Archive) -> None:
    value = Nduv("2026-01-01T00:00:00Z", "T1", "us", 1.0)
    for hour in range(2):
        archive.add(BackendProperties("a b/ü%", "1", NOW + hour * HOUR, ((value,),), (), ()))
    assert all(map(os.path.exists, archive.files()))
    for keep in (timedelta(days=8), timedelta(hours=-1)):
        with pytest.raises(InvalidRequest, match="0 to 7 days"):
            archive.compact(keep=keep)
    assert archive.compact(keep=timedelta(minutes=1)) == (2, 0), "it is rounded up"
    assert archive.compact(keep=timedelta(0)) == (0, 2)
    assert archive.scan().to_table().num_rows == 2


async def test_a_reader_lives_on_while_files_are_replaced(archive: Archive, tmp_path: Path) -> None:
    async with emulator_of("a") as emulator, client_of(emulator) as client:
        await archive.sync(client, since=NOW - DAY, until=NOW)
        before, began = content(archive), archive.scan()
        writer = Archive(tmp_path / "calibrations")
        await writer.sync(client, since=NOW - 2 * DAY, until=NOW)
        writer.compact()
        assert began.count_rows() == len(before), "it has the rows of when it began"
        assert len(content(archive)) == 2 * len(before)
        writer.compact(keep=timedelta(0))
        assert len(content(archive)) == 2 * len(before)


async def test_names_are_those_of_plots_and_history(archive: Archive) -> None:
    async with emulator_of("a") as emulator, client_of(emulator) as client:
        await archive.sync(client, since=NOW - 3 * HOUR, until=NOW)
    assert archive.scan(names=["t1"]).count_rows() == archive.scan(names=["T1"]).count_rows() == 15
    assert {"T1", "T2", "gate_error", "readout_error"} <= set(archive.names())


def as_before(archive: Archive, folder: Path) -> None:
    """Write an archive as earlier versions did: a file per calibration."""
    rows = archive.scan().to_table()
    for at in rows["calibrated_at"].unique().to_pylist():
        one = rows.filter(pc.equal(rows["calibrated_at"], at))
        month = folder / f"backend=a/month={at:%Y-%m}"
        month.mkdir(parents=True, exist_ok=True)
        origin = "http://127.0.0.1:8101/api/v1"
        digest = hashlib.blake2b(f"{origin}\0".encode(), digest_size=8).hexdigest()
        one = one.drop_columns(["backend", "month"]).set_column(0, "origin", pa.array([origin] * len(one)))
        pq.write_table(one, month / f"{at:%Y%m%dT%H%M%SZ}-{digest}.parquet")
        (month / f".{at:%Y%m%dT%H%M%SZ}-{digest}.parquet.0123abcd").write_bytes(b"a draft")
    marker = folder / "_covered/a" / digest / f"{NOW - DAY:%Y%m%dT%H%M%SZ}_{NOW - HOUR:%Y%m%dT%H%M%SZ}"
    marker.parent.mkdir(parents=True)
    marker.touch()


async def test_an_archive_of_an_earlier_version_is_refused_and_imported(
    archive: Archive, tmp_path: Path
) -> None:
    old, new = tmp_path / "old", Archive(tmp_path / "new")
    async with emulator_of("a") as emulator, client_of(emulator) as client:
        await archive.sync(client, since=NOW - DAY, until=NOW)
        as_before(archive, old)
        for refused in (
            lambda: Archive(old).info(),
            lambda: Archive(old).scan(),
            lambda: Archive(old).compact(),
        ):
            with pytest.raises(ArchiveError, match=r"earlier version.*archive import"):
                refused()
        with pytest.raises(ArchiveError, match=r"earlier version.*archive import"):
            await Archive(old).sync(client, since=NOW - DAY, until=NOW)
        assert new.import_files(old) == {"a": 24}
        assert content(new) == content(archive)
        assert new.import_files(old) == {"a": 0}
        emulator.reset_log()
        assert (await new.sync(client, since=NOW - DAY, until=NOW)).added == {"a": 0}
        assert emulator.count("properties") <= 4, "what was read is known, too"
    with pytest.raises(ArchiveError, match="no files of calibrations"):
        new.import_files(tmp_path / "nothing")


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@settings(max_examples=25)
@given(NAMES, NAMES, st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)), st.floats(allow_nan=False))
def test_whatever_a_backend_is_called_it_stays_below_the_archive(
    tmp_path_factory: pytest.TempPathFactory, name: str, origin: str, at: datetime, number: float
) -> None:
    root = tmp_path_factory.mktemp("archive")
    archive = Archive(root / "own")
    value = Nduv("2026-01-01T00:00:00Z", "T1", "us", number)
    gate = GateProperties("cz", (0, 1), (value,))
    one = BackendProperties(name, "1", at.replace(tzinfo=UTC), ((value,), ()), (gate,), (value, "odd"))
    assert archive.add(one, origin=origin)
    assert not archive.add(one, origin=origin)
    (held,) = archive.info()
    assert (held.backend, held.first) == (name, one.last_update_date)
    rows = archive.scan().to_table().to_pylist()
    assert [(row["backend"], row["value"]) for row in rows] == [(name, value.si)] * 3
    assert {path.name for path in root.iterdir()} == {"own"}


def test_a_calibration_that_cannot_be_read_leaves_nothing_behind(archive: Archive, tmp_path: Path) -> None:
    bad = BackendProperties("a", "1", NOW, ((Nduv("", "T1", "fortnight", 1.0),),), (), ())
    with pytest.raises(Exception, match="unit"):
        archive.add(bad)
    assert archive.info() == ()
    good = replace(bad, qubits=((Nduv("no date", "operational", "", 1.0),),))
    assert archive.add(good)
    (row,) = archive.scan().to_table().to_pylist()
    assert row["measured_at"] is None


INTERVALS = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 20)).map(lambda one: (one[0], one[0] + one[1])), max_size=8
)


@given(INTERVALS, st.integers(0, 60), st.integers(1, 40))
def test_what_is_missing_is_the_rest(intervals: list[tuple[int, int]], begin: int, length: int) -> None:
    def at(hour: int) -> datetime:
        return NOW + hour * HOUR

    covered = joined([(at(one), at(other)) for one, other in intervals])
    rest = list(missing((at(begin), at(begin + length)), covered))
    for hour in range(begin, begin + length):
        is_covered = any(one <= hour < other for one, other in intervals)
        assert is_covered != any(one <= at(hour) < other for one, other in rest)


def test_without_pyarrow_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['pyarrow'] = None; import qrbackends.analysis.archive"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "qrbackends[arrow]"' in outcome.stderr


async def test_an_archive_says_what_an_emulator_sent(archive: Archive, tmp_path: Path) -> None:
    async with emulator_of("device") as emulator, client_of(emulator) as client:
        fleet = await client.backends()
        await archive.sync(client, fleet, since=NOW - DAY, until=NOW)
        calibration = await client.properties(fleet["device"])
    assert {row["emulated"] for row in content(archive)} == {True}
    found = stability(archive, fleet["device"], DAY)
    assert (found.backend, found.emulated) == ("device", True)
    assert "<strong>Emulated data</strong>" in found._repr_html_()
    real = Archive(tmp_path / "real")
    real.add(replace(calibration, backend_name="real"))
    assert {row["emulated"] for row in content(real)} == {False}
    found = stability(real, "real", DAY)
    assert (len(found), found.emulated) == (15, False)
    assert real.scan([fleet["device"]]).to_table().num_rows == 0
