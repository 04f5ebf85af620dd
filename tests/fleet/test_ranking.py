"""Which backend to use, from one list per instance."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from qrbackends import (
    Backend,
    BackendConfiguration,
    BackendList,
    Client,
    ClientClosed,
    Fetched,
    InstanceUnavailable,
    InvalidRequest,
    NotFound,
)
from qrbackends.emulator import Emulator, Hold, Status, SyntheticFleet
from qrbackends.fleet.keys import KEYS, RankKey
from qrbackends.fleet.ranking import Wanted, least_busy, rank
from qrbackends.models import Clops, DeviceStatus, Metric, PerformanceMetrics, TwoQubitMetric, WaitTime

pytestmark = pytest.mark.anyio


def backend(name: str, queue: int = 0, status: str = "online", **more: Any) -> Backend:
    return Backend(name, DeviceStatus(status), queue, **more)


def asking(*backends: Backend) -> Any:
    async def ask(request: Any, **options: Any) -> Fetched[BackendList]:
        return Fetched(BackendList(backends), 0.0, "origin")

    return ask


async def test_the_least_busy_costs_one_request_per_instance(emulator: Emulator, client: Client) -> None:
    found = await client.least_busy()
    fleet = await client.backends()
    online = [one for one in fleet if one.online]
    assert found == min(online, key=lambda one: (one.queue_length, one.name))
    assert emulator.count("backends") == 2
    emulator.reset_log()
    ranked = await client.rank("two_qubit_error")
    assert [one.name for one in ranked] == [
        one.name
        for one in sorted(online, key=lambda one: one.performance_metrics.two_q_error_median.value)  # type: ignore[union-attr]
    ]
    assert len(emulator.requests) == 0, "the list is known"


async def test_what_is_wanted_is_kept_to() -> None:
    ask = asking(
        backend("off", 0, "offline", qubits=200),
        backend("small", 1, qubits=5),
        backend("sim", 2, qubits=100, is_simulator=True),
        backend("busy", 9, qubits=127),
        backend("best", 5, qubits=127),
        backend("alike", 5, qubits=156),
        backend("unsized", 0),
    )

    async def name(**wanted: Any) -> str:
        return (await least_busy(ask, Wanted(**wanted))).name

    assert await name() == "unsized"
    assert await name(min_qubits=1) == "small"
    assert await name(min_qubits=50) == "alike"
    assert await name(min_qubits=50, simulator=True) == "sim"
    assert await name(min_qubits=50, simulator=None) == "sim"
    assert await name(min_qubits=50, operational=None) == "off"
    assert await name(operational=False) == "off"
    assert await name(where=lambda one: one.queue_length > 5) == "busy"
    with pytest.raises(NotFound, match="none of the account's 7 backends"):
        await name(min_qubits=1000)


async def test_an_async_test_is_asked_of_those_that_qualify_until_one_passes() -> None:
    asked: list[str] = []

    async def test(one: Backend) -> bool:
        asked.append(one.name)
        await asyncio.sleep(0)
        return one.name == "c"

    ask = asking(*(backend(name, queue) for name, queue in zip("dcbae", (4, 3, 2, 1, 0), strict=True)))
    assert (await least_busy(ask, Wanted(where=test))).name == "c"
    assert asked == ["e", "a", "b", "c"]
    asked.clear()
    assert [one.name for one in await rank(ask, "queue", Wanted(where=test))] == ["c"]
    assert sorted(asked) == list("abcde")


async def test_of_two_entries_of_a_backend_the_first_one_says_how_long_its_queue_is() -> None:
    """The second instance's list may be older."""
    old = replace(backend("a", 0), instance="second")
    ask = asking(replace(backend("a", 9), instance="first"), old, backend("b", 5))
    assert (await least_busy(ask, Wanted())).name == "b"
    assert [one.name for one in await rank(ask, "queue", Wanted())] == ["b", "a"]
    there = Wanted(where=lambda one: one.name == "a")
    assert (await least_busy(ask, there)).instance == "first"
    there = Wanted(where=lambda one: one.instance == "second")
    assert (await least_busy(ask, there)) == old


