"""What others do to a Redis that workers share: leases that do not end, failovers, hangs, wrong settings."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from redis.asyncio import Redis
from redis.exceptions import MovedError

from qrbackends.accounts.account import Instance
from qrbackends.accounts.scope import Scope
from qrbackends.cache.stores import redis as redis_store
from qrbackends.cache.stores import redis_listener
from qrbackends.cache.stores.redis import RedisStore
from qrbackends.cache.stores.redis_errors import translated
from qrbackends.cache.stores.seal import Stored
from qrbackends.cache.stores.sealed import Shared
from qrbackends.transport.body import Wire

from ...redis_proxy import Proxy, nothing, proxy, whole
from ...redis_server import PATIENT, RedisServer, free_port, has_tls, program, running

pytestmark = pytest.mark.anyio

SCOPE, NAME = "5c" * 32, "properties/ibm_a?x=1"
VALUE, LEASE = (f"qrbackends:2:{{{SCOPE}}}:{kind}:{NAME}" for kind in "vl")
LONG = 60.0  # seconds
MINE = Scope(SCOPE, Instance("crn:v1:bluemix:public:quantum-computing:us-east:a/1:2::"), b"k" * 32)


@pytest.fixture
async def another(server: RedisServer, redis: Redis) -> AsyncIterator[RedisStore]:
    """The same place, seen by another worker."""
    async with RedisStore(server.url, timeout=PATIENT) as opened:
        yield opened


@pytest.fixture
async def proxied(server: RedisServer, redis: Redis) -> AsyncIterator[Proxy]:
    """A proxy in front of the server."""
    async with proxy(server.port) as started:
        yield started


async def waiting_for(redis: Redis, store: RedisStore, name: str = NAME) -> asyncio.Task[None]:
    """Begin to wait for the end of a lease; return when the server knows."""
    task = asyncio.create_task(store.wait(SCOPE, name, LONG))
    with anyio.fail_after(PATIENT):
        while not await redis.pubsub_channels(f"*:l:{name.replace('?', '[?]')}"):
            await anyio.lowlevel.checkpoint()
    return task


async def ended(task: asyncio.Task[Any]) -> BaseException | None:
    with anyio.fail_after(PATIENT):
        await asyncio.wait([task])
    return task.exception()


async def refusal(operation: Awaitable[object]) -> str:
    with pytest.raises((RuntimeError, ConnectionError)) as caught:
        await operation
    assert caught.value.__context__ is None
    return f"{type(caught.value).__name__}: {caught.value}"


# --- leases that do not end, and leases that are lost


def given(seconds_ago: float) -> str:
    return f"{(time.time() - seconds_ago) * 1000:.0f}\nsomebody"


async def age(redis: Redis) -> None:
    """Let a lease be as if it had been given, and renewed since, before it would have ended by itself."""
    value = await redis.get(LEASE)
    assert isinstance(value, bytes)
    at, owners = value.split(b"\n", 1)
    await redis.set(LEASE, b"%d\n%s" % (int(at) - 1000 * LONG, owners), keepttl=True)


@pytest.mark.parametrize(
    ("planted", "ttl"),
    [
        (given(3600), 3600),
        (given(-3600), 3600),
        (given(0), None),
        ("9" * 400 + "\nsomebody", 3600),
        ("somebody", 3600),
        ("\n", 3600),
        (given(0) * 1000, 3600),
    ],
    ids=["old", "of the future", "without an end", "a long number", "no number", "empty", "long"],
)
async def test_a_planted_lease_keeps_nobody_away(
    store: RedisStore, redis: Redis, planted: str, ttl: int | None
) -> None:
    await redis.set(LEASE, planted, ex=ttl)
    assert await store.acquire(SCOPE, NAME, "a", LONG)
    assert await redis.pttl(LEASE) <= LONG * 1000
    assert await store.put(SCOPE, NAME, b"v", LONG, "a")
    assert await store.get(SCOPE, NAME) == b"v"


async def test_a_lease_that_is_kept_for_longer_than_it_lives_is_shared_with_one_more(
    store: RedisStore, another: RedisStore, redis: Redis
) -> None:
    assert await store.acquire(SCOPE, NAME, "a", LONG)
    assert not await another.acquire(SCOPE, NAME, "b", LONG)
    await age(redis)
    assert await another.acquire(SCOPE, NAME, "b", LONG)
    assert await another.renew(SCOPE, NAME, "b", LONG)
    assert not await another.acquire(SCOPE, NAME, "c", LONG), "only one of them"
    assert await store.renew(SCOPE, NAME, "a", LONG)
    waiting = await waiting_for(redis, another)
    await another.release(SCOPE, NAME, "c")
    await another.release(SCOPE, NAME, "b")
    assert not await another.renew(SCOPE, NAME, "b", LONG)
    await anyio.wait_all_tasks_blocked()
    assert not waiting.done()
    assert await store.put(SCOPE, NAME, b"v", LONG, "a")
    assert await ended(waiting) is None


async def test_whoever_is_first_puts_the_value_and_a_delete_refuses_both(
    store: RedisStore, another: RedisStore, redis: Redis
) -> None:
    for deleted in (False, True):
        assert await store.acquire(SCOPE, NAME, "a", LONG)
        await age(redis)
        assert await another.acquire(SCOPE, NAME, "b", LONG)
        if deleted:
            await another.delete(SCOPE, [NAME])
        assert await another.put(SCOPE, NAME, b"b", LONG, "b") is not deleted
        assert not await store.put(SCOPE, NAME, b"a", LONG, "a")
        assert await store.get(SCOPE, NAME) == (None if deleted else b"b")


@pytest.mark.parametrize("end", ["put", "release"])
@pytest.mark.parametrize("loss", ["flushed", "evicted", "persisted"])
async def test_who_waits_for_a_lease_that_was_lost_is_told(
    store: RedisStore, another: RedisStore, redis: Redis, end: str, loss: str
) -> None:
    assert await store.acquire(SCOPE, NAME, "a", LONG)
    waiting = await waiting_for(redis, another)
    await anyio.wait_all_tasks_blocked()
    if loss == "flushed":
        await redis.flushall()
    elif loss == "evicted":
        await redis.delete(LEASE)
    else:
        await redis.persist(LEASE)
    assert not waiting.done()
    if end == "put":
        assert not await store.put(SCOPE, NAME, b"v", LONG, "a")
    else:
        await store.release(SCOPE, NAME, "a")
    assert await ended(waiting) is None


async def test_who_waits_learns_of_the_end_although_the_message_was_spoilt(
    proxied: Proxy, store: RedisStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_store, "_LOST", 0.01)
    async with RedisStore(proxied.url, timeout=PATIENT) as far:
        assert await store.acquire(SCOPE, NAME, "a", LONG)
        waiting = await waiting_for(redis, far)
        proxied.toxic = lambda answer: answer.replace(b"ibm_a", b"ibm_b")
        assert await store.put(SCOPE, NAME, b"v", LONG, "a")
        assert await ended(waiting) is None


async def test_no_wrong_byte_lets_an_owner_wait_for_its_own_lease(proxied: Proxy, redis: Redis) -> None:
    def spoil(answer: bytes) -> bytes:
        last = len(answer.rstrip()) - 1  # the last byte before the end of the line
        return answer[:last] + bytes([answer[last] ^ 1]) + answer[last + 1 :]

    async with RedisStore(proxied.url, timeout=PATIENT) as far:
        assert await far.get(SCOPE, NAME) is None
        proxied.toxic = spoil
        assert await far.acquire(SCOPE, NAME, "a", LONG)
        assert await redis.exists(LEASE)


# --- a busy worker, and a Redis that hangs


async def busy() -> None:
    """Make the event loop late again and again."""
    while True:
        time.sleep(0.015)  # noqa: ASYNC251
        await anyio.lowlevel.checkpoint()


async def test_a_worker_that_is_busy_does_not_take_redis_for_dead(server: RedisServer, redis: Redis) -> None:
    async with RedisStore(server.url, timeout=0.02) as store, asyncio.TaskGroup() as group:
        task = group.create_task(busy())
        shared = Shared(store, 2**20)
        lease = await shared.lead(MINE, NAME)
        assert lease is not None
        assert await shared.lead(MINE, NAME) is None
        waiting = asyncio.create_task(shared.wait(MINE, NAME))
        await lease.put(Stored(Wire(b"body")), LONG)
        assert await waiting
        assert await shared.get(MINE, NAME) is not None
        assert (shared.errors, shared.hits) == (0, 1)
        task.cancel()


async def test_a_worker_that_is_busy_does_not_take_redis_for_slow(server: RedisServer, redis: Redis) -> None:
    async with RedisStore(server.url, timeout=0.02) as store, asyncio.TaskGroup() as group:
        task = group.create_task(busy())
        for _ in range(10):
            await store.get(SCOPE, NAME)
        assert store.timeout < 0.1
        task.cancel()


async def test_a_slow_redis_gets_more_time_and_a_quick_one_no_more(proxied: Proxy, redis: Redis) -> None:
    async with RedisStore(proxied.url, timeout=0.1) as store:
        assert await store.get(SCOPE, NAME) is None
        proxied.delay = 0.08
        with anyio.fail_after(PATIENT):
            while store.timeout < 0.32:  # for which this process has to be on time once
                await store.get(SCOPE, NAME)
        assert store.timeout <= 5
        proxied.delay = 0.15  # late for the timeout that was asked for
        assert await store.acquire(SCOPE, NAME, "a", LONG)
        proxied.delay = 0.0
        with anyio.fail_after(PATIENT):
            while store.timeout > 0.32:
                await store.get(SCOPE, NAME)
    assert repr(store) == "RedisStore(timeout=0.1, prefix='qrbackends')"


async def test_who_waits_while_redis_hangs_is_told(
    proxied: Proxy, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_listener, "_PING", 0.01)
    async with RedisStore(proxied.url, timeout=0.1) as store:
        assert await store.acquire(SCOPE, NAME, "a", LONG)
        waiting = await waiting_for(redis, store)
        proxied.toxic = nothing
        assert isinstance(await ended(waiting), ConnectionError)
        proxied.toxic = whole
        waiting = await waiting_for(redis, store)
        assert await store.put(SCOPE, NAME, b"v", LONG, "a")
        assert await ended(waiting) is None


async def test_a_redis_that_accepts_and_does_not_answer_is_told(proxied: Proxy) -> None:
    proxied.toxic = nothing
    async with RedisStore(proxied.url, timeout=0.02) as store:
        assert "does not answer" in await refusal(store.wait(SCOPE, NAME, LONG))
        assert "does not answer" in await refusal(store.get(SCOPE, NAME))


# --- subscriptions


async def test_channels_for_which_nobody_waits_are_left(
    store: RedisStore, another: RedisStore, redis: Redis
) -> None:
    for name in (NAME, *(f"{number}" for number in range(50))):
        assert await store.acquire(SCOPE, name, "a", LONG)
    lasting = await waiting_for(redis, another)
    for number in range(50):
        waiting = await waiting_for(redis, another, f"{number}")
        waiting.cancel()
        await asyncio.wait([waiting])
    with anyio.fail_after(PATIENT):
        while await redis.pubsub_channels() != [LEASE.encode()]:
            await anyio.lowlevel.checkpoint()
    await store.release(SCOPE, NAME, "a")
    assert await ended(lasting) is None


async def test_who_comes_when_the_last_one_leaves_hears_the_end(
    store: RedisStore, another: RedisStore, redis: Redis
) -> None:
    for name in (NAME, "other"):
        assert await store.acquire(SCOPE, name, "a", LONG)
    lasting = await waiting_for(redis, another, "other")
    leaving = asyncio.create_task(another.wait(SCOPE, NAME, LONG))
    for steps in range(20):
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        coming = asyncio.create_task(another.wait(SCOPE, NAME, LONG))
        leaving.cancel()
        await asyncio.wait([leaving])
        if steps % 2:
            await anyio.lowlevel.checkpoint()
        leaving = coming
    await store.put(SCOPE, NAME, b"v", LONG, "a")
    assert await ended(leaving) is None
    await store.release(SCOPE, "other", "a")
    assert await ended(lasting) is None


# --- failovers


@pytest.fixture
def replica(server: RedisServer) -> Iterator[RedisServer]:
    """A server that can become a replica of the first one."""
    with running() as started:
        yield started


async def test_sharing_goes_on_when_the_master_becomes_a_replica(
    server: RedisServer, redis: Redis, replica: RedisServer
) -> None:
    async with (
        proxy(replica.port) as address,
        RedisStore(address.url, timeout=PATIENT) as store,
        Redis.from_url(replica.url, protocol=2) as old,
    ):
        await asyncio.gather(*(store.put(SCOPE, f"{number}", b"v", LONG) for number in range(10)))
        await old.execute_command("REPLICAOF", "127.0.0.1", server.port)  # type: ignore[no-untyped-call]
        address.target = server.port
        assert await store.put(SCOPE, NAME, b"v", LONG)
        assert await redis.get(VALUE) == b"v"
        address.target = replica.port
        address.cut()
        assert "this Redis is a replica" in await refusal(store.put(SCOPE, NAME, b"v", LONG))


async def test_connections_that_are_cut_are_made_anew(
    proxied: Proxy, store: RedisStore, redis: Redis
) -> None:
    async with RedisStore(proxied.url, timeout=PATIENT) as far:
        for _ in range(5):
            assert await store.acquire(SCOPE, NAME, "a", LONG)
            waiting = await waiting_for(redis, far)
            proxied.cut()
            assert not await far.acquire(SCOPE, NAME, "b", LONG)
            with anyio.fail_after(PATIENT):
                while not await redis.pubsub_channels():
                    await anyio.lowlevel.checkpoint()
            assert await store.put(SCOPE, NAME, b"v", LONG, "a")
            assert await ended(waiting) is None


# --- settings that cannot work


async def test_tls_that_fails_is_told(server: RedisServer, tmp_path: Path) -> None:
    make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key -out cert -days 2"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", *make.split(), *subject], cwd=tmp_path, check=True, capture_output=True)  # noqa: ASYNC221, S607
    cert, port = str(tmp_path / "cert"), free_port()
    options = ("--tls-cert-file", cert, "--tls-key-file", str(tmp_path / "key"), "--tls-ca-cert-file", cert)
    if not has_tls(program()):
        pytest.skip("this server was built without TLS")
    with running("--tls-port", str(port), *options, "--tls-auth-clients", "no"):
        url = f"rediss://127.0.0.1:{port}"
        async with RedisStore(f"{url}?ssl_ca_certs={cert}", timeout=PATIENT) as store:
            assert await store.put(SCOPE, NAME, b"v", LONG)
            assert await store.get(SCOPE, NAME) == b"v"
        async with RedisStore(url, timeout=PATIENT) as store:
            said = await refusal(store.get(SCOPE, NAME))
            assert said == "ConnectionError: TLS with Redis failed (SSLCertVerificationError)"
            assert await refusal(store.wait(SCOPE, NAME, LONG)) == said


async def test_what_redis_refuses_is_told_in_words(server: RedisServer, redis: Redis) -> None:
    rules = ("on", ">pw", "~*", "+@all", "-eval", "-set", "allchannels")
    await redis.execute_command("ACL", "SETUSER", "no-eval", *rules)  # type: ignore[no-untyped-call]
    await redis.execute_command("ACL", "SETUSER", "no-set", *rules, "+eval")  # type: ignore[no-untyped-call]
    await redis.execute_command("ACL", "SETUSER", "all", *rules[:4], "allchannels")  # type: ignore[no-untyped-call]
    for login, expected in {
        "all:pw@": None,
        "no-eval:pw@": "the user has no right to do this in Redis (NoPermissionError)",
        "no-set:pw@": "the user has no right to do this in Redis (ResponseError)",
        "all:wrong@": "Redis does not accept the user or the password (AuthenticationError)",
    }.items():
        async with RedisStore(f"redis://{login}{server.address}", timeout=PATIENT) as store:
            if expected is None:
                assert await store.put(SCOPE, NAME, b"v", LONG)
            else:
                assert await refusal(store.put(SCOPE, NAME, b"v", LONG)) == f"RuntimeError: {expected}"
    async with RedisStore(f"redis://{server.address}/9999", timeout=PATIENT) as store:
        said = await refusal(store.get(SCOPE, NAME))
        assert said == "RuntimeError: Redis has no database with the number in the URL (ResponseError)"
    for user in ("no-eval", "no-set", "all"):
        await redis.acl_deluser(user)


@pytest.mark.long  # a node waits for 2 s before it takes over its slots
async def test_a_node_of_a_cluster_works_or_says_what_it_is(tmp_path: Path) -> None:
    with running("--cluster-enabled", "yes") as node:
        async with (
            RedisStore(f"redis://{node.address}", timeout=PATIENT) as store,
            Redis.from_url(node.url, protocol=2) as redis,
        ):
            assert "ClusterDownError" in await refusal(store.get(SCOPE, NAME))
            await redis.execute_command("CLUSTER", "ADDSLOTS", *range(16384))  # type: ignore[no-untyped-call]
            with anyio.fail_after(PATIENT):
                while b"cluster_state:ok" not in await redis.execute_command("CLUSTER", "INFO"):  # type: ignore[no-untyped-call]
                    await anyio.lowlevel.checkpoint()
            assert await store.acquire(SCOPE, NAME, "a", LONG)
            waiting = await waiting_for(redis, store)
            assert await store.put(SCOPE, NAME, b"v", LONG, "a")
            assert await ended(waiting) is None
            assert await store.names(SCOPE) == [NAME]
            await store.delete(SCOPE, [NAME])


def test_an_address_in_another_slot_is_told() -> None:
    error = translated(MovedError("1 127.0.0.1:1"))
    assert "a node of a cluster" in str(error)


@pytest.mark.parametrize("scheme", ["redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel"])
def test_clusters_and_sentinels_are_refused_by_name(scheme: str) -> None:
    kind = scheme.partition("+")[2]
    with pytest.raises(ValueError, match=f"{kind}.* not supported") as caught:
        RedisStore(f"{scheme}://:a-marked-password@localhost:1/name")
    assert "marked" not in str(caught.value)
