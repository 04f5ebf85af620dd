"""The read-only API: what it sends, what it says of its age, and what visitors cannot have."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jsonschema_rs
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from qrbackends import BackendProperties, CachePolicy, Client, Limits, Memory, RetryPolicy
from qrbackends.emulator import Emulator, Status
from qrbackends.web import api_app
from qrbackends.web.visitors import VisitorCache

from .serving import served

pytestmark = pytest.mark.anyio


@pytest.fixture
async def url(client: Client) -> AsyncIterator[str]:
    async with served(api_app(client)) as address:
        yield address


async def test_lists_and_documents_are_what_the_client_reads(
    url: str, client: Client, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    async with web.get(f"{url}/backends") as answer:
        fleet = await answer.json()
    assert fleet["errors"] == []
    assert sorted(one["name"] for one in fleet["devices"]) == list(emulator.backends())
    listed = {backend.name: backend for backend in await client.backends()}
    for one in fleet["devices"]:
        known = listed[one["name"]]
        assert (one["region"], one["queue_length"]) == (known.region, known.queue_length)
        async with web.get(f"{url}/backends/{known.name}") as answer:
            assert await answer.json() == one
        async with web.get(f"{url}/backends/{known.name}/status") as answer:
            status = await answer.json()
        assert (status["state"], status["length_queue"]) == (known.online, known.queue_length)
    name = emulator.backends()[0]
    async with web.get(f"{url}/backends/{name}/properties") as answer:
        sent = msgspec.json.decode(await answer.read(), type=BackendProperties)
    assert sent == await client.properties(name)
    async with web.get(f"{url}/backends/{name}/configuration") as answer:
        assert (await answer.json())["backend_name"] == name
    assert emulator.count("status") == 0, "a status is what the list says"


async def test_the_age_is_what_the_cache_knows(emulator: Emulator, web: aiohttp.ClientSession) -> None:
    policy = CachePolicy(jitter=0, backends=30, properties=300)
    clock = Clock()
    async with (
        Client(emulator.account(), cache=policy, memory=Memory(clock=clock)) as client,
        served(api_app(client)) as url,
    ):
        name = emulator.backends()[0]
        async with web.get(f"{url}/backends/{name}/properties") as answer:
            assert answer.headers["Age"] == "0"
            assert answer.headers["Cache-Control"] in ("private, max-age=300", "private, max-age=299")
        clock.now += 100
        async with web.get(f"{url}/backends/{name}/properties") as answer:
            assert answer.headers["Age"] == "100"
            assert answer.headers["Cache-Control"] in ("private, max-age=300", "private, max-age=299")
        for region in emulator.regions:
            await emulator.stop_region(region)
        clock.now += 205
        async with web.get(f"{url}/backends/{name}/properties") as answer:
            assert answer.status == 200
            assert answer.headers["Age"] == "305"
            assert answer.headers["Cache-Control"] == "private, no-cache"


class Clock:
    """Seconds that pass when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_list_that_has_not_changed_is_the_same_object_again(emulator: Emulator) -> None:
    """So that neither its JSON nor its page is made anew."""
    for name in emulator.backends():
        emulator.set_backend(name, queue_length=3)
    clock = Clock()
    async with Client(emulator.account(), memory=Memory(clock=clock)) as client:
        cache = VisitorCache(clock)
        first = await cache.list(client)
        clock.now += 1000
        again = await cache.list(client)
        assert (again.value is first.value, again.source) == (True, "origin")
        assert emulator.count("backends") == 2 * len(emulator.regions)
        emulator.set_backend(name, queue_length=4)
        clock.now += 1000
        queues = {one.name: one.queue_length for one in (await cache.list(client)).value}
    assert queues == dict.fromkeys(emulator.backends(), 3) | {name: 4}


