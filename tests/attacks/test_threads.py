"""Threads read the statistics, as exporters do, while the loop fills and expires a small cache."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from qrbackends import CachePolicy, Client, Memory, Monitor
from qrbackends.emulator import Emulator, SyntheticFleet
from qrbackends.interop.prometheus import Collector
from qrbackends.transport.traffic import Traffic

from ..waiting import until

pytestmark = pytest.mark.anyio

NAMES = ("alpha", "beta", "delta", "gamma")
_written: Any = generate_latest  # it is not typed


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    async with Emulator(SyntheticFleet(dict.fromkeys(NAMES, 2))) as running:
        yield running


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads take turns after a microsecond, not after 5 ms."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


class Ticks:
    """A clock that goes on by a second whenever the loop, but not another thread, looks at it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._loop = threading.get_ident()

    def __call__(self) -> float:
        if threading.get_ident() == self._loop:
            self.now += 1.0
        return self.now


class Readers:
    """Threads that read until the loop has done its work, and at least `least` times each."""

    def __init__(self, reads: list[Callable[[], object]], least: int) -> None:
        self.errors: list[BaseException] = []
        self.times = [0] * len(reads)
        self._least = least
        self._done = threading.Event()
        self._threads = [
            threading.Thread(target=self._read, args=(number, read), daemon=True)
            for number, read in enumerate(reads)
        ]

    def __enter__(self) -> "Readers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    @property
    def satisfied(self) -> bool:
        return bool(self.errors) or min(self.times) >= self._least

    def _read(self, number: int, read: Callable[[], object]) -> None:
        try:
            while not self._done.is_set():
                read()
                self.times[number] += 1
        except BaseException as error:
            self.errors.append(error)


@pytest.mark.usefixtures("hasty_threads")
@pytest.mark.parametrize(
    ("calls", "least"),
    [(40, 1), pytest.param(5000, 500, marks=[pytest.mark.long, pytest.mark.timeout(600)])],
)
async def test_statistics_are_read_in_threads_while_the_loop_works(
    emulator: Emulator, calls: int, least: int
) -> None:
    policy = CachePolicy(properties=20.0, history=20.0, stale_if_error=0.0, stale_while_revalidate=5.0)
    memory = Memory(60_000, share=1.0, clock=Ticks())
    async with (
        Client(emulator.account(), cache=policy, memory=memory) as client,
        Monitor(client, interval=0.01) as monitor,
    ):
        await until(lambda: len(monitor.fleet) == len(NAMES))
        collector = Collector(client, monitor)
        registry = CollectorRegistry()
        registry.register(collector)

        def sizes() -> None:
            assert 0 <= memory.bytes <= 60_000
            assert 0 <= client.stats().bytes <= 60_000
            assert len(memory) >= 0

        def fleet() -> None:
            for known in monitor.fleet.copy().values():
                assert monitor.queue_history((known.backend.region, known.backend.name)) is not None
            assert not monitor.failures.copy()

        seen = 0
        with Readers([sizes, sizes, fleet, lambda: _written(registry)], least) as readers:
            while seen < calls or not readers.satisfied:
                for name in NAMES:
                    emulator.set_backend(name, queue_length=seen % 100, hidden=(seen + len(name)) % 7 == 0)
                before = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=seen % 50)
                asked = [client.properties(name, updated_before=before) for name in NAMES]
                answers = await asyncio.gather(*asked, return_exceptions=True)
                seen += len(answers)
        assert readers.errors == []
        counts = client.stats()
        assert counts.properties.misses > 0
        print(f"\n{seen} calls, reads in four threads: {readers.times}, evicted: {counts.evictions}")
        # Every entry has gone: what is accounted is what is there.
        await client.invalidate()
        await until(lambda: not (memory.bytes or len(memory)))


@pytest.mark.usefixtures("hasty_threads")
def test_the_counts_of_a_region_are_read_in_threads_while_outcomes_come() -> None:
    traffic = Traffic()
    with Readers([lambda: traffic.stats("us-east", "closed")] * 2, 20) as readers:
        seen = 0
        while seen < 5000 or not readers.satisfied:
            traffic.count(seen % 5000, 0.1, repeated=False)  # each outcome for the first time
            seen += 1
    assert readers.errors == []
    counted = traffic.stats("us-east", "closed")
    assert (counted.requests, len(counted.outcomes)) == (seen, 5000)
