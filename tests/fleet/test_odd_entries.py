"""One odd entry of a list hides no other, and is told wherever the fleet is shown."""

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from qrbackends import (
    BackendList,
    Change,
    Client,
    DecodeError,
    Fetched,
    Monitor,
    MonitorEvent,
    NotFound,
    QRBackendsError,
    Request,
)
from qrbackends.emulator import Emulator, Status
from qrbackends.fleet.changes import FleetState, differences
from qrbackends.interop.exposition import fleet_text
from qrbackends.models import Backend, DeviceStatus
from qrbackends.service.origin import decoded
from qrbackends.transport.pool import Response

from ..internals import let_ask, parts
from ..waiting import until

pytestmark = pytest.mark.anyio

REGION = "us-east"


async def entries(emulator: Emulator) -> list[dict[str, Any]]:
    """Return a region's entries as the service sends them."""
    async with Client(emulator.account()) as client:
        known = [msgspec.to_builtins(one) for one in await client.backends() if one.region == REGION]
    return [{key: one for key, one in entry.items() if not key.startswith("qrbackends_")} for entry in known]


def listed(emulator: Emulator, devices: list[Any]) -> None:
    """Let a region's list have these entries."""
    emulator.clear_faults()
    body = json.dumps({"devices": devices}).encode()
    emulator.fault(Status(200, body=body), resource="backends", region=REGION, times=None)


ODD: dict[str, tuple[Any, str]] = {
    "no queue": ({"queue_length": None}, "$.devices[1].queue_length"),
    "a queue that is text": ({"queue_length": "3"}, "$.devices[1].queue_length"),
    "a queue beyond 64 bits": ({"queue_length": 2**64}, "$.devices[1].queue_length"),
    "no status": ({"status": None}, "$.devices[1].status"),
    "a status without a name": ({"status": {"reason": "x"}}, "$.devices[1].status"),
    "a text for the status": ({"status": "online"}, "$.devices[1].status"),
}


@pytest.mark.parametrize("what", ODD)
async def test_an_odd_entry_is_left_out_and_told(emulator: Emulator, client: Client, what: str) -> None:
    odd, path = ODD[what]
    devices = await entries(emulator)
    listed(emulator, [devices[0], devices[1] | odd, *devices[2:]])
    found = await client.backends()
    names = {one["name"] for one in devices}
    missing = devices[1]["name"]
    assert {one.name for one in found if one.region == REGION} == names - {missing}
    (error,) = found.errors
    assert isinstance(error, DecodeError)
    assert (error.backend, error.region, error.path) == (missing, REGION, path)
    assert error.instance in {one.crn for one in emulator.instances}
    assert not error.malformed
    assert error.__traceback__ is None
    assert (await client.properties(missing)).backend_name == missing  # its documents are still to be had
    with pytest.raises(NotFound):
        await client.properties("ibm_nowhere")


async def test_what_is_no_entry_at_all_has_no_name(emulator: Emulator, client: Client) -> None:
    devices = await entries(emulator)
    listed(emulator, [None, devices[0], 7, [], {"name": 3}])
    found = await client.backends()
    assert [one.name for one in found if one.region == REGION] == [devices[0]["name"]]
    told = [(error.backend, error.path) for error in found.errors if isinstance(error, DecodeError)]
    assert told == [(None, f"$.devices[{place}]") for place in (0, 2, 3)] + [(None, "$.devices[4].name")]


async def test_an_odd_part_costs_that_part_only(emulator: Emulator, client: Client) -> None:
    devices = await entries(emulator)
    metrics = {"two_q_error_median": {"value": "low"}, "readout_error_median": {"value": 1}}
    odd = {
        "clops": {"type": "hardware"},
        "wait_time_seconds": {"average": None, "p50": 1, "p95": 2},
        "performance_metrics": metrics,
        "queue_length": 4.0,
        "qubits": 127.0,
        "processor_type": "Heron",
        "is_simulator": 0,
    }
    plain = {"queue_length": -2, "wait_time_seconds": {"average": 1.0, "p50": 1, "p95": 2}}
    listed(emulator, [devices[0] | odd, devices[1] | plain])
    found = await client.backends()
    first, second = (one for one in found if one.region == REGION)
    assert found.errors == ()
    assert (first.queue_length, first.qubits, first.is_simulator) == (4, 127, False)
    assert type(first.queue_length) is type(first.qubits) is int
    assert (first.clops, first.wait_time_seconds, first.processor_type) == (None, None, None)
    assert first.performance_metrics is not None
    assert first.performance_metrics.two_q_error_median is None
    assert first.performance_metrics.readout_error_median is not None
    assert first.performance_metrics.readout_error_median.value == 1.0
    assert second.queue_length == 0
    assert second.wait_time_seconds is not None
    assert second.wait_time_seconds.average == 1


