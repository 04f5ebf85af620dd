"""The contracts, put together from their parts."""

import pytest

from ..cache.stores.base import LeasingStore
from .clients import ClientTests, LeasingClientTests
from .closing import ClosingTests
from .leases import LeaseTests
from .values import ValueTests


class StoreContract(ValueTests, ClosingTests, ClientTests):
    """What a `qrbackends.Store` has to do, as tests: subclass it, and let `make_store` make yours.

        @pytest.mark.anyio
        class TestMyStore(StoreContract):
            @pytest.fixture
            def make_store(self, tmp_path):
                return lambda: MyStore(tmp_path / "answers")

    The name of the subclass begins with `Test`, so that pytest collects it. Each test is one duty, which its
    docstring says. They are async, and the mark says who runs them: anyio's plugin, which comes along, or
    pytest-asyncio.

    Fixtures to override:
        make_store: a callable that makes a store, each time at the same place, which is empty when a test
            begins. It may return an async context manager of a store, or an awaitable of one, too. What it
            makes is entered or, if it has only `aclose`, closed after its use.
        store_clock: the time of the stores in Unix seconds, if `make_store` takes this fixture: lifetimes end
            without waiting then. Another one, such as a frozen clock of the system, has `advance(seconds)`.
        spoil: an async callable of scope and name that puts what is no value in the place of one; without it,
            the test of that is skipped.

    Attributes:
        patience: seconds after which a test is given up that waits for something, 30 unless overridden.
    """

    async def test_a_store_with_leases_has_its_own_contract(self) -> None:
        """A store that has all methods of a `LeasingStore` is used as one."""
        async with self.opened() as store:
            if isinstance(store, LeasingStore) and not isinstance(self, LeasingStoreContract):
                pytest.fail("clients use its leases: subclass LeasingStoreContract")


class LeasingStoreContract(LeaseTests, LeasingClientTests, StoreContract):
    """What a `qrbackends.LeasingStore` has to do: all of `StoreContract`, and what its leases are for."""
