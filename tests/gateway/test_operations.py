"""Running a gateway: health, metrics, the access log, TLS, draining, mounting and sharing a store."""

import asyncio
import json
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from qrbackends import Client, RedisStore
from qrbackends.emulator import Emulator, Hold
from qrbackends.gateway.keys import KeyFile, Keyring
from qrbackends.gateway.log import Access, AccessLog
from qrbackends.gateway.options import GatewayOptions
from qrbackends.web.gateway import gateway_app, tls_context

from ..certificates import Authority
from ..waiting import until
from .serving import Asker, running

pytestmark = pytest.mark.anyio

NAME = "synthetic_eagle_127"


async def test_health_and_readiness(emulator: Emulator) -> None:
    async with running(emulator) as at:
        for path in ("/healthz", "/readyz"):
            got = await at.asker.ask(path, headers={"Authorization": None, "Host": "pod-7.internal"})
            assert (got.status, got.body) == (200, b'{"status":"ok"}')
            assert (await at.asker.ask(path, "POST")).status == 405
        at.gateway.draining = True
        assert (await at.asker.ask("/readyz")).status == 503
        assert (await at.asker.ask("/healthz")).status == 200


async def test_metrics_tell_of_requests_ages_and_the_service(emulator: Emulator) -> None:
    async with running(emulator) as at:
        for _ in range(4):
            await at.asker.document(NAME)
        await at.asker.document("nobody")
        await at.asker.instead(authorization="Bearer x").backends()
        text = (await at.asker.ask("/metrics")).plain.decode()
        families = {one.name: one for one in text_string_to_metric_families(text)}
        requests = {
            (one.labels["resource"], one.labels["status"], one.labels["cache"]): one.value
            for one in families["qrbackends_gateway_requests"].samples
        }
        assert requests == {
            ("properties", "200", "miss"): 1,
            ("properties", "200", "hit"): 3,
            ("properties", "404", "error"): 1,
            ("backends", "401", "none"): 1,
        }
        ages = families["qrbackends_gateway_answer_age_seconds"].samples
        assert next(one.value for one in ages if one.name.endswith("_count")) == 4
        answers = families["qrbackends_cache_answers"].samples
        hits = [one.value for one in answers if one.labels == {"resource": "properties", "result": "hit"}]
        assert hits == [3]
        asked = families["qrbackends_requests"].samples
        assert {one.labels["region"] for one in asked} >= {"us-east", "iam"}
        assert emulator.api_keys[0] not in text
    async with running(emulator, forward=True) as at:
        await at.asker.document(NAME)
        text = (await at.asker.ask("/metrics")).plain.decode()
        assert (
            'qrbackends_gateway_requests_total{cache="miss",resource="properties",status="200"} 1.0' in text
        )
        assert "qrbackends_cache_answers" not in text


async def test_the_access_log_has_a_line_for_each_request(emulator: Emulator, tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.log")
    async with running(emulator, log=log) as at:
        for _ in range(4):
            await at.asker.document(NAME)
        await at.asker.ask("/api/v1/backends?secret=1")
        await at.asker.ask("/" + "x" * 600)
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "access.log").read_text().splitlines()]
    assert [one["cache"] for one in lines[:5]] == ["miss", "hit", "hit", "hit", "miss"]
    assert [one["status"] for one in lines] == [200] * 5 + [404]
    assert {one["path"] for one in lines[:4]} == {f"/api/v1/backends/{NAME}/properties"}
    assert lines[4]["path"] == "/api/v1/backends"
    assert len(lines[5]["path"]) == 500
    assert {one.get("caller") for one in lines[:5]} == {"loopback"}
    assert {one["peer"] for one in lines} == {"127.0.0.1"}
    assert all(one["at"].endswith("Z") and one["seconds"] >= 0 for one in lines)
    assert (tmp_path / "access.log").stat().st_mode & 0o077 == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
