"""2,000 calls at once against a rate limit: ours, and each call alone. Full load against several limits."""

import asyncio
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Final, NamedTuple

from qrbackends import Client, Limits, RateLimited
from qrbackends.emulator import Delay, Emulator, RateLimit, SyntheticFleet
from qrbackends.emulator.surface.faults import Fault

from .bare import bare_session, get, instance_of
from .clock import run_at_once

REGION = "us-east"
LIMIT = RateLimit(rate=50.0, burst=10, retry_after=1)
ATTEMPTS = 6  # the official client sends a request again five times, and keeps Retry-After
LATENCY = 0.02  # seconds that each answer other than a 429 takes


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
    clock = asyncio.get_running_loop().time
    began = clock()
    answers = await asyncio.gather(*map(ask, emulator.backends()), return_exceptions=True)
    seconds = clock() - began
    emulator.clear_faults()
    refused = {request.backend for request in emulator.requests if request.status == 429}
    good = sum(not isinstance(answer, BaseException) for answer in answers)
    return Outcome(good, len(refused), emulator.count("status"), seconds)


async def compare(calls: int) -> dict[str, Outcome]:
    """Let both ask, one after the other."""
    async with Emulator(small_fleet(calls), regions=[REGION]) as emulator:
        async with Client(emulator.account(), limits=Limits(total=600.0)) as client:
            await client.backends()
            ours = await observe(emulator, client.status)
        async with bare_session(emulator) as session:
            headers, root = instance_of(emulator, REGION), emulator.url(REGION)

            async def alone(name: str) -> bytes:
                return await get(session, f"{root}/backends/{name}/status", headers, ATTEMPTS)

            bare = await observe(emulator, alone)
    return {"qrbackends": ours, "each call alone": bare}


def small_fleet(backends: int) -> SyntheticFleet:
    """Return a fleet of small backends."""
    return SyntheticFleet({f"backend_{number:04}": 2 for number in range(backends)})


class Case(NamedTuple):
    """The limits of a service, one after the other, each for an equal part of the time.

    Attributes:
        rates: requests per second.
        retry_after: the `Retry-After` of its 429s, in seconds, or None.
    """

    rates: tuple[int, ...]
    retry_after: int | None

    def __str__(self) -> str:
        rates = ", then ".join(map(str, self.rates))
        wait = "without Retry-After" if self.retry_after is None else f"Retry-After {self.retry_after} s"
        return f"{rates} requests per second, {wait}"

    def limits(self) -> list[RateLimit]:
        """Return them as faults of the emulator, each with a burst of a fifth of a second."""
        return [RateLimit(rate, max(1, rate // 5), self.retry_after) for rate in self.rates]


CASES: Final = [
    Case(rates, wait)
    for rates in ((5,), (20,), (100,), (500,), (20, 100, 100), (100, 20, 100))
    for wait in (1, None)
]


class Load(NamedTuple):
    """What a fixed number of calls took.

    Attributes:
        seconds: from the first request to the last answer.
        share: calls per second, as a share of what the limits let through.
        refused: how many requests got a 429.
        wasted: the same as a share of all requests.
        worst: seconds that the slowest call took.
        failed: how many calls failed, as each of their attempts got a 429.
    """

    seconds: float
    share: float
    refused: float
    wasted: float
    worst: float
    failed: float


async def under_load(case: Case, seconds: float) -> Load:
    """Make the number of calls that the limits let through in `seconds`; many callers ask all the time."""
    part = seconds / len(case.rates)
    count = round(part * sum(case.rates))
    calls = iter(range(count))
    callers = max(64, 2 * max(case.rates))  # more than may be in flight
    faults: list[Fault] = []
    worst, failed = 0.0, 0
    clock = asyncio.get_running_loop().time
    async with (
        Emulator(small_fleet(callers), regions=[REGION]) as emulator,
        Client(emulator.account(), limits=Limits(total=600.0)) as client,
    ):
        await client.backends()

        async def ask(name: str) -> None:
            nonlocal worst, failed
            for _ in calls:
                asked = clock()
                try:
                    await client.status(name)
                except RateLimited:
                    failed += 1
                worst = max(worst, clock() - asked)

        async def change() -> None:
            for limit in case.limits():
                emulator.clear_faults()
                faults.append(emulator.fault(limit, resource="status", times=None))
                emulator.fault(Delay(LATENCY), resource="status", times=None)
                await asyncio.sleep(part)

        began = clock()
        changing = asyncio.create_task(change())
        await asyncio.sleep(0)
        await asyncio.gather(*map(ask, emulator.backends()))
        took = clock() - began
        changing.cancel()
    refused = sum(fault.hits for fault in faults)
    requests = count - failed + refused
    return Load(took, seconds / took, refused, refused / requests, worst, failed)


def full_load(rounds: int, seconds: float) -> str:
    """Measure all cases, and return the table of their medians."""
    lines = [f"storm: {seconds:g} s of full load, {rounds} rounds"]
    for case in CASES:
        loads = [run_at_once(under_load(case, seconds)) for _ in range(rounds)]
        load = Load(*map(median, zip(*loads, strict=True)))
        speed = f"{load.seconds:6.1f} s, {load.share:.2f} of the limit"
        waste = f"{load.refused:4.0f} times 429, {load.wasted:5.1%} of all requests"
        wait = f"worst wait {load.worst:5.1f} s   {load.failed:2.0f} failed"
        lines.append(f"  {case!s:<64} {speed}   {waste}   {wait}")
    return "\n".join(lines)


def run(rounds: int) -> list[str]:
    """Measure, and return the tables."""
    long = rounds > 10
    calls = 2_000 if long else 100
    lines = [f"storm: {calls} calls at once, {LIMIT.rate:g} requests per second and a burst of {LIMIT.burst}"]
    for name, outcome in run_at_once(compare(calls)).items():
        rate = outcome.succeeded / outcome.seconds
        shares = f"{outcome.succeeded / calls:7.1%} succeeded   {outcome.refused / calls:6.1%} saw a 429"
        speed = f"{rate:5.1f} per second, {rate / LIMIT.rate:.2f} of the limit"
        lines.append(f"  {name:<24} {shares}   {outcome.requests:6} requests   {speed}")
    return ["\n".join(lines), full_load(3, 30.0) if long else full_load(1, 3.0)]
