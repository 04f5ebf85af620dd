"""What operations and waits cost on a device: the negative natural logarithms of their success probabilities.

Costs add up. A value that was not measured, or is one that no device can have, counts as the worst value of
the device, and as no loss if the device reports none.
"""

import math
from contextlib import suppress
from typing import Any

from ..errors import CalibrationLookupError, InvalidRequest, UnknownGate, UnknownQubit
from ..models import BackendConfiguration, BackendProperties, GateProperties, Nduv, is_out_of_order, usable
from ..models.units import UNITS


def error_cost(error: float) -> float:
    """Return the cost of an operation that fails with this probability; it is infinite for 1 and more."""
    return math.inf if error >= 1.0 else -math.log1p(-error)


def waiting_cost(seconds: float, t1: float, t2: float) -> float:
    """Return the cost of a qubit that waits: -log(F), where F is its average fidelity,

        F = 1/2 + exp(-t / T1) / 6 + exp(-t / T2) / 3,

    which follows for amplitude and phase damping from M. A. Nielsen's formula (Phys. Lett. A 303, 249, 2002).

    Args:
        seconds: how long it waits, t.
        t1: its relaxation time T1 in seconds.
        t2: its dephasing time T2 in seconds.
    """
    return -math.log1p(math.expm1(-seconds / t1) / 6 + math.expm1(-seconds / t2) / 3)


def is_reset(name: str) -> bool:
    """Return whether an instruction resets a qubit: `reset`, or a variant such as `reset_2`."""
    return name == "reset" or name.startswith("reset_")


def is_readout(name: str) -> bool:
    """Return whether an instruction measures a qubit: `measure`, a variant such as `measure_2`, a reset."""
    return name == "measure" or name.startswith("measure_") or is_reset(name)


class DeviceCosts:
    """The costs and durations of operations and waits on one device.

    Args:
        configuration: gives the gates and qubits that there are, and `dt`.
        properties: give errors, durations, T1 and T2.
    """

    def __init__(self, configuration: BackendConfiguration, properties: BackendProperties) -> None:
        self._configuration, self._properties = configuration, properties
        self._faulty = frozenset(properties.faulty_qubits())
        self._worst: dict[tuple[str, str | None], float | None] = {}
        self._known: dict[tuple[str, tuple[int, ...]], tuple[float, float]] = {}

    def operation(self, name: str, on: tuple[int, ...]) -> tuple[float, float]:
        """Return the cost of an operation, and the seconds that it takes.

        Args:
            name: a gate, a measurement or a reset.
            on: the numbers of its qubits, in order.

        Raises:
            UnknownQubit: the device does not have one of the qubits.
            UnknownGate: the device does not have the gate, or not on these qubits.
        """
        known = self._known.get((name, on))
        if known is None:
            known = self._known[name, on] = self._looked_up(name, on)
        return known

    def wait(self, qubit: int, seconds: float) -> float:
        """Return the cost of a qubit that waits."""
        t1, t2 = (self._counted(name, self._of_qubit(qubit, name), None, math.inf) for name in ("T1", "T2"))
        return waiting_cost(seconds, t1, t2)

    def duration(self, operation: Any) -> float:
        """Return the seconds that a delay or a box says it takes.

        Raises:
            InvalidRequest: that is not a number, or is in `dt`, and the device does not say how long that is.
        """
        scales = {**UNITS, "dt": (self._configuration.dt_ns or math.nan, 1e9, "s")}
        multiplier, divisor, _ = scales.get(operation.unit, (math.nan, 1.0, ""))
        try:
            seconds = float(operation.duration) * multiplier / divisor
        except TypeError:  # a parameter without a value, or an expression
            seconds = math.nan
        if seconds >= 0:
            return seconds
        raise InvalidRequest(
            f"how long a {operation.name} of the circuit takes is not known in seconds; give its parameters "
            "values, and no dt where the device says none"
        ).about(backend=self._configuration.backend_name)

    def _looked_up(self, name: str, on: tuple[int, ...]) -> tuple[float, float]:
        for qubit in on:
            if qubit not in range(self._configuration.n_qubits):
                raise self._missing(UnknownQubit, f"no qubit {qubit}")
        gate = self._gate(name, on)
        error = seconds = 0.0
        if name == "measure" or is_reset(name):  # a reset measures the qubit, too
            error = self._counted("readout_error", self._of_qubit(on[0], "readout_error"))
            seconds = self._counted("readout_length", self._of_qubit(on[0], "readout_length"))
        if name != "measure":
            measured = None if gate is None else gate.parameter("gate_error")
            error = self._counted("gate_error", measured, name, error)
            measured = None if gate is None else gate.parameter("gate_length")
            seconds = self._counted("gate_length", measured, name, seconds)
        works = self._faulty.isdisjoint(on) and (gate is None or gate.operational)
        return (error_cost(error) if works else math.inf), seconds

    def _gate(self, name: str, on: tuple[int, ...]) -> GateProperties | None:
        """Return what was measured of a gate; None if nothing was, although the device has it."""
        configuration = self._configuration
        if (
            name in self._properties.gate_names
        ):  # the error about another one looks for names that are like it
            with suppress(UnknownGate):
                return self._properties.gate_properties(name, on)
        named = {
            "measure",
            "reset",
            *configuration.basis_gates,
            *(configuration.supported_instructions or ()),
        }
        places = next((gate.coupling_map for gate in configuration.gates if gate.name == name), None)
        if on in places if places else name in named:
            return None
        raise self._missing(UnknownGate, f"no gate {name!r:.80} on {on}")

    def _missing(self, error: type[CalibrationLookupError], problem: str) -> CalibrationLookupError:
        hint = "transpile the circuit for this device"
        return error(f"{problem}: {hint}").about(backend=self._configuration.backend_name)

    def _of_qubit(self, qubit: int, name: str) -> Nduv | None:
        properties = self._properties
        return properties.qubit_property(qubit, name) if qubit < len(properties.qubits) else None

    def _counted(
        self, name: str, nduv: Nduv | None, gate: str | None = None, otherwise: float = 0.0
    ) -> float:
        """Return a value in SI units if it counts, or else the device's worst one, or else `otherwise`.

        An error of 1 or more is 1: what has it never succeeds.

        Args:
            name: the quantity's name on the wire, such as `T1` or `gate_error`.
            nduv: the measured value, or None.
            gate: the gate's name, for a value of a gate.
            otherwise: what counts if the device reports no value that does.
        """
        value = None if nduv is None else nduv.si
        if name.endswith("_error") and is_out_of_order(value):
            return 1.0
        value = usable(name, value, gate)
        if value is None:
            if (name, gate) not in self._worst:
                self._worst[name, gate] = self._worst_of(name, gate)
            value = self._worst[name, gate]
        return otherwise if value is None else value

    def _worst_of(self, name: str, gate: str | None) -> float | None:
        if gate is None:
            found = self._properties.qubit_measurements(name).values
        elif gate in self._properties.gate_names:
            found = self._properties.gate_measurements(gate, name).values
        else:
            return None
        worst = min if name in ("T1", "T2") else max
        return worst((value for value, _ in found), default=None)
