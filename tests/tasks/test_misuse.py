"""A plain `with`, `for` or `await` where an async one belongs: it is said what to write instead."""

from datetime import UTC, datetime
from typing import Any

import pytest

from qrbackends import Account, Client, Instance, Monitor, SessionPool
from qrbackends.emulator import Emulator

CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/1:2::"


def client() -> Client:
    return Client(Account("no-such-key", instances=[Instance(CRN, url="http://127.0.0.1:1/api/v1")]))


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (client, "Client is opened by `async with`, .*with asyncio.Runner"),
        (SessionPool, "SessionPool is opened by `async with`"),
        (lambda: Monitor(client()), "Monitor is opened by `async with`"),
        (lambda: client().watch(), "Watch is opened by `async with`"),
        (lambda: Emulator(), "Emulator is opened by `async with`.*; ThreadedEmulator is opened by a plain"),
    ],
)
def test_a_plain_with(make: Any, hint: str) -> None:
    with pytest.raises(TypeError, match=hint), make():
        pass


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda: client().watch(), r"Watch is read by `async for change in client.watch\(…\)`, in an"),
        (lambda: client().snapshot(), r"by `await client.snapshot\(…\).collect\(\)`"),
        (
            lambda: client().history("ibm_boston", datetime(2026, 1, 1, tzinfo=UTC)),
            r"History is read by `async for one in .*, or by `await client.history\(…\).collect\(\)`",
        ),
    ],
)
async def test_a_plain_for_or_await(make: Any, hint: str) -> None:
    with pytest.raises(TypeError, match=hint):
        for _ in make():
            pass
    with pytest.raises(TypeError, match=hint):
        await make()
