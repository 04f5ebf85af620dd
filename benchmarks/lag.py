"""The longest that the event loop keeps others waiting, while documents are fetched and pages drawn."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.types import ASGIApp

from qrbackends import BackendProperties, Client

from .fleet import bare, ours
from .measure import Table, Timing, summarized
from .service import Service, service

TICK = 0.001  # seconds between two looks at the clock
LARGE = "synthetic_4000"


async def worst(work: Awaitable[object]) -> float:
    """Return the longest delay of a timer while something is done, in seconds."""
    longest = 0.0
    before = time.perf_counter()  # what is done before the first look counts, too

    async def look() -> None:
        nonlocal longest, before
        while True:
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            longest, before = max(longest, now - before - TICK), now

    looking = asyncio.create_task(look())
    await work
    await asyncio.sleep(2 * TICK)  # so that a delay until its end is seen
    looking.cancel()
    return longest


async def fetch_large(there: Service) -> None:
    """Fetch one large calibration with our client."""
    async with Client(there.account()) as client:
        assert len((await client.properties(LARGE)).qubits) == 4000


async def fetch_large_bare(there: Service) -> None:
    """Fetch it with aiohttp, and decode it into the same structs."""
    from .fleet import session_of

    async with session_of(there) as get:
        region = next(region for region, name in there.names if name == LARGE)
        body = await get(region, f"/backends/{LARGE}/properties")
        assert len(msgspec.json.decode(body, type=BackendProperties).qubits) == 4000


async def page(app: ASGIApp, path: str) -> int:
    """Load a page of an app, without a server, and return its size in bytes."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
    await app(scope, receive, send)
    assert sent[0]["status"] == 200, sent
    return sum(len(message.get("body", b"")) for message in sent)


async def shown(there: Service) -> tuple[float, float]:
    """Return the loop's worst delays while 30 visitors load a new page of a large device, and a known one."""
    from qrbackends.web import board_app

    region = next(region for region, name in there.names if name == LARGE)
    async with Client(there.account()) as client:
        await client.configuration(LARGE)
        (await client.properties(LARGE)).t1(0)
        await page(board_app(client), "/")  # reads the lists and the templates
        board = board_app(client)
        found = []
        for _ in range(2):
            crowd = [page(board, f"/backends/{region}/{LARGE}") for _ in range(30)]
            found.append(await worst(asyncio.gather(*crowd)))
    return found[0], found[1]


def run(rounds: int) -> list[Table]:
    """Measure, and return the tables."""
    count = 3 if rounds < 10 else 10
    tables = []
    contestants: dict[str, tuple[str, dict[str, Callable[[Service], Awaitable[object]]]]] = {
        "68 backends": ("snapshots", {"qrbackends": ours, "aiohttp, our structs": bare}),
        "one of 4,000 qubits": (LARGE, {"qrbackends": fetch_large, "aiohttp, our structs": fetch_large_bare}),
    }
    for title, (fleet, asks) in contestants.items():
        seconds: dict[str, list[float]] = {name: [] for name in asks}
        with service(fleet) as there:
            for number in range(count + 1):
                for name, ask in asks.items():
                    passed = asyncio.run(worst(ask(there)))
                    if number:
                        seconds[name].append(passed)
        timings: dict[str, Timing] = {name: summarized(found) for name, found in seconds.items()}
        tables.append(Table(f"lag: the loop's worst delay while fetching {title}", timings))
    with service(LARGE) as there:
        delays = [asyncio.run(shown(there)) for _ in range(count)]
    pages = {
        name: summarized([one[place] for one in delays])
        for place, name in enumerate(("the first time", "again"))
    }
    tables.append(Table("lag: the loop's worst delay while the board shows 30 visitors 4,000 qubits", pages))
    return tables
