"""10,000 readers of one fleet's events: what a tick takes of the event loop, in printed figures."""

import asyncio
import gc
import resource
import time
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from qrbackends import Client, MonitorEvent
from qrbackends.web import Pace, api_app
from qrbackends.web.events import Hub

from ..waiting import until
from ..web.serving import Reader, events, served
from ..web.test_events import the_hub

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(600)]

MANY = 10_000
CHANGED = 20  # backends in a tick


def tick(hub: Hub, number: int) -> None:
    """Tell the readers of some changed backends, as one poll does."""
    assert hub.monitor is not None
    (region, name), known = next(iter(hub.monitor.fleet.items()))
    for change in range(CHANGED):
        after = replace(known, backend=replace(known.backend, queue_length=number * CHANGED + change))
        for listener in hub.monitor.listeners:
            listener(MonitorEvent("queue", datetime.now(UTC), region, name, known, after))


async def test_ten_thousand_readers(client: Client) -> None:
    hub = Hub(client, Pace(interval=3600, readers=MANY, beat=3600))
    monitor = hub.wake()
    await until(lambda: bool(monitor.fleet) and all(one.calibration for one in monitor.fleet.values()))
    gc.collect()
    tracemalloc.start()
    readers = [Reader(hub) for _ in range(MANY)]
    await until(lambda: all(len(one.sent) >= 2 for one in readers))
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    print(f"\n{MANY:,} readers hold {held / MANY / 1e3:.1f} kB each")
    first, taken = readers[0], []
    for number in range(10):
        for one in readers:
            one.sent.clear()
        began = time.process_time()
        tick(hub, number)
        await until(lambda: b"".join(first.sent).count(b"\n\n") == CHANGED)
        await until(lambda: all(len(one.sent) == len(first.sent) for one in readers))
        taken.append(time.process_time() - began)
        assert len({tuple(map(id, one.sent)) for one in readers}) == 1, "all get the same bytes"
    shown = ", ".join(f"{one * 1e3:.0f}" for one in taken)
    print(f"ticks of {CHANGED} changes take {shown} ms of the loop")
    began = time.process_time()
    await asyncio.gather(*(one.leave() for one in readers))
    print(f"all leave in {(time.process_time() - began) * 1e3:.0f} ms")
    await monitor.aclose()


async def test_as_many_sockets_as_there_may_be(client: Client) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    count = min(2000, limit // 3)
    pace = Pace(interval=3600, readers=count, beat=3600)
    async with (
        served(api_app(client, pace=pace)) as url,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as web,
    ):
        seen: list[int] = []

        async def read() -> None:
            response = await web.get(f"{url}/events")
            stream: Any = events(response)
            async for sent in stream:
                seen.append(1)
                if sent.event == "change" and sent.data.get("name") == "last":
                    break
            response.close()

        readers = [asyncio.create_task(read()) for _ in range(count)]
        await until(lambda: len(seen) >= count)
        hub = the_hub()
        await until(lambda: hub.monitor is not None and bool(hub.monitor.fleet))
        tick(hub, 1)
        await until(lambda: len(seen) >= count * (1 + CHANGED))
        began = time.process_time()
        tick(hub, 2)
        await until(lambda: len(seen) >= count * (1 + 2 * CHANGED))
        took = time.process_time() - began
        print(f"\n{count:,} sockets: a tick takes {took * 1e3:.0f} ms, server and readers together")
        for listener in hub.monitor.listeners if hub.monitor else ():
            listener(MonitorEvent("disappeared", datetime.now(UTC), None, "last"))
        await asyncio.gather(*readers)
