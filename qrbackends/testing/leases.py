"""What a `LeasingStore` has to do beyond a `Store`: let one of many fetch, and wake those who wait for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import pytest

from ..cache.stores.base import LeasingStore, Store
from .fixtures import LONG, NAME, OTHER_SCOPE, SCOPE, SHORT, StoreFixtures
from .values import Put, cancelled

Call: TypeAlias = Callable[[LeasingStore], Awaitable[Any]]

ENDS: dict[str, Call] = {
    "put": lambda store: store.put(SCOPE, NAME, b"v", LONG, "a"),
    "release": lambda store: store.release(SCOPE, NAME, "a"),
    "delete": lambda store: store.delete(SCOPE, [NAME]),
}
OWNERS: dict[str, Call] = {
    "put": ENDS["put"],
    "renew": lambda store: store.renew(SCOPE, NAME, "a", LONG),
    "release": ENDS["release"],
}
CALLS: dict[str, Call] = {
    **ENDS,
    **OWNERS,
    "acquire": lambda store: store.acquire(SCOPE, NAME, "b", LONG),
    "take": lambda store: store.acquire(SCOPE, NAME, "b", LONG, force=True),
    "wait": lambda store: store.wait(SCOPE, NAME, LONG),
}


class LeaseTests(StoreFixtures):
    """The tests of a store's leases."""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[LeasingStore]:
        """Open one more store at the place of this test."""
        async with super().opened() as store:
            assert isinstance(store, LeasingStore), "it lacks a method of LeasingStore"
            yield store

    async def begin_fetch(self, store: Store) -> Put:
        """Return what puts a value with a ttl as a client does that has begun to fetch it."""
        assert isinstance(store, LeasingStore)
        assert await store.acquire(SCOPE, NAME, "a", LONG, force=True)
        return lambda value, ttl: store.put(SCOPE, NAME, value, ttl, "a")

    # --- who has it

    async def test_one_owner_has_the_lease(self) -> None:
        """`acquire` returns True for the owner that has the lease now, and False for others."""
        async with self.opened() as store, self.opened() as other:
            assert await store.acquire(SCOPE, NAME, "a", LONG)
            assert not await other.acquire(SCOPE, NAME, "b", LONG)
            assert await other.acquire(SCOPE, NAME, "a", LONG), "its owner may ask again"
            assert await store.get(SCOPE, NAME) is None, "a lease is no value"

    async def test_asking_again_prolongs_the_lease(self) -> None:
        """`acquire` gives the lease for its seconds, also to the owner that has it already."""
        async with self.opened() as store, self.opened() as other:
            assert await store.acquire(SCOPE, NAME, "a", SHORT)
            assert await store.acquire(SCOPE, NAME, "a", LONG)
            self.move_clock(2 * SHORT)
            await other.wait(SCOPE, NAME, 2 * SHORT)
            assert not await other.acquire(SCOPE, NAME, "b", LONG)

    async def test_each_name_of_each_scope_has_a_lease_of_its_own(self) -> None:
        """Leases of other names and scopes are others."""
        async with self.opened() as store:
            places = [(SCOPE, NAME), (OTHER_SCOPE, NAME), (SCOPE, f"{NAME}&"), (f"{SCOPE}0", NAME)]
            for number, (scope, name) in enumerate(places):
                assert await store.acquire(scope, name, f"{number}", LONG)
            await store.release(SCOPE, NAME, "0")
            for number, (scope, name) in enumerate(places):
                assert await store.acquire(scope, name, "another", LONG) is (number == 0)

    async def test_of_many_at_once_one_gets_the_lease(self) -> None:
        """Of concurrent owners, in several processes, exactly one gets the lease."""
        async with self.opened() as store, self.opened() as other:
            asking = [(store, other)[n % 2].acquire(SCOPE, NAME, f"{n}", LONG) for n in range(100)]
            outcomes = await asyncio.gather(*asking)
            assert sorted(map(bool, outcomes)) == [False] * 99 + [True]

    async def test_a_lease_ends_by_itself(self) -> None:
        """A lease ends after its time; then another owner gets it, and the first one's value is refused."""
        async with self.opened() as store, self.opened() as other:
            assert await store.acquire(SCOPE, NAME, "a", SHORT)
            await self.let_end(SHORT, lambda: other.acquire(SCOPE, NAME, "b", LONG))
            assert not await store.renew(SCOPE, NAME, "a", LONG)
            assert not await store.put(SCOPE, NAME, b"late", LONG, "a")
            assert await other.get(SCOPE, NAME) is None
            assert await other.put(SCOPE, NAME, b"v", LONG, "b")

    async def test_a_lease_that_has_ended_is_nobodys(self) -> None:
        """An owner whose lease has ended has it no more, even if nobody else has it."""
        async with self.opened() as store:
            assert await store.acquire(SCOPE, NAME, "a", LONG)
            assert await store.renew(SCOPE, NAME, "a", SHORT), "it ends from now on, be that earlier or later"
            self.move_clock(1.01 * SHORT)
            await store.wait(SCOPE, NAME, LONG)
            assert not await store.renew(SCOPE, NAME, "a", LONG)
            assert not await store.put(SCOPE, NAME, b"late", LONG, "a")
            assert await store.get(SCOPE, NAME) is None

    async def test_a_renewed_lease_goes_on(self) -> None:
        """`renew` lets the lease end its seconds from now, also for those who wait; only its owner can."""
        async with self.opened() as store, self.opened() as other:
            short, waiting = SHORT, None
            while waiting is None:
                assert short < self.patience, "renew returns False for the owner that has the lease"
                assert await store.acquire(SCOPE, NAME, "a", short)
                waiting = asyncio.ensure_future(other.wait(SCOPE, NAME, LONG))
                await self.settle(store, other)
                if not await store.renew(SCOPE, NAME, "a", LONG):  # on a slow machine it has ended by now
                    await waiting
                    short, waiting = 4 * short, None
            assert not await other.renew(SCOPE, NAME, "b", LONG)
            self.move_clock(2 * short)
            await other.wait(SCOPE, NAME, 2 * short)
            assert not await other.acquire(SCOPE, NAME, "b", LONG)
            assert not waiting.done()
            assert await store.put(SCOPE, NAME, b"v", LONG, "a")
            await waiting

    async def test_force_takes_the_lease(self) -> None:
        """With `force`, another owner takes the lease; the former one can neither put nor end it."""
        async with self.opened() as store, self.opened() as other:
            assert await store.acquire(SCOPE, NAME, "a", LONG)
            assert await other.acquire(SCOPE, NAME, "b", LONG, force=True)
            assert not await store.renew(SCOPE, NAME, "a", LONG)
            assert not await store.put(SCOPE, NAME, b"old", LONG, "a")
            await store.release(SCOPE, NAME, "a")
            assert await other.get(SCOPE, NAME) is None
            assert await other.put(SCOPE, NAME, b"new", LONG, "b")

    async def test_a_lease_that_is_old_may_be_shared(self) -> None:
        """Where a lease is given to a second owner, the first of them to put a value ends it for both."""
        async with self.opened() as store, self.opened() as other:
            assert await store.acquire(SCOPE, NAME, "a", LONG)
            self.move_clock(SHORT)
            await other.wait(SCOPE, NAME, SHORT)
            is_shared = await other.acquire(SCOPE, NAME, "b", SHORT / 2)
            first = await other.put(SCOPE, NAME, b"b", LONG, "b")
            second = await store.put(SCOPE, NAME, b"a", LONG, "a")
            assert not (first and second)
            assert is_shared or (first, second) == (False, True)  # one that is shared may have ended by now
            assert await store.get(SCOPE, NAME) == (b"b" if first else b"a" if second else None)

    # --- what ends it, and what does not

    async def test_a_put_of_its_owner_ends_the_lease(self) -> None:
        """A value of the lease's owner is stored, once; then the lease is free."""
        async with self.opened() as store, self.opened() as other:
            assert await store.acquire(SCOPE, NAME, "a", LONG)
            assert await store.put(SCOPE, NAME, b"v", LONG, "a")
            assert not await store.put(SCOPE, NAME, b"again", LONG, "a")
            assert await other.acquire(SCOPE, NAME, "b", LONG)
            assert await other.get(SCOPE, NAME) == b"v", "a lease leaves the value as it is"

    async def test_a_lease_changes_no_value(self) -> None:
        """A value lasts for its own `ttl` whatever becomes of the lease, and the lease for its own."""
        async with self.opened() as store, self.opened() as other:
            for name, ttl in (("lasting", LONG), ("short", 4 * SHORT)):
                assert await store.put(SCOPE, name, b"v", ttl)
                assert await store.acquire(SCOPE, name, "a", LONG)
                assert await store.renew(SCOPE, name, "a", 2 * LONG)

            async def gone() -> bool:
                return await other.get(SCOPE, "short") is None

            await self.let_end(4 * SHORT, gone)
            await store.release(SCOPE, "lasting", "a")
            assert await other.get(SCOPE, "lasting") == b"v", "a released lease takes it along"
            assert await store.acquire(SCOPE, "lasting", "a", SHORT)
            await self.let_end(SHORT, lambda: other.acquire(SCOPE, "lasting", "b", LONG))
            assert await store.get(SCOPE, "lasting") == b"v", "a lease that has ended takes it along"
            assert not await other.acquire(SCOPE, "short", "b", LONG), "it ends with the value"

    async def test_a_put_of_a_stranger_is_refused(self) -> None:
        """A value of an owner without the lease is not stored, and leaves the lease as it is."""
        async with self.opened() as store, self.opened() as other:
            assert not await other.put(SCOPE, NAME, b"no lease", LONG, "b")
            assert await store.acquire(SCOPE, NAME, "a", LONG)
            assert not await other.put(SCOPE, NAME, b"another's", LONG, "b")
            assert await store.get(SCOPE, NAME) is None
            assert await store.put(SCOPE, NAME, b"v", LONG, "a")

    async def test_a_put_without_an_owner_needs_no_lease(self) -> None:
        """A value without an owner is stored, and leaves the lease as it is."""
        async with self.opened() as store, self.opened() as other:
            assert await store.acquire(SCOPE, NAME, "a", LONG)
            assert await other.put(SCOPE, NAME, b"v", LONG)
            assert await store.get(SCOPE, NAME) == b"v"
            assert not await other.acquire(SCOPE, NAME, "b", LONG)
            assert await store.put(SCOPE, NAME, b"newer", LONG, "a")
            assert await other.get(SCOPE, NAME) == b"newer"

    async def test_its_owner_alone_releases_the_lease(self) -> None:
        """`release` ends the lease of its owner, who cannot put then; by a stranger it changes nothing."""
        async with self.opened() as store, self.opened() as other:
            await store.release(SCOPE, NAME, "a")
            assert await store.acquire(SCOPE, NAME, "a", LONG)
            await other.release(SCOPE, NAME, "b")
            assert not await other.acquire(SCOPE, NAME, "b", LONG)
            await store.release(SCOPE, NAME, "a")
            assert not await store.put(SCOPE, NAME, b"v", LONG, "a")
            assert await other.acquire(SCOPE, NAME, "b", LONG)

    async def test_a_delete_ends_the_lease(self) -> None:
        """After `delete`, the puts of those who had the lease are refused, and another gets it."""
        async with self.opened() as store, self.opened() as other:
            for name in (NAME, "kept"):
                assert await store.acquire(SCOPE, name, "a", LONG)
            await other.delete(SCOPE, [NAME])
            assert not await store.renew(SCOPE, NAME, "a", LONG)
            assert not await store.put(SCOPE, NAME, b"old", LONG, "a")
            assert await other.get(SCOPE, NAME) is None
            assert await other.acquire(SCOPE, NAME, "b", LONG)
            assert await store.renew(SCOPE, "kept", "a", LONG)

    @pytest.mark.parametrize("call", OWNERS.values(), ids=OWNERS)
    async def test_another_process_takes_or_ends_the_lease_meanwhile(self, call: Call) -> None:
        """While its owner's call runs, `force` takes the lease all the same, and `delete` leaves nothing."""
        async with self.opened() as store, self.opened() as other:
            for steps in range(10):
                for taken in (True, False):
                    assert await store.acquire(SCOPE, NAME, "a", LONG, force=True)
                    calling = asyncio.ensure_future(call(store))
                    for _ in range(steps):
                        await anyio.lowlevel.checkpoint()
                    if taken:
                        assert await other.acquire(SCOPE, NAME, "b", LONG, force=True)
                    else:
                        await other.delete(SCOPE, [NAME])
                    await calling
                    assert await other.renew(SCOPE, NAME, "b", LONG) is taken
                assert await other.get(SCOPE, NAME) is None, "an answer from before an invalidation is back"
                assert await other.acquire(SCOPE, NAME, "b", LONG), "a lease is back"

    async def test_names_are_those_with_a_value_or_a_lease(self) -> None:
        """`names` has each name of the scope once that has a value, a lease or both."""
        async with self.opened() as store, self.opened() as other:
            assert await store.put(SCOPE, "valued", b"v", LONG)
            assert await store.acquire(SCOPE, "led", "a", LONG)
            assert await store.put(SCOPE, "both", b"v", LONG)
            assert await store.acquire(SCOPE, "both", "a", LONG)
            assert await store.acquire(OTHER_SCOPE, "elsewhere", "a", LONG)
            assert sorted(await other.names(SCOPE)) == ["both", "led", "valued"]

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    async def test_a_cancelled_call_on_a_lease_breaks_nothing(self, call: Call) -> None:
        """A call may be cancelled at any moment; once its caller has released, another gets the lease."""
        async with self.opened() as store:
            assert await store.put(SCOPE, "kept", b"kept", LONG)
            for steps in range(100):
                assert await store.acquire(SCOPE, NAME, "a", LONG)
                was_done = await cancelled(call(store), steps)
                assert await store.get(SCOPE, "kept") == b"kept", "not the answer to another call"
                for owner in ("b", "a"):
                    await store.release(SCOPE, NAME, owner)
                assert await store.acquire(SCOPE, NAME, "c", LONG)
                await store.release(SCOPE, NAME, "c")
                if was_done:
                    break

    # --- waiting

    async def begin_waits(self, *stores: LeasingStore) -> Sequence[asyncio.Future[None]]:
        """Begin to wait for the lease, twice in each store, and check that nobody returns."""
        waiting = [asyncio.ensure_future(one.wait(SCOPE, NAME, LONG)) for one in stores for _ in range(2)]
        await self.settle(*stores)
        assert not any(one.done() for one in waiting), "somebody has the lease"
        return waiting

    async def test_nobody_waits_where_there_is_no_lease(self) -> None:
        """`wait` returns at once if nobody has the lease."""
        async with self.opened() as store:
            await store.wait(SCOPE, NAME, LONG)
            assert await store.acquire(SCOPE, f"{NAME}&", "a", LONG)
            assert await store.put(SCOPE, NAME, b"v", LONG)
            await store.wait(SCOPE, NAME, LONG)

    async def test_waiting_ends_at_its_timeout(self) -> None:
        """`wait` returns after `timeout` seconds, and leaves the lease as it is."""
        async with self.opened() as store, self.opened() as other:
            assert await store.acquire(SCOPE, NAME, "a", LONG)
            for timeout in (0.01, 0.0):
                await other.wait(SCOPE, NAME, timeout)
            assert not await other.acquire(SCOPE, NAME, "b", LONG)

    @pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
    async def test_who_waits_is_woken(self, end: Call) -> None:
        """All who wait, in every process, return when a put, a release or a delete ends the lease."""
        async with self.opened() as store, self.opened() as other:
            for _ in range(3):
                assert await store.acquire(SCOPE, NAME, "a", LONG)
                waiting = await self.begin_waits(store, other)
                await end(store)
                await asyncio.gather(*waiting)

    async def test_nobody_waits_longer_than_a_lease_lasts(self) -> None:
        """Those who wait for a process that was killed return when its lease ends by itself."""
        async with self.opened() as store, self.opened() as other:
            assert await store.acquire(SCOPE, NAME, "a", SHORT)
            waiting = [asyncio.ensure_future(one.wait(SCOPE, NAME, LONG)) for one in (store, other)]
            await anyio.lowlevel.checkpoint()
            self.move_clock(1.01 * SHORT)
            await asyncio.gather(*waiting)
            assert await other.acquire(SCOPE, NAME, "b", LONG)

    async def test_nothing_else_wakes_those_who_wait(self) -> None:
        """Those who wait go on when something else ends, and when one of them is cancelled."""
        async with self.opened() as store, self.opened() as other:
            for name in (NAME, f"{NAME}&"):
                assert await store.acquire(SCOPE, name, "a", LONG)
            cancelled_one, *waiting = await self.begin_waits(store, other)
            elsewhere = asyncio.ensure_future(other.wait(SCOPE, f"{NAME}&", LONG))
            cancelled_one.cancel()
            await self.settle(store, other)
            assert not elsewhere.done()
            await store.release(SCOPE, f"{NAME}&", "a")
            await elsewhere
            await other.release(SCOPE, NAME, "b")
            assert not await other.acquire(SCOPE, NAME, "b", LONG)
            assert await store.renew(SCOPE, NAME, "a", LONG)
            await self.settle(store, other)
            assert cancelled_one.cancelled()
            assert not any(one.done() for one in waiting)
            await store.release(SCOPE, NAME, "a")
            await asyncio.gather(*waiting)
