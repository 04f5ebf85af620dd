"""Pytest fixtures for programs that use this package; pytest loads them automatically.

`qrbackends_emulator` is the emulated service, in its own thread, with faults on request. While a test uses
it, `Client.from_account()` and the web apps' `lifespan()` use the emulator's account, so that an app can be
tested without a change. `qrbackends_client` is a client of it, for async tests with anyio or pytest-asyncio.

    @pytest.mark.qrbackends(fleet="snapshots")
    async def test_it(qrbackends_emulator, qrbackends_client): ...

The mark takes the arguments of `Emulator`.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .client import Client
    from .emulator.threaded import ThreadedEmulator


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark `qrbackends`."""
    config.addinivalue_line("markers", "qrbackends(**options): arguments of the Emulator for one test")


@pytest.fixture
def qrbackends_emulator(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> "Iterator[ThreadedEmulator]":
    """Yield the emulated service; its methods can be called from any test, async or not.

    `qrbackends_emulator.fault(Status(503), resource="properties", times=2)` causes faults; the kinds of
    faults are in `qrbackends.emulator`.
    """
    from .emulator.threaded import ThreadedEmulator  # imported late, because most suites do not use it

    mark = request.node.get_closest_marker("qrbackends")
    with ThreadedEmulator(**(mark.kwargs if mark else {})) as emulator:
        monkeypatch.setattr("qrbackends.client.load_account", lambda *_, **__: emulator.account())
        yield emulator


@pytest.fixture
def qrbackends_client(request: pytest.FixtureRequest, qrbackends_emulator: "ThreadedEmulator") -> "Client":
    """Return a client of the emulated service, in the event loop of the test.

    Raises:
        UsageError: the test is not async.
    """
    if "anyio_backend" in request.fixturenames:
        name = "_qrbackends_anyio_client"
    elif (mark := request.node.get_closest_marker("asyncio")) is not None:
        name = f"_qrbackends_{_loop_scope(mark, request.config)}_client"
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


def _loop_scope(mark: pytest.Mark, config: pytest.Config) -> str:
    """Return the scope of the event loop in which pytest-asyncio runs a test; the client needs the same."""
    scope = mark.kwargs.get("loop_scope") or mark.kwargs.get("scope")
    with suppress(ValueError):  # older versions do not have this setting
        scope = scope or config.getini("asyncio_default_test_loop_scope")
    return str(scope or "function")


def _client_in(loop_scope: Any) -> Any:
    """Return a pytest-asyncio fixture that opens a client in an event loop of this scope."""
    import pytest_asyncio

    async def opened(qrbackends_emulator: "ThreadedEmulator") -> "AsyncGenerator[Client, None]":
        async for client in _opened(qrbackends_emulator):
            yield client

    return pytest_asyncio.fixture(loop_scope=loop_scope, name=f"_qrbackends_{loop_scope}_client")(opened)


with suppress(ImportError):  # without pytest-asyncio, no test needs these fixtures
    _in_function, _in_class = _client_in("function"), _client_in("class")
    _in_module, _in_package, _in_session = _client_in("module"), _client_in("package"), _client_in("session")
