"""Journals: written, read, and sent again."""

import asyncio
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from qrbackends.emulator import (
    Difference,
    Emulator,
    Reset,
    Scenario,
    Status,
    Step,
    StopRegion,
    SyntheticFleet,
    read_journal,
    replay,
)
from qrbackends.emulator.steering.journal import journal_line
from qrbackends.emulator.surface.log import LoggedRequest

from .asking import GRANT, NOW, Asker

pytestmark = pytest.mark.anyio

FLEET = SyntheticFleet({"a": 5, "b": 5})
CONFIGURATION = "/backends/a/configuration"
QUERY = {"query": "service_name:quantum-computing"}


async def record(emulator: Emulator) -> None:
    """Ask a few things, of which some are refused."""
    async with Asker(emulator) as ask:
        await ask.log_in("wrong")
        await ask.log_in()
        bearer = {"Authorization": f"Bearer {ask.token}"}
        await ask.send("POST", f"{emulator.search_url}/v3/resources/search", json=QUERY, headers=bearer)
        got = await ask.get(CONFIGURATION, "r", Accept_Encoding="gzip")
        await emulator.advance(60.0)
        await ask.get(CONFIGURATION, "r", If_None_Match=got.headers["ETag"], Accept_Encoding="gzip")
        await ask.get("/backends/b%2F/status", "s")
        await ask.get("/backends/b/status?x=SECRET", "s", Authorization=f"apikey {emulator.api_keys[0]}")
        await ask.get("/backends/b/status", "s", Authorization="Bearer forged")
        await ask.get("/backends/b/status", "s", Service_CRN=ask.crn("r"))
        await ask.get("/backends/b/status", "s", Service_CRN="nonsense")
        await ask.get("/backends/b/status", "s", IBM_API_Version="yesterday")
        await ask.request("POST", "/backends", "s")


def new(**options: object) -> Emulator:
    """Return an emulator that answers the same each time."""
    return Emulator(FLEET, ["r", "s"], clock=lambda: NOW, validators="etag", **options)  # type: ignore[arg-type]


async def recorded() -> list[LoggedRequest]:
    """Return a journal."""
    async with new() as emulator:
        await record(emulator)
        return read_journal(emulator.journal().splitlines())


async def test_a_journal_is_answered_the_same_again() -> None:
    requests = await recorded()
    statuses = [request.status for request in requests]
    assert statuses == [400, 200, 200, 200, 304, 404, 200, 401, 403, 400, 400, 405]
    assert [request.at - NOW for request in requests] == [0.0] * 4 + [60.0] * 8
    async with new() as emulator:
        differences = await replay(requests, emulator, speed=None)
        again = emulator.requests
        assert emulator.clock.now == NOW + 60, "the clock was moved as far as then"
    assert differences == []
    for before, after in zip(requests, again, strict=True):
        assert (after.method, after.region, after.resource) == (before.method, before.region, before.resource)
        assert (after.path_qs, after.gzip, after.at) == (before.path_qs, before.gzip, before.at)


async def test_what_is_answered_differently_is_told() -> None:
    requests = await recorded()
    async with new() as emulator:
        emulator.fault(Status(503), resource="search")
        emulator.fault(Reset(), resource="configuration")
        differences = await replay(requests, emulator, speed=None)
    assert differences[:2] == [Difference(requests[2], 503), Difference(requests[3], None)]


async def test_an_emulator_of_another_seed_stands_in() -> None:
    requests = [one for one in await recorded() if one.if_none_match is None]
    async with new(seed=7) as emulator:
        assert await replay(requests, emulator, speed=None) == []


async def test_a_scenario_goes_on_meanwhile() -> None:
    requests = await recorded()
    async with new(scenario=Scenario([Step(30.0, StopRegion("s"))])) as emulator:
        differences = await replay(requests, emulator, speed=None)
    assert {one.request.region for one in differences if one.status is None} == {"s"}


async def test_the_spacing_is_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = await recorded()
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with new() as emulator:
        monkeypatch.setattr("qrbackends.emulator.replaying.sleep", sleep)
        await replay(requests, emulator, speed=120.0)
        assert emulator.clock.rate == 1.0
    assert max(waits) == pytest.approx(0.5, abs=0.49)
    assert [wait > 0 for wait in waits] == [False] * 4 + [True] * 8