@pytest.mark.parametrize("path", ["/backends", "/backends/{}", "/backends/{}/properties", "/openapi.json"])
async def test_who_has_it_already_gets_304(
    path: str, url: str, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    path = url + path.format(emulator.backends()[0])
    async with web.get(path) as answer:
        etag = answer.headers["ETag"]
    for sent in (etag, f'"other", {etag}', etag.removeprefix("W/"), "*"):
        async with web.get(path, headers={"If-None-Match": sent}) as answer:
            assert answer.status == 304
            assert await answer.read() == b""
            assert answer.headers["ETag"] == etag
            assert "Cache-Control" in answer.headers
    async with web.get(path, headers={"If-None-Match": '"other"'}) as answer:
        assert answer.status == 200
    async with web.head(path) as answer:
        assert (answer.status, answer.headers["ETag"]) == (200, etag)


async def test_unknown_backends_cost_nothing(
    url: str, client: Client, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    async with web.get(f"{url}/backends") as answer:
        assert answer.status == 200
    emulator.reset_log()
    entries = client.stats().entries
    for number in range(50):
        for path in (
            f"nope_{number}",
            f"nope_{number}/properties",
            f"nope_{number}/configuration",
            "%2e%2e/status",
        ):
            async with web.get(f"{url}/backends/{path}") as answer:
                assert answer.status == 404
    assert emulator.requests == ()
    assert client.stats().entries == entries


async def test_visitors_cannot_ask_the_service(
    url: str, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    name = emulator.backends()[0]
    for query in ("refresh=1", "updated_before=2026-01-01T00:00:00Z", "calibration_id=x"):
        for path in (
            "/backends",
            f"/backends/{name}",
            f"/backends/{name}/status",
            f"/backends/{name}/properties",
        ):
            async with web.get(f"{url}{path}?{query}") as answer:
                assert answer.status == 400
                assert query.partition("=")[0] in (await answer.json())["detail"]
    assert emulator.count("properties") == 0
    async with web.post(f"{url}/backends") as answer:
        assert (answer.status, answer.content_type) == (405, "application/problem+json")


async def test_what_is_allowed_can_be_asked_for(
    client: Client, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    app = api_app(client, refresh=True, updated_before=True, calibration_ids=["extra_gates"])
    name = emulator.backends()[0]
    async with served(app) as url:
        path = f"{url}/backends/{name}/properties"
        for _ in range(2):
            async with web.get(path, params={"refresh": "true"}) as answer:
                assert answer.status == 200
        assert emulator.count("properties") == 2
        async with web.get(path, params={"updated_before": "2026-01-01T00:00:00+00:00"}) as answer:
            assert (await answer.json())["last_update_date"] < "2026"
        for wrong in ("2026-01-01", "yesterday", ""):
            async with web.get(path, params={"updated_before": wrong}) as answer:
                assert answer.status == 400
        async with web.get(path, params={"calibration_id": "other"}) as answer:
            assert answer.status == 400
        async with web.get(path, params={"calibration_id": "extra_gates"}) as answer:
            assert answer.status in (200, 404)
        (*_, last) = (one.path_qs for one in emulator.requests if one.resource == "properties")
        assert last.endswith("?calibration_id=extra_gates")
        async with web.get(f"{url}/openapi.json") as answer:
            text = await answer.text()
        assert "extra_gates" in text
        assert "updated_before" in text


async def test_a_failing_service_is_asked_once_in_five_seconds_whoever_asks(
    emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    name = emulator.backends()[0]
    once = RetryPolicy(attempts=1)
    async with (
        Client(emulator.account(), retry=once, limits=Limits(failures=10**9)) as client,
        served(api_app(client)) as url,
    ):
        emulator.fault(
            Status(500, body={"errors": [{"message": "crn:secret"}], "trace": "t"}),
            resource="properties",
            times=None,
        )

        async def ask() -> None:
            async with web.get(f"{url}/backends/{name}/properties") as answer:
                assert answer.status == 502
                assert answer.content_type == "application/problem+json"
                assert "secret" not in await answer.text()

        await ask()
        await asyncio.gather(*(ask() for _ in range(40)))
        assert emulator.count("properties") == 1


async def test_a_failing_instance_is_told_beside_what_there_is(
    url: str, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    await emulator.stop_region("eu-de")
    async with web.get(f"{url}/backends") as answer:
        fleet = await answer.json()
        text = await answer.text()
    assert {one["region"] for one in fleet["devices"]} == {"us-east"}
    (error,) = fleet["errors"]
    assert (error["region"], error["status"]) == ("eu-de", 502)
    assert "crn:" not in text


async def test_a_backend_that_two_instances_list_is_there_once(web: aiohttp.ClientSession) -> None:
    async with (
        Emulator(regions=("us-east",), instances=3) as emulator,
        Client(emulator.account()) as client,
        served(api_app(client)) as url,
        web.get(f"{url}/backends") as answer,
    ):
        assert [one["name"] for one in (await answer.json())["devices"]] == list(emulator.backends())


async def test_its_contract_is_valid_and_true(
    url: str, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    async with web.get(f"{url}/openapi.json") as answer:
        contract: dict[str, Any] = await answer.json()
    assert contract["openapi"] == "3.1.0"
    name = emulator.backends()[0]
    for path, item in contract["paths"].items():
        if path == "/events":
            continue
        names = [one["name"] for one in item["get"]["parameters"]]
        assert not {"refresh", "updated_before", "calibration_id"} & set(names)
        for id_, status in ((name, "200"), ("nope", "default" if "{id}" in path else "200")):
            async with web.get(url + path.replace("{id}", id_)) as answer:
                body = await answer.json()
            ((kind, content),) = item["get"]["responses"][status]["content"].items()
            assert answer.content_type == kind
            schema = {**content["schema"], "components": contract["components"]}
            jsonschema_rs.validator_for(schema).validate(body)


async def test_where_a_list_is_missing_nobody_can_tell_what_is_not_there(
    url: str, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    await emulator.stop_region("eu-de")
    for path in ("nowhere", f"{emulator.backends('eu-de')[0]}/properties"):
        async with web.get(f"{url}/backends/{path}") as answer:
            assert answer.status == 503
            assert "Retry-After" in answer.headers
    asked = len(emulator.requests)
    for _ in range(20):
        async with web.get(f"{url}/backends") as answer:
            assert answer.status == 200
    assert len(emulator.requests) == asked, "a region that fails is not asked for each visitor"


async def test_what_the_cache_never_keeps_is_asked_for_once_in_a_while(
    emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    never = CachePolicy(backends=0, properties=0)
    name = emulator.backends()[0]
    async with Client(emulator.account(), cache=never) as client, served(api_app(client)) as url:
        for _ in range(20):
            async with web.get(f"{url}/backends/{name}/properties") as answer:
                assert answer.status == 200
                assert answer.headers["Cache-Control"] == "private, no-cache"
    assert emulator.count("properties") == 1
    assert emulator.count("backends") == len(emulator.instances)


async def test_a_mounted_contract_says_where_it_is(client: Client, web: aiohttp.ClientSession) -> None:
    app = Starlette(routes=[Mount("/deep/fleet", api_app(client))])
    async with served(app) as url, web.get(f"{url}/deep/fleet/openapi.json") as answer:
        assert (await answer.json())["servers"] == [{"url": "/deep/fleet"}]
