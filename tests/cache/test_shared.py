"""What workers promise who share a Redis, against the emulator: several clients, and several processes.

Run as a module, this file is one of those workers.
"""

import asyncio
import gzip
import hashlib
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest
from redis.asyncio import Redis

from qrbackends import (
    Account,
    BodyTooLarge,
    CachePolicy,
    Client,
    FileStore,
    Forbidden,
    Instance,
    Limits,
    Memory,
    NotFound,
    RedisStore,
    Request,
    Secret,
    Store,
)
from qrbackends.accounts.scope import Scopes
from qrbackends.cache import loader
from qrbackends.cache.stores import sealed as shared_tier
from qrbackends.cache.stores.seal import Stored
from qrbackends.cache.stores.sealed import Shared
from qrbackends.emulator import Emulator, Hold, Status
from qrbackends.emulator.devices.synthetic import SyntheticFleet
from qrbackends.emulator.surface import handler
from qrbackends.protocol.requests import API_VERSION
from qrbackends.transport.body import Wire

from ..internals import is_waited_for, parts, renewals, set_clock, tier
from ..redis_server import PATIENT, RedisServer, running
from ..waiting import until

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
POLICY = CachePolicy(jitter=0)
FRESH = POLICY.properties
REGION = "us-east"
NAMES = tuple(f"device_{number}" for number in range(8))
NAME = NAMES[0]
ASKED = Request("properties", NAME)
BEFORE_CONTENT = 4 + hashlib.sha256().digest_size  # bytes of a value in Redis: the format's name and the tag


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    """Small backends in one region, and two API keys; a client has to ask for no list first."""
    async with Emulator(SyntheticFleet(dict.fromkeys(NAMES, 5)), regions=[REGION], keys=2) as running:
        yield running


@pytest.fixture
def wall() -> Clock:
    """Unix seconds, as all workers count them."""
    return Clock(1_790_000_000.0)


def worker_of(emulator: Emulator, store: Store, wall: Clock, key: int = 0) -> Client:
    """Return what stands for a worker: a client with a memory of its own."""
    client = Client(emulator.account(key), cache=POLICY, memory=Memory(clock=wall), store=store)
    set_clock(tier(client), wall)
    return client


async def places(redis: Redis, kind: str) -> list[str]:
    """Return the keys of all values (`v`) or leases (`l`)."""
    return sorted([key.decode() async for key in redis.scan_iter(f"qrbackends:2:*:{kind}:*")])


# --- workers in one process


