"""Documents of a whole fleet: every one of them a value or an error, as fast as they are taken."""

import asyncio
import gc
from collections import Counter
from random import Random
from typing import Any

import anyio
import pytest

from qrbackends import (
    Backend,
    BackendConfiguration,
    BackendList,
    BackendProperties,
    BackendStatus,
    Client,
    Fetched,
    InvalidRequest,
    Limits,
    QRBackendsError,
    Request,
    RetryPolicy,
    Snapshot,
)
from qrbackends.emulator import Action, Emulator, Garbage, Reset, Status, Truncate
from qrbackends.models import DeviceStatus

from ..waiting import until

pytestmark = pytest.mark.anyio

THREE = ("status", "configuration", "properties")
TYPES = dict(zip(THREE, (BackendStatus, BackendConfiguration, BackendProperties), strict=True))


@pytest.fixture
def snapshots(real_emulator: Emulator) -> Emulator:
    return real_emulator


class Fake:
    """Answers when the test lets it, and counts."""

    def __init__(self, count: int, regions: tuple[str, ...] = ("us-east", "eu-de")) -> None:
        self.backends = tuple(
            Backend(f"b{n}", DeviceStatus("online"), 0, region=regions[n % len(regions)], instance=f"crn:{n}")
            for n in range(count)
        )
        self.begun: Counter[str | None] = Counter()
        self.open = asyncio.Event()
        self.stuck: set[str] = set()

    async def ask(self, request: Request, *, instance: str | None = None) -> Fetched[Any]:
        if request.backend is None:
            return Fetched(BackendList(self.backends), 0.0, "origin")
        backend = next(one for one in self.backends if one.name == request.backend)
        assert instance == backend.instance, "who lists it is asked"
        self.begun[backend.region] += 1
        if backend.region in self.stuck:
            await asyncio.Event().wait()
        await self.open.wait()
        return Fetched(request.resource, 0.0, "origin")

    def snapshot(self, *resources: Any, **options: Any) -> Snapshot:
        return Snapshot(self.ask, resources or ("status",), **options)


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_68_real_backends_with_faults_give_204_items(snapshots: Emulator) -> None:
    random = Random(7)
    faults: tuple[Action, ...] = (Status(500), Status(403), Truncate(), Reset(), Garbage(b"{"))
    struck = set()
    for name in snapshots.backends():
        for resource in THREE:
            if random.random() < 0.05:
                snapshots.fault(random.choice(faults), backend=name, resource=resource)
                struck.add((name, resource))
    calls: list[tuple[int, int]] = []
    once, limits = RetryPolicy(attempts=1), Limits(failures=10**9)
    async with Client(snapshots.account(), retry=once, limits=limits) as client:
        snapshot = client.snapshot(progress=lambda done, total: calls.append((done, total)))
        items = [item async for item in snapshot]
    snapshots.clear_faults()
    assert len(items) == len({(item.backend.name, item.resource) for item in items}) == 204
    assert {(item.backend.name, item.resource) for item in items if item.error} == struck
    assert len(struck) > 5
    for item in items:
        assert (item.value is None) is (item.error is not None)
        if item.error is None:
            assert type(item.value) is TYPES[item.resource]
        else:
            assert (item.error.backend, item.error.region) == (item.backend.name, item.backend.region)
    assert calls == [(number, 204) for number in range(1, 205)]


async def test_all_of_it_may_be_collected(snapshots: Emulator) -> None:
    async with Client(snapshots.account()) as client:
        found = await client.snapshot(
            ["configuration", "status"], where=lambda one: (one.qubits or 0) > 100
        ).collect()
        assert {name: set(items) for name, items in found.items()} == {
            one.name: {"configuration", "status"}
            for one in await client.backends()
            if (one.qubits or 0) > 100
        }
        configuration = found["ibm_boston"]["configuration"].value
        assert configuration is not None
        assert configuration.n_qubits == 156


async def test_no_more_is_asked_than_is_taken() -> None:
    fake = Fake(1000)
    fake.open.set()
    taken: Counter[str | None] = Counter()
    async for item in fake.snapshot("status", "properties", width=8):
        taken[item.backend.region] += 1
        await settled()
        assert all(count - taken[region] <= 8 for region, count in fake.begun.items())
        if taken.total() == 200:
            break
    await settled()
    assert fake.begun.total() < 200 + 2 * 8


async def test_a_region_that_hangs_delays_no_other() -> None:
    fake = Fake(200)
    fake.stuck = {"us-east"}
    fake.open.set()
    seen = set()
    with anyio.fail_after(30):
        async for item in fake.snapshot(width=4):
            seen.add(item.backend.name)
            if len(seen) == 100:
                break
    assert fake.begun == {"us-east": 4, "eu-de": 100}


@pytest.mark.parametrize("way", ["break", "raise", "cancel", "close", "progress"])
async def test_however_it_ends_nothing_is_left(way: str) -> None:
    fake = Fake(100)
    fake.open.set()
    fake.stuck = {"us-east"}
    before = asyncio.all_tasks()

    def progress(done: int, total: int) -> None:
        if way == "progress" and done == 5:
            raise ZeroDivisionError

    async def consume() -> None:
        seen = 0
        iterator = aiter(fake.snapshot(progress=progress))
        async for _ in iterator:
            seen += 1
            if seen == 10:
                if way == "break":
                    break
                if way == "raise":
                    raise ZeroDivisionError
                if way == "cancel":
                    await asyncio.Event().wait()
                await iterator.aclose()
                return

    task = asyncio.create_task(consume())
    if way == "cancel":
        await until(lambda: fake.begun["eu-de"] >= 10)
        await settled()
        task.cancel()
    outcome = (await asyncio.gather(task, return_exceptions=True))[0]
    expected = {"raise": ZeroDivisionError, "progress": ZeroDivisionError, "cancel": asyncio.CancelledError}
    assert type(outcome) is expected.get(way, type(None))
    del task, outcome
    gc.collect()
    await until(lambda: asyncio.all_tasks() <= before)


async def test_an_instance_that_cannot_be_listed_is_told(emulator: Emulator, client: Client) -> None:
    emulator.fault(Status(403), resource="backends", region="eu-de", times=None)
    snapshot = client.snapshot(["status"])
    assert snapshot.errors == ()
    items = [item async for item in snapshot]
    assert {item.backend.region for item in items} == {"us-east"}
    errors: tuple[QRBackendsError, ...] = snapshot.errors
    assert [error.region for error in errors] == ["eu-de"]


async def test_where_nothing_can_be_listed_it_is_raised(emulator: Emulator, client: Client) -> None:
    emulator.fault(Status(500), resource="backends", times=None)
    with pytest.raises(QRBackendsError):
        await client.snapshot(["status"]).collect()


async def test_an_empty_fleet_gives_nothing() -> None:
    assert await Fake(0).snapshot().collect() == {}


@pytest.mark.parametrize("wrong", [(), ("backends",), ("status", "speed"), "speed"])
def test_what_is_no_document_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidRequest, match="configuration, properties, status, defaults"):
        Snapshot(Fake(1).ask, wrong)


async def test_a_test_may_be_async(snapshots: Emulator) -> None:
    async def small(backend: Backend) -> bool:
        await asyncio.sleep(0)
        return (backend.qubits or 0) < 100

    async with Client(snapshots.account()) as client:
        found = await client.snapshot(["status"], where=small).collect()
        expected = {one.name for one in await client.backends() if (one.qubits or 0) < 100}
    assert set(found) == expected != set()