async def test_none_is_not_said_while_an_instance_is_unlisted(emulator: Emulator, client: Client) -> None:
    emulator.fault(Status(500), resource="backends", region="us-east", times=None)
    with pytest.raises(InstanceUnavailable, match="some did not come or were not read") as caught:
        await client.least_busy(min_qubits=10_000)
    assert len(caught.value.errors) == 1
    assert (await client.least_busy()).region == "eu-de"


METRICS = {
    "two_qubit_error": "two_q_error_median",
    "two_qubit_error_layered": "two_q_error_layered",
    "readout_error": "readout_error_median",
}


def with_value(name: str, key: str, value: float) -> Backend:
    """Return a backend whose place by a key follows from the value: the smaller, the better."""
    if key == "queue":
        return backend(name, int(value))
    if key == "qubits":
        return backend(name, qubits=1000 - int(value))
    if key == "clops":
        return backend(name, clops=Clops("hardware", str(1000 - int(value))))
    if key == "wait_time":
        return backend(name, wait_time_seconds=WaitTime(0, int(value), 0))
    error = value / 10  # a probability
    if key == "two_qubit_error_best":
        best = TwoQubitMetric(error, "cz", (0, 1))
        return backend(name, performance_metrics=PerformanceMetrics(two_q_error_best=best))
    metrics = PerformanceMetrics(**{METRICS[key]: Metric(error)})  # type: ignore[arg-type]
    return backend(name, performance_metrics=metrics)


@pytest.mark.parametrize("key", KEYS)
async def test_every_key_puts_the_best_first_and_the_unknown_last(key: RankKey) -> None:
    known = [with_value(name, key, value) for name, value in (("mid", 5.0), ("best", 1.0), ("worst", 9.0))]
    unknown = [] if key == "queue" else [backend("z"), backend("a", clops=Clops("x", "many"))]
    ask = asking(*known, *unknown)
    last = [one.name for one in reversed(unknown)]
    names = [one.name for one in await rank(ask, key, Wanted())]
    assert names == ["best", "mid", "worst", *last]
    names = [one.name for one in await rank(ask, key, Wanted(), reverse=True)]
    assert names == ["worst", "mid", "best", *last]


@pytest.mark.parametrize("key", METRICS)
async def test_an_error_that_no_device_can_have_is_unknown(key: RankKey) -> None:
    known = [with_value(name, key, value) for name, value in (("mid", 5.0), ("best", 0.0), ("worst", 9.9))]
    odd = [with_value(name, key, value) for name, value in (("b", -3.0), ("a", 10.0), ("c", 1e300))]
    for reverse in (False, True):
        names = [one.name for one in await rank(asking(*odd, *known), key, Wanted(), reverse=reverse)]
        assert names == [*(["worst", "mid", "best"] if reverse else ["best", "mid", "worst"]), "a", "b", "c"]


async def test_a_negative_waiting_time_is_unknown() -> None:
    waits = [("negative", -5), ("none", 0), ("long", 9)]
    ask = asking(*(with_value(name, "wait_time", value) for name, value in waits))
    assert [one.name for one in await rank(ask, "wait_time", Wanted())] == ["none", "long", "negative"]


async def test_waiting_times_are_asked_for(emulator: Emulator, client: Client) -> None:
    ranked = await client.rank("wait_time", operational=None)
    waits = [one.wait_time_seconds.p50 for one in ranked if one.wait_time_seconds]
    assert waits == sorted(waits)
    assert len(waits) == len(await client.backends())


async def test_a_key_of_ones_own_may_be_async(client: Client) -> None:
    async def t1(one: Backend) -> float | None:
        median = (await client.properties(one.name)).median_t1()
        return None if median is None else -median

    ranked = await client.rank(t1)
    medians = [(await client.properties(one.name)).median_t1() or 0.0 for one in ranked]
    assert medians == sorted(medians, reverse=True)


async def test_what_a_key_raises_is_raised_and_nothing_goes_on() -> None:
    going = asyncio.Event()
    begun: list[str] = []

    async def key(one: Backend) -> float:
        begun.append(one.name)
        if one.name == "b1":
            raise NotFound("no", 404)
        await going.wait()
        return 0.0

    before = asyncio.all_tasks()
    with pytest.raises(NotFound):
        await rank(asking(*(backend(f"b{n}") for n in range(100))), key, Wanted())
    for _ in range(5):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert len(begun) <= 33, "32 at a time, and one in the place of the one that failed"


