"""The columns of the list's entries, which all tables of backends share."""

from collections.abc import Callable
from typing import Final

from ..models import Backend
from ..models.formatting import probability
from .columns import Column, number
from .screen import status_cell


def _metric(name: str) -> Callable[[Backend], float | None]:
    def value(backend: Backend) -> float | None:
        metric = getattr(backend.performance_metrics, name, None)
        return None if metric is None else metric.value

    return value


def _wait(name: str) -> Callable[[Backend], float | None]:
    return lambda backend: getattr(backend.wait_time_seconds, name, None)


# What people choose by has the lowest ranks; so have columns of the same name in other tables.
ENTRIES: Final[tuple[Column[Backend], ...]] = (
    Column("name", "backend", lambda one: one.name),
    Column("region", "region", lambda one: one.region, rank=12),
    Column("status", "status", lambda one: one.status.name, status_cell, rank=3),
    number("queue_length", "queue", lambda one: one.queue_length, rank=1),
    number("qubits", "qubits", lambda one: one.qubits, rank=4),
    Column("processor", "processor", lambda one: str(one.processor_type or "") or None, rank=11),
    number("clops", "CLOPS", lambda one: one.clops and one.clops.value, rank=14),
    number("readout_error_median", "readout", _metric("readout_error_median"), probability, 5),
    number("two_qubit_error_median", "2q err", _metric("two_q_error_median"), probability, 2),
    number("two_qubit_error_layered", "2q layered", _metric("two_q_error_layered"), probability, 17),
    number("two_qubit_error_best", "2q best", _metric("two_q_error_best"), probability, 18, extra=True),
    number("wait_time_p50_s", "wait p50 s", _wait("p50"), rank=6, extra=True),
    number("wait_time_p95_s", "wait p95 s", _wait("p95"), rank=7, extra=True),
    number("wait_time_average_s", "wait mean s", _wait("average"), rank=15, extra=True),
    number("physical_qubits", "physical qubits", lambda one: one.physical_qubits, rank=19, extra=True),
    Column("reason", "reason", lambda one: one.status.reason, rank=20),
    Column("instance", "instance", lambda one: one.instance, rank=21, extra=True, whole=True),
    Column("emulated", "emulated", lambda one: one.emulated, rank=22, extra=True),
)
"""Columns of an entry of the list."""

WAITS: Final = frozenset(one.name for one in ENTRIES if one.name.startswith("wait_time"))
"""The names of the columns that need the field `wait_time_seconds`."""
