"""A backend as Qiskit's tools expect it: what it says of a device, and how it is renewed."""

import copy
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace
from qiskit import QuantumCircuit, transpile
from qiskit.providers import BackendV2
from qiskit.transpiler import CouplingMap

from qrbackends import BackendStatus, Client, InvalidRequest, NotFound, QRBackendsError
from qrbackends.emulator import Emulator, Status
from qrbackends.interop.qiskit import LocalBackend, backend, fetch_backend, to_target
from qrbackends.models.properties import Nduv

from ..snapshots import real
from .fakes import FIVE, official, ours
from .test_qiskit import entries, ghz

DATE = "2026-06-01T00:00:00Z"
OF_BOTH = (
    *("num_qubits", "backend_version", "description", "online_date", "max_circuits", "version", "provider"),
    *("basis_gates", "simulator", "n_qubits", "processor_type", "coupling_map"),
)
"""Attributes that are equal, those of the configuration among them."""


def shown(value: Any) -> Any:
    return sorted(value.get_edges()) if isinstance(value, CouplingMap) else value


@pytest.mark.parametrize("name", FIVE)
def test_a_backend_says_what_the_official_fake_says(name: str) -> None:
    mine, theirs = ours(name), official(name)
    assert isinstance(mine, BackendV2)
    assert entries(mine.target) == entries(theirs.target)
    for one in OF_BOTH:
        assert shown(getattr(mine, one)) == shown(getattr(theirs, one)), one
    assert mine.dt == pytest.approx(theirs.dt)
    assert mine.meas_map == theirs.configuration().meas_map
    assert mine.dtm == pytest.approx(theirs.dtm)
    assert set(mine.operation_names) == set(theirs.operation_names)
    assert mine.qubit_properties(3).t1 == theirs.qubit_properties(3).t1
    durations = [one.instruction_durations for one in (mine, theirs)]
    assert durations[0].get("sx", 3) == durations[1].get("sx", 3) > 0
    for one in ("service", "session", "warp", "get_translation_stage_plugin", "_instance"):
        assert not hasattr(mine, one), one


def test_it_tells_which_device_it_is_of_and_that_it_is_not_the_device() -> None:
    device = ours("torino")
    assert repr(device) == "<LocalBackend('ibm_torino')>"
    assert device.name == "ibm_torino"
    assert device.configuration() is device.configuration()
    assert device.properties() is device.properties()
    assert device.configuration().document == real("torino")[0]
    assert device.configuration().document.num_qubits == device.num_qubits == 133
    status = device.status()
    assert (status.backend_name, status.operational, status.pending_jobs) == ("ibm_torino", True, 0)
    assert status.status_msg == "local simulation"
    live = backend(*real("torino"), BackendStatus(7, state=True, status="active", backend_version="1.2"))
    assert live.status().to_dict() == {
        "backend_name": "ibm_torino",
        "backend_version": "1.2",
        "operational": True,
        "pending_jobs": 7,
        "status_msg": "active",
    }


def test_without_properties_it_is_without_faults() -> None:
    device = backend(real("lima")[0])
    assert device.properties() is None
    assert device.target.qubit_properties is None
    device.check_faulty(ghz(5))


def test_options_are_those_of_targets() -> None:
    device = ours("torino", include_control_flow=False)
    assert "if_else" not in device.operation_names
    assert transpile(ghz(5), device).num_nonlocal_gates() >= 4
    with pytest.raises(TypeError, match="include_everything"):
        ours("torino", include_everything=True)


def test_what_only_a_client_can_fetch_is_told() -> None:
    device = ours("lima")
    with pytest.raises(InvalidRequest, match=r"await backend\.refresh\(client\)"):
        device.properties(refresh=True)
    with pytest.raises(InvalidRequest, match=r"fetch_backend\(client, 'ibmq_lima', updated_before="):
        device.properties(datetime=datetime(2026, 1, 1, tzinfo=UTC))


def pickled(one: Any) -> Any:
    return pickle.loads(pickle.dumps(one))  # noqa: S301  # our own bytes


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
def test_it_can_be_copied_and_pickled_for_other_processes(duplicate: Any) -> None:
    device = ours("lima")
    again = duplicate(device)
    assert (repr(again), again.configuration(), again.properties()) == (
        repr(device),
        device.configuration(),
        device.properties(),
    )
    assert entries(again.target) == entries(device.target)
    assert again.status() == device.status()


# --- faults


def faulty() -> LocalBackend:
    """Return a device of whose qubits 3, and of whose gates the `cx` on (1, 0), does not work."""
    configuration, properties = real("lima")
    flag = Nduv(DATE, "operational", "", 0.0)
    return backend(
        configuration,
        replace(
            properties,
            qubits=tuple(
                (*one, flag) if number == 3 else one for number, one in enumerate(properties.qubits)
            ),
            gates=tuple(
                replace(gate, parameters=(*gate.parameters, flag)) if gate.on == (1, 0) else gate
                for gate in properties.gates
            ),
        ),
    )


def circuit(*gates: tuple[Any, ...]) -> QuantumCircuit:
    made = QuantumCircuit(5, 5, name="mine")
    for name, *on in gates:
        getattr(made, name)(*on)
    return made