# Fractional gates, which the configurations tell.


async def test_only_backends_with_fractional_gates_are_considered_where_they_are_wanted(
    emulator: Emulator, client: Client
) -> None:
    fleet = await client.backends()
    having = {one.name for one in fleet if (await client.configuration(one.name)).has_fractional_gates}
    assert set() < having < {one.name for one in fleet}
    ranked = [one.name for one in await client.rank(use_fractional_gates=True)]
    assert ranked == [one.name for one in await client.rank() if one.name in having]
    assert (await client.least_busy(use_fractional_gates=True)).name == ranked[0]
    large = [one.name for one in await client.rank(use_fractional_gates=True, min_qubits=150)]
    assert large == [name for name in ranked if "_156_" in name]
    for all_of_them in (False, None):
        assert await client.least_busy(use_fractional_gates=all_of_them) == await client.least_busy()
        assert await client.rank(use_fractional_gates=all_of_them) == await client.rank()


async def test_few_configurations_are_read_once(emulator: Emulator, client: Client) -> None:
    await client.least_busy()
    assert emulator.count("configuration") == 0, "nobody asked for fractional gates"
    found = await client.least_busy(use_fractional_gates=True)
    assert 1 <= emulator.count("configuration") <= 4 < len(emulator.backends())
    assert await client.least_busy(use_fractional_gates=True) == found
    assert emulator.count("configuration") <= 4, "they are cached"
    await client.rank(use_fractional_gates=True)
    assert emulator.count("configuration") == len(await client.rank()), "those that are online"


async def test_a_backend_of_several_instances_is_asked_for_its_gates_once() -> None:
    fleet = SyntheticFleet({"heron_133": 133, "eagle_127": 127})
    async with (
        Emulator(fleet, regions=("us-east",), instances=3) as shared,
        Client(shared.account()) as client,
    ):
        assert len(await client.backends()) == 6
        ranked = await client.rank(use_fractional_gates=True)
        assert shared.count("configuration") == 2
        assert (await client.least_busy(use_fractional_gates=True)) in ranked


async def test_ones_own_test_is_asked_last(client: Client) -> None:
    asked: list[str] = []

    def test(one: Backend) -> bool:
        asked.append(one.name)
        return False

    with pytest.raises(NotFound, match="backends is what is wanted"):
        await client.least_busy(use_fractional_gates=True, where=test)
    assert asked == [one.name for one in await client.rank(use_fractional_gates=True)]


