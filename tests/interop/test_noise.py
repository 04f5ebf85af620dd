"""A device's noise model, and local simulations with it, beside the official client's and Aer's own."""

import copy
import subprocess
import sys
from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from qiskit import ClassicalRegister, QuantumCircuit, transpile
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel

from qrbackends import DecodeError, InvalidRequest
from qrbackends.interop.qiskit import LocalBackend, backend, noise_model
from qrbackends.messages.extras import install
from qrbackends.models.properties import Nduv

from ..profiles import some_of
from ..snapshots import BOTH, CONFIGURATIONS, PROPERTIES, real
from .fakes import FIVE, official, ours, quiet_elsewhere
from .test_qiskit import ghz

DATE = "2026-06-01T00:00:00Z"
LARGE = [pytest.param(name, marks=[pytest.mark.long, pytest.mark.timeout(600)]) for name in FIVE[1:]]


def errors(model: NoiseModel, qubits: Collection[int] | None = None) -> list[dict[str, Any]]:
    """Return a model's errors, or those of gates on some qubits, in order and without their random names."""
    found: list[dict[str, Any]] = model.to_dict(serializable=True)["errors"]
    for error in found:
        error.pop("id", None)
    if qubits is not None:
        gates = (error for error in found if error["type"] == "qerror")
        found = [error for error in gates if set(error["gate_qubits"][0]).issubset(qubits)]
    return sorted(found, key=lambda error: (error["operations"], error["gate_qubits"], error["type"]))


@pytest.mark.parametrize("name", ["lima", *LARGE])
def test_a_model_is_that_of_the_official_fake(name: str) -> None:
    mine, theirs = noise_model(*real(name)), official(name)._get_noise_model_from_backend_v2()
    assert errors(mine) == errors(theirs)
    assert len(errors(mine)) > 20
    assert (mine.noise_instructions, mine.noise_qubits) == (theirs.noise_instructions, theirs.noise_qubits)
    assert set(mine.basis_gates) == set(theirs.basis_gates) - {"reset"}, "which is no gate"


@pytest.mark.parametrize("name", ["lima", *LARGE])
def test_so_is_the_model_that_aer_makes_of_the_target(name: str) -> None:
    mine, theirs = (errors(NoiseModel.from_backend(one)) for one in (ours(name), official(name)))
    assert mine == theirs
    assert len(mine) > 20


@pytest.mark.parametrize("name", ["boston", *(one for one in LARGE if one.values != ("boston",))])
def test_the_noise_of_a_few_qubits_is_a_part_of_all(name: str) -> None:
    chosen = {0, 1, 2, 3}
    mine = noise_model(*real(name), qubits=chosen)
    theirs = quiet_elsewhere(official(name), chosen)._get_noise_model_from_backend_v2()
    assert errors(mine, chosen) == errors(theirs, chosen)
    assert any(len(error["gate_qubits"][0]) == 2 for error in errors(mine, chosen))
    assert set(mine.noise_qubits) == chosen


@pytest.mark.parametrize("part", ["gate_error", "readout_error", "thermal_relaxation"])
def test_each_part_of_the_noise_can_be_left_out(part: str) -> None:
    without: dict[str, Any] = {part: False}
    whole, model = noise_model(*real("lima")), noise_model(*real("lima"), **without)
    theirs = official("lima")._get_noise_model_from_backend_v2(**without)
    assert errors(model) == errors(theirs) != errors(whole)


@pytest.mark.long
@pytest.mark.parametrize("name", BOTH)
def test_every_real_device_can_be_modelled(name: str) -> None:
    chosen = set(range(min(3, real(name)[0].n_qubits)))
    model = noise_model(*real(name), qubits=chosen)
    assert set(model.noise_qubits) == chosen
    assert "measure" in model.noise_instructions


