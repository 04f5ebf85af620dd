"""The fleet's metrics: their names, and their values in a view of a monitor. No Prometheus library."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from hashlib import blake2b
from math import inf
from typing import Final, NamedTuple, TypeAlias

from ..fleet.monitored import FleetView, MonitoredBackend
from ..models import BackendSummary, median_of

Labels: TypeAlias = tuple[str, ...]

_STATES: Final = ("online", "paused", "offline", "other")
_LABELS: Final = ("backend", "region")
_LONGEST: Final = 200  # characters of a label's value


class Gauge(NamedTuple):
    """One metric, and its values.

    Attributes:
        name: its name.
        text: what it is, for people.
        labels: the names of its labels.
        samples: the labels' values, different for each sample, and the number.
    """

    name: str
    text: str
    labels: Labels
    samples: Iterable[tuple[Labels, float]]


def _figure(of: Callable[[BackendSummary], float | None]) -> Callable[[MonitoredBackend], float | None]:
    return lambda one: None if one.calibration is None else of(one.calibration)


def _calibrated(one: BackendSummary) -> float | None:
    return None if one.calibrated_at is None else one.calibrated_at.timestamp()


AGE: Final = Gauge(
    "qrbackends_backend_calibration_age_seconds", "Time since the last calibration.", _LABELS, ()
)
"""The metric of the calibrations' ages, without values."""

_VALUES: tuple[tuple[str, str, Callable[[MonitoredBackend], float | None]], ...] = (
    (
        "emulated",
        "1 if an emulator lists the backend, and not IBM's service, else 0.",
        lambda one: one.backend.emulated,
    ),
    ("queue_jobs", "Waiting jobs.", lambda one: one.backend.queue_length),
    ("qubits", "Number of qubits of the backend.", lambda one: one.backend.qubits),
    ("t1_seconds", "The median T1 of the working qubits.", _figure(lambda one: median_of(one.t1))),
    ("t2_seconds", "The median T2 of the working qubits.", _figure(lambda one: median_of(one.t2))),
    (
        "readout_error_ratio",
        "The median readout error of the working qubits.",
        _figure(lambda one: median_of(one.readout_error)),
    ),
    (
        "two_qubit_error_ratio",
        "The median error of the native two-qubit gate, over the pairs on which it works.",
        _figure(lambda one: median_of(one.two_qubit_error)),
    ),
    ("faulty_qubits", "Number of qubits that do not work.", _figure(lambda one: len(one.faulty_qubits))),
    ("faulty_gates", "Number of gates that do not work.", _figure(lambda one: len(one.faulty_gates))),
    (
        "broken_couplings",
        "Number of coupled pairs of qubits that cannot be used.",
        _figure(lambda one: len(one.broken_couplings)),
    ),
    (
        "calibration_timestamp_seconds",
        "Time of the last calibration, in Unix seconds.",
        _figure(_calibrated),
    ),
)


def gauges_of(view: FleetView) -> Iterator[Gauge]:
    """Yield the metrics of a view that stay the same as long as the view does."""
    known = _labelled(view)
    for name, text, value in _VALUES:
        yield Gauge(f"qrbackends_backend_{name}", text, _LABELS, _values(known, value))
    yield Gauge(
        "qrbackends_backend_state",
        "1 for the current state of the backend, 0 for the others.",
        (*_LABELS, "state"),
        (((*labels, state), state == _state(one)) for labels, one in known.items() for state in _STATES),
    )
    yield Gauge(
        "qrbackends_backend_entry_up",
        "0 if the backend's entry in the list cannot be read, so that its values are old, else 1.",
        _LABELS,
        _entries_up(view, known),
    )
    failing = {(label_value(one.name), label_value(one.region or "")) for one in view.calibration_failures}
    yield Gauge(
        "qrbackends_backend_calibration_up",
        "0 if the backend's calibration cannot be read, so that its figures are old or missing, else 1.",
        _LABELS,
        ((labels, float(labels not in failing)) for labels in known),
    )
    yield Gauge(
        "qrbackends_region_up",
        "1 if the region's last list request succeeded, else 0.",
        ("region",),
        _regions_up(view, known),
    )
    yield Gauge(
        "qrbackends_monitor_up",
        "1 while the fleet is followed; 0 if all of it is old, as the monitor has ended.",
        (),
        [((), float(view.is_up))],
    )


def ages_of(calibrations: Iterable[tuple[Labels, float]], now: datetime) -> Gauge:
    """Return the metric that is another one at each moment: the calibrations' ages, 0 at least."""
    seconds = now.timestamp()
    samples = ((labels, max(0.0, seconds - at)) for labels, at in calibrations)
    return AGE._replace(samples=samples)


def calibrations_of(view: FleetView) -> Iterator[tuple[Labels, float]]:
    """Yield the labels' values of each backend that is calibrated, and when it was, in Unix seconds."""
    return _values(_labelled(view), _figure(_calibrated))


def label_value(text: str) -> str:
    """Return a text as a label's value: it can be encoded, and is short; different texts stay different."""
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}…{blake2b(text.encode(), digest_size=8).hexdigest()}"


def _labelled(view: FleetView) -> dict[Labels, MonitoredBackend]:
    """Return the backends by the values of their labels, so that no two samples have the same."""
    return {
        (label_value(one.backend.name), label_value(one.backend.region or "")): one for one in view.backends
    }


def _values(
    known: dict[Labels, MonitoredBackend], value: Callable[[MonitoredBackend], float | None]
) -> Iterator[tuple[Labels, float]]:
    for labels, one in known.items():
        number = value(one)
        if number is not None:
            yield labels, _finite(number)


def _finite(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # an integer that is larger than any float
        return inf if number > 0 else -inf


def _state(one: MonitoredBackend) -> str:
    name = one.backend.status.name
    return name if name in _STATES else "other"


def _entries_up(view: FleetView, known: Iterable[Labels]) -> Iterator[tuple[Labels, float]]:
    """Yield 0 for each entry that cannot be read, with an empty name where it has none; 1 for the others."""
    odd = {(label_value(one.name), label_value(one.region or "")) for one in view.entry_failures}
    for labels in dict.fromkeys((*known, *sorted(odd))):
        yield labels, float(labels not in odd)


def _regions_up(view: FleetView, known: Iterable[Labels]) -> Iterator[tuple[Labels, float]]:
    """Yield 1 for each region whose last list request succeeded, and 0 where its data is old."""
    failing = {label_value(failure.region or "") for failure in view.failures}
    for region in sorted({region for _, region in known} | failing):
        yield (region,), float(view.is_up and region not in failing and "" not in failing)