@pytest.mark.parametrize(
    ("gates", "problem"),
    [
        ([("x", 0), ("cx", 0, 1), ("barrier",)], None),
        ([("x", 3)], "'x' of 'mine' is on 3, which is faulty; transpile it for the target of ibmq_lima"),
        ([("x", 0), ("measure", 3, 0)], "'measure' of 'mine' is on 3"),
        ([("cx", 1, 0)], "'cx' of 'mine' is on 1, 0"),
    ],
)
def test_a_circuit_on_what_is_faulty_is_told(gates: Any, problem: str | None) -> None:
    device, checked = faulty(), circuit(*gates)
    if problem is None:
        device.check_faulty(checked)
        return
    with pytest.raises(InvalidRequest) as caught:
        device.check_faulty(checked)
    assert str(caught.value).startswith(problem)
    assert isinstance(caught.value, ValueError), "as of the official client"


def test_so_it_is_within_control_flow() -> None:
    made = QuantumCircuit(5, 1, name="mine")
    with made.if_test((0, 1)):
        made.x(2)
        with made.if_test((0, 0)):
            made.cx(1, 0)
    with pytest.raises(InvalidRequest, match="'cx' of 'mine' is on 1, 0"):
        faulty().check_faulty(made)


def test_what_transpiles_for_its_target_uses_nothing_faulty() -> None:
    device = faulty()
    device.check_faulty(transpile(ghz(3), device, seed_transpiler=1))


# --- with a client


@pytest.mark.anyio
async def test_a_backend_is_fetched_with_all_that_is_known_of_it(emulator: Emulator, client: Client) -> None:
    name = emulator.backends("eu-de")[0]
    emulator.set_backend(name, queue_length=11)
    device = await fetch_backend(client, name, include_control_flow=False)
    configuration, properties = await client.configuration(name), await client.properties(name)
    assert device.configuration().document is configuration
    assert device.properties().document is properties  # type: ignore[union-attr]
    assert device.status().pending_jobs == 11
    assert entries(device.target) == entries(to_target(configuration, properties, include_control_flow=False))
    assert [emulator.count(one) for one in ("configuration", "properties", "status")] == [1, 1, 1]
    with pytest.raises(NotFound):
        await fetch_backend(client, "ibm_nowhere")


@pytest.mark.anyio
async def test_a_backend_may_have_neither_properties_nor_a_status(emulator: Emulator, client: Client) -> None:
    name = emulator.backends("eu-de")[0]
    for resource in ("properties", "status"):
        emulator.fault(Status(404), resource=resource, times=None)
    device = await fetch_backend(client, name)
    assert (device.properties(), device.status().status_msg) == (None, "local simulation")
    emulator.clear_faults()


@pytest.mark.anyio
async def test_a_backend_is_renewed_with_its_target_whatever_is_cached(
    emulator: Emulator, client: Client
) -> None:
    name = emulator.backends("eu-de")[0]
    device = await fetch_backend(client, name, include_control_flow=False)
    before = device.properties()
    edges = device.coupling_map
    device.name = "mine"
    emulator.recalibrate(name)
    emulator.set_backend(name, queue_length=3)
    await device.refresh(client)
    after = device.properties()
    assert before is not None
    assert after is not None
    assert before.last_update_date < after.last_update_date
    assert after.document is await client.properties(name)
    assert device.qubit_properties(0).t1 == after.t1(0)
    assert entries(device.target) == entries(
        to_target(device.configuration().document, after.document, include_control_flow=False)
    )
    assert device.coupling_map is not edges
    assert device.status().pending_jobs == 3
    assert [emulator.count(one) for one in ("configuration", "properties", "status")] == [2, 2, 2]


@pytest.mark.anyio
async def test_a_backend_that_cannot_be_renewed_stays_as_it_was(emulator: Emulator, client: Client) -> None:
    name = emulator.backends("eu-de")[0]
    device = await fetch_backend(client, name)
    before = device.configuration(), device.properties(), device.status(), device.target
    emulator.fault(Status(403), resource="status", times=None)
    with pytest.raises(QRBackendsError):
        await device.refresh(client)
    assert (device.configuration(), device.properties(), device.status(), device.target) == before
    emulator.clear_faults()


@pytest.mark.anyio
async def test_a_variant_stays_a_variant(emulator: Emulator, client: Client) -> None:
    name = next(one for one in emulator.backends() if "heron" in one)
    device = await fetch_backend(client, name, calibration_id="extra_gates")
    assert device.calibration_id == "extra_gates"
    await device.refresh(client)
    asked = [
        one.path_qs
        for one in emulator.requests
        if "/properties" in one.path_qs or "/configuration" in one.path_qs
    ]
    assert len(asked) == 4
    assert all("calibration_id=extra_gates" in path for path in asked)
    assert device.configuration().document == await client.configuration(name, calibration_id="extra_gates")


@pytest.mark.anyio
async def test_a_backend_of_the_past_has_the_properties_of_the_past(
    emulator: Emulator, client: Client
) -> None:
    name = emulator.backends()[0]
    now = await client.properties(name)
    device = await fetch_backend(client, name, updated_before=now.last_update_date)
    past = device.properties()
    assert past is not None
    assert past.last_update_date < now.last_update_date
    assert device.qubit_properties(0).t1 == past.t1(0)