async def test_a_configuration_that_cannot_be_read_is_passed_over(
    emulator: Emulator, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    first, *others = [one.name for one in await client.rank(use_fractional_gates=True)]
    await client.invalidate()
    emulator.fault(Status(500), resource="configuration", backend=first, times=None)
    assert (await client.least_busy(use_fractional_gates=True)).name == others[0]
    assert [one.name for one in await client.rank(use_fractional_gates=True)] == others
    least_busy_record, rank_record = caplog.records
    for record in (least_busy_record, rank_record):
        assert record.name == "qrbackends.ranking"
        assert record.getMessage().startswith(f"a backend is not ranked: {first} ")


async def test_a_list_that_cannot_be_read_is_logged(
    emulator: Emulator, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    region = emulator.regions[0]
    emulator.fault(Status(403), resource="backends", region=region, times=None)
    best, *_ = await client.rank()
    assert best.region != region
    assert await client.least_busy() == best
    found = [one.getMessage() for one in caplog.records if one.name == "qrbackends.ranking"]
    assert len(found) == 2
    assert all(one.startswith(f"backends are not ranked: [{region}]: HTTP 403") for one in found)


async def test_none_is_not_said_while_a_configuration_is_unread(emulator: Emulator, client: Client) -> None:
    emulator.fault(Status(500), resource="configuration", times=None)
    with pytest.raises(InstanceUnavailable, match="did not come or were not read") as caught:
        await client.least_busy(use_fractional_gates=True)
    assert {error.backend for error in caught.value.errors} == {one.name for one in await client.rank()}
    assert await client.rank(use_fractional_gates=True) == ()


async def test_a_silent_region_does_not_keep_the_others_from_being_chosen(
    emulator: Emulator, client: Client
) -> None:
    first, *others = await client.rank(use_fractional_gates=True)
    answering = [one.name for one in others if one.region != first.region]
    for name in emulator.backends(first.region):
        await client.invalidate(backend=name)
    emulator.fault(Hold(), resource="configuration", region=first.region, times=None)
    assert (await client.least_busy(use_fractional_gates=True, timeout=0.2)).name == answering[0]
    ranked = await client.rank(use_fractional_gates=True, timeout=0.2)
    assert [one.name for one in ranked] == answering


async def test_list_and_configurations_share_the_time_and_the_instance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    given: list[tuple[str, Any, Any]] = []
    configuration = BackendConfiguration("a", "1", 2, ("rzz",), ())

    async def ask(request: Any, **options: Any) -> Fetched[Any]:
        nonlocal now
        given.append((request.resource, options.get("instance"), options["timeout"]))
        now += 4.0
        listed = BackendList([replace(backend("a"), instance="second")])
        return Fetched(listed if request.resource == "backends" else configuration, 0.0, "origin")

    monkeypatch.setattr("qrbackends.fleet.ranking.current_time", lambda: now)
    wanted = Wanted(use_fractional_gates=True)
    await least_busy(ask, wanted, 10.0)
    assert given == [("backends", None, 10.0), ("configuration", "second", 6.0)]
    given.clear()
    await rank(ask, "queue", wanted, timeout=3.0)
    assert given[0] == ("backends", None, 3.0)
    assert 0.0 < given[1][2] < 0.001, "what is known is answered even then"
    given.clear()
    await least_busy(ask, wanted)
    assert [timeout for _, _, timeout in given] == [None, None], "the client's limit for each"


async def test_a_deadline_of_any_size_is_taken(client: Client) -> None:
    found = await client.least_busy(use_fractional_gates=True, timeout=10**400)
    assert found == await client.least_busy(use_fractional_gates=True)
    with pytest.raises(InvalidRequest, match="timeout"):
        await client.least_busy(use_fractional_gates=True, timeout=-1)


async def test_an_error_that_ends_all_calls_ends_this_one() -> None:
    async def ask(request: Any, **options: Any) -> Fetched[Any]:
        if request.resource == "configuration":
            raise ClientClosed("the client was closed during the call")
        return Fetched(BackendList([backend("a"), backend("b")]), 0.0, "origin")

    with pytest.raises(ClientClosed):
        await least_busy(ask, Wanted(use_fractional_gates=True))
    with pytest.raises(ClientClosed):
        await rank(ask, "queue", Wanted(use_fractional_gates=True))


async def test_an_unknown_key_is_refused(client: Client) -> None:
    with pytest.raises(InvalidRequest, match="there is no key 'speed'; there are queue, wait_time"):
        await client.rank("speed")  # type: ignore[arg-type]  # there is no such key


VALUES = st.lists(st.none() | st.floats(allow_nan=True), max_size=20)


@given(VALUES, st.booleans())
def test_any_values_are_put_in_order(values: list[float | None], reverse: bool) -> None:
    backends = [backend(f"b{number:02}") for number in range(len(values))]
    by = dict(zip((one.name for one in backends), values, strict=True))
    ranked = asyncio.run(rank(asking(*backends), lambda one: by[one.name], Wanted(), reverse=reverse))
    known = [value for one in ranked if (value := by[one.name]) is not None and value == value]
    assert known == sorted(known, reverse=reverse)
    unknown = [one.name for one in ranked[len(known) :]]
    assert unknown == sorted(unknown)
    assert len(ranked) == len(backends)


async def test_numbers_without_measure_are_put_last_or_first_and_break_nothing() -> None:
    vast = 10**400
    ask = asking(backend("a", vast), backend("b", 1, clops=Clops("hardware", vast)), backend("c", 2))
    assert [one.name for one in await rank(ask, "queue", Wanted())] == ["b", "c", "a"]
    assert [one.name for one in await rank(ask, "clops", Wanted())] == ["a", "b", "c"]
    assert (await least_busy(ask, Wanted())).name == "b"
