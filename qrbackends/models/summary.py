"""A backend at a glance: what a person, or a program that advises one, wants to know of it."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from math import inf
from statistics import median
from typing import Any, TypeAlias

from msgspec import Struct

from ..errors import InvalidRequest
from .backend import Backend
from .configuration import BackendConfiguration
from .properties import BackendProperties, GateProperties, Nduv
from .status import BackendStatus

Best: TypeAlias = Callable[..., Any]
"""`min` or `max`: which of two values is the better one."""


class Spread(Struct, frozen=True, gc=False):
    """The median of a figure over what works, and the best and the worst of it with where they are.

    Attributes:
        median: in the figure's unit.
        best: likewise.
        best_on: the qubit or qubits that have it.
        worst: likewise.
        worst_on: likewise.
    """

    median: float
    best: float
    best_on: tuple[int, ...]
    worst: float
    worst_on: tuple[int, ...]


class FaultyGate(Struct, frozen=True, gc=False):
    """A gate that does not work."""

    gate: str
    qubits: tuple[int, ...]


class GateSummary(Struct, frozen=True, gc=False, omit_defaults=True):
    """One gate over the device.

    Attributes:
        gate: its name.
        count: on how many sets of qubits it works.
        error: its error, a probability; errors of 1 and more mark what does not work, and are left out.
        length: the median of its duration, in seconds.
    """

    gate: str
    count: int
    error: Spread | None = None
    length: float | None = None


class BackendSummary(Struct, frozen=True, omit_defaults=True):
    """A backend at a glance; `msgspec.json.encode` makes it JSON.

    What is not known is None. Faulty qubits and gates are in no figure.

    Attributes:
        backend_version: the version of the device's hardware and firmware.
        processor: such as `Heron r3`.
        qubits: how many there are, faulty ones included.
        operational: whether it takes jobs now.
        status: the state's name, such as `active`, `internal` or `maintenance`.
        queue_length: jobs waiting.
        calibrated_at: when the properties were last updated.
        calibration_age: seconds since then.
        t1, t2: in seconds.
        readout_error: a probability.
        gates: the gates that were measured, the native two-qubit gate first.
        two_qubit_error_layered: the error per gate of whole layers, a probability, where the list gives it.
    """

    backend_name: str
    backend_version: str
    processor: str | None
    qubits: int
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


def summary(
    configuration: BackendConfiguration,
    properties: BackendProperties | None = None,
    status: BackendStatus | None = None,
    *,
    listed: Backend | None = None,
    now: datetime | None = None,
) -> BackendSummary:
    """Return a backend at a glance.

    Args:
        configuration: what it can do.
        properties: how well.
        status: whether it takes jobs.
        listed: its entry in the list of backends, for what only that tells.
        now: when it is looked at; left out, now.

    Raises:
        DecodeError: a unit, or a gate's qubit, is none that is known.
        InvalidRequest: `now` has no time zone.
    """
    if now is not None and now.utcoffset() is None:
        raise InvalidRequest("now has no time zone; say which instant is meant, such as datetime.now(UTC)")
    processor = configuration.processor_type or (listed.processor_type if listed else None)
    metrics = listed.performance_metrics if listed else None
    known = {} if properties is None else _calibrated(properties, now or datetime.now(UTC))
    return BackendSummary(
        backend_name=configuration.backend_name,
        backend_version=configuration.backend_version,
        processor=(str(processor) or None) if processor else None,
        qubits=configuration.n_qubits,
        basis_gates=configuration.basis_gates,
        operational=status.operational if status else None,
        status=status.status if status else None,
        queue_length=status.queue_length if status else None,
        two_qubit_error_layered=(
            metrics.two_q_error_layered.value if metrics and metrics.two_q_error_layered else None
        ),
        **known,
    )


def _calibrated(properties: BackendProperties, now: datetime) -> dict[str, Any]:
    faulty = properties.faulty_qubits()
    working = [qubit for qubit in range(len(properties.qubits)) if qubit not in set(faulty)]

    def of_qubits(accessor: Callable[[int], float | None], best: Best, below: float = inf) -> Spread | None:
        return _spread((((qubit,), accessor(qubit)) for qubit in working), best, below)

    return {
        "calibrated_at": properties.last_update_date,
        "calibration_age": (now - properties.last_update_date).total_seconds(),
        "faulty_qubits": faulty,
        "faulty_gates": tuple(FaultyGate(gate.gate, gate.on) for gate in properties.faulty_gates()),
        "t1": of_qubits(properties.t1, max),
        "t2": of_qubits(properties.t2, max),
        "readout_error": of_qubits(properties.readout_error, min, 1.0),
        "gates": _gates(properties, set(faulty)),
        "two_qubit_gate": properties.native_entangler,
    }


def _gates(properties: BackendProperties, faulty: set[int]) -> tuple[GateSummary, ...]:
    working: dict[str, list[GateProperties]] = {}
    for gate in properties.gates:
        if gate.operational and faulty.isdisjoint(gate.on):
            working.setdefault(gate.gate, []).append(gate)
    native = properties.native_entangler
    found = (_gate(name, gates) for name, gates in working.items())
    return tuple(sorted(found, key=lambda gate: (gate.gate != native, -len(working[gate.gate][0].qubits))))


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
