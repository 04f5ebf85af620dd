"""A backend at a glance: what the documents say, and nothing of what is faulty."""

from datetime import UTC, datetime, timedelta
from statistics import median

import msgspec
import pytest
from msgspec.structs import replace

from qrbackends import BackendStatus, BackendSummary, InvalidRequest, summary
from qrbackends.models import (
    Backend,
    Clops,
    DeviceStatus,
    FaultyGate,
    Metric,
    Nduv,
    PerformanceMetrics,
    ProcessorType,
    Spread,
    median_of,
)

from ..snapshots import BOTH, real

WHEN = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize("name", BOTH)
def test_figures_are_those_of_the_accessors(name: str) -> None:
    configuration, properties = real(name)
    found = summary(configuration, properties)
    assert (found.backend_name, found.qubits) == (configuration.backend_name, configuration.n_qubits)
    assert found.calibrated_at == properties.last_update_date
    for figure, accessor, best, worst in (
        (found.t1, properties.t1, max, min),
        (found.t2, properties.t2, max, min),
        (found.readout_error, properties.readout_error, min, max),
    ):
        values = {q: v for q in range(len(properties.qubits)) if (v := accessor(q)) is not None}
        if figure is None:
            assert not values
            continue
        assert figure.median == median(values.values())
        assert figure.best == best(values.values()) == values[figure.best_on[0]]
        assert figure.worst == worst(values.values()) == values[figure.worst_on[0]]
    assert {gate.gate for gate in found.gates} == {gate.gate for gate in properties.gates}
    for gate in found.gates:
        assert gate.count == sum(one.gate == gate.gate for one in properties.gates)
        assert gate.length == properties.median_gate_length(gate.gate)
        assert (gate.error and gate.error.median) == properties.median_gate_error(gate.gate)
        if gate.error is not None:
            assert properties.gate_error(gate.gate, gate.error.best_on) == gate.error.best
            assert properties.gate_error(gate.gate, gate.error.worst_on) == gate.error.worst
    if found.two_qubit_gate:
        assert found.gates[0].gate == found.two_qubit_gate == properties.native_entangler
    again = msgspec.json.decode(msgspec.json.encode(found), type=BackendSummary)
    assert again == found


def test_what_is_faulty_is_told_and_in_no_figure() -> None:
    configuration, properties = real("lima")
    off = Nduv(WHEN, "operational", "", 0.0)
    best = summary(configuration, properties).t1
    assert best is not None
    qubit = best.best_on[0]
    qubits = list(properties.qubits)
    qubits[qubit] = (*qubits[qubit], off)
    gates = list(properties.gates)
    last = gates[-1]
    gates[-1] = replace(last, parameters=(*last.parameters, off))
    found = summary(configuration, replace(properties, qubits=tuple(qubits), gates=tuple(gates)))
    assert found.faulty_qubits == (qubit,)
    assert found.faulty_gates == (FaultyGate(last.gate, last.on),)
    assert found.t1 is not None
    assert found.t1.best_on != (qubit,)
    for gate in found.gates:
        expected = [one for one in gates if one.gate == gate.gate and one.operational and qubit not in one.on]
        assert gate.count == len(expected)


def test_errors_that_mark_what_is_broken_are_in_no_figure() -> None:
    configuration, properties = real("lima")
    broken = tuple(
        replace(gate, parameters=(Nduv(WHEN, "gate_error", "", 1.0),)) if gate.gate == "cx" else gate
        for gate in properties.gates
    )
    found = summary(configuration, replace(properties, gates=broken))
    assert found.gates[0].gate == "cx"
    assert found.gates[0].error is None


def test_the_documents_that_are_given_are_told() -> None:
    configuration, properties = real("boston")
    status = BackendStatus(12, True, "active", "available", "1.0.4")
    listed = Backend(
        "ibm_boston",
        DeviceStatus("online"),
        12,
        performance_metrics=PerformanceMetrics(two_q_error_layered=Metric(0.003)),
    )
    now = properties.last_update_date + timedelta(hours=1)
    found = summary(configuration, properties, status, listed=listed, now=now)
    assert (found.operational, found.status, found.queue_length) == (True, "active", 12)
    assert found.two_qubit_error_layered == 0.003
    assert found.calibration_age == 3600.0
    assert found.processor == "Heron r3"