def test_qubits_that_the_device_does_not_have_are_told() -> None:
    with pytest.raises(InvalidRequest, match="ibmq_lima has the qubits 0 to 4, and not 7"):
        noise_model(*real("lima"), qubits=[0, 7])


# --- simulations


def relaxes(device: LocalBackend, qubit: int) -> bool:
    """Return whether the official client can relax a qubit: its T2 is physical."""
    values = device.qubit_properties(qubit)
    return bool(values.t2 <= 2 * values.t1)


def prepared(name: str) -> tuple[LocalBackend, QuantumCircuit, set[int]]:
    """Return a backend, a circuit that is transpiled for it, and the qubits that it uses."""
    device = ours(name)
    made = ghz(4)
    made.remove_final_measurements()
    circuit = transpile(made, device, seed_transpiler=1, optimization_level=1)
    used = circuit.layout.final_index_layout()
    circuit.delay(500, next(qubit for qubit in used if relaxes(device, qubit)), unit="ns")
    circuit.barrier()
    circuit.add_register(ClassicalRegister(4, "meas"))
    circuit.measure(used, range(4))
    return device, circuit, set(used)


@pytest.mark.parametrize("name", some_of(FIVE))
def test_a_simulation_counts_what_that_of_the_official_fake_counts(name: str) -> None:
    device, circuit, used = prepared(name)
    fake = quiet_elsewhere(official(name), used)
    options = {"shots": 1000, "seed_simulator": 5, "memory": True}
    mine, theirs = (one.run(circuit, **options).result() for one in (device, fake))
    assert mine.get_memory() == theirs.get_memory()
    assert mine.get_counts() != device.run(circuit, noise_model=None, **options).result().get_counts()
    assert mine.backend_name == f"aer_simulator_from({device.name})"
    assert mine.get_memory() == device.run([circuit], **options).result().get_memory()
    assert mine.get_memory() != device.run(circuit, **options | {"seed_simulator": 6}).result().get_memory()


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", FIVE[2:])
def test_so_it_is_with_the_noise_of_all_qubits(name: str) -> None:
    device, circuit, _ = prepared(name)
    mine, theirs = (one.run(circuit, seed_simulator=5).result() for one in (device, official(name)))
    assert mine.get_counts() == theirs.get_counts()


