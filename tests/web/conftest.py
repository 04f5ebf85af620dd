"""Apps that embed the client, over real sockets."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from qrbackends import Client, Limits, RetryPolicy
from qrbackends.emulator import Emulator


@pytest.fixture
async def web() -> AsyncIterator[aiohttp.ClientSession]:
    """A visitor, who follows no redirects."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[Client]:
    """A client with its cache, which tries nothing twice."""
    once = RetryPolicy(attempts=1)
    async with Client(emulator.account(), retry=once, limits=Limits(failures=10**9)) as connected:
        yield connected
