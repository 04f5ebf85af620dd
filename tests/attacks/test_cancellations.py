"""Callers who are cancelled at every turn of the event loop, among them the one in which the answer comes.

Nothing that stood beside their calls may be left: every container of the client has the size it had before.
"""

import asyncio
import gc
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import anyio.lowlevel
import pytest

from qrbackends import CachePolicy, Client, FileStore, Limits, QRBackendsError, Request, RetryPolicy
from qrbackends.emulator import Emulator, Status, SyntheticFleet

from ..internals import flights, parts
from ..object_graph import grown, sizes
from ..waiting import until

pytestmark = pytest.mark.anyio

NAMES = ("alpha", "beta", "delta", "gamma")
POLICY = CachePolicy(properties=1e-6, configuration=0.0, stale_while_revalidate=1e-6)
PAST = datetime(2026, 1, 1, tzinfo=UTC)

# aiohttp keeps connections, sqlite statements, and cachetools the expiries of entries that have gone, up to
# twice as many as there are entries; the counts of requests have an element for each new outcome.
KEPT = (
    "ClientSession",
    "Response",
    "Http",
    "_Selector",
    "_DNS",
    "StreamReader",
    "Traffic",
    "partial",
    "Connect",
    "_Guard",
    "_Entries._TLRUCache__order",
)


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    async with Emulator(SyntheticFleet(dict.fromkeys(NAMES, 2))) as running:
        yield running


@pytest.fixture
async def client(emulator: Emulator, tmp_path: Path) -> AsyncIterator[Client]:
    once = RetryPolicy(attempts=1)
    async with (
        FileStore(tmp_path / "answers.sqlite", timeout=30) as store,
        Client(
            emulator.account(),
            cache=POLICY,
            store=store,
            retry=once,
            limits=Limits(failures=10**9, per_region=4),
        ) as opened,
    ):
        yield opened


async def first_of(iteration: Any) -> None:
    async for _ in iteration:
        return


MOST_TURNS = 100


def asks(client: Client) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Return calls of every kind."""
    return {
        "document": partial(client.properties, "alpha"),
        "refresh": partial(client.properties, "beta", refresh=True),
        "not kept": partial(client.status, "delta"),
        "no age": partial(client.fetch, Request("properties", "gamma"), max_age=0.0),
        "unknown": partial(client.properties, "nowhere", instance=None),
        "hurried": partial(client.configuration, "alpha", timeout=0.01),
        "list": partial(client.backends, refresh=True),
        "snapshot": lambda: first_of(client.snapshot(("status",))),
        "watch": lambda: first_of(client.watch(0.05)),
        "wait": partial(client.wait_for, "alpha", lambda _: False, timeout=0.05, interval=0.02),
        "history": lambda: first_of(client.history("alpha", PAST, PAST + timedelta(hours=3))),
        "invalidation": partial(client.invalidate, backend="alpha"),
    }


KINDS = sorted(asks(Client.__new__(Client)))


def own_tasks(before: set[asyncio.Task[Any]]) -> list[str]:
    """Return what runs that is new, the emulator's side of connections apart."""
    names = (getattr(one.get_coro(), "__qualname__", "?") for one in asyncio.all_tasks() - before)
    return sorted(name for name in names if not name.startswith("RequestHandler."))


async def empty(client: Client, before: set[asyncio.Task[Any]]) -> Counter[str]:
    """Return the sizes of all containers when nothing is under way, and nothing is cached."""
    await until(lambda: not own_tasks(before))
    await client.invalidate()
    gc.collect()  # a traceback and its frame keep each other alive
    return Counter({name: size for name, size in sizes(client).items() if not name.startswith(KEPT)})


async def warm(client: Client) -> None:
    """Let everything be asked once, so that what grows only once has grown."""
    for ask in asks(client).values():
        with suppress(QRBackendsError):
            await ask()


async def cancelled_after(turns: int, ask: Callable[[], Awaitable[Any]]) -> bool:
    """Cancel a call after some turns, and every third one once more; return whether that was too late."""
    caller = asyncio.ensure_future(ask())
    for _ in range(turns):
        await anyio.lowlevel.checkpoint()
    ended = caller.done()
    caller.cancel()
    if turns % 3 == 0:
        await anyio.lowlevel.checkpoint()
        caller.cancel()  # again, while it is leaving
    await asyncio.wait([caller])
    with suppress(asyncio.CancelledError, QRBackendsError):
        caller.result()
    return ended


