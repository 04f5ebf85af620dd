"""The performance metrics in the list of backends, computed from a backend's calibration."""

from statistics import median
from typing import Any

import msgspec

ENTANGLERS = ("cz", "ecr", "cx")  # the newest first: a few devices have two, and the newer one is native


class _Nduv(msgspec.Struct, gc=False):
    name: str
    value: float


class _Gate(msgspec.Struct):
    gate: str
    qubits: list[int | str]
    parameters: list[_Nduv]


class _Properties(msgspec.Struct):
    gates: list[_Gate]
    qubits: list[list[_Nduv]]
    general: list[_Nduv | str]


_PROPERTIES = msgspec.json.Decoder(_Properties)


def performance_metrics(properties: bytes) -> dict[str, Any]:
    """Return `performance_metrics` for a properties document.

    These are the best and the median error of the native two-qubit gate, the error per gate in a layer of
    100 qubits if it was measured, and the median readout error; all are probabilities. A gate error of 1 or
    more marks a gate that does not work, and is left out. A recorded document that is not as it should be has
    no metrics.
    """
    try:
        calibration = _PROPERTIES.decode(properties)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    metrics: dict[str, Any] = {}
    errors = _two_qubit_errors(calibration)
    if errors:
        best, gate, qubits = min(errors, key=lambda entry: entry[0])
        metrics["two_q_error_best"] = {"value": best, "gate": gate, "qubits": qubits, "unit": ""}
        metrics["two_q_error_median"] = {"value": median(entry[0] for entry in errors), "unit": ""}
    layered = [g.value for g in calibration.general if isinstance(g, _Nduv) and g.name == "eplg_100"]
    if layered:
        metrics["two_q_error_layered"] = {"value": layered[0], "unit": ""}
    readout = [nduv.value for qubit in calibration.qubits for nduv in qubit if nduv.name == "readout_error"]
    if readout:
        metrics["readout_error_median"] = {"value": median(readout), "unit": ""}
    return metrics


def _two_qubit_errors(calibration: _Properties) -> list[tuple[float, str, list[int]]]:
    present = {gate.gate for gate in calibration.gates}
    native = next((name for name in ENTANGLERS if name in present), None)
    return [
        (nduv.value, gate.gate, [int(qubit) for qubit in gate.qubits])
        for gate in calibration.gates
        if gate.gate == native
        for nduv in gate.parameters
        if nduv.name == "gate_error" and nduv.value < 1
    ]
