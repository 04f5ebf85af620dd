"""2,000 calls at once against a limit of 50 requests per second: ours, and each call retrying alone."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from qrbackends import Client, Limits
from qrbackends.emulator import Emulator, RateLimit, SyntheticFleet

from .bare import bare_session, get, instance_of

REGION = "us-east"
LIMIT = RateLimit(rate=50.0, burst=10, retry_after=1)
ATTEMPTS = 6  # the official client sends a request again five times, and keeps Retry-After


class Outcome(NamedTuple):
    """What became of the calls."""

    succeeded: int
    refused: int  # calls that saw a 429 at least once
    requests: int
    seconds: float


async def observe(emulator: Emulator, ask: Callable[[str], Awaitable[object]]) -> Outcome:
    """Ask for the status of every backend at once."""
    emulator.reset_log()
    emulator.fault(LIMIT, resource="status", times=None)
    began = time.perf_counter()
    answers = await asyncio.gather(*map(ask, emulator.backends()), return_exceptions=True)
    seconds = time.perf_counter() - began
    emulator.clear_faults()
    refused = {request.backend for request in emulator.requests if request.status == 429}
    good = sum(not isinstance(answer, BaseException) for answer in answers)
    return Outcome(good, len(refused), emulator.count("status"), seconds)


async def compare(calls: int) -> dict[str, Outcome]:
    """Let both ask, one after the other."""
    fleet = SyntheticFleet({f"backend_{number:04}": 2 for number in range(calls)})
    async with Emulator(fleet, regions=[REGION]) as emulator:
        async with Client(emulator.account(), limits=Limits(total=600.0)) as client:
            await client.backends()
            ours = await observe(emulator, client.status)
        async with bare_session(emulator) as session:
            headers, root = instance_of(emulator, REGION), emulator.url(REGION)

            async def alone(name: str) -> bytes:
                return await get(session, f"{root}/backends/{name}/status", headers, ATTEMPTS)

            bare = await observe(emulator, alone)
    return {"qrbackends": ours, "each call alone": bare}


def run(rounds: int) -> list[str]:
    """Measure, and return the table."""
    calls = 2_000 if rounds > 10 else 100
    lines = [f"storm: {calls} calls at once, {LIMIT.rate:g} requests per second and a burst of {LIMIT.burst}"]
    for name, outcome in asyncio.run(compare(calls)).items():
        rate = outcome.succeeded / outcome.seconds
        shares = f"{outcome.succeeded / calls:7.1%} succeeded   {outcome.refused / calls:6.1%} saw a 429"
        speed = f"{rate:5.1f} per second, {rate / LIMIT.rate:.2f} of the limit"
        lines.append(f"  {name:<24} {shares}   {outcome.requests:6} requests   {speed}")
    return ["\n".join(lines)]
