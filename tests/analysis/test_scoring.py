"""How likely circuits are to succeed: by the definition, beside Qiskit's scheduler, and for any documents."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Gate, Parameter, QuantumRegister
from qiskit.circuit.library import QFTGate
from qiskit.transpiler import PassManager, Target
from qiskit.transpiler.passes import ALAPScheduleAnalysis, PadDelay

from qrbackends import BackendProperties, InvalidRequest, UnknownGate, UnknownQubit
from qrbackends.analysis.costs import waiting_cost
from qrbackends.analysis.scoring import Score, score
from qrbackends.interop.qiskit import to_target
from qrbackends.models import GateProperties, Nduv

from ..snapshots import real

CONFIGURATION, PROPERTIES = real("manila")  # five qubits on a line; cx, sx, x and rz
LONG_AGO = "2020-01-01T00:00:00Z"


def measured(name: str, value: float, unit: str = "") -> Nduv:
    return Nduv(LONG_AGO, name, unit, value)


def with_gate(
    properties: BackendProperties, name: str, on: Sequence[int], *values: Nduv
) -> BackendProperties:
    """Return the properties with other values of one gate, and without those that are not given."""
    gates = [one for one in properties.gates if (one.gate, one.on) != (name, tuple(on))]
    return replace(properties, gates=(*gates, GateProperties(name, tuple(on), values)))


def with_qubit(properties: BackendProperties, qubit: int, *values: Nduv) -> BackendProperties:
    """Return the properties with other values of one qubit; those that are not given stay as they are."""
    qubits = list(properties.qubits)
    names = {one.name for one in values}
    qubits[qubit] = (*(one for one in qubits[qubit] if one.name not in names), *values)
    return replace(properties, qubits=tuple(qubits))


def without_qubit_values(properties: BackendProperties, name: str, *numbers: int) -> BackendProperties:
    """Return the properties without a value of some qubits."""
    qubits = (
        tuple(one for one in values if number not in numbers or one.name != name)
        for number, values in enumerate(properties.qubits)
    )
    return replace(properties, qubits=tuple(qubits))


def scored(circuit: Any, properties: BackendProperties = PROPERTIES, **options: Any) -> Score:
    return score(circuit, CONFIGURATION, properties, **options)


def some(value: float | None) -> float:
    assert value is not None
    return value


def lives(qubit: int) -> tuple[float, float]:
    """Return T1 and T2 of a qubit, in seconds."""
    return some(PROPERTIES.t1(qubit)), some(PROPERTIES.t2(qubit))


def made(build: Callable[[QuantumCircuit], object], qubits: int = 5, bits: int = 5) -> QuantumCircuit:
    """Return a circuit, built by a function."""
    circuit = QuantumCircuit(qubits, bits)
    build(circuit)
    return circuit


def ladder(circuit: QuantumCircuit) -> None:
    for qubit in range(circuit.num_qubits - 1):
        circuit.cx(qubit, qubit + 1)


# What it is.


def test_it_is_what_the_docstring_says() -> None:
    circuit = QuantumCircuit(3, 3)
    circuit.sx(0)  # as late as possible, just before cx
    circuit.cx(0, 1)
    circuit.rz(0.3, 1)
    circuit.cx(1, 2)
    circuit.barrier()
    circuit.measure(range(3), range(3))
    p, wait = PROPERTIES, some(PROPERTIES.gate_length("cx", (1, 2)))
    gates = [
        p.gate_error("sx", 0),
        p.gate_error("cx", (0, 1)),
        p.gate_error("rz", 1),
        p.gate_error("cx", (1, 2)),
    ]
    readout = [p.readout_error(qubit) for qubit in range(3)]
    t1, t2 = lives(0)
    idling = 1 / 2 + math.exp(-wait / t1) / 6 + math.exp(-wait / t2) / 3  # qubit 0 waits for the others
    found = scored(circuit)
    assert found.gates == pytest.approx(-math.log(math.prod(1 - some(one) for one in gates)))
    assert found.readout == pytest.approx(-math.log(math.prod(1 - some(one) for one in readout)))
    assert found.idling == pytest.approx(-math.log(idling))
    assert found.cost == found.gates + found.readout + found.idling
    assert found.success_probability == pytest.approx(
        idling * math.prod(1 - some(one) for one in (*gates, *readout))
    )
    assert found.expected_error == pytest.approx(1 - found.success_probability)


def test_without_a_barrier_each_is_measured_as_late_as_possible() -> None:
    circuit = made(ladder, 3)
    circuit.measure(range(3), range(3))
    lengths = {some(PROPERTIES.readout_length(qubit)) for qubit in range(3)}
    assert len(lengths) == 1, "so that all begin at the same time"
    with_barrier = made(ladder, 3)
    with_barrier.barrier()
    with_barrier.measure(range(3), range(3))
    assert scored(circuit) == scored(with_barrier)


def test_a_qubit_without_a_state_waits_for_free() -> None:
    later = made(
        lambda one: (one.delay(9, 0, "us"), one.barrier(), one.x(0), one.barrier(), one.delay(9, 0, "us"))
    )
    assert scored(later) == scored(made(lambda one: one.x(0)))
    around = made(
        lambda one: (one.x(0), one.delay(9, 0, "us"), one.reset(0), one.delay(9, 0, "us"), one.x(0))
    )
    assert scored(around).idling == 0.0
    between = made(lambda one: (one.x(0), one.delay(9, 0, "us"), one.x(0)))
    assert scored(between).idling == pytest.approx(waiting_cost(9e-6, *lives(0)))


def test_a_wait_is_one_wait_whatever_is_in_it() -> None:
    pieces = made(
        lambda one: (
            one.x(0),
            one.delay(1, 0, "us"),
            one.barrier(),
            one.delay(2000, 0, "ns"),
            one.delay(3e-6, 0, "s"),
            one.delay(0.004, 0, "ms"),
            one.x(0),
        )
    )
    assert scored(pieces).idling == pytest.approx(
        scored(made(lambda one: (one.x(0), one.delay(10, 0, "us"), one.x(0)))).idling
    )
    dt = some(CONFIGURATION.dt)
    in_dt = made(lambda one: (one.x(0), one.delay(4500, 0, "dt"), one.x(0)))
    in_seconds = made(lambda one: (one.x(0), one.delay(4500 * dt, 0, "s"), one.x(0)))
    assert scored(in_dt).idling == pytest.approx(scored(in_seconds).idling)


def test_nothing_costs_nothing() -> None:
    nothing = Score(0.0, 0.0, 0.0)
    assert scored(QuantumCircuit()) == scored(QuantumCircuit(5)) == nothing
    assert (nothing.success_probability, nothing.expected_error) == (1.0, 0.0)
    phase = QuantumCircuit(1, global_phase=1.0)
    phase.append(Gate("global_phase", 0, [1.0]), [])
    assert scored(phase) == nothing


def test_long_circuits_can_be_told_apart() -> None:
    noisy = with_gate(PROPERTIES, "cx", (0, 1), measured("gate_error", 0.5))
    long, longer = (scored(built([("cx", (0, 1))] * turns), noisy) for turns in (2000, 2001))
    assert long.success_probability == longer.success_probability == 0.0
    assert long.cost < longer.cost < math.inf


def ghz(circuit: QuantumCircuit) -> None:
    circuit.h(0)
    ladder(circuit)
    circuit.measure_all(add_bits=False)


def fourier(circuit: QuantumCircuit) -> None:
    circuit.append(QFTGate(4), range(4))
    circuit.measure_all(add_bits=False)


def measured_midway(circuit: QuantumCircuit) -> None:
    circuit.h(0)
    circuit.cx(0, 2)
    circuit.measure(0, 0)
    circuit.cx(2, 3)
    circuit.reset(0)
    circuit.cx(0, 3)
    circuit.measure(range(1, 4), range(1, 4))


def star(circuit: QuantumCircuit) -> None:
    for qubit in range(4):
        circuit.cx(qubit, 4)
    circuit.measure_all(add_bits=False)


@pytest.mark.parametrize("name", ["manila", "lagos", "torino"])
@pytest.mark.parametrize("build", [ghz, fourier, measured_midway, star])
def test_qiskits_own_schedule_has_the_same_waits(name: str, build: Callable[[QuantumCircuit], None]) -> None:
    """What is scheduled as late as possible, with a delay for each wait, has the same score."""
    configuration, properties = real(name)
    target: Target = to_target(configuration, properties)
    circuit = transpile(made(build), target=target, optimization_level=1, seed_transpiler=7)
    schedule = PassManager([ALAPScheduleAnalysis(target=target), PadDelay(target=target)])
    padded = schedule.run(circuit)
    assert padded.count_ops()["delay"] > circuit.count_ops().get("delay", 0)
    own, theirs = score(circuit, configuration, properties), score(padded, configuration, properties)
    assert own.idling > 0.0
    assert own.idling == pytest.approx(theirs.idling, rel=1e-9)
    assert (own.gates, own.readout) == pytest.approx((theirs.gates, theirs.readout))


# For any circuit.

COUPLED = sorted(CONFIGURATION.directed_couplings())
GATES = st.one_of(
    st.tuples(st.just("cx"), st.sampled_from(COUPLED)),
    st.tuples(st.sampled_from(["sx", "x", "rz", "measure", "reset", "delay"]), st.tuples(st.integers(0, 4))),
    st.tuples(st.just("barrier"), st.sampled_from([(0, 1), (1, 2, 3), (0, 1, 2, 3, 4)])),
)
Steps = list[tuple[str, tuple[int, ...]]]


def built(steps: Steps) -> QuantumCircuit:
    circuit = QuantumCircuit(5, 5)
    for name, qubits in steps:
        if name == "measure":
            circuit.measure(qubits[0], qubits[0])
        elif name == "rz":
            circuit.rz(0.1, qubits[0])
        elif name == "delay":
            circuit.delay(300, qubits[0], "ns")
        else:
            getattr(circuit, name)(*qubits)
    return circuit


@given(st.lists(GATES, max_size=30))
def test_it_is_a_probability(steps: Steps) -> None:
    found = scored(built(steps))
    assert min(found.gates, found.readout, found.idling) >= 0.0
    assert 0.0 <= found.success_probability <= 1.0
    assert 0.0 <= found.expected_error <= 1.0


@given(st.lists(GATES, max_size=20), st.data())
def test_a_greater_error_or_a_shorter_life_is_never_better(steps: Steps, data: st.DataObject) -> None:
    before, properties = scored(built(steps)), PROPERTIES
    kind = data.draw(st.sampled_from(["cx", "sx", "readout_error", "T1", "T2"]))
    if kind in ("cx", "sx"):
        place = data.draw(st.sampled_from(COUPLED)) if kind == "cx" else (data.draw(st.integers(0, 4)),)
        error = data.draw(st.floats(some(PROPERTIES.gate_error(kind, place)), 1.5))
        length = some(PROPERTIES.gate_length(kind, place)) * 1e9
        values = measured("gate_error", error), measured("gate_length", length, "ns")
        properties = with_gate(properties, kind, place, *values)
    else:
        qubit = data.draw(st.integers(0, 4))
        value = some(some_nduv(qubit, kind).value)
        worse = st.floats(value, 1.5) if kind == "readout_error" else st.floats(value / 1e6, value)
        properties = with_qubit(
            properties, qubit, measured(kind, data.draw(worse), some_nduv(qubit, kind).unit)
        )
    after = scored(built(steps), properties)
    assert after.gates >= before.gates * (1 - 1e-12)
    assert after.readout >= before.readout * (1 - 1e-12)
    assert after.idling >= before.idling * (1 - 1e-12)


def some_nduv(qubit: int, name: str) -> Nduv:
    nduv = PROPERTIES.qubit_property(qubit, name)
    assert nduv is not None
    return nduv


@given(st.lists(GATES, max_size=20), st.integers(0, 100))
def test_the_order_of_what_has_no_qubit_in_common_does_not_matter(steps: Steps, choice: int) -> None:
    pairs = [number for number, (one, other) in enumerate(pairwise(steps)) if not set(one[1]) & set(other[1])]
    changed = list(steps)
    if pairs:
        first = pairs[choice % len(pairs)]
        changed[first], changed[first + 1] = changed[first + 1], changed[first]
    assert scored(built(changed)) == scored(built(steps))


@given(st.lists(GATES, max_size=12), st.randoms())
def test_gates_and_readouts_count_the_same_in_any_order(steps: Steps, random: Any) -> None:
    shuffled = list(steps)
    random.shuffle(shuffled)
    one, other = scored(built(steps)), scored(built(shuffled))
    assert (one.gates, one.readout) == (other.gates, other.readout)


@given(st.lists(GATES, max_size=30))
def test_circuits_without_a_qubit_in_common_multiply(steps: Steps) -> None:
    left = [one for one in steps if max(one[1]) <= 1]
    right = [one for one in steps if min(one[1]) >= 2]
    mixed = [one for one in steps if one in left or one in right]
    both = scored(built(mixed)).success_probability
    product = scored(built(left)).success_probability * scored(built(right)).success_probability
    assert both == pytest.approx(product, rel=1e-9)


@given(st.lists(GATES, max_size=20), st.permutations(range(5)))
def test_a_layout_names_the_qubits(steps: Steps, order: list[int]) -> None:
    circuit = built(steps)
    moved = QuantumCircuit(5, 5)
    place = {bit: order.index(number) for number, bit in enumerate(circuit.qubits)}
    bits = {bit: number for number, bit in enumerate(circuit.clbits)}
    for one in circuit.data:
        moved.append(one.operation, [place[bit] for bit in one.qubits], [bits[bit] for bit in one.clbits])
    assert scored(moved, layout=order) == scored(circuit)


# What the documents may be like.

X = made(lambda one: one.x(0))
CX = made(lambda one: one.cx(0, 1))
READ = made(lambda one: one.measure(0, 0))
WAIT = made(lambda one: (one.x(0), one.delay(5, 0, "us"), one.x(0)))
RESET = made(lambda one: one.reset(0))


def test_what_was_not_measured_counts_as_the_worst_of_the_device() -> None:
    length = measured("gate_length", 300.0, "ns")
    worst = max(some(one) for one, _ in PROPERTIES.gate_measurements("cx", "gate_error").values)
    for values in ((length,), (length, measured("gate_error", -0.1))):
        found = scored(CX, with_gate(PROPERTIES, "cx", (0, 1), *values))
        assert found.expected_error == pytest.approx(worst)
    worst = max(some(PROPERTIES.readout_error(qubit)) for qubit in range(1, 5))
    found = scored(READ, without_qubit_values(PROPERTIES, "readout_error", 0))
    assert found.expected_error == pytest.approx(worst)
    t1 = min(some(PROPERTIES.t1(qubit)) for qubit in range(1, 5))
    t2 = some(PROPERTIES.t2(0))
    for properties in (
        without_qubit_values(PROPERTIES, "T1", 0),
        with_qubit(PROPERTIES, 0, measured("T1", -3.0, "us")),
    ):
        assert scored(WAIT, properties).idling == pytest.approx(waiting_cost(5e-6, t1, t2))


def test_what_the_device_does_not_report_at_all_is_no_loss() -> None:
    bare = replace(PROPERTIES, qubits=(), gates=())
    everything = made(
        lambda one: (one.x(0), one.delay(5, 0, "us"), one.cx(0, 1), one.reset(0), one.measure(1, 1))
    )
    assert scored(everything, bare) == Score(0.0, 0.0, 0.0)


@pytest.mark.parametrize("error", [1.0, 1.7])
def test_what_is_out_of_order_never_succeeds(error: float) -> None:
    for circuit, properties in (
        (CX, with_gate(PROPERTIES, "cx", (0, 1), measured("gate_error", error))),
        (READ, with_qubit(PROPERTIES, 0, measured("readout_error", error))),
        (RESET, with_qubit(PROPERTIES, 0, measured("readout_error", error))),
    ):
        found = scored(circuit, properties)
        assert (found.cost, found.success_probability, found.expected_error) == (math.inf, 0.0, 1.0)
    assert scored(X, with_gate(PROPERTIES, "cx", (0, 1), measured("gate_error", error))) == scored(X)


def test_what_is_faulty_never_succeeds() -> None:
    off = measured("operational", 0.0)
    for circuit in (X, CX, READ, RESET):
        assert scored(circuit, with_qubit(PROPERTIES, 0, off)).success_probability == 0.0
    assert scored(CX, with_gate(PROPERTIES, "cx", (0, 1), measured("gate_error", 0.1), off)).cost == math.inf
    idle = made(lambda one: (one.barrier(), one.delay(5, 0, "us"), one.x(1)))
    assert scored(idle, with_qubit(PROPERTIES, 0, off)).success_probability > 0.99, "it is not used"


def test_a_reset_counts_as_a_readout_unless_its_own_error_is_known() -> None:
    assert scored(RESET) == scored(READ)
    own = with_gate(PROPERTIES, "reset", (0,), measured("gate_error", 0.3))
    assert scored(RESET, own).readout == pytest.approx(-math.log(0.7))
    other = with_gate(PROPERTIES, "reset", (1,), measured("gate_error", 0.3))
    assert scored(RESET, other).readout == pytest.approx(-math.log(0.7)), "the worst of the device"


def test_variants_of_measurements_have_their_own_errors() -> None:
    configuration, properties = real("boston")
    circuit = QuantumCircuit(1, 1)
    circuit.append(Gate("measure_2", 1, []), [0])
    found = score(circuit, configuration, properties)
    assert found.gates == found.idling == 0.0
    assert found.expected_error == pytest.approx(properties.gate_error("measure_2", 0))


def test_parameters_need_no_values() -> None:
    theta = Parameter("θ")
    circuit = made(lambda one: (one.rz(theta, 0), one.sx(0), one.rz(2 * theta, 0)))
    assert scored(circuit) == scored(circuit.assign_parameters({theta: 0.3}))


def test_fractional_gates_count() -> None:
    configuration, properties = real("boston")
    circuit = QuantumCircuit(QuantumRegister(2))
    circuit.rzz(0.3, 0, 1)
    circuit.rx(0.3, 0)
    errors = some(properties.gate_error("rzz", (0, 1))), some(properties.gate_error("rx", 0))
    found = score(circuit, configuration, properties)
    assert found.success_probability == pytest.approx(math.prod(1 - one for one in errors))


# Control flow.


def test_the_worst_branch_counts() -> None:
    circuit = made(lambda one: one.measure(0, 0))
    with circuit.if_test((circuit.clbits[0], 1)) as otherwise:
        circuit.x(1)
    with otherwise:
        circuit.cx(1, 2)
    found, worst = scored(circuit), made(lambda one: one.cx(1, 2))
    assert found.gates == scored(worst).gates
    assert found.readout == scored(READ).readout
    alone = made(lambda one: one.measure(0, 0))
    with alone.switch(alone.cregs[0]) as case:
        with case(0):
            alone.x(1)
        with case(1):
            alone.cx(1, 2)
        with case(case.DEFAULT):
            alone.sx(2)
    assert scored(alone).gates == scored(worst).gates


def test_what_a_branch_does_not_use_waits_for_it() -> None:
    circuit = made(lambda one: (one.x(0), one.x(1)))
    body = made(lambda one: (one.delay(5, 0, "us"), one.x(0)), 2, 0)
    circuit.if_test((circuit.clbits[0], 1), body, [0, 1], [])
    both = 5e-6 + some(PROPERTIES.gate_length("x", 0))
    wanted = waiting_cost(5e-6, *lives(0)) + waiting_cost(both, *lives(1))
    assert scored(circuit).idling == pytest.approx(wanted)


def test_a_condition_waits_for_its_measurement_although_its_bits_are_not_its_own() -> None:
    circuit = made(lambda one: (one.x(1), one.measure(0, 0)))
    circuit.if_test((circuit.clbits[0], 1), made(lambda one: one.x(0), 1, 0), [1], [])
    wanted = waiting_cost(some(PROPERTIES.readout_length(0)), *lives(1))
    first = made(lambda one: (one.x(1), one.barrier(0, 1), one.measure(0, 0)))
    first.if_test((first.clbits[0], 1), made(lambda one: one.x(0), 1, 0), [1], [])
    assert scored(first).idling == pytest.approx(wanted)


def test_a_loop_counts_as_often_as_it_runs() -> None:
    circuit = QuantumCircuit(5, 5)
    with circuit.for_loop(range(7)):
        circuit.cx(0, 1)
    assert scored(circuit).gates == pytest.approx(7 * scored(CX).gates)
    circuit = made(lambda one: one.cx(0, 1))
    with circuit.for_loop(range(7)):
        circuit.x(0)
        circuit.delay(1, 0, "us")
        circuit.measure(0, 0)
    circuit.cx(0, 1)
    turn = 1e-6 + some(PROPERTIES.gate_length("x", 0)) + some(PROPERTIES.readout_length(0))
    waits = 7 * waiting_cost(1e-6, *lives(0)) + waiting_cost(7 * turn, *lives(1))
    assert scored(circuit).idling == pytest.approx(waits)
    assert scored(circuit).readout == pytest.approx(7 * scored(READ).readout)
    never = QuantumCircuit(5, 5)
    with never.for_loop(()):
        never.cx(0, 1)
    assert scored(never) == Score(0.0, 0.0, 0.0)
    inner = made(lambda one: one.measure(0, 0))
    with inner.for_loop((1, 5)):
        inner.x(1)
        with inner.if_test((inner.clbits[0], 1)):
            inner.break_loop()
    assert scored(inner).gates == pytest.approx(2 * scored(made(lambda one: one.x(1))).gates)


def test_a_box_takes_as_long_as_it_says() -> None:
    circuit = QuantumCircuit(5, 5)
    with circuit.box():
        circuit.cx(0, 1)
    assert scored(circuit) == scored(CX)
    circuit = made(lambda one: (one.x(0), one.x(1)))
    with circuit.box(duration=5, unit="us"):
        circuit.x(0)
    circuit.cx(0, 1)
    own = 5e-6 - some(PROPERTIES.gate_length("x", 0))
    wanted = waiting_cost(own, *lives(0))
    assert scored(circuit).idling == pytest.approx(wanted)


# What is refused.


def test_nobody_knows_how_often_a_while_loop_runs() -> None:
    circuit = made(lambda one: one.measure(0, 0))
    with circuit.while_loop((circuit.clbits[0], 1)):
        circuit.x(0)
    with pytest.raises(InvalidRequest, match="nobody knows how often a while_loop runs"):
        scored(circuit)


@pytest.mark.parametrize(
    ("circuit", "problem"),
    [
        (made(lambda one: one.h(0)), r"no gate 'h' on \(0,\): transpile the circuit for this device"),
        (made(lambda one: one.cx(0, 4)), r"no gate 'cx' on \(0, 4\)"),
        (made(lambda one: one.ccx(0, 1, 2)), "no gate 'ccx'"),
        (made(lambda one: one.append(Gate("measure_2", 1, []), [0])), "no gate 'measure_2'"),
        (made(lambda one: one.append(Gate("reset_2", 1, []), [0])), "no gate 'reset_2'"),
    ],
    ids=["name", "qubits", "width", "measurement", "reset"],
)
def test_a_gate_that_the_device_does_not_have_is_said(circuit: QuantumCircuit, problem: str) -> None:
    with pytest.raises(UnknownGate, match=problem) as caught:
        scored(circuit)
    assert caught.value.backend == CONFIGURATION.backend_name


def test_a_qubit_that_the_device_does_not_have_is_said() -> None:
    large = QuantumCircuit(7)
    large.x(0)
    assert scored(large) == scored(X), "only what is used has to be there"
    large.x(6)
    with pytest.raises(UnknownQubit, match="no qubit 6: transpile the circuit for this device"):
        scored(large)
    with pytest.raises(UnknownQubit, match="no qubit 5"):
        scored(made(lambda one: one.x(0), 1), layout=[5])
    with pytest.raises(UnknownQubit, match="no qubit -1"):
        scored(made(lambda one: one.x(0), 1), layout=[-1])


def test_a_circuit_may_be_smaller_than_the_device() -> None:
    assert scored(made(lambda one: one.x(0), 1, 0)) == scored(X)


@pytest.mark.parametrize("layout", [[0], [0, 0, 1], [0, 1, 2, 3], ["0", "1", "2"], [0.0, 1.0, 2.0], 3])
def test_a_layout_has_a_number_for_each_qubit(layout: Any) -> None:
    with pytest.raises(InvalidRequest, match="the layout has to be 3 different numbers"):
        scored(made(ladder, 3), layout=layout)


@pytest.mark.parametrize("duration", [Parameter("t"), 2 * Parameter("t")])
def test_a_delay_needs_a_value(duration: Any) -> None:
    circuit = made(lambda one: (one.x(0), one.delay(duration, 0, "us"), one.x(0)))
    with pytest.raises(InvalidRequest, match="how long a delay of the circuit takes is not known"):
        scored(circuit)
    bound = circuit.assign_parameters({next(iter(circuit.parameters)): 1.0})
    assert scored(bound).idling > 0.0


def test_a_stretch_has_no_duration_yet() -> None:
    circuit = made(lambda one: one.x(0))
    circuit.delay(circuit.add_stretch("a"), 0)
    with pytest.raises(InvalidRequest, match="how long a delay of the circuit takes is not known"):
        scored(circuit)


def test_dt_needs_a_device_that_has_one() -> None:
    circuit = made(lambda one: (one.x(0), one.delay(100, 0, "dt"), one.x(0)))
    with pytest.raises(InvalidRequest, match="no dt where the device says none"):
        score(circuit, replace(CONFIGURATION, dt_ns=None), PROPERTIES)


def test_documents_of_two_backends_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"is of \w+lagos, and the properties are of \w+manila"):
        score(X, real("lagos")[0], PROPERTIES)


@pytest.mark.parametrize("circuit", [None, "OPENQASM 3.0;", [X]])
def test_what_is_no_circuit_is_refused(circuit: Any) -> None:
    with pytest.raises(InvalidRequest, match="a circuit has to be a QuantumCircuit"):
        scored(circuit)