async def test_no_secret_is_in_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    async with new(journal=path) as emulator, Asker(emulator) as ask:
        await record(emulator)
        await ask.log_in()
        real = "crn:v1:bluemix:public:quantum-computing:us-east:a/0123456789abcdef0123456789abcdef:6d-5e::"
        await ask.get("/backends?apikey=SECRET&SECRET", "r", Service_CRN=real)
        await ask_as_a_proxy(emulator.url("r"), "http://user:SECRET@127.0.0.1/api/v1/versions?SECRET=1")
        journal = emulator.journal()
        secrets = [
            *emulator.api_keys,
            ask.token,
            "SECRET",
            "forged",
            "wrong",
            "nonsense",
            GRANT,
            "0123456789ab",
        ]
    for secret in secrets:
        assert secret.encode() not in journal
    assert path.read_bytes() == journal, "requests one after the other are in the same order"


async def test_the_file_has_requests_without_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    async with new(journal=path) as emulator, Asker(emulator) as ask:
        await ask.log_in()
        emulator.fault(Reset(), resource="status")
        await asyncio.gather(ask.request("POST", "/backends/a/status", "r"), return_exceptions=True)
        emulator.reset_log()
    requests = read_journal(path.read_bytes().splitlines())
    assert [(one.resource, one.status) for one in requests] == [("token", 200), ("status", None)]


async def ask_as_a_proxy(url: str, target: str) -> None:
    """Ask with a target in absolute form."""
    host = url.split("/")[2]
    reader, writer = await asyncio.open_connection(*host.split(":"))
    lines = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    writer.write(lines.encode(errors="surrogateescape"))
    assert (await reader.read(-1)).startswith(b"HTTP/1.1 ")
    writer.close()
    await writer.wait_closed()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
async def test_a_full_disk_ends_the_journal_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    async with new(journal="/dev/full") as emulator, Asker(emulator) as ask:
        assert [(await ask.get("/versions", "r")).status for _ in range(2)] == [200, 200]
    (record,) = caplog.records
    assert record.getMessage().startswith("the journal ends here: ")


def test_a_journal_is_read_in_the_order_of_arrival() -> None:
    request = LoggedRequest("r", None, None, "GET", "/", None)
    lines = [journal_line(replace(request, number=number), ()) for number in (2, 0, 1)]
    assert [request.number for request in read_journal(lines)] == [0, 1, 2]
    for wrong in (b"{", b"{}", b'{"region": 5}', b'{"region": "\xff"}', b'{"more":' + b"[" * 99_999):
        with pytest.raises(ValueError, match=r"^x, line 2: "):
            read_journal([lines[0], wrong], "x")


async def test_what_cannot_be_replayed() -> None:
    request = LoggedRequest("mars", None, None, "GET", "/", None)
    async with new() as emulator:
        with pytest.raises(ValueError, match="no region 'mars'"):
            await replay([request], emulator, speed=None)
        with pytest.raises(ValueError, match="positive"):
            await replay([], emulator, speed=0)
        assert msgspec.json.decode(emulator.journal() or b"[]") == []


@pytest.mark.parametrize("header", ["If-None-Match", "If-Modified-Since", "IBM-API-Version", "Service-CRN"])
async def test_a_header_that_is_no_text_is_in_the_journal(tmp_path: Path, header: str) -> None:
    path = tmp_path / "journal"
    async with new(journal=path) as emulator, Asker(emulator) as ask:
        odd = f"/api/v1/versions HTTP/1.1\r\n{header}: crn:\udcff:a/x:y::\r\nX:"
        await ask_as_a_proxy(emulator.url("r"), odd)
        await ask.get("/versions", "r")
        requests = read_journal(emulator.journal().splitlines())
    assert {one.status for one in requests} == {200}
    assert read_journal(path.read_bytes().splitlines()) == requests


@pytest.mark.parametrize("query", ["=SECRET", "limit=1&=SECRET&", "&&=SECRET", "SECRET", "fields;SECRET=1"])
def test_a_parameter_without_a_name_is_removed(query: str) -> None:
    request = LoggedRequest("r", None, None, "GET", f"/x?{query}", None)
    assert b"SECRET" not in journal_line(request, ())


async def test_a_journal_of_others_is_sent_to_the_emulator_only() -> None:
    async with new() as emulator, new() as elsewhere:
        host = elsewhere.url("r").split("/")[2]
        for target in (f"@{host}/api/v1/versions", f":1@{host}/", f"//{host}/", "9/", "", "*", "?x"):
            request = LoggedRequest("r", None, None, "GET", target, "Basic", status=404)
            assert await replay([request], emulator, speed=None) == [], target
        assert elsewhere.requests == ()
