"""The noise of a device as Aer simulates it, from its calibrated properties."""

from collections.abc import Collection, Iterable
from math import inf
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace
from qiskit.circuit import Gate
from qiskit.circuit.library.standard_gates import get_standard_gate_name_mapping

from ...errors import DecodeError, InvalidRequest
from ...messages.extras import missing_extra
from ...models import BackendConfiguration, BackendProperties, Nduv, usable
from .fitting import Fitting

if TYPE_CHECKING:
    from qiskit_aer.noise import NoiseModel

_TIMES: Final = ("T1", "T2", "frequency", "gate_length")
_ERRORS: Final = ("gate_error", "readout_error", "prob_meas0_prep1", "prob_meas1_prep0")
_AER_UNITS: Final = {"", "s", "ms", "us", "ns", "Hz", "MHz", "GHz"}  # Aer takes others for ns or GHz
_MICRO: Final = str.maketrans("\N{MICRO SIGN}\N{GREEK SMALL LETTER MU}", "uu")


def noise_model(
    configuration: BackendConfiguration,
    properties: BackendProperties,
    *,
    qubits: Collection[int] | None = None,
    gate_error: bool = True,
    readout_error: bool = True,
    thermal_relaxation: bool = True,
) -> "NoiseModel":
    """Return Aer's model of a device's noise: that with which `backend(…).run` simulates.

    The model has, for each gate on each set of qubits, depolarizing noise followed by thermal relaxation of
    each of the qubits:

    - The relaxation follows from T1, T2 and the gate's length; a T2 above 2·T1 is taken for 2·T1. Its
      equilibrium is the ground state, as at a temperature of 0 K.
    - The depolarizing noise is as strong as it takes for the two together to have the reported gate error e,
      which is the average gate infidelity: 1 - e = (1 - p) F + p / 2ⁿ, with the average fidelity F of the
      relaxation alone, for a gate on n qubits. Where F is less than 1 - e, there is none (p = 0).
    - Readouts are wrong with the reported probabilities of reading 1 after 0 and 0 after 1, or both with the
      readout error where the device does not report them.
    - A `delay` relaxes its qubit for as long as it takes.

    It has no crosstalk, no leakage, no coherent errors and no drift, and so is not the device: it tells what
    the calibration alone would make of a circuit. Values that no device can have, and those that the device
    does not report, add no noise; errors above 1 count as 1.

    The channels are Aer's `thermal_relaxation_error` and `depolarizing_error`, composed as in its
    `NoiseModel.from_backend_properties`. The official client's fake backends have the same model. Aer's
    `NoiseModel.from_backend(backend)` makes another one of the same data, from the target: there the two
    readout errors of a qubit are one, and what is faulty is missing.

    Args:
        configuration: the configuration, for the sampling time in which delays are given.
        properties: the measured values.
        qubits: the qubits whose noise is modelled, by default all. All of 156 qubits take some seconds.
        gate_error: whether gates have depolarizing noise.
        readout_error: whether readouts can be wrong.
        thermal_relaxation: whether gates and delays relax their qubits.

    Returns:
        A `qiskit_aer.noise.NoiseModel`, of which each call makes a new one.

    Raises:
        DecodeError: a unit cannot be read, or Aer cannot make a model of the numbers.
        ImportError: qiskit-aer is not installed.
        InvalidRequest: the device does not have one of the qubits.
    """
    aer = required_aer()
    numbers = configuration.qubit_numbers
    chosen = set(numbers if qubits is None else qubits)
    if not chosen.issubset(numbers):
        raise InvalidRequest(
            f"{configuration.backend_name} has the qubits 0 to {numbers[-1]}, and not {max(chosen)}"
        )
    measured = _Measured(configuration, properties, chosen)
    of_gates: Any = {"gate_error": gate_error, "thermal_relaxation": thermal_relaxation}
    try:
        model = aer.noise.NoiseModel.from_backend_properties(
            measured, readout_error=readout_error, dt=configuration.dt, **of_gates
        )
        model.add_basis_gates(list(configuration.basis_gates))
        measured.gates = _gates(configuration, properties, chosen)
        for name, on, error in aer.noise.device.basic_device_gate_errors(measured, **of_gates):
            model.add_quantum_error(error, name, on)
    except (aer.noise.noiseerror.NoiseError, ArithmeticError) as wrong:
        reason = str(getattr(wrong, "message", wrong))[:200]
        problem = f"Aer cannot make a noise model of the numbers: {reason}"
    else:
        return model
    raise DecodeError(problem).about(backend=configuration.backend_name)


def required_aer() -> Any:
    """Return the package `qiskit_aer`.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import qiskit_aer
        import qiskit_aer.noise
    except ImportError as error:
        raise missing_extra("local simulations and noise models need qiskit-aer", "aer") from error
    return qiskit_aer


class _Measured:
    """The measured values that count, with the attributes that Aer reads of the official client's properties.

    Args:
        configuration: the configuration of the device.
        properties: the properties.
        chosen: the qubits whose values are there.
    """

    def __init__(
        self, configuration: BackendConfiguration, properties: BackendProperties, chosen: Collection[int]
    ) -> None:
        measured = range(len(properties.qubits))
        self.qubits = [
            _counting(properties.qubits[qubit]) if qubit in chosen and qubit in measured else []
            for qubit in configuration.qubit_numbers
        ]
        self.gates: list[SimpleNamespace] = []  # Aer would take all of their names for basis gates

    def t1(self, qubit: int) -> float:
        """Return T1 in seconds; infinity where it does not count."""
        return self._of(qubit, "T1")

    def t2(self, qubit: int) -> float:
        """Return T2 in seconds; infinity where it does not count."""
        return self._of(qubit, "T2")

    def frequency(self, qubit: int) -> float:
        """Return the frequency in hertz; infinity where it does not count."""
        return self._of(qubit, "frequency")

    def _of(self, qubit: int, name: str) -> float:
        return next((one.si for one in self.qubits[qubit] if one.name == name), inf)


def _gates(
    configuration: BackendConfiguration, properties: BackendProperties, chosen: Collection[int]
) -> list[SimpleNamespace]:
    """Return the gates on the chosen qubits, with the values that count."""
    known = get_standard_gate_name_mapping()
    others = {
        one.gate: Gate(one.gate, len(one.qubits), []) for one in properties.gates if one.gate not in known
    }
    fitting = Fitting(known | others, configuration)
    return [
        SimpleNamespace(gate=name, qubits=list(on), parameters=_counting(gate.parameters, name))
        for (name, on), gate in fitting.calibrated(properties).items()
        if all(qubit in chosen for qubit in on)
    ]


def _counting(values: Iterable[Nduv], gate: str | None = None) -> list[Nduv]:
    """Return the values that make noise, the last one of each, in units that Aer knows."""
    found: dict[str, Nduv] = {}
    for one in values:
        if one.name in _ERRORS:
            found[one.name] = replace(one, value=min(max(one.value, 0.0), 1.0))
        elif one.name in _TIMES and usable(one.name, one.si, gate) is not None:
            unit = one.unit.translate(_MICRO)
            in_si = unit not in _AER_UNITS
            found[one.name] = replace(
                one, value=one.si if in_si else one.value, unit=one.si_unit if in_si else unit
            )
    return list(found.values())