@pytest.mark.parametrize("marked", [True, False])
async def test_another_worker_knows_whether_a_list_is_emulated(
    emulator: Emulator, store: RedisStore, wall: Clock, marked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not marked:
        monkeypatch.setattr(handler, "EMULATED", {})
    async with worker_of(emulator, store, wall) as one, worker_of(emulator, store, wall) as other:
        for worker, source in ((one, "origin"), (other, "shared"), (other, "memory")):
            fetched = await worker.fetch(Request("backends"))
            assert (fetched.source, fetched.value.emulated) == (source, marked)


async def test_another_worker_gets_the_answer_with_its_age_and_without_a_request(
    emulator: Emulator, store: RedisStore, wall: Clock
) -> None:
    async with worker_of(emulator, store, wall) as one, worker_of(emulator, store, wall) as other:
        first = await one.fetch(ASKED)
        assert (first.source, first.age) == ("origin", 0)
        wall.now += 100
        given = await other.fetch(ASKED)
        assert (given.value, given.source, given.age) == (first.value, "shared", 100)
        wall.now += 50
        given = await other.fetch(ASKED)
        assert (given.source, given.age) == ("memory", 150)
        assert emulator.count("properties") == 1
        assert emulator.count("token") == 1
        stats = one.stats().store, other.stats().store
        assert [(s.hits, s.writes, s.errors, s.rejected) for s in stats if s] == [(0, 1, 0, 0), (1, 0, 0, 0)]


async def test_the_store_makes_no_answer_live_longer(
    emulator: Emulator, store: RedisStore, wall: Clock
) -> None:
    async with worker_of(emulator, store, wall) as one, worker_of(emulator, store, wall) as other:
        await one.properties(NAME)
        wall.now += FRESH - 1
        assert (await other.fetch(ASKED)).source == "shared"
        wall.now += 1
        async with worker_of(emulator, store, wall) as third:
            assert (await third.fetch(ASKED)).source == "origin"
        assert (await other.fetch(ASKED)).source == "stale"  # and renewed meanwhile, from the store
        await until(lambda: not renewals(other))
        given = await other.fetch(ASKED)
        assert (given.source, given.age) == ("memory", 0)
        assert emulator.count("properties") == 2


@pytest.mark.parametrize("max_age", [0, 0.0, 1, 1.0, False, True])
async def test_an_age_is_an_age_though_it_equals_a_truth_value(
    emulator: Emulator, store: RedisStore, wall: Clock, max_age: float
) -> None:
    """Whoever joins an answer that is too old asks on, and a refresh is not answered from the store."""
    async with worker_of(emulator, store, wall) as one, worker_of(emulator, store, wall) as other:
        await one.properties(NAME)
        wall.now += 1.7
        easy, strict = await asyncio.gather(other.fetch(ASKED), other.fetch(ASKED, max_age=max_age))
        assert easy.source == "shared"
        assert easy.age == pytest.approx(1.7)
        assert (strict.source, strict.age) == ("origin", 0.0)
        assert emulator.count("properties") == 2
    async with worker_of(emulator, store, wall) as third:
        wall.now += 0.5
        young, refreshed = await asyncio.gather(
            third.fetch(ASKED, max_age=max_age), third.fetch(ASKED, refresh=True)
        )
        assert refreshed.source == "origin"
        assert young.age <= max_age
        assert emulator.count("properties") > 2


async def test_a_plain_caller_does_not_get_what_only_another_accepts(
    emulator: Emulator, store: RedisStore, wall: Clock
) -> None:
    async with worker_of(emulator, store, wall) as one, worker_of(emulator, store, wall) as other:
        await one.properties(NAME)
        wall.now += 20 * 3600
        lenient, plain = await asyncio.gather(other.fetch(ASKED, max_age=86400), other.fetch(ASKED))
        assert (lenient.source, lenient.age) == ("shared", 20 * 3600)
        assert (plain.source, plain.age) == ("origin", 0)


async def test_one_workers_own_trouble_leaves_the_others_their_answers(
    emulator: Emulator, store: RedisStore, wall: Clock
) -> None:
    async with worker_of(emulator, store, wall) as one:
        await one.properties(NAME)
        async with Client(emulator.account(), store=store, limits=Limits(body=100)) as narrow:
            with pytest.raises(BodyTooLarge):
                await narrow.properties(NAME, refresh=True)
        emulator.reset_log()
        async with worker_of(emulator, store, wall) as third:
            assert (await third.fetch(ASKED)).source == "shared"
        assert emulator.count("properties") == 0


async def test_a_worker_that_has_just_started_survives_an_outage_with_the_stores_old_answers(
    emulator: Emulator, store: RedisStore, wall: Clock
) -> None:
    async with worker_of(emulator, store, wall) as one:
        known = await one.properties(NAME)
    await emulator.stop_region(REGION)
    wall.now += 7200
    async with worker_of(emulator, store, wall) as other:
        given = await other.fetch(ASKED)
        assert (given.value, given.source, given.age) == (known, "stale", 7200)


async def test_an_invalidation_reaches_the_store(
    emulator: Emulator, store: RedisStore, redis: Redis, wall: Clock
) -> None:
    async with worker_of(emulator, store, wall) as one:
        for name in NAMES[:3]:
            await one.properties(name)
        await one.configuration(NAME)
        assert len(await places(redis, "v")) == 4
        assert await one.invalidate(backend=NAME, resource="properties") == 1
        left = await places(redis, "v")
        assert len(left) == 3
        assert not any(key.endswith(f"/{NAME}/properties") for key in left)
        async with worker_of(emulator, store, wall) as other:
            assert (await other.fetch(ASKED)).source == "origin"
            assert (await other.fetch(Request("properties", NAMES[1]))).source == "shared"
        assert await one.invalidate() == 3
        assert await places(redis, "v") == await places(redis, "l") == []


async def test_what_is_read_back_from_the_store_during_an_invalidation_is_forgotten(
    emulator: Emulator, store: RedisStore, wall: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on = anyio.Event(), anyio.Event()
    names = store.names

    async def slowly(scope: str) -> Sequence[str]:
        begun.set()
        await goes_on.wait()
        return await names(scope)

    async with worker_of(emulator, store, wall) as worker:
        await worker.properties(NAME)
        monkeypatch.setattr(store, "names", slowly)
        invalidating = asyncio.create_task(worker.invalidate(backend=NAME))
        await begun.wait()
        assert (await worker.fetch(ASKED)).source == "shared"
        goes_on.set()
        assert await invalidating == 1
        assert (await worker.fetch(ASKED)).source == "origin"


async def test_a_stored_answer_of_another_shape_is_a_miss(
    emulator: Emulator, store: RedisStore, wall: Clock
) -> None:
    async with worker_of(emulator, store, wall) as worker:
        scope = Scopes(emulator.account(), API_VERSION).of(emulator.account().instances[0])
        lease = await tier(worker).lead(scope, ASKED.target)
        assert lease is not None
        await lease.put(Stored(Wire(b'{"from": "another version"}')), 1000)
        assert (await worker.fetch(ASKED)).source == "origin"
        assert tier(worker).stats().hits > 0


async def test_a_refresh_reaches_the_store(emulator: Emulator, store: RedisStore, wall: Clock) -> None:
    async with worker_of(emulator, store, wall) as one, worker_of(emulator, store, wall) as other:
        await one.properties(NAME)
        wall.now += 100
        assert (await one.fetch(ASKED, refresh=True)).source == "origin"
        given = await other.fetch(ASKED)
        assert (given.source, given.age) == ("shared", 0)
        assert emulator.count("properties") == 2


async def test_an_answer_that_is_an_error_makes_workers_ask_at_once_and_not_one_by_one(
    emulator: Emulator, store: RedisStore, wall: Clock
) -> None:
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(worker_of(emulator, store, wall)) for _ in range(8)]
        for worker in workers:
            await worker.backends()
        missing = Request("properties", NAME, "nobody_has_it")
        leaders = [emulator.fault(Hold(), resource="properties") for _ in range(2)]  # one after the other
        together = emulator.fault(Hold(), resource="properties", times=None)
        asking = [asyncio.create_task(worker.fetch(missing)) for worker in workers]
        for others, held in zip((7, 6), leaders, strict=True):
            await held.reached(1)
            await until(partial(is_waited_for, store, others))  # so that each sees it fail
            held.release()
        await together.reached(6)  # nobody waits for another any more
        together.release()
        for outcome in await asyncio.gather(*asking, return_exceptions=True):
            assert isinstance(outcome, NotFound)
        assert emulator.count("properties") == 8


@pytest.mark.parametrize("status", [400, 404])
async def test_what_the_service_says_of_a_question_ends_the_stored_answer(
    emulator: Emulator, store: RedisStore, wall: Clock, status: int
) -> None:
    async with worker_of(emulator, store, wall) as one, worker_of(emulator, store, wall) as other:
        await one.properties(NAME)
        fault = emulator.fault(Status(status), resource="properties", times=None)
        for worker in (one, other):
            with pytest.raises(Exception, match=str(status)):
                await worker.properties(NAME, refresh=True)
        fault.cancel()
        emulator.fault(Status(503), resource="properties", times=None)
        wall.now += POLICY.negative + 1
        with pytest.raises(Exception, match=r"503|404"):
            await other.properties(NAME)


@pytest.mark.parametrize(("status", "resource"), [(401, "properties"), (403, "backends")])
async def test_a_right_that_ends_empties_the_store(
    emulator: Emulator, store: RedisStore, redis: Redis, wall: Clock, status: int, resource: str
) -> None:
    async with worker_of(emulator, store, wall) as one, worker_of(emulator, store, wall, 1) as stranger:
        for name in NAMES:
            await one.properties(name)
        await stranger.properties(NAME)
        fault = emulator.fault(Status(status), resource=resource, times=None)
        with pytest.raises(Exception, match=str(status)):
            await (one.properties(NAME, refresh=True) if status == 401 else one.backends(refresh=True))
        assert len(await places(redis, "v")) == 1  # the stranger's, who has a right of their own
        assert one.stats().entries == 0
    fault.cancel()
    emulator.fault(Status(status), resource="properties", times=None)
    async with worker_of(emulator, store, wall) as other:
        with pytest.raises(Exception, match=str(status)):
            await other.properties(NAMES[1])


@pytest.mark.parametrize("own", [True, False])
async def test_a_backend_that_is_refused_leaves_the_store_and_no_other_does(
    emulator: Emulator, store: RedisStore, redis: Redis, wall: Clock, own: bool
) -> None:
    async with worker_of(emulator, store, wall) as one:
        for name in NAMES:
            await one.properties(name)
        await one.configuration(NAME)
        stored = await places(redis, "v")
        body = None if own else "<title>blocked</title>"  # a firewall's
        emulator.fault(Status(403, body=body), resource="properties", backend=NAME, times=None)
        with pytest.raises(Forbidden):
            await one.properties(NAME, refresh=True)
        left = [place for place in stored if not (own and f"/{NAME}/" in place)]
        assert len(left) == (len(stored) - 2 if own else len(stored))
        assert sorted(await places(redis, "v")) == sorted(left)


async def test_nobody_reads_what_only_another_may_read(
    emulator: Emulator, store: RedisStore, redis: Redis, wall: Clock
) -> None:
    instance = emulator.account().instances[0]
    owners, strangers = (Scopes(emulator.account(key), "2026-04-15").of(instance) for key in range(2))
    async with worker_of(emulator, store, wall) as owner, worker_of(emulator, store, wall, 1) as stranger:
        await owner.properties(NAME)
        emulator.fault(Status(403), resource="properties", backend=NAME, times=None)
        for _ in range(2):
            with pytest.raises(Forbidden):
                await stranger.properties(NAME)
        assert emulator.count("properties") == 3
        assert stranger.stats().entries == 0
        # Not with the other's scope and one's own key, not moved to one's own place.
        shared = Shared(store, 2**20, wall)
        stored = await shared.get(owners, ASKED.target)
        assert stored is not None
        assert NAME.encode() in stored.wire.plain(2**20)
        assert await shared.get(strangers, ASKED.target) is None
        assert shared.rejected == 0
        assert await shared.get(replace(owners, key=strangers.key), ASKED.target) is None
        assert shared.rejected == 1
        (place,) = await places(redis, "v")
        sealed = await redis.get(place)
        assert isinstance(sealed, bytes)
        assert owners.id in place
        await redis.set(place.replace(owners.id, strangers.id), sealed)
        assert await shared.get(strangers, ASKED.target) is None
        assert shared.rejected == 2
        with pytest.raises(Forbidden):
            await stranger.properties(NAME)
        await redis.set(place.replace(f"/{NAME}/", f"/{NAMES[1]}/"), sealed)
        assert (await owner.fetch(Request("properties", NAMES[1]))).source == "origin"
    async with worker_of(emulator, store, wall) as another:
        assert (await another.fetch(ASKED)).source == "shared"


async def test_redis_holds_no_credential_and_no_crn(
    emulator: Emulator, store: RedisStore, redis: Redis, wall: Clock
) -> None:
    account = emulator.account()
    assert isinstance(account.api_key, Secret)
    crn = account.instances[0].crn
    async with worker_of(emulator, store, wall) as client:
        await client.backends()
        await asyncio.gather(*(client.properties(name) for name in NAMES))
        await client.configuration(NAME)
        held = emulator.fault(Hold(), resource="properties")
        asking = asyncio.create_task(client.properties(NAME, refresh=True))
        await held.reached()
        assert len(await places(redis, "l")) == 1
        secrets = [account.api_key.reveal(), (await parts(client).tokens.authorization()).reveal()]
        secrets += [secrets[1].removeprefix("Bearer "), crn, *crn.split(":")[6:8], emulator.iam_url]
        secrets += [emulator.url(REGION)]
        seen = await everything_in(redis)
        held.release()
        await asking
    seen += await everything_in(redis)
    assert len(seen) > 20
    assert any(b'"qubits"' in part for part in seen)  # it did look into what is packed
    assert {secret for secret in secrets for part in seen if secret.encode() in part} == set()


async def everything_in(redis: Redis) -> list[bytes]:
    """Return all keys, all values, and what is packed in them."""
    parts: list[bytes] = []
    async for key in redis.scan_iter():
        parts.append(key)
        if await redis.type(key) == b"zset":
            parts += [name for name in await redis.zrange(key, 0, -1) if isinstance(name, bytes)]
            continue
        value = await redis.get(key)
        assert isinstance(value, bytes)
        parts.append(value)
        if b":v:" in key:
            _, (data, encoding, _), *_ = msgspec.msgpack.decode(value[BEFORE_CONTENT:])
            assert encoding == "gzip"
            parts.append(gzip.decompress(data))
    return parts


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (shared_tier, loader):
        monkeypatch.setattr(module, "LEASE", 0.2)


@pytest.mark.usefixtures("short_lease")
async def test_a_worker_that_cannot_reach_the_service_does_not_hold_up_the_others(
    emulator: Emulator, store: RedisStore, redis: Redis, wall: Clock
) -> None:
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(worker_of(emulator, store, wall)) for _ in range(5)]
        for worker in workers:
            await worker.backends()
        held = emulator.fault(Hold(), resource="properties")  # the first one's, for as long as it takes
        leading = asyncio.create_task(workers[0].fetch(ASKED))
        await held.reached()
        others = await asyncio.gather(*(worker.fetch(ASKED) for worker in workers[1:]))
        assert {given.source for given in others} == {"origin", "shared"}
        assert not leading.done()
        held.release()
        assert (await leading).source == "origin"
    assert await places(redis, "l") == []


