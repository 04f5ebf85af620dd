"""Which values count, and which couplings can be used: one rule, on real devices and on odd documents."""

import json
from statistics import median
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qrbackends.models import (
    BackendProperties,
    BackendSummary,
    MissingFigure,
    is_out_of_order,
    summary,
    usable,
)

from ..contract.snapshots import documents, paths
from ..profiles import some_of

WHEN = "2026-05-17T09:30:00Z"


def nduv(name: str, value: float, unit: str = "") -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "date": WHEN}


def entry(qubits: list[Any], *parameters: dict[str, Any], gate: str = "cz") -> dict[str, Any]:
    return {"gate": gate, "qubits": qubits, "parameters": list(parameters)}


def error(qubits: list[Any], value: float, *more: dict[str, Any]) -> dict[str, Any]:
    return entry(qubits, nduv("gate_error", value), *more)


def decoded(qubits: list[Any], gates: list[Any]) -> BackendProperties:
    document = {
        "backend_name": "ibm_odd",
        "backend_version": "1.0.0",
        "last_update_date": WHEN,
        "qubits": qubits,
        "gates": gates,
        "general": [],
    }
    return msgspec.json.decode(json.dumps(document), type=BackendProperties)


@pytest.mark.parametrize(
    ("name", "value", "counts"),
    [
        ("T1", 0.9, True),  # absurd, and possible
        ("T1", 0.0, False),
        ("T2", -1.6, False),
        ("T2", float("inf"), False),
        ("T2", float("nan"), False),
        ("frequency", -4.9e9, False),
        ("readout_length", 0.0, False),
        ("anharmonicity", -3.1e8, True),
        ("readout_error", 0.0, True),
        ("readout_error", 0.999, True),
        ("readout_error", 1.0, False),
        ("gate_error", -1e-9, False),
        ("gate_error", 1.5, False),
        ("gate_error", float("nan"), False),
        ("prob_meas0_prep1", -0.1, False),
    ],
)
def test_the_rule(name: str, value: float, counts: bool) -> None:
    assert usable(name, value) == (value if counts else None)


def test_only_a_virtual_gate_takes_no_time() -> None:
    assert [usable("gate_length", 0.0, gate) for gate in ("rz", "p", "u1", "cz", "sx", None)] == [
        *(0.0, 0.0, 0.0),
        *(None, None, None),
    ]
    assert usable("gate_length", -1e-9, "rz") is None
    assert usable("T1", None) is None
    assert [is_out_of_order(one) for one in (None, -1.0, 0.5, 1.0, 7.0)] == [False, False, False, True, True]


# --- couplings that cannot be used


@pytest.mark.parametrize("name", some_of(paths("props"), 20))
def test_what_is_broken_on_a_real_device(name: str) -> None:
    """Compare with the JSON, and with what the official client says of each gate."""
    from qiskit_ibm_runtime.models import BackendProperties as Official

    document = documents("props")[name]
    official = Official.from_dict(document)
    ours = msgspec.json.decode(paths("props")[name].read_bytes(), type=BackendProperties)
    directions: dict[tuple[int, ...], list[bool]] = {}
    for gate in document["gates"]:
        if gate["gate"] == ours.native_entangler:
            on = gate["qubits"]
            works = (
                official.is_gate_operational(gate["gate"], on) and official.gate_error(gate["gate"], on) < 1
            )
            directions.setdefault(tuple(sorted(on)), []).append(works)
    broken = tuple(sorted(pair for pair, works in directions.items() if not any(works)))
    assert ours.broken_couplings() == broken
    assert ours.coupling_errors().keys() == directions.keys() - set(broken)
    found = summary(properties=ours)
    assert found.broken_couplings == broken
    if name.endswith("kyoto"):
        assert len(broken) == 144
        assert found.why_no_two_qubit_error is not None
    if name.endswith("boston"):
        assert broken == ((84, 85),)


def test_313_couplings_of_26_snapshots_are_out_of_order() -> None:
    counts = [
        len(msgspec.json.decode(path.read_bytes(), type=BackendProperties).broken_couplings())
        for path in paths("props").values()
    ]
    assert (len(counts), sum(map(bool, counts)), sum(counts)) == (69, 26, 313)


FLAG = nduv("operational", 0)


def test_a_pair_that_works_in_one_direction_can_be_used() -> None:
    ours = decoded(
        [[], [], [], [], [FLAG], [], []],
        [
            *(error([1, 0], 1.0), error([0, 1], 0.25)),  # one direction works
            *(error([1, 2], 1.0), error([2, 1], 3.0)),  # neither does
            *(error([2, 3], 0.01, FLAG), error([3, 2], 1.0)),  # one is flagged, the other out of order
            error([3, 4], 0.01),  # a qubit is flagged
            entry([5, 0]),  # not measured
            error([5, 1], -0.5),  # no gate can have that error
            *(error([5, 2], -0.5), error([2, 5], 0.125)),
            *(error([6, 0], 0.5), error([0, 6], 0.25)),
            entry([6, 1], nduv("gate_error", 1.0), gate="rzz"),  # not the native gate
        ],
    )
    assert ours.broken_couplings() == ((1, 2), (2, 3), (3, 4))
    assert dict(ours.coupling_errors()) == {
        (0, 1): 0.25,
        (0, 5): None,
        (1, 5): None,
        (2, 5): 0.125,
        (0, 6): 0.25,
    }


def test_odd_gates_break_nothing() -> None:
    odd: list[list[Any]] = [["0", "q1"], [0, 2**40], [-1, 0], [0], [1, 1], [0, 1, 2], [], ["9" * 5000, 0]]
    ours = decoded([[], []], [*(error(on, 1.0) for on in odd), error(["0", "1"], 0.25)])
    assert ours.broken_couplings() == ()
    assert ours.coupling_errors() == {(0, 1): 0.25}
    assert summary(properties=ours).broken_couplings == ()


