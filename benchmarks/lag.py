"""The longest that the event loop keeps everybody else waiting while documents are fetched."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec

from qrbackends import BackendProperties, Client

from .fleet import bare, ours
from .measure import Table, Timing, summarized
from .service import Service, service

TICK = 0.001  # seconds between two looks at the clock
LARGE = "synthetic_4000"


async def worst(work: Awaitable[object]) -> float:
    """Return the longest delay of a timer while something is done, in seconds."""
    longest = 0.0

    async def look() -> None:
        nonlocal longest
        while True:
            began = time.perf_counter()
            await asyncio.sleep(TICK)
            longest = max(longest, time.perf_counter() - began - TICK)

    looking = asyncio.create_task(look())
    await work
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
    return tables
