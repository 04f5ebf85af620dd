"""What a monitor knows and reports: immutable values, which any thread may read."""

from datetime import datetime
from typing import Literal, NamedTuple

from ..errors import QRBackendsError
from ..models import Backend, BackendList, BackendSummary
from ..models.shown import Shown
from .changes import Kind


class MonitoredBackend(Shown, frozen=True, gc=False):
    """The newest data of a backend.

    Attributes:
        backend: its entry in the list.
        calibration: the summary of its newest calibration, without its age, which grows; None where there is
            no calibration, or none was fetched yet.
        status_since: when the monitor saw it first in its present state: `online`, `paused` or `offline`.
        status_changed: whether the monitor saw the state change then; if not, it may be much older.
    """

    backend: Backend
    calibration: BackendSummary | None = None
    status_since: datetime | None = None
    status_changed: bool = False


class InstanceFailure(NamedTuple):
    """An instance that cannot be listed.

    Attributes:
        region: its region.
        since: when it failed; where its list is an old one from the cache, when that was fetched.
        error: the error.
        number: its place among the account's instances, from 1; None where they could not be looked up.
    """

    region: str | None
    since: datetime
    error: QRBackendsError
    number: int | None = None


class EntryFailure(NamedTuple):
    """An entry of an instance's list that cannot be read; the other entries are as ever.

    Attributes:
        name: the backend's name; empty where the entry has none.
        region: its region.
        since: when it was seen first.
        error: the error, with the JSON path.
    """

    name: str
    region: str | None
    since: datetime
    error: QRBackendsError


class CalibrationFailure(NamedTuple):
    """A backend whose calibration cannot be read; its entry in the list is as ever.

    Attributes:
        name: the backend's name.
        region: its region.
        since: when it failed first.
        error: the error.
    """

    name: str
    region: str | None
    since: datetime
    error: QRBackendsError


class MonitorEvent(Shown, frozen=True):
    """A change of a monitored backend, or of whether an instance can be listed.

    Attributes:
        kind: as for `Change`, or `calibrated`: the summary of the first or of a new calibration is there;
            `calibration_failed`: a calibration cannot be read; `calibration_recovered`: it can be again.
        at: when the monitor saw it.
        region: the region.
        name: the backend's name; None for `failed` and `recovered` of an instance.
        before: the data before the change, or None.
        after: the data after the change, or None.
        error: the error, for `failed` and `calibration_failed`.
    """

    kind: Kind | Literal["calibrated", "calibration_failed", "calibration_recovered"]
    at: datetime
    region: str | None
    name: str | None = None
    before: MonitoredBackend | None = None
    after: MonitoredBackend | None = None
    error: QRBackendsError | None = None


class FleetView(Shown, frozen=True, weakref=True):
    """The fleet as a monitor knows it at one moment: a copy that never changes, for any thread.

    Attributes:
        backends: the newest data of every backend, each once.
        failures: the failing instances.
        is_up: whether the monitor follows the fleet; if not, all of it is old.
        entry_failures: the entries of lists that cannot be read; their backends, if known, are old.
        calibration_failures: the backends whose calibrations cannot be read, so that these are old.
    """

    backends: tuple[MonitoredBackend, ...] = ()
    failures: tuple[InstanceFailure, ...] = ()
    is_up: bool = False
    entry_failures: tuple[EntryFailure, ...] = ()
    calibration_failures: tuple[CalibrationFailure, ...] = ()

    def _repr_html_(self) -> str | None:
        errors = [one.error for one in self.failures] + [one.error for one in self.entry_failures]
        return BackendList((one.backend for one in self.backends), errors)._repr_html_()
