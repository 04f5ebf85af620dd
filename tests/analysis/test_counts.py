"""Counts and coordinates of a document size nothing by themselves: an odd one costs an error, not memory."""

import io
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from qrbackends import Backend, BackendConfiguration, BackendProperties, DecodeError, InvalidRequest
from qrbackends.analysis.devicemap import device_map
from qrbackends.analysis.layout import coordinates
from qrbackends.analysis.plot import error_map, fleet_plot
from qrbackends.analysis.qubits import best_chain, best_qubits
from qrbackends.interop.qiskit import to_target
from qrbackends.models.backend import DeviceStatus, Metric, PerformanceMetrics
from qrbackends.models.configuration import GateConfig, InstructionSignature, TimingConstraints
from qrbackends.models.formatting import probability
from qrbackends.models.properties import Nduv

from ..snapshots import real

CONFIGURATION, PROPERTIES = real("lima")
USES: dict[str, Callable[[BackendConfiguration, BackendProperties], Any]] = {
    "coordinates": lambda conf, _: coordinates(conf),
    "device_map": lambda conf, props: device_map(conf, props, "readout"),
    "error_map": lambda conf, props: error_map(conf, props).savefig(io.BytesIO(), dpi=20),
    "to_target": to_target,
    "to_target without properties": lambda conf, _: to_target(conf),
}
used = pytest.mark.parametrize("use", USES)


@used
@pytest.mark.parametrize("count", [10**9, 2**63 - 1, 0, -1])
def test_a_count_of_qubits_costs_nothing(use: str, count: int) -> None:
    odd = replace(CONFIGURATION, n_qubits=count, coords=None)
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match=f"has {count} qubits"):
            USES[use](odd, PROPERTIES)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@used
@pytest.mark.parametrize("qubit", [-1, 10**6, 2**31, 2**32, 2**63 - 1])
def test_a_coupling_to_a_qubit_that_does_not_exist_costs_nothing(use: str, qubit: int) -> None:
    cx = GateConfig("cx", coupling_map=((0, 1), (0, qubit)))
    odd = replace(
        CONFIGURATION, gates=(cx, *CONFIGURATION.gates), coupling_map=((0, 1), (qubit, 0)), coords=None
    )
    found = USES[use](odd, PROPERTIES)
    if use.startswith("to_target"):
        assert found.num_qubits == 5, "the target does not grow"
        assert (0, 1) in found["cx"]
        assert (0, qubit) not in found["cx"]


@pytest.mark.parametrize("far", [10**6, 2**63 - 1, -(2**63)])
def test_positions_far_apart_are_not_believed(far: int) -> None:
    odd = replace(CONFIGURATION, coords=((0, 0), (0, 1), (1, 1), (2, 1), (far, 0)))
    assert coordinates(odd) == coordinates(replace(CONFIGURATION, coords=None))


@pytest.mark.parametrize("number", [-1, 2**32, 2**63 - 1])
def test_a_target_of_odd_numbers_is_an_error_or_a_target(number: int) -> None:
    names = ("granularity", "min_length", "pulse_alignment", "acquire_alignment")
    odd = replace(CONFIGURATION, timing_constraints=TimingConstraints(**dict.fromkeys(names, number)))
    with pytest.raises(DecodeError, match="do not fit"):
        to_target(odd)
    for signature in (InstructionSignature("m", number), InstructionSignature("m", 1, number)):
        odd = replace(CONFIGURATION, instruction_signatures=(signature,))
        try:
            assert to_target(odd).num_qubits == 5
        except DecodeError:
            assert number < 0


def test_what_is_too_large_is_not_drawn() -> None:
    line = tuple((qubit, qubit + 1) for qubit in range(20_000))
    large = BackendConfiguration("x", "1", 20_000, (), (), coupling_map=line)
    with pytest.raises(InvalidRequest, match="20,000 qubits is too large"):
        coordinates(large)


@pytest.mark.parametrize("search", [best_qubits, best_chain])
def test_the_best_of_too_many_are_not_searched_for(search: Callable[..., Any]) -> None:
    many = replace(PROPERTIES, qubits=PROPERTIES.qubits * 2_001)
    with pytest.raises(InvalidRequest, match="more than 10000 qubits"):
        search(CONFIGURATION, many, 2)


@pytest.mark.parametrize("value", [1e308, -1e308, 1e155, 5e-324, 0.0])
def test_any_finite_value_can_be_shown(value: float) -> None:
    def changed(one: Nduv) -> Nduv:
        return Nduv(one.date, one.name, one.unit, value)

    odd = replace(
        PROPERTIES,
        qubits=tuple(tuple(map(changed, qubit)) for qubit in PROPERTIES.qubits),
        gates=tuple(
            replace(gate, parameters=tuple(map(changed, gate.parameters))) for gate in PROPERTIES.gates
        ),
    )
    for use in USES.values():
        use(CONFIGURATION, odd)
    device_map(CONFIGURATION, odd, "t1")


@pytest.mark.parametrize("qubits", [-5, 2**63 - 1])
def test_a_fleet_of_odd_sizes_is_drawn(qubits: int) -> None:
    metrics = PerformanceMetrics(two_q_error_median=Metric(0.01))
    odd = Backend("x", DeviceStatus("online"), 3, qubits=qubits, performance_metrics=metrics)
    fleet_plot([odd])


def test_what_is_not_finite_has_a_text() -> None:
    assert probability(float("inf")) == "inf"
    assert probability(float("-inf")) == "-inf"
