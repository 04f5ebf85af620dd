"""The summary of one backend: its size, its state, and the figures of its newest calibration."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from ..errors import InvalidRequest
from .arguments import check_document
from .backend import Backend, Clops
from .configuration import BackendConfiguration
from .properties import BackendProperties, readable
from .shown import Shown
from .status import BackendStatus
from .topology import Lattice
from .usable import Measurements, Pair

FigureName: TypeAlias = Literal["t1", "t2", "readout_error", "gate_error"]

Best: TypeAlias = Callable[..., Any]
"""`min` or `max`: the function that returns the better one of two values."""


class Spread(Shown, frozen=True, gc=False):
    """The median of a figure over all working qubits or gates, and its best and worst value.

    Attributes:
        median: the median, in the figure's unit.
        best: the best value, in the figure's unit.
        best_on: the qubit or qubits that have the best value.
        worst: the worst value, in the figure's unit.
        worst_on: the qubit or qubits that have the worst value.
        left_out: the number of values that do not count: errors of 1 and more, and values no device can have.
    """

    median: float
    best: float
    best_on: tuple[int, ...]
    worst: float
    worst_on: tuple[int, ...]
    left_out: int = 0


class FaultyGate(Shown, frozen=True, gc=False):
    """A gate that does not work, and its qubits."""

    gate: str
    qubits: tuple[int, ...]


class MissingFigure(Shown, frozen=True, gc=False, omit_defaults=True):
    """A figure that does not exist, and why.

    Attributes:
        figure: `t1`, `t2`, `readout_error` or `gate_error`.
        reason: why there is none, as a sentence's end.
        gate: the gate's name; None for a figure of the qubits.
        left_out: the number of values that do not count.
    """

    figure: FigureName
    reason: str
    gate: str | None = None
    left_out: int = 0


class GateSummary(Shown, frozen=True, gc=False, omit_defaults=True):
    """One gate over the whole device.

    Attributes:
        gate: its name.
        count: the number of sets of qubits on which it works.
        error: its error, a probability; errors of 1 and more mark a gate that does not work, and are left
            out.
        length: the median of its duration, in seconds.
    """

    gate: str
    count: int
    error: Spread | None = None
    length: float | None = None


class BackendSummary(Shown, frozen=True, gc=False, omit_defaults=True):
    """The summary of one backend; `msgspec.json.encode` writes it as JSON.

    A field is None, or empty, where no document gives its value. Faulty qubits and gates are in no figure.

    Attributes:
        backend_version: the version of the device's hardware and firmware.
        processor: the processor's family and revision, such as `Heron r3`.
        qubits: the number of qubits, faulty ones included.
        operational: whether the backend takes and runs jobs now.
        status: the state's name: in the status document such as `active`, `internal` or `maintenance`, in
            the list `online`, `paused` or `offline`.
        queue_length: the number of waiting jobs.
        calibrated_at: when the properties were last updated.
        calibration_age: the seconds from then until the summary was made, 0 at least.
        t1: the relaxation times T1, in seconds.
        t2: the coherence times T2, in seconds.
        readout_error: a probability.
        gates: the gates that were measured, the native two-qubit gate first.
        two_qubit_gate: the name of the native two-qubit gate.
        two_qubit_error_layered: the error per gate of whole layers, a probability, where the list gives it.
        reason: why the backend is in its state.
        region: the region that lists the backend.
        instance: the CRN of the instance that lists the backend.
        clops: circuit layer operations per second; the service also sends them as text.
        broken_couplings: the pairs of qubits that cannot be used: flagged, or with an error of 1 or more.
        missing: why figures of the qubits or of the native two-qubit gate are None, or those of another gate
            of which no value counts.
        couplings: the number of coupled pairs of qubits; the two directions of a pair count once.
        bidirectional: whether every pair is coupled in both directions.
        lattice: `heavy-hex`, `square` or `other`, by the shape of the couplings' graph.
        emulated: whether an emulator sent any of the documents, and not IBM's service.
    """

    backend_name: str
    backend_version: str | None
    processor: str | None
    qubits: int | None
    basis_gates: tuple[str, ...]
    operational: bool | None = None
    status: str | None = None
    queue_length: int | None = None
    calibrated_at: datetime | None = None
    calibration_age: float | None = None
    faulty_qubits: tuple[int, ...] = ()
    faulty_gates: tuple[FaultyGate, ...] = ()
    t1: Spread | None = None
    t2: Spread | None = None
    readout_error: Spread | None = None
    gates: tuple[GateSummary, ...] = ()
    two_qubit_gate: str | None = None
    two_qubit_error_layered: float | None = None
    reason: str | None = None
    region: str | None = None
    instance: str | None = None
    clops: int | str | None = None
    broken_couplings: tuple[Pair, ...] = ()
    missing: tuple[MissingFigure, ...] = ()
    couplings: int | None = None
    bidirectional: bool | None = None
    lattice: Lattice | None = None
    emulated: bool = False

    @property
    def two_qubit_error(self) -> Spread | None:
        """The error of the native two-qubit gate, a probability, or None where there is none."""
        return next((gate.error for gate in self.gates if gate.gate == self.two_qubit_gate), None)

    @property
    def left_out(self) -> dict[str, int]:
        """How many values of T1, T2, readout error and two-qubit error do not count, by figure."""
        spreads = {"t1": self.t1, "t2": self.t2, "readout_error": self.readout_error}
        spreads["two_qubit_error"] = self.two_qubit_error
        found = {name: 0 if spread is None else spread.left_out for name, spread in spreads.items()}
        for one in self.missing:
            if one.gate in (None, self.two_qubit_gate):
                found[one.figure if one.gate is None else "two_qubit_error"] = one.left_out
        return found

    @property
    def why_no_two_qubit_error(self) -> str | None:
        """Why the native two-qubit gate has no error; None where it has one, or nothing is calibrated."""
        if self.calibrated_at is None or self.two_qubit_error is not None:
            return None
        if self.two_qubit_gate is None:
            return "it has no native two-qubit gate"
        return next((one.reason for one in self.missing if one.gate == self.two_qubit_gate), None)


def median_of(spread: Spread | None) -> float | None:
    """Return the median of a figure, or None where the figure is not known."""
    return None if spread is None else spread.median


def summary(
    configuration: BackendConfiguration | None = None,
    properties: BackendProperties | None = None,
    status: BackendStatus | None = None,
    *,
    listed: Backend | None = None,
    now: datetime | None = None,
) -> BackendSummary:
    """Return the summary of one backend from any of its documents.

    Where several documents give a value, the status document goes before the list's entry, and the
    configuration before all others.

    Args:
        configuration: gives the size, the processor and the basis gates.
        properties: give the figures of the calibration.
        status: gives the state and the queue.
        listed: the list's entry, which gives state and queue, too, and the region, the instance, the speed
            and the layered error.
        now: the time from which the calibration's age is counted; the current time where it is left out.

    Raises:
        DecodeError: a unit cannot be read.
        InvalidRequest: no document gives the backend's name, one is of another kind, or `now` has no time
            zone.
    """
    if now is not None and now.utcoffset() is None:
        raise InvalidRequest("now has no time zone; say which instant is meant, such as datetime.now(UTC)")
    for name, document, kind in (
        ("configuration", configuration, BackendConfiguration),
        ("properties", properties, BackendProperties),
        ("status", status, BackendStatus),
        ("listed", listed, Backend),
    ):
        check_document(name, document, kind, optional=True)
    found: dict[str, Any] = {}
    if properties is not None:
        found |= _calibrated(properties, now or datetime.now(UTC))
    if listed is not None:
        found |= _known(_of_list(listed))
    if status is not None:
        found |= {"backend_version": status.backend_version, **found} | _of_status(status)
    if configuration is not None:
        found |= _known(_of_configuration(configuration))
    if "backend_name" not in found:
        raise InvalidRequest("a summary needs a configuration, properties or the list's entry of a backend")
    documents = (configuration, properties, status, listed)
    found["emulated"] = any(one.emulated for one in documents if one is not None)
    unknown = {"backend_version": None, "processor": None, "qubits": None, "basis_gates": ()}
    return BackendSummary(**unknown | found)


def _known(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values without those that are None, so that they hide no other document's."""
    return {name: value for name, value in values.items() if value is not None}


