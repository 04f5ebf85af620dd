"""Qiskit's targets: entry by entry as the official client builds them, and good enough to transpile for."""

import json
import math
import subprocess
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Gate
from qiskit.circuit.library import QFTGate, RZZGate
from qiskit.circuit.random import random_circuit
from qiskit.converters import dag_to_circuit
from qiskit.dagcircuit import DAGCircuit
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Operator
from qiskit.transpiler import Target, WrapAngleRegistry
from qiskit_ibm_runtime.models import BackendConfiguration as OfficialConfiguration
from qiskit_ibm_runtime.models import BackendProperties as OfficialProperties
from qiskit_ibm_runtime.utils.backend_converter import convert_to_target

from qrbackends import (
    BackendConfiguration,
    BackendProperties,
    Client,
    DecodeError,
    NotFound,
)
from qrbackends.emulator import Emulator, Garbage, Status, SyntheticFleet
from qrbackends.interop import qiskit as interop
from qrbackends.interop.qiskit import angles
from qrbackends.messages.extras import install
from qrbackends.models.configuration import GateConfig
from qrbackends.models.properties import Nduv

from ..profiles import some_of
from ..snapshots import BOTH, CONFIGURATIONS, PROPERTIES, real

OWN = Gate("sx", 1, [])


def official(conf: Any, props: Any, **options: Any) -> Target:
    return convert_to_target(
        OfficialConfiguration.from_dict(conf), OfficialProperties.from_dict(props), **options
    )


def operation(target: Target, name: str) -> tuple[Any, ...]:
    one = target.operation_from_name(name)
    if isinstance(one, type):
        return (one,)
    return type(one), one.name, one.num_qubits, one.num_clbits, [getattr(p, "name", p) for p in one.params]


def entries(target: Target) -> dict[Any, Any]:
    """Return all that a target holds."""
    angles = [-4.0, -1e-9, 0.0, 1.0, math.pi / 2, 1.6, 3.2]
    found: dict[Any, Any] = {
        "size": target.num_qubits,
        "dt": target.dt,
        "timing": [
            target.granularity,
            target.min_length,
            target.pulse_alignment,
            target.acquire_alignment,
        ],
        "qubits": target.qubit_properties
        and [(qubit.t1, qubit.t2, qubit.frequency) for qubit in target.qubit_properties],
        "names": set(target.operation_names),
    }
    for name in target.operation_names:
        found[name, "is"] = operation(target, name)
        found[name, "bounds"] = target.gate_has_angle_bounds(name) and [
            target.supported_angle_bound(name, [angle]) for angle in angles
        ]
        for on, measured in target[name].items():
            found[name, on] = measured and (measured.error, measured.duration)
    return found


SETTINGS = list(product((True, False), (True, False), (True, False), (None, {"sx": OWN})))


