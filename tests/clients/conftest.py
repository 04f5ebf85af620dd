"""The emulator that other clients ask."""

from collections.abc import Iterator

import pytest

from qrbackends.emulator import SyntheticFleet, ThreadedEmulator

from .asking import OF_FIRST_INSTANCE, STATES


@pytest.fixture(scope="module")
def emulator() -> Iterator[ThreadedEmulator]:
    """One region with two instances, which see different backends: real ones, and one with a history."""
    with ThreadedEmulator(
        fleet=["snapshots", SyntheticFleet({"synthetic_7": 7})],
        backends=list(STATES),
        regions=("us-east",),
        instances=2,
        allocation={1: OF_FIRST_INSTANCE, 2: ["ibm_brussels"]},
    ) as running:
        for name, state in STATES.items():
            running.set_backend(name, status=state.status, queue_length=state.queue)
        yield running
