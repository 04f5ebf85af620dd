"""Calibrations: every accessor on every real snapshot, against the official client on the same JSON."""

import functools
import json
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from statistics import median
from typing import Any

import msgspec
import numpy as np
import pytest

from qrbackends.errors import CalibrationLookupError, DecodeError, UnknownGate, UnknownQubit
from qrbackends.models import BackendProperties, GateProperties, Nduv

from ..contract.snapshots import documents, paths

QUBIT_VALUES = {
    "T1": BackendProperties.t1,
    "T2": BackendProperties.t2,
    "frequency": BackendProperties.frequency,
    "anharmonicity": BackendProperties.anharmonicity,
    "readout_error": BackendProperties.readout_error,
    "readout_length": BackendProperties.readout_length,
    "prob_meas0_prep1": BackendProperties.prob_meas0_prep1,
    "prob_meas1_prep0": BackendProperties.prob_meas1_prep0,
}
GATE_VALUES = {"gate_error": BackendProperties.gate_error, "gate_length": BackendProperties.gate_length}
# The units of the snapshots, to recompute medians without this package's table.
UNITS = {"": 1.0, "us": 1e-6, "\u00b5s": 1e-6, "ns": 1e-9, "GHz": 1e9}
OFFICIAL_ACCESSORS = {"T1": "t1", "T2": "t2"}


@functools.cache
def decoded(name: str) -> BackendProperties:
    """Return a snapshot as this package reads it."""
    return msgspec.json.decode(paths("props")[name].read_bytes(), type=BackendProperties)


@functools.cache
def officially(name: str) -> Any:
    """Return a snapshot as the official client reads it. Importing that takes seconds."""
    from qiskit_ibm_runtime.models import BackendProperties as Official

    return Official.from_dict(documents("props")[name])


def close(ours: float | None, theirs: float | None) -> bool:
    """Return whether two values are the same, but for the last digits."""
    if ours is None or theirs is None:
        return ours is theirs
    return math.isclose(ours, theirs, rel_tol=1e-12, abs_tol=0.0)


def or_none(accessor: Callable[..., Any], *arguments: object) -> Any:
    """Return what an official accessor answers, and None where it raises that there is nothing."""
    from qiskit_ibm_runtime.models.exceptions import BackendPropertyError

    try:
        return accessor(*arguments)
    except BackendPropertyError:
        return None


snapshots = pytest.mark.parametrize("name", paths("props"))


def test_there_are_snapshots_of_everything() -> None:
    assert len(paths("props")) >= 68
    assert {value for name in paths("props") for value in medians(documents("props")[name])} == {
        *QUBIT_VALUES,
        "two_qubit",
        "cx",
        "cz",
        "ecr",
    }


@snapshots
def test_each_value_of_each_qubit(name: str) -> None:
    ours, theirs = decoded(name), officially(name)
    compared = 0
    for qubit in range(len(ours.qubits)):
        for key, accessor in QUBIT_VALUES.items():
            pair = or_none(theirs.qubit_property, qubit, key)
            sent = ours.qubit_property(qubit, key)
            assert close(accessor(ours, qubit), None if pair is None else pair[0]), (qubit, key)
            assert (sent and sent.date) == (pair and pair[1]), (qubit, key)
            if sent:
                assert sent.measured_at == datetime.fromisoformat(pair[1])
                compared += 1
        for key in ("T1", "T2", "frequency", "readout_error", "readout_length"):
            official = or_none(getattr(theirs, key.lower()), qubit)
            assert close(getattr(ours, key.lower())(qubit), official)
        assert ours.is_qubit_operational(qubit) is theirs.is_qubit_operational(qubit)
    assert compared == sum(map(len, documents("props")[name]["qubits"]))


