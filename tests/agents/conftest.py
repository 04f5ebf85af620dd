"""An agent of the emulator's account, in this process."""

from collections.abc import AsyncIterator

import pytest
from mcp import Client as Agent

from qrbackends import Client
from qrbackends.agents import mcp_server


@pytest.fixture
async def agent(client: Client) -> AsyncIterator[Agent]:
    """An agent that asks the shared emulator through a client."""
    async with Agent(mcp_server(client)) as connected:
        yield connected
