"""Archives in an object store: an S3 server over real sockets, writers of which some are killed, readers."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import dask.dataframe
import duckdb
import msgspec
import polars
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from benchmarks.s3 import S3Server
from benchmarks.service import service_of
from qrbackends import ArchiveError, BackendProperties, InvalidRequest
from qrbackends.analysis.archive import SCHEMA, Archive
from qrbackends.cli import run as run_command
from qrbackends.emulator import Emulator
from qrbackends.models import Nduv

from .test_archive import DAY, HOUR, KILLED, NOW, client_of, content, emulator_of

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server() as started:
        yield started


@pytest.fixture
def s3(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return server


async def test_a_sync_takes_few_requests_and_a_living_reader_sees_what_others_wrote(s3: S3Server) -> None:
    url = "s3://calibrations/few"
    reader = Archive(url)
    assert reader.scan().count_rows() == 0
    async with emulator_of("a") as emulator, client_of(emulator) as client:
        await Archive(url).sync(client, since=NOW - DAY, until=NOW)
        assert reader.info()[0].calibrations == 24
        s3.requests()
        synced = await Archive(url).sync(client, since=NOW - 6 * DAY, until=NOW)
        assert synced.added == {"a": 120}
        assert s3.requests() <= 3 * 120
        assert (reader.info()[0].calibrations, reader.info()[0].unread) == (144, ())
        assert (await Archive(url).sync(client, since=NOW - 6 * DAY, until=NOW)).added == {"a": 0}
        assert reader.scan(["a"], names=["T1"]).count_rows() == 5 * 144
        Archive(url).compact(keep=timedelta(0))
        assert reader.scan(["a"], names=["T1"]).count_rows() == 5 * 144
        assert reader.storage().dead_files == 0


def calibration(hour: int, name: str = "a") -> BackendProperties:
    value = Nduv("2026-01-01T00:00:00Z", "T1", "us", 1.0)
    return BackendProperties(name, "1", NOW + hour * HOUR, ((value,),), (), ())


def test_a_commit_whose_answer_is_lost_is_there_once(s3: S3Server) -> None:
    archive = Archive("s3://calibrations/lost")
    assert archive.add(calibration(0))
    s3.lose_answer()
    assert archive.add(calibration(1))
    assert not archive.add(calibration(1))
    assert Archive("s3://calibrations/lost").scan().to_table().num_rows == 2


def test_a_writer_s_commit_is_not_refused_for_its_own_before(s3: S3Server) -> None:
    archive = Archive("s3://calibrations/own")
    for hour in range(3):
        s3.requests()
        assert archive.add(calibration(hour))
    assert s3.requests() <= 12, "it is written once"


def test_an_escape_in_a_url_is_what_delta_takes_it_for(s3: S3Server) -> None:
    url = "s3://calibrations/with%20blank"
    Archive(url).add(calibration(0))
    assert len(list(s3.sizes("s3://calibrations/with%20blank"))) == 3
    assert DeltaTable(url).to_pyarrow_table().num_rows == 1
    assert Archive("s3://calibrations/with blank").scan().count_rows() == 1


async def syncing(emulator: Emulator, url: str, since: datetime) -> asyncio.subprocess.Process:
    service = msgspec.json.encode(service_of(emulator)).decode()
    command = [sys.executable, "-c", KILLED, service, url, since.isoformat(), NOW.isoformat()]
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)


async def written_by_many(url: str, whole: Archive, *, writers: int, kills: int, days: float) -> None:
    """Let processes write the same, kill some of them, and compare the archive with that of one writer."""
    since, random = NOW - days * DAY, Random(5)
    async with emulator_of("a", "b") as emulator:
        processes = [await syncing(emulator, url, since) for _ in range(writers)]
        for _ in range(kills):
            place = random.randrange(writers)
            process = processes[place]
            assert process.stdout is not None
            for _ in range(random.randrange(1, 4)):
                await process.stdout.readline()
            if process.returncode is None:
                process.kill()
            await process.communicate()
            processes[place] = await syncing(emulator, url, since)
        for process in processes:
            await process.communicate()
            assert process.returncode == 0
        asked = emulator.count("properties")
        emulator.reset_log()
        async with client_of(emulator) as client:
            await whole.sync(client, since=since, until=NOW)
        assert asked <= (writers + kills) * emulator.count("properties"), "each has read all"
    archive = Archive(url)
    assert content(archive) == content(whole)
    assert [one.unread for one in archive.info()] == [(), ()]
    archive.compact(keep=timedelta(0))
    assert content(archive) == content(whole)
    assert archive.storage().dead_files == 0


@pytest.mark.parametrize(
    ("writers", "place", "days"), [(2, "s3://calibrations/two", 1), (4, "directory", 0.25)]
)
async def test_writers_of_which_one_is_killed_write_the_same_as_one(
    writers: int, place: str, days: float, s3: S3Server, tmp_path: Path
) -> None:
    url = str(tmp_path / "many") if place == "directory" else place
    await written_by_many(url, Archive(tmp_path / "whole"), writers=writers, kills=1, days=days)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("place", ["s3://calibrations/many", "directory"])
async def test_four_writers_that_are_killed_again_and_again_write_the_same_as_one(
    place: str, s3: S3Server, tmp_path: Path
) -> None:
    url = str(tmp_path / "many") if place == "directory" else place
    await written_by_many(url, Archive(tmp_path / "whole"), writers=4, kills=12, days=20)


T1 = "select backend, count(*), median(value) from {} where name = 'T1' group by 1 order by 1"


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # dask's own
@pytest.mark.parametrize("place", ["s3", "directory"])
async def test_everybody_reads_it_as_it_is(place: str, s3: S3Server, tmp_path: Path) -> None:
    url = "s3://calibrations/read" if place == "s3" else str(tmp_path / "read")
    archive = Archive(url)
    async with emulator_of("a", "b") as emulator, client_of(emulator) as client:
        for since in (30, 7):
            await archive.sync(client, since=NOW - since * HOUR, until=NOW - (since - 6) * HOUR)
    rows = archive.scan()
    expected = duckdb.sql(T1.format("rows")).fetchall()
    assert [(backend, count) for backend, count, _ in expected] == [("a", 60), ("b", 60)]
    chosen = polars.col("name") == "T1"
    for frame in (polars.scan_delta(url), polars.scan_pyarrow_dataset(rows)):
        found = frame.filter(chosen).group_by("backend").agg(polars.len(), polars.col("value").median())
        assert [(name, n) for name, n, _ in found.sort("backend").collect().rows()] == [("a", 60), ("b", 60)]
        assert found.sort("backend").collect()["value"].to_list() == pytest.approx(
            [t1 for *_, t1 in expected]
        )
    values = archive.scan(names=["T1"]).to_table(columns=["backend", "value"]).to_pandas()
    assert values.groupby("backend")["value"].median().to_list() == pytest.approx([t1 for *_, t1 in expected])
    assert DeltaTable(url).count() == rows.count_rows()
    if place == "directory":
        files = archive.files()
        assert duckdb.sql(T1.format(f"read_parquet({files})")).fetchall() == expected
        read = dask.dataframe.read_parquet(files, filters=[("name", "==", "T1")])
        assert read.groupby("backend")["value"].count().compute().to_dict() == {"a": 60, "b": 60}


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_spark_reads_its_files(tmp_path: Path) -> None:
    sql = pytest.importorskip("pyspark.sql")
    archive = Archive(tmp_path / "read")
    async with emulator_of("a", "b") as emulator, client_of(emulator) as client:
        await archive.sync(client, since=NOW - DAY, until=NOW)
    spark = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        spark.read.parquet(*archive.files()).createOrReplaceTempView("archive")
        found = spark.sql(
            "select backend, count(*) as n from archive where name = 'T1' group by 1 order by 1"
        )
        assert [(row.backend, row.n) for row in found.collect()] == [("a", 120), ("b", 120)]
    finally:
        spark.stop()


def refused(url: str) -> str:
    with pytest.raises(ArchiveError) as caught:
        Archive(url).info()
    assert str(caught.value).startswith(f"{url}: ")
    return str(caught.value)


async def test_failures_of_a_store_say_what_to_check(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "no such bucket" in refused("s3://mistyped/archive")
    async with emulator_of("a") as emulator, client_of(emulator) as client:
        with pytest.raises(ArchiveError, match="no such bucket"):
            await Archive("s3://mistyped/archive").sync(client, since=NOW - 3 * HOUR, until=NOW)
    assert "no such bucket" in refused("s3://mistyped/archive"), "it was not created"
    s3.refuse()
    try:
        assert "refused access: check the key" in refused("s3://calibrations/any")
    finally:
        s3.refuse(False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "does not answer: check its endpoint (AWS_ENDPOINT_URL)" in refused("s3://calibrations/any")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.example")
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    assert "plain http" in refused("s3://calibrations/any")
    file = tmp_path / "file"
    file.write_text("no directory")
    assert "no directory" in refused(str(file))
    odd = SCHEMA.set(SCHEMA.get_field_index("qubits"), pa.field("qubits", pa.string()))
    for name, other in {"another": pa.schema([("x", pa.int64())]), "odd": odd}.items():
        DeltaTable.create(str(tmp_path / name), other)
        assert "something else" in refused(str(tmp_path / name))


def test_a_table_that_others_made_unreadable_is_refused(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.add(calibration(0))
    feature = ["deletionVectors"]
    deletions = {"minReaderVersion": 3, "readerFeatures": feature}
    deletions |= {"minWriterVersion": 7, "writerFeatures": feature}
    log = tmp_path / "_delta_log" / f"{2:020}.json"
    log.write_text(msgspec.json.encode({"protocol": deletions}).decode())
    for read in (archive.scan, archive.info, archive.names):
        with pytest.raises(ArchiveError, match="deletionVectors"):
            read()


def test_the_name_of_an_archive_does_not_tell_why_it_failed(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "no credentials, connection timed out")
    archive.add(calibration(0))
    Path(archive.files()[0]).write_bytes(b"broken")
    assert "it failed: " in refused(str(tmp_path / "no credentials, connection timed out"))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://host/archive", "there are s3, gs, abfss, file"),
        ("s33://bucket/archive", "did you mean s3"),
        ("s3:///archive", "names no bucket"),
        ("s3://key:secret@bucket/archive", "keys are in the environment"),
        ("s3://key:sec/secret@bucket/archive", "keys are in the environment"),
        ("s3://bucket/archive?key=secret", "has no query"),
        ("s3://bucket/archive#secret", "has no query"),
        ("file://secret@host/archive", "keys are in the environment"),
        ("file://host/archive", "directory of this machine"),
        ("/archive/a%20b", "an escape such as %20"),
        ("file:///archive/a%2520b", "an escape such as %20"),
        ("", "is empty"),
        ("/", "the root of a file system"),
        ("file:///", "the root of a file system"),
        ("file://", "as file:///data/archive does"),
        ("file:archive", "write file://"),
        ("file:/archive", "write file://"),
        ("S3:bucket/archive", "write s3://"),
        ("https:/bucket/archive", "write https://"),
        ("a\\b", "write / between"),
        ("s3://bucket/a%5Cb", "write / between"),
        ("a\0b", "a control character"),
        ("a\nb", "a control character"),
        ("file:///a\tb", "a control character"),
        ("s3://bucket/a%7Fb", "a control character"),
        ("a\x9bb", "a control character"),
        ("\udcff", "has to be UTF-8"),
        ("file:///a%FF", "has to be UTF-8"),
        ("s3://bucket/a/../b", "no `//`, `.` or `..`"),
        ("s3://bucket/%2E/b", "no `//`, `.` or `..`"),
        ("s3://bucket//b", "no `//`, `.` or `..`"),
        ("s3://bucket/b ", "no blank at its end"),
        ("s3://../bucket", "names no bucket"),
        ("s3://buc%6Bet/b", "names no bucket"),
        ("s3://key:secret@[bucket/b", "not well-formed"),
        ("s3://buc\u2100ket/b", "not well-formed"),
        ("a\ud800", "has to be UTF-8"),
    ],
)
def test_a_url_that_no_archive_can_have_is_refused(url: str, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem) as caught:
        Archive(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("odd ?#%zz[*] \u00e9\u65e5", "odd ?#%zz[*] \u00e9\u65e5"),
        ("file://{}/odd%20%3F%23%25zz [*]%C3%A9\u65e5", "odd ?#%zz [*]\u00e9\u65e5"),
        ("file://localhost{}/p%2Fq/", "p/q"),
        ("a/../b//", "b"),
        ("~/kept", "kept"),
    ],
)
def test_all_read_an_archive_where_it_was_written(
    url: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    url = url.format(tmp_path)
    assert [Archive(url).add(calibration(hour)) for hour in (0, 1, 1)] == [True, True, False]
    assert Archive(url).compact(keep=timedelta(0)) == (2, 2)
    assert [one.calibrations for one in Archive(url).info()] == [2]
    assert Archive(url).scan().count_rows() == Archive(url).export("all.csv") > 0
    assert Archive(tmp_path / place).scan().count_rows() == Archive(url).scan().count_rows()
    assert polars.read_parquet(Archive(url).files(), glob=False).height > 0
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(["all.csv", place.split("/")[0]])


def test_the_command_line_tells_a_failure_in_one_line(
    s3: S3Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["archive", "info", "s3://mistyped/archive"]) == 1
    assert "s3://mistyped/archive: there is no such bucket" in capsys.readouterr().err
    assert run_command(["archive", "info", "foo://mistyped/archive"]) == 2
    assert "there are s3" in capsys.readouterr().err
    assert run_command(["archive", "compact", "s3://calibrations/mistyped"]) == 1
    assert "s3://calibrations/mistyped: there is no archive" in capsys.readouterr().err


SCANNING = """
import sys
from qrbackends.analysis.archive import Archive
archive = Archive(sys.argv[1])
assert archive.scan(names=["T1"]).head(5).num_rows == 5
assert archive.scan(names=["T1"]).to_table().num_rows
"""


async def scanned(url: str, times: int) -> None:
    async with emulator_of("a", qubits=27) as emulator, client_of(emulator) as client:
        await Archive(url).sync(client, since=NOW - DAY, until=NOW)
    command = [sys.executable, "-c", SCANNING, url]
    outcomes = [
        await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
        for _ in range(times)
    ]
    assert [(one.returncode, one.stderr) for one in outcomes] == [(0, b"")] * times


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", ["path", "file", "s3"])
async def test_scripts_that_scan_end_well(kind: str, s3: S3Server, tmp_path: Path) -> None:
    path = tmp_path / "scanned"
    await scanned({"path": str(path), "file": path.as_uri(), "s3": "s3://calibrations/scanned"}[kind], 50)
