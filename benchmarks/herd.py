"""A thousand callers ask for the same, of which nothing is known yet."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable

from aiocache import cached_stampede

from qrbackends import Client, SessionPool
from qrbackends.emulator import Emulator
from qrbackends.emulator.fleets import SnapshotFleet

from .measure import Table, Timing, summarized

DEVICE = "ibm_boston"
Ask = Callable[[], Awaitable[object]]


async def observe(emulator: Emulator, ask: Ask, callers: int) -> tuple[float, int]:
    """Return the seconds until all have it, and how many requests there were."""
    emulator.reset_log()
    gc.collect()  # nobody pays for what others left
    began = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(callers)))
    return time.perf_counter() - began, emulator.count("properties")


async def compare(rounds: int, callers: int) -> tuple[dict[str, Timing], str]:
    """Let each begin anew in every round."""
    seconds: dict[str, list[float]] = {}
    requests: dict[str, int] = {}
    async with Emulator(SnapshotFleet()) as emulator, Client(emulator.account()) as client:
        await client.properties(DEVICE)

        async def uncached() -> object:
            return await client.properties(DEVICE, refresh=True)

        async def ours() -> object:
            return await client.properties(DEVICE)

        stampede = cached_stampede(lease=5, ttl=300)(uncached)

        async def without() -> object:  # each with a client of its own: nobody knows of the others
            async with Client(emulator.account(), pool=pool_of(client)) as own:
                return await own.properties(DEVICE)

        gc.freeze()
        for _ in range(rounds):
            for name, ask, count in (
                (f"qrbackends, {callers} callers", ours, callers),
                ("qrbackends, a single call", ours, 1),
                (f"aiocache's stampede lock, {callers}", stampede, callers),
                ("no protection, 100 callers", without, min(callers, 100)),
            ):
                await client.invalidate()
                await stampede.cache.clear()
                await client.backends()
                passed, asked = await observe(emulator, ask, count)
                seconds.setdefault(name, []).append(passed)
                requests[name] = asked
    timings = {name: summarized(measured) for name, measured in seconds.items()}
    many, single = list(timings.values())[:2]
    each = (many.median - 1.2 * single.median) / callers * 1e6
    counts = ", ".join(f"{name}: {asked}" for name, asked in requests.items())
    return timings, f"requests: {counts}; beyond 1.2 single calls: {each:.1f} µs per caller"


def pool_of(client: Client) -> SessionPool:
    """Return the client's sessions, so that connections are not what is measured."""
    return client._parts.pool


def run(rounds: int) -> list[Table]:
    """Measure, and return the table."""
    callers = 1000 if rounds > 10 else 100
    timings, note = asyncio.run(compare(min(rounds, 15), callers))
    return [Table(f"herd: {callers} callers, one cold key", timings, note)]
