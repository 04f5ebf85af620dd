"""The properties document of a synthetic processor at some hour, as the service or as its contract has it."""

from collections.abc import Callable, Iterator
from math import exp
from typing import Literal, TypeAlias

import msgspec

from .chip import RZZ, Chip, Coupling, Qubit
from .dates import in_seconds, with_milliseconds, with_offset
from .generations import LogNormal

DocumentShape: TypeAlias = Literal["live", "contract"]

HOUR = 3600
_ERROR_CEILING = 0.5  # the greatest error probability of what works
_OUT_OF_ORDER = 1.0  # the error with which the service marks a gate that does not work
_RESET_AFTER_READOUT_NS = 32.0


class Nduv(msgspec.Struct, gc=False):
    """One measured value, as the service sends it."""

    date: str
    name: str
    unit: str
    value: float


class _LiveGate(msgspec.Struct):
    qubits: tuple[int, ...]
    gate: str
    parameters: tuple[Nduv, ...]
    name: str


class _ContractGate(msgspec.Struct):
    qubits: tuple[str, ...]
    gate: str
    parameters: tuple[Nduv, ...]


def properties_document(chip: Chip, version: str, hour: int, second: float, shape: DocumentShape) -> bytes:
    """Return the JSON of the calibration of an hour.

    Args:
        chip: the processor.
        version: the backend's version.
        hour: the number of hours since 1970, in UTC.
        second: when in that hour the calibration ends, in seconds.
        shape: `live`, as the service answers, or `contract`, as its published contract says.
    """
    return _Calibration(chip, version, hour, second, shape).encode()


