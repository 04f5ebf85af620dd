"""Scrapes of 10,000 backends: what they take of the event loop, in printed figures."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from qrbackends import Client, Monitor, MonitoredBackend
from qrbackends.emulator import Emulator
from qrbackends.web import MetricsApp

from ..internals import told_of_a_change
from ..waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.long]

MANY = 10_000


class Gaps:
    """The longest time for which the event loop did nothing else."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def __aenter__(self) -> "Gaps":
        self._task = asyncio.create_task(self._look())
        await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _look(self) -> None:
        before = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            self.longest, before = max(self.longest, now - before), now


async def scraped(app: MetricsApp, *headers: tuple[bytes, bytes]) -> int:
    """Return the number of bytes of one scrape."""
    size = 0

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        nonlocal size
        size += len(message.get("body", b""))

    scope = {"type": "http", "method": "GET", "path": "/metrics", "headers": headers, "query_string": b""}
    await app(scope, receive, send)
    return size


async def test_ten_thousand_backends(emulator: Emulator, client: Client) -> None:
    async with Monitor(client, interval=3600) as monitor:
        await until(lambda: bool(monitor.fleet) and all(one.calibration for one in monitor.fleet.values()))
        known = next(iter(monitor.fleet.values()))
        monitor.fleet.clear()
        for number in range(MANY):
            name = f"backend_{number}"
            at = datetime.now(UTC) - timedelta(minutes=number)
            calibration = replace(known.calibration, calibrated_at=at) if known.calibration else None
            monitor.fleet["us-east", name] = MonitoredBackend(replace(known.backend, name=name), calibration)
        told_of_a_change(monitor)
        app = MetricsApp(client, monitor)
        async with Gaps() as gaps:
            began = time.perf_counter()
            size = await scraped(app)
            took = time.perf_counter() - began
        print(f"\nfirst scrape of {MANY:,}: {size / 1e6:.1f} MB in {took * 1e3:.0f} ms", end="; ")
        print(f"the loop was held for {gaps.longest * 1e3:.1f} ms at most")
        for headers in ((), ((b"accept-encoding", b"gzip"),)):
            async with Gaps() as gaps:
                began = time.perf_counter()
                for _ in range(10):
                    size = await scraped(app, *headers)
                took = (time.perf_counter() - began) / 10
            print(f"each later one: {size / 1e6:.1f} MB in {took * 1e3:.1f} ms", end="; ")
            print(f"the loop was held for {gaps.longest * 1e3:.1f} ms at most")
