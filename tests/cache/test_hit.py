"""A hit: a fresh answer in memory is returned without a request and without awaiting anything."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from qrbackends import (
    CachePolicy,
    Client,
    ClientClosed,
    Instance,
    InvalidRequest,
    Memory,
    NotFound,
)
from qrbackends.emulator import Emulator, SyntheticFleet

pytestmark = pytest.mark.anyio


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    async with Emulator(SyntheticFleet({"alpha": 2, "beta": 2}), instances=2) as running:
        yield running


@pytest.fixture
async def client(emulator: Emulator, clock: Clock) -> AsyncIterator[Client]:
    policy = CachePolicy(properties=10.0, stale_while_revalidate=0.0, jitter=0.0, status=10.0)
    async with Client(emulator.account(), cache=policy, memory=Memory(share=1.0, clock=clock)) as opened:
        yield opened


@pytest.mark.parametrize("method", ["properties", "configuration", "status"])
async def test_what_is_fresh_is_given_and_counted(emulator: Emulator, client: Client, method: str) -> None:
    ask = getattr(client, method)
    first = await ask("alpha")
    emulator.reset_log()
    for _ in range(5):
        assert await ask("alpha") is first
    assert len(emulator.requests) == 0
    counts = getattr(client.stats(), method)
    assert (counts.hits, counts.misses) == (5, 1)


async def test_it_is_as_fresh_as_the_policy_says(emulator: Emulator, client: Client, clock: Clock) -> None:
    await client.properties("alpha")
    clock.now += 9.5
    await client.properties("alpha")
    assert emulator.count("properties") == 1
    clock.now += 0.5
    await client.properties("alpha")
    assert emulator.count("properties") == 2


async def test_whoever_insists_or_asks_for_something_else_gets_that(
    emulator: Emulator, client: Client
) -> None:
    known = await client.properties("alpha")
    assert (await client.properties("alpha", refresh=True)) is known, "nothing has changed"
    assert emulator.count("properties") == 2
    other = await client.properties("alpha", calibration_id="extra_gates")
    assert emulator.count("properties") == 3
    assert await client.properties("alpha", calibration_id="extra_gates") is other
    second = [one for one in emulator.instances if one.region == "us-east"][1]
    elsewhere = await client.properties("alpha", instance=second.crn)
    assert elsewhere is not other
    assert emulator.requests[-1].crn == second.crn
    named = Instance(second.crn, url=emulator.url("us-east"))
    assert await client.properties("alpha", instance=named) is elsewhere


async def test_a_refresh_is_what_is_given_from_then_on(client: Client) -> None:
    await client.properties("alpha")
    await client.properties("alpha")
    fresh = await client.properties("alpha", refresh=True)
    assert await client.properties("alpha") is fresh


async def test_what_was_invalidated_is_asked_for(emulator: Emulator, client: Client) -> None:
    await client.properties("alpha")
    await client.properties("alpha")
    assert await client.invalidate(backend="alpha") == 1
    await client.properties("alpha")
    assert emulator.count("properties") == 2


async def test_a_backend_that_moves_is_asked_for_where_it_is(emulator: Emulator, client: Client) -> None:
    here = await client.properties("alpha")
    emulator.set_backend("alpha", hidden=True)
    await client.backends(refresh=True)
    assert await client.properties("alpha") is here, "a fresh answer counts, whether a list has it or not"
    emulator.set_backend("alpha", hidden=False)
    await client.backends(refresh=True)
    assert await client.properties("alpha") is here, "still kept for the instance that has it"
    emulator.set_backend("alpha", hidden=True)
    await client.backends(refresh=True)
    for refresh in (True, False):  # every instance is asked, and the old answer is gone
        with pytest.raises(NotFound):
            await client.properties("alpha", refresh=refresh)


async def test_a_hit_takes_no_turn_of_the_event_loop(client: Client) -> None:
    known = await client.properties("alpha")
    with pytest.raises(StopIteration) as ended:
        client.properties("alpha").send(None)
    assert ended.value.value is known


@pytest.mark.parametrize("wrong", [["alpha"], {}, None, 7, ""])
async def test_what_is_no_name_is_refused(client: Client, wrong: Any) -> None:
    await client.properties("alpha")
    with pytest.raises(InvalidRequest):
        await client.properties(wrong)
    with pytest.raises(InvalidRequest):
        await client.properties("alpha", timeout=-1)


async def test_a_closed_client_gives_nothing(emulator: Emulator) -> None:
    async with Client(emulator.account()) as opened:
        await opened.properties("alpha")
    with pytest.raises(ClientClosed):
        await opened.properties("alpha")
