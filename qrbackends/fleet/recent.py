"""What a monitor has seen over the last hours: the lengths of queues, and the figures of calibrations."""

from datetime import datetime
from typing import Any, NamedTuple, TypeAlias, TypeVar

from ..models import BackendSummary, median_of
from .changes import RegionalName

QueueHistory: TypeAlias = tuple[tuple[float, int], ...]
"""Unix seconds and waiting jobs, at each change."""

_SAMPLES = 120  # kept for each backend; at a poll every 30 s the younger half is some 30 minutes
_CALIBRATIONS = 48

T = TypeVar("T")


class CalibrationFigures(NamedTuple):
    """The medians of a calibration.

    Attributes:
        at: when the calibration was made.
        t1: the median of T1 in seconds, or None.
        t2: the median of T2 in seconds, or None.
        readout_error: the median, a probability, or None.
        two_qubit_error: the median of the native two-qubit gate, a probability, or None.
    """

    at: datetime
    t1: float | None
    t2: float | None
    readout_error: float | None
    two_qubit_error: float | None


class RecentHistory:
    """The last hours of each backend. All values are immutable, so that any thread may read them."""

    def __init__(self) -> None:
        self._queues: dict[RegionalName, QueueHistory] = {}
        self._calibrations: dict[RegionalName, tuple[CalibrationFigures, ...]] = {}

    def queue(self, key: RegionalName) -> QueueHistory:
        """Return the length of a backend's queue over time; the older half has fewer and fewer samples."""
        return self._queues.get(key, ())

    def calibrations(self, key: RegionalName) -> tuple[CalibrationFigures, ...]:
        """Return the figures of a backend's last calibrations, in order of time."""
        return self._calibrations.get(key, ())

    def add_queue(self, key: RegionalName, at: datetime, jobs: int) -> None:
        """Note the length of a queue, if it has changed."""
        samples = self.queue(key)
        if not samples or samples[-1][1] != jobs:
            self._queues[key] = _thinned((*samples, (at.timestamp(), jobs)), _SAMPLES)

    def add_calibration(self, key: RegionalName, calibration: BackendSummary) -> None:
        """Note the figures of a calibration, if it is another one than the last."""
        known, at = self.calibrations(key), calibration.calibrated_at
        if at is None or (known and known[-1].at == at):
            return
        figures: tuple[Any, ...] = (calibration.t1, calibration.t2, calibration.readout_error)
        medians = map(median_of, (*figures, calibration.two_qubit_error))
        self._calibrations[key] = (*known, CalibrationFigures(at, *medians))[-_CALIBRATIONS:]

    def forget(self, key: RegionalName) -> None:
        """Forget a backend."""
        self._queues.pop(key, None)
        self._calibrations.pop(key, None)


def _thinned(samples: tuple[T, ...], most: int) -> tuple[T, ...]:
    """Return at most so many samples: where there are more, every other one of the older half."""
    if len(samples) <= most:
        return samples
    half = len(samples) // 2
    return (*samples[:half:2], *samples[half:])