def test_with_the_configuration_alone_the_rest_is_not_known() -> None:
    configuration, _ = real("boston")
    found = summary(replace(configuration, processor_type=None))
    assert (found.processor, found.operational, found.calibrated_at, found.t1) == (None, None, None, None)
    assert (found.gates, found.faulty_qubits) == ((), ())
    listed = Backend("x", DeviceStatus("online"), 0, processor_type=ProcessorType("Heron", "2"))
    assert summary(replace(configuration, processor_type=None), listed=listed).processor == "Heron r2"
    assert "t1" not in msgspec.to_builtins(found)


def test_with_the_properties_alone_the_size_is_theirs() -> None:
    configuration, properties = real("boston")
    found = summary(properties=properties)
    whole = summary(configuration, properties)
    assert (found.backend_name, found.backend_version, found.qubits) == ("ibm_boston", "1.0.4", 156)
    assert (found.t1, found.gates, found.two_qubit_gate) == (whole.t1, whole.gates, whole.two_qubit_gate)
    assert (found.processor, found.basis_gates, found.operational) == (None, (), None)


def test_with_the_lists_entry_alone_state_and_place_are_known() -> None:
    status, processor = DeviceStatus("paused", "lunch"), ProcessorType("Heron", "2")
    listed = Backend(
        "x", status, 3, qubits=5, clops=Clops("hardware", 7), processor_type=processor, region="eu-de"
    )
    found = summary(listed=replace(listed, instance="crn:1"))
    assert (found.backend_name, found.backend_version, found.qubits) == ("x", None, 5)
    assert (found.operational, found.status, found.reason, found.queue_length) == (
        False,
        "paused",
        "lunch",
        3,
    )
    assert (found.region, found.instance, found.clops) == ("eu-de", "crn:1", 7)
    assert (found.processor, found.calibrated_at, found.two_qubit_error) == ("Heron r2", None, None)


def test_the_status_goes_before_the_list_and_the_configuration_before_all() -> None:
    configuration, properties = real("boston")
    listed = Backend("x", DeviceStatus("paused", "lunch"), 3, qubits=5, clops=Clops("hardware", 7))
    found = summary(properties=properties, listed=listed)
    assert (found.backend_name, found.qubits, found.status) == ("x", 5, "paused")
    found = summary(configuration, properties, BackendStatus(1, True, backend_version="9"), listed=listed)
    assert (found.backend_name, found.qubits) == ("ibm_boston", configuration.n_qubits)
    assert (found.operational, found.status, found.reason, found.queue_length) == (True, None, None, 1)
    assert found.backend_version == configuration.backend_version
    assert summary(None, None, BackendStatus(1, backend_version="9"), listed=listed).backend_version == "9"
    assert summary(replace(configuration, clops=8), listed=listed).clops == 8
    assert summary(replace(configuration, clops=None), listed=listed).clops == 7


@pytest.mark.parametrize("status", [None, BackendStatus(12, True)])
def test_without_a_name_there_is_no_summary(status: BackendStatus | None) -> None:
    with pytest.raises(InvalidRequest, match="needs a configuration, properties or the list's entry"):
        summary(status=status)


def test_a_clock_that_is_behind_makes_no_age_negative() -> None:
    _, properties = real("armonk")
    assert summary(properties=properties, now=datetime(2000, 1, 1, tzinfo=UTC)).calibration_age == 0.0


def test_the_two_qubit_error_is_the_native_gates() -> None:
    _, properties = real("boston")
    found = summary(properties=properties)
    assert median_of(found.two_qubit_error) == properties.median_two_qubit_error()
    assert found.two_qubit_error == found.gates[0].error
    assert median_of(replace(found, two_qubit_gate=None).two_qubit_error) is None


def test_a_spread_of_one_value_is_that_value() -> None:
    configuration, properties = real("armonk")
    t1 = properties.t1(0)
    assert t1 is not None
    assert summary(configuration, properties).t1 == Spread(t1, t1, (0,), t1, (0,))


def test_an_instant_without_a_time_zone_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="now has no time zone"):
        summary(*real("armonk"), now=datetime(2026, 1, 1))
