"""An emulator after `reset()` behaves like a new one."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import anyio
import pytest

from qrbackends.emulator import Delay, Emulator, Endless, Hold, Status, SyntheticFleet, ThreadedEmulator

from .asking import Asker, Got

pytestmark = pytest.mark.anyio

FLEET = SyntheticFleet({"a": 5, "b": 5})
PLACES = ("/backends", "/backends/a/status", "/backends/a/properties", "/backends/nobody/status")
CONNECTION_CUT = (aiohttp.ClientError, ConnectionError)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """One that may be changed at will."""
    async with Emulator(FLEET, regions=["r"]) as running:
        yield running


async def answers(ask: Asker) -> list[tuple[int, bytes]]:
    """Return what it says to some questions, errors with their numbers included."""
    got = [await ask.get(path, "r") for path in PLACES]
    return [(one.status, one.body) for one in got]


async def test_it_answers_as_at_its_start(emulator: Emulator, ask: Asker) -> None:
    at_first = await answers(ask)
    assert await answers(ask) != at_first, "queues moved, and errors have other ids"
    emulator.set_backend("a", status="paused", queue_length=7)
    emulator.set_backend("b", hidden=True)
    emulator.fault(Status(503), times=None)
    await emulator.reset()
    await ask.log_in()
    assert await answers(ask) == at_first


async def test_a_new_one_answers_the_same(emulator: Emulator, ask: Asker) -> None:
    await answers(ask)
    await emulator.reset()
    await ask.log_in()
    async with Emulator(FLEET, regions=["r"]) as another, Asker(another) as other:
        assert await answers(ask) == await answers(other)


async def test_addresses_keys_and_instances_stay(emulator: Emulator) -> None:
    before = (emulator.url("r"), emulator.iam_url, emulator.api_keys, emulator.instances)
    account = emulator.account()
    await emulator.reset()
    assert (emulator.url("r"), emulator.iam_url, emulator.api_keys, emulator.instances) == before
    assert emulator.account() == account


async def test_nothing_was_asked(emulator: Emulator, ask: Asker) -> None:
    await answers(ask)
    await emulator.reset()
    assert emulator.requests == ()
    assert emulator.count() == 0


async def test_the_tokens_of_before_are_refused(emulator: Emulator, ask: Asker) -> None:
    assert (await ask.get("/backends", "r")).status == 200
    emulator.expire_tokens()
    await emulator.reset()
    assert (await ask.get("/backends", "r")).status == 401
    await ask.log_in()
    assert (await ask.get("/backends", "r")).status == 200


@pytest.mark.parametrize("region", ["r", "cloud"])
async def test_a_region_that_is_down_comes_back(emulator: Emulator, ask: Asker, region: str) -> None:
    await emulator.stop_region(region)
    await emulator.reset()
    await ask.log_in()
    assert (await ask.get("/backends", "r")).status == 200


@pytest.mark.parametrize("action", [Hold(), Delay(600.0), Endless()], ids=["held", "delayed", "endless"])
async def test_requests_under_way_end_and_are_not_noted(emulator: Emulator, ask: Asker, action: Any) -> None:
    await ask.log_in()
    fault = emulator.fault(action, resource="status", times=None)

    async def one() -> Got | None:
        try:
            return await ask.request("POST", "/backends/a/status", "r")  # which aiohttp does not send again
        except CONNECTION_CUT:
            return None

    with anyio.fail_after(20):
        asked = [asyncio.create_task(one()) for _ in range(3)]
        await fault.reached(3)
        await emulator.reset()
        outcomes = await asyncio.gather(*asked)
    assert all(outcome is None or outcome.status == 405 for outcome in outcomes)
    assert emulator.requests == ()
    assert fault.hits == 3


async def test_idle_connections_are_cut(emulator: Emulator) -> None:
    host, _, port = emulator.url("r").removeprefix("http://").partition("/")[0].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET /api/v1/backends HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
    await emulator.reset()
    with anyio.fail_after(20):
        await reader.read(-1)
    writer.close()


async def test_what_is_built_is_not_built_again(
    emulator: Emulator, ask: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_first = await answers(ask)
    monkeypatch.setattr(FLEET, "build", None)
    await emulator.reset()
    await ask.log_in()
    assert await answers(ask) == at_first


async def test_one_that_does_not_run_cannot_be_reset() -> None:
    emulator = Emulator(FLEET)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="not running"):
            await emulator.reset()
        async with emulator:
            await emulator.reset()


def test_the_threaded_one_is_reset_from_anywhere() -> None:
    with ThreadedEmulator(fleet=FLEET, regions=["r"]) as emulator:
        emulator.stop_region("r")
        fault = emulator.fault(Status(503), times=None)
        emulator.reset()
        assert emulator.requests == ()
        emulator.start_region("r")  # it is up already
        with pytest.raises(RuntimeError, match="no more than 0"):
            asyncio.run(fault.reached())
