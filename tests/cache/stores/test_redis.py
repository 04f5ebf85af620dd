"""The shared tier in Redis, against a real server that is killed, filled up, locked and fed with rubbish."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from qrbackends.accounts.account import Instance
from qrbackends.accounts.scope import Scope
from qrbackends.cache.stores.base import LeasingStore, Store
from qrbackends.cache.stores.redis import RedisStore
from qrbackends.cache.stores.seal import Stored
from qrbackends.cache.stores.sealed import Shared
from qrbackends.messages.extras import install
from qrbackends.testing import LeasingStoreContract, StoreClock
from qrbackends.transport.body import Wire

from ...internals import connections, connections_in_use
from ...redis_server import PATIENT, RedisServer, running
from ...waiting import until

pytestmark = pytest.mark.anyio

SCOPE, OTHER = "5c" * 32, "07" * 32
NAME = "properties/ibm_a?x=1"
VALUE, LEASE, NAMES = (f"qrbackends:2:{{{SCOPE}}}:{end}" for end in (f"v:{NAME}", f"l:{NAME}", "n"))
LONG = 60.0  # seconds; of everything that is not to end by itself while a test runs
INSTANCE = Instance("crn:v1:bluemix:public:quantum-computing:us-east:a/1:2::")
MINE = Scope(SCOPE, INSTANCE, b"k" * 32)
SOMEBODYS = Scope(SCOPE, INSTANCE, b"x" * 32)


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that a test may kill."""
    with running() as started:
        yield started


@pytest.fixture
async def another(server: RedisServer, redis: Redis) -> AsyncIterator[RedisStore]:
    """The same place, seen by another worker."""
    async with RedisStore(server.url, timeout=PATIENT) as opened:
        yield opened


async def fill(store: LeasingStore, value: bytes = b"a", name: str = NAME) -> None:
    assert await store.acquire(SCOPE, name, "filler", LONG)
    assert await store.put(SCOPE, name, value, LONG, "filler")


async def waiters(redis: Redis, store: RedisStore, *, names: int = 1) -> list[asyncio.Task[None]]:
    """Begin to wait, twice for each name, and return when the server knows."""
    places = [NAME, *(f"{NAME}{number}" for number in range(1, names))]
    waiting = [asyncio.create_task(store.wait(SCOPE, name, LONG)) for name in places * 2]
    with anyio.fail_after(PATIENT):
        while len(await redis.pubsub_channels()) < names:
            await anyio.lowlevel.checkpoint()
    assert not any(task.done() for task in waiting)
    return waiting


async def all_end(tasks: list[asyncio.Task[Any]]) -> None:
    with anyio.fail_after(PATIENT):
        await asyncio.gather(*tasks)


async def keys_in(redis: Redis) -> list[str]:
    return [str(key, "ascii") for key in await redis.keys() if isinstance(key, bytes)]


async def raw(redis: Redis, key: str) -> bytes:
    value = await redis.get(key)
    assert isinstance(value, bytes)
    return value


async def outlasts(redis: Redis, key: str, other: str) -> bool:
    """Whether a key ends no earlier than another one, by the server's clock at one instant."""
    script = (
        "local a, b = redis.call('PTTL', KEYS[1]), redis.call('PTTL', KEYS[2]); return b > 0 and a - b or -1"
    )
    return int(await redis.eval(script, 2, key, other)) >= 0


# --- values and leases


class TestRedisStore(LeasingStoreContract):
    @pytest.fixture
    def make_store(self, server: RedisServer, redis: Redis) -> Callable[[], RedisStore]:
        return lambda: RedisStore(server.url, timeout=PATIENT)

    @pytest.fixture
    def spoil(self, redis: Redis) -> Callable[[str, str], Awaitable[object]]:
        async def spoil(scope: str, name: str) -> None:
            key = f"qrbackends:2:{{{scope}}}:v:{name}"
            await redis.delete(key)
            await redis.rpush(key, "x")

        return spoil


async def test_it_is_a_store_with_leases(store: RedisStore) -> None:
    kept: Store = store
    assert kept.timeout == PATIENT
    assert isinstance(kept, LeasingStore)