def test_a_device_without_a_native_gate_has_no_broken_couplings() -> None:
    ours = decoded([[]], [error([0], 1.0)])
    bare = decoded([], [])
    assert (ours.broken_couplings(), bare.broken_couplings(), dict(bare.coupling_errors())) == ((), (), {})
    assert summary(properties=bare).why_no_two_qubit_error == "it has no native two-qubit gate"


# --- medians, and what they leave out

TIMES = decoded(
    [
        [
            nduv("T1", 100, "us"),
            nduv("T2", -1.6, "s"),
            nduv("frequency", 0, "GHz"),
            nduv("readout_error", -0.1),
        ],
        [nduv("T1", 0, "us"), nduv("T2", 0, "us"), nduv("frequency", 5, "GHz"), nduv("readout_error", 0.25)],
        [nduv("T1", 0.9, "s"), nduv("readout_length", -1, "ns"), nduv("readout_error", 1.0)],
        [nduv("T1", -5, "us"), nduv("T2", -1, "us"), nduv("readout_error", 0.5), FLAG],
    ],
    [
        *(error([0, 1], 1.0, nduv("gate_length", -70, "ns")), error([1, 0], -1.0)),
        error([1, 2], 2.0, nduv("gate_length", 0, "ns")),
        entry([0], nduv("gate_error", 0), nduv("gate_length", 0, "ns"), gate="rz"),
        entry([0], nduv("gate_error", 7), nduv("gate_length", 32, "ns"), gate="sx"),
    ],
)


def test_impossible_values_are_in_no_median_and_counted() -> None:
    assert TIMES.median_t1() == median([100e-6, 0.9])
    assert (TIMES.median_t2(), TIMES.median_frequency(), TIMES.median_readout_length()) == (None, 5e9, None)
    assert TIMES.median_readout_error() == 0.25
    assert (TIMES.median_gate_length("cz"), TIMES.median_gate_length("rz")) == (None, 0.0)
    assert TIMES.qubit_measurements("T1").left_out == 1, "the faulty qubit's is not counted"
    assert TIMES.qubit_measurements("T1").values == ((100e-6, (0,)), (0.9, (2,)))
    assert TIMES.qubit_measurements("T2").why_none == "all 2 values are 0 or less, which no device can have"
    assert TIMES.qubit_measurements("anharmonicity").why_none == "nothing that works reports it"
    found = TIMES.gate_measurements("cz", "gate_error")
    assert (found.median, found.left_out) == (None, 3)
    assert found.why_none == "all 3 values are out of order (1 or more) or negative"


def test_accessors_and_fields_still_show_them() -> None:
    assert (TIMES.t2(0), TIMES.t1(1), TIMES.t1(3)) == (-1.6, 0.0, -5e-6)
    assert (TIMES.frequency(0), TIMES.readout_error(0), TIMES.gate_error("cz", (1, 0))) == (0.0, -0.1, -1.0)
    assert TIMES.qubits[0][1].value == -1.6
    assert TIMES.readout_length(2) == -1e-9


def test_a_summary_counts_them_and_says_why_a_figure_is_missing() -> None:
    found = summary(properties=TIMES)
    assert found.t1 is not None
    assert (found.t1.best, found.t1.worst, found.t1.left_out) == (0.9, 100e-6, 1)
    assert found.readout_error is not None
    assert (found.readout_error.best, found.readout_error.worst) == (0.25, 0.25)
    assert found.left_out == {"t1": 1, "t2": 2, "readout_error": 2, "two_qubit_error": 3}
    assert found.missing == (
        MissingFigure("t2", "all 2 values are 0 or less, which no device can have", left_out=2),
        MissingFigure("gate_error", found.why_no_two_qubit_error or "", "cz", 3),
        MissingFigure("gate_error", "the only value is out of order (1 or more) or negative", "sx", 1),
    )
    assert [gate.length for gate in found.gates] == [None, 0.0, 32e-9]
    assert found.broken_couplings == ((1, 2),), "of the other pair one direction is not known to be broken"
    sent = msgspec.json.decode(msgspec.json.encode(found))
    assert sent["broken_couplings"] == [[1, 2]]
    assert sent["t1"]["left_out"] == 1
    assert msgspec.convert(sent, BackendSummary) == found


numbers = st.floats(-2.0, 2.0) | st.sampled_from([0.0, 1.0, -0.0])


@given(st.lists(numbers, max_size=6), st.lists(numbers, max_size=6))
def test_whatever_is_reported_medians_are_of_what_counts(times: list[float], errors: list[float]) -> None:
    ours = decoded(
        [[nduv("T1", one, "s")] for one in times],
        [error([place, place + 1], one) for place, one in enumerate(errors)],
    )
    good = [one for one in times if one > 0]
    right = [one for one in errors if 0 <= one < 1]
    assert ours.median_t1() == (median(good) if good else None)
    assert ours.median_two_qubit_error() == (median(right) if right else None)
    found = summary(properties=ours)
    assert (found.t1 and (found.t1.best, found.t1.worst)) == ((max(good), min(good)) if good else None)
    spread = found.two_qubit_error
    assert (spread and (spread.best, spread.worst)) == ((min(right), max(right)) if right else None)
    assert found.left_out["t1"] == len(times) - len(good)
    assert found.left_out["two_qubit_error"] == len(errors) - len(right)
    assert len(found.broken_couplings) == sum(one >= 1 for one in errors)
