"""Everything that can go wrong on request."""

import asyncio
import errno
import gzip
import zlib

import aiohttp
import anyio
import msgspec
import pytest

from qrbackends.emulator import Bomb, Delay, Emulator, Garbage, Hold, Redirect, Reset, Status, Truncate
from qrbackends.emulator.surface.actions import gzip_bomb

from .asking import Asker, Got

pytestmark = pytest.mark.anyio

HERE = "synthetic_eagle_127"
PROPERTIES = f"/backends/{HERE}/properties"
STATUS = f"/backends/{HERE}/status"


async def raw(ask: Asker, path: str, compressed: bool = False) -> tuple[dict[str, str], bytes]:
    """Headers and body as they are on the wire: neither aiohttp nor anything else looks at them."""
    await ask.log_in()
    url = ask.emulator.url("us-east")
    host = url.split("/")[2]
    lines = [
        f"GET /api/v1{path} HTTP/1.1",
        f"Host: {host}",
        f"Authorization: Bearer {ask.token}",
        f"Service-CRN: {ask.crn()}",
        "IBM-API-Version: 2026-04-15",
        f"Accept-Encoding: {'gzip' if compressed else 'identity'}",
        "Connection: close",
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", int(host.partition(":")[2]))
    writer.write("\r\n".join([*lines, "", ""]).encode())
    head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    return headers, body


async def test_a_status_with_the_services_own_body(ask: Asker) -> None:
    ask.emulator.fault(Status(503, headers={"Retry-After": "7"}))
    got = await ask.get(PROPERTIES, Authorization=None)  # it strikes before anything is checked
    assert got.status == 503
    assert got.headers["Retry-After"] == "7"
    assert got.json()["status_code"] == 503
    assert (await ask.get(PROPERTIES)).status == 200


@pytest.mark.parametrize(
    ("body", "content_type", "sent"),
    [
        ("<h1>Bad gateway</h1>", "text/html; charset=utf-8", b"<h1>Bad gateway</h1>"),
        (b"\xff", "application/json", b"\xff"),
        ({"title": "no"}, "application/json", b'{"title":"no"}'),
    ],
)
async def test_a_status_with_a_body_of_ones_own(
    ask: Asker, body: bytes | str | dict[str, object], content_type: str, sent: bytes
) -> None:
    ask.emulator.fault(Status(522, body=body))
    got = await ask.get(STATUS)
    assert (got.status, got.headers["Content-Type"], got.body) == (522, content_type, sent)


async def test_a_status_that_http_has_no_name_for(ask: Asker) -> None:
    ask.emulator.fault(Status(524))
    got = await ask.get(STATUS)
    assert (got.status, got.json()["title"]) == (524, "Unknown Error")


@pytest.mark.parametrize(
    ("resource", "backend", "region", "struck"),
    [
        (None, None, None, [True, True, True, True]),
        ("properties", None, None, [True, False, False, False]),
        (None, HERE, None, [True, True, False, False]),
        (None, None, "eu-de", [False, False, False, True]),
        ("status", HERE, "us-east", [False, True, False, False]),
        ("status", HERE, "eu-de", [False, False, False, False]),
        ("backends", None, None, [False, False, True, True]),
    ],
)
async def test_a_fault_strikes_what_it_is_meant_for(
    ask: Asker, resource: str | None, backend: str | None, region: str | None, struck: list[bool]
) -> None:
    await ask.log_in()
    fault = ask.emulator.fault(Status(500), resource=resource, backend=backend, region=region, times=None)
    asked = [(PROPERTIES, "us-east"), (STATUS, "us-east"), ("/backends", "us-east"), ("/backends", "eu-de")]
    statuses = [(await ask.get(path, where)).status for path, where in asked]
    assert [status == 500 for status in statuses] == struck
    assert fault.hits == sum(struck)


async def test_faults_take_turns_in_the_order_in_which_they_were_added(ask: Asker) -> None:
    await ask.log_in()
    ask.emulator.fault(Status(500), times=2)
    ask.emulator.fault(Status(503), resource="status")
    statuses = [(await ask.get(STATUS)).status for _ in range(4)]
    assert statuses == [500, 500, 503, 200]


async def test_the_clouds_services_fail_as_well(ask: Asker) -> None:
    emulator = ask.emulator
    emulator.fault(Status(500), resource="token")
    assert (await ask.log_in()).status == 500
    assert (await ask.log_in()).status == 200
    bearer = {"Authorization": f"Bearer {ask.token}"}
    emulator.fault(Status(502), resource="search", region="cloud")
    url = f"{emulator.search_url}/v3/resources/search"
    query = {"query": "service_name:quantum-computing"}
    assert (await ask.send("POST", url, json=query, headers=bearer)).status == 502
    emulator.fault(Status(504), resource="catalog")
    plan = f"{emulator.catalog_url}/{emulator.instances[0].plan.id}"
    assert [(await ask.send("GET", plan, headers=bearer)).status for _ in range(2)] == [504, 200]


async def test_held_requests_wait_until_they_are_released(ask: Asker) -> None:
    await ask.log_in()
    fault = ask.emulator.fault(Hold(), resource="status", times=2)
    got: list[Got] = []

    async def one() -> None:
        got.append(await ask.get(STATUS))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one)
        await fault.reached()
        tasks.start_soon(one)
        await fault.reached(2)
        await fault.reached()
        assert got == []
        assert [request.status for request in ask.emulator.requests[-2:]] == [None, None]
        assert (await ask.get(STATUS)).status == 200  # a third one is not held
        fault.release()
    assert [answer.status for answer in got] == [200, 200]
    assert [request.status for request in ask.emulator.requests[-3:]] == [200, 200, 200]


