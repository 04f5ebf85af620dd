"""What makes a store safe to use: a circuit in front of it, leases that are ended, errors that are caught."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from math import inf, nan
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest

from qrbackends.accounts.account import Instance
from qrbackends.accounts.scope import Scope
from qrbackends.cache.stores import seal, sealed
from qrbackends.cache.stores.seal import Stored
from qrbackends.cache.stores.sealed import Shared
from qrbackends.protocol.validators import NONE, Validators
from qrbackends.transport.body import Wire

from ...waiting import until

pytestmark = pytest.mark.anyio

LONG = 60.0  # seconds
NAME = "properties/ibm_a?x=1"
MINE = Scope("5c" * 32, Instance("crn:v1:bluemix:public:quantum-computing:us-east:a/1:2::"), b"k" * 32)


class Trouble:
    """A `Store` that does what a test wants."""

    timeout = 0.01

    def __init__(self) -> None:
        self.reads = self.writes = 0
        self.failing: set[str] = set()
        self.hanging = False

    async def _do(self, kind: str) -> None:
        if self.hanging:
            await anyio.sleep_forever()
        if kind in self.failing:
            raise OSError(28, "no room")

    async def get(self, scope: str, name: str) -> bytes | None:
        self.reads += 1
        await self._do("read")
        return None

    async def put(self, scope: str, name: str, value: bytes, ttl: float) -> bool:
        self.writes += 1
        await self._do("write")
        return True

    async def names(self, scope: str) -> Sequence[str]:
        await self._do("read")
        return ()

    async def delete(self, scope: str, names: Iterable[str]) -> None:
        await self._do("write")


async def written(shared: Shared) -> None:
    lease = await shared.lead(MINE, NAME)
    assert lease is not None
    await lease.put(Stored(Wire(b"body")), LONG)
    lease.release()


async def test_while_a_store_hangs_one_call_learns_it_and_the_others_do_not_wait(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, now = Trouble(), [1.8e9]
    shared = Shared(store, 2**20, lambda: now[0])
    store.hanging = True
    await shared.get(MINE, NAME)
    assert store.reads == 1
    for probes in (1, 2, 3):
        now[0] += 2
        for _ in range(100):
            await shared.get(MINE, NAME)
            await written(shared)
        await until(lambda known=1 + probes: shared.errors == known)  # type: ignore[misc]
        assert (store.reads, store.writes) == (1 + probes, 0), "one probe, in the background"
    assert caplog.messages == [
        "the shared cache cannot be used (no answer within 0.01 s); going on without it"
    ]
    store.hanging = False
    now[0] += 2
    await shared.get(MINE, NAME)
    await until(lambda: store.reads == 5)
    await written(shared)
    assert (store.writes, shared.writes) == (1, 1)


async def test_a_store_that_can_be_read_and_not_written_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "qrbackends.store")
    store, now = Trouble(), [1.8e9]
    shared = Shared(store, 2**20, lambda: now[0])
    store.failing = {"write"}
    for rounds in range(1, 6):
        await written(shared)
        assert store.writes == rounds
        now[0] += 2
        await shared.get(MINE, NAME)
        await until(lambda known=rounds: store.reads == known)  # type: ignore[misc]
        await shared.get(MINE, NAME)
        store.reads -= 1
    assert caplog.messages == ["the shared cache cannot be used (no room); going on without it"]
    store.failing = set()
    await written(shared)
    assert caplog.messages[1:] == ["the shared cache can be used again"]


async def test_a_probe_ends_with_the_client() -> None:
    store, now = Trouble(), [1.8e9]
    shared = Shared(store, 2**20, lambda: now[0])
    await shared.aclose()
    store.failing = {"read"}
    await shared.get(MINE, NAME)
    store.hanging = True
    store.timeout = LONG
    now[0] += 2
    tasks = asyncio.all_tasks()
    await shared.get(MINE, NAME)
    assert len(asyncio.all_tasks() - tasks) == 1
    await shared.aclose()
    assert asyncio.all_tasks() == tasks


class Leases(Trouble):
    """A `LeasingStore` with one lease at most."""

    def __init__(self) -> None:
        super().__init__()
        self.owner: str | None = None
        self.acquired = asyncio.Event()

    async def acquire(self, scope: str, name: str, owner: str, lease: float, *, force: bool = False) -> bool:
        self.owner = owner
        self.acquired.set()
        await self._do("acquire")
        return True

    async def renew(self, scope: str, name: str, owner: str, lease: float) -> bool:
        return self.owner == owner

    async def put(self, scope: str, name: str, value: bytes, ttl: float, owner: str | None = None) -> bool:
        await self._do("write")
        self.owner = None
        return True

    async def release(self, scope: str, name: str, owner: str) -> None:
        if "release" in self.failing:
            raise OSError(28, "no room")
        self.owner = None

    async def wait(self, scope: str, name: str, timeout: float) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("failing", [{"acquire"}, {"write"}, {"acquire", "release"}, {"write", "release"}])
async def test_a_lease_that_may_have_been_given_is_ended_although_the_store_just_failed(
    failing: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "_AGAIN", 0.001)
    store = Leases()
    shared = Shared(store, 2**20)
    store.failing = failing
    await written(shared)
    await until(lambda: shared.errors >= len(failing))
    store.failing = set()
    await until(lambda: store.owner is None)
    await shared.aclose()


async def test_a_lease_is_ended_however_often_its_owner_is_cancelled() -> None:
    store = Leases()
    store.timeout = LONG
    shared = Shared(store, 2**20)

    async def own() -> None:
        lease = await shared.lead(MINE, NAME)
        assert lease is not None
        try:
            await anyio.sleep_forever()
        finally:
            lease.release()

    for hanging in (False, True):
        store.hanging = hanging
        store.acquired.clear()
        task = asyncio.create_task(own())
        await store.acquired.wait()
        await anyio.lowlevel.checkpoint()
        for _ in range(5):
            task.cancel()
            await anyio.lowlevel.checkpoint()
        assert task.done()
        store.hanging = False
        await shared.aclose()
        assert store.owner is None


async def test_nothing_is_asked_of_a_store_for_a_lease_that_it_was_not_asked_for() -> None:
    store = Leases()
    shared = Shared(store, 2**20)
    store.failing = {"read"}
    await shared.get(MINE, NAME)
    before = asyncio.all_tasks()
    for _ in range(100):
        await written(shared)
    assert (asyncio.all_tasks(), store.writes, shared.errors) == (before, 0, 1)


class Hostile(Trouble):
    """A `LeasingStore` whose methods raise or return anything."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self._act = act

    async def _any(self, *_: Any, **__: Any) -> Any:
        return self._act()

    get = put = names = delete = acquire = renew = release = wait = _any


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise KeyError