def test_a_circuit_with_control_flow_and_a_parameter_runs() -> None:
    device = ours("lima")
    circuit = QuantumCircuit(5, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    with circuit.if_test((0, 1)):
        circuit.x(0)
    circuit.measure_active()
    mine, theirs = (
        one.run(circuit, shots=400, seed_simulator=2).result().get_counts()
        for one in (device, official("lima"))
    )
    assert mine == theirs
    assert len(mine) > 2


def test_a_delay_relaxes_a_qubit_whose_t2_is_more_than_any_can_be() -> None:
    device = ours("kolkata")
    qubit = next(one for one in range(27) if not relaxes(device, one))
    circuit = QuantumCircuit(27, 1)
    circuit.x(qubit)
    circuit.delay(10 * device.qubit_properties(qubit).t1, qubit, unit="s")
    circuit.measure(qubit, 0)
    counts = device.run(circuit, shots=500, seed_simulator=1).result().get_counts()
    assert counts["0"] > 450


def test_options_come_from_the_call_or_the_backend() -> None:
    device, circuit, _ = prepared("lima")
    wanted = device.run(circuit, shots=50, seed_simulator=9).result().get_counts()
    assert sum(wanted.values()) == 50
    device.set_options(shots=50, seed_simulator=9)
    assert device.run(circuit).result().get_counts() == wanted
    assert sum(device.run(circuit, shots=7).result().get_counts().values()) == 7
    device.set_options(noise_model=NoiseModel())
    assert (
        device.run(circuit).result().get_counts()
        == device.run(circuit, noise_model=None).result().get_counts()
    )
    assert copy.deepcopy(device).options.shots == 50
    assert device.options.keys() >= AerSimulator().options.keys()
    assert ours("lima").options.shots == 1024


@pytest.mark.long
def test_a_seed_repeats_results_whatever_ran_in_between() -> None:
    device, properties = ours("torino"), real("torino")[1]

    def memory(qubits: list[int]) -> list[str]:
        circuit = QuantumCircuit(133, len(qubits))
        for _ in range(5):
            circuit.sx(qubits)
            circuit.cz(qubits[:-1], qubits[1:])
        circuit.measure(qubits, range(len(qubits)))
        found: list[str] = device.run(circuit, shots=100, seed_simulator=3, memory=True).result().get_memory()
        return found

    longer_t2 = [one for one in range(133) if (properties.t1(one) or 1) < (properties.t2(one) or 0)]
    others = [one for one in range(133) if one not in longer_t2][:7]
    before = memory(others)
    memory([*others, longer_t2[0]])  # the noise of this one makes Aer draw in another way
    assert memory(others) == before


def test_without_properties_there_is_no_noise() -> None:
    device, circuit, _ = prepared("lima")
    ideal = backend(real("lima")[0])
    assert ideal.run(circuit, seed_simulator=1).result().get_counts().keys() == {"0000", "1111"}
    assert len(device.run(circuit, seed_simulator=1).result().get_counts()) > 2


@pytest.mark.parametrize("options", [{}, {"noise_model": None}])
def test_a_circuit_on_more_qubits_than_the_device_has_is_told(options: Any) -> None:
    circuit = QuantumCircuit(9)
    circuit.x(8)
    with pytest.raises(InvalidRequest, match="use qubit 8; ibmq_lima has 5: transpile them for it"):
        ours("lima").run(circuit, **options)


def conditional(qubit: int, *others: int) -> QuantumCircuit:
    """Return a circuit of Clifford gates, measured and fed forward on a qubit; others are only turned."""
    circuit = QuantumCircuit(5, 2)
    for one in others:
        circuit.x(one)
    circuit.sx(qubit)
    circuit.measure(qubit, 0)
    with circuit.if_test((0, 1)):
        circuit.x(qubit)
    circuit.measure(qubit, 1)
    return circuit


def test_what_a_seed_gives_does_not_depend_on_the_circuits_before() -> None:
    device, options = ours("lima"), {"shots": 500, "seed_simulator": 4}
    coherence = {qubit: device.qubit_properties(qubit) for qubit in (0, 2)}
    assert coherence[2].t2 < coherence[2].t1
    assert coherence[0].t2 > coherence[0].t1
    first = device.run(conditional(2), **options).result()
    device.run(conditional(2, 0, 1), **options).result()
    again = device.run(conditional(2), **options).result()
    theirs = official("lima").run(conditional(2), **options).result()
    assert first.get_counts() == again.get_counts() == theirs.get_counts()
    assert [one.results[0].metadata["noise"] for one in (first, again, theirs)] == ["kraus"] * 3


def test_a_tuple_of_circuits_is_run_as_a_list_is() -> None:
    device, circuits = ours("lima"), (conditional(2), conditional(3))
    mine, listed = (
        device.run(several, shots=50, seed_simulator=1).result().get_counts()
        for several in (circuits, list(circuits))
    )
    assert mine == listed
    assert len(mine) == 2


@pytest.mark.parametrize("circuits", ["x", ["x"], [], None, 3, iter([QuantumCircuit(1)])])
def test_what_is_no_circuit_is_told(circuits: Any) -> None:
    with pytest.raises(InvalidRequest, match="a QuantumCircuit, or a list of them, is expected"):
        ours("lima").run(circuits)


@pytest.mark.long
def test_the_noise_of_qubits_is_modelled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def counted(*documents: Any, qubits: Any) -> NoiseModel:
        made.append(sorted(qubits))
        return noise_model(*documents, qubits=qubits)

    monkeypatch.setattr("qrbackends.interop.qiskit.simulation.noise_model", counted)
    device = ours("boston")
    for qubits in ((0, 1), (0, 1), (1,), (4,), (4,)):
        circuit = QuantumCircuit(156, 2)
        circuit.x(qubits)
        circuit.barrier()
        circuit.measure(qubits, range(len(qubits)))
        copy.deepcopy(device).run(circuit, shots=10).result()
    assert made == [[0, 1], [0, 4]], "with a qubit that each model has"


# --- what no real device has


def with_values(*values: tuple[str, str, float], gate: tuple[str, float] | None = None) -> Any:
    """Return a device with values of our own for qubit 0, or for the `cx` from it."""
    configuration, properties = real("lima")
    names = {name for name, _, _ in values}
    kept = tuple(one for one in properties.qubits[0] if one.name not in names)
    qubit = (*kept, *(Nduv(DATE, name, unit, value) for name, unit, value in values))
    gates = tuple(
        replace(
            one,
            parameters=(*one.parameters, Nduv(DATE, gate[0], "ns" if "length" in gate[0] else "", gate[1])),
        )
        if gate is not None and one.gate == "cx" and one.on == (0, 1)
        else one
        for one in properties.gates
    )
    return configuration, replace(properties, qubits=(qubit, *properties.qubits[1:]), gates=gates)


def of(model: NoiseModel, gate: str, *on: int) -> Any:
    return [one for one in errors(model) if one["operations"] == [gate] and one["gate_qubits"] == [list(on)]]


@pytest.mark.long
@pytest.mark.parametrize("value", [0.0, -1.6])
def test_times_that_no_device_has_relax_nothing(value: float) -> None:
    absent = with_values()
    qubit = tuple(one for one in absent[1].qubits[0] if one.name not in ("T1", "T2"))
    without = absent[0], replace(absent[1], qubits=(qubit, *absent[1].qubits[1:]))
    model = noise_model(*with_values(("T1", "us", value), ("T2", "us", value)))
    assert errors(model) == errors(noise_model(*without))
    assert of(model, "x", 0) != of(noise_model(*real("lima")), "x", 0) != []


def test_a_device_that_does_not_report_everything_keeps_the_noise_of_what_it_reports() -> None:
    configuration, properties = real("lima")
    fewer = replace(properties, qubits=(*properties.qubits[:2], (), *properties.qubits[3:4]))
    model = noise_model(configuration, fewer)
    assert of(model, "x", 1) == of(noise_model(configuration, properties), "x", 1)
    assert of(model, "measure", 2) == of(model, "measure", 4) == []
    assert of(model, "x", 2) != []


@pytest.mark.long
def test_errors_above_1_count_as_1() -> None:
    circuit = QuantumCircuit(5)
    circuit.cx(0, 1)
    circuit.measure_all()
    for value in (1.0, 7.5):
        device = backend(*with_values(gate=("gate_error", value)), filter_faulty=False)
        counts = device.run(circuit, shots=4000, seed_simulator=1).result().get_counts()
        assert (
            min(sum(n for key, n in counts.items() if key[-2:] == ends) for ends in ("00", "01", "10", "11"))
            > 600
        )
    readout = with_values(("prob_meas0_prep1", "", 3.0), ("prob_meas1_prep0", "", -0.5))
    assert of(noise_model(*readout), "measure", 0)[0]["probabilities"] == [[1.0, 0.0], [1.0, 0.0]]


@pytest.mark.parametrize(
    "unit", some_of(["us", "\N{MICRO SIGN}s", "\N{GREEK SMALL LETTER MU}s", "ps", "s"], 2)
)
def test_units_mean_what_they_mean(unit: str) -> None:
    scale = {"ps": 1e12, "s": 1.0}.get(unit, 1e6)
    model = noise_model(*with_values(("T1", unit, 4e-5 * scale), ("T2", unit, 3e-5 * scale)))
    plain = noise_model(*with_values(("T1", "ns", 4e4), ("T2", "ns", 3e4)))
    (mine,), (wanted,) = of(model, "x", 0), of(plain, "x", 0)
    assert mine["probabilities"] == pytest.approx(wanted["probabilities"])


def test_a_unit_that_is_not_known_is_told() -> None:
    with pytest.raises(DecodeError, match="unit of 'T1'"):
        noise_model(*with_values(("T1", "parsec", 3.0)))
    assert noise_model(*with_values(("anharmonicity", "parsec", 3.0))).noise_qubits == [0, 1, 2, 3, 4]


def test_entries_that_fit_no_gate_make_no_noise_and_the_last_of_equal_ones_counts() -> None:
    configuration, properties = real("lima")
    cx = next(one for one in properties.gates if one.gate == "cx" and one.on == (0, 1))
    odd = [replace(cx, qubits=on) for on in ((0,), (1, 1), ("x", 1), (0, 9))]
    many = replace(properties, gates=(*odd, cx, *properties.gates))
    assert errors(noise_model(configuration, many)) == errors(noise_model(configuration, properties))


@settings(max_examples=50)
@given(
    st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 6),
    st.sampled_from(["s", "ns", "us"]),
)
def test_any_numbers_make_a_model_or_a_clear_error(numbers: tuple[float, ...], unit: str) -> None:
    t1, t2, length, error, readout, wrong = numbers
    documents = with_values(
        ("T1", unit, t1), ("T2", unit, t2), ("readout_error", "", readout), ("prob_meas0_prep1", "", wrong),
        gate=("gate_length", length),
    )  # fmt: skip
    gates = tuple(
        replace(one, parameters=(*one.parameters, Nduv(DATE, "gate_error", "", error)))
        for one in documents[1].gates
        if one.on in ((0,), (0, 1))
    )
    try:
        outcome: Any = noise_model(documents[0], replace(documents[1], gates=gates), qubits=(0, 1))
    except DecodeError as problem:
        outcome = str(problem)
    assert isinstance(outcome, NoiseModel) or "Aer cannot make a noise model" in outcome


