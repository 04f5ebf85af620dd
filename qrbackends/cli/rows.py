"""The rows of `fleet`: the summary of each backend, filtered, sorted and as JSON in SI units."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any, Final

from msgspec import Struct

from ..models import Backend, BackendSummary, median_of


class Row(Struct, frozen=True):
    """One backend.

    Attributes:
        found: its summary.
        error: why its properties are missing, or None.
    """

    found: BackendSummary
    error: str | None = None


def json_of(row: Row) -> dict[str, Any]:
    """Return a row as `fleet --json` writes it: seconds and probabilities, null for an unknown value.

    `left_out` counts the values that no median has; `two_qubit_error_missing` says why that median is null.
    """
    found = row.found
    is_calibrated = found.calibrated_at is not None
    return {
        "name": found.backend_name,
        "region": found.region,
        "instance": found.instance,
        "status": found.status,
        "reason": found.reason,
        "queue_length": found.queue_length,
        "qubits": found.qubits,
        "processor": found.processor,
        "clops": found.clops,
        "t1_median_s": median_of(found.t1),
        "t2_median_s": median_of(found.t2),
        "readout_error_median": median_of(found.readout_error),
        "two_qubit_error_median": median_of(found.two_qubit_error),
        "two_qubit_gate": found.two_qubit_gate,
        "faulty_qubits": found.faulty_qubits if is_calibrated else None,
        "faulty_gates": found.faulty_gates if is_calibrated else None,
        "broken_couplings": found.broken_couplings if is_calibrated else None,
        "left_out": found.left_out if is_calibrated else None,
        "two_qubit_error_missing": found.why_no_two_qubit_error,
        "calibrated_at": found.calibrated_at,
        "calibration_age_s": found.calibration_age,
        "error": row.error,
    }


class Wanted(Struct, frozen=True):
    """The backends to show, by a pattern of names, by the number of qubits and by being online."""

    name: str | None = None
    min_qubits: int | None = None
    online: bool = False

    def __contains__(self, backend: Backend) -> bool:
        return (
            (self.name is None or fnmatchcase(backend.name, self.name))
            and (self.min_qubits is None or (backend.qubits or 0) >= self.min_qubits)
            and (backend.online or not self.online)
        )


SORTS: Final[dict[str, Callable[[BackendSummary], Any]]] = {
    "name": lambda found: found.backend_name,
    "queue": lambda found: found.queue_length,
    "qubits": lambda found: found.qubits,
    "t1": lambda found: median_of(found.t1),
    "t2": lambda found: median_of(found.t2),
    "readout": lambda found: median_of(found.readout_error),
    "two-qubit": lambda found: median_of(found.two_qubit_error),
    "age": lambda found: found.calibration_age,
}
"""The values by which rows can be sorted."""


def in_order(rows: Iterable[Row], by: str, reverse: bool = False) -> list[Row]:
    """Return the rows in ascending order; those whose value is unknown are last, also with `reverse`."""
    key = SORTS[by]
    rows = sorted(rows, key=lambda row: (row.found.backend_name, row.found.region or ""))
    known = [row for row in rows if key(row.found) is not None]
    known.sort(key=lambda row: key(row.found), reverse=reverse)
    return known + [row for row in rows if key(row.found) is None]
