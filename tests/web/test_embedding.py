"""The client inside FastAPI, Starlette and aiohttp.web apps."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web as aiohttp_web
from aiohttp.test_utils import TestClient as AppClient
from aiohttp.test_utils import TestServer as AppServer
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from qrbackends import (
    Backend,
    BackendList,
    BackendProperties,
    CachePolicy,
    Client,
    ClientClosed,
    Fetched,
    Limits,
    RedisStore,
    RetryPolicy,
    SessionPool,
)
from qrbackends import Request as QRRequest
from qrbackends.emulator import Emulator, Status
from qrbackends.web import (
    CLIENT,
    ClientDep,
    MsgspecResponse,
    api_app,
    client_ctx,
    client_of,
    encode,
    exception_handlers,
    json_response,
    lifespan,
    problem_middleware,
)

from ..redis_server import RedisServer
from .serving import served

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy(attempts=1)


def fastapi_app(**options: Any) -> FastAPI:
    app = FastAPI(lifespan=lifespan(**options), exception_handlers=exception_handlers)

    @app.get("/properties/{name}")
    async def properties(name: str, client: ClientDep) -> MsgspecResponse:
        return MsgspecResponse(await client.properties(name))

    @app.get("/t1/{name}/{qubit}")
    async def t1(name: str, qubit: int, client: ClientDep) -> float | None:
        return (await client.properties(name)).t1(qubit)

    return app


def starlette_app(**options: Any) -> Starlette:
    async def properties(request: Request) -> Response:
        return MsgspecResponse(await client_of(request).properties(request.path_params["name"]))

    return Starlette(
        routes=[Route("/properties/{name}", properties)],
        lifespan=lifespan(**options),
        exception_handlers=exception_handlers,
    )


def aiohttp_app(**options: Any) -> aiohttp_web.Application:
    async def properties(request: aiohttp_web.Request) -> aiohttp_web.Response:
        return json_response(await request.app[CLIENT].properties(request.match_info["name"]))

    app = aiohttp_web.Application(middlewares=[problem_middleware])
    app.cleanup_ctx.append(client_ctx(**options))
    app.router.add_get("/properties/{name}", properties)
    return app


@asynccontextmanager
async def running(kind: str, **options: Any) -> AsyncIterator[str]:
    if kind == "aiohttp":
        async with AppClient(AppServer(aiohttp_app(**options))) as app:
            yield str(app.make_url("")).rstrip("/")
    else:
        async with served((fastapi_app if kind == "fastapi" else starlette_app)(**options)) as url:
            yield url


KINDS = pytest.mark.parametrize("kind", ["fastapi", "starlette", "aiohttp"])


@KINDS
async def test_an_app_serves_what_the_client_reads(
    kind: str, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    name = emulator.backends()[0]
    async with (
        Client(emulator.account()) as client,
        running(kind, account=emulator.account(), retry=ONCE) as url,
    ):
        expected = await client.properties(name)
        for _ in range(3):
            async with web.get(f"{url}/properties/{name}") as answer:
                assert answer.status == 200
                assert answer.content_type == "application/json"
                sent = await answer.json()
        assert sent["backend_name"] == expected.backend_name
        assert len(sent["qubits"]) == len(expected.qubits)
    assert emulator.count("properties") == 2  # ours, and the app's one


FAULTS = [
    (Status(404), 404, None),
    (Status(400), 400, None),
    (Status(429, headers={"Retry-After": "7"}), 429, "7"),
    (Status(500), 502, None),
    (Status(403), 502, None),
    (Status(504), 502, None),
    (Status(503, headers={"Retry-After": "9"}), 503, "9"),  # the last one, as the region rests after it
]


@KINDS
async def test_our_errors_are_problems_that_tell_nothing_of_the_account(
    kind: str, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    name = emulator.backends()[0]
    policy, calm = CachePolicy(negative=0), Limits(failures=10**9)
    account = emulator.account()
    async with running(kind, account=account, retry=ONCE, cache=policy, limits=calm) as url:
        for fault, status, retry_after in FAULTS:
            emulator.fault(fault, resource="properties")
            async with web.get(f"{url}/properties/{name}") as answer:
                assert answer.status == status
                assert answer.content_type == "application/problem+json"
                assert answer.headers.get("Retry-After") == retry_after
                text, problem = await answer.text(), await answer.json()
            assert (problem["status"], problem["backend"]) == (status, name)
            assert problem["detail"]
            for one in emulator.instances:
                assert one.crn not in text
                assert one.crn.split(":")[6] not in text
            assert "trace" not in text
            assert emulator.api_keys[0] not in text
            if status == 429:  # whoever asked too often is held back for its time
                name = emulator.backends("eu-de" if name in emulator.backends("us-east") else "us-east")[0]


async def test_a_dead_service_is_503(emulator: Emulator, web: aiohttp.ClientSession) -> None:
    async with running("starlette", account=emulator.account(), retry=ONCE) as url:
        for region in emulator.regions:
            await emulator.stop_region(region)
        async with web.get(f"{url}/properties/nowhere") as answer:
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) >= 1


async def test_an_element_that_is_not_there_is_404(emulator: Emulator, web: aiohttp.ClientSession) -> None:
    async with running("fastapi", account=emulator.account()) as url:
        name = emulator.backends()[0]
        async with web.get(f"{url}/t1/{name}/0") as answer:
            assert answer.status == 200
            assert 0 < await answer.json() < 1
        async with web.get(f"{url}/t1/{name}/100000") as answer:
            assert answer.status == 404


@KINDS
async def test_an_app_starts_while_the_service_is_down(
    kind: str, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    name = emulator.backends("us-east")[0]
    for region in emulator.regions:
        await emulator.stop_region(region)
    async with running(kind, account=emulator.account(), retry=ONCE) as url:
        async with web.get(f"{url}/properties/{name}") as answer:
            assert answer.status == 503
        await emulator.start_region("us-east")
        async with web.get(f"{url}/properties/{name}") as answer:
            assert answer.status == 200


async def test_an_app_does_not_start_without_the_service_where_it_is_required(emulator: Emulator) -> None:
    for region in emulator.regions:
        await emulator.stop_region(region)
    with pytest.raises(Exception, match="no connection"):
        async with lifespan(emulator.account(), require=True, retry=ONCE)(Starlette()):
            pass


async def test_a_lifespan_composes_with_the_apps_own(emulator: Emulator, web: aiohttp.ClientSession) -> None:
    events: list[str] = []

    @asynccontextmanager
    async def mine(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with lifespan(emulator.account())(app) as state:
            events.append("opened")
            yield {**state, "mine": "yes"}
        events.append("closed")

    async def show(request: Request) -> Response:
        fleet = await client_of(request).backends()
        return MsgspecResponse([request.state.mine, len(fleet)])

    app = Starlette(routes=[Route("/", show), Mount("/fleet", api_app())], lifespan=mine)
    async with served(app) as url:
        async with web.get(url) as answer:
            assert await answer.json() == ["yes", len(emulator.backends())]
        async with web.get(f"{url}/fleet/backends") as answer:
            assert len((await answer.json())["devices"]) == len(emulator.backends())
    assert events == ["opened", "closed"]


async def test_a_host_that_forgets_to_yield_our_state_still_serves(
    emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    @asynccontextmanager
    async def forgetful(app: Starlette) -> AsyncIterator[None]:
        async with lifespan(emulator.account())(app):
            yield

    async def show(request: Request) -> Response:
        return MsgspecResponse(len(await client_of(request).backends()))

    app = Starlette(routes=[Route("/", show), Mount("/fleet", api_app())], lifespan=forgetful)
    async with served(app) as url:
        async with web.get(url) as answer:
            assert await answer.json() == len(emulator.backends())
        async with web.get(f"{url}/fleet/backends") as answer:
            assert answer.status == 200


async def test_an_app_without_a_client_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match=r"lifespan=qrbackends\.web\.lifespan"):
        client_of({"type": "http", "app": Starlette()})


async def test_client_store_and_pool_are_closed_with_the_app(emulator: Emulator, server: RedisServer) -> None:
    pool = SessionPool()
    made: list[RedisStore] = []

    def store() -> RedisStore:
        made.append(RedisStore(server.url))
        return made[-1]

    for number in (1, 2):  # a test client starts the same app again and again
        options: dict[str, Any] = {"pool": pool} if number == 2 else {}
        async with lifespan(emulator.account(), store=store, **options)(Starlette()) as state:
            client = state["qrbackends"]
            await client.backends()
        with pytest.raises(ClientClosed):
            await client.backends()
    assert len(made) == 2
    with pytest.raises(ClientClosed):
        pool.check()


async def test_a_list_tells_no_crn(emulator: Emulator, web: aiohttp.ClientSession) -> None:
    async def show(request: Request) -> Response:
        return MsgspecResponse(await client_of(request).backends())

    app = Starlette(routes=[Route("/", show)], lifespan=lifespan(emulator.account()))
    async with served(app) as url, web.get(url) as answer:
        text = await answer.text()
    assert "crn:" not in text
    assert len(emulator.backends()) == len(await answer.json())


async def test_a_route_of_fastapi_may_return_documents(
    emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    app = FastAPI(lifespan=lifespan(emulator.account()))
    name = emulator.backends()[0]

    @app.get("/properties")
    async def properties(client: ClientDep) -> BackendProperties:
        return await client.properties(name)

    @app.get("/status")
    async def status(client: ClientDep):  # type: ignore[no-untyped-def]  # FastAPI would make a schema of it
        return {"status": await client.status(name), "of": [name]}

    @app.get("/backends")
    async def backends(client: ClientDep) -> BackendList:
        return await client.backends()

    @app.get("/some")
    async def some(client: ClientDep) -> list[Backend]:
        return list(await client.backends())

    @app.get("/fetched", response_model=None)
    async def fetched(client: ClientDep) -> Fetched[Any]:
        return await client.fetch(QRRequest("configuration", name))

    async def get(url: str, path: str) -> Any:
        async with web.get(f"{url}/{path}") as answer:
            assert answer.status == 200
            text = await answer.text()
            assert "crn:" not in text
            return json.loads(text)

    async with served(app) as url, Client(emulator.account()) as client:
        asked = json.loads(encode(await client.properties(name)))
        assert await get(url, "properties") == asked
        answer = await get(url, "status")
        assert answer["of"] == [name]
        assert answer["status"].keys() == json.loads(encode(await client.status(name))).keys()
        listed = [one.name for one in await client.backends()]
        assert [one["name"] for one in await get(url, "backends")] == listed
        assert [one["name"] for one in await get(url, "some")] == listed
        assert (await get(url, "fetched"))["value"]["backend_name"] == name
        described = await get(url, "openapi.json")
        schemas = {path: one["get"]["responses"]["200"] for path, one in described["paths"].items()}
        assert schemas["/properties"]["content"]["application/json"]["schema"]["type"] == "object"
        assert schemas["/backends"]["content"]["application/json"]["schema"]["type"] == "array"


def test_documents_are_known_to_fastapi_without_its_dependency() -> None:
    """`lifespan` alone is enough; a struct was `{}`, which said nothing of what went wrong."""
    code = """
