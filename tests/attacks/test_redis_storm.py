"""A fleet of workers while Redis is cut off, late, swallowed, spoilt, emptied or stopped, with figures."""

import asyncio
import random
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import NamedTuple

import anyio
import pytest
from redis.asyncio import Redis

from qrbackends import Client, Memory, RedisStore
from qrbackends.emulator import Delay, Emulator
from qrbackends.emulator.devices.synthetic import SyntheticFleet

from ..redis_proxy import Proxy, cutting, nothing, proxy, spoiling, whole
from ..redis_server import RedisServer, running

pytestmark = [pytest.mark.anyio, pytest.mark.long]

NAMES = tuple(f"device_{number}" for number in range(8))
WORKERS, CALLERS, SECONDS = 8, 20, 6.0
LATENCY = 0.1  # seconds that the service takes


class Figures(NamedTuple):
    """What a storm cost: the seconds of each call, the failures by kind, and the requests per key."""

    seconds: list[float]
    failed: dict[str, int]
    requests: float

    def __str__(self) -> str:
        worst, median = max(self.seconds), statistics.median(self.seconds)
        return (
            f"{len(self.seconds):6} calls, {sum(self.failed.values())} failed, median {median:.3f} s, "
            f"worst {worst:.3f} s, {self.requests:.1f} requests per key"
        )


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    async with Emulator(SyntheticFleet(dict.fromkeys(NAMES, 5)), regions=["us-east"]) as running_:
        yield running_


async def storm(
    emulator: Emulator, url: str | None, trouble: Callable[[], Coroutine[None, None, None]]
) -> Figures:
    """Let all callers of all workers ask, without a memory of their own, while there is trouble."""
    seconds: list[float] = []
    failed: dict[str, int] = {}
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(WORKERS):
            store = await stack.enter_async_context(RedisStore(url)) if url else None
            clients.append(
                await stack.enter_async_context(Client(emulator.account(), store=store, memory=Memory(0)))
            )
        await asyncio.gather(*(client.backends() for client in clients))
        emulator.reset_log()
        emulator.fault(Delay(LATENCY), resource="properties", times=None)
        until = loop.time() + SECONDS

        async def call(client: Client, draw: random.Random) -> None:
            while loop.time() < until:
                began = loop.time()
                try:
                    await client.properties(draw.choice(NAMES))
                except Exception as error:
                    failed[type(error).__name__] = failed.get(type(error).__name__, 0) + 1
                seconds.append(loop.time() - began)
                await anyio.sleep(draw.random() * 0.2)

        async with asyncio.TaskGroup() as group:
            troubling = group.create_task(trouble())
            for number in range(WORKERS * CALLERS):
                group.create_task(call(clients[number % WORKERS], random.Random(number)))
        await troubling
    return Figures(seconds, failed, emulator.count("properties") / len(NAMES))


Trouble = Callable[[RedisServer, Proxy, Redis], Coroutine[None, None, None]]


async def while_toxic(through: Proxy, toxic: Callable[[bytes], bytes | None]) -> None:
    await anyio.sleep(SECONDS / 3)
    through.toxic = toxic
    await anyio.sleep(SECONDS / 3)
    through.toxic = whole


async def again_and_again(act: Callable[[], Awaitable[object]]) -> None:
    for _ in range(20):
        await anyio.sleep(SECONDS / 20)
        await act()


async def delayed(through: Proxy) -> None:
    await anyio.sleep(SECONDS / 3)
    through.delay = 0.2
    await anyio.sleep(SECONDS / 3)
    through.delay = 0.0


async def stopped(server: RedisServer) -> None:
    await anyio.sleep(SECONDS / 3)
    server.freeze()
    await anyio.sleep(SECONDS / 3)
    server.thaw()


async def killed(server: RedisServer) -> None:
    await anyio.sleep(SECONDS / 3)
    await asyncio.to_thread(server.kill)
    await anyio.sleep(SECONDS / 3)
    await asyncio.to_thread(server.start)


async def cut_off(through: Proxy) -> None:
    through.cut()


async def nobody() -> None:
    return


STORMS: dict[str, Trouble] = {
    "none": lambda *_: nobody(),
    "connections cut": lambda _, through, __: again_and_again(lambda: cut_off(through)),
    "answers cut": lambda _, through, __: while_toxic(through, cutting(random.Random(1))),
    "answers late": lambda _, through, __: delayed(through),
    "black hole": lambda _, through, __: while_toxic(through, nothing),
    "garbage": lambda _, through, __: while_toxic(through, spoiling(random.Random(1))),
    "FLUSHALL": lambda _, __, redis: again_and_again(redis.flushall),
    "CLIENT KILL": lambda _, __, redis: again_and_again(
        lambda: redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # type: ignore[no-untyped-call]
    ),
    "SIGSTOP": lambda server, *_: stopped(server),
    "killed": lambda server, *_: killed(server),
}


@pytest.mark.timeout(300)
async def test_every_call_is_answered_whatever_happens_to_redis(emulator: Emulator) -> None:
    alone = await storm(emulator, None, nobody)
    print(f"\n{'without a store':16} {alone}")
    assert not alone.failed
    for name, trouble in STORMS.items():
        await emulator.reset()
        with running() as server:
            async with proxy(server.port) as through, Redis.from_url(server.url, protocol=2) as redis:
                figures = await storm(emulator, through.url, partial(trouble, server, through, redis))
        more = max(figures.seconds) - max(alone.seconds)
        print(f"{name:16} {figures}, worst {more:+.3f} s against no store")
        assert not figures.failed, name
