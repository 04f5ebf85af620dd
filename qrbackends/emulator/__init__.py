"""The service emulated on loopback: the Backends API of each region, IAM, Global Search and Global Catalog.

    async with Emulator(fleet="snapshots") as emulator, Client(emulator.account()) as client:
        ...

`devices` is what there is to serve, `services` answers requests about it, `surface` is HTTP, and `steering`
changes what runs. It knows nothing of the client; what a gateway answers likewise is in the package's own
`surface`. Start with `server`.
"""

from ..surface.addresses import Addresses, InstanceAddress
from ..surface.cloud import Plan
from .addresses import running_account
from .devices.fleets import Device, Fleet, RecordedAnswers, SnapshotFleet, SnapshotsMissing
from .devices.synthetic import SyntheticFleet
from .replaying import Difference, replay
from .server import Emulator
from .services.emulated_instances import EmulatedInstance
from .steering.clock import ClockState
from .steering.journal import read_journal
from .steering.operations import (
    AddFault,
    ClearFaults,
    ExpireTokens,
    Recalibrate,
    ReleaseFault,
    RemoveFault,
    SetBackend,
    StartRegion,
    StopRegion,
)
from .steering.scenario import Scenario, ScenarioError, Step
from .steering.states import BackendState, EmulatorState, RegionState
from .surface.actions import (
    Action,
    Bomb,
    Delay,
    Drip,
    Endless,
    Garbage,
    Hold,
    NotModified,
    RateLimit,
    Redirect,
    Reset,
    Status,
    Truncate,
    WithHeaders,
)
from .surface.faults import Fault, FaultState
from .surface.log import LoggedRequest
from .threaded import ThreadedEmulator

__all__ = [
    "Action",
    "AddFault",
    "Addresses",
    "BackendState",
    "Bomb",
    "ClearFaults",
    "ClockState",
    "Delay",
    "Device",
    "Difference",
    "Drip",
    "EmulatedInstance",
    "Emulator",
    "EmulatorState",
    "Endless",
    "ExpireTokens",
    "Fault",
    "FaultState",
    "Fleet",
    "Garbage",
    "Hold",
    "InstanceAddress",
    "LoggedRequest",
    "NotModified",
    "Plan",
    "RateLimit",
    "Recalibrate",
    "RecordedAnswers",
    "Redirect",
    "RegionState",
    "ReleaseFault",
    "RemoveFault",
    "Reset",
    "Scenario",
    "ScenarioError",
    "SetBackend",
    "SnapshotFleet",
    "SnapshotsMissing",
    "StartRegion",
    "Status",
    "Step",
    "StopRegion",
    "SyntheticFleet",
    "ThreadedEmulator",
    "Truncate",
    "WithHeaders",
    "read_journal",
    "replay",
    "running_account",
]
