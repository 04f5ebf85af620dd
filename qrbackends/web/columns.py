"""The columns of the fleet's table: what each shows, by what it sorts, and how filters name it."""

from collections.abc import Callable
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final, NamedTuple, TypeAlias

from ..fleet.monitored import MonitoredBackend
from ..models import median_of
from ..models.formatting import DASH, probability, scaled

Value: TypeAlias = float | str | None
"""What a cell sorts and filters by: a number, a text, or None for what is not known."""

MICRO: Final = 1e6


class Column(NamedTuple):
    """A column.

    Attributes:
        key: its name in addresses and filters.
        title: its head.
        is_number: whether it holds numbers: they are right-aligned, and filters compare them.
        value: returns what a backend's cell sorts by, at an instant.
        text: returns what a cell of such a value shows.
    """

    key: str
    title: str
    is_number: bool
    value: Callable[[MonitoredBackend, datetime], Value]
    text: Callable[[Any], str]


def age_text(seconds: float) -> str:
    """Return an age in its largest whole unit, such as `3 h`; years have a decimal."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= _YEAR:
            return f"{seconds / _YEAR:.1f} y"
        if seconds >= length * (2 if unit == "d" else 1):
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"


def seconds_since(instant: datetime, now: datetime) -> float:
    """Return the seconds from an instant until now, 0 at least."""
    return max(0.0, (now - instant).total_seconds())


def clock(instant: datetime, now: datetime) -> str:
    """Return an instant in UTC, as `12:31 UTC`, with its date where that is another day."""
    utc = instant.astimezone(UTC)
    return f"{utc:%H:%M} UTC" if utc.date() == now.astimezone(UTC).date() else f"{utc:%Y-%m-%d %H:%M} UTC"


_YEAR = 365.25 * 86400


def _whole(value: float | None) -> str:
    return DASH if value is None else f"{value:.0f}"


def _thousands(value: float | None) -> str:
    return DASH if value is None else f"{value:,.0f}"


def _age(value: float | None) -> str:
    return DASH if value is None else age_text(value)


def _sent(value: float) -> float:
    """Return a number as pages hold it, so that scripts compare with the same one as the server."""
    return float(f"{value:.9g}")


def _speed(known: MonitoredBackend, _: datetime) -> Value:
    clops = known.backend.clops
    try:
        value = None if clops is None else float(clops.value)  # the service also sends text
    except (ValueError, OverflowError):
        return None
    return None if value is None or not isfinite(value) else _sent(value)


def _size(known: MonitoredBackend, _: datetime) -> Value:
    qubits = known.backend.qubits
    return None if qubits is None else float(min(max(qubits, -(10**15)), 10**15))


def _jobs(known: MonitoredBackend, _: datetime) -> Value:
    return float(min(known.backend.queue_length, 10**15))


def _processor(known: MonitoredBackend, _: datetime) -> Value:
    return str(known.backend.processor_type or "") or None


def _median(name: str, scale: float = 1.0) -> Callable[[MonitoredBackend, datetime], Value]:
    def value(known: MonitoredBackend, _: datetime) -> Value:
        found = median_of(getattr(known.calibration, name)) if known.calibration else None
        return None if found is None else _sent(found * scale)

    return value


def _broken(known: MonitoredBackend, _: datetime) -> Value:
    return float(len(known.calibration.broken_couplings)) if known.calibration else None


def _calibrated(known: MonitoredBackend, now: datetime) -> Value:
    at = known.calibration.calibrated_at if known.calibration else None
    return None if at is None else seconds_since(at, now)


def _said(value: str | None) -> str:
    return value or DASH


_MICROSECONDS = lambda value: scaled(value, 1.0)  # noqa: E731

COLUMNS: Final = (
    Column("name", "Backend", False, lambda known, _: known.backend.name, _said),
    Column("region", "Region", False, lambda known, _: known.backend.region, _said),
    Column("state", "State", False, lambda known, _: known.backend.status.name, _said),
    Column("queue", "Queue", True, _jobs, _whole),
    Column("processor", "Processor", False, _processor, _said),
    Column("qubits", "Qubits", True, _size, _whole),
    Column("t1", "T1 µs", True, _median("t1", MICRO), _MICROSECONDS),
    Column("t2", "T2 µs", True, _median("t2", MICRO), _MICROSECONDS),
    Column("readout", "Readout error", True, _median("readout_error"), probability),
    Column("2q", "2q error", True, _median("two_qubit_error"), probability),
    Column("broken", "Broken couplings", True, _broken, _whole),
    Column("clops", "CLOPS", True, _speed, _thousands),
    Column("age", "Calibrated", True, _calibrated, _age),
)
"""All columns, in order. Numbers are SI, but T1 and T2 are in microseconds, as everywhere on screens."""

BY_KEY: Final = {column.key: column for column in COLUMNS}
OPTIONAL: Final = tuple(column.key for column in COLUMNS if column.key != "name")
"""The keys of the columns that visitors can leave out."""
