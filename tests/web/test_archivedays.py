"""What a device's page shows of an archive: figures day by day, or why there are none."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from msgspec.structs import replace

from qrbackends import ArchiveError, Client, InvalidRequest
from qrbackends.analysis import daily
from qrbackends.analysis.archive import Archive
from qrbackends.emulator import Emulator
from qrbackends.models.formatting import scaled
from qrbackends.web import Pace, archivedays, board_app
from qrbackends.web.archivedays import ArchiveDays

from .serving import served
from .test_board import Page, get

pytestmark = pytest.mark.anyio

HERE = "http://127.0.0.1/api/v1"  # as an archive has it, without the port
SCRIPT = "<script>alert(1)</script>"


class Kept(NamedTuple):
    """A board with an archive, which has something of the first device of a region only."""

    device: str
    bare: str
    older: str
    foreign: str
    t1: float


@pytest.fixture
async def kept(client: Client, emulator: Emulator, tmp_path: Path) -> AsyncIterator[Kept]:
    device, bare, older, foreign = emulator.backends()[:4]
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    archive = Archive(tmp_path)
    for name, origin, days in ((device, HERE, (0, 1, 4, 20)), (older, HERE, (40,)), (foreign, SCRIPT, (2,))):
        properties = await client.properties(name)
        for back in days:
            at = today - timedelta(days=back)
            archive.add(replace(properties, last_update_date=at), origin=origin)
    t1 = (await client.properties(device)).median_t1()
    assert t1 is not None
    async with served(board_app(client, pace=Pace(interval=1), archive=tmp_path)) as url:
        paths = {one.name: f"{url}/backends/{one.region}/{one.name}" for one in await client.backends()}
        yield Kept(paths[device], paths[bare], paths[older], paths[foreign], t1)


def charts(page: Page) -> list[str]:
    """Return the text alternatives of the charts of days."""
    labels = [attributes.get("aria-label") or "" for tag, attributes in page.tags if tag == "svg"]
    return [one for one in labels if " per day, " in one]


async def test_a_page_shows_what_the_archive_has_and_says_what_it_has_not(
    kept: Kept, web: aiohttp.ClientSession
) -> None:
    page = await get(web, f"{kept.device}?days=7&by=t2")
    today = datetime.now(UTC).date()
    t1, *others = charts(page)
    assert len(others) == 3
    week = f"{today - timedelta(days=6)} to {today}"
    assert t1.startswith(f"T1, µs per day, {week}: medians from {scaled(kept.t1, 1e6)} to ")
    assert t1.endswith(f"{scaled(kept.t1, 1e6)} on {today}")
    assert "3 of 7 days (in UTC) have a calibration" in page.text
    assert f"T1, µs: {scaled(kept.t1, 1e6)} on {today}" in page.text
    assert f"{today - timedelta(days=4)} 00:00" in page.text
    assert f"{today - timedelta(days=20)}" not in page.text
    drawn = [
        attributes["d"] or "" for tag, attributes in page.tags if tag == "path" and "class" not in attributes
    ]
    lines = [path for path in drawn if path.count("M") == 2]
    assert len(lines) == 4, "a day that is missing is a gap"
    assert all("h0" in path for path in lines), "a day alone is a dot"
    links = page.links()
    assert "?by=t2&days=90#days" in links
    assert "?by=t1&days=7" in links, "the map changes, and the days stay"
    assert "4 of 30 days (in UTC) have a calibration" in (await get(web, kept.device)).text
    assert "The archive has no calibration of this backend." in (await get(web, kept.bare)).text
    old = (await get(web, kept.older)).text
    assert "The archive has no calibration of the last 30 days; its newest one is of 20" in old
    assert "1 of 90 days" in (await get(web, f"{kept.older}?days=90")).text
    foreign = await get(web, kept.foreign)
    assert f"They come from {SCRIPT}, not from where this backend is listed." in foreign.text
    for odd in ("8", "1e1", "-7", "٧", ""):
        async with web.get(kept.device, params={"days": odd}) as answer:
            assert answer.status == 400


async def test_without_an_archive_there_is_nothing_of_it(client: Client, web: aiohttp.ClientSession) -> None:
    listed = (await client.backends())[0]
    async with served(board_app(client)) as url:
        page = await get(web, f"{url}/backends/{listed.region}/{listed.name}?days=7")
    assert "archive" not in page.text
    with pytest.raises(InvalidRequest):
        board_app(client, archive="s3://key:secret@bucket/x")


class Read:
    """Counts the looks into archives, and lets them wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.threads: list[threading.Thread] = []
        self.allowed = threading.Event()
        self.allowed.set()
        real = daily.daily_figures

        def counted(*arguments: Any) -> daily.Daily:
            self.threads.append(threading.current_thread())
            assert self.allowed.wait(30)
            return real(*arguments)

        monkeypatch.setattr(daily, "daily_figures", counted)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[Read]:
    counting = Read(monkeypatch)
    yield counting
    counting.allowed.set()  # so that the thread ends


