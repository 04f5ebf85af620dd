"""The keys by which backends are ranked and chosen: their values in an entry of the list."""

from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

from ..models import Backend, Metric, TwoQubitMetric, usable

Value: TypeAlias = float | None
"""The value of a backend for a key; None if it is unknown."""

RankKey: TypeAlias = Literal[
    "queue",
    "wait_time",
    "clops",
    "two_qubit_error",
    "two_qubit_error_best",
    "two_qubit_error_layered",
    "readout_error",
    "qubits",
]
"""The keys by which backends are ranked."""


def _error(metric: Metric | TwoQubitMetric | None) -> Value:
    return None if metric is None else usable("gate_error", metric.value)  # or a readout error: one rule


def _clops(backend: Backend) -> Value:
    try:
        return None if backend.clops is None else -float(backend.clops.value)
    except (ValueError, OverflowError):  # the service may send it as text, or as any number
        return None


def _wait(backend: Backend) -> Value:
    waits = backend.wait_time_seconds
    return None if waits is None or waits.p50 < 0 else waits.p50


def _two_qubit(name: str) -> Callable[[Backend], Value]:
    return lambda one: _error(getattr(one.performance_metrics, name, None))


KEYS: Final[Mapping[RankKey, Callable[[Backend], Value]]] = {
    "queue": lambda one: one.queue_length,
    "wait_time": _wait,
    "clops": _clops,
    "two_qubit_error": _two_qubit("two_q_error_median"),
    "two_qubit_error_best": _two_qubit("two_q_error_best"),
    "two_qubit_error_layered": _two_qubit("two_q_error_layered"),
    "readout_error": _two_qubit("readout_error_median"),
    "qubits": lambda one: None if one.qubits is None else -one.qubits,
}
"""The value of a backend for each key; the smallest is the best. An error of 1 or more is unknown."""
