"""The official client against the emulator, over sockets, with nothing of it replaced."""

import asyncio
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPMessage
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from qrbackends import BackendList, Client, NotFound
from qrbackends.emulator import EmulatedInstance, Emulator
from qrbackends.emulator.devices.fleets import wheel_directory
from qrbackends.emulator.devices.synthetic import SyntheticFleet
from qrbackends.emulator.surface.validators import Validation

from ..profiles import some_of
from .background import in_background

SOME = (
    "ibm_boston",
    "ibm_sherbrooke",
    "ibmq_lima",
    "ibmqx2",
    "ibm_berlin",
    "ibmq_almaden",
    "fake_fractional",
)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with in_background(Emulator("snapshots")) as running:
        yield running


def make(emulator: Emulator, instance: str) -> Any:
    """Make a QiskitRuntimeService that finds everything at an emulator."""
    runtime = pytest.importorskip("qiskit_ibm_runtime")

    def resolve(url: str, instance: str | None, *args: Any, **kwargs: Any) -> str:
        return emulator.url(instance.split(":")[5]) if instance else emulator.url("us-east")

    return runtime.QiskitRuntimeService(
        channel="ibm_quantum_platform",
        token=emulator.api_keys[0],
        instance=instance,
        url_resolver=resolve,
    )


def point_at(emulator: Emulator, patch: pytest.MonkeyPatch) -> None:
    """Give the addresses that the official client takes from the environment."""
    patch.setenv("IAM_URL", emulator.iam_url)
    patch.setenv("GLOBAL_SEARCH_URL", emulator.search_url)
    patch.setenv("GLOBAL_CATALOG_URL", emulator.catalog_url)


@pytest.fixture(autouse=True)
def _at_the_emulator(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, _own_environment: None) -> None:
    point_at(emulator, monkeypatch)
    monkeypatch.setattr(logging.getLogger("qiskit_ibm_runtime"), "disabled", True)
    emulator.reset_log()


@pytest.fixture
def service(emulator: Emulator, cache: dict[str, Any]) -> Any:
    """One service over both regions, for all tests here: it keeps the 68 configurations."""
    if not cache:
        cache["auto"] = make(emulator, "auto")
    return cache["auto"]


@pytest.fixture(scope="module")
def cache() -> dict[str, Any]:
    return {}


def assert_every_call_carried_a_bearer(emulator: Emulator) -> None:
    calls = [request for request in emulator.requests if request.region != "cloud"]
    assert calls
    assert {request.auth for request in calls} == {"Bearer"}
    assert {request.status for request in calls} == {200}


def test_it_lists_exactly_the_68_names_of_both_regions(emulator: Emulator, cache: dict[str, Any]) -> None:
    service = cache["auto"] = make(emulator, "auto")  # a new one, which has asked for nothing yet
    names = sorted(backend.name for backend in service.backends())
    real = [path.read_bytes() for path in wheel_directory().glob("*/conf_*.json")]
    assert len(names) == 68
    assert names == sorted(msgspec.json.decode(body)["backend_name"] for body in real)
    assert emulator.count("configuration") == 68
    assert emulator.count("backends") == 2
    assert (emulator.count("search"), emulator.count("catalog")) == (1, 2)
    assert_every_call_carried_a_bearer(emulator)


def test_it_finds_the_instances_and_their_plans(service: Any, emulator: Emulator) -> None:
    found = {instance["crn"]: instance["plan"] for instance in service.instances()}
    assert found == {instance.crn: instance.plan.name.lower() for instance in emulator.instances}


@pytest.mark.parametrize("name", some_of(SOME, 2))
def test_it_reads_configuration_properties_and_status(service: Any, emulator: Emulator, name: str) -> None:
    backend = service.backend(name)
    backend.refresh()
    conf, props, status = backend.configuration(), backend.properties(), backend.status()
    assert conf.backend_name == props.backend_name == name
    assert conf.n_qubits == len(props.qubits) == backend.num_qubits
    assert 0 < props.t1(0) < 1e-2
    assert 0 <= props.readout_error(0) <= 1
    assert status.operational is True
    assert status.status_msg == "active"
    assert status.pending_jobs >= 0
    for resource in ("configuration", "properties", "status"):
        assert emulator.count(resource, name) >= 1
    assert_every_call_carried_a_bearer(emulator)


