"""Configurations, properties and statuses as Qiskit's tools know them, beside the official client's own."""

import copy
import pickle
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from qiskit.exceptions import QiskitError
from qiskit_ibm_runtime.models import BackendConfiguration as OfficialConfiguration
from qiskit_ibm_runtime.models import BackendProperties as OfficialProperties
from qiskit_ibm_runtime.models.exceptions import BackendPropertyError
from qiskit_ibm_runtime.utils.backend_converter import convert_to_target

from qrbackends import BackendConfiguration, BackendStatus, CalibrationLookupError
from qrbackends.interop.qiskit import QiskitConfiguration, QiskitProperties, QiskitStatus
from qrbackends.models.properties import Nduv

from ..snapshots import BOTH, PROPERTIES, real
from .fakes import FIVE, official
from .test_qiskit import entries

NAMES = [*FIVE, *(pytest.param(name, marks=pytest.mark.long) for name in BOTH if name not in FIVE)]
SCALED = {"default_rep_delay", "dt", "dtm", "meas_lo_range", "qubit_lo_range", "rep_delay_range", "rep_times"}
"""What the official client multiplies with factors that are rounded."""


def is_same(name: str, mine: Any, theirs: Any) -> bool:
    if name in SCALED and isinstance(theirs, list):
        return len(mine) == len(theirs) and all(map(is_same, [name] * len(mine), mine, theirs))
    if name in SCALED:
        return bool(mine == pytest.approx(theirs, rel=1e-12))
    return type(mine) is type(theirs) and bool(mine == theirs)


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_has_what_the_official_one_has(name: str) -> None:
    mine, theirs = QiskitConfiguration(real(name)[0]), official(name).configuration()
    theirs.backend_name = mine.backend_name  # theirs is called `fake_…`
    known, given = theirs.to_dict(), mine.to_dict()
    absent = {key for key, value in known.items() if value is None}  # null and absent are the same here
    assert len(known.keys() - absent) > 20
    assert known.keys() - absent <= given.keys()
    for key in known.keys() - absent - {"gates"}:
        assert is_same(key, given[key], known[key]), key
        assert is_same(key, getattr(mine, key), getattr(theirs, key)), key
    assert mine.num_qubits == theirs.num_qubits
    assert [gate.to_dict() for gate in mine.gates] == [gate.to_dict() for gate in theirs.gates]
    assert given["gates"] == known["gates"]
    assert [one.name for one in mine.gates] == [one.name for one in theirs.gates]
    assert mine.gates[0].parameters == theirs.gates[0].parameters


@pytest.mark.parametrize("name", NAMES)
def test_properties_have_what_the_official_ones_have(name: str) -> None:
    mine, theirs = QiskitProperties(real(name)[1]), official(name).properties()
    theirs.backend_name = mine.backend_name
    assert mine.to_dict() == theirs.to_dict()
    assert mine.faulty_qubits() == theirs.faulty_qubits()
    assert [one.to_dict() for one in mine.faulty_gates()] == [one.to_dict() for one in theirs.faulty_gates()]
    for qubit in range(len(theirs.qubits)):
        assert mine.qubit_property(qubit) == theirs.qubit_property(qubit)
        for accessor in ("t1", "t2", "frequency", "readout_error", "readout_length", "is_qubit_operational"):
            assert told(mine, accessor, qubit) == told(theirs, accessor, qubit)
    for gate in {one.gate for one in theirs.gates}:
        assert mine.gate_property(gate) == theirs.gate_property(gate)
    for one in theirs.gates:
        for accessor in ("gate_error", "gate_length", "is_gate_operational"):
            assert told(mine, accessor, one.gate, one.qubits) == told(theirs, accessor, one.gate, one.qubits)


def told(properties: Any, accessor: str, *about: Any) -> Any:
    try:
        return getattr(properties, accessor)(*about)
    except BackendPropertyError:
        return "not reported"