async def test_clearing_the_faults_lets_go_of_what_they_hold(ask: Asker) -> None:
    await ask.log_in()
    fault = ask.emulator.fault(Hold(), times=None)

    async def one() -> None:
        assert (await ask.get(STATUS)).status == 200

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one)
        await fault.reached()
        ask.emulator.clear_faults()
    assert (await ask.get(STATUS)).status == 200
    assert fault.hits == 1


async def test_one_may_give_up_waiting_for_a_fault(ask: Asker) -> None:
    await ask.log_in()
    fault = ask.emulator.fault(Status(500))
    with anyio.move_on_after(0):
        await fault.reached()
    assert (await ask.get(STATUS)).status == 500


async def test_a_delayed_request_is_answered_as_ever(ask: Asker) -> None:
    ask.emulator.fault(Delay(0.001), resource="status")
    assert (await ask.get(STATUS)).status == 200


async def test_a_reset_is_no_answer(ask: Asker) -> None:
    await ask.log_in()
    ask.emulator.fault(Reset(), resource="status", times=None)
    with pytest.raises(aiohttp.ClientOSError) as caught:
        await ask.request("POST", STATUS)  # aiohttp repeats a GET by itself
    assert caught.value.errno == errno.ECONNRESET
    assert ask.emulator.requests[-1].status is None
    ask.emulator.clear_faults()
    assert (await ask.get(STATUS)).status == 200


async def test_a_plain_body_is_cut_below_its_length(ask: Asker) -> None:
    await ask.log_in()
    ask.emulator.fault(Truncate(), resource="properties", times=2)
    whole, _ = await raw(ask, PROPERTIES)
    headers, body = await raw(ask, PROPERTIES)
    assert len(body) == int(headers["Content-Length"]) // 2
    assert headers["Content-Length"] == whole["Content-Length"]
    assert "Content-Encoding" not in headers
    ask.emulator.fault(Truncate(), resource="properties")
    with pytest.raises(aiohttp.ClientPayloadError):
        await ask.get(PROPERTIES)


async def test_at_least_one_byte_is_missing(ask: Asker) -> None:
    ask.emulator.fault(Truncate(keep=1.0), resource="status")
    headers, body = await raw(ask, STATUS)
    assert len(body) == int(headers["Content-Length"]) - 1


@pytest.mark.parametrize("keep", [0.0, 0.5, 1.0])
async def test_a_gzip_stream_stops_before_its_end_under_a_matching_length(ask: Asker, keep: float) -> None:
    whole = (await ask.get(PROPERTIES)).body
    ask.emulator.fault(Truncate(gzip=True, keep=keep), resource="properties")
    headers, body = await raw(ask, PROPERTIES, compressed=True)
    assert headers["Content-Encoding"] == "gzip"
    assert len(body) == int(headers["Content-Length"])
    stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
    assert whole.startswith(stream.decompress(body))
    assert not stream.eof


async def test_garbage_is_not_json(ask: Asker) -> None:
    ask.emulator.fault(Garbage())
    got = await ask.get(STATUS, Authorization="Bearer x")
    assert (got.status, got.headers["Content-Type"]) == (200, "application/json")
    with pytest.raises(msgspec.DecodeError):
        got.json()
    ask.emulator.fault(Garbage(b"", "text/plain"), resource="status")
    assert (await ask.get(STATUS)).body == b""


