"""Watching the fleet: the reported changes add up to the real fleet, and no change is reported twice."""

import asyncio
import gc
import sys
import tracemalloc
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from qrbackends import (
    AccountError,
    Backend,
    BackendList,
    Change,
    Client,
    ClientClosed,
    Fetched,
    Forbidden,
    Instance,
    InvalidRequest,
    QRBackendsError,
    RetryPolicy,
    ServerError,
    Timeout,
    TransportError,
    WrongEventLoop,
)
from qrbackends.emulator import Emulator, Status
from qrbackends.emulator.devices.fleets import Device
from qrbackends.fleet.changes import FleetState, differences
from qrbackends.fleet.watch import Watcher
from qrbackends.models import DeviceStatus

from ..internals import parts, poll_task, polled_at, set_watcher, subscriptions, watcher
from ..waiting import until

pytestmark = pytest.mark.anyio

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
LONG = pytest.mark.timeout(1200)
CRNS = tuple(f"crn:v1:bluemix:public:quantum-computing:region-{number}:a/1:2::" for number in range(3))


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


class World:
    """A service whose lists are what a test says, at a time that it moves."""

    def __init__(self, draw: float = 0.0) -> None:
        self.now = 1000.0
        self.backends: dict[tuple[str, str], Backend] = {}
        self.listed: dict[str, BackendList] = {}
        self.failing: set[str] = set()
        self.silent: set[str] = set()  # CRNs and resources that are never answered
        self.cancelled: set[str] = set()  # CRNs whose list raises CancelledError of its own
        self.down: QRBackendsError | None = None
        self.refused: set[str] = set()  # resources for which the account is no good any more
        self.polls: list[float] = []
        self.calibrated: dict[str, datetime] = {}
        self.asked: Counter[str] = Counter()
        self.answers = asyncio.Event()
        self.answers.set()
        self.sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self.watcher = Watcher(
            self.ask,
            self.instances,
            clock=lambda: self.now,
            sleep=self.sleep,
            now=lambda: datetime.fromtimestamp(self.now, UTC),
            draw=lambda: draw,
        )

    def poll_for(self, client: Client) -> None:
        """Let a client poll what it does poll, when this world's time is moved."""
        self.watcher = Watcher(
            client.fetch,
            parts(client).directory.instances,
            clock=lambda: self.now,
            sleep=self.sleep,
            draw=lambda: 0.0,
        )
        set_watcher(client, self.watcher)

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.now + seconds, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move the time, and let everything happen that is due."""
        self.now += seconds
        for at, future in self.sleepers:
            if at <= self.now + 1e-9 and not future.done():
                future.set_result(None)
        self.sleepers = [one for one in self.sleepers if not one[1].done()]
        await settle()

    def put(self, name: str, crn: str = CRNS[0], status: str = "online", queue: int = 0) -> None:
        entry = Backend(name, DeviceStatus(status), queue, region=f"region of {crn}", instance=crn)
        self.backends[crn, name] = entry

    async def ask(self, request: Any, *, instance: str | None = None, refresh: bool = False) -> Fetched[Any]:
        assert refresh, "the service itself is asked"
        self.asked[request.resource] += 1
        if request.resource in self.refused:
            raise AccountError("the key was revoked")
        if request.resource in self.silent:
            await asyncio.Event().wait()
        if request.resource == "properties":
            when = self.calibrated.get(request.backend)
            if when is None:
                raise ServerError("no", 500)

            class Properties:
                last_update_date = when

            return Fetched(Properties, 0.0, "origin")
        assert instance is not None
        if instance == CRNS[0]:
            self.polls.append(self.now)
        if instance in self.silent:
            await asyncio.Event().wait()
        await self.answers.wait()
        if instance in self.cancelled:
            raise asyncio.CancelledError
        if instance in self.failing:
            raise Forbidden(f"no {instance}", 403).about(instance=instance, region="r")
        shown = BackendList(one for (crn, _), one in self.backends.items() if crn == instance)
        last = self.listed.get(instance)
        if last is None or instance == CRNS[2] or [*last] != [*shown]:  # as the client: the same object again
            self.listed[instance] = last = shown
        return Fetched(last, 0.0, "origin")

    async def instances(self) -> list[Instance]:
        if self.down is not None:
            raise self.down.again()
        return [Instance(crn) for crn in CRNS]


class Consumer:
    """Takes changes when the test wants it, and folds them."""

    def __init__(self, world: World, **options: Any) -> None:
        self.changes: AsyncGenerator[Change, None] = aiter(world.watcher.watch(**options))
        self.fleet: dict[tuple[str, str], Backend] = {}
        self.failing: set[str] = set()
        self.kinds: list[str] = []
        self.next: asyncio.Task[Change] | None = None

    async def take(self, most: int = 10**6) -> list[Change]:
        """Take what there is, and check that each change follows from what was reported before."""
        taken: list[Change] = []
        while len(taken) < most:
            if self.next is None:
                self.next = asyncio.create_task(anext(self.changes))
            await settle()
            if not self.next.done():
                break
            change = self.next.result()
            self.next = None
            self.fold(change)
            taken.append(change)
        return taken

    def fold(self, change: Change) -> None:
        self.kinds.append(change.kind)
        assert change.instance is not None
        if change.kind == "failed":
            assert change.instance not in self.failing
            self.failing.add(change.instance)
        elif change.kind == "recovered":
            self.failing.remove(change.instance)
        elif change.kind != "recalibrated":
            assert change.backend is not None
            key = (change.instance, change.backend)
            assert change.before == self.fleet.get(key), "nothing is lost or doubled"
            assert change.before != change.after
            if change.after is None:
                del self.fleet[key]
            else:
                self.fleet[key] = change.after

    async def close(self) -> None:
        if self.next is not None:
            self.next.cancel()
            await asyncio.wait({self.next})
        await self.changes.aclose()


# --- against a model

NAMES, INSTANCES = st.sampled_from("abcd"), st.sampled_from(CRNS)
STATES = st.sampled_from(["online", "paused", "offline"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), NAMES, INSTANCES, STATES, st.integers(0, 3)),
        st.tuples(st.just("drop"), NAMES, INSTANCES),
        st.tuples(st.just("fail"), INSTANCES),
        st.tuples(st.just("mend"), INSTANCES),
        st.tuples(st.just("tick")),
        st.tuples(st.just("slow"), st.integers(0, 3)),
    ),
    max_size=60,
)


@settings(max_examples=60)
@given(STEPS)
def test_whatever_happens_what_is_told_folds_to_what_there_is(steps: list[Any]) -> None:
    asyncio.run(replay(steps))


async def replay(steps: list[Any]) -> None:
    world = World()
    world.put("a")
    eager, lazy, slow = Consumer(world, interval=10.0), Consumer(world, interval=25.0), Consumer(world)
    for consumer in (eager, lazy, slow):
        await consumer.take(1)
    for step in [*steps, ("mend", CRNS[0]), ("mend", CRNS[1]), ("mend", CRNS[2]), *[("tick",)] * 4]:
        match step:
            case ("put", name, crn, status, queue):
                world.put(name, crn, status, queue)
            case ("drop", name, crn):
                world.backends.pop((crn, name), None)
            case ("fail", crn):
                world.failing.add(crn)
            case ("mend", crn):
                world.failing.discard(crn)
            case ("tick",):
                await world.advance(10.0)
                await eager.take()
                seen = {key: one for key, one in eager.fleet.items() if key[0] not in world.failing}
                assert seen == {k: one for k, one in world.backends.items() if k[0] not in world.failing}
                assert eager.failing == world.failing
                await lazy.take()
            case ("slow", count):
                await slow.take(count)
    for consumer in (eager, lazy, slow):
        await consumer.take()
        await world.advance(30.0)
        await consumer.take()
        assert consumer.fleet == world.backends
        assert consumer.failing == set()
        await consumer.close()
    assert all((poll - world.polls[0]) % 10.0 == 0.0 for poll in world.polls), "on a grid"
    assert len(set(world.polls)) == len(world.polls)


# --- the poll


async def test_the_first_look_tells_what_there_is() -> None:
    world = World()
    world.put("a")
    world.put("b", queue=3)
    world.failing = {CRNS[2]}
    consumer = Consumer(world)
    assert [change.kind for change in await consumer.take()] == ["failed", "present", "present"]
    world.put("c")
    world.put("a", status="paused")
    world.put("b", queue=4)
    await world.advance(30.0)
    assert [change.kind for change in await consumer.take()] == ["status", "queue", "appeared"]
    del world.backends[CRNS[0], "a"]
    await world.advance(30.0)
    (gone,) = await consumer.take()
    assert (gone.kind, gone.backend, gone.after) == ("disappeared", "a", None)
    await consumer.close()


async def test_a_name_that_no_list_has_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.put("ibm_boston")
    world.failing = {CRNS[2]}
    consumer = Consumer(world, backends=["ibm_bostn", "ibm_boston"])
    await consumer.take()
    assert caplog.messages == [], "the instance that fails may have it"
    world.failing.clear()
    for _ in range(3):
        await world.advance(30.0)
        await consumer.take()
    assert caplog.messages == ["no list has 'ibm_bostn', which is watched; did you mean ibm_boston?"]
    world.put("ibm_bostn")  # it is reported as soon as there is one
    await world.advance(30.0)
    assert [change.kind for change in await consumer.take()] == ["appeared"]
    await consumer.close()


async def test_whoever_waits_for_a_misspelled_name_is_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.put("ibm_boston")
    waiting = asyncio.create_task(world.watcher.wait_for("ibm_bostn", lambda one: True, None, 30.0))
    await settle()
    assert caplog.messages == ["no list has 'ibm_bostn', which is watched; did you mean ibm_boston?"]
    waiting.cancel()
    await asyncio.wait({waiting})


async def test_of_very_many_missing_names_only_some_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.put("ibm_boston")
    consumer = Consumer(world, backends=["ibm_boston", *(f"other_{number}" for number in range(30))])
    await consumer.take()
    assert caplog.messages[0] == "no list has 30 names, which are watched; the first of them follow"
    assert len(caplog.messages) == 11
    await consumer.close()


async def test_a_change_is_a_line() -> None:
    world = World()
    world.put("ibm_boston")
    consumer = Consumer(world)
    assert [str(change) for change in await consumer.take()] == [
        f"ibm_boston (region of {CRNS[0]}): present, online, 0 jobs"
    ]
    world.put("ibm_boston", status="offline\x1b[2J")
    await world.advance(30.0)
    (change,) = await consumer.take()
    assert str(change) == f"ibm_boston (region of {CRNS[0]}): online to offline\\x1b[2J"
    assert str(Change("recovered", WHEN, instance=CRNS[1])) == f"{CRNS[1]}: answers again"
    await consumer.close()


async def test_all_who_watch_share_one_poll_as_often_as_the_most_eager_wants() -> None:
    world = World()
    world.put("a")
    many = [Consumer(world, interval=60.0) for _ in range(20)]
    for consumer in many:
        await consumer.take()
    assert world.polls == [1000.0]
    await world.advance(20.0)
    eager = Consumer(world, interval=5.0)
    assert [change.kind for change in await eager.take()] == ["present"]
    await world.advance(0.0)
    assert world.polls == [1000.0, 1020.0], "what was seen 20 s ago is too old for it"
    for _ in range(4):
        await world.advance(5.0)
    assert world.polls == [1000.0, 1020.0, 1025.0, 1030.0, 1035.0, 1040.0]
    await eager.close()
    for _ in range(8):
        await world.advance(10.0)
    assert world.polls[6:] == [1050.0, 1060.0, 1120.0], "in steps of 10 s: of the eager one, then of all"
    for consumer in many:
        await consumer.close()
    before = len(world.polls)
    for _ in range(5):
        await world.advance(60.0)
    assert len(world.polls) == before, "nobody watches any more"


async def test_a_poll_that_takes_too_long_leaves_out_what_it_overran() -> None:
    world = World()
    world.put("a")
    consumer = Consumer(world, interval=10.0)
    await consumer.take()
    world.answers.clear()
    await world.advance(10.0)
    for _ in range(3):
        await world.advance(8.0)  # until 1034
    world.answers.set()
    await world.advance(0.0)
    await world.advance(5.0)
    assert world.polls == [1000.0, 1010.0]
    await world.advance(1.0)
    assert world.polls == [1000.0, 1010.0, 1040.0]
    await consumer.close()


async def test_processes_that_begin_together_do_not_ask_together() -> None:
    world = World(draw=0.5)
    consumer = Consumer(world, interval=100.0)
    await consumer.take()
    for _ in range(60):
        await world.advance(5.0)
    assert world.polls == [1000.0, 1105.0, 1205.0], "the grid is moved once, by a part of a tenth"
    await consumer.close()


async def test_small_changes_of_a_queue_add_up_to_what_is_told() -> None:
    world = World()
    world.put("a", queue=10)
    consumer = Consumer(world, threshold=5)
    await consumer.take()
    for queue, reported in ((12, 0), (14, 0), (15, 1), (11, 0), (10, 1)):
        world.put("a", queue=queue)
        await world.advance(30.0)
        assert len(await consumer.take()) == reported
    await consumer.close()


async def test_only_the_backends_that_are_wanted_are_told() -> None:
    world = World()
    for name in "abc":
        world.put(name)
    consumer = Consumer(world, backends=["b", "z"])
    assert [change.backend for change in await consumer.take()] == ["b"]
    await consumer.close()


async def test_who_is_slow_gets_the_latest_and_no_queue() -> None:
    world = World()
    for number in range(50):
        world.put(f"b{number}")
    consumer = Consumer(world)
    await consumer.take(1)
    for queue in range(1, 40):
        for number in range(50):
            world.put(f"b{number}", queue=queue)
        await world.advance(30.0)
    changes = await consumer.take()
    assert len(changes) <= 99
    assert {one.queue_length for one in consumer.fleet.values()} == {39}
    await consumer.close()


async def test_failures_never_end_it() -> None:
    world = World()
    world.put("a")
    world.put("b", CRNS[1])
    consumer = Consumer(world)
    await consumer.take()
    world.down = ServerError("Global Search is down", 500)
    for _ in range(3):
        await world.advance(30.0)
    reported = await consumer.take()
    assert [(change.kind, change.instance, change.region) for change in reported] == [
        ("failed", CRNS[0], "region-0"),
        ("failed", CRNS[1], "region-1"),
    ]
    world.down = None
    world.failing = set(CRNS)
    await world.advance(30.0)
    reported = await consumer.take()
    assert [(change.kind, change.instance, change.region) for change in reported] == [
        ("failed", CRNS[2], "region-2")
    ]
    world.failing = set()
    await world.advance(30.0)
    assert [change.kind for change in await consumer.take()] == ["recovered"] * 3
    assert len(consumer.fleet) == 2, "a failing instance's backends are not reported as removed"
    await consumer.close()


async def test_while_an_instance_fails_what_it_had_is_not_told_as_gone() -> None:
    world = World()
    world.put("a")
    consumer = Consumer(world)
    await consumer.take()
    world.failing = {CRNS[0]}
    await world.advance(30.0)
    assert [change.kind for change in await consumer.take()] == ["failed"]
    world.failing = set()
    await world.advance(30.0)
    assert [change.kind for change in await consumer.take()] == ["recovered"]
    await consumer.close()


async def test_a_silent_instance_holds_up_no_other() -> None:
    world = World()
    world.put("a")
    world.put("b", CRNS[1])
    world.silent = {CRNS[1]}
    consumer = Consumer(world)
    await consumer.take()
    await world.advance(5.0)
    assert [change.backend for change in await consumer.take()] == ["a"]
    for queue in (1, 2, 3):
        world.put("a", queue=queue)
        await world.advance(30.0)
        await world.advance(5.0)
        (change,) = await consumer.take()
        assert (change.kind, change.after and change.after.queue_length) == ("queue", queue)
    assert len(world.polls) == 4
    assert world.asked["backends"] == 4 + 1 + 4, "the silent one was asked once, and is waited for"
    await consumer.close()


async def test_a_poll_that_begins_a_little_late_is_told_all_the_same() -> None:
    world = World()
    world.put("a")
    consumer = Consumer(world, interval=30.0)
    await consumer.take()
    for number, late in enumerate((0.05, 0.0, 0.2, 0.0), start=1):
        world.put("a", queue=number)
        await world.advance(1000.0 + 30.0 * number + late - world.now)
        assert [change.kind for change in await consumer.take()] == ["queue"]
    await consumer.close()


async def test_different_intervals_get_the_nearest_polls() -> None:
    world = World()
    world.put("a")
    first, second = Consumer(world, interval=30.0), Consumer(world, interval=31.0)
    for consumer in (first, second):
        await consumer.take()
    for number in range(1, 4):
        world.put("a", queue=number)
        await world.advance(30.0)
        assert [len(await consumer.take()) for consumer in (first, second)] == [1, 1]
    for consumer in (first, second):
        await consumer.close()


async def test_whoever_comes_gets_nothing_older_than_they_ask_for() -> None:
    world = World()
    world.put("a")
    patient = Consumer(world, interval=3600.0)
    await patient.take()
    await world.advance(3000.0)
    world.put("a", status="offline")
    waiting = asyncio.create_task(world.watcher.wait_for("a", lambda one: not one.online, None, 30.0))
    await settle()
    assert waiting.done()
    assert world.polls == [1000.0, 4000.0]
    await patient.close()


async def test_what_an_instance_had_before_it_failed_is_not_waited_for() -> None:
    world = World()
    world.put("a")
    consumer = Consumer(world, interval=10.0)
    await consumer.take()
    world.failing = {CRNS[0]}
    await world.advance(10.0)
    waiting = asyncio.create_task(world.watcher.wait_for("a", lambda one: one.online, None, 10.0))
    await world.advance(10.0)
    assert not waiting.done()
    world.failing = set()
    await world.advance(10.0)
    assert waiting.done()
    await consumer.close()


async def test_waiting_looks_at_all_that_a_list_says_and_may_ask_for_more() -> None:
    world = World()
    world.put("a")

    async def has_grown(one: Backend) -> bool:
        await asyncio.sleep(0)
        return one.qubits == 5

    waiting = asyncio.create_task(world.watcher.wait_for("a", has_grown, None, 10.0))
    await settle()
    assert not waiting.done()
    key = (CRNS[0], "a")
    world.backends[key] = replace(world.backends[key], qubits=5)
    await world.advance(10.0)
    assert waiting.done()


async def test_after_a_wait_that_was_in_vain_the_next_one_asks_anew() -> None:
    world = World()
    world.put("a", status="offline")

    async def wait_in_vain() -> None:
        with pytest.raises(Timeout):
            await world.watcher.wait_for("a", lambda one: one.online, 0.01, 10.0)

    await asyncio.create_task(wait_in_vain())
    gc.collect()  # the error, whose traceback holds a frame
    assert not any(isinstance(one, FleetState) and one.backends for one in gc.get_objects())
    world.put("a")
    waiting = asyncio.create_task(world.watcher.wait_for("a", lambda one: not one.online, None, 10.0))
    await settle()
    assert not waiting.done(), "it is online now"
    assert len(world.polls) == 2
    waiting.cancel()
    await asyncio.wait({waiting})


async def test_a_client_that_closes_tells_of_nothing_gone() -> None:
    world = World()
    for name in "abcde":
        world.put(name)
    consumer = Consumer(world)
    await consumer.take(1)
    await world.watcher.aclose()
    for _ in range(4):
        assert (await anext(consumer.changes)).kind == "present"
    with pytest.raises(ClientClosed):
        await anext(consumer.changes)


async def test_a_watch_can_be_iterated_again() -> None:
    world = World()
    world.put("a")
    watch = world.watcher.watch()
    async for _ in watch:
        break
    again = aiter(watch)
    assert (await anext(again)).kind == "present"
    gc.collect()
    await settle()
    world.put("a", queue=1)
    waiting = asyncio.ensure_future(anext(again))
    await settle()
    await world.advance(30.0)
    assert (await waiting).kind == "queue"
    await again.aclose()


async def test_changes_tell_when_they_were_seen_and_reasons_are_told() -> None:
    world = World()
    world.put("a")
    world.put("b")
    consumer = Consumer(world)
    await consumer.take(1)
    key = (CRNS[0], "a")
    world.backends[key] = replace(world.backends[key], status=DeviceStatus("online", "for some"))
    await world.advance(500.0)
    changes = await consumer.take()
    assert [change.kind for change in changes] == ["present", "status"]
    await world.advance(7.0)
    assert {change.at.timestamp() for change in changes} <= {1000.0, 1500.0}
    await consumer.close()


async def test_an_older_calibration_is_no_news() -> None:
    world = World()
    world.put("a")
    world.calibrated = {"a": WHEN}
    close = Consumer(world, detail=True)
    await close.take()
    world.calibrated["a"] = WHEN - timedelta(hours=1)
    await world.advance(30.0)
    assert await close.take() == []
    await close.close()


async def test_slow_calibrations_delay_no_change() -> None:
    world = World()
    world.put("a")
    world.silent = {"properties"}
    close = Consumer(world, detail=True)
    await close.take()
    assert world.asked["properties"] == 1
    world.put("a", queue=1)
    await world.advance(30.0)
    assert [change.kind for change in await close.take()] == ["queue"]
    await close.close()


async def test_a_poll_that_somebody_cancelled_begins_anew() -> None:
    world = World()
    world.put("a")
    first = Consumer(world)
    await first.take()
    poll_task(world.watcher).cancel()
    with pytest.raises(TransportError, match="cancelled by other code"):
        await first.take()
    second = Consumer(world)
    assert [change.kind for change in await second.take()] == ["present"]
    world.put("a", queue=1)
    await world.advance(30.0)
    assert [change.kind for change in await second.take()] == ["queue"]
    for consumer in (first, second):
        await consumer.close()


async def test_a_list_that_somebody_cancelled_is_a_failure_of_its_instance() -> None:
    world = World()
    world.put("a")
    world.put("b", CRNS[1])
    consumer = Consumer(world)
    await consumer.take()
    world.cancelled = {CRNS[1]}
    world.put("a", queue=1)
    await world.advance(30.0)
    assert [(change.kind, change.instance) for change in await consumer.take()] == [
        ("failed", CRNS[1]),
        ("queue", CRNS[0]),
    ]
    world.cancelled = set()
    await world.advance(30.0)
    assert [change.kind for change in await consumer.take()] == ["recovered"]
    await consumer.close()


@pytest.mark.parametrize("timeout", ["x", -1, float("nan"), True])
async def test_a_timeout_that_makes_no_sense_is_refused(timeout: Any) -> None:
    watcher = World().watcher
    with pytest.raises(InvalidRequest, match="timeout"):
        await watcher.wait_for("a", lambda one: True, timeout, 10.0)
    with pytest.raises(InvalidRequest, match="timeout"):
        await watcher.wait_for_recalibration("a", timeout, 10.0)


async def test_another_event_loop_is_told_so(emulator: Emulator) -> None:
    async with Client(emulator.account()) as client:
        await client.backends()

        async def elsewhere() -> None:
            await anext(aiter(client.watch()))

        with pytest.raises(WrongEventLoop):
            await asyncio.to_thread(asyncio.run, elsewhere())


@pytest.mark.parametrize(
    "final", [AccountError("revoked"), ClientClosed("closed"), ZeroDivisionError("a bug")]
)
async def test_what_cannot_be_mended_ends_it_for_all_and_whoever_comes_later_begins_anew(final: Any) -> None:
    world = World()
    world.put("a")
    watching = [Consumer(world), Consumer(world, interval=90.0)]
    for consumer in watching:
        await consumer.take()
    world.down = final if isinstance(final, QRBackendsError) else None
    if world.down is None:
        world.failing = None  # type: ignore[assignment]
    await world.advance(30.0)
    for consumer in watching:
        with pytest.raises(type(final) if world.down else TypeError):
            await consumer.take()
        await consumer.close()
    world.down, world.failing = None, set()
    later = Consumer(world)
    assert [change.kind for change in await later.take()] == ["present"]
    await later.close()


@pytest.mark.parametrize("resource", ["backends", "properties"])
async def test_a_revoked_key_ends_it_wherever_it_is_noticed(resource: str) -> None:
    world = World()
    world.put("a")
    plain, detailed = Consumer(world), Consumer(world, detail=True)
    for consumer in (plain, detailed):
        await consumer.take()
    world.refused = {resource}
    await world.advance(30.0)
    for consumer in (plain, detailed):
        with pytest.raises(AccountError, match="the key was revoked"):
            await consumer.take()
        await consumer.close()


async def test_new_calibrations_are_told_where_they_are_wanted() -> None:
    world = World()
    world.put("a")
    world.put("b")
    world.calibrated = {"a": WHEN, "b": WHEN}
    plain, close = Consumer(world), Consumer(world, backends=["a"], detail=True)
    await plain.take()
    await close.take()
    await world.advance(30.0)
    assert world.asked["properties"] in (1, 2), "of the one that is watched, each time"
    del world.calibrated["a"]  # it fails for once
    await world.advance(30.0)
    assert await close.take() == []
    world.calibrated["a"] = later = WHEN + timedelta(hours=1)
    await world.advance(30.0)
    (change,) = await close.take()
    assert (change.kind, change.backend, change.calibrated_at) == ("recalibrated", "a", later)
    assert await plain.take() == []
    await plain.close()
    await close.close()


WRONG: list[dict[str, Any]] = [
    {"interval": 0},
    {"interval": True},
    {"interval": "30"},
    {"interval": float("nan")},
    {"threshold": 0},
    {"threshold": 1.5},
    {"backends": "abc"},
]


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=next(iter(wrong))):
        World().watcher.watch(**wrong)


@pytest.mark.parametrize("way", ["break", "with", "cancel", "raise", "aclose"])
async def test_however_it_ends_nothing_is_left(way: str) -> None:
    world = World()
    world.put("a")
    before = asyncio.all_tasks()

    async def consume() -> None:
        watch = world.watcher.watch()
        if way == "with":
            async with watch as changes:
                await anext(changes)
            assert asyncio.all_tasks() - before == {asyncio.current_task()}
            return
        async for _ in watch:
            if way == "break":
                break
            if way == "raise":
                raise ZeroDivisionError
            if way == "aclose":
                await world.watcher.aclose()

    task = asyncio.create_task(consume())
    await settle()
    if way == "cancel":
        task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    expected = {"cancel": asyncio.CancelledError, "raise": ZeroDivisionError, "aclose": ClientClosed}
    assert type(outcome) is expected.get(way, type(None))
    del task, outcome
    gc.collect()
    await until(lambda: asyncio.all_tasks() <= before)
    assert not subscriptions(world.watcher)


# --- figures


@pytest.mark.parametrize(
    ("count", "ticks"),
    [(100, 15), pytest.param(5000, 500, marks=[pytest.mark.long, pytest.mark.timeout(900)])],
)
async def test_memory_stays_the_same_however_long_it_lasts(count: int, ticks: int) -> None:
    world = World()
    for number in range(count):
        world.put(f"b{number}", CRNS[number % 3])
    consumer = Consumer(world)
    await consumer.take()
    tracemalloc.start()
    sizes = []
    for tick in range(ticks):
        for number in range(tick % 10, count, 10):
            world.put(f"b{number}", CRNS[number % 3], queue=tick + 1)
        await world.advance(30.0)
        reported = await consumer.take()
        assert len(reported) == len(range(tick % 10, count, 10))
        consumer.kinds.clear()
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    await consumer.close()
    assert world.asked["backends"] == 3 * (ticks + 1)
    half = ticks // 2
    assert max(sizes[half:]) < 1.2 * max(sizes[:half]) + 50_000


# --- the client


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    async with Emulator(instances=5) as running:
        yield running


async def test_ten_instances_cost_ten_requests_a_tick(emulator: Emulator) -> None:
    async with Client(emulator.account(), retry=RetryPolicy(attempts=1)) as client:
        world = World()
        world.poll_for(client)
        consumers = [aiter(client.watch(interval=30.0)) for _ in range(3)]
        for consumer in consumers:
            seen = [await anext(consumer) for _ in range(8)]
            assert {change.kind for change in seen} == {"present"}
            assert {change.backend for change in seen} == set(emulator.backends()), "each once"
        assert emulator.count("backends") == 10
        waiting = [asyncio.create_task(anext(consumer)) for consumer in consumers]
        await settle()
        await world.advance(30.0)
        await until(lambda: emulator.count("backends") == 20)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        for consumer in consumers:
            await consumer.aclose()
        assert emulator.count() - emulator.count("token") == 20


async def test_a_region_that_dies_and_comes_back_is_announced(emulator: Emulator) -> None:
    async with Client(emulator.account(), retry=RetryPolicy(attempts=1)) as client:
        with anyio.fail_after(60):
            async with client.watch(interval=0.01) as changes:
                await emulator.stop_region("eu-de")
                failed: set[str | None] = set()
                async for change in changes:
                    if change.kind == "failed":
                        failed.add(change.instance)
                        assert change.region == "eu-de"
                    if len(failed) == 5:
                        break
            await emulator.start_region("eu-de")
            names = emulator.backends("eu-de")
            found = await client.wait_for(names[0], lambda one: one.queue_length >= 0, interval=0.01)
            assert found.region == "eu-de"


async def test_waiting_ends_when_it_is_true_or_when_the_time_is_up(emulator: Emulator) -> None:
    name = emulator.backends()[0]
    async with Client(emulator.account()) as client:
        assert (await client.wait_for(name, lambda one: True)).name == name
        with pytest.raises(Timeout, match=r"did not happen within 0\.05 s") as caught:
            await client.wait_for(name, lambda one: False, timeout=0.05, interval=0.01)
        assert caught.value.backend == name
        with pytest.raises(Timeout, match="no new calibration"):
            await client.wait_for_recalibration(name, timeout=0.05, interval=0.01)
        assert poll_task(watcher(client)) is None


async def test_a_new_calibration_is_waited_for() -> None:
    world = World()
    world.put("a")
    world.calibrated = {"a": WHEN}
    waiting = asyncio.create_task(world.watcher.wait_for_recalibration("a", None, 60.0))
    await settle()
    world.calibrated = {"a": WHEN + timedelta(days=1)}
    await world.advance(60.0)
    with anyio.fail_after(30):
        assert await waiting == WHEN + timedelta(days=1)


async def test_closing_the_client_ends_the_watching(emulator: Emulator) -> None:
    client = Client(emulator.account())
    changes = aiter(client.watch())
    for _ in emulator.backends():
        await anext(changes)
    waiting = asyncio.create_task(anext(changes))
    await settle()
    await client.aclose()
    with pytest.raises(ClientClosed):
        await waiting
    with pytest.raises(ClientClosed):
        await anext(aiter(client.watch()))


# --- the emulator's script, replayed


class Listed:
    """A fleet that is only listed: many backends, and no documents."""

    def __init__(self, count: int) -> None:
        self.names = tuple(f"synthetic_{number:05}" for number in range(count))

    def device(self, name: str) -> Device:
        return Device(name, "1.0.0", 156)

    def find(self, *_: Any) -> None:
        return None

    def build(self, key: Any) -> bytes:
        raise AssertionError("nothing can be found")


class Replay:
    """Does to an emulator what a script says, and says which changes have to be reported."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.now = dict.fromkeys(emulator.backends(), ("online", 0))
        self.seen: dict[tuple[str, str], tuple[str, int]] = {}
        instances = reversed(emulator.instances)
        self.first = {instance.region: instance.crn for instance in instances}  # whose lists are used
        self.failing: set[str] = set()
        self.told_failing: set[str] = set()
        self.regions = {name: region for region in emulator.regions for name in emulator.backends(region)}
        for name in self.now:
            self.put(name, "online", 0)

    def put(self, name: str, status: Any, queue: int) -> None:
        self.emulator.set_backend(name, status=status, queue_length=queue)
        self.now[name] = (status, queue)

    def drop(self, name: str) -> None:
        self.emulator.set_backend(name, hidden=True)
        self.now.pop(name, None)

    def fail(self, regions: set[str]) -> None:
        self.emulator.clear_faults()
        for region in regions:
            self.emulator.fault(Status(403), resource="backends", region=region, times=None)
        self.failing = regions

    def expected(self) -> Counter[tuple[Any, ...]]:
        """What a poll has to tell: kind, instance and backend, and status and queue before and after."""
        reported: Counter[tuple[Any, ...]] = Counter()
        for instance in self.emulator.instances:
            crn, region = instance.crn, instance.region
            if (crn in self.told_failing) != (region in self.failing):
                reported["failed" if region in self.failing else "recovered", crn, None, None, None] += 1
                self.told_failing ^= {crn}
            if region in self.failing or crn != self.first[region]:
                continue
            for name in self.emulator.backends(region):
                before, after = self.seen.get((crn, name)), self.now.get(name)
                if before == after:
                    continue
                if after is None:
                    kind = "disappeared"
                elif before is None:
                    kind = "appeared"
                else:
                    kind = "queue" if before[0] == after[0] else "status"
                reported[kind, crn, name, before, after] += 1
                self.seen.pop((crn, name), None)
                if after is not None:
                    self.seen[crn, name] = after
        return reported


