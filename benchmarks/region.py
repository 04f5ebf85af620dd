"""One region accepts and never answers: how long calls to the other one take meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp

from qrbackends import CachePolicy, Client, Limits, QRBackendsError
from qrbackends.emulator import Emulator, Hold, SyntheticFleet

from .bare import bare_session, get, instance_of
from .measure import Table, Timing, summarized

GOOD, BAD = "eu-de", "us-east"
CALLERS = 200  # that keep asking the silent region; more than the 100 connections of a session of aiohttp
SILENCE = 1.0  # seconds without a byte after which both give up
POLLING = 1.0  # seconds between two calls of one of them
BETWEEN = 0.02  # seconds between two calls to the good region
PATIENCE = 15.0  # seconds that a measurement may take
Ask = Callable[[str, str], Awaitable[object]]


async def latencies(emulator: Emulator, ask: Ask, calls: int) -> list[float]:
    """Return the seconds that each of some calls to the good region takes."""
    seconds = []
    ends = time.perf_counter() + PATIENCE
    for name in emulator.backends(GOOD)[:calls]:
        await asyncio.sleep(BETWEEN)
        began = time.perf_counter()
        await ask(GOOD, name)
        seconds.append(time.perf_counter() - began)
        if time.perf_counter() > ends:
            break
    return seconds


@asynccontextmanager
async def silence(emulator: Emulator, ask: Ask) -> AsyncIterator[None]:
    """Silence the bad region, which many keep asking."""

    async def keep_asking(name: str) -> None:
        while True:
            with suppress(QRBackendsError, OSError):
                await ask(BAD, name)
            await asyncio.sleep(POLLING)

    silent = emulator.fault(Hold(), region=BAD, resource="status", times=None)
    others = [asyncio.create_task(keep_asking(name)) for name in emulator.backends(BAD)]
    await silent.reached()
    yield
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    emulator.clear_faults()


async def compare(rounds: int, calls: int) -> dict[str, Timing]:
    """Measure both, each in turn with the bad region healthy and unasked, and with it silent."""
    fleet = SyntheticFleet({f"backend_{number:03}": 2 for number in range(2 * CALLERS)})
    found: dict[str, list[float]] = {}
    limits = Limits(connect=SILENCE, read=SILENCE)
    async with (
        Emulator(fleet, regions=[GOOD, BAD]) as emulator,
        Client(emulator.account(), limits=limits, cache=CachePolicy(status=0, stale_if_error=0)) as client,
        bare_session(emulator, aiohttp.ClientTimeout(sock_connect=SILENCE, sock_read=SILENCE)) as session,
    ):
        headers = {region: instance_of(emulator, region) for region in (GOOD, BAD)}
        await client.backends()

        async def ours(region: str, name: str) -> object:
            return await client.status(name)

        async def bare(region: str, name: str) -> object:
            return await get(session, f"{emulator.url(region)}/backends/{name}/status", headers[region])

        for _ in range(rounds):
            for contestant, ask in (("qrbackends", ours), ("one aiohttp session", bare)):
                seconds = await latencies(emulator, ask, calls)
                found.setdefault(f"{contestant}, healthy", []).extend(seconds)
                async with silence(emulator, ask):
                    seconds = await latencies(emulator, ask, calls)
                found.setdefault(f"{contestant}, silent", []).extend(seconds)
    return {name: summarized(seconds) for name, seconds in found.items()}


def run(rounds: int) -> list[Table]:
    """Measure, and return the table."""
    timings = asyncio.run(compare(3, 100) if rounds > 10 else compare(1, 5))
    title = f"region: calls to one region while {CALLERS} callers ask another, which is silent"
    return [Table(title, timings)]
