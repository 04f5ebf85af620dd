"""The rows of `fleet` and `history`: summaries of backends, their columns, and their JSON in SI units."""

from dataclasses import replace
from typing import Any, Final

from msgspec import Struct

from ..models import Backend, BackendSummary, median_of
from ..models.formatting import DASH, probability
from .columns import Cell, Column, micro, minute, number
from .entries import ENTRIES, WAITS
from .text import age, whole


class Row(Struct, frozen=True):
    """One backend.

    Attributes:
        listed: its entry in the list.
        found: its summary.
        error: why its properties are missing, or None.
    """

    listed: Backend
    found: BackendSummary
    error: str | None = None


def _two_qubit_error(found: BackendSummary) -> Cell:
    error = median_of(found.two_qubit_error)
    return "none works" if found.left_out["two_qubit_error"] and error is None else probability(error)


def _count(parts: tuple[Any, ...] | None) -> str:
    return DASH if parts is None else whole(len(parts))


CALIBRATED: Final[tuple[Column[BackendSummary], ...]] = (
    number("t1_median_s", "T1 µs", lambda one: median_of(one.t1), micro, 6),
    number("t2_median_s", "T2 µs", lambda one: median_of(one.t2), micro, 7),
    number("readout_error_median", "readout", lambda one: median_of(one.readout_error), probability, 5),
    number(
        "two_qubit_error_median",
        "2q err",
        lambda one: median_of(one.two_qubit_error),
        rank=2,
        cell=_two_qubit_error,
    ),
    Column("two_qubit_gate", "2q gate", lambda one: one.two_qubit_gate, rank=13),
    number("calibration_age_s", "age", lambda one: one.calibration_age, age, 10),
    Column("calibrated_at", "calibrated UTC", lambda one: one.calibrated_at, minute, 19, extra=True),
    number("faulty_qubits", "bad qubits", lambda one: one.calibrated_at and one.faulty_qubits, _count, 15),
    number(
        "broken_couplings",
        "bad couplings",
        lambda one: one.calibrated_at and one.broken_couplings,
        _count,
        16,
    ),
)
"""Columns of what a calibration tells of a whole device."""

_listed: Final[dict[str, Column[Row]]] = {
    one.name: one.of(lambda row: row.listed) for one in ENTRIES if one.name not in WAITS
}
_found: Final[dict[str, Column[Row]]] = {one.name: one.of(lambda row: row.found) for one in CALIBRATED}
_qubits: Column[Row] = number("qubits", "qubits", lambda row: row.found.qubits, rank=4)

FLEET: Final[tuple[Column[Row], ...]] = (
    *(_listed[name] for name in ("name", "region", "status", "queue_length")),
    _qubits,  # the calibration tells it where the list does not
    *(_listed[name] for name in ("processor", "clops")),
    *_found.values(),
    replace(_listed["two_qubit_error_layered"], extra=True),
    *(_listed[name] for name in ("reason", "instance", "emulated")),
    Column("error", "error", lambda row: row.error, rank=23, extra=True),
)
"""The columns of `fleet`."""


def json_of(row: Row) -> dict[str, Any]:
    """Return a row as `fleet --json` writes it: its columns, in seconds and probabilities, and more.

    `left_out` counts the values that no median has; `two_qubit_error_missing` says why that median is null.
    """
    found = row.found
    is_calibrated = found.calibrated_at is not None
    return {one.name: one.value(row) for one in FLEET} | {
        "faulty_gates": found.faulty_gates if is_calibrated else None,
        "left_out": found.left_out if is_calibrated else None,
        "two_qubit_error_missing": found.why_no_two_qubit_error,
    }
