"""What a store does for clients, and never to them: real clients share it, and an emulator is the service."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from ..accounts.scope import Scopes
from ..cache.entry import Source
from ..cache.stores.base import Store
from ..cache.stores.sealed import StoreStats
from ..client import Client
from ..emulator import Emulator, Hold, SyntheticFleet
from ..errors import NotFound
from ..protocol.requests import API_VERSION, Request
from .fixtures import LONG, StoreFixtures

DEVICE, ANOTHER = "device_a", "device_b"
ASKED = Request("properties", DEVICE)
REQUESTS = (Request("backends"), ASKED, Request("properties", ANOTHER), Request("configuration", DEVICE))
METHODS = ("get", "put", "names", "delete", "acquire", "renew", "release", "wait")

GARBAGE: dict[str, Callable[[bytes, bytes], bytes]] = {  # of a value, and of another name's value
    "nothing": lambda value, other: b"",
    "text": lambda value, other: b"null",
    "another name's": lambda value, other: other,
    "cut": lambda value, other: value[:-1],
    "changed": lambda value, other: value[:-1] + bytes([value[-1] ^ 1]),
}


def failing(store: Store, method: str, *, hangs: bool) -> Any:
    """Return a store one of whose methods raises or hangs, instead of returning, when it has done its work.

    `failures` of the result is a list that grows by the method's name with each such call.
    """
    failures: list[str] = []

    def passed_on(name: str) -> Callable[..., Any]:
        async def call(*arguments: Any, **options: Any) -> Any:
            result = await getattr(store, name)(*arguments, **options)
            if name != method:
                return result
            failures.append(name)
            if hangs:
                await anyio.sleep_forever()
            raise ConnectionError("the connection was lost")

        return call

    methods = {name: passed_on(name) for name in METHODS if hasattr(store, name)}
    return SimpleNamespace(timeout=0.05 if hangs else store.timeout, failures=failures, **methods)


async def read_all(client: Client, source: Source) -> list[Any]:
    """Ask all of `REQUESTS`, and return the documents; all have to come from this source."""
    answers = [await client.fetch(request) for request in REQUESTS]
    assert [answer.source for answer in answers] == [source] * len(REQUESTS)
    return [answer.value for answer in answers[1:]]  # the list tells of queues, which change


def stats(client: Client) -> StoreStats:
    """Return what a client did with its store."""
    counts = client.stats().store
    assert counts is not None
    return counts


async def stored_by(store: Store, emulator: Emulator) -> tuple[str, dict[str, bytes]]:
    """Return the scope of the emulator's account, and its values in a store."""
    account = emulator.account()
    scope = Scopes(account, API_VERSION).of(account.instances[0]).id
    values = {name: await store.get(scope, name) for name in await store.names(scope)}
    return scope, {name: value for name, value in values.items() if value is not None}


