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
from .emulated_instances import EmulatedInstance, Plan
from .faults import Fault
from .fleets import Device, Fleet, RecordedAnswers, SnapshotFleet, SnapshotsMissing
from .log import LoggedRequest
from .server import Emulator
from .synthetic import SyntheticFleet
from .threaded import ThreadedEmulator

__all__ = [
    "Action",
    "Bomb",
    "Delay",
    "Device",
    "Drip",
    "EmulatedInstance",
    "Emulator",
    "Endless",
    "Fault",
    "Fleet",
    "Garbage",
    "Hold",
    "LoggedRequest",
    "NotModified",
    "Plan",
    "RateLimit",
    "RecordedAnswers",
    "Redirect",
    "Reset",
    "SnapshotFleet",
    "SnapshotsMissing",
    "Status",
    "SyntheticFleet",
    "ThreadedEmulator",
    "Truncate",
    "WithHeaders",
]
