"""A service that runs for long while its surroundings break and heal: nothing may grow.

`SOAK=3600 pytest -m long -s tests/attacks/test_soak.py` runs for an hour; the default is five minutes.
"""

import asyncio
import gc
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import cycle
from random import Random
from statistics import median
from typing import NamedTuple

import aiohttp
import pytest

from qrbackends import Client, QRBackendsError, RedisStore
from qrbackends.emulator import Action, Emulator
from qrbackends.web import Pace, board_app

from ..test_chaos import (
    BRIEFLY_FRESH,
    LIMITS,
    OUTAGES,
    REFUSALS,
    RETRY,
    descriptors,
    renew_in_trouble,
)
from ..web.serving import events, served

pytestmark = [pytest.mark.anyio, pytest.mark.long]

SECONDS = float(os.environ.get("SOAK", "300"))
ROUND = 10.0  # seconds; faults in the first half
WARM = 3  # rounds that are not compared
GUARD = 60.0  # seconds after which a call counts as hung


class Left(NamedTuple):
    """What there is at the end of a round, when nobody asks anything."""

    descriptors: int
    tasks: int
    blocks: int
    """Blocks of memory that Python's allocator has given out: they do not depend on its arenas."""


class Work:
    """Loops that ask until they are told to rest, and what became of their calls."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.worst = 0.0  # seconds that the slowest call took

    async def repeat(self, name: str, call: Callable[[], Awaitable[object]], end: float) -> None:
        """Call until the end, in the clock of `time.monotonic`."""
        while (began := time.monotonic()) < end:
            try:
                async with asyncio.timeout(GUARD):
                    await call()
            except (QRBackendsError, aiohttp.ClientError) as error:
                self.outcomes[f"{name}: {type(error).__name__}"] += 1
            else:
                self.outcomes[f"{name}: answered"] += 1
            self.worst = max(self.worst, time.monotonic() - began)
            await asyncio.sleep(0)  # an answer from memory gives nobody else a turn


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    """An emulator with a generation of calibrations that stays as it is."""
    now = time.time()
    async with Emulator(seed=7, clock=lambda: now) as running:
        yield running


@pytest.fixture
def _silence() -> Iterator[None]:
    """Log nothing: pytest would keep every line."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@asynccontextmanager
async def breaking(emulator: Emulator, seconds: float, actions: Iterator[Action]) -> AsyncIterator[None]:
    """Break one answer after another for so long, while the block runs."""

    async def break_on() -> None:
        end, random = time.monotonic() + seconds, Random(7)
        while time.monotonic() < end:
            emulator.fault(next(actions), backend=random.choice((None, *emulator.backends())))
            if random.random() < 0.02:
                renew_in_trouble(emulator)
            if random.random() < 0.02:
                await emulator.stop_region("eu-de")
            elif random.random() < 0.1:
                await emulator.start_region("eu-de")
            await asyncio.sleep(0.02)  # the pace of the faults
        await emulator.start_region("eu-de")
        emulator.clear_faults()

    task = asyncio.create_task(break_on())
    try:
        yield
    finally:
        await task


async def visit(web: aiohttp.ClientSession, url: str) -> None:
    """Read a page as a browser does, and leave."""
    async with web.get(url) as answer:
        await answer.read()
        assert answer.status in (200, 404, 502, 503, 504), answer.status


async def read_events(web: aiohttp.ClientSession, url: str) -> None:
    """Read three events, and leave in the middle of the stream."""
    async with web.get(f"{url}/events") as answer, aclosing(events(answer)) as stream:
        left = 3
        async for _ in stream:
            left -= 1
            if not left:
                return


async def watch_a_while(client: Client) -> None:
    """Watch the whole fleet for two seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(2.0), client.watch(interval=0.2, detail=True) as changes:
            async for _ in changes:
                pass


def left_now() -> Left:
    gc.collect()
    return Left(descriptors(), len(asyncio.all_tasks()), sys.getallocatedblocks())


@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.usefixtures("_silence")
async def test_nothing_grows_while_the_surroundings_break_and_heal(
    emulator: Emulator, store: RedisStore
) -> None:
    work, actions, left = Work(), cycle(OUTAGES + REFUSALS), list[Left]()
    names = emulator.backends()
    random = Random(7)
    async with (
        Client(emulator.account(), limits=LIMITS, retry=RETRY, cache=BRIEFLY_FRESH, store=store) as client,
        served(board_app(client, pace=Pace(interval=0.2, log=100))) as url,
        aiohttp.ClientSession() as web,
    ):
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "properties": lambda: client.properties(random.choice(names)),
            "status": lambda: client.status(random.choice(names)),
            "list": client.backends,
            "snapshot": lambda: client.snapshot().collect(),
            "watch": lambda: watch_a_while(client),
            "page": lambda: visit(web, f"{url}/"),
            "device": lambda: visit(web, f"{url}/backends/us-east/{random.choice(names)}"),
            "events": lambda: read_events(web, url),
        }
        for _ in range(max(WARM + 3, round(SECONDS / ROUND))):
            async with breaking(emulator, ROUND / 2, actions), asyncio.TaskGroup() as group:
                for name, call in calls.items():
                    group.create_task(work.repeat(name, call, time.monotonic() + ROUND))
            emulator.reset_log()
            left.append(left_now())
    told = dict(sorted(work.outcomes.items()))
    print(f"\n{work.outcomes.total()} calls, the slowest {work.worst:.1f} s: {told}")
    for number, one in enumerate(left):
        print(f"round {number}: {one.descriptors} descriptors, {one.tasks} tasks, {one.blocks} blocks")
    third = len(left[WARM:]) // 3
    early, late = left[WARM:][-2 * third : -third], left[-third:]
    # Medians: how many connections are idle, and whether a refusal has emptied the cache, differs by round.
    assert median(one.descriptors for one in late) <= median(one.descriptors for one in early) + 4
    assert median(one.tasks for one in late) <= median(one.tasks for one in early) + 4
    assert median(one.blocks for one in late) < 1.03 * median(one.blocks for one in early)
    for name in calls:
        assert work.outcomes[f"{name}: answered"], name