def raising(error: BaseException) -> Callable[[], object]:
    def act() -> object:
        raise error

    return act


@pytest.mark.parametrize(
    "act",
    [
        *map(raising, (asyncio.CancelledError(), SystemExit(), KeyboardInterrupt(), GeneratorExit())),
        *map(raising, (BaseExceptionGroup("", [SystemExit()]), Unspeakable(), StopIteration())),
        *(lambda value=value: value for value in ("text", 17, {"a": 1}, [b"a", None], object())),
    ],
)
async def test_a_store_that_raises_or_returns_anything_is_one_that_has_nothing(
    act: Callable[[], object],
) -> None:
    shared = Shared(Hostile(act), 2**20)
    assert await shared.get(MINE, NAME) is None
    assert set(await shared.names(MINE)) <= {"a", *"text"}
    await shared.delete(MINE, [NAME])
    await shared.wait(MINE, NAME)
    await written(shared)
    await shared.renew(MINE, NAME, "a")
    await shared.aclose()


async def test_a_caller_who_is_cancelled_leaves_a_store_that_makes_another_error_of_it() -> None:
    class Swallowing(Trouble):
        async def get(self, scope: str, name: str) -> bytes | None:
            try:
                await anyio.sleep_forever()
            except BaseException:
                raise SystemExit from None
            return None

    store = Swallowing()
    store.timeout = LONG
    task = asyncio.create_task(Shared(store, 2**20).get(MINE, NAME))
    await anyio.wait_all_tasks_blocked()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# --- values of another version of this package, under a valid seal


class Holding(Trouble):
    """A `Store` that has one value."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.content = content

    async def get(self, scope: str, name: str) -> bytes | None:
        return b"qrb2" + seal._tag(MINE.key, MINE.id, name, self.content) + self.content


def stored(
    fetched_at: Any = 1.8e9, wire: Any = (b"{}", "", b""), validators: Any = ("", ""), *rest: Any
) -> bytes:
    return msgspec.msgpack.encode((fetched_at, wire, validators, *(rest or (0,))))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xc1",
        b"\x91" * 5000,
        msgspec.msgpack.encode({"wire": b"{}"}),
        msgspec.msgpack.encode((1.8e9, (b"{}", "", b""))),
        stored("now"),
        stored(nan),
        stored(inf),
        stored(1.8e9, b"{}"),
        stored(1.8e9, (b"{}", None, b"")),
        stored(1.8e9, (b"{}", "", b""), None),
        stored(1.8e9, (b"{}", "", b""), (1, 2)),
        stored(1.8e9, (b"{}", "", b""), ("", "", "")),
        stored(1.8e9, (b"{}", "", b""), ("x", "")).replace(b"\xa1x", b"\xa1\xff"),
        stored(1.8e9, (b"{}", "", b""), ("", ""), "0"),
        stored(1.8e9, (b"{}", "", b""), ("", ""), nan),  # no count would ever be reached
        stored(1.8e9, (b"{}", "", b""), ("", ""), -inf),
        stored(1.8e9, (b"{}", "", b""), ("", ""), -1),
        stored(1.8e9, (b"{}", "", b""), ("", ""), 0, "no"),
    ],
)
async def test_what_cannot_be_read_is_a_miss(content: bytes) -> None:
    shared = Shared(Holding(content), 2**20, lambda: 1.8e9)
    assert await shared.get(MINE, NAME) is None
    assert (shared.hits, shared.rejected, shared.errors) == (0, 1, 0)


@pytest.mark.parametrize(
    ("validators", "used"),
    [
        (('"a"', ""), Validators('"a"')),
        (('"a"\r\nX: y', ""), NONE),
        (("a", "Thu, 26 Nov 2026 12:00:00 GMT"), Validators("", "Thu, 26 Nov 2026 12:00:00 GMT")),
        (('"' + "x" * 9000 + '"', "Thu, 26 Nov 2026 12:00:00 GMT\r\nX: y"), NONE),
        (('"\u20ac"', "soon"), NONE),
        ((), NONE),
    ],
)
async def test_validators_that_may_not_be_sent_are_left_out(validators: Any, used: Validators) -> None:
    shared = Shared(
        Holding(stored(1.8e9, (b"{}", "", b""), validators, inf, False, "new")), 2**20, lambda: 1.8e9
    )
    assert await shared.get(MINE, NAME) == Stored(Wire(b"{}"), 0.0, used, inf)