async def test_a_value_ends_after_its_time(store: RedisStore, redis: Redis) -> None:
    assert await store.acquire(SCOPE, NAME, "a", LONG)
    assert await store.put(SCOPE, NAME, b"v", 4321.0, "a")
    assert 0 < await redis.pttl(VALUE) <= 4_321_000
    assert await store.acquire(SCOPE, NAME, "a", LONG)
    assert await store.put(SCOPE, NAME, b"v", 0.0, "a"), "the least time there is"


@pytest.mark.parametrize("count", [300, pytest.param(3000, marks=pytest.mark.long)])
async def test_many_names_are_deleted_at_once(store: RedisStore, redis: Redis, count: int) -> None:
    names = [f"{number}" for number in range(count)]
    await asyncio.gather(*(fill(store, name=name) for name in names))
    assert sorted(await store.names(SCOPE)) == sorted(names)
    await store.delete(SCOPE, names)
    assert await redis.keys() == []


# --- names


async def test_names_that_have_ended_take_no_place(store: RedisStore, redis: Redis) -> None:
    await fill(store, name="lasting")
    for number in range(20):
        assert await store.acquire(SCOPE, f"short {number}", "a", 0.001)
    assert await store.acquire(SCOPE, "last", "a", 0.001)
    await store.wait(SCOPE, "last", LONG)
    with anyio.fail_after(PATIENT):
        while await store.names(SCOPE) != ["lasting"]:
            await anyio.lowlevel.checkpoint()
    await fill(store, name="next")
    assert sorted(await redis.zrange(NAMES, 0, -1)) == [b"lasting", b"next"]


async def test_a_short_lease_does_not_end_the_name_of_a_value(store: RedisStore, redis: Redis) -> None:
    await fill(store)
    before = await redis.zscore(NAMES, NAME)
    assert await store.acquire(SCOPE, NAME, "a", 0.001)
    await store.wait(SCOPE, NAME, LONG)
    assert await redis.zscore(NAMES, NAME) == before
    assert await store.names(SCOPE) == [NAME]


async def test_the_names_last_as_long_as_what_they_name(store: RedisStore, redis: Redis) -> None:
    await store.acquire(SCOPE, NAME, "a", LONG)
    assert await outlasts(redis, NAMES, LEASE)
    await store.renew(SCOPE, NAME, "a", 2 * LONG)
    assert await outlasts(redis, NAMES, LEASE)
    await store.put(SCOPE, NAME, b"v", 10 * LONG, "a")
    assert await outlasts(redis, NAMES, VALUE)
    await fill(store, name="shorter")
    assert await outlasts(redis, NAMES, VALUE)
    assert all([await redis.ttl(key) > 0 for key in await redis.keys()])


async def test_keys_have_the_prefix_and_one_slot_for_each_scope(server: RedisServer, redis: Redis) -> None:
    async with RedisStore(server.url, prefix="theirs", timeout=PATIENT) as store:
        await fill(store)
        await store.acquire(SCOPE, NAME, "a", LONG)
        keys = await keys_in(redis)
        assert sorted(keys) == sorted(key.replace("qrbackends", "theirs", 1) for key in (VALUE, LEASE, NAMES))
    async with RedisStore(server.url, timeout=PATIENT) as store:
        assert await store.get(SCOPE, NAME) is None
    assert {key.partition("{")[2].partition("}")[0] for key in keys} == {SCOPE}


# --- waiting


