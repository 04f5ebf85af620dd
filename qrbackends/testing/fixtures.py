"""What all tests of the contract need: how stores are made, opened and closed, and how their time passes."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, Protocol, TypeAlias

import anyio
import anyio.lowlevel
import pytest

from ..cache.stores.base import Store

SCOPE, OTHER_SCOPE = "5c" * 32, "07" * 32  # as long as those of a client
NAME = "/backends/ibm_boston/properties?calibration_id=extra_gates"
SHORT, LONG = 0.05, 3600.0  # seconds; what is LONG does not end while a test runs

MakeStore: TypeAlias = Callable[[], Store | AbstractAsyncContextManager[Store] | Awaitable[Store]]
Spoil: TypeAlias = Callable[[str, str], Awaitable[object]]


class MovableClock(Protocol):
    """A clock that a test moves, whether it is handed to the store or replaces the system's."""

    def advance(self, seconds: float) -> object:
        """Move it forward."""
        ...


class StoreClock:
    """Unix seconds that pass when a test says so, for a store that takes a clock."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time in Unix seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move it forward."""
        self.now += seconds


class StoreFixtures:
    """The fixtures that a subclass overrides, and what tests do with them.

    Attributes:
        patience: seconds after which a test is given up that waits for something.
    """

    patience = 30.0

    _make_store: MakeStore
    _clock: MovableClock | None

    @pytest.fixture(scope="session")  # so that fixtures of any scope may need it
    @classmethod
    def anyio_backend(cls) -> Any:
        """Return the event loop that anyio's plugin runs the tests in, which has to be one of asyncio."""
        return "asyncio"

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Return a callable that makes a store, each time at the same place, which is empty at first."""
        raise pytest.UsageError(
            f"{type(self).__name__} needs a fixture make_store, which returns a callable that makes a store; "
            "called again, it makes another one at the same place"
        )

    @pytest.fixture
    def store_clock(self) -> MovableClock:
        """Return the time of the stores, if `make_store` uses this fixture; else the tests let time pass."""
        return StoreClock()

    @pytest.fixture
    def spoil(self) -> Spoil | None:
        """Return a callable that puts what is no value in the place of one; None if there is no such thing.

        It takes scope and name, and is awaited.
        """
        return None

    @pytest.fixture(autouse=True)
    def _keep_fixtures(self, request: pytest.FixtureRequest, make_store: MakeStore) -> None:
        has_clock = "store_clock" in request.fixturenames
        self._make_store = make_store
        self._clock = request.getfixturevalue("store_clock") if has_clock else None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        """Open one more store at the place of this test; what is done with it has to end in time."""
        with anyio.move_on_after(self.patience) as guard:
            async with AsyncExitStack() as stack:
                made: Any = self._make_store()
                if inspect.isawaitable(made) and not hasattr(made, "__aenter__"):
                    made = await made
                if hasattr(made, "__aenter__"):
                    made = await stack.enter_async_context(made)
                elif hasattr(made, "aclose"):
                    await stack.enter_async_context(aclosing(made))
                yield made
        assert not guard.cancelled_caught, f"after {self.patience:g} s something still waits"

    @asynccontextmanager
    async def opened_if_closable(self) -> AsyncIterator[Any]:
        """Open one more store at the place of this test; skip the test if it has no `aclose`."""
        async with self.opened() as store:
            if not hasattr(store, "aclose"):
                pytest.skip("the store has no aclose")
            yield store

    async def settle(self, *stores: Store) -> None:
        """Let calls that have begun go as far as they can, while the stores answer others."""
        for _ in range(20):
            for one in stores:
                await one.get(SCOPE, "none")
                await anyio.lowlevel.checkpoint()

    def move_clock(self, seconds: float) -> None:
        """Move the clock of the stores, if they have one."""
        if self._clock is not None:
            self._clock.advance(seconds)

    async def let_end(self, seconds: float, ended: Callable[[], Awaitable[bool]]) -> None:
        """Let the time pass of what lasts for `seconds` from now, and check that it ends then."""
        over = False
        if self._clock is None:
            with anyio.move_on_after(self.patience / 2):
                while not over:
                    await anyio.sleep(seconds / 10)
                    over = await ended()
        else:
            self.move_clock(0.99 * seconds)
            assert not await ended(), f"it ends before its {seconds:g} s"
            self.move_clock(0.02 * seconds)
            over = await ended()
        assert over, f"it does not end after its {seconds:g} s"