class ClientTests(StoreFixtures):
    """The tests of a store in the hands of clients."""

    @asynccontextmanager
    async def service(self) -> AsyncIterator[Emulator]:
        """Emulate the service for two API keys, with two devices in one region."""
        fleet = SyntheticFleet({DEVICE: 5, ANOTHER: 5})
        async with Emulator(fleet, regions=("us-east",), keys=2) as emulator:
            yield emulator

    @asynccontextmanager
    async def two_clients(self) -> AsyncIterator[tuple[Emulator, Client, Client, Store]]:
        """Emulate the service for two clients, each with a store of its own at the place of this test.

        The last of what it yields is the second client's store.
        """
        async with (
            self.service() as emulator,
            self.opened() as store,
            self.opened() as other,
            Client(emulator.account(), store=store) as one,
            Client(emulator.account(), store=other) as two,
        ):
            yield emulator, one, two, other

    async def test_another_client_answers_from_the_store(self) -> None:
        """What one client has read, another one with the same credential gets without a request."""
        async with self.two_clients() as (emulator, first, second, _):
            read = await read_all(first, "origin")
            emulator.reset_log()
            assert await read_all(second, "shared") == read
            assert emulator.count() == 0
            assert stats(first).writes == stats(second).hits == len(REQUESTS)

    async def test_another_credential_reads_nothing(self) -> None:
        """What was read with one API key is no answer for another one."""
        async with (
            self.service() as emulator,
            self.opened() as store,
            Client(emulator.account(), store=store) as owner,
            Client(emulator.account(1), store=store) as stranger,
        ):
            for client in (owner, stranger):
                assert (await client.fetch(ASKED)).source == "origin"
            assert emulator.count("properties") == 2
            assert stats(stranger).rejected == 0, "it was given another scope's value"
            async with Client(emulator.account(), store=store) as later:
                assert (await later.fetch(ASKED)).source == "shared", "the stranger's answer is in its place"

    @pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
    async def test_garbage_is_a_miss(self, garbage: Callable[[bytes, bytes], bytes]) -> None:
        """Values that were damaged, exchanged or made up fail no call, and no client believes them."""
        async with self.service() as emulator, self.opened() as store:
            async with Client(emulator.account(), store=store) as client:
                read = await read_all(client, "origin")
            scope, values = await stored_by(store, emulator)
            assert sorted(values) == sorted(request.target for request in REQUESTS)
            others = [*list(values.values())[1:], b""]
            for (name, value), other in zip(values.items(), others, strict=True):
                assert await store.put(scope, name, garbage(value, other), LONG)
            async with Client(emulator.account(), store=store) as client:
                assert await read_all(client, "origin") == read
                assert stats(client).rejected >= len(REQUESTS)
            async with Client(emulator.account(), store=store) as client:
                assert await read_all(client, "shared") == read, "the garbage has been replaced"

    async def check_failing(self, method: str, hangs: bool) -> None:
        """Check that no call fails, and no other client is held up, if one method of the store fails."""
        async with self.service() as emulator, self.opened() as store:
            broken = failing(store, method, hangs=hangs)
            async with (
                Client(emulator.account(), store=broken) as client,
                Client(emulator.account(), store=store) as other,
            ):
                with pytest.raises(NotFound):
                    await client.fetch(Request("properties", "nowhere"))
                read = await client.fetch(ASKED)
                assert await client.invalidate(backend=DEVICE) == 1
                again = await client.fetch(ASKED)
                elsewhere = await other.fetch(ASKED)
                assert read.value == again.value == elsewhere.value
                assert broken.failures or stats(client).errors  # of another method, on a slow machine

    @pytest.mark.parametrize("hangs", [False, True], ids=["raises", "hangs"])
    @pytest.mark.parametrize("method", ["get", "put", "names", "delete"])
    async def test_a_store_that_fails_fails_no_call(self, method: str, hangs: bool) -> None:
        """Where a method raises or hangs, even when it has done its work, clients go on with the service."""
        await self.check_failing(method, hangs)

    async def test_a_closed_store_fails_no_call(self) -> None:
        """A client whose store was closed too early goes on with the service."""
        async with (
            self.service() as emulator,
            self.opened_if_closable() as store,
            Client(emulator.account(), store=store) as client,
        ):
            await store.aclose()
            await read_all(client, "origin")
            await client.invalidate()

    async def test_many_callers_of_several_clients_get_one_answer(self) -> None:
        """All who ask at once, through clients that share the store, get the same answer."""
        async with self.two_clients() as (emulator, one, two, _):
            given = await asyncio.gather(*(client.fetch(ASKED) for client in (one, two) for _ in range(20)))
            assert {answer.value == given[0].value for answer in given} == {True}
            assert emulator.count("properties") <= 2
            assert (stats(one).errors, stats(two).errors) == (0, 0)

    async def check_invalidation(self, *, elsewhere: bool) -> None:
        """Check that what is fetched while the same or another client invalidates is not stored."""
        async with self.two_clients() as (emulator, client, another, store):
            await read_all(client, "origin")
            held = emulator.fault(Hold(), resource="properties", backend=DEVICE)
            asking = asyncio.ensure_future(client.fetch(ASKED, refresh=True))
            await held.reached()
            await (another if elsewhere else client).invalidate()
            held.release()
            assert (await asking).source == "origin"
            _, values = await stored_by(store, emulator)
            assert values == {}
            assert (await another.fetch(ASKED)).source == "origin"

    async def test_an_invalidation_empties_the_store(self) -> None:
        """After `client.invalidate()` nothing is left, and what was being fetched then is not stored."""
        await self.check_invalidation(elsewhere=False)


class LeasingClientTests(ClientTests):
    """The tests of a store with leases in the hands of clients."""

    @pytest.mark.parametrize("hangs", [False, True], ids=["raises", "hangs"])
    @pytest.mark.parametrize("method", ["acquire", "release"])
    async def test_a_lease_that_fails_fails_no_call(self, method: str, hangs: bool) -> None:
        """Where a lease is given or ended, and the call raises or hangs all the same, clients go on."""
        await self.check_failing(method, hangs)

    async def test_an_invalidation_reaches_the_fetches_of_others(self) -> None:
        """What a client was fetching when another one invalidated is not stored."""
        await self.check_invalidation(elsewhere=True)

    async def test_one_client_fetches_and_the_others_wait(self) -> None:
        """Of all clients that ask for an answer that nobody has, one asks the service."""
        async with self.two_clients() as (emulator, one, two, other):
            await asyncio.gather(one.backends(), two.backends())
            held = emulator.fault(Hold(), resource="properties", times=None)
            asking = [asyncio.ensure_future(client.fetch(ASKED)) for client in (one, two) for _ in range(5)]
            await held.reached()
            await self.settle(other)
            assert held.hits == 1
            held.release()
            given = await asyncio.gather(*asking)
            assert {answer.source for answer in given} == {"origin", "shared"}
            assert emulator.count("properties") == 1
            assert emulator.count("backends") == 1

    async def test_another_client_takes_over(self) -> None:
        """If the one that fetches gives up, another client asks the service."""
        async with self.two_clients() as (emulator, one, two, other):
            held = emulator.fault(Hold(), resource="properties", times=1)
            leading = asyncio.ensure_future(one.fetch(ASKED))
            await held.reached()
            waiting = asyncio.ensure_future(two.fetch(ASKED))
            await self.settle(other)
            leading.cancel()
            assert (await waiting).source == "origin"
            held.release()
            assert emulator.count("properties") == 2
