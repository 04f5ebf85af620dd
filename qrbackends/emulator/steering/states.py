"""What the control API says of an emulator."""

from typing import Literal

from msgspec import Struct

from ..surface.faults import FaultState
from .clock import ClockState


class RegionState(Struct, frozen=True):
    """A region, or `cloud`.

    Attributes:
        region: its name.
        url: its base address.
        running: whether its port listens.
    """

    region: str
    url: str
    running: bool


class BackendState(Struct, frozen=True):
    """A backend, and what was set of it.

    Attributes:
        backend: its name.
        region: its region.
        status: the status that was set, or null.
        reason: the reason that was set.
        queue_length: the number of waiting jobs that was set, or null.
        hidden: whether the list leaves it out, and its documents are answered with 404.
        retired: whether the list leaves it out, but its documents are answered.
    """

    backend: str
    region: str
    status: Literal["online", "paused", "offline"] | None = None
    reason: str = ""
    queue_length: int | None = None
    hidden: bool = False
    retired: bool = False


class EmulatorState(Struct, frozen=True):
    """The state of an emulator.

    Attributes:
        clock: its time.
        regions: its regions, and `cloud`.
        backends: its backends.
        faults: its faults, in the order in which they were added.
        requests: the number of requests since the journal was cleared.
    """

    clock: ClockState
    regions: list[RegionState]
    backends: list[BackendState]
    faults: list[FaultState]
    requests: int