import asyncio
from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder
from qrbackends import BackendStatus
from qrbackends import Account
from qrbackends.web import lifespan
async def main():
    async with lifespan(Account(api_key="0123456789abcdef"))(FastAPI()):
        print(jsonable_encoder(BackendStatus(3, state=True, status="active")))
asyncio.run(main())
"""
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (outcome.stdout, outcome.stderr) == (
        "{'length_queue': 3, 'state': True, 'status': 'active'}\n",
        "",
    )


ALL = {"starlette", "fastapi", "jinja2", "uvicorn"}


@pytest.mark.parametrize(
    ("names", "absent"),
    [
        (
            "CLIENT, client_ctx, json_response, problem_middleware",
            ALL,
        ),
        ("lifespan, client_of, encode, problem_of", ALL),
        ("MsgspecResponse, exception_handlers", {"fastapi", "jinja2", "uvicorn"}),
        ("ClientDep", {"jinja2", "uvicorn"}),
    ],
)
def test_users_of_one_framework_need_no_other(names: str, absent: set[str]) -> None:
    code = f"import sys; from qrbackends.web import {names}; print({absent} & set(sys.modules))"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (outcome.stdout, outcome.stderr) == ("set()\n", "")


def test_what_is_missing_is_told() -> None:
    code = "import sys; sys.modules['starlette'] = None; from qrbackends.web import api_app"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "qrbackends[web]"' in outcome.stderr


def test_every_public_name_exists() -> None:
    from qrbackends import web as package

    assert dir(package) == sorted(package.__all__)
    for name in package.__all__:
        assert hasattr(package, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing  # type: ignore[attr-defined]
