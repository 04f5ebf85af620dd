"""What the events of a fleet hold, as JSON."""

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from ..fleet.monitored import EntryFailure, InstanceFailure, MonitoredBackend
from ..models import BackendSummary
from .encoding import Listed, listed
from .problems import problem_of


class Shown(Struct, frozen=True, omit_defaults=True):
    """A backend: its entry in the list, the summary of its calibration, and since when it is in its state.

    Of the gates the summary has the native two-qubit gate only, as each event holds it.
    """

    backend: Listed
    calibration: BackendSummary | None = None
    status_since: datetime | None = None
    status_changed: bool = False


class Trouble(Struct, frozen=True):
    """A region that cannot be listed, or an entry that cannot be read: since when, and the error.

    Attributes:
        name: the backend whose entry it is, empty where it has no name; None for a whole region.
    """

    region: str | None
    since: datetime
    detail: str
    name: str | None = None


class Event(Struct, frozen=True, omit_defaults=True):
    """A change; the fields are those of `qrbackends.MonitorEvent`."""

    kind: str
    at: datetime
    region: str | None = None
    name: str | None = None
    before: Shown | None = None
    after: Shown | None = None
    detail: str | None = None


class FullState(Struct, frozen=True):
    """The whole fleet: the first event that a reader gets.

    Attributes:
        at: when the event was made.
        interval: seconds between two polls.
        backends: all backends.
        troubles: the regions and backends whose data is old, with the errors.
        queues: for each backend its region, its name and the length of its queue over time: Unix seconds and
            jobs at each change.
    """

    at: datetime
    interval: float
    backends: tuple[Shown, ...]
    troubles: tuple[Trouble, ...]
    queues: tuple[tuple[str | None, str, tuple[tuple[float, int], ...]], ...]


def trouble(failure: InstanceFailure | EntryFailure, name: str | None) -> Trouble:
    """Return a failure as events tell it; `name` is that of a backend whose entry cannot be read."""
    return Trouble(failure.region, failure.since, problem_of(failure.error).detail, name)


def shown(known: MonitoredBackend) -> Shown:
    """Return a backend as events show it."""
    calibration = known.calibration
    if calibration is not None:
        native = tuple(gate for gate in calibration.gates if gate.gate == calibration.two_qubit_gate)
        # The list's entry beside it has the rest.
        missing = tuple(one for one in calibration.missing if one.gate in (None, calibration.two_qubit_gate))
        calibration = replace(calibration, gates=native, missing=missing, qubits=None, basis_gates=())
    return Shown(listed(known.backend), calibration, known.status_since, known.status_changed)
