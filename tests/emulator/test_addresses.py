"""What a running emulator tells programs on the same machine, and what these believe."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from qrbackends import AccountError, Client, ConnectError, DecodeError, InstanceSearch, Secret
from qrbackends.emulator import Emulator, Status, running_account

from ..transport.test_pool import server as raw_server
from .asking import Asker

pytestmark = pytest.mark.anyio


async def test_the_account_is_learned_from_any_port_by_any_name_of_loopback(emulator: Emulator) -> None:
    for url in (emulator.iam_url, emulator.url("eu-de"), emulator.iam_url.replace("127.0.0.1", "localhost")):
        account = await running_account(url)
        assert account.emulated
        assert [one.crn for one in account.instances] == [one.crn for one in emulator.instances]
        host = url.split("/")[2].split(":")[0]
        assert {one.base_url.split("/")[2].split(":")[0] for one in account.instances} == {host}
    async with Client(account) as client:
        assert {one.name for one in await client.backends()} == {*emulator.backends()}


async def test_instances_may_be_looked_up_there(emulator: Emulator) -> None:
    account = await running_account(emulator.iam_url, search=InstanceSearch("emulated-eu-*"))
    assert not account.instances
    async with Client(account) as client:
        assert {one.region for one in await client.backends()} == {"eu-de"}


async def test_instances_without_backends_are_not_told() -> None:
    async with Emulator(instances=2, unusable_instances=1, keys=2) as emulator:
        account = await running_account(emulator.iam_url)
    assert len(account.instances) == 4
    assert isinstance(account.api_key, Secret)
    assert account.api_key.reveal() == emulator.api_keys[0]


async def test_faults_and_the_log_leave_it_alone(emulator: Emulator) -> None:
    emulator.fault(Status(503), times=None)
    assert (await running_account(emulator.iam_url)).emulated
    assert emulator.count() == 0


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", ""])
async def test_it_is_told_by_its_own_names_only(emulator: Emulator, host: str) -> None:
    port = emulator.iam_url.rpartition(":")[2]
    async with Asker(emulator) as ask:
        got = await ask.send("GET", f"{emulator.iam_url}/emulator", headers={"Host": host.format(port=port)})
        assert (got.status, b"emulated-" in got.body) == (403, False)
        got = await ask.send("GET", f"{emulator.iam_url}/emulator")
        assert (got.status, got.headers["Cache-Control"]) == (200, "no-store")
        assert "Access-Control-Allow-Origin" not in got.headers
        assert set(got.json()) == {"regions", "iam_url", "search_url", "catalog_url", "api_key", "instances"}
        assert b"control" not in got.body


@pytest.mark.parametrize("allowed", [[], ["emulator"]])
async def test_where_others_reach_it_only_this_machine_is_told(allowed: list[str]) -> None:
    async with Emulator(host="0.0.0.0", allowed_hosts=allowed) as emulator:
        port = emulator.iam_url.rpartition(":")[2]
        assert (await running_account(f"http://127.0.0.1:{port}")).instances
        async with Asker(emulator) as ask:
            for name in ("emulator", "192.0.2.1", "rebound.example"):
                got = await ask.send(
                    "GET", f"http://127.0.0.1:{port}/emulator", headers={"Host": f"{name}:{port}"}
                )
                assert got.status in (403, 421), "such as a page's whose name resolves to this machine"


@pytest.mark.parametrize("peer", ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", ""])
async def test_another_machine_is_not_told(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, peer: str
) -> None:
    monkeypatch.setattr("aiohttp.web.BaseRequest.remote", peer)
    async with Asker(emulator) as ask:
        assert (await ask.send("GET", f"{emulator.iam_url}/emulator")).status == 403
    monkeypatch.setattr("aiohttp.web.BaseRequest.remote", "::ffff:127.0.0.1")
    assert (await running_account(emulator.iam_url)).emulated


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1:80",
        "http://localhost.evil.example",
        "https://127.0.0.1:8103",
        "http://user@127.0.0.1",
        "http://127.0.0.1@evil.example",
        "127.0.0.1:8103",
        "",
    ],
)
async def test_no_other_machine_is_asked(url: str) -> None:
    with pytest.raises(AccountError, match=r"this machine only|has to be an absolute"):
        await running_account(url)


async def test_where_nothing_listens_it_says_what_starts_one() -> None:
    with pytest.raises(ConnectError, match=r"no emulator listens at http://127\.0\.0\.1:9 .*emulate` starts"):
        await running_account("http://127.0.0.1:9/api/v1")


@asynccontextmanager
async def answering(body: bytes, status: str = "200 OK") -> AsyncIterator[str]:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    async with raw_server(head.encode() + body) as (url, _):
        yield url


TOLD: dict[str, Any] = {
    "regions": {"eu-de": "http://127.0.0.1:1/api/v1"},
    "iam_url": "http://127.0.0.1:1",
    "search_url": "http://127.0.0.1:1",
    "catalog_url": "http://127.0.0.1:1/api/v1",
    "api_key": "emulated-" + "0" * 35,
    "instances": [
        {
            "crn": "crn:v1:bluemix:public:quantum-computing:eu-de:a/account:guid::",
            "region": "eu-de",
            "url": "http://127.0.0.1:1/api/v1",
        }
    ],
}


async def test_what_is_told_is_enough() -> None:
    async with answering(json.dumps(TOLD).encode()) as url:
        assert (await running_account(url)).instances[0].region == "eu-de"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"\xff", b"null", b'{"api_key": 1}', b"[" * 10_000, b" " * (2**22 + 1)]
)
async def test_what_is_no_emulator_is_told(body: bytes) -> None:
    async with answering(body) as url:
        with pytest.raises(DecodeError, match=r"is no emulator: give the address that .* prints for IAM"):
            await running_account(url)


@pytest.mark.parametrize("status", ["404 Not Found", "301 Moved\r\nLocation: http://127.0.0.1:1/", "500 No"])
async def test_any_other_answer_is_none(status: str) -> None:
    async with answering(json.dumps(TOLD).encode(), status) as url:
        with pytest.raises(DecodeError, match="is no emulator"):
            await running_account(url)
    async with raw_server(b"SSH-2.0-OpenSSH\r\n") as (url, _):
        with pytest.raises(DecodeError, match="is no emulator"):
            await running_account(url)


@pytest.mark.parametrize(
    "changed",
    [
        {"iam_url": "http://evil.example"},
        {"search_url": "https://127.0.0.1"},
        {"regions": {"eu-de": "http://192.0.2.1/api/v1"}},
        {"api_key": "a-key-of-somebody-else"},
        {"instances": []},
        {"instances": [{**TOLD["instances"][0], "url": "http://evil.example/api/v1"}]},
        {"instances": [{**TOLD["instances"][0], "crn": "crn:no"}]},
    ],
)
async def test_nothing_but_an_emulator_on_this_machine_is_believed(changed: dict[str, Any]) -> None:
    async with answering(json.dumps(TOLD | changed).encode()) as url:
        with pytest.raises(AccountError):
            await running_account(url)