async def test_a_full_disk_takes_the_log_and_nothing_else(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    log = AccessLog(Path("/dev/full"))
    line = Access(log.time(), "GET", "/x" * 200, 200, 0.1)
    async with running(emulator, log=log) as at:
        for _ in range(100):  # more than any buffer of a file has
            log.write(line)
        assert [(await at.asker.document(NAME)).status for _ in range(3)] == [200] * 3
    log.close()
    log.close()
    assert [one.getMessage() for one in caplog.records if "access log" in one.getMessage()] == [
        "the access log cannot be written, and lines are lost: No space left on device"
    ]


async def test_tls(emulator: Emulator, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=authority.ca)
    async with running(emulator, tls=tls_context(authority.server, authority.server)) as at:
        assert at.url.startswith("https://")
        for _ in range(3):
            got = await at.asker.document(NAME, ssl=context)
            assert got.status == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await at.asker.document(NAME)


async def test_requests_end_before_the_server_does(emulator: Emulator) -> None:
    held = emulator.fault(Hold(), resource="properties")
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        async with running(emulator) as at:
            asker = Asker(session, at.url, at.asker.authorization, at.asker.crn)
            asked = asyncio.create_task(asker.document(NAME))
            await until(lambda: emulator.count("properties") == 1)
            asyncio.get_running_loop().call_later(0.2, held.release)  # while the server ends
        assert (await asked).status == 200
        with pytest.raises(aiohttp.ClientConnectionError):
            await asker.document(NAME)


async def test_kept_connections_end_with_an_answer(emulator: Emulator) -> None:
    """A client that sends a request while the server begins to end gets an answer, and no reset."""
    async with aiohttp.ClientSession(auto_decompress=False) as session, AsyncExitStack() as stack:
        at = await stack.enter_async_context(running(emulator))
        asker = Asker(session, at.url, at.asker.authorization, at.asker.crn)
        for _ in range(4):  # from the third one on, the request is not parsed any more
            assert "Connection" not in (await asker.document(NAME)).headers
        ending = asyncio.create_task(stack.aclose())
        await until(lambda: at.gateway.draining)
        last = await asker.document(NAME)
        assert (last.status, last.headers["Connection"]) == (200, "close")
        await ending


async def test_it_is_mounted_in_an_app(emulator: Emulator, tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    key = file.add("app")
    async with Client(emulator.account()) as client:
        app = web.Application()
        app.add_subapp("/lab/quantum", gateway_app(client, file.path, status_age=0))
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/lab/quantum"
            async with aiohttp.ClientSession(auto_decompress=False) as session:
                asker = Asker(session, url, f"apikey {key}", emulator.instances[0].crn)
                for _ in range(3):
                    assert (await asker.document(NAME)).status == 200
                grant = f"grant_type=urn:ibm:params:oauth:grant-type:apikey&apikey={key}"
                granted = await asker.ask("/identity/token", "POST", data=grant)
                token = json.loads(granted.plain)["access_token"]
                assert (await asker.instead(authorization=f"Bearer {token}").backends()).status == 200
                assert (await asker.ask("/healthz")).status == 200
                assert (await asker.ask("/api/v1/elsewhere")).status == 404
        finally:
            await runner.cleanup()


async def test_gateways_share_answers_and_tokens(
    emulator: Emulator, store: RedisStore, tmp_path: Path
) -> None:
    file = KeyFile(tmp_path / "keys.json")
    key = file.add("one")
    async with (
        running(emulator, keyring=Keyring(file), store=store) as first,
        running(emulator, keyring=Keyring(file), store=store) as second,
    ):
        granted = first.keyring.exchange(key) or {}
        bearer = f"Bearer {granted['access_token']}"
        mine = await first.asker.instead(authorization=bearer).document(NAME)
        other = await second.asker.instead(authorization=bearer).document(NAME)
        assert (mine.status, mine.plain) == (200, other.plain)
        assert other.cache.startswith("qrbackends; hit; detail=shared")
        assert emulator.count("properties") == 1


async def test_the_service_is_not_asked_for_names_that_no_scraper_knows(emulator: Emulator) -> None:
    async with running(emulator, options=GatewayOptions(hosts=("gw",))) as at:
        before = emulator.count()
        for path in ("/metrics", "/healthz", "/readyz", "/", "/favicon.ico", "/api/v1", "/identity"):
            await at.asker.ask(path)
        assert emulator.count() == before
