"""Fixtures for the tests of programs that use this package; pytest finds them by itself.

`qrbackends_emulator` is the whole service on loopback, in a thread of its own, with faults on request. While
a test uses it, `Client.from_account()` and the web apps' `lifespan()` find the emulator's account, so that an
app is tested as it is. `qrbackends_client` is a client of it, for async tests by anyio or pytest-asyncio.

    @pytest.mark.qrbackends(fleet="snapshots")
    async def test_it(qrbackends_emulator, qrbackends_client): ...

The mark takes the arguments of `Emulator`.
"""

from collections.abc import AsyncGenerator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .client import Client
    from .emulator.threaded import ThreadedEmulator

_asyncio_fixture: Any
try:
    from pytest_asyncio import fixture as _asyncio_fixture
except ImportError:
    _asyncio_fixture = pytest.fixture


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest the mark."""
    config.addinivalue_line("markers", "qrbackends(**options): arguments of the Emulator for one test")


@pytest.fixture
def qrbackends_emulator(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> "Iterator[ThreadedEmulator]":
    """The emulated service; its methods can be called from any test, async or not.

    `qrbackends_emulator.fault(Status(503), resource="properties", times=2)` scripts what goes wrong; what
    can is in `qrbackends.emulator`.
    """
    from .emulator.threaded import ThreadedEmulator  # here, as most suites do not use it

    mark = request.node.get_closest_marker("qrbackends")
    with ThreadedEmulator(**(mark.kwargs if mark else {})) as emulator:
        monkeypatch.setattr("qrbackends.client.load_account", lambda *_, **__: emulator.account())
        yield emulator


@pytest.fixture
def qrbackends_client(request: pytest.FixtureRequest, qrbackends_emulator: "ThreadedEmulator") -> "Client":
    """A client of the emulated service, in the test's own event loop.

    Raises:
        UsageError: the test is not async.
    """
    if "anyio_backend" in request.fixturenames:
        name = "_qrbackends_anyio_client"
    elif request.node.get_closest_marker("asyncio"):
        name = "_qrbackends_asyncio_client"
    else:
        raise pytest.UsageError(
            "qrbackends_client is for async tests that anyio or pytest-asyncio run; "
            "give others qrbackends_emulator.account()"
        )
    client: Client = request.getfixturevalue(name)
    return client


async def _opened(emulator: "ThreadedEmulator") -> "AsyncGenerator[Client, None]":
    from .client import Client

    async with Client(emulator.account()) as client:
        yield client


@pytest.fixture
async def _qrbackends_anyio_client(qrbackends_emulator: "ThreadedEmulator") -> "AsyncGenerator[Client, None]":
    async for client in _opened(qrbackends_emulator):
        yield client


@_asyncio_fixture  # type: ignore[untyped-decorator,unused-ignore]
async def _qrbackends_asyncio_client(qrbackends_emulator: Any) -> "AsyncGenerator[Client, None]":
    async for client in _opened(qrbackends_emulator):
        yield client
