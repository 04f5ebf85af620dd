"""The service emulated on loopback: the Backends API of each region, IAM, Global Search and Global Catalog.

    async with Emulator(fleet="snapshots") as emulator, Client(emulator.account()) as client:
        ...

It knows nothing of the client: of this package it imports only `accounts` and `tasks`. Start with `server`.
"""

from .actions import (
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
from .clock import ClockState
from .emulated_instances import EmulatedInstance, Plan
from .faults import Fault, FaultState
from .fleets import Device, Fleet, RecordedAnswers, SnapshotFleet, SnapshotsMissing
from .journal import read_journal
from .log import LoggedRequest
from .operations import (
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
from .replaying import Difference, replay
from .scenario import Scenario, ScenarioError, Step
from .server import Emulator
from .states import BackendState, EmulatorState, RegionState
from .synthetic import SyntheticFleet
from .threaded import ThreadedEmulator

__all__ = [
    "Action",
    "AddFault",
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
]