def as_reported(change: Change) -> tuple[Any, ...]:
    def state(one: Backend | None) -> tuple[str, int] | None:
        return None if one is None else (one.status.name, one.queue_length)

    kind = "appeared" if change.kind == "present" else change.kind
    return kind, change.instance, change.backend, state(change.before), state(change.after)


@asynccontextmanager
async def watched(fleet: Listed, instances: int) -> AsyncIterator[tuple[Replay, World]]:
    """An emulator, and a client that polls it when the world's time is moved."""
    async with (
        Emulator(fleet, instances=instances) as emulator,
        Client(emulator.account(), retry=RetryPolicy(attempts=1)) as client,
    ):
        world = World()
        world.poll_for(client)
        yield Replay(emulator), world


async def tick(world: World, consumer: Consumer) -> list[Change]:
    """Let the next poll happen, and take what it tells."""
    await world.advance(30.0)
    await until(lambda: polled_at(world.watcher) == world.now)
    return await consumer.take()


SCRIPT = st.lists(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(0, 5), STATES, st.integers(0, 3)),
            st.tuples(st.just("drop"), st.integers(0, 5)),
            st.tuples(st.just("fail"), st.sets(st.sampled_from(["us-east", "eu-de"]))),
        ),
        max_size=5,
    ),
    max_size=12,
)