@pytest.mark.usefixtures("short_lease")
@pytest.mark.parametrize("again", [False, True], ids=["once", "again and again"])
async def test_whoever_plants_leases_keeps_nobody_from_the_service(
    emulator: Emulator,
    store: RedisStore,
    redis: Redis,
    wall: Clock,
    monkeypatch: pytest.MonkeyPatch,
    again: bool,
) -> None:
    acquire = store.acquire
    planted = 0

    async def after_a_plant(scope: str, name: str, owner: str, lease: float, *, force: bool = False) -> bool:
        nonlocal planted
        if again or not planted:
            planted += 1
            seconds, microseconds = await redis.time()
            value = f"{seconds * 1000 + microseconds // 1000}\nnobody"
            await redis.set(f"qrbackends:2:{{{scope}}}:l:{name}", value, ex=3600)
        return await acquire(scope, name, owner, lease, force=force)

    async with worker_of(emulator, store, wall) as worker:
        await worker.backends()
        monkeypatch.setattr(store, "acquire", after_a_plant)
        with anyio.fail_after(PATIENT):
            assert (await worker.fetch(ASKED, timeout=PATIENT)).source == "origin"
        assert planted == (3 if again else 1)


@pytest.mark.parametrize("calls", [300, pytest.param(2000, marks=pytest.mark.long)])
async def test_every_call_is_answered_though_redis_dies_and_comes_back(
    emulator: Emulator, calls: int
) -> None:
    with running() as server:
        async with (
            RedisStore(server.url) as store,
            Client(emulator.account(), store=store, memory=Memory(0)) as client,
        ):
            turns = anyio.CapacityLimiter(20)
            answered = 0

            async def call(number: int) -> None:
                nonlocal answered
                name = NAMES[number % len(NAMES)]
                async with turns:
                    assert (await client.properties(name)).backend_name == name
                answered += 1
                if answered == calls // 3:
                    await asyncio.to_thread(server.kill)
                if answered == 2 * calls // 3:
                    await asyncio.to_thread(server.start)

            async with asyncio.TaskGroup() as group:
                for number in range(calls):
                    group.create_task(call(number))
            assert answered == calls
            stats = client.stats().store
            assert stats is not None
            assert stats.errors >= 1
            with anyio.fail_after(PATIENT):  # it is used again soon
                while (await client.fetch(ASKED)).source != "shared":
                    pass