@snapshots
def test_each_value_of_each_gate(name: str) -> None:
    ours, theirs = decoded(name), officially(name)
    compared = 0
    for sent in documents("props")[name]["gates"]:
        gate, qubits = sent["gate"], sent["qubits"]
        for key, accessor in GATE_VALUES.items():
            pair = or_none(theirs.gate_property, gate, qubits, key)
            nduv = ours.gate_property(gate, qubits, key)
            assert close(accessor(ours, gate, qubits), None if pair is None else pair[0]), (gate, qubits, key)
            assert (nduv and nduv.date) == (pair and pair[1])
            if nduv:
                assert nduv.measured_at == datetime.fromisoformat(pair[1])
                compared += 1
        assert close(ours.gate_error(gate, qubits), or_none(theirs.gate_error, gate, qubits))
        assert close(ours.gate_length(gate, qubits), or_none(theirs.gate_length, gate, qubits))
        assert ours.is_gate_operational(gate, qubits) is theirs.is_gate_operational(gate, qubits)
        assert ours.gate_properties(gate, qubits).on == tuple(qubits)
    assert compared == sum(len(sent["parameters"]) for sent in documents("props")[name]["gates"])


@snapshots
def test_the_rest_of_a_snapshot(name: str) -> None:
    ours, theirs = decoded(name), officially(name)
    assert list(ours.faulty_qubits()) == theirs.faulty_qubits()
    faulty = [(gate.gate, list(gate.qubits)) for gate in ours.faulty_gates()]
    assert faulty == [(gate.gate, gate.qubits) for gate in theirs.faulty_gates()]
    assert (ours.backend_name, ours.backend_version) == (theirs.backend_name, theirs.backend_version)
    assert ours.last_update_date == theirs.last_update_date
    assert ours.last_update_date.tzinfo is not None
    assert [nduv.name for nduv in ours.general if isinstance(nduv, Nduv)] == [g.name for g in theirs.general]


# --- medians, recomputed from the JSON


def values(entries: list[dict[str, Any]], key: str) -> Iterator[float]:
    """Yield the SI value of a key among the values of one element, if it is there."""
    for nduv in entries:
        if nduv["name"] == key:
            yield nduv["value"] * UNITS[nduv["unit"]]


def works(entries: list[dict[str, Any]]) -> bool:
    """Return whether nothing says that an element is faulty."""
    return all(nduv["value"] != 0 for nduv in entries if nduv["name"] == "operational")


def medians(document: dict[str, Any]) -> dict[str, float]:
    """Return the medians of a document that have any value to be one of."""
    qubits = {number: entries for number, entries in enumerate(document["qubits"]) if works(entries)}
    found = {
        key: [value for entries in qubits.values() for value in values(entries, key)] for key in QUBIT_VALUES
    }
    found["readout_error"] = [value for value in found["readout_error"] if value < 1]
    gates = {gate["gate"] for gate in document["gates"]}
    for name in ("cx", "ecr", "cz"):  # the last one stays
        errors = [
            value
            for gate in document["gates"]
            if gate["gate"] == name
            and works(gate["parameters"])
            and set(map(int, gate["qubits"])) <= set(qubits)
            for value in values(gate["parameters"], "gate_error")
            if value < 1
        ]
        if name in gates:
            found[name] = found["two_qubit"] = errors
    return {key: median(all_) for key, all_ in found.items() if all_}


def check_medians(ours: BackendProperties, document: dict[str, Any]) -> None:
    """Assert that all medians are those of the document."""
    expected = medians(document)
    for key, accessor in {
        "T1": ours.median_t1,
        "T2": ours.median_t2,
        "frequency": ours.median_frequency,
        "anharmonicity": ours.median_anharmonicity,
        "readout_error": ours.median_readout_error,
        "readout_length": ours.median_readout_length,
        "two_qubit": ours.median_two_qubit_error,
    }.items():
        assert close(accessor(), expected.get(key)), key
    for gate in ("cz", "ecr", "cx"):
        if gate in {sent["gate"] for sent in document["gates"]}:
            assert close(ours.median_gate_error(gate), expected.get(gate)), gate
        else:
            with pytest.raises(UnknownGate, match=gate):
                ours.median_gate_error(gate)


@snapshots
def test_medians(name: str) -> None:
    check_medians(decoded(name), documents("props")[name])