@pytest.mark.long
def test_it_works_with_one_instance(emulator: Emulator) -> None:
    crn = next(instance.crn for instance in emulator.instances if instance.region == "eu-de")
    service = make(emulator, crn)
    assert {backend.name for backend in service.backends()} == set(emulator.backends("eu-de"))
    assert service.least_busy().name in emulator.backends("eu-de")
    assert {request.crn for request in emulator.requests if request.region != "cloud"} == {crn}
    assert_every_call_carried_a_bearer(emulator)


def test_the_least_busy_backend_is_the_one_with_the_shortest_queue(service: Any, emulator: Emulator) -> None:
    least = service.least_busy(min_num_qubits=100)
    assert emulator.count("status") == 0  # it takes the queues from the list
    assert_every_call_carried_a_bearer(emulator)
    queues = {
        device["name"]: device["queue_length"]
        for instance in emulator.instances
        for device in listed(emulator, instance)
        if device["qubits"] >= 100
    }
    assert queues[least.name] <= min(queues.values()) + 4  # each has moved by at most 2 since


def listed(emulator: Emulator, instance: EmulatedInstance) -> Any:
    """The list, without the official client."""
    return msgspec.json.decode(list_answer(emulator, instance)[1])["devices"]


def list_answer(emulator: Emulator, instance: EmulatedInstance) -> tuple[HTTPMessage, bytes]:
    """The answer to a request for the list: headers and body."""
    connection = HTTPConnection(urlsplit(emulator.url(instance.region)).netloc, timeout=10)
    headers = {
        "Authorization": f"apikey {emulator.api_keys[0]}",
        "Service-CRN": instance.crn,
        "IBM-API-Version": "2026-04-15",
    }
    connection.request("GET", "/api/v1/backends", headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.headers, body


def test_it_reads_the_past_and_a_variant(service: Any, emulator: Emulator) -> None:
    past = service.backend("ibm_boston").properties(datetime=datetime(2026, 6, 1, tzinfo=UTC))
    assert past.backend_name == "ibm_boston"
    (asked,) = (request for request in emulator.requests if request.resource == "properties")
    assert "updated_before=2026-06-01T00%3A00%3A00%2B00%3A00" in asked.path_qs
    variant = service.backend("ibmq_cambridge", calibration_id="alt")
    assert variant.properties().backend_name == "ibmq_cambridge"
    assert "calibration_id=alt" in emulator.requests[-1].path_qs
    assert_every_call_carried_a_bearer(emulator)


@pytest.mark.parametrize(("name", "gates"), [("ibm_boston", {"rx", "rzz"}), ("ibm_miami", {"rx"})])
def test_fractional_gates_are_in_its_targets_if_they_are_wanted(
    service: Any, name: str, gates: set[str]
) -> None:
    fractional = service.backend(name, use_fractional_gates=True).target
    assert {"rx", "rzz"}.intersection(fractional.operation_names) == gates
    for gate in gates:
        assert len(fractional[gate]) > 100
        assert all(one.error is not None for one in fractional[gate].values())
    plain = service.backend(name, use_fractional_gates=False).target
    assert {"rx", "rzz"}.isdisjoint(plain.operation_names)


@pytest.mark.long
def test_it_understands_the_synthetic_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    with in_background(Emulator()) as synthetic:
        point_at(synthetic, monkeypatch)
        service = make(synthetic, "auto")
        backends = {backend.name: backend for backend in service.backends()}
        assert sorted(backends) == list(synthetic.backends())
        paused, large = backends["synthetic_falcon_27"], backends["synthetic_heron_156_a"]
        assert paused.status().operational, "it takes jobs"
        assert paused.status().status_msg == "internal", "and runs none"
        assert service.least_busy().status().operational
        assert large.properties().t1(0) > 0
        assert large.target.num_qubits == 156
        extra = service.backend(large.name, calibration_id="extra_gates", use_fractional_gates=True)
        assert "rzz" in extra.configuration().basis_gates
        assert "rzz" in service.backend(large.name, use_fractional_gates=True).target.operation_names
        assert "rzz" not in service.backend(large.name).target.operation_names
        assert_every_call_carried_a_bearer(synthetic)


@pytest.mark.parametrize("kind", some_of(["etag", "date"]))
def test_it_understands_answers_with_validators(kind: Validation, monkeypatch: pytest.MonkeyPatch) -> None:
    with in_background(Emulator(SyntheticFleet({"alpha_5": 5}), ("us-east",), validators=kind)) as emulator:
        point_at(emulator, monkeypatch)
        (backend,) = make(emulator, "auto").backends()
        for _ in range(2):
            backend.refresh()
            assert backend.properties(refresh=True).t1(0) > 0
            assert backend.status().operational
        for resource in ("backends", "configuration", "properties", "status"):
            assert emulator.count(resource) >= 1
        assert_every_call_carried_a_bearer(emulator)
        name = "ETag" if kind == "etag" else "Last-Modified"
        assert name in list_answer(emulator, emulator.instances[0])[0]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Four small devices in two instances of one region: the first is in both, the others in one each."""
    fleet = SyntheticFleet({"a_5": 5, "b_5": 5, "c_5": 5, "d_5": 5})
    with in_background(Emulator(fleet, ("us-east",), instances=2, allocation="overlapping")) as running:
        point_at(running, monkeypatch)
        yield running


@pytest.mark.long
def test_it_reads_the_usage_of_the_active_instance(few: Emulator) -> None:
    for instance in few.instances:
        service = make(few, instance.crn)
        usage = service.usage()
        assert service.active_instance() == usage["instance_id"] == instance.crn
        if instance.plan.pricing == "free":
            left = usage["usage_limit_seconds"] - usage["usage_consumed_seconds"]
            assert usage["usage_remaining_seconds"] == left > 0
            assert usage["usage_limit_reached"] is False
        else:
            assert not usage.keys() & {"usage_limit_seconds", "usage_remaining_seconds"}
    assert [request.crn for request in few.requests if request.resource == "usage"] == [
        instance.crn for instance in few.instances
    ]


@pytest.mark.long
def test_it_finds_each_backend_in_an_instance_that_lists_it(few: Emulator) -> None:
    first, second = (instance.crn for instance in few.instances)
    service = make(few, "auto")
    assert {one.name: one._instance for one in service.backends()} == {
        "a_5": first, "b_5": first, "c_5": second, "d_5": first,
    }  # fmt: skip
    assert [one.name for one in service.backends(instance=second)] == ["a_5", "c_5"]
    with pytest.raises(Exception, match="No backend matches"):
        service.backend("c_5", instance=first)
    assert_every_call_carried_a_bearer(few)


@pytest.mark.long
def test_it_takes_a_backend_for_what_its_state_is(few: Emulator) -> None:
    few.set_backend("a_5", status="paused", queue_length=0)
    few.set_backend("b_5", status="offline", queue_length=0)
    few.set_backend("c_5", queue_length=7)
    few.set_backend("d_5", queue_length=9)
    service = make(few, "auto")
    states = {one.name: one.status() for one in service.backends()}
    assert {name: (one.operational, one.status_msg) for name, one in states.items()} == {
        "a_5": (True, "internal"),
        "b_5": (False, "maintenance"),
        "c_5": (True, "active"),
        "d_5": (True, "active"),
    }
    assert [one.name for one in service.backends(operational=True)] == ["a_5", "d_5", "c_5"]
    assert service.least_busy().name == "c_5", "the others with fewer jobs run none"
    reasons = {one["name"]: one["status"]["reason"] for one in listed(few, few.instances[0])}
    assert reasons == {"a_5": "internal", "b_5": "maintenance", "d_5": "available"}


@pytest.mark.long
def test_it_does_not_find_a_retired_backend_whose_documents_are_there(few: Emulator) -> None:
    backend = make(few, "auto").backend("c_5")
    few.set_backend("c_5", retired=True)
    service = make(few, "auto")
    assert [one.name for one in service.backends()] == ["a_5", "b_5", "d_5"]
    with pytest.raises(Exception, match="No backend matches"):
        service.backend("c_5")
    backend.refresh()
    assert backend.properties(refresh=True).backend_name == "c_5"
    assert backend.status().operational


def ours(emulator: Emulator, **options: Any) -> BackendList:
    """The list as this package reads it."""

    async def read() -> BackendList:
        async with Client(emulator.account()) as client:
            return await client.backends(**options)

    return asyncio.run(read())


def test_both_see_the_same_mocks_and_chips(service: Any, emulator: Emulator) -> None:
    theirs = {
        name: is_mock
        for instance in emulator.instances
        for name, is_mock in service._discover_backends_from_instance(instance.crn)
    }
    found = ours(emulator, include_mocks=True)
    assert {one.name: one.is_mock for one in found} == theirs
    assert True in theirs.values()
    asked = [request.path_qs for request in emulator.requests if request.resource == "backends"]
    assert set(asked) == {"/api/v1/backends?include_mocks=True"}
    chips = {one.name: one.physical_qubits for one in found}
    assert (chips["ibm_boston"], chips["ibm_berlin"], chips["ibmq_lima"]) == (332, 338, 5)
    for name in SOME:
        assert service.backend(name).physical_qubits == chips[name]


def test_a_mock_is_left_out_or_taken_as_the_official_client_does(service: Any, emulator: Emulator) -> None:
    for options in ({}, {"include_mocks": True}):
        theirs = [one.name for one in service.backends("mock_boston", **options)]
        assert theirs == [one.name for one in ours(emulator, **options) if one.name == "mock_boston"]


def test_a_device_of_several_instances_is_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = SyntheticFleet({"alpha_5": 5, "beta_7": 7})
    with in_background(Emulator(fleet, regions=("us-east",), instances=2)) as shared:
        point_at(shared, monkeypatch)
        theirs = [backend.name for backend in make(shared, "auto").backends()]
        assert sorted(theirs) == sorted(one.name for one in ours(shared).unique())


@pytest.mark.parametrize("fractional", some_of([True, False, None]))
def test_both_choose_the_same_backend_for_fractional_gates(
    monkeypatch: pytest.MonkeyPatch, fractional: bool | None
) -> None:
    """Only True rules a backend out; the others decide what the chosen one's target has."""
    with in_background(Emulator(regions=("us-east",))) as synthetic:
        point_at(synthetic, monkeypatch)
        for place, name in enumerate(sorted(synthetic.backends())):  # those without fractional gates first
            synthetic.set_backend(name, status="online", queue_length=place)
        theirs = make(synthetic, "auto").least_busy(use_fractional_gates=fractional)

        async def choose() -> str:
            async with Client(synthetic.account()) as client:
                return (await client.least_busy(use_fractional_gates=fractional)).name

        synthetic.reset_log()
        assert asyncio.run(choose()) == theirs.name
        assert synthetic.count("configuration") <= 4
        assert bool({"rx", "rzz"} & set(theirs.target.operation_names)) is (fractional is True)
        if fractional:
            assert theirs.name != min(synthetic.backends())


def test_both_say_so_where_no_backend_has_fractional_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Emulator("snapshots", regions=("us-east",), backends=("ibmq_lima", "ibmqx2"))
    with in_background(fleet) as old:
        point_at(old, monkeypatch)
        with pytest.raises(Exception, match="No backend matches"):
            make(old, "auto").least_busy(use_fractional_gates=True)

        async def choose() -> None:
            async with Client(old.account()) as client:
                await client.least_busy(use_fractional_gates=True)

        with pytest.raises(NotFound, match="none of the account's 2 backends is what is wanted"):
            asyncio.run(choose())
