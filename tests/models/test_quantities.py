"""Names of measured values: what is none is an error, and what a device does not report is no mistake."""

import msgspec
import pytest

from qrbackends import BackendProperties, CalibrationLookupError

DOCUMENT = msgspec.json.decode(
    b"""{"backend_name": "ibm_one", "backend_version": "1", "last_update_date": "2026-01-01T00:00:00Z",
    "qubits": [
        [{"name": "T1", "date": "2026-01-01T00:00:00Z", "unit": "us", "value": 100},
         {"name": "leakage", "date": "2026-01-01T00:00:00Z", "unit": "", "value": 0.01}],
        [{"name": "operational", "date": "2026-01-01T00:00:00Z", "unit": "", "value": 0},
         {"name": "seen_on_faulty", "date": "2026-01-01T00:00:00Z", "unit": "", "value": 1}],
        []],
    "gates": [
        {"gate": "cz", "qubits": [0, 1], "parameters": [
            {"name": "gate_error", "date": "2026-01-01T00:00:00Z", "unit": "", "value": 0.001}]},
        {"gate": "sx", "qubits": [0], "parameters": []}],
    "general": []}""",
    type=BackendProperties,
)


@pytest.mark.parametrize(
    ("name", "meant"), [("t1", "T1"), ("readout-error", "readout_error"), ("leakag", "leakage")]
)
def test_a_misspelled_quantity_of_a_qubit_is_an_error(name: str, meant: str) -> None:
    for ask in (lambda: DOCUMENT.qubit_property(0, name), lambda: DOCUMENT.qubit_measurements(name)):
        with pytest.raises(
            CalibrationLookupError, match=f"no quantity '{name}'.*; did you mean {meant}\\?$"
        ) as caught:
            ask()
        assert caught.value.backend == "ibm_one"
        assert isinstance(caught.value, LookupError)


def test_a_misspelled_quantity_of_a_gate_is_an_error() -> None:
    problem = r"there are gate_error, gate_length, operational; did you mean gate_error\?$"
    with pytest.raises(CalibrationLookupError, match=problem):
        DOCUMENT.gate_measurements("cz", "error")
    with pytest.raises(CalibrationLookupError, match=problem):
        DOCUMENT.gate_property("cz", (0, 1), "Gate-Error")
    with pytest.raises(CalibrationLookupError, match=r"there are gate_error, gate_length, operational$"):
        DOCUMENT.gate_property("cz", (0, 1), "T1")


def test_what_is_not_reported_is_none() -> None:
    assert DOCUMENT.qubit_property(1, "T1") is None  # another qubit reports it
    assert DOCUMENT.qubit_property(2, "leakage") is None
    assert DOCUMENT.qubit_property(0, "anharmonicity") is None  # no qubit does, but it is known
    assert DOCUMENT.qubit_measurements("T2").median is None
    assert DOCUMENT.qubit_measurements("seen_on_faulty").values == ()
    assert DOCUMENT.gate_property("sx", 0, "gate_error") is None
    assert DOCUMENT.gate_measurements("sx", "gate_length").median is None


def test_what_is_no_text_is_an_error() -> None:
    with pytest.raises(CalibrationLookupError, match="no quantity None"):
        DOCUMENT.qubit_property(0, None)  # type: ignore[arg-type]
