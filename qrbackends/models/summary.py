"""The summary of one backend: its size, its state, and the figures of its newest calibration."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from math import inf
from statistics import median
from typing import Any, TypeAlias

from msgspec import Struct

from ..errors import InvalidRequest
from .backend import Backend, Clops
from .configuration import BackendConfiguration
from .properties import BackendProperties, GateProperties, Nduv
from .status import BackendStatus

Best: TypeAlias = Callable[..., Any]
"""`min` or `max`: the function that returns the better one of two values."""


class Spread(Struct, frozen=True, gc=False):
    """The median of a figure over all working qubits or gates, and its best and worst value.

    Attributes:
        median: the median, in the figure's unit.
        best: the best value, in the figure's unit.
        best_on: the qubit or qubits that have the best value.
        worst: the worst value, in the figure's unit.
        worst_on: the qubit or qubits that have the worst value.
    """

    median: float
    best: float
    best_on: tuple[int, ...]
    worst: float
    worst_on: tuple[int, ...]


class FaultyGate(Struct, frozen=True, gc=False):
    """A gate that does not work, and its qubits."""

    gate: str
    qubits: tuple[int, ...]


class GateSummary(Struct, frozen=True, gc=False, omit_defaults=True):
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


class BackendSummary(Struct, frozen=True, gc=False, omit_defaults=True):
    """The summary of one backend; `msgspec.json.encode` writes it as JSON.

    A field is None, or empty, where no document gives its value. Faulty qubits and gates are in no figure.

    Attributes:
        backend_version: the version of the device's hardware and firmware.
        processor: the processor's family and revision, such as `Heron r3`.
        qubits: the number of qubits, faulty ones included.
        operational: whether the backend takes jobs now.
        status: the state's name: in the status document such as `active`, `internal` or `maintenance`, in
            the list `online`, `paused` or `offline`.
        queue_length: the number of waiting jobs.
        calibrated_at: when the properties were last updated.
        calibration_age: the seconds from then until the summary was made, 0 at least.
        t1, t2: in seconds.
        readout_error: a probability.
        gates: the gates that were measured, the native two-qubit gate first.
        two_qubit_gate: the name of the native two-qubit gate.
        two_qubit_error_layered: the error per gate of whole layers, a probability, where the list gives it.
        reason: why the backend is in its state.
        region: the region that lists the backend.
        instance: the CRN of the instance that lists the backend.
        clops: circuit layer operations per second; the service also sends them as text.
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

    @property
    def two_qubit_error(self) -> Spread | None:
        """The error of the native two-qubit gate, a probability, or None where there is none."""
        return next((gate.error for gate in self.gates if gate.gate == self.two_qubit_gate), None)


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
        DecodeError: a unit, or a qubit of a faulty gate, cannot be read.
        InvalidRequest: no document gives the backend's name, or `now` has no time zone.
    """
    if now is not None and now.utcoffset() is None:
        raise InvalidRequest("now has no time zone; say which instant is meant, such as datetime.now(UTC)")
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
    unknown = {"backend_version": None, "processor": None, "qubits": None, "basis_gates": ()}
    return BackendSummary(**unknown | found)


def _known(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values without those that are None, so that they hide no other document's."""
    return {name: value for name, value in values.items() if value is not None}


def _of_configuration(configuration: BackendConfiguration) -> dict[str, Any]:
    clops = configuration.clops
    return {
        "backend_name": configuration.backend_name,
        "backend_version": configuration.backend_version,
        "processor": str(configuration.processor_type or "") or None,
        "qubits": configuration.n_qubits,
        "basis_gates": configuration.basis_gates,
        "clops": clops.value if isinstance(clops, Clops) else clops,
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
    working = properties.working_qubits()

    def of_qubits(accessor: Callable[[int], float | None], best: Best, below: float = inf) -> Spread | None:
        return _spread((((qubit,), accessor(qubit)) for qubit in working), best, below)

    return {
        "backend_name": properties.backend_name,
        "backend_version": properties.backend_version,
        "qubits": len(properties.qubits),
        "calibrated_at": properties.last_update_date,
        "calibration_age": max(0.0, (now - properties.last_update_date).total_seconds()),
        "faulty_qubits": properties.faulty_qubits(),
        "faulty_gates": tuple(FaultyGate(gate.gate, gate.on) for gate in properties.faulty_gates()),
        "t1": of_qubits(properties.t1, max),
        "t2": of_qubits(properties.t2, max),
        "readout_error": of_qubits(properties.readout_error, min, 1.0),
        "gates": tuple(_gates(properties)),
        "two_qubit_gate": properties.native_entangler,
    }


def _gates(properties: BackendProperties) -> Iterator[GateSummary]:
    """Yield the gates that work somewhere: the native two-qubit gate first, then by number of qubits."""
    working = {name: gates for name in properties.gate_names if (gates := properties.working_gates(name))}
    native = properties.native_entangler
    for name in sorted(working, key=lambda name: (name != native, -len(working[name][0].qubits))):
        yield _gate(name, working[name])


def _gate(name: str, gates: Sequence[GateProperties]) -> GateSummary:
    errors = ((gate.on, _si(gate.parameter("gate_error"))) for gate in gates)
    lengths = [length for gate in gates if (length := _si(gate.parameter("gate_length"))) is not None]
    return GateSummary(name, len(gates), _spread(errors, min, 1.0), median(lengths) if lengths else None)


def _si(value: Nduv | None) -> float | None:
    return None if value is None else value.si


def _spread(
    values: Iterable[tuple[tuple[int, ...], float | None]], best: Best, below: float = inf
) -> Spread | None:
    known = [(value, on) for on, value in values if value is not None and value < below]
    if not known:
        return None
    least, most = min(known), max(known)
    top, bottom = (most, least) if best is max else (least, most)
    return Spread(median(value for value, _ in known), top[0], top[1], bottom[0], bottom[1])
