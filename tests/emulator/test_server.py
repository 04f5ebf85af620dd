"""The emulator's life: ports, hosts, accounts, the log, and the end."""

import asyncio
import io
import os
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import anyio
import pytest

from qrbackends.emulator import Emulator, Hold, Status, SyntheticFleet
from qrbackends.emulator.surface import log

from ..internals import ports
from .asking import Asker

pytestmark = pytest.mark.anyio

FLEET = SyntheticFleet({"a": 5, "b": 5, "c": 5})


def free_ports(count: int) -> int:
    """The first of some consecutive ports that are free, and that no other process of these tests tries."""
    for first in range(20_011 + os.getpid() % 97 * 97, 32_000, 97):  # below those that systems hand out
        sockets = [socket.socket() for _ in range(count)]
        try:
            for offset, taken in enumerate(sockets):
                taken.bind(("127.0.0.1", first + offset))
        except OSError:
            continue
        else:
            return first
        finally:
            for taken in sockets:
                taken.close()
    raise AssertionError("no ports")


async def test_ports_are_consecutive_from_the_one_given() -> None:
    first = free_ports(4)
    async with Emulator(FLEET, regions=("r1", "r2", "r3"), port=first) as emulator:
        assert [emulator.url(region) for region in emulator.regions] == [
            f"http://127.0.0.1:{first + offset}/api/v1" for offset in range(3)
        ]
        assert emulator.iam_url == emulator.search_url == f"http://127.0.0.1:{first + 3}"
        assert emulator.catalog_url == f"http://127.0.0.1:{first + 3}/api/v1"
    async with Emulator(FLEET, regions=("r1", "r2", "r3"), port=first):
        pass  # the ports are free again


async def test_a_taken_port_is_an_error_that_leaves_nothing_open() -> None:
    first = free_ports(3)
    with socket.socket() as other:
        other.bind(("127.0.0.1", first + 1))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            await Emulator(FLEET, port=first).__aenter__()
    async with Emulator(FLEET, port=first):
        pass


async def test_an_emulator_can_be_opened_again() -> None:
    emulator = Emulator(FLEET)
    for _ in range(2):
        async with emulator, Asker(emulator) as ask:
            assert (await ask.get("/backends")).status == 200


def open_files() -> int:
    return len(os.listdir("/dev/fd"))  # noqa: PTH208


async def opened(emulator: Emulator) -> None:
    async with emulator:
        pass


@pytest.mark.parametrize("steps", range(24))
async def test_a_start_that_is_cancelled_leaves_nothing_open(steps: int) -> None:
    async with Emulator(FLEET):  # what is opened once is open now
        pass
    before = open_files()
    emulator = Emulator(FLEET)
    task = asyncio.create_task(emulator.__aenter__())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():  # it was quicker
        await task.result().__aexit__(None, None, None)
    assert open_files() <= before  # fewer where what an earlier test left was collected meanwhile
    await opened(emulator)  # and it can be opened still
    assert open_files() <= before  # fewer where what an earlier test left was collected meanwhile


@pytest.mark.parametrize("steps", range(8))
async def test_an_end_that_is_cancelled_closes_everything(steps: int) -> None:
    async with Emulator(FLEET):
        pass
    before = open_files()
    emulator = await Emulator(FLEET).__aenter__()
    with anyio.CancelScope() as scope:

        async def cancel() -> None:
            for _ in range(steps):
                await asyncio.sleep(0)
            scope.cancel()

        task = asyncio.create_task(cancel())
        await emulator.__aexit__(None, None, None)
    await task
    assert open_files() <= before  # fewer where what an earlier test left was collected meanwhile


async def test_it_is_not_entered_twice() -> None:
    async with Emulator(FLEET) as emulator, Asker(emulator) as ask:
        with pytest.raises(RuntimeError, match="is running already"):
            await emulator.__aenter__()
        assert (await ask.get("/backends")).status == 200


async def test_a_region_may_be_stopped_and_started_by_many_at_once() -> None:
    async with Emulator(FLEET) as emulator, Asker(emulator) as ask:
        assert (await ask.get("/backends")).status == 200
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(emulator.stop_region, "us-east")
                tasks.start_soon(emulator.start_region, "us-east")
        await emulator.start_region("us-east")
        assert (await ask.get("/backends")).status == 200
        await emulator.stop_region("us-east")
        await emulator.stop_region("us-east")
        with pytest.raises(aiohttp.ClientConnectorError):
            await ask.get("/backends")