# --- without qiskit-aer, and without the official client

ALONE = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None  # it cannot be imported
import msgspec
from qiskit import ClassicalRegister, QuantumCircuit, transpile
from qrbackends import BackendConfiguration, BackendProperties
from qrbackends.interop.qiskit import backend, noise_model
conf, props = (open(path, "rb").read() for path in sys.argv[2:])
documents = (
    msgspec.json.decode(conf, type=BackendConfiguration),
    msgspec.json.decode(props, type=BackendProperties),
)
device = backend(*documents)
circuit = QuantumCircuit(2)
circuit.h(0)
circuit.cx(0, 1)
circuit.measure_all()
circuit = transpile(circuit, device, seed_transpiler=1)
calls = (
    lambda: sum(device.run(circuit, shots=100, seed_simulator=1).result().get_counts().values()),
    lambda: noise_model(*documents, qubits=[0]).noise_qubits,
)
for call in calls:
    try:
        print(call())
    except ImportError as error:
        print(error)
print(device.status().status_msg, "qiskit_ibm_runtime" in map(str, filter(sys.modules.get, sys.modules)))
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("hidden", "expected"),
    [
        ("qiskit_ibm_runtime", ["100", "[0]"]),
        (
            "qiskit_ibm_runtime,qiskit_aer",
            [f"local simulations and noise models need qiskit-aer: {install(['aer'])}"] * 2,
        ),
    ],
)
def test_it_needs_qiskit_aer_and_not_the_official_client(hidden: str, expected: list[str]) -> None:
    command = [sys.executable, "-c", ALONE, hidden, str(CONFIGURATIONS["lima"]), str(PROPERTIES["lima"])]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.stdout.splitlines() == [*expected, "local simulation False"], outcome.stderr
