"""A fleet's rows: one backend and its newest calibration, in SI units."""

from collections.abc import Callable, Iterable
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from ..models import Backend, BackendProperties


class FaultyGate(Struct, frozen=True):
    """A gate that does not work, and where."""

    gate: str
    qubits: tuple[int, ...]


class Row(Struct, frozen=True):
    """A backend, as `fleet --json` writes it: times in seconds, errors as probabilities, null for unknown.

    Attributes:
        calibrated_at: when the service last updated the properties.
        error: why there are no properties, or None.
    """

    name: str
    region: str | None
    instance: str | None
    status: str
    reason: str | None
    queue_length: int
    qubits: int | None
    processor: str | None
    clops: int | str | None
    t1_median_s: float | None = None
    t2_median_s: float | None = None
    readout_error_median: float | None = None
    two_qubit_error_median: float | None = None
    two_qubit_gate: str | None = None
    faulty_qubits: tuple[int, ...] | None = None
    faulty_gates: tuple[FaultyGate, ...] | None = None
    calibrated_at: datetime | None = None
    calibration_age_s: float | None = None
    error: str | None = None


def row_of(backend: Backend) -> Row:
    """Return the row of a backend without its properties."""
    return Row(
        name=backend.name,
        region=backend.region,
        instance=backend.instance,
        status=backend.status.name,
        reason=backend.status.reason,
        queue_length=backend.queue_length,
        qubits=backend.qubits,
        processor=str(backend.processor_type or "") or None,
        clops=backend.clops.value if backend.clops else None,
    )


def calibrated(row: Row, properties: BackendProperties, now: datetime) -> Row:
    """Return `row` with what the properties say.

    Raises:
        DecodeError: a unit or a qubit in them is not known.
    """
    return replace(
        row,
        qubits=len(properties.qubits) if row.qubits is None else row.qubits,
        t1_median_s=properties.median_t1(),
        t2_median_s=properties.median_t2(),
        readout_error_median=properties.median_readout_error(),
        two_qubit_error_median=properties.median_two_qubit_error(),
        two_qubit_gate=properties.native_entangler,
        faulty_qubits=properties.faulty_qubits(),
        faulty_gates=tuple(FaultyGate(gate.gate, gate.on) for gate in properties.faulty_gates()),
        calibrated_at=properties.last_update_date,
        calibration_age_s=max(0.0, (now - properties.last_update_date).total_seconds()),
    )


class Wanted(Struct, frozen=True):
    """Which backends are wanted: by a pattern of names, by size, by being online."""

    name: str | None = None
    min_qubits: int | None = None
    online: bool = False

    def __contains__(self, backend: Backend) -> bool:
        return (
            (self.name is None or fnmatchcase(backend.name, self.name))
            and (self.min_qubits is None or (backend.qubits or 0) >= self.min_qubits)
            and (backend.online or not self.online)
        )


SORTS: Final[dict[str, Callable[[Row], Any]]] = {
    "name": lambda row: row.name,
    "queue": lambda row: row.queue_length,
    "qubits": lambda row: row.qubits,
    "t1": lambda row: row.t1_median_s,
    "t2": lambda row: row.t2_median_s,
    "readout": lambda row: row.readout_error_median,
    "two-qubit": lambda row: row.two_qubit_error_median,
    "age": lambda row: row.calibration_age_s,
}
"""What rows can be sorted by."""


def in_order(rows: Iterable[Row], by: str, reverse: bool = False) -> list[Row]:
    """Return the rows, the least first; those of which it is not known are last in either direction."""
    key = SORTS[by]
    rows = sorted(rows, key=lambda row: (row.name, row.region or ""))
    known = sorted((row for row in rows if key(row) is not None), key=key, reverse=reverse)
    return known + [row for row in rows if key(row) is None]
