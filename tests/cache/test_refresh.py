"""Who insists on a new answer gets none that had arrived before they asked."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

import pytest

from qrbackends import Client, NotFound, Request
from qrbackends.emulator import Emulator, SyntheticFleet

from ..waiting import until

pytestmark = pytest.mark.anyio

START = 1_790_000_000.0
HOUR = 3600.0


class World:
    now = START

    def __call__(self) -> float:
        return self.now


WORLD = World()


class SlowStore:
    """A store that is empty, and keeps whoever writes or deletes waiting until the test lets them go."""

    timeout = 60.0

    def __init__(self) -> None:
        self.reached = 0
        self.go = asyncio.Event()

    async def get(self, scope: str, name: str) -> bytes | None:
        return None

    async def put(self, scope: str, name: str, value: bytes, ttl: float) -> bool:
        await self._wait()
        return True

    async def names(self, scope: str) -> Sequence[str]:
        return ()

    async def delete(self, scope: str, names: Iterable[str]) -> None:
        await self._wait()

    async def _wait(self) -> None:
        self.reached += 1
        await self.go.wait()


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    fleet = SyntheticFleet({"alpha": 2})
    async with Emulator(fleet, regions=["us-east"], clock=WORLD, token_lifetime=10**9) as running:
        yield running


@pytest.fixture
async def slow() -> SlowStore:
    return SlowStore()


@pytest.fixture
async def client(emulator: Emulator, slow: SlowStore) -> AsyncIterator[Client]:
    WORLD.now = START
    async with Client(emulator.account(), store=slow) as opened:
        yield opened
        slow.go.set()


@pytest.mark.parametrize("max_age", [None, 0.0], ids=["refresh", "max_age"])
async def test_an_answer_that_has_arrived_is_no_answer_to_a_later_question(
    emulator: Emulator, client: Client, slow: SlowStore, max_age: float | None
) -> None:
    asked = Request("properties", "alpha")
    first = asyncio.create_task(client.fetch(asked, refresh=True))
    await until(lambda: slow.reached == 1)  # the answer is here, and is being stored
    WORLD.now += HOUR
    later = asyncio.create_task(client.fetch(asked, refresh=max_age is None, max_age=max_age))
    if max_age is None:
        await until(lambda: slow.reached == 2)
    else:  # it waits for the first, as that may bring an answer that is young enough
        await until(lambda: client.stats().properties.coalesced == 1)
    slow.go.set()
    old, new = (await first).value, (await later).value
    assert new.last_update_date > old.last_update_date
    assert emulator.count("properties") == 2
    assert await client.properties("alpha") is new, "the later answer is kept"


async def test_a_failure_that_has_arrived_is_none_either(
    emulator: Emulator, client: Client, slow: SlowStore
) -> None:
    first = asyncio.create_task(client.properties("nowhere", refresh=True))
    await until(lambda: slow.reached == 1)  # the 404 is here, and what was stored is being deleted
    later = asyncio.create_task(client.properties("nowhere", refresh=True))
    await until(lambda: slow.reached == 2)
    slow.go.set()
    for outcome in await asyncio.gather(first, later, return_exceptions=True):
        assert isinstance(outcome, NotFound)
    assert emulator.count("properties") == 2


async def test_refreshes_that_begin_before_the_answer_still_share_it(
    emulator: Emulator, client: Client, slow: SlowStore
) -> None:
    slow.go.set()
    answers = await asyncio.gather(*(client.properties("alpha", refresh=True) for _ in range(20)))
    assert len({id(one) for one in answers}) == 1
    assert emulator.count("properties") == 1
