"""What `use_fractional_gates` means, beside the official client's decoder, on what the service sends."""

import json
from itertools import product
from typing import Any

import msgspec
import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Gate, Parameter
from qiskit_ibm_runtime.utils.backend_converter import convert_to_target
from qiskit_ibm_runtime.utils.backend_decoder import (
    configuration_from_server_data,
    properties_from_server_data,
)

from qrbackends import BackendConfiguration, BackendProperties, Client, InvalidRequest, UnknownGate
from qrbackends.emulator import Emulator, SnapshotFleet
from qrbackends.interop.qiskit import LocalBackend, backend, fetch_backend, target, to_target

from ..profiles import some_of
from .test_qiskit import entries

WHEEL = SnapshotFleet()
WITH_BOTH, WITH_RX, WITH_NONE, WITH_U3 = "ibm_boston", "ibm_berlin", "ibm_brisbane", "ibmq_rochester"


def served(name: str) -> tuple[bytes, bytes]:
    """Return the documents as the service sends them: of Herons, with `rx` and `rzz`."""
    configuration, properties = (
        WHEEL.build(WHEEL.find(kind, name, None, None, 0.0)) for kind in ("configuration", "properties")
    )
    return configuration, properties


def documents(name: str) -> tuple[BackendConfiguration, BackendProperties]:
    configuration, properties = served(name)
    return (
        msgspec.json.decode(configuration, type=BackendConfiguration),
        msgspec.json.decode(properties, type=BackendProperties),
    )


@pytest.mark.parametrize("wanted", [True, False, None])
@pytest.mark.parametrize("name", some_of([WITH_BOTH, WITH_RX, WITH_NONE, WITH_U3, "fake_fractional"]))
def test_a_backend_is_what_the_official_client_makes_for_the_same_option(
    name: str, wanted: bool | None
) -> None:
    configuration, properties = (json.loads(body) for body in served(name))
    known = configuration_from_server_data(configuration, use_fractional_gates=wanted)
    theirs = convert_to_target(known, properties_from_server_data(properties, use_fractional_gates=wanted))
    if wanted and not {"rx", "rzz"}.intersection(known.basis_gates):
        with pytest.raises(UnknownGate, match=r"no fractional gate \(rx or rzz\); use_fractional_gates=None"):
            backend(*documents(name), use_fractional_gates=wanted)
        return
    device = backend(*documents(name), use_fractional_gates=wanted)
    assert entries(device.target) == entries(theirs)
    assert entries(to_target(*documents(name), use_fractional_gates=wanted)) == entries(theirs)
    for one in ("basis_gates", "supported_instructions"):
        assert getattr(device.configuration(), one, None) == getattr(known, one, None)
    assert [one.name for one in device.configuration().gates] == [one.name for one in known.gates]
    assert device.configuration().document.n_qubits == known.n_qubits


@pytest.mark.parametrize(("wanted", "has_them"), [(0, False), (np.False_, False), (np.True_, True)])
def test_what_is_like_a_bool_means_the_same(wanted: Any, has_them: bool) -> None:
    device = backend(*documents(WITH_BOTH), use_fractional_gates=wanted)
    assert ("rx" in device.configuration().basis_gates) is ("rx" in device.operation_names) is has_them


@pytest.mark.parametrize("wanted", [True, False, None])
def test_control_flow_stays_beside_fractional_gates(wanted: bool | None) -> None:
    made = to_target(*documents(WITH_BOTH), use_fractional_gates=wanted)
    names = set(made.operation_names)
    assert "if_else" in names
    assert (names >= {"rx", "rzz"}) is (wanted is not False)
    circuit = QuantumCircuit(2, 1)
    circuit.rx(0.3, 0)
    circuit.measure(0, 0)
    with circuit.if_test((0, 1)):
        circuit.rzz(0.7, 0, 1)
    counted = transpile(circuit, target=made, seed_transpiler=1).count_ops()
    assert counted["if_else"] == 1
    assert ("rx" in counted) is (wanted is not False)


def test_the_converters_own_flags_still_do_what_they_did() -> None:
    known = documents(WITH_BOTH)
    assert "rx" not in to_target(*known, include_fractional_gates=False).operation_names
    assert "rx" in to_target(*known, include_fractional_gates=True).operation_names
    names = to_target(*known, include_control_flow=False, use_fractional_gates=True).operation_names
    assert "if_else" not in names
    assert "rx" in names


def test_gates_of_ones_own_are_left_out_by_the_converters_flag_alone() -> None:
    configuration, properties = documents(WITH_BOTH)
    gate = msgspec.structs.replace(configuration.gate("rx"), name="turn")
    own = msgspec.structs.replace(
        configuration, basis_gates=(*configuration.basis_gates, "turn"), gates=(*configuration.gates, gate)
    )
    mapping = {"turn": Gate("turn", 1, [Parameter("angle")])}
    assert (
        "turn"
        in to_target(own, properties, use_fractional_gates=False, custom_name_mapping=mapping).operation_names
    )
    without = to_target(own, properties, include_fractional_gates=False, custom_name_mapping=mapping)
    assert "turn" not in without.operation_names


@pytest.mark.parametrize(("use", "include"), list(product((True, False, None), repeat=2)))
def test_options_that_contradict_each_other_are_told(use: bool | None, include: bool | None) -> None:
    options: Any = {"use_fractional_gates": use, "include_fractional_gates": include}
    if {use, include} == {True, False}:
        with pytest.raises(InvalidRequest, match="contradict each other; leave one of them out"):
            to_target(*documents("fake_fractional"), **options)
    else:
        has_rx = "rx" in to_target(*documents("fake_fractional"), **options).operation_names
        assert has_rx is (False not in (use, include))


@pytest.mark.anyio
async def test_what_is_fetched_takes_the_same_option(emulator: Emulator, client: Client) -> None:
    name = next(one for one in emulator.backends() if "heron_156" in one)
    for wanted in (True, False):
        made = await target(client, name, use_fractional_gates=wanted)
        device: LocalBackend = await fetch_backend(client, name, use_fractional_gates=wanted)
        await device.refresh(client)
        for names in (made.operation_names, device.operation_names, device.configuration().basis_gates):
            assert ("rx" in names) is wanted
    old = next(one for one in emulator.backends() if "falcon" in one)
    with pytest.raises(UnknownGate, match=old):
        await target(client, old, use_fractional_gates=True)


@pytest.mark.anyio
async def test_a_contradiction_is_told_before_anything_is_asked(emulator: Emulator, client: Client) -> None:
    name = emulator.backends()[0]
    for fetch in (target, fetch_backend):
        with pytest.raises(InvalidRequest):
            await fetch(client, name, use_fractional_gates=True, include_fractional_gates=False)
    assert emulator.count("configuration") == 0
