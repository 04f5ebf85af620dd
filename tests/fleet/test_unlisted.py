"""Devices that no list has, mocks, and devices of several instances, over real sockets."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from qrbackends import (
    Backend,
    BackendList,
    BackendProperties,
    CachePolicy,
    Client,
    Fetched,
    InstanceUnavailable,
    InvalidRequest,
    Limits,
    NotFound,
    Request,
    RetryPolicy,
    ServerError,
    Timeout,
)
from qrbackends.emulator import Emulator, Garbage, Status
from qrbackends.models import DeviceStatus
from qrbackends.protocol.requests import request_of

from ..internals import let_ask, parts

pytestmark = pytest.mark.anyio

DOCUMENTS = ("configuration", "properties", "status")


@pytest.fixture
async def retired(emulator: Emulator) -> str:
    """A backend of the second region, whose documents are answered although no list has it."""
    name = emulator.backends("eu-de")[1]
    emulator.set_backend(name, retired=True)
    return name


@pytest.fixture(scope="module")
async def shared_pair() -> AsyncIterator[Emulator]:
    """Three instances of one region, each of which lists the same devices."""
    async with Emulator(regions=("us-east",), instances=3, seed="pair") as running:
        yield running


@pytest.fixture
async def pair(shared_pair: Emulator) -> AsyncIterator[Emulator]:
    yield shared_pair
    await shared_pair.reset()


@pytest.fixture
async def through(pair: Emulator) -> AsyncIterator[Client]:
    once = RetryPolicy(attempts=1)
    async with Client(pair.account(), retry=once, limits=Limits(failures=10**9)) as client:
        yield client


# --- devices that no list has


async def test_a_retired_device_is_found_in_the_instance_that_has_it(
    emulator: Emulator, client: Client, retired: str
) -> None:
    assert retired not in {one.name for one in await client.backends()}
    emulator.reset_log()
    configuration = await client.configuration(retired)
    assert configuration.backend_name == retired
    asked = [(one.resource, one.region, one.status) for one in emulator.requests]
    assert asked == [("configuration", "us-east", 404), ("configuration", "eu-de", 200)], "in order"
    assert await client.configuration(retired) is configuration
    assert (await client.status(retired)).operational
    assert (await client.properties(retired)).backend_name == retired
    assert emulator.count(region="us-east") == 1, "who has answered is asked first from then on"


async def test_the_history_of_a_retired_device(emulator: Emulator, client: Client, retired: str) -> None:
    since = datetime.now(UTC) - timedelta(hours=5)
    found = [one async for one in client.history(retired, since)]
    assert len(found) >= 4
    assert all(isinstance(one, BackendProperties) and one.backend_name == retired for one in found)
    assert emulator.count("properties", region="us-east") <= 1
    assert emulator.count("backends") == 2


async def test_an_instant_before_a_retired_devices_first_calibration(
    emulator: Emulator, client: Client, retired: str
) -> None:
    await client.properties(retired)
    emulator.reset_log()
    with pytest.raises(NotFound):
        await client.properties(retired, updated_before=datetime(2020, 1, 1, tzinfo=UTC))
    assert emulator.count("properties") == 2, "the other instance might have it"


async def test_a_misspelt_name_costs_one_request_per_instance_and_is_remembered(
    emulator: Emulator, client: Client
) -> None:
    await client.backends()
    emulator.reset_log()

    async def ask() -> NotFound:
        with pytest.raises(NotFound) as caught:
            await client.status("ibm_bosten")
        return caught.value

    errors = await asyncio.gather(*(ask() for _ in range(50)))
    assert Counter((one.resource, one.region) for one in emulator.requests) == {
        ("status", "us-east"): 1,
        ("status", "eu-de"): 1,
    }
    assert {error.backend for error in errors} == {"ibm_bosten"}
    assert len({id(error) for error in errors}) == 50
    emulator.reset_log()
    await ask()
    assert emulator.requests == ()


async def test_a_miss_is_remembered_no_longer_than_others(emulator: Emulator, retired: str) -> None:
    async with Client(emulator.account(), cache=CachePolicy(negative=0.0)) as client:
        emulator.set_backend(retired, hidden=True)
        for _ in range(2):
            with pytest.raises(NotFound):
                await client.configuration(retired)
        assert emulator.count("configuration") == 4
        emulator.set_backend(retired, retired=True)
        assert (await client.configuration(retired)).backend_name == retired


@pytest.mark.parametrize("action", [Status(500), Garbage(b"{}"), Garbage(b"[1,"), Status(403), Status(400)])
async def test_an_odd_instance_does_not_hide_the_answer_of_another(
    emulator: Emulator, client: Client, retired: str, action: Any
) -> None:
    await client.backends()
    emulator.fault(action, backend=retired, region="us-east", times=None)
    for resource in ("configuration", "properties"):
        found = await client.fetch(Request(resource, retired))
        assert found.value.backend_name == retired


async def test_an_instance_that_hangs_does_not_hide_the_answer_of_another(
    pair: Emulator, through: Client
) -> None:
    name = pair.backends()[0]
    pair.set_backend(name, retired=True)
    await through.backends()
    fetch, crns = parts(through).cache.fetch, [one.crn for one in pair.instances]
    shares: list[float] = []

    async def hanging(request: Request, scope: Any, deadline: float | None = None, **how: Any) -> Any:
        if request.backend is not None and scope.crn != crns[2]:
            assert deadline is not None
            shares.append(deadline - anyio.current_time())
            raise Timeout("it hung until its deadline")
        return await fetch(request, scope, deadline, **how)

    let_ask(through, hanging)
    assert (await through.status(name, timeout=100)).operational
    assert len(shares) == 2
    assert 0 < shares[0] <= 50, "one that hangs has at most half of the time"


async def test_a_list_that_fails_hides_no_retired_device(
    emulator: Emulator, client: Client, retired: str
) -> None:
    emulator.fault(Status(500), resource="backends", times=None)
    assert (await client.status(retired)).operational
    emulator.reset_log()
    assert (await client.status(retired)).operational
    assert [(one.resource, one.region) for one in emulator.requests] == [("status", "eu-de")]


async def test_not_found_is_not_said_while_an_instance_has_no_good_answer(
    emulator: Emulator, client: Client
) -> None:
    await client.backends()
    emulator.fault(Status(502), resource="status", region="eu-de", times=None)
    with pytest.raises(InstanceUnavailable, match="is not known") as caught:
        await client.status("ibm_bosten")
    assert [(type(error), error.region) for error in caught.value.errors] == [(ServerError, "eu-de")]
    assert caught.value.backend == "ibm_bosten"


async def test_an_instance_that_is_named_is_the_only_one_asked(
    emulator: Emulator, client: Client, retired: str
) -> None:
    with pytest.raises(NotFound):
        await client.status(retired, instance=emulator.instances[0].crn)
    assert (await client.status(retired, instance=emulator.instances[1].crn)).operational
    assert emulator.count("status") == 2


async def test_a_retired_device_that_is_listed_again(
    emulator: Emulator, client: Client, retired: str
) -> None:
    await client.status(retired)
    emulator.set_backend(retired)
    await client.backends(refresh=True)
    emulator.reset_log()
    await client.status(retired)
    assert len(emulator.requests) == 1


async def test_many_instances_are_asked_in_few_rounds(pair: Emulator, through: Client) -> None:
    with pytest.raises(NotFound):
        await through.status("nowhere")
    assert next(one.crn for one in pair.requests if one.resource == "status") == pair.instances[0].crn
    assert pair.count("status") == 3


# --- one device through several instances


async def test_each_device_counts_once(pair: Emulator, through: Client) -> None:
    names, crns = sorted(pair.backends()), tuple(one.crn for one in pair.instances)
    fleet = await through.backends()
    assert len(fleet) == 3 * len(names)
    unique = fleet.unique()
    assert isinstance(unique, BackendList)
    assert sorted(one.name for one in unique) == names
    assert {one.instance for one in unique} == {crns[0]}
    assert fleet.instances_of(names[0]) == crns
    assert fleet.instances_of("nowhere") == ()
    ranked = await through.rank(operational=None)
    assert sorted(one.name for one in ranked) == names
    pair.reset_log()
    done: list[tuple[int, int]] = []
    items = [item async for item in through.snapshot(["status"], progress=lambda *step: done.append(step))]
    assert sorted(item.backend.name for item in items) == names
    assert pair.count("status") == len(names) == done[-1][1]
    with pytest.raises(NotFound, match=f"none of the account's {len(names)} backends"):
        await through.least_busy(min_qubits=10**6)


async def test_a_condition_may_choose_the_instance(pair: Emulator, through: Client) -> None:
    second = pair.instances[1].crn

    def there(one: Backend) -> bool:
        return one.instance == second

    assert (await through.least_busy(where=there)).instance == second
    assert {one.instance for one in await through.rank(where=there)} == {second}
    async for item in through.snapshot(["status"], where=there):
        assert item.backend.instance == second


async def test_a_watch_tells_each_device_once(pair: Emulator, through: Client) -> None:
    with anyio.fail_after(60):
        async with through.watch(interval=0.05) as changes:
            present = [await anext(changes) for _ in pair.backends()]
            assert sorted(change.backend or "" for change in present) == sorted(pair.backends())
            pair.set_backend(pair.backends()[0], status="paused", reason="lunch", queue_length=3)
            async for change in changes:
                if change.kind == "status":
                    break
            assert (change.backend, change.after and change.after.queue_length) == (pair.backends()[0], 3)


@pytest.mark.parametrize("first_read", [None, 0, 1, 2])
async def test_who_is_asked_does_not_depend_on_which_list_was_read_first(
    pair: Emulator, through: Client, first_read: int | None
) -> None:
    crns = [one.crn for one in pair.instances]
    if first_read is not None:
        await through.backends(instance=crns[first_read])
    name = pair.backends()[0]
    for _ in range(2):
        await through.properties(name, refresh=True)
    assert {one.crn for one in pair.requests if one.resource == "properties"} == {crns[0]}
    pair.reset_log()
    await through.status(name)
    assert [one.resource for one in pair.requests] == ["status"], "and then the lists are known"


async def test_a_first_instance_that_cannot_be_listed_is_asked_for_its_list_once(
    pair: Emulator, through: Client
) -> None:
    crns = [one.crn for one in pair.instances]
    fetch = parts(through).cache.fetch
    asked: list[str] = []

    async def broken(request: Request, scope: Any, *args: Any, **how: Any) -> Fetched[Any]:
        if request.backend is None and scope.crn == crns[0]:
            asked.append(scope.crn)
            raise ServerError("broken", 500)
        return await fetch(request, scope, *args, **how)

    let_ask(through, broken)
    for _ in range(3):
        await through.properties(pair.backends()[0])
    assert asked == [crns[0]]
    assert {one.crn for one in pair.requests if one.resource == "properties"} == {crns[1]}


# --- mocks


async def test_mocks_are_listed_only_when_they_are_asked_for(emulator: Emulator, client: Client) -> None:
    plain = await client.backends()
    assert not any(one.is_mock for one in plain)
    both = await client.backends(include_mocks=True)
    mocks = [one for one in both if one.is_mock]
    assert mocks
    assert {one.name for one in both if not one.is_mock} == {one.name for one in plain}
    assert {one.name.partition("_")[0] for one in mocks} == {"mock"}
    assert {one.path_qs.partition("?")[2] for one in emulator.requests if one.resource == "backends"} == {
        "",
        "include_mocks=True",
    }


async def test_mocks_are_left_out_unless_asked_for(emulator: Emulator, client: Client) -> None:
    await client.backends(include_mocks=True)
    real = set(emulator.backends())
    assert not (await client.least_busy()).is_mock
    assert {one.name for one in await client.rank(operational=None)} == real
    assert set(await client.snapshot(["status"]).collect()) == real
    assert (await client.least_busy(include_mocks=True, where=lambda one: one.is_mock)).is_mock
    assert any(one.is_mock for one in await client.rank(include_mocks=True))
    wanted = client.snapshot(["configuration"], where=lambda one: one.is_mock, include_mocks=True)
    async for item in wanted:
        assert item.resource == "configuration"
        assert item.value is not None
        assert item.value.backend_name == item.backend.name


async def test_a_mock_that_comes_unasked_is_left_out() -> None:
    """The service may list one all the same, as the official client expects."""
    async with Emulator(regions=("us-east",)) as emulator, Client(emulator.account()) as client:
        name = emulator.backends()[0]
        mock = {"name": "mock_x", "class": "mock", "status": {"name": "online"}, "queue_length": 0}
        body = json.dumps(
            {"devices": [mock, {**mock, "name": name, "class": "qpu", "queue_length": 7}]}
        ).encode()
        emulator.fault(Garbage(body, "application/json"), resource="backends", times=None)
        assert [one.name for one in await client.backends()] == [name]
        assert (await client.least_busy()).name == name
        assert len(await client.backends(include_mocks=True)) == 2


async def test_a_mocks_documents(emulator: Emulator, client: Client) -> None:
    mock = next(one for one in await client.backends(include_mocks=True) if one.is_mock)
    assert (await client.configuration(mock.name)).backend_name == mock.name
    assert (await client.properties(mock.name)).backend_name == mock.name
    assert (await client.status(mock.name)).queue_length == 0


async def test_every_device_says_how_many_qubits_are_on_its_chip(client: Client) -> None:
    fleet = {one.name: one for one in await client.backends()}
    assert fleet["synthetic_heron_156_a"].physical_qubits == 332
    assert fleet["synthetic_nighthawk_120_a"].physical_qubits == 338
    assert fleet["synthetic_eagle_127"].physical_qubits == 127


def test_the_request_for_mocks() -> None:
    request = Request("backends", include_mocks=True)
    assert request.target == "/backends?include_mocks=True"
    assert request_of(request.target) == request
    assert request != Request("backends")
    assert request_of("/backends?include_mocks=true") is None
    for resource in DOCUMENTS:
        with pytest.raises(InvalidRequest, match="takes no include_mocks"):
            Request(resource, "x", include_mocks=True)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="True or False"):
        Request("backends", include_mocks="yes")  # type: ignore[arg-type]


def test_unique_keeps_the_first_of_each_region() -> None:
    def entry(name: str, region: str, instance: str) -> Backend:
        return Backend(name, DeviceStatus("online"), 0, region=region, instance=instance)

    both = BackendList(
        [entry("a", "r", "1"), entry("a", "r", "2"), entry("a", "s", "3"), entry("b", "r", "2")]
    )
    assert [(one.name, one.instance) for one in both.unique()] == [("a", "1"), ("a", "3"), ("b", "2")]
    assert both.instances_of("a") == ("1", "2", "3")
    assert BackendList([], [ServerError("x", 500)]).unique().errors