@settings(max_examples=15)
@given(SCRIPT)
def test_what_is_told_of_an_emulator_is_what_its_script_says(script: list[list[Any]]) -> None:
    async def run() -> None:
        fleet = Listed(6)
        async with watched(fleet, instances=2) as (replay, world):
            consumer = Consumer(world)
            assert Counter(map(as_reported, await first_of(world, consumer))) == replay.expected()
            for steps in [*script, [("fail", set[str]())]]:
                for what, *arguments in steps:
                    if what == "fail":
                        replay.fail(*arguments)
                    else:
                        getattr(replay, what)(fleet.names[arguments[0]], *arguments[1:])
                reported = Counter(map(as_reported, await tick(world, consumer)))
                assert reported == replay.expected()
            await consumer.close()

    asyncio.run(run())


async def first_of(world: World, consumer: Consumer) -> list[Change]:
    """Take what there is at the beginning."""
    taken = await consumer.take()
    await until(lambda: polled_at(world.watcher) == world.now)
    return taken + await consumer.take()


@pytest.mark.long
@pytest.mark.parametrize(
    ("backends", "ticks"), [(300, 6), pytest.param(5000, 500, marks=[pytest.mark.long, LONG])]
)
async def test_many_backends_over_ten_instances_and_two_regions(backends: int, ticks: int) -> None:
    fleet, draw = Listed(backends), Random(7)
    async with watched(fleet, instances=5) as (replay, world):
        consumer = Consumer(world)
        assert Counter(map(as_reported, await first_of(world, consumer))) == replay.expected()
        sizes: list[int] = []
        for number in range(ticks):
            replay.emulator.reset_log()
            replay.fail({"eu-de"} if number % 7 == 3 else set())
            for name in draw.sample(fleet.names, backends // 50):
                if draw.random() < 0.2:
                    replay.drop(name)
                else:
                    replay.put(name, draw.choice(["online", "paused"]), draw.randrange(100))
            reported = await tick(world, consumer)
            assert Counter(map(as_reported, reported)) == replay.expected()
            asked = {(one.resource, one.method) for one in replay.emulator.requests}
            assert asked == {("backends", "GET")}
            assert replay.emulator.count("backends") == 10, "one request per instance"
            consumer.kinds.clear()
            del reported
            replay.emulator.reset_log()
            gc.collect()
            sizes.append(
                sys.getallocatedblocks()
            )  # objects in memory; tracemalloc would take ten times as long
        await consumer.close()
    half = ticks // 2
    assert max(sizes[half:]) < 1.05 * max(sizes[:half])


HERE, THERE = (f"crn:v1:bluemix:public:quantum-computing:{region}:a/b:c::" for region in ("us-east", "eu-de"))


class Lists:
    """Lists as they come, and the changes that a consumer is given."""

    def __init__(self) -> None:
        self.reported, self.state = FleetState(), FleetState()

    def come(self, crn: str, *names: str, instances: tuple[str, ...] = (HERE, THERE)) -> None:
        listed = BackendList([Backend(name, DeviceStatus("online"), 0, instance=crn) for name in names], [])
        self.state.listed({crn: listed}, instances, WHEN)

    def fails(self, crn: str) -> None:
        self.state.listed({crn: ServerError("broken", 500)}, [HERE, THERE], WHEN)

    def changes(self) -> Iterator[tuple[str, str | None]]:
        for change in differences(self.reported, self.state, lambda _: True, 1, False):
            yield change.kind, change.backend


def test_what_a_list_that_comes_late_has_was_there_before() -> None:
    lists = Lists()
    lists.come(HERE, "a", "b")
    handling = lists.changes()
    assert next(handling) == ("present", "a")
    lists.come(THERE, "c")  # while the consumer handles the first change
    assert list(handling) == [("present", "b")]
    assert list(lists.changes()) == [("present", "c")]
    lists.come(THERE, "c", "d")
    assert list(lists.changes()) == [("appeared", "d")]


def test_the_first_list_after_a_failure_is_a_first_list() -> None:
    lists = Lists()
    lists.fails(THERE)
    assert list(lists.changes()) == [("failed", None)]
    lists.come(THERE, "a")
    assert list(lists.changes()) == [("recovered", None), ("present", "a")]


def test_an_instance_that_comes_back_begins_anew() -> None:
    lists = Lists()
    lists.come(THERE, "a")
    lists.come(HERE, "b")
    assert list(lists.changes()) == [("present", "a"), ("present", "b")]
    lists.come(HERE, "b", instances=(HERE,))
    assert list(lists.changes()) == [("disappeared", "a")]
    lists.come(THERE, "a")
    assert list(lists.changes()) == [("present", "a")]


def listed(crn: str, queue: int) -> BackendList:
    return BackendList([Backend("a", DeviceStatus("online"), queue, region="us-east", instance=crn)])


@pytest.mark.parametrize("per_instance", [False, True])
def test_one_device_of_several_instances_is_told_once(per_instance: bool) -> None:
    reported, state = FleetState(), FleetState()
    first, second = CRNS[:2]

    def told(**answers: Any) -> list[tuple[Any, ...]]:
        state.listed({CRNS[int(key[1:])]: answer for key, answer in answers.items()}, [first, second], WHEN)
        found = differences(reported, state, lambda _: True, 1, False, per_instance)
        return [(one.kind, one.instance, one.after and one.after.queue_length) for one in found]

    if per_instance:
        assert told(i1=listed(second, 5), i0=listed(first, 4)) == [
            ("present", second, 5),
            ("present", first, 4),
        ]
        return
    assert told(i1=listed(second, 5)) == [("present", second, 5)]
    assert told(i0=listed(first, 5)) == [], "the same, of the instance that comes first"
    assert told(i0=listed(first, 7), i1=listed(second, 8)) == [("queue", first, 7)]
    assert told(i0=ServerError("broken", 500), i1=listed(second, 9)) == [
        ("failed", first, None),
        ("queue", second, 9),
    ]
    assert told(i1=BackendList([])) == [("queue", first, 7)], "what the failing one had is not gone"
    assert told(i0=BackendList([]), i1=BackendList([])) == [
        ("recovered", first, None),
        ("disappeared", first, None),
    ]