async def test_a_region_is_not_started_once_the_emulator_is_closed() -> None:
    async with Emulator(FLEET) as emulator:
        port = ports(emulator)["us-east"]
        await emulator.stop_region("us-east")
    before = open_files()
    with pytest.raises(RuntimeError, match="closed"):
        await port.start()
    with pytest.raises(ValueError, match="not running"):
        await emulator.start_region("us-east")
    assert open_files() <= before  # fewer where what an earlier test left was collected meanwhile


async def test_a_number_that_somebody_else_took_while_the_region_was_down_is_an_error() -> None:
    async with Emulator(FLEET) as emulator:
        await emulator.stop_region("us-east")
        host, _, number = urlsplit(emulator.url("us-east")).netloc.partition(":")
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind((host, int(number)))
            other.listen()
            with pytest.raises(OSError, match="in use"):
                await emulator.start_region("us-east")
        await emulator.start_region("us-east")


async def test_one_port_that_fails_to_close_keeps_no_other_open(monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_files()
    emulator = await Emulator(FLEET).__aenter__()
    first, *_, last = ports(emulator).values()

    async def failing() -> None:
        await type(last).close(last)
        raise OSError("the port fell off")

    monkeypatch.setattr(last, "close", failing)
    with pytest.raises(OSError, match="fell off"):
        await emulator.__aexit__(None, None, None)
    with pytest.raises(RuntimeError, match="closed"):
        await first.start()
    await opened(emulator)
    assert open_files() <= before  # fewer where what an earlier test left was collected meanwhile


async def test_backends_go_to_the_regions_in_turn() -> None:
    async with Emulator(FLEET) as emulator:
        assert emulator.backends() == ("a", "b", "c")
        assert emulator.backends("us-east") == ("a", "c")
        assert emulator.backends("eu-de") == ("b",)


async def test_every_instance_sees_the_backends_of_its_region() -> None:
    async with Emulator(FLEET, instances=3) as emulator, Asker(emulator) as ask:
        for instance in emulator.instances:
            got = await ask.get("/backends", instance.region, Service_CRN=instance.crn)
            names = [device["name"] for device in got.json()["devices"]]
            assert names == list(emulator.backends(instance.region))


async def seen(emulator: Emulator) -> dict[str, list[str]]:
    """Return the names in the list of each instance, by the instance's name."""
    async with Asker(emulator) as ask:
        return {
            one.name.removeprefix("emulated-"): [
                device["name"]
                for device in (await ask.get("/backends", one.region, Service_CRN=one.crn)).json()["devices"]
            ]
            for one in emulator.instances
            if one.usable
        }


async def test_overlapping_instances_have_one_backend_in_common_and_others_of_their_own() -> None:
    fleet = SyntheticFleet(dict.fromkeys("abcdefg", 5))
    async with Emulator(fleet, ["r"], instances=3, unusable_instances=1, allocation="overlapping") as some:
        assert await seen(some) == {"r-1": ["a", "b", "e"], "r-2": ["a", "c", "f"], "r-3": ["a", "d", "g"]}


async def test_an_instance_sees_the_backends_of_its_region_that_it_is_given() -> None:
    fleet = SyntheticFleet(dict.fromkeys("abcd", 5))
    async with Emulator(fleet, instances=3, allocation={1: ["d", "a"], 2: ()}) as some:
        assert await seen(some) == {
            "us-east-1": ["a"], "eu-de-1": ["d"],
            "us-east-2": [], "eu-de-2": [],
            "us-east-3": ["a", "c"], "eu-de-3": ["b", "d"],
        }  # fmt: skip


@pytest.mark.parametrize("resource", ["configuration", "properties", "defaults", "status"])
async def test_a_backend_of_another_instance_is_unknown(resource: str) -> None:
    fleet = SyntheticFleet({"ibm_a": 27, "ibm_b": 27})
    async with (
        Emulator(fleet, ["r"], instances=2, allocation={1: ["ibm_a"], 2: ["ibm_b"]}) as some,
        Asker(some) as ask,
    ):
        for instance, own, other in zip(some.instances, "ab", "ba", strict=True):
            for name in (f"ibm_{own}", f"mock_{own}"):
                path = f"/backends/{name}/{resource}"
                assert (await ask.get(path, "r", Service_CRN=instance.crn)).status == 200
            for name in (f"ibm_{other}", f"mock_{other}"):
                path = f"/backends/{name}/{resource}"
                assert (await ask.get(path, "r", Service_CRN=instance.crn)).status == 404
            listed = await ask.get("/backends?include_mocks=true", "r", Service_CRN=instance.crn)
            names = [device["name"] for device in listed.json()["devices"]]
            assert names == [f"ibm_{own}", f"mock_{own}"]


@pytest.mark.parametrize(
    ("allocation", "problem"),
    [
        ("split", "has to be 'shared', 'overlapping' or a mapping"),
        ({0: ["a"]}, "no instance 0: they have to be 1 to 2"),
        ({3: ["a"]}, "no instance 3: they have to be 1 to 2"),
        ({1: ["z"]}, "no backend 'z'; it has a, b, c"),
        ({2: "abc"}, r"lists of names, such as {2: \['abc'\]}"),
    ],
)
async def test_an_allocation_that_makes_no_sense_is_refused(allocation: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        async with Emulator(FLEET, instances=2, allocation=allocation):
            pass


async def test_a_date_is_that_of_each_instances_own_list() -> None:
    now = [1_780_000_000.0]
    async with (
        Emulator(FLEET, ["r"], instances=2, allocation="overlapping", validators="date", clock=lambda: now[0])
        as some,
        Asker(some) as ask,
    ):  # fmt: skip
        for name in FLEET.names:
            some.set_backend(name, queue_length=1)
        first, second = some.instances
        dates = set()
        for instance in (first, second, first):
            got = await ask.get("/backends", "r", Service_CRN=instance.crn)
            dates.add(got.headers["Last-Modified"])
            now[0] += 10
        assert len(dates) == 1, "no list has changed"


async def test_answers_are_dated_by_the_emulator_s_clock() -> None:
    async with Emulator(FLEET, clock=lambda: 1_790_000_000.5) as emulator, Asker(emulator) as ask:
        assert (await ask.get("/backends")).headers["Date"] == "Mon, 21 Sep 2026 14:13:20 GMT"
        emulator.fault(Status(503), resource="backends")
        assert (await ask.get("/backends")).headers["Date"] == "Mon, 21 Sep 2026 14:13:20 GMT"
        emulator.fault(Status(503, {"date": "never"}), resource="backends")
        assert (await ask.get("/backends")).headers.getall("Date") == ["never"]


async def test_an_unusable_instance_is_refused() -> None:
    async with Emulator(FLEET, unusable_instances=1) as emulator, Asker(emulator) as ask:
        unusable = next(i for i in emulator.instances if not i.usable and i.region == "us-east")
        assert (await ask.get("/backends", Service_CRN=unusable.crn)).status == 403


async def test_the_account_has_everything_a_client_needs() -> None:
    async with Emulator(FLEET, instances=2, unusable_instances=1, keys=2) as emulator:
        account = emulator.account()
        assert [i.crn for i in account.instances] == [i.crn for i in emulator.instances if i.usable]
        assert all(i.base_url == emulator.url(i.region) for i in account.instances)
        assert (account.iam, account.search_url) == (emulator.iam_url, emulator.search_url)
        assert account.catalog_url == emulator.catalog_url
        keys = [emulator.account(number).api_key for number in range(2)]
        assert [getattr(key, "reveal")() for key in keys] == list(emulator.api_keys)  # noqa: B009


@pytest.mark.parametrize(
    "options",
    [{"regions": ()}, {"regions": ("a", "a")}, {"instances": 0}, {"keys": 0}, {"token_lifetime": 0}],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="have to be"):
        Emulator(FLEET, **options)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost", ""])
async def test_another_host_is_misdirected(ask: Asker, host: str) -> None:
    for url in (f"{ask.emulator.url('us-east')}/backends", f"{ask.emulator.iam_url}/identity/token"):
        got = await ask.send("GET", url, headers={"Host": host})
        assert got.status == 421
        assert got.json()["status_code"] == 421


async def test_all_names_of_loopback_are_its_own(ask: Asker) -> None:
    port = urlsplit(ask.emulator.url("us-east")).port
    for host in (f"localhost:{port}", f"LOCALHOST:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
        assert (await ask.get("/backends", Host=host)).status == 200


async def test_it_listens_where_it_is_told() -> None:
    async with Emulator(FLEET, host="localhost") as emulator, Asker(emulator) as ask:
        assert emulator.url("us-east").startswith("http://localhost:")
        assert (await ask.get("/backends")).status == 200


async def test_at_all_addresses_only_the_port_of_the_host_is_compared() -> None:
    async with Emulator(FLEET, host="0.0.0.0") as emulator, Asker(emulator) as ask:
        url = emulator.url("us-east")
        assert url.startswith("http://127.0.0.1:")
        port = urlsplit(url).port
        assert (await ask.get("/backends", Host=f"machine.example:{port}")).status == 200
        assert (await ask.get("/backends", Host="machine.example:1")).status == 421
        assert (await ask.get("/backends", Host="machine.example")).status == 421


async def test_health_is_told_whoever_asks_and_whatever_fails() -> None:
    async with Emulator(FLEET) as emulator, Asker(emulator) as ask:
        emulator.fault(Status(503), times=None)
        for url in (emulator.url("us-east").removesuffix("/api/v1"), emulator.iam_url):
            got = await ask.send("GET", f"{url}/health", headers={"Host": "evil.example"})
            assert (got.status, got.json(), got.headers["X-Emulated"]) == (
                200,
                {"status": "ok"},
                "qrbackends",
            )
            assert (await ask.send("POST", f"{url}/health")).status == 503
        assert [one.method for one in emulator.requests] == ["POST", "POST"]


async def test_ipv6() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with Emulator(FLEET, host="::1") as emulator, Asker(emulator) as ask:
        assert emulator.url("us-east").startswith("http://[::1]:")
        assert (await ask.get("/backends")).status == 200


async def test_a_request_by_absolute_address_is_understood(ask: Asker) -> None:
    await ask.log_in()
    url = f"{ask.emulator.url('us-east')}/backends?fields=wait_time_seconds"
    headers = {
        "Authorization": f"Bearer {ask.token}",
        "Service-CRN": ask.crn(),
        "IBM-API-Version": "2026-04-15",
    }
    # through itself as a proxy, which makes the client send the whole address
    got = await ask.send(
        "GET", url, headers=headers, proxy=ask.emulator.url("us-east").removesuffix("/api/v1")
    )
    assert got.status == 200
    assert "wait_time_seconds" in got.json()["devices"][0]


async def test_an_absolute_address_counts_more_than_the_host_header(ask: Asker) -> None:
    url = ask.emulator.url("us-east").removesuffix("/api/v1")
    own = urlsplit(url).netloc
    for target, host, status in (
        ("http://evil.example/api/v1/backends", own, 421),
        (f"{url}/api/v1/backends", "evil.example", 401),
        (f"http://evil.example@{own}/api/v1/backends", own, 421),
    ):
        head = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        assert await raw_status(url, head.encode()) == status


@pytest.mark.parametrize(
    "credential", [b"Bearer \xff\xfe.a.b", b"apikey \xff\xfe", b"Bearer ..", b"Bearer \xc3\xa9"]
)
async def test_a_credential_may_be_any_bytes(ask: Asker, credential: bytes) -> None:
    url = ask.emulator.url("us-east").removesuffix("/api/v1")
    lines = (
        b"GET /api/v1/backends HTTP/1.1",
        b"Host: " + urlsplit(url).netloc.encode(),
        b"Connection: close",
    )
    head = b"\r\n".join([*lines, b"Authorization: " + credential, b"", b""])
    assert await raw_status(url, head) == 401


async def raw_status(url: str, head: bytes) -> int:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(head)
    answer = await reader.read(-1)
    writer.close()
    await writer.wait_closed()
    return int(answer.split()[1])


async def test_a_body_that_is_too_large_is_413(ask: Asker) -> None:
    got = await ask.send("POST", f"{ask.emulator.iam_url}/identity/token", data=io.BytesIO(bytes(2 << 20)))
    assert (got.status, got.json()["status_code"]) == (413, 413)
    assert ask.emulator.requests[-1].status == 413


async def test_a_body_that_says_to_be_compressed_is_not_unpacked(ask: Asker) -> None:
    url = f"{ask.emulator.iam_url}/identity/token"
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/x-www-form-urlencoded"}
    got = await ask.send("POST", url, data=b"no gzip", headers=headers)
    assert got.status == 400


async def test_the_log_says_what_was_asked_and_never_who(ask: Asker) -> None:
    name = ask.emulator.backends("eu-de")[0]
    await ask.get(f"/backends/{name}/properties?calibration_id=x", "eu-de")
    await ask.get("/nowhere", Authorization=f"apikey {ask.emulator.api_keys[0]}")
    await ask.get("/backends", Authorization=None)
    token, properties, nowhere, listed = ask.emulator.requests
    assert (token.region, token.resource, token.method, token.status) == ("cloud", "token", "POST", 200)
    assert (properties.region, properties.resource, properties.backend) == ("eu-de", "properties", name)
    assert properties.path_qs == f"/api/v1/backends/{name}/properties?calibration_id=x"
    assert (properties.auth, properties.crn, properties.status) == ("Bearer", ask.crn("eu-de"), 404)
    assert (nowhere.resource, nowhere.backend, nowhere.auth, nowhere.status) == (None, None, "apikey", 404)
    assert (listed.auth, listed.status) == (None, 401)
    shown = repr(ask.emulator.requests)
    assert ask.token not in shown
    assert ask.emulator.api_keys[0] not in shown


async def test_the_counts(ask: Asker) -> None:
    here, there = ask.emulator.backends("us-east")[0], ask.emulator.backends("eu-de")[0]
    for path, region in (("/backends", "us-east"), (f"/backends/{here}/status", "us-east")):
        await ask.get(path, region)
    await ask.get(f"/backends/{there}/status", "eu-de")
    count: Callable[..., int] = ask.emulator.count
    assert (count(), count("status"), count("token")) == (4, 2, 1)
    assert (count(backend=here), count("status", there), count("status", there, "us-east")) == (1, 1, 0)
    assert (count(region="us-east"), count(region="cloud"), count("backends")) == (2, 1, 1)
    ask.emulator.reset_log()
    assert (count(), ask.emulator.requests) == (0, ())


async def test_the_log_forgets_the_oldest_and_the_counts_do_not(
    ask: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "KEPT", 3)
    for _ in range(5):
        await ask.get("/backends")
    assert [request.resource for request in ask.emulator.requests] == ["backends"] * 3
    assert ask.emulator.count() == 6
    for invented in range(5):
        await ask.get(f"/backends/invented-{invented}/status")
    assert ask.emulator.count("status") == 5
    named = [ask.emulator.count("status", f"invented-{invented}") for invented in range(5)]
    assert named == [1, 0, 0, 0, 0], "token, list and one name are three counts; the others share one"
    fault = ask.emulator.fault(Hold(), resource="status")

    async def held() -> None:
        await ask.get(f"/backends/{ask.emulator.backends('us-east')[0]}/status")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(held)
        await fault.reached()
        ask.emulator.reset_log()
        fault.release()
    assert ask.emulator.requests == ()  # what is answered after a reset is not counted either


async def test_closing_does_not_wait_for_held_requests() -> None:
    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(5):
            async with Emulator(FLEET) as emulator:
                ask = Asker(emulator)
                await ask.log_in()
                fault = emulator.fault(Hold(), resource="backends", times=None)

                async def held(region: str) -> None:
                    with pytest.raises(aiohttp.ClientError):
                        await ask.request("POST", "/backends", region)

                for region in ("us-east", "us-east", "eu-de"):
                    tasks.start_soon(held, region)
                await fault.reached(3)
    await ask.session.close()


async def test_many_at_once_make_one_document(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[object] = []
    build = SyntheticFleet.build

    def counting(fleet: SyntheticFleet, key: object) -> bytes:
        built.append(key)
        return build(fleet, key)

    monkeypatch.setattr(SyntheticFleet, "build", counting)
    fleet = SyntheticFleet({"x": 60})
    async with Emulator(fleet, regions=("us-east",)) as emulator, Asker(emulator) as asker:
        await asker.log_in()
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(asker.get, "/backends/x/configuration")
        assert len(built) == 1


async def test_a_backend_is_as_a_test_says_until_it_says_otherwise() -> None:
    async with Emulator(FLEET, regions=["r"]) as emulator, Asker(emulator) as ask:

        async def entries() -> dict[str, Any]:
            answer = await ask.get("/backends", "r")
            return {one["name"]: one for one in answer.json()["devices"]}

        before = await entries()
        emulator.set_backend("a", status="paused", reason="by hand", queue_length=77)
        emulator.set_backend("b", hidden=True)
        for _ in range(2):
            now = await entries()
            assert set(now) == {"a", "c"}
            assert now["a"]["status"] == {"name": "paused", "reason": "by hand"}
            assert now["a"]["queue_length"] == 77
        status = (await ask.get("/backends/a/status", "r")).json()
        assert (status["state"], status["status"], status["length_queue"]) == (True, "internal", 77)
        assert (await ask.get("/backends/b/status", "r")).status == 404
        assert emulator.backends() == ("a", "b", "c"), "all that it could serve"
        for name in "ab":
            emulator.set_backend(name)
        now = await entries()
        assert now["a"]["status"] == before["a"]["status"]
        emulator.set_backend("a", reason="by hand")
        assert (await entries())["a"]["status"] == {
            "name": before["a"]["status"]["name"],
            "reason": "by hand",
        }
        assert "b" in now
        emulator.set_backend("a", reason="warming up")
        assert (await entries())["a"]["status"] == {"name": "online", "reason": "warming up"}
        with pytest.raises(ValueError, match="no backend 'z'"):
            emulator.set_backend("z")
        with pytest.raises(ValueError, match="queue_length"):
            emulator.set_backend("a", queue_length=-1)
        with pytest.raises(ValueError, match="online, paused, offline, not 'internal'"):
            emulator.set_backend("a", status="internal")  # type: ignore[arg-type]