async def test_a_crowd_costs_one_look_which_holds_up_nobody(
    client: Client, tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = (await client.backends())[0]
    properties = await client.properties(listed.name)
    Archive(tmp_path).add(replace(properties, last_update_date=datetime.now(UTC)), origin=HERE)
    days = ArchiveDays(tmp_path)
    parts = await asyncio.gather(*(days.part(listed, "", 7) for _ in range(10)))
    assert len(set(parts)) == 1
    assert "1 of 7 days (in UTC) have a calibration" in parts[0]
    (thread,) = read.threads
    assert thread is not threading.current_thread()

    monkeypatch.setattr(archivedays, "_PATIENCE", 0.01)
    hurried = ArchiveDays(tmp_path)
    read.allowed.clear()
    for _ in range(3):
        assert "The archive is still being read" in await hurried.part(listed, "", 90)
    read.allowed.set()
    while "still being read" in (part := await hurried.part(listed, "", 90)):
        pass
    assert "1 of 90 days (in UTC) have a calibration" in part
    assert len(read.threads) == 2, "who looks again waits for the same"


async def test_what_cannot_be_read_is_told_without_where_it_is_and_tried_again(
    client: Client, tmp_path: Path, read: Read
) -> None:
    passed = [0.0]
    (tmp_path / "backend=x").mkdir()
    days = ArchiveDays(tmp_path, clock=lambda: passed[0])
    listed = (await client.backends())[0]
    part = await days.part(listed, "", 7)
    assert "The archive cannot be read: it was written by an earlier version" in part
    assert str(tmp_path) not in part
    passed[0] = 59.0
    assert await days.part(listed, "", 7) == part
    assert len(read.threads) == 1
    (tmp_path / "backend=x").rmdir()
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log" / f"{0:020}.json").write_text('{"secret')
    passed[0] = 61.0
    part = await days.part(listed, "", 7)
    assert "The archive cannot be read: it failed; the server’s log says how." in part
    assert "secret" not in part
    (tmp_path / "_delta_log" / f"{0:020}.json").unlink()
    (tmp_path / "_delta_log").rmdir()
    passed[0] = 122.0
    part = await days.part(listed, "", 7)
    assert "no calibration of this backend" in part
    passed[0] = 421.0
    assert await days.part(listed, "", 7) == part
    assert len(read.threads) == 3, "an answer is given for five minutes"
    passed[0] = 423.0
    await days.part(listed, "", 7)
    assert len(read.threads) == 4


async def test_a_failure_that_took_long_is_told(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = [0.0]

    def hanging(*_: Any) -> daily.Daily:
        passed[0] += 100.0
        raise ArchiveError(f"{tmp_path}: the store does not answer")

    monkeypatch.setattr(daily, "daily_figures", hanging)
    days = ArchiveDays(tmp_path, clock=lambda: passed[0])
    listed = (await client.backends())[0]
    for _ in range(2):
        assert "The archive cannot be read: the store does not answer." in await days.part(listed, "", 7)
    assert passed == [100.0], "it lasts from its end"


async def test_what_others_did_to_an_archive_spoils_no_page(client: Client, tmp_path: Path) -> None:
    listed = (await client.backends())[0]
    properties = replace(await client.properties(listed.name), last_update_date=datetime.now(UTC))
    variant, unknown = Archive(tmp_path / "variant"), Archive(tmp_path / "unknown")
    variant.add(properties, calibration_id="variant")
    part = await ArchiveDays(tmp_path / "variant").part(listed, HERE, 7)
    assert "no calibration of this backend, apart from those that do not count here" in part
    unknown.add(properties, origin=HERE)
    part = await ArchiveDays(tmp_path / "unknown").part(listed, "", 7)
    assert f"They come from {HERE}.<" in part, "where it is listed is not known, so it may be from there"
    rows = unknown.scan().to_table()
    for name, column, said in (
        ("calibration_id", pa.array([1] * len(rows)), "there is a Delta table of something else"),
        ("value", pa.nulls(len(rows), pa.float64()), "its rows are odd"),
    ):
        odd = rows.set_column(rows.schema.get_field_index(name), name, column)
        write_deltalake(tmp_path / name, odd, partition_by=["backend", "month"])
        assert said in await ArchiveDays(tmp_path / name).part(listed, HERE, 7)