# --- clients that share a file


async def test_clients_that_share_a_file_share_answers(
    emulator: Emulator, tmp_path: Path, wall: Clock
) -> None:
    path = tmp_path / "answers.sqlite"
    async with (
        FileStore(path, clock=wall) as store,
        FileStore(path, clock=wall) as same,
        worker_of(emulator, store, wall) as one,
        worker_of(emulator, same, wall) as other,
    ):
        held = emulator.fault(Hold(), resource="properties", times=2)
        asking = [asyncio.create_task(client.fetch(ASKED)) for client in (one, other)]
        await held.reached(2)  # neither waits for the other
        held.release()
        assert [given.source for given in await asyncio.gather(*asking)] == ["origin"] * 2
        assert emulator.count("properties") == 2
        wall.now += 100
        async with worker_of(emulator, same, wall) as later:
            given = await later.fetch(ASKED)
            assert (given.source, given.age) == ("shared", 100)
        stats = other.stats().store
        assert stats is not None
        assert (stats.writes, stats.errors) == (1, 0)


# --- workers in processes of their own


async def work() -> None:
    """Be a worker: read an account and a store, then answer each line that says whom to ask how often."""
    setup = json.loads(sys.stdin.readline())
    shared_tier.LEASE = setup["lease"]
    account = Account(
        api_key=setup["key"],
        instances=[Instance(crn, url=url) for crn, url in setup["instances"]],
        iam_url=setup["iam"],
    )
    async with (
        RedisStore(setup["redis"], timeout=PATIENT) as store,
        Client(account, store=store, memory=Memory(setup["memory"])) as client,
    ):
        tell("ready")
        while line := await asyncio.to_thread(sys.stdin.readline):
            asked = json.loads(line)
            request = Request("properties", asked["backend"])
            given = await asyncio.gather(*(client.fetch(request) for _ in range(asked["callers"])))
            digests = {hashlib.sha256(repr(one.value).encode()).hexdigest() for one in given}
            tell({"sources": Counter(one.source for one in given), "digests": sorted(digests)})


