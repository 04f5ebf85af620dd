"""Making a connection: it ends in time, and when nobody wants it any more, and nothing is left of it."""

import asyncio
from typing import Any

import anyio
import pytest

from qrbackends import Client, ClientClosed, Limits
from qrbackends.emulator import Emulator
from qrbackends.transport.connector import made_in_time

pytestmark = pytest.mark.anyio


class Connection:
    """One that can be closed."""

    closed = 0

    def __len__(self) -> int:
        return 0  # as aiohttp's, while nothing has come

    def close(self) -> None:
        self.closed += 1


async def test_a_connection_that_is_made_when_nobody_wants_it_any_more_is_closed() -> None:
    made: Any = Connection()
    ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def make() -> Any:
        return await ready

    making = asyncio.create_task(made_in_time(make, 600.0))
    await anyio.wait_all_tasks_blocked()
    ready.set_result(made)
    await asyncio.sleep(0)  # the attempt has ended, and its caller does not know
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    await anyio.wait_all_tasks_blocked()
    assert made.closed == 1


async def test_an_attempt_ends_with_a_coroutine_that_is_closed() -> None:
    cancelled = asyncio.Event()

    async def make() -> Any:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    waiting = made_in_time(make, 600.0)
    waiting.send(None)
    await anyio.wait_all_tasks_blocked()
    waiting.close()
    await cancelled.wait()


@pytest.mark.parametrize("limit", [0.001, 600.0])
async def test_an_attempt_is_cancelled_until_it_ends(limit: float) -> None:
    cancelled: list[int] = []

    async def make() -> Any:
        for number in range(3):  # as a library that waits in the handshake of TLS for the end of a connection
            try:
                await anyio.sleep_forever()
            except asyncio.CancelledError:
                cancelled.append(number)
        return Connection()

    making = asyncio.create_task(made_in_time(make, limit))
    await anyio.wait_all_tasks_blocked()
    if limit > 1:
        making.cancel()
    with pytest.raises((TimeoutError, asyncio.CancelledError)):
        await making
    await anyio.wait_all_tasks_blocked()
    assert cancelled == [0, 1, 2]


async def test_an_attempt_that_other_code_cancels_is_no_connection() -> None:
    async def make() -> Any:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await made_in_time(make, 600.0)


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("end", ["cancel", "close"])
async def test_a_call_may_end_while_its_connection_is_being_made(turns: int, end: str) -> None:
    """No coroutine is left unawaited, which would be an error here, and no slot and no task is lost."""
    async with Emulator("snapshots", backends=("ibm_boston",)) as emulator:
        client = Client(emulator.account(), limits=Limits(per_region=1))
        await client.instances()
        others = asyncio.all_tasks()
        call = asyncio.create_task(client.status("ibm_boston"))
        for _ in range(turns):
            await asyncio.sleep(0)
        if end == "cancel":
            call.cancel()
            await asyncio.wait([call])
            assert (await client.status("ibm_boston")).operational
        await client.aclose()
        with pytest.raises((ClientClosed, asyncio.CancelledError)):
            await call
        await anyio.wait_all_tasks_blocked()
        assert {task for task in asyncio.all_tasks() - others if "qrbackends" in repr(task)} == set()