def assert_same(conf: bytes, props: bytes, settings: Sequence[tuple[Any, ...]]) -> None:
    configuration = msgspec.json.decode(conf, type=BackendConfiguration)
    properties = msgspec.json.decode(props, type=BackendProperties)
    recorded = (
        OfficialConfiguration.from_dict(json.loads(conf)),
        OfficialProperties.from_dict(json.loads(props)),
    )
    for control, fractional, faulty, mapping in settings:
        options: Any = {
            "include_control_flow": control,
            "include_fractional_gates": fractional,
            "filter_faulty": faulty,
            "custom_name_mapping": mapping,
        }
        with warnings.catch_warnings(record=True) as theirs_said:
            warnings.simplefilter("always")
            theirs = convert_to_target(*recorded, **options)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            mine = interop.to_target(configuration, properties, **options)
        assert len(said) == len(theirs_said), "an unknown instruction is reported"
        assert entries(mine) == entries(theirs), options


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(SETTINGS[:: len(SETTINGS) - 1], id="each"),  # both settings of each option
        pytest.param(SETTINGS, id="all", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("name", BOTH)
def test_a_target_is_what_the_official_client_builds(name: str, settings: Sequence[tuple[Any, ...]]) -> None:
    assert_same(CONFIGURATIONS[name].read_bytes(), PROPERTIES[name].read_bytes(), settings)


def test_there_are_68_real_devices() -> None:
    assert len(BOTH) == 68


FLEET = SyntheticFleet()  # with faults, fractional gates and instruction signatures


@pytest.mark.parametrize("name", some_of(FLEET.names, 2))
def test_so_it_is_for_what_the_emulator_makes_up(name: str) -> None:
    documents = []
    for resource in ("configuration", "properties"):
        key = FLEET.find(resource, name, None, None, 1.8e9)
        assert key is not None
        documents.append(FLEET.build(key))
    conf, props = documents
    assert_same(conf, props, SETTINGS)


def test_without_properties_everything_is_faultless() -> None:
    configuration, _ = real("boston")
    conf = json.loads(CONFIGURATIONS["boston"].read_bytes())
    theirs = convert_to_target(OfficialConfiguration.from_dict(conf))
    assert entries(interop.to_target(configuration)) == entries(theirs)


# --- what no real device does


def test_qubits_that_were_not_measured_have_no_values() -> None:
    configuration, properties = real("lima")
    fewer = replace(properties, qubits=(*properties.qubits[:2], (), *properties.qubits[3:4]))
    target = interop.to_target(configuration, fewer)
    assert target.qubit_properties[1].t1 == properties.t1(1)
    assert [target.qubit_properties[qubit].t1 for qubit in (2, 4)] == [None, None]
    assert target["measure"][(2,)].error is None
    assert target["measure"][(4,)] is None


def test_the_last_word_about_a_gate_counts() -> None:
    configuration, properties = real("lima")
    gate = next(one for one in properties.gates if one.gate == "cx")
    broken = replace(gate, parameters=(Nduv("2026-01-01T00:00:00Z", "operational", "", 0.0),))
    assert gate.on in interop.to_target(configuration, properties)["cx"]
    for order in ((gate, broken), (broken, gate)):
        twice = replace(properties, gates=(*properties.gates, *order))
        assert (gate.on in interop.to_target(configuration, twice)["cx"]) is (order[1] is gate)
        assert gate.on in interop.to_target(configuration, twice, filter_faulty=False)["cx"]


def test_a_gate_that_exists_nowhere_any_more_is_not_everywhere() -> None:
    configuration, properties = real("lima")
    nowhere = replace(
        configuration, gates=tuple(replace(gate, coupling_map=None) for gate in configuration.gates)
    )
    broken = tuple(
        replace(gate, parameters=(Nduv("2026-01-01T00:00:00Z", "operational", "", 0.0),))
        for gate in properties.gates
    )
    target = interop.to_target(nowhere, replace(properties, gates=broken))
    assert target["cx"] == {}


def test_an_instruction_that_qiskit_does_not_know_is_told_and_can_be_given() -> None:
    configuration, properties = real("lima")
    odd = replace(configuration, basis_gates=(*configuration.basis_gates, "warp"))
    with pytest.warns(RuntimeWarning, match="'warp' of ibmq_lima"):
        assert "warp" not in interop.to_target(odd, properties).operation_names
    warp = Gate("warp", 1, [])
    target = interop.to_target(odd, properties, custom_name_mapping={"warp": warp})
    assert target.operation_from_name("warp") is warp


def test_documents_that_do_not_fit_each_other_are_told() -> None:
    configuration, properties = real("lima")
    text = tuple(replace(gate, qubits=tuple(map(str, gate.qubits))) for gate in properties.gates)
    same = interop.to_target(configuration, replace(properties, gates=text))
    assert entries(same) == entries(interop.to_target(configuration, properties)), "as the contract has it"
    with pytest.raises(DecodeError, match="-1 qubits"):
        interop.to_target(replace(configuration, n_qubits=-1), properties)


@pytest.mark.parametrize(
    "on", [(0, 1, 2), (0,), (1, 1), ("x", 1), (0, 5), (0, -1), (0, 10**12), ("9" * 5000, 1)]
)
def test_an_odd_gate_is_left_out_of_the_target_and_logged(on: Any, caplog: pytest.LogCaptureFixture) -> None:
    configuration, properties = real("lima")
    odd = replace(next(gate for gate in properties.gates if gate.gate == "cx"), qubits=on)
    with caplog.at_level("WARNING", "qrbackends.qiskit"):
        target = interop.to_target(configuration, replace(properties, gates=(odd, *properties.gates)))
    assert entries(target) == entries(interop.to_target(configuration, properties))
    (line,) = caplog.messages
    assert line.startswith("the target of 'ibmq_lima' lacks 'cx' on 1 set of qubits that do not fit it, such")
    assert len(line) < 200


@pytest.mark.parametrize("pair", [(0,), (0, 0), (0, 5), (0, 1, 2)])
@pytest.mark.parametrize("is_calibrated", [True, False])
def test_a_configuration_whose_gates_do_not_fit_gives_a_target(
    pair: tuple[int, ...], is_calibrated: bool, caplog: pytest.LogCaptureFixture
) -> None:
    configuration, properties = real("lima")
    gates = tuple(
        replace(gate, coupling_map=(*(gate.coupling_map or ()), pair)) if gate.name == "cx" else gate
        for gate in configuration.gates
    )
    known = properties if is_calibrated else None
    with caplog.at_level("WARNING", "qrbackends.qiskit"):
        target = interop.to_target(replace(configuration, gates=gates), known)
    assert entries(target) == entries(interop.to_target(configuration, known))
    assert "lacks 'cx' on 1 set of qubits" in caplog.text


def test_of_two_gates_of_a_name_the_last_one_counts() -> None:
    conf = json.loads(CONFIGURATIONS["lima"].read_bytes())
    *others, last = [gate for gate in conf["gates"] if gate["name"] == "cx"]
    assert not others
    conf["gates"].append(last | {"coupling_map": [[1, 0], [3, 4]]})
    theirs = convert_to_target(OfficialConfiguration.from_dict(json.loads(json.dumps(conf))))
    ours = interop.to_target(msgspec.json.decode(json.dumps(conf), type=BackendConfiguration))
    assert sorted(ours["cx"]) == sorted(theirs["cx"]) == [(1, 0), (3, 4)]


@pytest.mark.parametrize("pair", [(0,), (0, 9)])
def test_a_retired_simulators_gate_is_on_all_its_qubits_and_another_devices_on_none(
    pair: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    gates = (GateConfig("cx", (), "", (pair,)), GateConfig("x", (), "", ((0,), (1,), (2,))))
    simulator = BackendConfiguration("old", "1", 3, ("cx", "x"), gates, simulator=True)
    target = interop.to_target(simulator)
    assert target.num_qubits == 3
    assert target.instruction_supported("cx", (2, 0))
    circuit = QuantumCircuit(3)
    circuit.cx(2, 0)
    assert transpile(circuit, target=target, optimization_level=0) == circuit
    assert not interop.to_target(replace(simulator, simulator=None)).instruction_supported("cx", (2, 0))
    assert "lacks 'cx'" in caplog.text
    theirs = OfficialConfiguration.from_dict(
        {
            **msgspec.to_builtins(simulator),
            **dict.fromkeys(("local", "conditional", "open_pulse", "memory"), False),
            "max_shots": 1,
            "coupling_map": None,
        }
    )
    if pair == (0,):
        with pytest.raises(QiskitError, match="does not match the number of qubits"):
            convert_to_target(theirs)  # so that nothing is compared here
    else:
        assert convert_to_target(theirs).num_qubits == 10, "the official target grows beyond the device"


# --- angles


def build_target_with_rzz() -> None:
    """Build a target for which the wrapper that folds the angle of `rzz` has to be registered."""
    configuration, _ = real("lima")
    gate = replace(configuration.gate("cx"), name="rzz", parameters=("theta",))
    assert isinstance(gate, GateConfig)
    gates = (*configuration.gates, gate)
    target = interop.to_target(
        replace(configuration, basis_gates=(*configuration.basis_gates, "rzz"), gates=gates)
    )
    assert "rzz" in target.operation_names


@cache
def empty_before() -> WrapAngleRegistry:
    """Return a registry that was empty before the first target with `rzz` was built."""
    registry = WrapAngleRegistry()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(angles, "WRAPPERS", registry)
        build_target_with_rzz()
    return registry


@given(st.floats(-50.0, 50.0) | st.integers(-40, 40).map(lambda n: n * math.pi / 4))
@example(math.pi)
@example(-math.pi)
@example(3 * math.pi)
def test_folding_keeps_the_operator_and_its_phase(angle: float) -> None:
    circuit = dag_to_circuit(empty_before().substitute_angle_bounds("rzz", [angle], [0, 1]))
    assert np.allclose(Operator(circuit).data, Operator(RZZGate(angle)).data, atol=1e-8)
    folded = [one.operation.params[0] for one in circuit.data if one.operation.name == "rzz"]
    assert all(0 <= one <= math.pi / 2 for one in folded)


ALONE = """
import sys
sys.modules["qiskit_ibm_runtime"] = None  # it cannot be imported
import json, math, msgspec
from qiskit import QuantumCircuit, transpile
from qiskit.quantum_info import Operator
from qrbackends import BackendConfiguration, BackendProperties
from qrbackends.interop.qiskit import to_target
conf, props = (open(path, "rb").read() for path in sys.argv[1:])
conf = json.loads(conf)
conf["basis_gates"].append("rzz")
pairs = conf["coupling_map"]
conf["gates"].append({"name": "rzz", "parameters": ["theta"], "qasm_def": "", "coupling_map": pairs})
target = to_target(
    msgspec.json.decode(json.dumps(conf), type=BackendConfiguration),
    msgspec.json.decode(props, type=BackendProperties),
)
for level in (1, 2, 3):
    for angle in (-7.0, -3.0, -1.0, -0.1, 0.3, 1.6, 2.5, 3.5, 9.0):
        circuit = QuantumCircuit(2)
        circuit.rzz(angle, 0, 1)
        circuit.rx(0.1, 0)
        done = transpile(circuit, target=target, optimization_level=level, seed_transpiler=1)
        angles = [one.operation.params[0] for one in done.data if one.operation.name == "rzz"]
        assert angles and all(0 <= one <= math.pi / 2 for one in angles), (level, angle, angles)
print("transpiled")
"""


@pytest.mark.long
def test_rzz_is_transpiled_where_the_official_client_is_not_there() -> None:
    files = [str(CONFIGURATIONS["fez"]), str(PROPERTIES["fez"])]
    command = [sys.executable, "-c", ALONE, *files]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.stdout == "transpiled\n", outcome.stderr


def test_a_wrapper_that_is_there_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert empty_before().substitute_angle_bounds("rzz", [-0.5], [0, 1]).count_ops()["x"] == 2
    kept = WrapAngleRegistry()
    kept.add_wrapper("rzz", lambda angles, qubits: DAGCircuit())
    monkeypatch.setattr(angles, "WRAPPERS", kept)
    build_target_with_rzz()
    assert kept.substitute_angle_bounds("rzz", [-0.5], [0, 1]).count_ops() == {}


@pytest.mark.parametrize(
    "before",
    [
        "import sys; sys.modules['qiskit'] = None",
        "from qiskit.transpiler.passes import WrapAngles; del WrapAngles.DEFAULT_REGISTRY",  # as before 2.3
    ],
)
def test_without_a_qiskit_that_is_new_enough_it_says_what_to_install(before: str) -> None:
    code = f"{before}; import qrbackends.interop.qiskit"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"ImportError: qrbackends.interop.qiskit needs Qiskit 2.3 or newer: {install(['qiskit'])}" in (
        outcome.stderr
    )


# --- transpiling


def ghz(qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits)
    circuit.h(0)
    for qubit in range(qubits - 1):
        circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


def qft(qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits)
    circuit.append(QFTGate(qubits), range(qubits))
    circuit.measure_all()
    return circuit


CIRCUITS = {
    "GHZ 20": lambda: ghz(20),
    "QFT 12": lambda: qft(12),
    "random 50 x 30": lambda: random_circuit(50, 30, max_operands=2, seed=7),
}
DEVICES = ("boston", "fez", "torino", "brisbane", "washington")
LONG = [
    pytest.param(circuit, device, level, marks=[pytest.mark.long, pytest.mark.timeout(600)])
    for circuit, device, level in product(CIRCUITS, DEVICES, (1, 2, 3))
]


@pytest.mark.parametrize(
    ("circuit", "device", "level"),
    [("GHZ 20", "boston", 1), ("GHZ 20", "washington", 3), ("QFT 12", "torino", 2), *LONG],
)
def test_circuits_come_out_the_same_as_with_the_official_target(
    circuit: str, device: str, level: int
) -> None:
    asked = CIRCUITS[circuit]()
    documents = (json.loads(paths[device].read_bytes()) for paths in (CONFIGURATIONS, PROPERTIES))
    done = [
        transpile(asked, target=target, optimization_level=level, seed_transpiler=11)
        for target in (interop.to_target(*real(device)), official(*documents))
    ]
    entanglers = [circuit.num_nonlocal_gates() for circuit in done]
    assert entanglers[0] == entanglers[1] > 0
    assert done[0].depth() == done[1].depth()


# --- what comes from a client


@pytest.mark.anyio
async def test_a_target_comes_from_a_client(emulator: Emulator, client: Client) -> None:
    name = emulator.backends("eu-de")[0]
    target = await interop.target(client, name, include_control_flow=False)
    expected = interop.to_target(
        await client.configuration(name), await client.properties(name), include_control_flow=False
    )
    assert entries(target) == entries(expected)
    assert (emulator.count("configuration"), emulator.count("properties")) == (1, 1)
    with pytest.raises(NotFound):
        await interop.target(client, name, calibration_id="no such one")
    asked = [one.path_qs for one in emulator.requests if one.status == 404]
    assert len(asked) == 2
    assert all("calibration_id=no" in path for path in asked)


@pytest.mark.anyio
async def test_a_device_without_properties_has_a_target_without_faults(
    emulator: Emulator, client: Client
) -> None:
    name = emulator.backends("eu-de")[0]
    configuration = await client.configuration(name)
    for none in (Status(404), Garbage(b" {}"), Garbage(b"null")):
        emulator.fault(none, resource="properties", times=None)
        target = await interop.target(client, name)
        assert target.qubit_properties is None
        assert entries(target) == entries(interop.to_target(configuration))
        await client.invalidate()
        emulator.clear_faults()
    with pytest.raises(NotFound):
        await interop.target(client, "ibm_nowhere")
