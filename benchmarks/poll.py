"""One look at the whole fleet, and how its cost grows."""

import asyncio
import gc
import resource
import time
from typing import NamedTuple

from qrbackends import Client

from .measure import Table, Timing, summarized
from .service import service


class Cost(NamedTuple):
    """What one tick costs the client's process."""

    cpu: Timing
    wall: Timing
    growth: float  # bytes that the process grew by


async def poll(count: int, ticks: int) -> Cost:
    """Poll a fleet of so many backends, as a watch does."""
    with service(str(count)) as there:
        cpu, wall = [], []
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async with Client(there.account()) as client, client.watch(interval=3600) as changes:
            for _ in range(count):
                await anext(changes)
            gc.collect()
            gc.freeze()
            for _ in range(ticks):
                began, worked = time.perf_counter(), time.process_time()
                assert len(await client.backends(refresh=True)) == count
                cpu.append(time.process_time() - worked)
                wall.append(time.perf_counter() - began)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return Cost(summarized(cpu), summarized(wall), grown)


def run(rounds: int) -> list[Table]:
    """Measure, and return the tables."""
    ticks = 3 if rounds < 10 else 20
    costs = {count: asyncio.run(poll(count, ticks)) for count in (1_000, 68, 10_000)}
    grown = ", ".join(f"{count:,}: {cost.growth / 2**20:.0f} MiB" for count, cost in costs.items())
    note = f"2 requests each, one per instance; the process's peak grew by {grown}"
    return [
        Table(
            "poll: CPU of one tick, by backends", {f"{n:,} backends": c.cpu for n, c in costs.items()}, note
        ),
        Table("poll: wall of one tick, by backends", {f"{n:,} backends": c.wall for n, c in costs.items()}),
    ]