@pytest.mark.parametrize(
    ("kinds", "step"),
    [
        pytest.param(KINDS, 3, id="all"),
        *(pytest.param([kind], 30, id=kind, marks=pytest.mark.long) for kind in KINDS),
    ],
)
async def test_nothing_is_left_of_a_caller_who_is_cancelled_at_any_turn(
    client: Client, kinds: list[str], step: int
) -> None:
    others = asyncio.all_tasks()
    await warm(client)
    before = await empty(client, others)
    for kind in kinds:
        turns = 0
        while turns < MOST_TURNS and not await cancelled_after(turns, asks(client)[kind]):
            turns += 1 + turns // step
    assert grown(before, await empty(client, others)) == {}


def cancel_with_the_answer(client: Client, caller: asyncio.Task[Any]) -> bool:
    """Cancel a caller in the turn in which the next answer to anybody comes; return whether one will."""
    of = parts(client)
    under_way = [*flights(of.cache).under_way.values(), *flights(of.directory).under_way.values()]
    for flight in under_way:
        flight.task.add_done_callback(lambda _: caller.cancel())
    return bool(under_way)


async def test_nothing_is_left_of_callers_who_are_cancelled_as_the_answer_comes(client: Client) -> None:
    others = asyncio.all_tasks()
    await warm(client)
    before = await empty(client, others)
    cancelled = 0
    for number in range(4):
        calls = [asyncio.ensure_future(ask()) for ask in asks(client).values()]
        for _ in range(1 + number % 4):
            await anyio.lowlevel.checkpoint()
        for call in calls[number % 2 :: 2]:
            cancel_with_the_answer(client, call)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        cancelled += sum(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    assert cancelled > 4
    del calls, call, outcomes  # a list is known for as long as a caller holds it
    assert grown(before, await empty(client, others)) == {}


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_a_storm_of_cancellations_leaves_nothing(emulator: Emulator, client: Client) -> None:
    random, others = Random(50_000), asyncio.all_tasks()
    emulator.fault(Status(503), resource="status", backend="delta", times=None)
    await warm(client)
    before = await empty(client, others)
    gc.collect()
    moments: Counter[str] = Counter()
    worst, taken = 0.0, []

    async def one(kind: str) -> None:
        call = asyncio.ensure_future(asks(client)[kind]())
        moment = random.choice(("never", "at once", "after some turns", "with the answer", "twice"))
        for _ in range(random.randrange(1, 30) if moment in ("after some turns", "twice") else 1):
            await anyio.lowlevel.checkpoint()
        if moment == "at once":
            call.cancel()
        elif moment == "with the answer" and not cancel_with_the_answer(client, call):
            moment = "never"
        elif moment != "never":
            call.cancel()
            if moment == "twice":
                await anyio.lowlevel.checkpoint()
                call.cancel()
        await asyncio.wait([call])
        moments[moment if call.cancelled() else "never" if moment == "never" else f"{moment}: too late"] += 1
        if not call.cancelled() and not isinstance(call.exception(), QRBackendsError | None):
            call.result()

    tracemalloc.start()
    try:
        for _ in range(100):
            kinds = random.choices(KINDS, k=500)
            began = time.perf_counter()
            await asyncio.gather(*map(one, kinds))
            worst = max(worst, time.perf_counter() - began)
            emulator.reset_log()
            after = await empty(client, others)
            assert grown(before, after) == {}
            taken.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    print(f"\n{moments.total()} calls, cancelled: {dict(moments.most_common())}")
    print(f"containers: {len(after)}, none of them larger; tasks left: {len(own_tasks(others))}")
    print(
        f"the slowest 500 calls took {worst:.2f} s; "
        f"memory at rest: {median(taken[10:50]):,.0f}, then {median(taken[50:]):,.0f} bytes"
    )
    # Medians: how many idle connections hold a buffer differs by round.
    assert median(taken[50:]) < 1.1 * median(taken[10:50])