def _of_configuration(configuration: BackendConfiguration) -> dict[str, Any]:
    clops = configuration.clops
    topology = configuration.topology
    return {
        "backend_name": configuration.backend_name,
        "backend_version": configuration.backend_version,
        "processor": str(configuration.processor_type or "") or None,
        "qubits": configuration.n_qubits,
        "basis_gates": configuration.basis_gates,
        "clops": clops.value if isinstance(clops, Clops) else clops,
        **topology._asdict(),
    }


def _of_list(listed: Backend) -> dict[str, Any]:
    layered = listed.performance_metrics and listed.performance_metrics.two_q_error_layered
    return {
        "backend_name": listed.name,
        "processor": str(listed.processor_type or "") or None,
        "qubits": listed.qubits,
        "operational": listed.online,
        "status": listed.status.name,
        "queue_length": listed.queue_length,
        "two_qubit_error_layered": layered.value if layered else None,
        "reason": listed.status.reason,
        "region": listed.region,
        "instance": listed.instance,
        "clops": listed.clops.value if listed.clops else None,
    }


def _of_status(status: BackendStatus) -> dict[str, Any]:
    """Return the whole state, unknown parts included: it must not be mixed with the list's."""
    return {
        "operational": status.operational,
        "status": status.status,
        "queue_length": status.queue_length,
        "reason": status.message,
    }