async def test_a_leader_that_renewed_is_waited_for(
    store: RedisStore, another: RedisStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.acquire(SCOPE, NAME, "a", LONG)
    asked = 0
    evaluate: Callable[..., Awaitable[Any]] = Redis.eval

    async def renewed_meanwhile(*arguments: Any) -> Any:
        """Tell the first ones that ask of the little time that was left before the lease was renewed."""
        nonlocal asked
        asked += 1
        early = asked <= 4  # before the other one that waits asks, too
        left = await evaluate(*arguments)
        return 0 if early else left

    monkeypatch.setattr(Redis, "eval", renewed_meanwhile)
    waiting = await waiters(redis, another)
    await until(lambda: asked == 6)
    await anyio.wait_all_tasks_blocked()
    assert not any(task.done() for task in waiting)
    await store.release(SCOPE, NAME, "a")
    await all_end(waiting)


async def test_all_who_wait_share_a_connection_until_nobody_waits(
    store: RedisStore, another: RedisStore, redis: Redis
) -> None:
    tasks = asyncio.all_tasks()
    names = [NAME, *(f"{NAME}{number}" for number in range(1, 50))]
    for name in names:
        await store.acquire(SCOPE, name, "a", LONG)
    waiting = await waiters(redis, another, names=50)
    subscribed = [client for client in await redis.client_list() if int(client["sub"])]
    assert [client["sub"] for client in subscribed] == ["50"]
    for task in waiting[:20]:
        task.cancel()
    await asyncio.wait(waiting[:20])
    for name in names:
        await store.release(SCOPE, name, "a")
    await all_end(waiting[20:])
    with anyio.fail_after(PATIENT):
        while await redis.pubsub_channels():
            await anyio.lowlevel.checkpoint()
    await until(lambda: asyncio.all_tasks() <= tasks)
    assert connections_in_use(another) == 0


async def test_nobody_polls_while_waiting(store: RedisStore, another: RedisStore, redis: Redis) -> None:
    await store.acquire(SCOPE, NAME, "a", LONG)
    waiting = await waiters(redis, another)
    await redis.config_resetstat()
    for _ in range(50):
        await redis.ping()
    assert (await redis.info("commandstats")).get("cmdstat_eval", {}).get("calls", 0) <= len(waiting)
    await store.release(SCOPE, NAME, "a")
    await all_end(waiting)


# --- what others left there


Plant = Callable[[Redis, str], Awaitable[object]]
RUBBISH: dict[str, Plant] = {
    "list": lambda redis, key: redis.rpush(key, "x"),
    "hash": lambda redis, key: redis.hset(key, "x", "y"),
    "set": lambda redis, key: redis.sadd(key, "x"),
    "sorted set": lambda redis, key: redis.zadd(key, {b"\xff\xfe": 1e15}),
    "stream": lambda redis, key: redis.xadd(key, {"x": "y"}),
    "text": lambda redis, key: redis.set(key, b"\xff"),
}


@pytest.mark.parametrize("plant", RUBBISH.values(), ids=RUBBISH)
@pytest.mark.parametrize("ttl", [None, 3600])
async def test_rubbish_is_nobodys_and_is_overwritten(
    store: RedisStore, redis: Redis, plant: Plant, ttl: int | None
) -> None:
    for key in (VALUE, LEASE, NAMES):
        await plant(redis, key)
        if ttl is not None and plant is not RUBBISH["text"]:  # that would be a lease
            await redis.expire(key, ttl)
    with anyio.fail_after(PATIENT):
        await store.wait(SCOPE, NAME, LONG)
    assert await store.get(SCOPE, NAME) in (None, b"\xff")
    assert await store.names(SCOPE) == []
    assert not await store.renew(SCOPE, NAME, "a", LONG)
    assert not await store.put(SCOPE, NAME, b"v", LONG, "a")
    await store.release(SCOPE, NAME, "a")
    assert await redis.type(LEASE) != b"none", "what is nobody's is not released"
    assert await store.acquire(SCOPE, NAME, "a", LONG)
    assert await store.names(SCOPE) == [NAME]
    await redis.delete(NAMES)
    await plant(redis, NAMES)
    assert await store.renew(SCOPE, NAME, "a", LONG)
    assert await store.put(SCOPE, NAME, b"v", LONG, "a")
    assert await store.get(SCOPE, NAME) == b"v"
    assert await store.names(SCOPE) == [NAME]
    assert await redis.ttl(NAMES) > 0
    await store.delete(SCOPE, [NAME])
    assert await redis.exists(VALUE, LEASE) == 0


@pytest.mark.parametrize("plant", RUBBISH.values(), ids=RUBBISH)
async def test_rubbish_is_deleted(store: RedisStore, redis: Redis, plant: Plant) -> None:
    for key in (VALUE, LEASE, NAMES):
        await plant(redis, key)
    await store.delete(SCOPE, [NAME])
    assert await redis.exists(VALUE, LEASE) == 0


# --- trouble


async def fails(operations: list[Callable[[], Awaitable[object]]], expected: type[Exception]) -> list[str]:
    """Check that all of them fail as they should, and return what they say."""
    texts = []
    for operation in operations:
        with pytest.raises(expected) as caught:
            await operation()
        error = caught.value
        assert error.__cause__ is None
        assert error.__context__ is None, "redis' error may tell what was sent"
        texts.append(f"{error!r} {error}")
    return texts


def everything(store: RedisStore) -> list[Callable[[], Awaitable[object]]]:
    return [
        lambda: store.get(SCOPE, NAME),
        lambda: store.acquire(SCOPE, NAME, "a", LONG),
        lambda: store.acquire(SCOPE, NAME, "a", LONG, force=True),
        lambda: store.renew(SCOPE, NAME, "a", LONG),
        lambda: store.put(SCOPE, NAME, b"v", LONG, "a"),
        lambda: store.release(SCOPE, NAME, "a"),
        lambda: store.wait(SCOPE, NAME, LONG),
        lambda: store.names(SCOPE),
        lambda: store.delete(SCOPE, [NAME]),
    ]


async def test_a_full_server_refuses_and_keeps_nobody_waiting(
    own_server: RedisServer,
) -> None:
    async with (
        RedisStore(own_server.url, timeout=PATIENT) as store,
        Redis.from_url(own_server.url, protocol=2) as redis,
    ):
        await fill(store, b"old")
        assert await store.acquire(SCOPE, NAME, "a", LONG)
        waiting = await waiters(redis, store)
        await redis.config_set("maxmemory-policy", "noeviction")
        await redis.config_set("maxmemory", 1)
        with pytest.raises(RuntimeError, match=r"OutOfMemoryError|OOM"):
            await store.put(SCOPE, NAME, b"new", LONG, "a")
        await all_end(waiting)
        with pytest.raises(RuntimeError, match=r"OutOfMemoryError|OOM"):
            await store.acquire(SCOPE, NAME, "b", LONG)
        assert await store.get(SCOPE, NAME) == b"old"
        await store.delete(SCOPE, [NAME])
        assert await store.get(SCOPE, NAME) is None
        await redis.config_set("maxmemory", 0)
        await fill(store)


async def test_a_server_that_was_killed_is_used_again_when_it_is_back(own_server: RedisServer) -> None:
    async with RedisStore(own_server.url, timeout=PATIENT) as store:
        await asyncio.gather(*(fill(store, name=f"{n}") for n in range(20)))  # with several connections
        own_server.kill()
        texts = await fails(everything(store), ConnectionError)
        assert not any(own_server.url in text for text in texts)
        own_server.start()
        assert await store.get(SCOPE, NAME) is None
        await asyncio.gather(*(fill(store, name=f"{n}") for n in range(20)))
        await store.wait(SCOPE, NAME, LONG)
    assert connections_in_use(store) == 0


async def test_who_waits_when_the_server_is_killed_is_told(own_server: RedisServer) -> None:
    async with (
        RedisStore(own_server.url, timeout=PATIENT) as store,
        Redis.from_url(own_server.url, protocol=2) as redis,
    ):
        for name in (NAME, f"{NAME}1"):
            await store.acquire(SCOPE, name, "a", LONG)
        waiting = await waiters(redis, store, names=2)
        own_server.kill()
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(outcome, ConnectionError)
        own_server.start()
        await store.acquire(SCOPE, NAME, "a", 0.05)
        await store.wait(SCOPE, NAME, LONG)


async def test_a_server_that_hangs_ends_at_the_timeout(own_server: RedisServer) -> None:
    async with RedisStore(own_server.url, timeout=0.02) as store:
        own_server.freeze()
        try:
            await fails(everything(store)[:1], OSError)
            await asyncio.gather(*(fails(everything(store), OSError) for _ in range(3)))
        finally:
            own_server.thaw()
        assert connections_in_use(store) == 0
    async with RedisStore(own_server.url, timeout=PATIENT) as store:
        await fill(store)


async def test_a_server_that_is_loading_does_not_answer_yet(own_server: RedisServer) -> None:
    loading = await asyncio.start_server(always(b"-LOADING Redis is loading\r\n"), "127.0.0.1", 0)
    async with loading, RedisStore(address(loading), timeout=PATIENT) as store:
        await fails(everything(store), ConnectionError)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"-ERR unknown command 'AUTH', with args beginning with: 'a-marked-password'\r\n",
        b"-ERR\r\n",
        b"-MISCONF a-marked-password\r\n",
        b"-READONLY a-marked-password\r\n",
        b"-MOVED 1 127.0.0.1:1\r\n",
        b"-LOADING a-marked-password\r\n",
        b"+a-marked-password\r\n",
        b"*100000\r\n",
        b":1a\r\n",
        b"\xff\xfe\r\n",
        b"",
    ],
)
async def test_no_answer_is_quoted_in_an_error(answer: bytes) -> None:
    strange = await asyncio.start_server(always(answer), "127.0.0.1", 0)
    url = address(strange).replace("//", "//user:a-marked-password@")
    async with strange, RedisStore(url, timeout=5.0 if answer[:1] != b"*" else 0.05) as store:
        for operation in everything(store)[:2]:
            with pytest.raises((OSError, RuntimeError)) as caught:
                await operation()
            assert caught.value.__context__ is None or not answer
            assert "marked" not in f"{caught.value!r} {caught.value}"