async def test_many_odd_entries_are_counted(emulator: Emulator, client: Client) -> None:
    devices = await entries(emulator)
    listed(emulator, [*({"name": f"odd{number}"} for number in range(150)), devices[0]])
    found = await client.backends()
    assert [one.name for one in found if one.region == REGION] == [devices[0]["name"]]
    assert len(found.errors) == 101
    assert str(found.errors[-1]).startswith(f"[{REGION}]: 50 more entries")
    listed(emulator, [{}] * 10_001)
    (failed,) = (await refreshed(client)).errors
    assert "more than 10000 parts" in str(failed)


async def test_odd_parts_of_many_entries_hide_no_odd_entry(emulator: Emulator, client: Client) -> None:
    odd = {"clops": 7, "processor_type": "Heron"}
    devices = [one | odd for one in await entries(emulator)] * 30
    listed(emulator, devices)
    assert (await client.backends()).errors == ()
    listed(emulator, [*devices, {"name": "ibm_late", "status": {"name": "online"}}])
    (error,) = (await refreshed(client)).errors
    assert (error.backend, error.region) == ("ibm_late", REGION)


async def refreshed(client: Client) -> BackendList:
    await client.invalidate()
    return await client.backends()


async def test_a_watch_tells_once_that_an_entry_fails_and_that_it_recovers(
    emulator: Emulator, client: Client
) -> None:
    devices = await entries(emulator)
    name = devices[1]["name"]
    seen: list[Change] = []
    async with client.watch(interval=0.02) as changes:
        async for change in changes:
            if change.region != REGION or change.kind == "queue":
                continue
            seen.append(change)
            if change.kind == "present" and len(seen) == len(devices):
                listed(emulator, [devices[0], devices[1] | {"queue_length": None}, *devices[2:], None])
            if [one.kind for one in seen].count("failed") == 2 and change.kind == "failed":
                polls = emulator.count("backends")
                await until(lambda polls=polls: emulator.count("backends") > polls + 6)  # type: ignore[misc]
                listed(emulator, devices)
            if [one.kind for one in seen].count("recovered") == 2:
                break
    told = [(one.kind, one.backend) for one in seen[len(devices) :]]
    assert sorted(told) == sorted([("failed", name), ("failed", ""), ("recovered", name), ("recovered", "")])
    (nameless,) = (str(one) for one in seen if (one.kind, one.backend) == ("failed", ""))
    assert nameless.startswith(f"a backend without a name ({REGION}): fails: ")
    failed = next(one for one in seen if (one.kind, one.backend) == ("failed", name))
    assert isinstance(failed.error, DecodeError)
    assert failed.error.path == "$.devices[1].queue_length"


def test_a_backend_whose_entry_is_odd_stays_as_it_was() -> None:
    def backend(name: str) -> Backend:
        return Backend(name, DeviceStatus("online"), 1, region=REGION, instance="crn")

    def odd(name: str | None) -> QRBackendsError:
        return DecodeError("odd", path="$.devices[0].x").about(backend=name, region=REGION, instance="crn")

    state, reported = FleetState(), FleetState()

    def look(*names: str, errors: tuple[QRBackendsError, ...] = ()) -> list[tuple[str, str | None]]:
        state.listed({"crn": BackendList(map(backend, names), errors)}, ["crn"], state.at)
        changes = differences(reported, state, lambda _: True, 1, False)
        return [(one.kind, one.backend) for one in changes]

    assert look("a", "b") == [("present", "a"), ("present", "b")]
    assert look("b", errors=(odd("a"),)) == [("failed", "a")]
    assert ("crn", "a") in state.backends
    assert look("b", errors=(odd("a"),)) == []
    state.listed({"crn": QRBackendsError("no list")}, ["crn"], state.at)
    assert ("crn", "a") in state.odd
    assert look("b") == [("recovered", "a"), ("disappeared", "a")]
    assert look("b", errors=(odd("c"), odd(None))) == [("failed", "c"), ("failed", "")]
    assert look("b", "c") == [("recovered", "c"), ("recovered", ""), ("appeared", "c")]