def _calibrated(properties: BackendProperties, now: datetime) -> dict[str, Any]:
    of = properties.qubit_measurements
    qubits: dict[FigureName, Measurements]
    qubits = {"t1": of("T1"), "t2": of("T2"), "readout_error": of("readout_error")}
    native = properties.native_entangler
    names = (() if native is None else (native,)) + tuple(g for g in properties.gate_names if g != native)
    errors = {name: properties.gate_measurements(name, "gate_error") for name in names}
    missing = [_missing(figure, found) for figure, found in qubits.items() if not found.values]
    for name, found in errors.items():
        if not found.values and (name == native or found.left_out):
            missing.append(_missing("gate_error", found, name))
    return {
        "backend_name": properties.backend_name,
        "backend_version": properties.backend_version,
        "qubits": len(properties.qubits),
        "calibrated_at": properties.last_update_date,
        "calibration_age": max(0.0, (now - properties.last_update_date).total_seconds()),
        "faulty_qubits": properties.faulty_qubits(),
        "faulty_gates": tuple(FaultyGate(gate.gate, on) for on, gate in readable(properties.faulty_gates())),
        "t1": _spread(qubits["t1"], max),
        "t2": _spread(qubits["t2"], max),
        "readout_error": _spread(qubits["readout_error"], min),
        "gates": tuple(_gates(properties, errors)),
        "two_qubit_gate": native,
        "broken_couplings": properties.broken_couplings(),
        "missing": tuple(missing),
    }


def _gates(properties: BackendProperties, errors: Mapping[str, Measurements]) -> Iterator[GateSummary]:
    """Yield the gates that work somewhere: the native two-qubit gate first, then by number of qubits."""
    native = properties.native_entangler
    working = {name: gates for name in errors if (gates := properties.working_gates(name))}
    for name in sorted(working, key=lambda name: (name != native, -len(working[name][0].qubits))):
        length = properties.median_gate_length(name)
        yield GateSummary(name, len(working[name]), _spread(errors[name], min), length)


def _missing(figure: FigureName, found: Measurements, gate: str | None = None) -> MissingFigure:
    return MissingFigure(figure, found.why_none or "", gate, found.left_out)


def _spread(found: Measurements, best: Best) -> Spread | None:
    middle = found.median
    if middle is None:
        return None
    least, most = min(found.values), max(found.values)
    top, bottom = (most, least) if best is max else (least, most)
    return Spread(middle, top[0], top[1], bottom[0], bottom[1], found.left_out)
