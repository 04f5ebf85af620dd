"""What all tests share."""

import os
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, settings

from qrbackends import Client
from qrbackends.emulator import Emulator

settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("default")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the account, proxies or colours of whoever runs it."""
    for name in tuple(os.environ):
        if name.upper().startswith(
            ("QISKIT_", "QRBACKENDS_", "IAM_", "GLOBAL_", "PYTHON")
        ) or name.upper() in (
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "NO_COLOR",
            "FORCE_COLOR",
        ):
            monkeypatch.delenv(name)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """The synthetic fleet in two regions."""
    async with Emulator() as running:
        yield running


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[Client]:
    async with Client(emulator.account()) as connected:
        yield connected