async def test_a_bomb_is_small_until_it_is_unpacked(ask: Asker) -> None:
    ask.emulator.fault(Bomb(size=5_000_000), resource="properties")
    headers, body = await raw(ask, PROPERTIES, compressed=True)
    assert headers["Content-Encoding"] == "gzip"
    assert len(body) < 10_000
    unpacked = gzip.decompress(body)
    assert len(unpacked) == 5_000_000
    assert msgspec.json.decode(unpacked) == {}


@pytest.mark.parametrize("size", [0, 2, 3, 1 << 20, (1 << 20) + 2, 3_000_000])
def test_a_bomb_has_the_size_it_is_asked_for(size: int) -> None:
    assert len(gzip.decompress(gzip_bomb(size))) == max(size, 2)


async def test_a_redirect_goes_where_it_is_told(ask: Asker) -> None:
    ask.emulator.fault(Redirect("http://elsewhere.example/x"), times=1, resource="status")
    ask.emulator.fault(Redirect("/y", status=307), resource="status")
    first, second = [await ask.get(STATUS) for _ in range(2)]
    assert (first.status, first.headers["Location"]) == (302, "http://elsewhere.example/x")
    assert (second.status, second.headers["Location"]) == (307, "/y")


async def test_expired_tokens_are_refused_until_there_is_a_new_one(ask: Asker) -> None:
    assert (await ask.get(STATUS)).status == 200
    ask.emulator.expire_tokens()
    assert (await ask.get(STATUS)).status == 401
    await ask.log_in()
    assert (await ask.get(STATUS)).status == 200


async def test_a_dead_region_refuses_connections_and_comes_back_on_its_port(ask: Asker) -> None:
    emulator = ask.emulator
    assert (await ask.get("/backends", "eu-de")).status == 200
    url = emulator.url("eu-de")
    await emulator.stop_region("eu-de")
    await emulator.stop_region("eu-de")  # twice does no harm
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask.get("/backends", "eu-de")
    assert (await ask.get("/backends", "us-east")).status == 200
    await emulator.start_region("eu-de")
    await emulator.start_region("eu-de")
    assert emulator.url("eu-de") == url
    assert (await ask.get("/backends", "eu-de")).status == 200


async def test_a_region_that_dies_takes_its_requests_with_it(ask: Asker) -> None:
    await ask.log_in()
    fault = ask.emulator.fault(Hold(), region="us-east", times=None)

    async def one() -> None:
        with pytest.raises(aiohttp.ClientError):
            await ask.request("POST", STATUS)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(one)
        await fault.reached(5)
        await ask.emulator.stop_region("us-east")
    ask.emulator.clear_faults()
    for _ in range(3):
        await ask.emulator.start_region("us-east")
        assert (await ask.get(STATUS)).status == 200
        await ask.emulator.stop_region("us-east")


async def test_the_clouds_services_can_die_too(ask: Asker) -> None:
    await ask.emulator.stop_region("cloud")
    with pytest.raises(aiohttp.ClientConnectionError):
        await ask.log_in()
    await ask.emulator.start_region("cloud")
    assert (await ask.log_in()).status == 200


async def test_a_fault_of_no_resource_is_refused(ask: Asker) -> None:
    with pytest.raises(ValueError, match=r"one of backends, .*, not 'propertys'"):
        ask.emulator.fault(Status(503), resource="propertys")
    assert ask.emulator.faults == ()


async def test_a_fault_of_no_backend_or_region_is_refused(ask: Asker) -> None:
    name = ask.emulator.backends()[0]
    with pytest.raises(ValueError, match=f"did you mean {name}"):
        ask.emulator.fault(Status(503), backend=f"{name}s")
    with pytest.raises(ValueError, match="no region 'mars'"):
        ask.emulator.fault(Status(503), region="mars")
    assert ask.emulator.faults == ()
    with pytest.raises(RuntimeError, match="not running"):
        Emulator().fault(Status(503), backend=name)


async def test_there_are_no_other_regions(ask: Asker) -> None:
    for use in (ask.emulator.stop_region, ask.emulator.start_region):
        with pytest.raises(ValueError, match="no region 'mars'; it has us-east, eu-de, cloud"):
            await use("mars")
    with pytest.raises(ValueError, match="it is not running"):
        Emulator().url("us-east")


async def test_a_fault_that_will_not_be_reached_says_so(ask: Asker) -> None:
    fault = ask.emulator.fault(Hold(), resource="status")
    with pytest.raises(RuntimeError, match="no more than 1"):
        await fault.reached(2)
    waiting = asyncio.create_task(fault.reached())
    await asyncio.sleep(0)
    ask.emulator.clear_faults()
    with pytest.raises(RuntimeError, match="removed after 0"):
        await waiting
    with pytest.raises(RuntimeError, match="no more than 0"):
        await fault.reached()
    await fault.reached(0)
