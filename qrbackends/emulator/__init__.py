"""The whole service on loopback: emulated backends, IAM, Global Search and Global Catalog.

async with Emulator(fleet="snapshots") as emulator, Client(emulator.account()) as client: ...
"""

from .emulated_instances import Plan, ServiceInstance
from .faults import (
    Action,
    Bomb,
    Delay,
    Drip,
    Endless,
    Fault,
    Garbage,
    Hold,
    RateLimit,
    Redirect,
    Reset,
    Status,
    Truncate,
)
from .fleets import Device, Fleet, SnapshotFleet, SnapshotsMissing
from .log import Request
from .server import Emulator
from .synthetic import SyntheticFleet
from .threaded import ThreadedEmulator

__all__ = [
    "Action",
    "Bomb",
    "Delay",
    "Device",
    "Drip",
    "Emulator",
    "Endless",
    "Fault",
    "Fleet",
    "Garbage",
    "Hold",
    "Plan",
    "RateLimit",
    "Redirect",
    "Request",
    "Reset",
    "ServiceInstance",
    "SnapshotFleet",
    "SnapshotsMissing",
    "Status",
    "SyntheticFleet",
    "ThreadedEmulator",
    "Truncate",
]