def always(answer: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(100_000):
                writer.write(answer * 3)
                if not answer:
                    break
        except ConnectionError:
            pass
        finally:
            writer.close()

    return answering


def address(listening: asyncio.Server) -> str:
    return f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("login", ["", ":a-marked-guess@", "marked-user:a-marked-guess@"])
async def test_a_wrong_password_is_an_error_without_the_password(login: str) -> None:
    with running("--requirepass", "a-marked-password") as server:
        async with RedisStore(f"redis://{login}{server.address}", timeout=PATIENT) as store:
            assert "marked" not in repr(store)
            for text in await fails(everything(store), RuntimeError):
                assert "marked" not in text
                assert server.address not in text
        async with RedisStore(f"redis://:a-marked-password@{server.address}/1", timeout=PATIENT) as store:
            assert "marked" not in repr(store)
            await fill(store)
            assert await store.get(SCOPE, NAME) == b"a"


async def test_a_user_with_few_rights_is_told_of_them(server: RedisServer, redis: Redis) -> None:
    rule = ("on", ">p", "~*", "+@all", "resetchannels")
    await redis.execute_command("ACL", "SETUSER", "few", *rule)  # type: ignore[no-untyped-call]
    async with RedisStore(f"redis://few:p@{server.address}", timeout=PATIENT) as store:
        await store.acquire(SCOPE, NAME, "a", LONG)
        with pytest.raises(RuntimeError, match="NoPermissionError"):
            await store.wait(SCOPE, NAME, LONG)
    await redis.acl_deluser("few")


# --- cancelling and closing


async def cancelled_everywhere(
    server: RedisServer, redis: Redis, operation: Callable[[RedisStore], Awaitable[object]], *, cold: bool
) -> None:
    """Cancel an operation at each step that the event loop makes of it."""
    async with RedisStore(server.url, timeout=PATIENT) as store:
        await fill(store, b"the value")
        for steps in range(100):  # more than connecting and asking take
            await store.acquire(SCOPE, "led", "a", LONG)
            if cold:
                await connections(store).disconnect()
            task = asyncio.ensure_future(operation(store))
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            if task.done():
                return
            task.cancel()
            await asyncio.wait([task])
            assert connections_in_use(store) <= 1, "the listener, while it stops"
            assert await store.get(SCOPE, NAME) == b"the value", "not the answer to something else"
            assert NAME in await store.names(SCOPE)


OPERATIONS: dict[str, Callable[[RedisStore], Awaitable[object]]] = {
    "get": lambda store: store.get(SCOPE, NAME),
    "acquire": lambda store: store.acquire(SCOPE, "led", "b", LONG),
    "renew": lambda store: store.renew(SCOPE, "led", "a", LONG),
    "put": lambda store: store.put(SCOPE, "led", b"v", LONG, "a"),
    "release": lambda store: store.release(SCOPE, "led", "a"),
    "wait": lambda store: store.wait(SCOPE, "led", LONG),
    "wait for nobody": lambda store: store.wait(SCOPE, "free", LONG),
    "names": lambda store: store.names(SCOPE),
    "delete": lambda store: store.delete(SCOPE, ["led"]),
}


@pytest.mark.parametrize("cold", [False, True], ids=["connected", "connecting"])
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
async def test_a_cancelled_operation_breaks_nothing(
    server: RedisServer, redis: Redis, operation: Callable[[RedisStore], Awaitable[object]], cold: bool
) -> None:
    await cancelled_everywhere(server, redis, operation, cold=cold)


async def test_one_that_waits_and_is_cancelled_does_not_take_the_others_along(
    store: RedisStore, another: RedisStore, redis: Redis
) -> None:
    await store.acquire(SCOPE, NAME, "a", LONG)
    for steps in range(30):
        tasks = [asyncio.create_task(another.wait(SCOPE, NAME, LONG)) for _ in range(3)]
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        tasks[0].cancel()
        if steps == 29:
            await store.release(SCOPE, NAME, "a")
            await all_end(tasks[1:])
            break
        await anyio.lowlevel.checkpoint()
        assert not any(task.done() for task in tasks[1:])
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_many_more_than_there_are_connections_wait_for_their_turn(
    store: RedisStore, redis: Redis
) -> None:
    await fill(store)
    assert await asyncio.gather(*(store.get(SCOPE, NAME) for _ in range(500))) == [b"a"] * 500
    assert len(await redis.client_list()) <= 32 + 2


async def test_a_closed_store_is_closed(server: RedisServer, redis: Redis) -> None:
    store = RedisStore(server.url, timeout=PATIENT)
    await fill(store)
    await store.acquire(SCOPE, NAME, "a", LONG)
    waiting = await waiters(redis, store)
    reading = [asyncio.create_task(store.get(SCOPE, NAME)) for _ in range(100)]
    await anyio.lowlevel.checkpoint()
    closing = asyncio.create_task(store.aclose())
    await anyio.lowlevel.checkpoint()
    closing.cancel()
    await asyncio.wait([closing])
    await store.aclose()
    await store.aclose()
    outcomes = await asyncio.gather(*waiting, *reading, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes[: len(waiting)]} == {RuntimeError}
    assert {type(outcome) for outcome in outcomes} <= {bytes, RuntimeError}
    await fails(everything(store), RuntimeError)
    with anyio.fail_after(PATIENT):
        while len(await redis.client_list()) > 1:
            await anyio.lowlevel.checkpoint()


async def test_closing_a_store_that_was_never_used_or_has_no_server_is_quiet() -> None:
    async with RedisStore("redis://127.0.0.1:1"):
        pass
    async with RedisStore("redis://127.0.0.1:1", timeout=PATIENT) as store:
        await fails(everything(store), ConnectionError)


# --- making one


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a-marked-password",
        "http://:a-marked-password@localhost",
        "redis://:a-marked-password@localhost:port",
        "redis://localhost:a-marked-password",
        "redis://[a-marked-password",
        "redis://localhost?a-marked-password=1",
        "redis://localhost?db=a-marked-password",
        "unix://?password=a-marked-password&health_check_interval=a-marked-password",
        None,
        7,
    ],
)
def test_an_address_that_is_none_is_not_quoted(url: object) -> None:
    with pytest.raises(ValueError, match=r"url has to be redis://host:port/database") as caught:
        RedisStore(url)  # type: ignore[arg-type]
    assert "marked" not in f"{caught.value!r} {caught.value}"
    assert caught.value.__context__ is None


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "1", None])
def test_a_timeout_has_to_be_positive(timeout: object) -> None:
    with pytest.raises(ValueError, match="timeout has to be a number of seconds greater than zero"):
        RedisStore("redis://localhost", timeout=timeout)  # type: ignore[arg-type]


