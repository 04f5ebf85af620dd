"""The client where no event loop of asyncio runs: under trio, outside any loop, and stepped by hand."""

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio

from qrbackends import (
    Account,
    Client,
    FileStore,
    Instance,
    Monitor,
    RedisStore,
    Request,
    SessionPool,
    WrongEventLoop,
)
from qrbackends.analysis.archive import Archive
from qrbackends.emulator import Emulator, SyntheticFleet
from qrbackends.interop.qiskit import target

CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/0123456789abcdef:11111111-2222-3333::"
NAMED = Account(token="a-marked-token", instances=[Instance(CRN, url="http://127.0.0.1:9/api/v1")])
SEARCHED = Account(api_key="a-marked-key", iam_url="http://127.0.0.1:9")
SINCE = datetime(2026, 11, 1, tzinfo=UTC)

Call = Callable[[Client, Path], Awaitable[Any]]


async def first_of(items: Any) -> Any:
    return await anext(aiter(items))


CALLS: dict[str, Call] = {
    "backends": lambda client, _: client.backends(),
    "configuration": lambda client, _: client.configuration("alpha", timeout=1),
    "properties": lambda client, _: client.properties("alpha"),
    "status": lambda client, _: client.status("alpha"),
    "defaults": lambda client, _: client.defaults("alpha"),
    "fetch": lambda client, _: client.fetch(Request("status", "alpha"), timeout=1),
    "invalidate": lambda client, _: client.invalidate(),
    "instances": lambda client, _: client.instances(timeout=1),
    "least_busy": lambda client, _: client.least_busy(timeout=1),
    "rank": lambda client, _: client.rank(),
    "snapshot": lambda client, _: first_of(client.snapshot()),
    "collect": lambda client, _: client.snapshot().collect(),
    "watch": lambda client, _: first_of(client.watch()),
    "wait_for": lambda client, _: client.wait_for("alpha", lambda _: True, timeout=1),
    "wait_for_recalibration": lambda client, _: client.wait_for_recalibration("alpha", timeout=1),
    "history": lambda client, _: first_of(client.history("alpha", SINCE, SINCE + timedelta(days=1))),
    "async with client": lambda client, _: client.__aenter__(),
    "closing": lambda client, _: client.aclose(),
    "pool": lambda *_: SessionPool().__aenter__(),
    "closing a pool": lambda *_: SessionPool().aclose(),
    "monitor": lambda client, _: Monitor(client).__aenter__(),
    "closing a monitor": lambda client, _: Monitor(client).aclose(),
    "file": lambda _, folder: FileStore(folder / "answers.sqlite").get("s", "n"),
    "closing a file": lambda _, folder: FileStore(folder / "answers.sqlite").aclose(),
    "redis": lambda *_: RedisStore("redis://127.0.0.1:9").get("s", "n"),
    "waiting in redis": lambda *_: RedisStore("redis://127.0.0.1:9").wait("s", "n", 1),
    "closing redis": lambda *_: RedisStore("redis://127.0.0.1:9").aclose(),
    "emulator": lambda *_: Emulator(SyntheticFleet({"alpha": 5})).__aenter__(),
    "archive": lambda client, folder: Archive(folder / "archive").sync(client, since=SINCE),
    "named archive": lambda client, folder: Archive(folder / "archive").sync(client, ["alpha"], since=SINCE),
    "target": lambda client, _: target(client, "alpha"),
}


def by_trio(call: Callable[[], Awaitable[Any]]) -> Any:
    return trio.run(call)


def by_anyio(call: Callable[[], Awaitable[Any]]) -> Any:
    with ThreadPoolExecutor(1) as elsewhere:  # in this thread, anyio's runner of the tests may be open
        return elsewhere.submit(lambda: anyio.run(call, backend="trio")).result()


def by_hand(call: Callable[[], Awaitable[Any]]) -> Any:
    return next(call().__await__())


@pytest.mark.parametrize("account", [NAMED, SEARCHED], ids=["named", "searched"])
@pytest.mark.parametrize("run", [by_trio, by_anyio, by_hand])
@pytest.mark.parametrize("name", CALLS)
def test_everything_that_is_awaited_says_what_to_do(
    name: str, run: Callable[[Callable[[], Awaitable[Any]]], Any], account: Account, tmp_path: Path
) -> None:
    client = Client(account)  # made outside any loop

    async def call() -> Any:
        return await CALLS[name](client, tmp_path)

    with pytest.raises(WrongEventLoop, match=r"no event loop of asyncio runs here.*asyncio\.run") as caught:
        run(call)
    assert caught.value.final
    assert client.stats().properties.misses == 0