@pytest.mark.parametrize("name", NAMES)
def test_the_official_converter_and_constructors_take_them(name: str) -> None:
    fake, (configuration, properties) = official(name), real(name)
    mine = QiskitConfiguration(configuration), QiskitProperties(properties)
    expected = entries(convert_to_target(fake.configuration(), fake.properties()))
    assert entries(convert_to_target(*mine)) == expected
    again = (
        OfficialConfiguration.from_dict(mine[0].to_dict()),
        OfficialProperties.from_dict(mine[1].to_dict()),
    )
    assert entries(convert_to_target(*again)) == expected


def test_what_was_not_sent_is_no_attribute_but_for_flags_and_what_may_be_null() -> None:
    sent = b'{"backend_name":"x","backend_version":"1","n_qubits":1,"basis_gates":[],"gates":[{"name":"x"}]}'
    configuration = QiskitConfiguration(msgspec.json.decode(sent, type=BackendConfiguration))
    for name in (
        "dt",
        "supported_instructions",
        "rep_times",
        "u_channel_lo",
        "hamiltonian",
        "document2",
        "_x",
    ):
        assert not hasattr(configuration, name), name
    assert (configuration.simulator, configuration.conditional, configuration.open_pulse) == (False,) * 3
    assert (configuration.coupling_map, configuration.quantum_volume) == (None, None)
    assert "coupling_map" in configuration
    assert "dt" not in configuration
    assert "to_dict" not in configuration
    (gate,) = configuration.gates
    assert (gate.parameters, gate.qasm_def, hasattr(gate, "coupling_map")) == (None, None, False)
    assert OfficialConfiguration.from_dict(configuration.to_dict()).n_qubits == 1
    properties = QiskitProperties(replace(real("lima")[1], general_qlists=None))
    assert not hasattr(properties, "general_qlists")
    assert "general_qlists" not in properties.to_dict()


def test_open_objects_and_lists_of_qubits_are_dictionaries() -> None:
    boston = QiskitConfiguration(real("boston")[0])
    assert boston.processor_type["family"] == "Heron"
    assert boston.timing_constraints["granularity"] == 1
    chain = next(one for one in QiskitProperties(real("boston")[1]).general_qlists if one["name"] == "lf_100")
    assert len(chain["qubits"]) == 100
    lima = QiskitConfiguration(real("lima")[0])
    assert lima.channels["acquire0"]["operates"]["qubits"] == [0]
    assert isinstance(lima.hamiltonian["vars"], dict)
    assert lima.u_channel_lo[0][0]["scale"] == 1 + 0j


def test_lists_can_be_changed_without_changing_the_document() -> None:
    document = real("lima")[0]
    configuration = QiskitConfiguration(document)
    configuration.basis_gates.append("warp")
    assert configuration.basis_gates[-1] == "warp", "as of the official client"
    assert "warp" not in configuration.document.basis_gates
    configuration.to_dict()["coupling_map"].clear()
    configuration.to_dict()["gates"][0]["coupling_map"].clear()
    assert configuration.coupling_map
    assert configuration.gates[0].coupling_map


def pickled(one: Any) -> Any:
    return pickle.loads(pickle.dumps(one))  # noqa: S301  # our own bytes


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
def test_they_can_be_copied_and_pickled(duplicate: Any) -> None:
    for form, part in zip((QiskitConfiguration, QiskitProperties), real("lima"), strict=True):
        one = form(part)  # type: ignore[arg-type]
        assert one.gates
        again = duplicate(one)
        assert again == one
        assert again != form(replace(part, backend_version="other"))  # type: ignore[arg-type]
        assert again.to_dict() == one.to_dict()
        assert repr(again) == f"<{form.__name__}('ibmq_lima')>"


# --- what is not reported, or odd


