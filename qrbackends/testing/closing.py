"""What `aclose` has to do, where a store has it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from ..cache.stores.base import LeasingStore
from . import leases, values
from .fixtures import LONG, NAME, SCOPE, StoreFixtures


class ClosingTests(StoreFixtures):
    """The tests of closing a store."""

    async def test_closing_it_again_is_no_error(self) -> None:
        """`aclose` may be called again, and for a store that was never used."""
        async with self.opened_if_closable() as store, self.opened_if_closable() as unused:
            assert await store.put(SCOPE, NAME, b"v", LONG)
            for one in (store, unused) * 2:
                await one.aclose()

    async def test_a_closed_store_refuses_every_call(self) -> None:
        """Once a store is closed, its calls raise, and do not hang; others at the same place go on."""
        async with self.opened_if_closable() as store, self.opened() as other:
            assert await store.put(SCOPE, NAME, b"v", LONG)
            await store.aclose()
            calls: list[tuple[str, Callable[[Any], Awaitable[Any]]]] = [*values.CALLS.items()]
            if isinstance(store, LeasingStore):
                calls += leases.CALLS.items()
            outcomes = await asyncio.gather(*(call(store) for _, call in calls), return_exceptions=True)
            answers = [(name, one) for (name, _), one in zip(calls, outcomes, strict=True)]
            assert [answer for answer in answers if not isinstance(answer[1], Exception)] == []
            assert await other.get(SCOPE, NAME) == b"v"

    async def test_closing_ends_the_calls_that_run(self) -> None:
        """`aclose` lets the calls that run come to their end, or fail; none of them hangs."""
        async with self.opened_if_closable() as store:
            assert await store.put(SCOPE, NAME, b"v", LONG)
            running = [asyncio.ensure_future(store.get(SCOPE, NAME)) for _ in range(10)]
            if isinstance(store, LeasingStore):
                assert await store.acquire(SCOPE, NAME, "a", LONG)
                running.append(asyncio.ensure_future(store.wait(SCOPE, NAME, LONG)))
                await store.get(SCOPE, NAME)
            closing = asyncio.ensure_future(store.aclose())
            outcomes = await asyncio.gather(*running, closing, return_exceptions=True)
            assert outcomes[-1] is None
            assert all(one in (b"v", None) or isinstance(one, Exception) for one in outcomes)