def tell(said: Any) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


class Worker:
    """A process that asks when the test sends a command."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def say(self, said: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(said).encode() + b"\n")

    def ask(self, backend: str, callers: int) -> None:
        self.say({"backend": backend, "callers": callers})

    async def hear(self) -> Any:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line, "the worker has died; its standard error says why"
        return json.loads(line)

    async def end(self) -> None:
        """Let it end; the end of its input is the end of its work."""
        await self.process.communicate(b"")
        assert self.process.returncode == 0

    async def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.process.kill()
        await self.process.communicate()


@asynccontextmanager
async def workers(
    emulator: Emulator,
    server: RedisServer,
    keys: Sequence[int],
    *,
    lease: float = shared_tier.LEASE,
    memory: int = 2**24,
) -> AsyncIterator[list[Worker]]:
    """Start a process for each of these API keys; all are ready to ask."""
    started: list[Worker] = []
    try:
        for key in keys:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-W", "error", "-m", __name__),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                cwd=ROOT,
            )
            started.append(Worker(process))
            account = emulator.account(key)
            assert isinstance(account.api_key, Secret)
            started[-1].say(
                {
                    "key": account.api_key.reveal(),
                    "instances": [(instance.crn, instance.url) for instance in account.instances],
                    "iam": account.iam_url,
                    "redis": server.url,
                    "lease": lease,
                    "memory": memory,
                }
            )
        for worker in started:
            assert await worker.hear() == "ready"
        yield started
        for worker in started:
            if worker.process.returncode is None:
                await worker.end()
    finally:
        for worker in started:
            if worker.process.returncode is None:
                await worker.kill()


@pytest.mark.long
async def test_400_callers_in_8_processes_make_one_request(server: RedisServer, redis: Redis) -> None:
    async with (
        Emulator(SyntheticFleet(dict.fromkeys(NAMES, 5))) as emulator,
        workers(emulator, server, [0] * 8) as fleet,
    ):
        for round_, name in enumerate(NAMES[:3], start=1):
            for worker in fleet:
                worker.ask(name, 50)
            heard = [await worker.hear() for worker in fleet]
            assert emulator.count("properties", name) == 1
            assert sum((Counter(one["sources"]) for one in heard), Counter()) == {
                "origin": 50,
                "shared": 350,
            }
            assert len({digest for one in heard for digest in one["digests"]}) == 1
            assert emulator.count("properties") == round_
        assert emulator.count("backends", region=REGION) == emulator.count("backends", region="eu-de") == 1
        assert emulator.count("token") <= 8
    assert await places(redis, "l") == []


@pytest.mark.long
async def test_workers_of_two_accounts_share_nothing(
    server: RedisServer, redis: Redis, emulator: Emulator
) -> None:
    async with workers(emulator, server, [0, 1, 0, 1]) as fleet:
        for worker in fleet:
            worker.ask(NAME, 10)
        heard = [await worker.hear() for worker in fleet]
        assert sum((Counter(one["sources"]) for one in heard), Counter()) == {"origin": 20, "shared": 20}
        assert emulator.count("properties") == 2


@pytest.mark.parametrize("lease", [1.0, pytest.param(shared_tier.LEASE, marks=pytest.mark.long)])
async def test_another_takes_over_from_a_leader_that_is_killed(
    server: RedisServer, redis: Redis, emulator: Emulator, lease: float
) -> None:
    held = emulator.fault(Hold(), resource="properties")
    async with workers(emulator, server, [0] * 4, lease=lease) as fleet:
        leader, *others = fleet
        leader.ask(NAME, 50)
        await held.reached()
        (channel,) = await places(redis, "l")
        for worker in others:
            worker.ask(NAME, 50)
        with anyio.fail_after(PATIENT):
            while dict(await redis.pubsub_numsub(channel))[channel.encode()] < len(others):
                await anyio.lowlevel.checkpoint()
        assert emulator.count("properties") == 1
        await leader.kill()
        heard = [await worker.hear() for worker in others]
        assert sum((Counter(one["sources"]) for one in heard), Counter()) == {"origin": 50, "shared": 100}
        assert len({digest for one in heard for digest in one["digests"]}) == 1
        assert emulator.count("properties") == 2
    held.cancel()
    assert await places(redis, "l") == []


if __name__ == "__main__":
    asyncio.run(work())
