"""The emulator's own fixtures; `emulator` is shared with the other tests."""

from collections.abc import AsyncIterator

import pytest

from qrbackends.emulator import Emulator

from .asking import Asker


@pytest.fixture
async def ask(emulator: Emulator) -> AsyncIterator[Asker]:
    """A client of the synthetic fleet, with a token."""
    async with Asker(emulator) as asker:
        await asker.log_in()
        yield asker


@pytest.fixture(scope="session")
async def served() -> AsyncIterator[Asker]:
    """A client of a synthetic fleet that lives as long as the session: for what leaves no traces."""
    async with Emulator() as emulator, Asker(emulator) as asker:
        await asker.log_in()
        yield asker


@pytest.fixture
async def snapshots(real_emulator: Emulator) -> AsyncIterator[Asker]:
    """A client of the real calibrations."""
    async with Asker(real_emulator) as asker:
        yield asker
