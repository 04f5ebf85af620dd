"""A call that is answered from memory."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import httpx
from aiohttp_client_cache import CacheBackend, CachedSession
from cachetools import TTLCache
from hishel import AsyncSqliteStorage
from hishel.httpx import AsyncCacheTransport

from qrbackends import BackendProperties, Client

from . import official
from .fleet import bare
from .measure import Table, multiple, per_call
from .service import Service, service

DEVICE = "ibm_boston"
FLOOR = "TTLCache in a coroutine (floor)"
PATH = f"/backends/{DEVICE}/properties"


def timed(loop: asyncio.AbstractEventLoop, ask: Callable[[], Awaitable[object]]) -> Callable[[int], float]:
    """Return what makes so many calls, one after the other, and tells the seconds of CPU."""

    async def calls(count: int) -> float:
        began = time.process_time()
        for _ in range(count):
            await ask()
        return time.process_time() - began

    return lambda count: loop.run_until_complete(calls(count))


def with_official(there: Service) -> Callable[[int], float]:
    """Return the same for the official client's `backend.properties()`, which keeps the first answer."""
    backend = official.make(there).backend(DEVICE)

    def calls(count: int) -> float:
        began = time.process_time()
        for _ in range(count):
            backend.properties()
        return time.process_time() - began

    return calls


async def prepared(there: Service, folder: Path) -> dict[str, Any]:
    """Return each contestant's call, warmed up, and what it returns."""
    client = Client(there.account())
    document = (await bare(there))[DEVICE, "properties"]
    plain: TTLCache[str, BackendProperties] = TTLCache(128, 300.0)
    plain[DEVICE] = document
    region = next(region for region, name in there.names if name == DEVICE)
    url, headers = there.urls[region] + PATH, {"Service-CRN": there.crn(region)}
    headers["IBM-API-Version"] = "2026-04-15"
    form = {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": there.api_key}
    async with aiohttp.request("POST", f"{there.iam_url}/identity/token", data=form) as got:
        headers["Authorization"] = f"Bearer {(await got.json())['access_token']}"
    session = CachedSession(cache=CacheBackend(expire_after=300))
    storage = AsyncSqliteStorage(database_path=folder / "hishel.db", default_ttl=300)
    cached = httpx.AsyncClient(transport=AsyncCacheTransport(httpx.AsyncHTTPTransport(), storage))

    async def ours() -> BackendProperties:
        return await client.properties(DEVICE)

    async def floor() -> BackendProperties:
        return plain[DEVICE]

    async def with_session() -> Any:
        async with session.get(url, headers=headers) as answer:
            return await answer.read()

    async def with_hishel() -> Any:
        return (await cached.get(url, headers=headers)).content

    assert (await ours()).qubits == document.qubits
    assert len(await with_session()) == len(await with_hishel())
    closing = (client.aclose, session.close, cached.aclose)
    calls = {
        "qrbackends": ours,
        FLOOR: floor,
        "aiohttp-client-cache, undecoded": with_session,
        "hishel, undecoded": with_hishel,
    }
    return {"calls": calls, "closing": closing}


def run(rounds: int) -> list[Table]:
    """Measure, and return the table."""
    loop = asyncio.new_event_loop()
    with service("snapshots") as there, TemporaryDirectory() as folder:
        ready = loop.run_until_complete(prepared(there, Path(folder)))
        fast = {name: timed(loop, ask) for name, ask in ready["calls"].items()}
        quick = dict(list(fast.items())[:2]) | {"official client": with_official(there)}
        gc.collect()
        gc.freeze()
        timings = per_call(quick, rounds, 10_000)
        timings |= per_call(dict(list(fast.items())[2:]), min(rounds, 10), 20)
        for close in ready["closing"]:
            loop.run_until_complete(close())
    loop.close()
    return [Table("hit: a call answered from memory: CPU of the client", timings, multiple(timings, FLOOR))]