def test_an_instance_whose_entry_is_whole_comes_before_one_whose_entry_is_odd() -> None:
    def backend(instance: str, queue: int) -> Backend:
        return Backend("a", DeviceStatus("online"), queue, region=REGION, instance=instance)

    odd = DecodeError("odd", path="$.devices[0].x").about(backend="a", region=REGION, instance="1")
    state = FleetState()
    crns, whole = ["1", "2"], BackendList([backend("2", 5)])
    state.listed({"1": BackendList([backend("1", 3)]), "2": whole}, crns, state.at)
    assert state.unique[REGION, "a"].queue_length == 3
    state.listed({"1": BackendList([], [odd]), "2": whole}, crns, state.at)
    assert state.unique[REGION, "a"].queue_length == 5
    state.listed({"1": BackendList([backend("1", 4)]), "2": whole}, crns, state.at)
    assert state.unique[REGION, "a"].queue_length == 4


async def test_a_monitor_follows_another_instance_while_an_entry_is_odd() -> None:
    async with (
        Emulator(regions=(REGION,), instances=2, seed="odd") as pair,
        Client(pair.account()) as client,
        Monitor(client, interval=0.03) as monitor,
    ):
        first, second = (one.crn for one in pair.instances)
        name = pair.backends()[0]
        key, fetch, is_odd = (REGION, name), parts(client).cache.fetch, False

        async def fetched(request: Request, scope: Any, *args: Any, **how: Any) -> Fetched[Any]:
            found = await fetch(request, scope, *args, **how)
            if is_odd and request.backend is None and scope.crn == first:
                body = json.dumps({"devices": [{"name": name, "status": {"name": "online"}}]}).encode()
                return replace(found, value=decoded(request, scope, Response(200, {}, body)))
            return found

        let_ask(client, fetched)
        await until(lambda: key in monitor.fleet and monitor.fleet[key].backend.instance == first)
        is_odd = True
        await until(lambda: bool(monitor.entry_failures))
        assert monitor.fleet[key].backend.instance == second
        pair.set_backend(name, queue_length=4321)
        await until(lambda: monitor.fleet[key].backend.queue_length == 4321)
        is_odd = False
        await until(lambda: not monitor.entry_failures)
        assert monitor.fleet[key].backend.instance == first


@pytest.fixture
async def monitor(client: Client) -> AsyncIterator[Monitor]:
    async with Monitor(client, interval=0.03) as running:
        yield running


async def test_monitor_and_exporter_show_the_entry_and_not_the_region(
    emulator: Emulator, client: Client, monitor: Monitor
) -> None:
    events: list[MonitorEvent] = []
    monitor.listeners.add(events.append)
    devices = await entries(emulator)
    await until(lambda: len(monitor.fleet) == len(emulator.backends()))
    name = devices[0]["name"]
    listed(emulator, [devices[0] | {"status": 3}, *devices[1:], {"name": "ibm_new"}])
    await until(lambda: len(monitor.view.entry_failures) == 2)
    assert monitor.failures == {}
    assert {(one.name, one.region) for one in monitor.view.entry_failures} == {
        (name, REGION),
        ("ibm_new", REGION),
    }
    assert (REGION, name) in monitor.fleet
    values = gauges(fleet_text(monitor.view).fixed.decode())
    assert values["qrbackends_region_up", "", REGION] == 1
    assert values["qrbackends_backend_entry_up", name, REGION] == 0
    assert values["qrbackends_backend_entry_up", "ibm_new", REGION] == 0
    assert values["qrbackends_backend_entry_up", devices[1]["name"], REGION] == 1
    assert ("qrbackends_backend_queue_jobs", name, REGION) in values
    failed = next(one for one in events if (one.kind, one.name) == ("failed", name))
    assert failed.after is monitor.fleet[REGION, name]

    listed(emulator, devices)
    await until(lambda: not monitor.entry_failures)
    assert ("recovered", name) in {(one.kind, one.name) for one in events}
    assert not any(one.kind == "disappeared" for one in events)


def gauges(text: str) -> dict[tuple[str, str, str], float]:
    return {
        (sample.name, sample.labels.get("backend", ""), sample.labels.get("region", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_an_entry_that_comes_back_while_an_instance_was_away_is_not_lost(
    emulator: Emulator, monitor: Monitor
) -> None:
    """After an instance has recovered, a backend is not taken for gone because its entry is odd."""
    devices = await entries(emulator)
    await until(lambda: len(monitor.fleet) == len(emulator.backends()))
    emulator.fault(Status(500), resource="backends", region=REGION, times=None)
    await until(lambda: bool(monitor.failures))
    listed(emulator, [devices[0] | {"queue_length": []}, *devices[1:]])
    await until(lambda: not monitor.failures and bool(monitor.entry_failures))
    polls = emulator.count("backends")
    await until(lambda: emulator.count("backends") > polls + 4)
    assert len(monitor.fleet) == len(emulator.backends())
