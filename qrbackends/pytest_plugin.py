"""Pytest fixtures for programs that use this package; pytest loads them automatically.

`qrbackends_emulator` is the emulated service, in its own thread, with faults on request. While a test uses
it, `Client.from_account()` and the web apps' `lifespan()` use the emulator's account, so that an app can be
tested without a change. `qrbackends_client` is a client of it, for async tests with anyio or pytest-asyncio.
`qrbackends_clock` is the time of both, which stands still until the test moves it.

    @pytest.mark.qrbackends(fleet="snapshots", scenario="outage.toml")
    async def test_it(qrbackends_emulator, qrbackends_client): ...

The mark takes the arguments of `Emulator`. Those for all tests of a module or a folder are what fixtures
named `qrbackends_fleet` and `qrbackends_scenario` return, which a project writes itself.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .cache.memory import Memory
    from .client import Client
    from .emulator.devices.sources import Source
    from .emulator.threaded import ThreadedEmulator

# A client takes only one new token in 10 s, and the clock may be moved more often than that.
_FOR_EVER = 100 * 366 * 86_400  # seconds


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark `qrbackends`."""
    config.addinivalue_line("markers", "qrbackends(**options): arguments of the Emulator for one test")


class MovedClock:
    """The time of the emulator and of the client's cache, which stands still until it is moved.

    Called, it returns the seconds since its start: `Memory(clock=qrbackends_clock)` is a cache that follows
    it, for an app that makes a client of its own.
    """

    def __init__(self, emulator: "ThreadedEmulator") -> None:
        self._emulator = emulator
        emulator.set_clock(rate=0.0)
        self._passed = 0.0

    def __call__(self) -> float:
        """Return the seconds by which it was moved."""
        return self._passed

    @property
    def now(self) -> float:
        """The time in Unix seconds."""
        return self._emulator.clock.now

    def advance(self, seconds: float) -> None:
        """Move it forward; the steps of the scenario that are due are run, each at its own time.

        Raises:
            ValueError: `seconds` is negative.
        """
        self._emulator.advance(seconds)
        self._passed += seconds


@pytest.fixture
def qrbackends_fleet() -> "Source | list[Source]":
    """Return the fleet of the emulator; a project overrides this, such as with what `record` has written.

    The path of a directory counts from the test's file.
    """
    return "synthetic"


@pytest.fixture
def qrbackends_scenario() -> Any:
    """Return the scenario of the emulator, or None; a project overrides this.

    It is a `Scenario`, a list of `Step`, or the path of a TOML file, which counts from the test's file.
    """
    return None


@pytest.fixture
def qrbackends_emulator(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    qrbackends_fleet: Any,
    qrbackends_scenario: Any,
) -> "Iterator[ThreadedEmulator]":
    """Yield the emulated service; its methods can be called from any test, async or not.

    `qrbackends_emulator.fault(Status(503), resource="properties", times=2)` causes faults; the kinds of
    faults are in `qrbackends.emulator`.
    """
    from .emulator.threaded import ThreadedEmulator  # imported late, because most suites do not use it

    mark = request.node.get_closest_marker("qrbackends")
    options = {"fleet": qrbackends_fleet, "scenario": qrbackends_scenario}
    if "qrbackends_clock" in request.fixturenames:
        options["token_lifetime"] = _FOR_EVER
    options |= mark.kwargs if mark else {}
    with ThreadedEmulator(**_from_here(options, request.path.parent)) as emulator:
        monkeypatch.setattr("qrbackends.client.load_account", lambda *_, **__: emulator.account())
        yield emulator


@pytest.fixture
def qrbackends_clock(qrbackends_emulator: "ThreadedEmulator") -> MovedClock:
    """Return the time of the emulator and of `qrbackends_client`, which the test moves with `advance`."""
    return MovedClock(qrbackends_emulator)


def _from_here(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the arguments of an emulator, with paths that count from a folder, and steps as a scenario."""
    from .emulator import Scenario

    def path(given: Any) -> Any:
        is_there = isinstance(given, str | Path) and (folder / given).exists()
        return folder / given if is_there else given

    fleet, scenario = options["fleet"], options["scenario"]
    fleet = [path(one) for one in fleet] if isinstance(fleet, list | tuple) else path(fleet)
    scenario = Scenario(scenario) if isinstance(scenario, list | tuple) else path(scenario)
    return options | {"fleet": fleet, "scenario": scenario}


@pytest.fixture
def qrbackends_client(request: pytest.FixtureRequest, qrbackends_emulator: "ThreadedEmulator") -> "Client":
    """Return a client of the emulated service, in the event loop of the test.

    Raises:
        pytest.UsageError: the test is not async.
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


@pytest.fixture
def _qrbackends_memory(request: pytest.FixtureRequest) -> "Memory | None":
    """Return a memory that follows the test's clock, if it has one."""
    if "qrbackends_clock" not in request.fixturenames:
        return None
    from .cache.memory import Memory

    return Memory(clock=request.getfixturevalue("qrbackends_clock"))


async def _opened(emulator: "ThreadedEmulator", memory: "Memory | None") -> "AsyncGenerator[Client, None]":
    from .client import Client

    async with Client(emulator.account(), memory=memory) as client:
        yield client


@pytest.fixture
async def _qrbackends_anyio_client(
    qrbackends_emulator: "ThreadedEmulator", _qrbackends_memory: "Memory | None"
) -> "AsyncGenerator[Client, None]":
    async for client in _opened(qrbackends_emulator, _qrbackends_memory):
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

    async def opened(
        qrbackends_emulator: "ThreadedEmulator", _qrbackends_memory: "Memory | None"
    ) -> "AsyncGenerator[Client, None]":
        async for client in _opened(qrbackends_emulator, _qrbackends_memory):
            yield client

    return pytest_asyncio.fixture(loop_scope=loop_scope, name=f"_qrbackends_{loop_scope}_client")(opened)


with suppress(ImportError):  # without pytest-asyncio, no test needs these fixtures
    _in_function, _in_class = _client_in("function"), _client_in("class")
    _in_module, _in_package, _in_session = _client_in("module"), _client_in("package"), _client_in("session")