@pytest.mark.parametrize(
    "ask",
    [
        lambda one: one.t1(0),
        lambda one: one.qubit_property(5),
        lambda one: one.qubit_property(-1),
        lambda one: one.t1("0"),
        lambda one: one.t2(None),
        lambda one: one.qubit_property(0, "T3"),
        lambda one: one.gate_error("warp", 0),
        lambda one: one.gate_error("cx", (0, 4)),
        lambda one: one.gate_length("x", 1),
        lambda one: one.gate_property("warp"),
        lambda one: one.gate_property("cx", name="gate_error"),
        lambda one: one.is_gate_operational("cx", [0]),
    ],
)
def test_a_value_that_is_not_reported_is_an_error_that_tools_catch(ask: Any) -> None:
    properties = real("lima")[1]
    lacking = replace(
        properties,
        qubits=((), *properties.qubits[1:]),
        gates=tuple(replace(gate, parameters=()) if gate.on == (1,) else gate for gate in properties.gates),
    )
    with pytest.raises(CalibrationLookupError) as caught:
        ask(QiskitProperties(lacking))
    assert isinstance(caught.value, BackendPropertyError), "theirs is imported"
    assert len(str(caught.value)) > 10
    again = pickled(caught.value)  # as from a process pool
    assert (type(again), str(again)) == (type(caught.value), str(caught.value))


ALONE = """
import sys
sys.modules["qiskit_ibm_runtime"] = None  # it cannot be imported
import msgspec
from qiskit.exceptions import QiskitError
from qrbackends import BackendProperties, CalibrationLookupError
from qrbackends.interop.qiskit import QiskitProperties
properties = QiskitProperties(msgspec.json.decode(open(sys.argv[1], "rb").read(), type=BackendProperties))
try:
    properties.gate_error("warp", 0)
except QiskitError as error:
    print(isinstance(error, CalibrationLookupError), error)
"""


def test_so_it_is_where_the_official_client_is_not_there() -> None:
    command = [sys.executable, "-c", ALONE, str(PROPERTIES["lima"])]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.stdout.startswith("True no gate 'warp'"), outcome.stderr


def test_odd_dates_units_and_qubits_keep_nothing_else_from_being_read() -> None:
    properties = real("lima")[1]
    date = "2026-06-01T00:00:00Z"
    odd = (
        Nduv("yesterday", "T1", "us", 50.0),
        Nduv(date, "T2", "parsec", 3.0),
        Nduv(date, "operational", "0/1", 0.0),
    )
    gates = (replace(properties.gates[0], qubits=("x",)), replace(properties.gates[1], qubits=("1",)))
    form = QiskitProperties(
        replace(properties, qubits=(odd, *properties.qubits[1:]), gates=gates, general=("text",))
    )
    assert form.qubits[0][0].date == "yesterday"
    assert form.qubit_property(0) == {
        "T1": (5e-5, "yesterday"),
        "operational": (0.0, datetime(2026, 6, 1, tzinfo=UTC)),
    }
    assert form.t1(0) == 5e-5
    assert not form.is_qubit_operational(0)
    assert form.faulty_qubits() == [0]
    with pytest.raises(QiskitError, match="'T2' of qubit 0, or in a unit"):
        form.t2(0)
    assert [one.qubits for one in form.gates] == [[1]]
    assert form.to_dict()["general"] == ["text"]


@pytest.mark.parametrize(
    ("sent", "operational", "pending", "message"),
    [
        ('{"length_queue":3,"state":true,"status":"active"}', True, 3, "active"),
        ('{"length_queue":3,"state":true,"status":"internal"}', True, 3, "internal"),
        ('{"length_queue":-1,"state":false,"status":"maintenance"}', False, 0, "maintenance"),
        ("{}", False, 0, ""),
    ],
)
def test_a_status_says_what_the_official_one_says(
    sent: str, operational: bool, pending: int, message: str
) -> None:
    status = msgspec.json.decode(sent, type=BackendStatus)
    assert (status.pending_jobs, status.status_msg) == (pending, message)
    found = QiskitStatus.of("ibm_x", status)
    assert found == QiskitStatus("ibm_x", "0.0.0", operational, pending, message)
    assert found.to_dict()["backend_name"] == "ibm_x"
