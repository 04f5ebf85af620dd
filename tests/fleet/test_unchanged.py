"""What has not changed costs a watch nothing, and hides no change."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from operator import is_
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from qrbackends import (
    Backend,
    BackendList,
    BackendProperties,
    BackendSummary,
    Change,
    Client,
    DecodeError,
    Memory,
    Monitor,
    QRBackendsError,
    ServerError,
    summary,
)
from qrbackends.emulator import Emulator, Status
from qrbackends.emulator.devices.synthetic import SyntheticFleet
from qrbackends.fleet.changes import FleetState, differences
from qrbackends.interop.exposition import fleet_text
from qrbackends.models import DeviceStatus

from ..internals import decoders
from ..waiting import until

pytestmark = pytest.mark.anyio

WHEN, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
CRNS = tuple(f"crn:v1:bluemix:public:quantum-computing:us-east:a/1:{number}::" for number in range(3))


def listed(crn: str, queues: dict[str, int], odd: frozenset[str] = frozenset()) -> BackendList:
    online = DeviceStatus("online")
    entries = [Backend(name, online, queue, region="r", instance=crn) for name, queue in queues.items()]
    errors = [DecodeError("odd", path="$.devices[0].x").about(backend=name, instance=crn) for name in odd]
    return BackendList(entries, errors)


def copied(answer: BackendList | QRBackendsError) -> BackendList | QRBackendsError:
    if isinstance(answer, QRBackendsError):
        return answer
    return BackendList(map(replace, answer), answer.errors)


# --- against a model: states that never see an object twice


class Consumer:
    """A state and what one consumer was given of it."""

    def __init__(self, state: FleetState, threshold: int, per_instance: bool) -> None:
        self.state, self.reported = state, FleetState()
        self.how: tuple[Any, ...] = (lambda _: True, threshold, True, per_instance)

    def look(self) -> list[Change]:
        return list(differences(self.reported, self.state, *self.how))


NAMES = st.sampled_from("ab")
LISTS = st.tuples(st.just("new"), st.dictionaries(NAMES, st.integers(0, 4)), st.frozensets(NAMES, max_size=2))
ANSWERS = st.one_of(st.just(("same",)), st.just(("same",)), st.just(("late",)), st.just(("fails",)), LISTS)
STEPS = st.lists(
    st.tuples(
        st.one_of(
            st.tuples(st.just("lists"), st.just(CRNS), st.tuples(ANSWERS, ANSWERS, ANSWERS)),
            st.tuples(
                st.just("lists"),
                st.lists(st.sampled_from(CRNS), unique=True).map(tuple),
                st.tuples(ANSWERS, ANSWERS, ANSWERS),
            ),
            st.just(("unlisted",)),
            st.tuples(st.just("calibrated"), NAMES, st.integers(0, 3)),
        ),
        st.sets(st.integers(0, 3)),  # the consumers that look after this step
    ),
    max_size=30,
)


def each_once(state: FleetState, crns: tuple[str, ...]) -> dict[Any, Backend]:
    def rank(key: Any) -> tuple[bool, int]:
        return key[0] in state.failing or key in state.odd, crns.index(key[0])

    found: dict[Any, Backend] = {}
    for key in sorted(state.backends, key=rank):
        found.setdefault((state.backends[key].region, key[1]), state.backends[key])
    return found


class Twins:
    """A state that is given the same list objects again and again, and one that is given equal copies."""

    def __init__(self) -> None:
        self.state, self.model = FleetState(), FleetState()
        self.last: dict[str, BackendList] = {}
        self.consumers = [
            (Consumer(self.state, *how), Consumer(self.model, *how))
            for how in ((threshold, per_instance) for threshold in (1, 3) for per_instance in (False, True))
        ]

    def lists(self, crns: tuple[str, ...], answers: tuple[Any, ...], at: datetime) -> None:
        self.last = {crn: one for crn, one in self.last.items() if crn in crns}
        come: dict[str, Any] = {}
        for crn, (what, *content) in zip(CRNS, answers, strict=True):
            if what == "fails":
                come[crn] = ServerError("broken", 500).about(instance=crn)
            elif what == "new":
                come[crn] = self.last[crn] = listed(crn, *content)
            elif what == "same" and crn in self.last:
                come[crn] = self.last[crn]
        come = {crn: one for crn, one in come.items() if crn in crns}
        self.state.listed(come, crns, at)
        self.model.listed({crn: copied(one) for crn, one in come.items()}, crns, at)
        assert self.state.unique == each_once(self.state, crns)

    def unlisted(self, at: datetime) -> None:
        error = QRBackendsError("no instances")
        for one in (self.state, self.model):
            one.unlisted(error, at)

    def calibrated(self, name: str, hours: int, _: datetime) -> None:
        for one in (self.state, self.model):
            backend = Backend(name, DeviceStatus("online"), 0, region="r")
            one.recalibrated(backend, WHEN + timedelta(hours=hours))

    def compare(self, consumers: set[int]) -> None:
        one, other = self.state, self.model
        assert one.backends == other.backends
        assert (one.failing.keys(), one.odd.keys()) == (other.failing.keys(), other.odd.keys())
        assert (one.instances, one.at) == (other.instances, other.at)
        for number in sorted(consumers):
            consumer, model = self.consumers[number]
            model.reported.version = object()  # it compares all that there is
            assert sorted(consumer.look(), key=repr) == sorted(model.look(), key=repr)


@settings(max_examples=150)
@given(STEPS)
def test_the_same_objects_again_are_as_good_as_equal_ones(steps: list[Any]) -> None:
    twins = Twins()
    last = ("lists", CRNS, (("same",),) * 3), {0, 1, 2, 3}
    for number, ((what, *arguments), consumers) in enumerate([*steps, last]):
        getattr(twins, what)(*arguments, WHEN + timedelta(seconds=number))
        twins.compare(consumers)


def test_after_an_outage_instances_and_entries_are_ranked_anew() -> None:
    state = FleetState()
    odd, whole = listed(CRNS[0], {"a": 1}), listed(CRNS[1], {"a": 2})
    state.listed({CRNS[0]: odd, CRNS[1]: whole}, CRNS, WHEN)
    state.listed({CRNS[0]: listed(CRNS[0], {}, frozenset("a"))}, CRNS, WHEN)
    assert state.unique["r", "a"].queue_length == 2
    state.unlisted(QRBackendsError("no instances"), WHEN)
    version = state.version
    state.listed({}, CRNS, WHEN)  # both still fail, so that the account's order counts
    assert state.unique["r", "a"].queue_length == 1
    assert state.version is not version


def test_the_same_lists_again_cost_nothing_for_each_backend() -> None:
    state, asked = FleetState(), list[str]()
    lists = {crn: listed(crn, {"a": 1, "b": 2}, frozenset("c")) for crn in CRNS}
    consumer = Consumer(state, 1, per_instance=False)

    def wants(name: str) -> bool:
        asked.append(name)
        return True

    consumer.how = (wants, 1, True)
    state.listed({**lists, CRNS[2]: ServerError("broken", 500)}, CRNS, WHEN)
    consumer.look()
    asked.clear()
    before = [state.backends, state.unique, state.odd]
    state.listed({**lists, CRNS[2]: ServerError("broken again", 500)}, CRNS, LATER)
    assert all(map(is_, [state.backends, state.unique, state.odd], before))
    assert state.at == LATER
    assert str(state.failing[CRNS[2]]) == "broken again"
    assert consumer.look() == []
    assert asked == []
    state.listed(dict(lists), CRNS, LATER)
    assert [one.kind for one in consumer.look()] == ["recovered", "failed"]


# --- the emulator, over real sockets


@pytest.fixture
async def still() -> AsyncIterator[Emulator]:
    """A service in which nothing changes by itself."""
    fleet = SyntheticFleet({f"d{number}": 5 for number in range(4)})
    async with Emulator(fleet, ("us-east",), clock=lambda: 1_750_000_000.0) as running:
        for name in running.backends():
            running.set_backend(name, queue_length=3)
        yield running


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many bodies of each resource were decoded."""
    counts: Counter[str] = Counter()

    def counted(resource: str, decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        def count(body: bytes) -> Any:
            counts[resource] += 1
            return decode(body)

        return count

    for resource, decode in decoders().items():
        monkeypatch.setitem(decoders(), resource, counted(resource, decode))
    return counts


async def recalibrate(emulator: Emulator, client: Client, name: str) -> datetime:
    """Let one backend have a new calibration, and return its date."""
    properties = await client.properties(name)
    later = properties.last_update_date + timedelta(hours=1)
    body = msgspec.json.encode(replace(properties, last_update_date=later))
    emulator.fault(Status(200, body=body), resource="properties", backend=name, times=None)
    return later


async def test_a_watch_decodes_only_what_has_changed(still: Emulator, decoded: Counter[str]) -> None:
    count = len(still.backends())
    async with Client(still.account()) as client, client.watch(interval=0.02, detail=True) as changes:
        assert {(await anext(changes)).kind for _ in still.backends()} == {"present"}
        await until(lambda: still.count("properties") > count)  # the second round
        assert decoded == {"backends": 1, "properties": count}
        following = asyncio.ensure_future(anext(changes))
        rounds = still.count("properties")
        await until(lambda: still.count("properties") >= rounds + 4 * count)
        assert decoded == {"backends": 1, "properties": count}
        assert not following.done()
        later = await recalibrate(still, client, "d2")
        change = await following
        assert (change.kind, change.backend, change.calibrated_at) == ("recalibrated", "d2", later)
        assert decoded == {"backends": 1, "properties": count + 1}
        still.set_backend("d1", queue_length=4)
        change = await anext(changes)
        assert (change.kind, change.backend) == ("queue", "d1")
        assert decoded == {"backends": 2, "properties": count + 1}


async def test_a_monitor_summarizes_only_what_has_changed(
    still: Emulator, decoded: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    summarized: list[str] = []
    seconds, rounds, pause = [0.0], [0], asyncio.Event()

    def counted(*, properties: BackendProperties) -> BackendSummary:
        summarized.append(properties.backend_name)
        return summary(properties=properties)

    async def sleep(_: float) -> None:
        rounds[0] += 1  # has ended
        await pause.wait()
        pause.clear()

    monkeypatch.setattr("qrbackends.fleet.calibrations.summary", counted)
    count = len(still.backends())
    memory = Memory(clock=lambda: seconds[0])
    async with (
        Client(still.account(), memory=memory) as client,
        Monitor(client, interval=0.02, sleep=sleep, clock=lambda: seconds[0]) as monitor,
    ):

        async def next_round() -> None:
            ended, asked, polled = rounds[0], still.count("properties"), still.count("backends")
            seconds[0] += 1000  # past the freshness, and the time in which an old answer would be given
            pause.set()
            await until(lambda: rounds[0] > ended and still.count("backends") > polled + 1)
            assert still.count("properties") == asked + count

        await until(lambda: rounds[0] > 0 and len(summarized) == count)
        view = monitor.view
        text = fleet_text(view)
        await next_round()
        await next_round()
        assert monitor.view is view
        assert len(summarized) == count
        assert decoded == {"backends": 1, "properties": count}
        assert fleet_text(monitor.view) == text
        later = await recalibrate(still, client, "d2")
        await next_round()
        assert monitor.view is not view
        assert summarized[count:] == ["d2"]
        line = f'timestamp_seconds{{backend="d2",region="us-east"}} {later.timestamp()}\n'
        assert line in fleet_text(monitor.view).fixed.decode()
        assert line not in text.fixed.decode()