class _Calibration:
    """Builds one document."""

    def __init__(self, chip: Chip, version: str, hour: int, second: float, shape: DocumentShape) -> None:
        self._chip = chip
        self._version = version
        self._hour = hour
        self._second = second
        self._live = shape == "live"
        self._dates: dict[int, str] = {}

    def encode(self) -> bytes:
        chip = self._chip
        updated = self._hour * HOUR + self._second
        document: dict[str, object] = {
            "backend_name": chip.name,
            "backend_version": self._version,
            "last_update_date": with_offset(updated, chip.hours_east) if self._live else in_seconds(updated),
            "qubits": [tuple(self._qubit(qubit)) for qubit in chip.qubits],
            "gates": [*self._one_qubit_gates(), *self._two_qubit_gates()],
            "general": list(self._general()) if self._live else ["emulated"],
        }
        if self._live and chip.generation.couplings:
            document["general_qlists"] = self._chains()
        return msgspec.json.encode(document)

    def _date(self, hour: int) -> str:
        """Return the text for the date of a measurement; few different ones occur in a calibration."""
        known = self._dates.get(hour)
        if known is None:
            instant = hour * HOUR + self._second
            known = with_offset(instant, self._chip.hours_east) if self._live else with_milliseconds(instant)
            self._dates[hour] = known
        return known

    def _qubit(self, qubit: Qubit) -> Iterator[Nduv]:
        generation, hour = self._chip.generation, self._hour
        unit = generation.microsecond if self._live else "us"
        t1 = _draw(generation.t1, qubit.t1.at(hour))
        t2 = min(t1 * _draw(generation.t2_by_t1, qubit.t2.at(hour)), 2 * t1)
        error, zero_for_one, one_for_zero = self._readout(qubit)
        today = self._date(hour)
        if qubit.has_t1:
            yield Nduv(self._date(qubit.t1.measured(hour)), "T1", unit, t1)
        if qubit.has_t2:
            yield Nduv(self._date(qubit.t2.measured(hour)), "T2", unit, t2)
        if generation.frequency is not None:
            yield Nduv(today, "frequency", "GHz", qubit.frequency)
        yield Nduv(today, "readout_error", "", error)
        yield Nduv(today, "prob_meas0_prep1", "", zero_for_one)
        yield Nduv(today, "prob_meas1_prep0", "", one_for_zero)
        yield Nduv(today, "readout_length", "ns", generation.readout_ns)
        if not qubit.operational:
            yield Nduv(today, "operational", "", 0)

    def _readout(self, qubit: Qubit) -> tuple[float, float, float]:
        """Return the readout error, prob_meas0_prep1 and prob_meas1_prep0; the error is their mean."""
        generation, hour = self._chip.generation, self._hour
        error = min(_draw(generation.readout, qubit.readout.at(hour)), _ERROR_CEILING)
        ratio = _draw(generation.asymmetry, qubit.asymmetry.at(hour))
        share = 2 * error / (1 + ratio)
        return error, ratio * share, share

    def _one_qubit_gates(self) -> Iterator[_LiveGate | _ContractGate]:
        generation, hour = self._chip.generation, self._hour
        names = ("id", "rx", "sx", "x") if "rx" in generation.fractional else ("id", "sx", "x")
        errors = [_draw(generation.sx, qubit.sx.at(hour)) for qubit in self._chip.qubits]
        dates = [self._date(qubit.sx.measured(hour)) for qubit in self._chip.qubits]
        for name in names:
            for number, (error, date) in enumerate(zip(errors, dates, strict=True)):
                yield self._gate(name, (number,), date, min(error, _ERROR_CEILING), generation.sx_ns)
        today = self._date(hour)
        for number, qubit in enumerate(self._chip.qubits):
            length = generation.readout_ns
            yield self._gate("rz", (number,), today, 0.0, 0.0)
            yield self._gate("measure", (number,), today, self._readout(qubit)[0], length)
            yield self._gate("reset", (number,), today, None, length + _RESET_AFTER_READOUT_NS)

    def _two_qubit_gates(self) -> Iterator[_LiveGate | _ContractGate]:
        generation = self._chip.generation
        yield from self._entanglers(
            generation.entangler, generation.both_ways, lambda pair: pair.entangler.at
        )
        if self._chip.has_rzz:
            yield from self._entanglers(RZZ, True, lambda pair: pair.rzz.at)

    def _entanglers(
        self, name: str, both_ways: bool, walk: Callable[[Coupling], Callable[[int], float]]
    ) -> Iterator[_LiveGate | _ContractGate]:
        generation, hour = self._chip.generation, self._hour
        for pair in self._chip.couplings:
            error = min(_draw(generation.entangling, walk(pair)(hour)), _ERROR_CEILING)
            error = _OUT_OF_ORDER if pair.broken else error
            date = self._date(pair.entangler.measured(hour))
            for qubits in (pair.qubits, pair.qubits[::-1]) if both_ways else (pair.qubits,):
                yield self._gate(name, qubits, date, error, generation.entangler_ns, pair.operational)

    def _gate(
        self,
        gate: str,
        qubits: tuple[int, ...],
        date: str,
        error: float | None,
        length: float,
        operational: bool = True,
    ) -> _LiveGate | _ContractGate:
        parameters: tuple[Nduv, ...] = (Nduv(date, "gate_length", "ns", length),)
        if error is not None:
            parameters = (Nduv(date, "gate_error", "", error), *parameters)
        if not operational:
            parameters = (*parameters, Nduv(date, "operational", "", 0))
        if self._live:
            return _LiveGate(qubits, gate, parameters, gate + "_".join(map(str, qubits)))
        return _ContractGate(tuple(map(str, qubits)), gate, parameters)

    def _general(self) -> Iterator[Nduv]:
        """Yield the couplings' strengths, in GHz, if the snapshots of the generation have them."""
        if self._chip.generation.couplings:
            today = self._date(self._hour)
            for pair in self._chip.couplings:
                first, second = pair.qubits
                yield Nduv(today, f"jq_{first}{second}", "GHz", pair.strength)
                yield Nduv(today, f"zz_{first}{second}", "GHz", pair.strength / 170)

    def _chains(self) -> list[dict[str, object]]:
        """Return `general_qlists`, which the contract does not know: lines of 4 to 20 coupled qubits."""
        neighbours: dict[int, list[int]] = {}
        for pair in self._chip.couplings:
            for here, there in (pair.qubits, pair.qubits[::-1]):
                neighbours.setdefault(here, []).append(there)
        chain = [0]
        while len(chain) < 20:
            onward = [qubit for qubit in neighbours[chain[-1]] if qubit not in chain]
            if not onward:
                break
            chain.append(min(onward))
        return [{"name": f"lf_{n}", "qubits": chain[:n]} for n in range(4, len(chain) + 1)]


def _draw(distribution: LogNormal, walk: float) -> float:
    """Return the value of a lognormal distribution that belongs to a standard normal value."""
    median, sigma = distribution
    return median * exp(sigma * walk)