@pytest.mark.parametrize("prefix", ["", "a\n", "é"])
def test_a_prefix_has_to_be_printable(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix has to be printable ASCII"):
        RedisStore("redis://localhost", prefix=prefix)


def test_options_in_the_address_do_not_change_what_it_relies_on() -> None:
    url = "rediss://u:a-marked-password@h:1/2?decode_responses=yes&protocol=3&retry_on_timeout=yes&ssl_ca_certs=x"
    store = RedisStore(url, timeout=2)
    assert repr(store) == "RedisStore(timeout=2, prefix='qrbackends')"
    options = connections(store).connection_kwargs
    assert (options["decode_responses"], options["protocol"], options["retry_on_timeout"]) == (
        False,
        2,
        False,
    )
    assert (options["host"], options["port"], options["db"], options["ssl_ca_certs"]) == ("h", 1, 2, "x")


def test_without_the_package_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['redis'] = None; import qrbackends.cache.stores.redis as r\n"
        "try: r.RedisStore('redis://localhost')\n"
        "except ImportError as error: print(error)"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert outcome.stdout == f"RedisStore needs the package redis: {install(['redis'])}\n"
    assert outcome.stderr == ""


def test_importing_it_does_not_import_redis() -> None:
    code = "import sys, qrbackends.cache.stores.redis; print('redis' in sys.modules)"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (outcome.stdout, outcome.stderr) == ("False\n", "")


# --- with `Shared` on top


async def share(shared: Shared, body: bytes, scope: Scope = MINE, name: str = NAME) -> None:
    lease = await shared.lead(scope, name)
    assert lease is not None
    await lease.put(Stored(Wire(body)), LONG)


@pytest.mark.parametrize("body", [b"", b"{}", b"b" * 1000, bytes(range(256)) * 4096])
async def test_an_answer_goes_through_redis(store: RedisStore, another: RedisStore, body: bytes) -> None:
    clock = StoreClock()
    await share(Shared(store, 2**21, clock), body)
    clock.now += 12
    reader = Shared(another, 2**21, clock)
    stored = await reader.get(MINE, NAME)
    assert stored is not None
    assert (stored.wire.plain(2**21), stored.age) == (body, 12.0)
    assert reader.stats().hits == 1


async def test_an_answer_of_somebody_without_the_key_is_a_miss(
    store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    await share(Shared(store, 2**20), b"planted", SOMEBODYS)
    reader = Shared(store, 2**20)
    for _ in range(3):
        assert await reader.get(MINE, NAME) is None
    assert (reader.hits, reader.rejected) == (0, 3)
    assert len([record for record in caplog.records if "not one of ours" in record.message]) == 1
    await share(reader, b"mine")
    stored = await reader.get(MINE, NAME)
    assert stored is not None
    assert stored.wire.data == b"mine"


async def test_a_list_in_the_place_of_an_answer_is_a_miss(store: RedisStore, redis: Redis) -> None:
    await redis.rpush(VALUE, "x")
    shared = Shared(store, 2**20)
    assert await shared.get(MINE, NAME) is None
    assert (shared.misses, shared.rejected, shared.errors) == (1, 0, 0)


@settings(max_examples=50)
@given(st.one_of(st.binary(max_size=100), st.integers(0, 1000)))
def test_damaged_answers_are_misses(server: RedisServer, damage: bytes | int) -> None:
    async def damaged() -> None:
        async with (
            RedisStore(server.url, timeout=PATIENT) as store,
            Redis.from_url(server.url, protocol=2) as redis,
        ):
            await redis.flushall()
            shared = Shared(store, 2**20)
            await share(shared, b"0123456789" * 10)
            sealed = await raw(redis, VALUE)
            await redis.set(VALUE, damage if isinstance(damage, bytes) else sealed[: damage % len(sealed)])
            assert await shared.get(MINE, NAME) is None
            assert (shared.rejected, shared.errors) == (1, 0)

    asyncio.run(damaged())


async def defaults(shared: Shared) -> None:
    """Check that all of it gives in, and nothing fails."""
    assert await shared.get(MINE, NAME) is None
    await shared.wait(MINE, NAME)
    assert await shared.names(MINE) == []
    await shared.delete(MINE, [NAME])
    lease = await shared.lead(MINE, NAME)
    assert lease is not None, "everybody leads"
    await lease.put(Stored(Wire(b"body")), LONG)
    lease.release()
    assert await shared.renew(MINE, NAME, "a")
    await shared.put(MINE, NAME, "a", Stored(Wire(b"body")), LONG)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


async def test_without_the_server_everything_goes_on_and_one_warning_is_logged(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    clock = StoreClock()
    caplog.set_level(logging.INFO, "qrbackends.store")
    async with RedisStore(own_server.url, timeout=PATIENT) as store:
        shared = Shared(store, 2**20, clock)
        await share(shared, b"body")
        for outages in (1, 2):
            own_server.kill()
            for errors in range(3 * outages - 2, 3 * outages + 1):
                await defaults(shared)
                with anyio.fail_after(PATIENT):
                    while shared.errors < errors:  # it is tried in the background
                        await anyio.lowlevel.checkpoint()
                clock.now += 2
            problem = "Redis does not answer (ConnectionError)"
            message = f"the shared cache cannot be used ({problem}); going on without it"
            assert warnings(caplog) == [message]
            assert shared.errors == 3 * outages, "one attempt after each pause"
            own_server.start()
            await share(shared, b"not stored, and in the background the server is tried")
            await until(lambda: "the shared cache can be used again" in caplog.messages)
            caplog.clear()
            await share(shared, b"again")
            stored = await shared.get(MINE, NAME)
            assert stored is not None
            assert stored.wire.data == b"again"
    assert shared.writes == 3


async def test_a_refusal_is_told_once(own_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        RedisStore(own_server.url, timeout=PATIENT) as store,
        Redis.from_url(own_server.url, protocol=2) as redis,
    ):
        await redis.config_set("maxmemory-policy", "noeviction")
        await redis.config_set("maxmemory", 1)
        shared = Shared(store, 2**20)
        for _ in range(3):
            lease = await shared.lead(MINE, NAME)
            assert lease is not None
            await lease.put(Stored(Wire(b"body")), LONG)
        assert shared.errors == 3
        (told,) = warnings(caplog)
        assert "RuntimeError: Redis refused the operation" in told


async def test_what_is_in_redis_tells_nothing_of_the_key(store: RedisStore, redis: Redis) -> None:
    await share(Shared(store, 2**20), b"body")
    keys = await keys_in(redis)
    assert len(keys) == 2
    dumped = b"".join([key.encode() + (await redis.dump(key) or b"") for key in keys])
    assert MINE.key is not None
    assert MINE.key not in dumped


async def test_a_value_that_is_too_long_is_not_read_and_is_overwritten(
    store: RedisStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qrbackends.cache.stores.redis._MAX_VALUE", 100)
    shared = Shared(store, 2**20)
    for length, found in ((100, True), (101, False)):
        lease = await shared.lead(MINE, NAME)
        assert lease is not None
        await lease.put(Stored(Wire(b"")), LONG)
        (key,) = await redis.keys("*:v:*")
        await redis.set(key, b"x" * length)
        assert (await store.get(MINE.id, NAME) is not None) is found
    lease = await shared.lead(MINE, NAME)
    assert lease is not None
    await lease.put(Stored(Wire(b"body")), LONG)
    stored = await shared.get(MINE, NAME)
    assert stored is not None
    assert stored.wire.data == b"body"


async def test_without_the_right_to_channels_waiting_fails_and_writing_does_not(
    store: RedisStore, redis: Redis, server: RedisServer
) -> None:
    rule = ("on", ">pw", "~*", "+@all", "resetchannels")
    await redis.execute_command("ACL", "SETUSER", "keys-only", *rule)  # type: ignore[no-untyped-call]
    async with RedisStore(f"redis://keys-only:pw@{server.address}", timeout=PATIENT) as limited:
        shared = Shared(limited, 2**20)
        lease = await shared.lead(MINE, NAME)
        assert lease is not None
        assert await shared.lead(MINE, NAME) is None
        assert await shared.wait(MINE, NAME) is False
        await lease.put(Stored(Wire(b"body")), LONG)
        assert shared.writes == 1
