"""Calibrated properties: the values measured for each qubit and gate, with their dates and units."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from typing import TypeAlias

from msgspec.structs import force_setattr

from ..errors import DecodeError, UnknownGate, UnknownQubit
from ..messages.suggestions import suggested
from .integers import Integer
from .left_out import Document
from .quantities import GATE_QUANTITIES, NATIVE_ENTANGLERS, QUBIT_QUANTITIES, check_quantity
from .shown import Shown
from .times import aware
from .units import UNITS
from .usable import Measurements, Pair, by_pair, measurements

Qubits: TypeAlias = int | Iterable[int]

_MOST_QUBITS = 2**31  # as in the contract


class Nduv(Shown, frozen=True, gc=False):
    """A measured value: name, date, unit and value, as the service sends them."""

    date: str
    name: str
    unit: str
    value: float

    @property
    def si(self) -> float:
        """The value in SI: seconds, hertz, or a plain number where the unit is empty.

        Raises:
            DecodeError: this package does not know the unit.
        """
        multiplier, divisor, _ = self._scale
        return self.value * multiplier / divisor

    @property
    def si_unit(self) -> str:
        """The unit of `si`: `s`, `Hz` or empty.

        Raises:
            DecodeError: this package does not know the unit.
        """
        return self._scale[2]

    @property
    def measured_at(self) -> datetime:
        """When it was measured, with a time zone.

        Raises:
            DecodeError: the date is not ISO 8601.
        """
        try:
            return aware(datetime.fromisoformat(self.date))
        except ValueError:
            problem = f"the date of {self.name!r:.80} is not ISO 8601"
        raise DecodeError(problem, text=self.date[:200])

    @property
    def _scale(self) -> tuple[float, float, str]:
        scale = UNITS.get(self.unit)
        if scale is None:
            raise DecodeError(f"the unit of {self.name!r:.80} is not known", text=self.unit[:200])
        return scale


class GateProperties(Shown, frozen=True, gc=False, omit_defaults=True):
    """The measured values of one gate on one set of qubits.

    Attributes:
        gate: the gate's name, such as `cz`.
        qubits: the qubits as sent: numbers, or text that holds numbers, which the contract allows; `on`
            has them as numbers.
        name: the service's name for the pair, such as `cz0_1`.
    """

    gate: str
    qubits: tuple[Integer | str, ...]
    parameters: tuple[Nduv, ...]
    name: str | None = None

    @property
    def on(self) -> tuple[int, ...]:
        """The qubits, as numbers.

        Raises:
            DecodeError: one of them is not the number of a qubit.
        """
        try:
            numbers = tuple(map(int, self.qubits))
            if not numbers or (min(numbers) >= 0 and max(numbers) < _MOST_QUBITS):
                return numbers
            problem = f"a qubit of gate {self.gate!r:.80} is out of range"
        except ValueError:
            problem = f"a qubit of gate {self.gate!r:.80} is not a number"
        raise DecodeError(problem, text=str(self.qubits)[:200])

    def parameter(self, name: str) -> Nduv | None:
        """Return the last measured value called `name`, such as `gate_error`, or None."""
        for nduv in reversed(self.parameters):  # a loop, as it is called thousands of times for a summary
            if nduv.name == name:
                return nduv
        return None

    @property
    def operational(self) -> bool:
        """Whether the device can run the gate; true where the service sends no `operational` flag."""
        flag = self.parameter("operational")
        return flag is None or bool(flag.value)


class QubitList(Shown, frozen=True, gc=False):
    """A named list of qubits, such as those of a layer of `lf_100`."""

    name: str
    qubits: tuple[Integer, ...]


class BackendProperties(Document, frozen=True, dict=True, weakref=True, omit_defaults=True):
    """The body of `GET /backends/{id}/properties`: one calibration of one backend.

    Accessors take qubit numbers and return SI units, or None where the device does not report the value.
    `qubit_property` and `gate_property` return the value as sent, with the date of its measurement. The
    first look-up builds an index; all others are O(1). A value, qubit or gate that is not of the contract's
    type, such as one with the unit null, is left out; `left_out` tells of it.
    """

    backend_name: str
    backend_version: str
    last_update_date: datetime
    qubits: tuple[tuple[Nduv, ...], ...]
    gates: tuple[GateProperties, ...]
    general: tuple[Nduv | str, ...]
    general_qlists: tuple[QubitList, ...] | None = None

    def __post_init__(self) -> None:
        force_setattr(self, "last_update_date", aware(self.last_update_date))

    @cached_property
    def _qubits(self) -> Mapping[int, Mapping[str, Nduv]]:
        return {number: {nduv.name: nduv for nduv in qubit} for number, qubit in enumerate(self.qubits)}

    @cached_property
    def _gates(self) -> Mapping[str, Mapping[tuple[int, ...], GateProperties]]:
        index: dict[str, dict[tuple[int, ...], GateProperties]] = {}
        for on, gate in readable(self.gates):
            index.setdefault(gate.gate, {})[on] = gate
        return index

    @cached_property
    def _faulty(self) -> frozenset[int]:
        return frozenset(qubit for qubit in self._qubits if not self.is_qubit_operational(qubit))

    @cached_property
    def _working(self) -> Mapping[str, Mapping[tuple[int, ...], GateProperties]]:
        index: dict[str, Mapping[tuple[int, ...], GateProperties]] = {}
        for name, gates in self._gates.items():
            works = {on: one for on, one in gates.items() if one.operational and self._faulty.isdisjoint(on)}
            index[name] = works if len(works) < len(gates) else gates  # most often one dict serves for both
        return index

    @cached_property
    def _couplings(self) -> tuple[Mapping[Pair, float | None], tuple[Pair, ...]]:
        native = self.native_entangler or ""
        working = self._working.get(native, {})
        return by_pair(
            (on, _si(gate.parameter("gate_error")), on in working)
            for on, gate in self._gates.get(native, {}).items()
        )

    def qubit_property(self, qubit: int, name: str) -> Nduv | None:
        """Return the measured value `name` of `qubit`, such as `T1`, or None if it was not measured.

        Raises:
            UnknownQubit: the device has no such qubit.
            CalibrationLookupError: the name is no known quantity's, and no qubit has a value of this name.
        """
        return self._qubit(qubit).get(name) or self._unreported(name, QUBIT_QUANTITIES)

    def gate_properties(self, gate: str, qubits: Qubits) -> GateProperties:
        """Return all measured values of `gate` on `qubits`; the order of the qubits matters.

        Raises:
            UnknownGate: the device has no such gate, or not on these qubits.
        """
        by_qubits = self._by_qubits(gate)
        on = tuple(qubits) if isinstance(qubits, Iterable) else (qubits,)
        try:
            return by_qubits[on]
        except (KeyError, TypeError):
            turned = next((f"; it is on {one}" for one in by_qubits if one == on[::-1]), "")
            problem = f"no gate {gate!r:.80} on {qubits!r:.80}{turned}"
        raise UnknownGate(problem).about(backend=self.backend_name)

    def gate_property(self, gate: str, qubits: Qubits, name: str) -> Nduv | None:
        """Return the measured value `name` of `gate` on `qubits`, such as `gate_error`, or None.

        Raises:
            UnknownGate: the device has no such gate, or not on these qubits.
            CalibrationLookupError: the name is no quantity's, as for `qubit_property`.
        """
        return self.gate_properties(gate, qubits).parameter(name) or self._unreported(name, GATE_QUANTITIES)

    def t1(self, qubit: int) -> float | None:
        """Return the relaxation time T1 in seconds."""
        return self._qubit_value(qubit, "T1")

    def t2(self, qubit: int) -> float | None:
        """Return the dephasing time T2 in seconds."""
        return self._qubit_value(qubit, "T2")

    def frequency(self, qubit: int) -> float | None:
        """Return the qubit's frequency in hertz."""
        return self._qubit_value(qubit, "frequency")

    def anharmonicity(self, qubit: int) -> float | None:
        """Return the anharmonicity (frequency of 1→2 less that of 0→1) in hertz."""
        return self._qubit_value(qubit, "anharmonicity")

    def readout_error(self, qubit: int) -> float | None:
        """Return the probability that a readout is wrong."""
        return self._qubit_value(qubit, "readout_error")

    def readout_length(self, qubit: int) -> float | None:
        """Return the duration of a readout in seconds."""
        return self._qubit_value(qubit, "readout_length")

    def prob_meas0_prep1(self, qubit: int) -> float | None:
        """Return the probability of reading 0 where 1 was prepared."""
        return self._qubit_value(qubit, "prob_meas0_prep1")

    def prob_meas1_prep0(self, qubit: int) -> float | None:
        """Return the probability of reading 1 where 0 was prepared."""
        return self._qubit_value(qubit, "prob_meas1_prep0")

    def gate_error(self, gate: str, qubits: Qubits) -> float | None:
        """Return the gate's error probability; a value of 1 or more marks a gate that does not work."""
        return _si(self.gate_property(gate, qubits, "gate_error"))

    def gate_length(self, gate: str, qubits: Qubits) -> float | None:
        """Return the gate's duration in seconds."""
        return _si(self.gate_property(gate, qubits, "gate_length"))

    def is_qubit_operational(self, qubit: int) -> bool:
        """Return whether the qubit works; true where the service sends no `operational` flag."""
        flag = self.qubit_property(qubit, "operational")
        return flag is None or bool(flag.value)

    def is_gate_operational(self, gate: str, qubits: Qubits) -> bool:
        """Return whether the gate works on `qubits`; true where the service sends no `operational` flag."""
        return self.gate_properties(gate, qubits).operational

    def faulty_qubits(self) -> tuple[int, ...]:
        """Return the numbers of the qubits that do not work."""
        return tuple(sorted(self._faulty))

    def working_qubits(self) -> tuple[int, ...]:
        """Return the numbers of the qubits that work."""
        return tuple(qubit for qubit in self._qubits if qubit not in self._faulty)

    def faulty_gates(self) -> tuple[GateProperties, ...]:
        """Return the gates whose own flag says that they do not work; a faulty qubit alone adds no gate."""
        return tuple(gate for gate in self.gates if not gate.operational)

    def working_gates(self, gate: str) -> tuple[GateProperties, ...]:
        """Return the entries of `gate` that work; those on faulty qubits are left out.

        Raises:
            UnknownGate: the device has no such gate.
        """
        return tuple(self._by_qubits(gate, working=True).values())

    def broken_couplings(self) -> tuple[tuple[int, int], ...]:
        """Return the pairs of qubits that cannot be used, the lower number first, in ascending order.

        In every direction in which the native two-qubit gate is reported on a pair, its own flag or a
        qubit's says that it does not work, or its error is 1 or more.
        """
        return self._couplings[1]

    def coupling_errors(self) -> Mapping[tuple[int, int], float | None]:
        """Return the native two-qubit gate's error on each pair of qubits that can be used.

        The lower number is first in each pair. Of two directions, the smaller error counts; the error is None
        where it was not measured, or is one that no gate can have.
        """
        return MappingProxyType(self._couplings[0])

    @property
    def gate_names(self) -> tuple[str, ...]:
        """The names of the gates, in the document's order."""
        return tuple(self._gates)

    @property
    def native_entangler(self) -> str | None:
        """The device's native two-qubit gate: the first of cz, ecr and cx that it has, or None."""
        return next((gate for gate in NATIVE_ENTANGLERS if gate in self._gates), None)

    def qubit_measurements(self, name: str) -> Measurements:
        """Return the values of `name`, such as `T1`, of the working qubits, without those that do not count.

        Errors from 0 to less than 1 count, and times and frequencies above 0, as in all medians.

        Raises:
            CalibrationLookupError: the name is no quantity's, as for `qubit_property`.
        """
        found = measurements(name, (((q,), _si(self._qubits[q].get(name))) for q in self.working_qubits()))
        if not found.values:
            self._unreported(name, QUBIT_QUANTITIES)
        return found

    def gate_measurements(self, gate: str, name: str) -> Measurements:
        """Return the same for the entries of `gate` that work; `name` is such as `gate_error`.

        Raises:
            UnknownGate: the device has no such gate.
            CalibrationLookupError: the name is no quantity's, as for `qubit_property`.
        """
        working = self._by_qubits(gate, working=True)
        found = measurements(name, ((on, _si(one.parameter(name))) for on, one in working.items()), gate)
        if not found.values:
            self._unreported(name, GATE_QUANTITIES)
        return found

    def median_t1(self) -> float | None:
        """Return the median T1 in seconds over the working qubits that report it."""
        return self.qubit_measurements("T1").median

    def median_t2(self) -> float | None:
        """Return the median T2 in seconds over the working qubits that report it."""
        return self.qubit_measurements("T2").median

    def median_frequency(self) -> float | None:
        """Return the median frequency in hertz over the working qubits that report it."""
        return self.qubit_measurements("frequency").median

    def median_anharmonicity(self) -> float | None:
        """Return the median anharmonicity in hertz over the working qubits that report it."""
        return self.qubit_measurements("anharmonicity").median

    def median_readout_error(self) -> float | None:
        """Return the median readout error over the working qubits; values of 1 and more are left out."""
        return self.qubit_measurements("readout_error").median

    def median_readout_length(self) -> float | None:
        """Return the median duration of a readout in seconds over the working qubits."""
        return self.qubit_measurements("readout_length").median

    def median_gate_error(self, gate: str) -> float | None:
        """Return the median error of `gate` over the device.

        Faulty gates, gates on faulty qubits and errors of 1 and more are left out; None if none is left.

        Raises:
            UnknownGate: the device has no such gate.
        """
        return self.gate_measurements(gate, "gate_error").median

    def median_gate_length(self, gate: str) -> float | None:
        """Return the median duration of `gate` in seconds over the device, faulty elements left out.

        Raises:
            UnknownGate: the device has no such gate.
        """
        return self.gate_measurements(gate, "gate_length").median

    def median_two_qubit_error(self) -> float | None:
        """Return the median error of the native two-qubit gate, or None if the device has none.

        Faulty gates, gates on faulty qubits and errors of 1 and more are left out; if none is left, it is
        None, too, and `gate_measurements(native_entangler, "gate_error").why_none` says so.
        """
        gate = self.native_entangler
        return None if gate is None else self.median_gate_error(gate)

    def _qubit(self, qubit: int) -> Mapping[str, Nduv]:
        try:
            return self._qubits[qubit]
        except (KeyError, TypeError):
            has = f"0 to {len(self.qubits) - 1}" if self.qubits else "none"
            problem = f"no qubit {qubit!r:.80}; it has {has}"
        raise UnknownQubit(problem).about(backend=self.backend_name)

    def _by_qubits(self, gate: str, working: bool = False) -> Mapping[tuple[int, ...], GateProperties]:
        try:
            return (self._working if working else self._gates)[gate]
        except (KeyError, TypeError):
            problem = suggested(f"no gate {gate!r:.80}; it has {', '.join(self._gates)}", gate, self._gates)
        raise UnknownGate(problem).about(backend=self.backend_name)

    def _unreported(self, name: str, known: Sequence[str]) -> Nduv | None:
        if name not in known:  # else nothing is walked through, as look-ups of what is missing are many
            of_gates = known is GATE_QUANTITIES
            values = (gate.parameters for gate in self.gates) if of_gates else self.qubits
            check_quantity(name, known, values, self.backend_name)
        return None

    def _qubit_value(self, qubit: int, name: str) -> float | None:
        return _si(self._qubit(qubit).get(name))


def readable(gates: Iterable[GateProperties]) -> Iterator[tuple[tuple[int, ...], GateProperties]]:
    """Yield the qubits and the entry of each gate, without entries whose qubits cannot be read."""
    for gate in gates:
        try:
            on = gate.on
        except DecodeError:  # no caller can name such a gate; the others stay usable
            continue
        yield on, gate


def _si(nduv: Nduv | None) -> float | None:
    return None if nduv is None else nduv.si
