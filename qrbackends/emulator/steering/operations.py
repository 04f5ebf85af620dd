"""What can be done to a running emulator: a struct for each operation, for the control API and for scenarios.

Each does what the method of the same name does in Python.
"""

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, get_args

import anyio
from msgspec import Meta, Struct

from ..surface.actions import Action, Count, snake_case
from ..surface.faults import FaultState, Resource
from .clock import LAST, ClockState

if TYPE_CHECKING:
    from .steering import Steering

BackendStatus: TypeAlias = Literal["online", "paused", "offline"]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=100)]


class Operation(Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag=snake_case):
    """One operation; its `run` does it to an emulator, and returns what there is to tell."""


class AddFault(Operation, frozen=True):
    """Add a fault, which affects requests that match; return it.

    Attributes:
        action: what happens.
        resource: the resource; left out, any.
        backend: its name, or that of its mock; left out, any.
        region: its name, or `cloud`; left out, any.
        times: the number of requests that it affects; null for all.
        fault: its name; left out, it gets one.
    """

    action: Action
    resource: Resource | None = None
    backend: Name | None = None
    region: Name | None = None
    times: Count | None = 1
    fault: Name | None = None

    async def run(self, emulator: "Steering") -> FaultState:
        """Add it."""
        return emulator.fault(
            self.action,
            resource=self.resource,
            backend=self.backend,
            region=self.region,
            times=self.times,
            name=self.fault,
        ).state()


class ReleaseFault(Operation, frozen=True):
    """Answer the requests that a fault of the kind `hold` holds, and hold no more; return the fault."""

    fault: Name

    async def run(self, emulator: "Steering") -> FaultState:
        """Release it."""
        fault = emulator.find_fault(self.fault)
        fault.release()
        return fault.state()


class RemoveFault(Operation, frozen=True):
    """Remove a fault, and answer the requests that it holds."""

    fault: Name

    async def run(self, emulator: "Steering") -> None:
        """Remove it."""
        emulator.remove_fault(self.fault)


class ClearFaults(Operation, frozen=True):
    """Remove all faults, and answer the requests that they hold."""

    async def run(self, emulator: "Steering") -> None:
        """Remove them."""
        emulator.clear_faults()


class AwaitFault(Operation, frozen=True):
    """Wait until a fault has affected a number of requests; return it.

    Attributes:
        fault: its name.
        hits: the number of requests.
        timeout: seconds to wait at most.
    """

    fault: Name
    hits: Count = 1
    timeout: Annotated[float, Meta(ge=0, le=600)] = 10.0

    async def run(self, emulator: "Steering") -> FaultState:
        """Wait for it."""
        fault = emulator.find_fault(self.fault)
        with anyio.fail_after(self.timeout):
            await fault.reached(self.hits)
        return fault.state()


class SetBackend(Operation, frozen=True):
    """Set how a backend is from now on; what is left out is as it was when the emulator started.

    Attributes:
        backend: its name.
        status: `online`; `paused`, so that it takes jobs and runs none, or `offline`.
        reason: the reason of the status; left out, the one that is usual for it.
        queue_length: the number of waiting jobs, which then stays the same.
        hidden: whether the list leaves it out, and its documents are answered with 404.
        retired: whether the list leaves it out, but its documents are answered.
    """

    backend: Name
    status: BackendStatus | None = None
    reason: str = ""
    queue_length: Annotated[int, Meta(ge=0)] | None = None
    hidden: bool = False
    retired: bool = False

    async def run(self, emulator: "Steering") -> None:
        """Set it."""
        emulator.set_backend(
            self.backend,
            status=self.status,
            reason=self.reason,
            queue_length=self.queue_length,
            hidden=self.hidden,
            retired=self.retired,
        )


class Recalibrate(Operation, frozen=True):
    """Let a calibration of a backend end at this moment of the emulator's clock."""

    backend: Name

    async def run(self, emulator: "Steering") -> None:
        """Recalibrate it."""
        emulator.recalibrate(self.backend)


class StopRegion(Operation, frozen=True):
    """Stop the port of a region, or of `cloud`: connections are closed, and new ones refused."""

    region: Name

    async def run(self, emulator: "Steering") -> None:
        """Stop it."""
        await emulator.stop_region(self.region)


class StartRegion(Operation, frozen=True):
    """Start a stopped region, or `cloud`, on the same port."""

    region: Name

    async def run(self, emulator: "Steering") -> None:
        """Start it."""
        await emulator.start_region(self.region)


class ExpireTokens(Operation, frozen=True):
    """Refuse all tokens issued until now."""

    async def run(self, emulator: "Steering") -> None:
        """Refuse them."""
        emulator.expire_tokens()


class Advance(Operation, frozen=True):
    """Move the clock forward, and run the steps of the scenario that are due then; return the clock."""

    seconds: Annotated[float, Meta(ge=0, le=LAST)]

    async def run(self, emulator: "Steering") -> ClockState:
        """Move it."""
        await emulator.advance(self.seconds)
        return emulator.clock


class SetClock(Operation, frozen=True):
    """Set the time, or how fast it passes; return the clock.

    Attributes:
        now: the time in Unix seconds; left out, it stays. Forward, the steps that are due then are run.
        rate: how many seconds pass in one second; 0 lets the clock stand still; left out, it stays.
    """

    now: Annotated[float, Meta(ge=0, le=LAST)] | None = None
    rate: Annotated[float, Meta(ge=0, le=1e6)] | None = None

    async def run(self, emulator: "Steering") -> ClockState:
        """Set it."""
        await emulator.set_clock(now=self.now, rate=self.rate)
        return emulator.clock


class ClearJournal(Operation, frozen=True):
    """Forget the requests until now, and count from 0 again."""

    async def run(self, emulator: "Steering") -> None:
        """Forget them."""
        emulator.reset_log()


class ResetEmulator(Operation, frozen=True, tag="reset"):
    """Bring the emulator back to its start, the clock and the scenario included."""

    async def run(self, emulator: "Steering") -> None:
        """Reset it."""
        await emulator.reset()


Scripted: TypeAlias = (
    AddFault
    | ReleaseFault
    | RemoveFault
    | ClearFaults
    | SetBackend
    | Recalibrate
    | StopRegion
    | StartRegion
    | ExpireTokens
)
"""What a step of a scenario can do; its clock is nothing that it could move itself."""

AnyOperation: TypeAlias = Scripted | AwaitFault | Advance | SetClock | ClearJournal | ResetEmulator
"""What the control API can do."""

WORDS = (
    *(str(one.__struct_config__.tag) for one in (*get_args(AnyOperation), *get_args(Action))),
    *get_args(Resource),
    *get_args(BackendStatus),
)
"""The words that stand for something in operations."""
