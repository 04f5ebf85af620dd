"""All properties and configurations of 68 real backends in two regions, from nothing."""

import asyncio
import importlib.util
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import aiohttp
import httpx
import msgspec

from qrbackends import BackendConfiguration, BackendProperties, CachePolicy, Client, Limits
from qrbackends.models import BackendsResponse
from qrbackends.protocol.requests import API_VERSION
from qrbackends.transport import body

from . import official
from .measure import Cost, Table, by_cost, in_turn
from .peers import PydanticConfiguration, PydanticProperties
from .service import Service, service

PER_REGION = Limits().per_region
GRANT = "urn:ibm:params:oauth:grant-type:apikey"
FLOOR = "aiohttp, our structs (floor)"
Documents = dict[tuple[str, str], Any]
"""By backend and kind. All keep them until they have all of them, as their users do."""


async def ours(service: Service) -> Documents:
    """Ask with a new client."""
    found: Documents = {}
    async with Client(service.account(), cache=CachePolicy()) as client:
        snapshot = client.snapshot(["properties", "configuration"])
        async for item in snapshot:
            assert item.error is None, item.error
            found[item.backend.name, item.resource] = item.value
    return found


@asynccontextmanager
async def session_of(service: Service) -> AsyncIterator[Callable[[str, str], Awaitable[bytes]]]:
    """Yield what one writes with aiohttp alone: takes the region and what is below its address."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        form = {"grant_type": GRANT, "apikey": service.api_key}
        async with session.post(f"{service.iam_url}/identity/token", data=form) as answer:
            token = (await answer.json())["access_token"]

        async def get(region: str, target: str) -> bytes:
            headers = headers_of(service, region, token)
            async with session.get(f"{service.urls[region]}{target}", headers=headers) as answer:
                return await answer.read()

        yield get


def headers_of(service: Service, region: str, token: str) -> dict[str, str]:
    """Return what each request has to say."""
    return {
        "Authorization": f"Bearer {token}",
        "IBM-API-Version": API_VERSION,
        "Service-CRN": service.crn(region),
    }


async def bare(service: Service) -> Documents:
    """Ask with aiohttp, and decode into our structs: what no client can go below."""
    decoders = {
        "properties": msgspec.json.Decoder(BackendProperties).decode,
        "configuration": msgspec.json.Decoder(BackendConfiguration).decode,
    }
    found: Documents = {}
    async with session_of(service) as get:

        async def ask(region: str, name: str, kind: str) -> None:
            found[name, kind] = decoders[kind](await get(region, f"/backends/{name}/{kind}"))

        async def names(region: str) -> list[str]:
            listed = msgspec.json.decode(await get(region, "/backends"), type=BackendsResponse)
            return [device.name for device in listed.devices]

        await each(service, names, ask)
    return found


async def with_httpx(service: Service) -> Documents:
    """Ask with httpx, and decode with pydantic: what most people would write."""
    models: dict[str, Any] = {"properties": PydanticProperties, "configuration": PydanticConfiguration}
    found: Documents = {}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as session:
        form = {"grant_type": GRANT, "apikey": service.api_key}
        token = (await session.post(f"{service.iam_url}/identity/token", data=form)).json()["access_token"]

        async def get(region: str, target: str) -> httpx.Response:
            headers = headers_of(service, region, token)
            return await session.get(f"{service.urls[region]}{target}", headers=headers)

        async def ask(region: str, name: str, kind: str) -> None:
            answer = await get(region, f"/backends/{name}/{kind}")
            found[name, kind] = models[kind].model_validate_json(answer.content)

        async def names(region: str) -> list[str]:
            return [device["name"] for device in (await get(region, "/backends")).json()["devices"]]

        await each(service, names, ask)
    return found


async def each(
    service: Service,
    names: Callable[[str], Awaitable[list[str]]],
    ask: Callable[[str, str, str], Awaitable[None]],
) -> None:
    """Ask for the lists, then for both documents of each backend, as many at a time as our client does."""

    async def region(name: str) -> None:
        places = asyncio.Semaphore(PER_REGION)

        async def one(backend: str, kind: str) -> None:
            async with places:
                await ask(name, backend, kind)

        async with asyncio.TaskGroup() as group:
            for backend in await names(name):
                for kind in ("properties", "configuration"):
                    group.create_task(one(backend, kind))

    async with asyncio.TaskGroup() as regions:
        for name in service.urls:
            regions.create_task(region(name))


def with_official(service: Service) -> Documents:
    """Ask with the official client, for its configurations and properties."""
    found: Documents = {}
    for backend in official.make(service).backends():
        found[backend.name, "configuration"] = backend.configuration()
        found[backend.name, "properties"] = backend.properties()
    return found


def digest(document: Any) -> Any:
    """Return a figure that depends on what was decoded."""
    if hasattr(document, "n_qubits"):
        return document.n_qubits
    sections = document.qubits
    if isinstance(sections, (list, tuple)) and sections:
        return len(sections), round(sum(float(pair.value) for pair in sections[0]), 6)
    return len(sections)


def measure(contestants: dict[str, Callable[[], Documents]], rounds: int) -> dict[str, list[Cost]]:
    """Let each do it once a round; all have to find the same."""
    known: dict[tuple[str, str], Any] = {}

    def check(name: str, found: Documents) -> None:
        figures = {key: digest(document) for key, document in found.items()}
        known.update(known or figures)
        assert figures == known, f"{name} finds something else"

    return in_turn(contestants, rounds, after=check)


def run(rounds: int) -> list[Table]:
    """Measure, and return the tables."""
    short = rounds < 10
    tables = []
    for latency in (0.0,) if short else (0.0, 0.02, 0.1):
        with service("snapshots", latency) as there:
            costs = measure(_asynchronous(there), 3 if short else 15)
            slow: dict[str, Callable[[], Documents]] = {"official client": partial(with_official, there)}
            costs |= measure(slow, 1 if short or latency else 3)
        title = f"fleet: 68 backends, properties and configuration, {latency * 1e3:g} ms latency"
        tables += by_cost(title, costs, FLOOR)
    return tables


def finished(
    work: Coroutine[Any, Any, Documents],
    make_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> Documents:
    """Run to the end; `asyncio.run` would write out all documents, for a message that nobody sees."""
    loop = make_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


def _asynchronous(there: Service) -> dict[str, Callable[[], Documents]]:
    def plain(work: Callable[[Service], Any]) -> Documents:
        with patch.object(body, "decompressor", zlib.decompressobj):  # without the extra `speed`
            return finished(work(there))

    contestants: dict[str, Callable[[], Documents]] = {
        "qrbackends": partial(plain, ours),
        FLOOR: partial(plain, bare),
        "httpx, pydantic": partial(plain, with_httpx),
    }
    if importlib.util.find_spec("uvloop") and importlib.util.find_spec("isal"):
        import uvloop

        contestants["qrbackends, speed"] = lambda: finished(ours(there), uvloop.new_event_loop)
        contestants["floor, uvloop"] = lambda: finished(bare(there), uvloop.new_event_loop)
    return contestants