def test_the_native_gate_is_the_first_of_cz_ecr_and_cx() -> None:
    seen = set()
    for name in paths("props"):
        gates = {gate["gate"] for gate in documents("props")[name]["gates"]}
        native = next((gate for gate in ("cz", "ecr", "cx") if gate in gates), None)
        assert decoded(name).native_entangler == native
        seen.add((native, "rzz" in gates))
    assert {("cz", True), ("cx", True), ("ecr", False), (None, False)} <= seen


# --- small documents


def nduv(name: str, value: float, unit: str = "", date: str = "2026-04-17T12:19:24+02:00") -> dict[str, Any]:
    """Return a measured value as the service sends it."""
    return {"name": name, "value": value, "unit": unit, "date": date}


def gate(name: str, qubits: list[Any], *parameters: dict[str, Any]) -> dict[str, Any]:
    """Return a gate as the service sends it."""
    return {"gate": name, "qubits": qubits, "parameters": list(parameters)}


def document(qubits: list[Any], gates: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return a whole document."""
    return {
        "backend_name": "ibm_x",
        "backend_version": "1.0.0",
        "last_update_date": "2026-04-17T12:19:24Z",
        "qubits": qubits,
        "gates": gates or [],
        "general": [],
        **more,
    }


def decode(document_: dict[str, Any]) -> BackendProperties:
    """Return a document as the package reads it."""
    return msgspec.json.decode(json.dumps(document_), type=BackendProperties)


FAULTY = document(
    [
        [nduv("T1", 100, "us"), nduv("readout_error", 0.01), nduv("operational", 1)],
        [nduv("T1", 900, "us"), nduv("readout_error", 0.09), nduv("operational", 0)],
        [nduv("T1", 300, "us"), nduv("readout_error", 1.0)],
        [nduv("T1", 500, "us"), nduv("readout_error", 0.03), nduv("operational", 1.0)],
    ],
    [
        gate("cz", [0, 1], nduv("gate_error", 0.001), nduv("gate_length", 68, "ns")),
        gate("cz", [0, 2], nduv("gate_error", 0.002), nduv("operational", 1)),
        gate("cz", [2, 3], nduv("gate_error", 0.003), nduv("operational", 0), nduv("gate_length", 70, "ns")),
        gate("cz", [3, 0], nduv("gate_error", 0.008), nduv("gate_length", 72, "ns")),
        gate("cz", [3, 2], nduv("gate_error", 1.0), nduv("gate_length", 76, "ns")),
        gate("rzz", [0, 2], nduv("gate_error", 0.5)),
        gate("sx", [1], nduv("gate_error", 0.5)),
    ],
)


def test_faulty_elements() -> None:
    ours = decode(FAULTY)
    from qiskit_ibm_runtime.models import BackendProperties as Official

    theirs = Official.from_dict(FAULTY)
    assert ours.faulty_qubits() == (1,) == tuple(theirs.faulty_qubits())
    assert [ours.is_qubit_operational(qubit) for qubit in range(4)] == [True, False, True, True]
    assert [(one.gate, one.on) for one in ours.faulty_gates()] == [("cz", (2, 3))]
    assert [one.qubits for one in theirs.faulty_gates()] == [[2, 3]]
    assert not ours.is_gate_operational("cz", (2, 3))
    assert ours.is_gate_operational("cz", (3, 2)), "the other direction is another gate"
    assert ours.is_gate_operational("cz", (0, 1)), "its own flag, not its qubits'"


def test_faulty_elements_are_in_no_median() -> None:
    ours = decode(FAULTY)
    check_medians(ours, FAULTY)
    assert ours.median_t1() == pytest.approx(300e-6)
    assert ours.median_readout_error() == pytest.approx(0.02)
    assert ours.median_two_qubit_error() == pytest.approx(0.005)
    assert ours.median_gate_length("cz") == pytest.approx(74e-9)
    assert ours.median_gate_error("rzz") == 0.5
    assert ours.median_gate_error("sx") is None
    assert ours.median_gate_length("rzz") is None


def test_values_that_are_out_of_order_are_still_told() -> None:
    ours = decode(FAULTY)
    assert ours.gate_error("cz", (3, 2)) == 1.0
    assert ours.readout_error(2) == 1.0
    assert ours.t1(1) == pytest.approx(900e-6)


def test_a_device_that_reports_nothing() -> None:
    ours = decode(document([]))
    assert ours.faulty_qubits() == ()
    assert ours.faulty_gates() == ()
    assert ours.native_entangler is None
    check_medians(ours, document([]))
    with pytest.raises(UnknownQubit):
        ours.t1(0)
    with pytest.raises(UnknownGate):
        ours.gate_error("cz", (0, 1))


def test_what_is_not_reported_is_none() -> None:
    ours = decode(document([[], [nduv("T1", 1, "us")]], [gate("cz", [0, 1])]))
    for key, accessor in QUBIT_VALUES.items():
        assert accessor(ours, 0) is None
        assert ours.qubit_property(0, key) is None
    assert ours.t2(1) is None
    assert ours.gate_error("cz", (0, 1)) is None
    assert ours.gate_length("cz", (0, 1)) is None
    assert ours.gate_property("cz", (0, 1), "gate_error") is None
    assert ours.is_qubit_operational(0)
    assert ours.is_gate_operational("cz", (0, 1))


def test_qubits_as_the_contract_writes_them() -> None:
    ours = decode(document([[], []], [gate("cz", ["0", "1"], nduv("gate_error", 0.25))]))
    assert ours.gate_error("cz", (0, 1)) == 0.25
    assert ours.gates[0].qubits == ("0", "1")
    assert ours.gates[0].on == (0, 1)
    assert ours.median_two_qubit_error() == 0.25


def readable(value: object) -> None:
    """Take a value that could not be read."""
    raise AssertionError(f"it could be read: {value}")


@pytest.mark.parametrize("qubit", ["one", "", "1.0", "0x1", "9" * 5000])
def test_a_qubit_that_is_no_number_is_a_decode_error(qubit: str) -> None:
    ours = decode(document([[]], [gate("sx", [qubit])]))
    with pytest.raises(DecodeError, match="'sx' is not a number") as caught:
        readable(ours.gates[0].on)
    assert len(caught.value.text) <= 200
    assert caught.value.__context__ is None


@pytest.mark.parametrize("lookup", [BackendProperties.t1, BackendProperties.is_qubit_operational])
@pytest.mark.parametrize("qubit", [-1, 2, 10**30, "0", None, 0.5, (0,), [0], {}, b"0"])
def test_an_unknown_qubit(lookup: Callable[..., Any], qubit: Any) -> None:
    ours = decode(document([[nduv("T1", 1, "us")], []]))
    with pytest.raises(UnknownQubit, match="it has 0 to 1") as caught:
        lookup(ours, qubit)
    assert caught.value.backend == "ibm_x"
    assert caught.value.__context__ is None
    assert isinstance(caught.value, LookupError)


ONE_GATE = document(
    [[], [], []], [gate("cz", [0, 1], nduv("gate_error", 0.25)), gate("sx", [1], nduv("gate_error", 0.125))]
)


@pytest.mark.parametrize("name", ["cx", "CZ", "", None, 7, "cz0_1"])
def test_an_unknown_gate(name: Any) -> None:
    ours = decode(ONE_GATE)
    for lookup in (ours.gate_error, ours.gate_length, ours.is_gate_operational, ours.gate_properties):
        with pytest.raises(UnknownGate, match="it has cz, sx") as caught:
            lookup(name, (0, 1))
        assert caught.value.backend == "ibm_x"
    with pytest.raises(UnknownGate, match="it has cz, sx"):
        ours.median_gate_error(name)
    with pytest.raises(UnknownGate, match="it has cz, sx"):
        ours.median_gate_length(name)


@pytest.mark.parametrize(
    "qubits",
    [(1, 0), (0, 2), (0,), 0, (), (0, 1, 2), (0, -1), ("0", "1"), "01", None, 0.5, ([0], [1]), (None, 1)],
)
def test_a_gate_that_is_not_on_these_qubits(qubits: Any) -> None:
    with pytest.raises(CalibrationLookupError, match="'cz'"):
        decode(ONE_GATE).gate_error("cz", qubits)


@pytest.mark.parametrize(
    "qubits", [(0, 1), [0, 1], range(2), iter([0, 1]), np.array([0, 1]), (np.int64(0), np.uint8(1))]
)
def test_qubits_are_any_iterable_of_numbers(qubits: Any) -> None:
    assert decode(ONE_GATE).gate_error("cz", qubits) == 0.25


@pytest.mark.parametrize("qubit", [1, (1,), [1], np.int64(1), np.uint8(1), (np.int32(1),)])
def test_one_qubit_needs_no_tuple(qubit: Any) -> None:
    assert decode(ONE_GATE).gate_error("sx", qubit) == 0.125


@pytest.mark.parametrize("qubit", [np.int64(1), np.uint8(1)])
def test_a_qubit_may_be_a_number_of_numpy(qubit: Any) -> None:
    ours = decode(document([[], [nduv("T1", 7, "s")]]))
    assert ours.t1(qubit) == 7.0


def test_of_two_values_of_a_name_the_last_counts() -> None:
    both = (nduv("gate_error", 0.5), nduv("gate_error", 0.25))
    ours = decode(document([[nduv("T1", 1, "s"), nduv("T1", 2, "s")]], [gate("sx", [0], *both)]))
    assert ours.t1(0) == 2.0
    assert ours.gate_error("sx", 0) == 0.25


# --- units and dates


@pytest.mark.parametrize(
    ("unit", "si", "base"),
    [
        ("", 2.0, ""),
        ("s", 2.0, "s"),
        ("ms", 2e-3, "s"),
        ("us", 2e-6, "s"),
        ("\N{MICRO SIGN}s", 2e-6, "s"),
        ("\N{GREEK SMALL LETTER MU}s", 2e-6, "s"),
        ("ns", 2e-9, "s"),
        ("ps", 2e-12, "s"),
        ("Hz", 2.0, "Hz"),
        ("kHz", 2e3, "Hz"),
        ("MHz", 2e6, "Hz"),
        ("GHz", 2e9, "Hz"),
    ],
)
def test_units(unit: str, si: float, base: str) -> None:
    value = Nduv(date="", name="x", unit=unit, value=2.0)
    assert value.si == pytest.approx(si, rel=1e-15)
    assert value.si_unit == base


@pytest.mark.parametrize(
    ("text", "unit"), [("123.45", "us"), ("100.1", "us"), ("68", "ns"), ("1216.5", "ns")]
)
def test_no_digit_is_lost(text: str, unit: str) -> None:
    value = Nduv(date="", name="x", unit=unit, value=float(text))
    assert value.si == float(text + {"us": "e-6", "ns": "e-9"}[unit])


@pytest.mark.parametrize("unit", ["parsec", "US", "ghz", "\u00b5", "u", "GHz ", "%", "x" * 1000])
def test_an_unknown_unit_is_a_decode_error(unit: str) -> None:
    ours = decode(document([[nduv("T1", 100, unit)]], [gate("sx", [0], nduv("gate_length", 1, unit))]))
    for lookup in (
        lambda: ours.t1(0),
        lambda: ours.gate_length("sx", 0),
        ours.median_t1,
        lambda: ours.qubits[0][0].si_unit,
    ):
        with pytest.raises(DecodeError, match=r"unit of '(T1|gate_length)' is not known") as caught:
            lookup()
        assert caught.value.text == unit[:200]
    assert ours.qubits[0][0].value == 100, "the field itself can be read"


@pytest.mark.parametrize(
    ("date", "instant"),
    [
        ("2026-04-17T12:19:24+02:00", datetime(2026, 4, 17, 10, 19, 24, tzinfo=UTC)),
        ("2026-04-17T10:19:24Z", datetime(2026, 4, 17, 10, 19, 24, tzinfo=UTC)),
        ("2026-04-17T10:19:24.500Z", datetime(2026, 4, 17, 10, 19, 24, 500_000, tzinfo=UTC)),
        ("2026-04-17T10:19:24", datetime(2026, 4, 17, 10, 19, 24, tzinfo=UTC)),
    ],
)
def test_dates(date: str, instant: datetime) -> None:
    ours = decode(document([[nduv("T1", 1, "us", date)]], last_update_date=date))
    for when in (ours.qubits[0][0].measured_at, ours.last_update_date):
        assert when == instant
        assert when.utcoffset() is not None


@pytest.mark.parametrize("date", ["", "yesterday", "2026-02-30T00:00:00Z", "17.04.2026", "x" * 1000])
def test_a_bad_date_is_a_decode_error(date: str) -> None:
    ours = decode(document([[nduv("T1", 1, "us", date)]]))
    assert ours.t1(0) == 1e-6, "the value itself can be read"
    with pytest.raises(DecodeError, match="date of 'T1' is not ISO 8601") as caught:
        _ = ours.qubits[0][0].measured_at
    assert caught.value.text == date[:200]
    assert caught.value.__context__ is None


# --- the index


class Counted(tuple[Any, ...]):
    """A tuple that counts how often it is read."""

    __slots__ = ()
    walks = 0

    def __iter__(self) -> Iterator[Any]:
        Counted.walks += 1
        return super().__iter__()

    def __getitem__(self, place: Any) -> Any:
        Counted.walks += 1
        return super().__getitem__(place)


def test_the_index_is_built_once_and_look_ups_do_not_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counted, "walks", 0)
    source = decode(FAULTY)
    ours = msgspec.structs.replace(source, qubits=Counted(source.qubits), gates=Counted(source.gates))
    assert isinstance(ours.gates, Counted)
    ours.t1(0)
    ours.gate_error("cz", (0, 1))
    walks = Counted.walks
    assert walks > 0
    for _ in range(3):
        for qubit in range(4):
            ours.t1(qubit)
            ours.is_qubit_operational(qubit)
        for on in ((0, 1), (0, 2), (2, 3)):
            ours.gate_error("cz", on)
            ours.is_gate_operational("cz", on)
        ours.median_t1()
        ours.median_gate_error("cz")
    assert Counted.walks == walks


def test_the_index_is_no_part_of_the_value() -> None:
    used, fresh = decode(FAULTY), decode(FAULTY)
    used.median_two_qubit_error()
    assert used == fresh
    assert hash(used) == hash(fresh)
    assert msgspec.json.encode(used) == msgspec.json.encode(fresh)
    changed = msgspec.structs.replace(used, qubits=())
    with pytest.raises(UnknownQubit):
        changed.t1(0)


def test_a_calibration_cannot_be_changed() -> None:
    ours = decode(FAULTY)
    for owner, field in ((ours, "qubits"), (ours.gates[0], "gate"), (ours.qubits[0][0], "value")):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(owner, field, None)
    assert isinstance(ours.gates, tuple)
    assert isinstance(ours.qubits[0], tuple)
    assert isinstance(ours.gates[0], GateProperties)
    assert isinstance(ours.gates[0].parameters, tuple)


def test_a_gate_on_a_qubit_without_a_number_hides_no_other() -> None:
    gates = [
        {"gate": "cz", "qubits": ["0", "q1"], "parameters": []},
        {"gate": "sx", "qubits": ["1"], "parameters": [nduv("gate_error", 0.125, "")]},
    ]
    ours = decode(document([[], []], gates))
    assert ours.gate_error("sx", 1) == 0.125
    with pytest.raises(UnknownGate):
        ours.gate_error("cz", (0, 1))


def test_a_device_without_qubits_says_so() -> None:
    with pytest.raises(UnknownQubit, match="it has none"):
        decode(document([])).t1(0)
