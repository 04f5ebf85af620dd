"""What every `Store` has to do: keep values apart, whole and for as long as they were meant to be kept."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from random import Random
from string import printable
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import pytest

from ..cache.stores.base import Store
from .fixtures import LONG, NAME, OTHER_SCOPE, SCOPE, SHORT, Spoil, StoreFixtures

Call: TypeAlias = Callable[[Store], Awaitable[Any]]
Put: TypeAlias = Callable[[bytes, float], Awaitable[bool]]

YEARS = 1e9  # seconds; beyond 30 days, from where memcached takes a time to live for a date
MANY = 1100  # names; object stores list 1,000 at a time, and databases delete some dozens

VALUES = {
    "empty": b"",
    "zero": b"\0",
    "line ends": b"\r\n\r\n",
    "digits": b"17",
    "not UTF-8": b"\xff\xfe\xc3\x28",
    "every byte": bytes(range(256)) * 1000,
}
ODD_NAMES = (
    "a A ab .a a. -a a/b a:b a::b a* a? [a] {a} a} a% %2F %s {0} ' \" ';-- `a` $a ~ \\ . .. / // /../a nul"
)
NAMES = (
    *ODD_NAMES.split(),
    *(" ", "a ", " a", "".join(character for character in printable if character.isprintable())),
    *(f"/backends/ibm_{city}/{kind}" for city in ("boston", "Boston") for kind in ("properties", "status")),
    "%F0%9F%9A%80" * 600,  # a name that a client asked for may have 500 characters, each of them 4 bytes
)
CALLS: dict[str, Call] = {
    "get": lambda store: store.get(SCOPE, NAME),
    "put": lambda store: store.put(SCOPE, NAME, b"new", LONG),
    "names": lambda store: store.names(SCOPE),
    "delete": lambda store: store.delete(SCOPE, [NAME]),
}


async def cancelled(call: Awaitable[Any], steps: int) -> bool:
    """Cancel a call after some steps of the event loop; return whether it was done before."""
    task = asyncio.ensure_future(call)
    for _ in range(steps):
        await anyio.lowlevel.checkpoint()
    was_done = task.done()
    task.cancel()
    await asyncio.wait([task])
    return was_done


class ValueTests(StoreFixtures):
    """The tests of a store's values."""

    async def begin_fetch(self, store: Store) -> Put:
        """Return what puts a value with a ttl as a client does that has begun to fetch it."""
        return lambda value, ttl: store.put(SCOPE, NAME, value, ttl)

    async def test_its_timeout_is_a_time(self) -> None:
        """`timeout` is a number of seconds greater than zero."""
        async with self.opened() as store:
            assert isinstance(store.timeout, int | float)
            assert 0 < store.timeout < inf

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
    async def test_a_value_is_read_as_it_was_put(self, value: bytes) -> None:
        """`get` returns the bytes of the last `put`, through another store at the same place, too."""
        async with self.opened() as store, self.opened() as other:
            put = await self.begin_fetch(store)
            assert await put(value, LONG), "put returns whether the value was stored"
            for one in (store, other):
                found = await one.get(SCOPE, NAME)
                assert isinstance(found, bytes)
                assert found == value

    async def test_any_bytes_under_any_name(self) -> None:
        """Names are printable ASCII, and as different as they look; values are any bytes."""
        random = Random(17)
        values = {name: random.randbytes(random.randrange(300)) for name in NAMES}
        async with self.opened() as store, self.opened() as other:
            for name, value in values.items():
                assert await store.put(SCOPE, name, value, LONG)
            assert {name: await other.get(SCOPE, name) for name in NAMES} == values
            assert sorted(await other.names(SCOPE)) == sorted(NAMES)
            for name in NAMES[::2]:
                await store.delete(SCOPE, [name])
            left = {name: None if number % 2 == 0 else values[name] for number, name in enumerate(NAMES)}
            assert {name: await other.get(SCOPE, name) for name in NAMES} == left

    async def test_where_nothing_was_put_there_is_none(self) -> None:
        """`get` returns None, and does not raise, if there is no value."""
        async with self.opened() as store:
            assert await store.get(SCOPE, NAME) is None
            assert list(await store.names(SCOPE)) == []
            assert await store.put(SCOPE, NAME, b"v", LONG)
            assert await store.get(SCOPE, f"{NAME}&") is None

    async def test_what_is_no_value_is_none(self, spoil: Spoil | None) -> None:
        """`get` returns None if what is there is not of this store's format; `put` replaces it."""
        if spoil is None:
            pytest.skip("there is no fixture `spoil`")
        async with self.opened() as store:
            assert await store.put(SCOPE, NAME, b"v", LONG)
            await spoil(SCOPE, NAME)
            assert await store.get(SCOPE, NAME) is None
            assert await store.put(SCOPE, NAME, b"v", LONG)
            assert await store.get(SCOPE, NAME) == b"v"

    async def test_a_put_replaces_an_older_value(self) -> None:
        """`put` stores a value in place of an older one, longer or shorter."""
        async with self.opened() as store, self.opened() as other:
            for one, value in ((store, b"old"), (other, b"a longer one"), (store, b"new")):
                assert await one.put(SCOPE, NAME, value, LONG)
                assert [await store.get(SCOPE, NAME), await other.get(SCOPE, NAME)] == [value, value]
            assert list(await store.names(SCOPE)) == [NAME]

    async def test_a_value_lasts_for_its_ttl(self) -> None:
        """A value is there for `ttl` seconds, and not any longer."""
        async with self.opened() as store, self.opened() as other:
            assert await store.put(SCOPE, "lasting", b"v", YEARS)
            put = await self.begin_fetch(store)
            assert await put(b"v", SHORT)

            async def gone() -> bool:
                return await store.get(SCOPE, NAME) is None

            await self.let_end(SHORT, gone)
            assert await other.get(SCOPE, NAME) is None
            assert await other.get(SCOPE, "lasting") == b"v"
            assert await store.put(SCOPE, NAME, b"again", LONG)
            assert await other.get(SCOPE, NAME) == b"again"

    async def test_the_last_ttl_counts(self) -> None:
        """A value in place of an older one ends after its own `ttl`, be it longer or shorter."""
        async with self.opened() as store:
            for name, ttls in (("longer", (SHORT, LONG)), ("shorter", (LONG, SHORT))):
                for ttl in ttls:
                    assert await store.put(SCOPE, name, b"%g" % ttl, ttl)

            async def gone() -> bool:
                return await store.get(SCOPE, "shorter") is None

            await self.let_end(SHORT, gone)
            assert await store.get(SCOPE, "longer") == b"%g" % LONG

    async def test_scopes_share_nothing(self) -> None:
        """A value is found in its own scope only, however scope and name may be joined."""
        places = [(SCOPE, NAME), (OTHER_SCOPE, NAME), (f"{SCOPE}0", NAME), (SCOPE, f"0{NAME}")]
        async with self.opened() as store:
            for number, (scope, name) in enumerate(places):
                assert await store.get(scope, name) is None
                assert await store.put(scope, name, b"%d" % number, LONG)
            assert [await store.get(*place) for place in places] == [b"0", b"1", b"2", b"3"]
            assert sorted(await store.names(SCOPE)) == sorted([NAME, f"0{NAME}"])
            assert list(await store.names(OTHER_SCOPE)) == [NAME]
            await store.delete(SCOPE, [NAME])
            assert [await store.get(*place) for place in places] == [None, b"1", b"2", b"3"]

    async def test_what_is_deleted_is_gone_and_the_rest_stays(self) -> None:
        """`delete` deletes the values of any iterable of names; a name without a value is no error."""
        async with self.opened() as store, self.opened() as other:
            for name in ("one", "two", "three"):
                assert await store.put(SCOPE, name, name.encode(), LONG)
            await other.delete(SCOPE, (name for name in ("one", "nothing", "three")))
            await other.delete(SCOPE, ())
            assert [await store.get(SCOPE, name) for name in ("one", "two", "three")] == [None, b"two", None]
            assert list(await store.names(SCOPE)) == ["two"]

    async def test_a_delete_reaches_a_put_that_has_not_returned(self) -> None:
        """`delete` includes the value of a `put` that was called on this store before."""
        async with self.opened() as store:
            for steps in range(10):
                put = await self.begin_fetch(store)
                putting = asyncio.ensure_future(put(b"v", LONG))
                for _ in range(1 + steps):
                    await anyio.lowlevel.checkpoint()
                await store.delete(SCOPE, [NAME])
                await putting
                assert await store.get(SCOPE, NAME) is None, "an answer from before an invalidation is back"

    async def test_a_large_value_is_stored_whole_or_not_at_all(self) -> None:
        """`put` returns False, or raises, if it cannot store a value; then no part of it is there."""
        value = bytes(range(256)) * 2**15  # 8 MiB
        async with self.opened() as store:
            assert await store.put(SCOPE, NAME, b"old", LONG)
            stored = False
            with suppress(Exception):  # its own, of whatever type: only what is left there then counts
                stored = await store.put(SCOPE, NAME, value, LONG)
            found = await store.get(SCOPE, NAME)
            assert found == value if stored else found in (None, b"old")

    async def test_many_calls_at_once_are_kept_apart(self) -> None:
        """Each of many concurrent calls has its own answer."""
        names = [f"{NAME}{number}" for number in range(100)]
        async with self.opened() as store, self.opened() as other:
            assert all(await asyncio.gather(*(store.put(SCOPE, name, name.encode(), LONG) for name in names)))
            found = await asyncio.gather(*(one.get(SCOPE, name) for one in (store, other) for name in names))
            assert found == [name.encode() for name in names] * 2
            assert sorted(await other.names(SCOPE)) == sorted(names)

    async def test_there_may_be_many_values(self) -> None:
        """`names` returns all of them, and `delete` deletes as many at once."""
        names = [f"{NAME}{number:04}" for number in range(MANY)]
        async with self.opened() as store, self.opened() as other:
            assert await store.put(SCOPE, "kept", b"v", LONG)
            for first in range(0, MANY, 100):
                some = names[first : first + 100]
                assert all(await asyncio.gather(*(store.put(SCOPE, name, b"v", LONG) for name in some)))
            assert sorted(await other.names(SCOPE)) == [*names, "kept"]
            await other.delete(SCOPE, names)
            assert list(await store.names(SCOPE)) == ["kept"]
            assert await store.get(SCOPE, "kept") == b"v"
            assert {await store.get(SCOPE, name) for name in (names[0], names[-1])} == {None}

    async def test_readers_never_see_parts_of_values(self) -> None:
        """While several write the same name, a reader gets one of their values, and all of it."""
        values = [b"%d" % number * (1 + 20_000 * number) for number in range(4)]
        async with self.opened() as store, self.opened() as other:
            assert await store.put(SCOPE, NAME, values[0], LONG)

            async def write(one: Store, value: bytes) -> None:
                for _ in range(5):
                    assert await one.put(SCOPE, NAME, value, LONG)

            async def read(one: Store) -> None:
                for _ in range(10):
                    assert await one.get(SCOPE, NAME) in values

            async with anyio.create_task_group() as group:
                for number, value in enumerate(values):
                    group.start_soon(write, (store, other)[number % 2], value)
                for one in (store, other):
                    group.start_soon(read, one)

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    async def test_a_cancelled_call_breaks_nothing(self, call: Call) -> None:
        """A call may be cancelled at any moment; it is done whole or not at all, and the next ones work."""
        async with self.opened() as store:
            assert await store.put(SCOPE, "kept", b"kept", LONG)
            for steps in range(100):
                assert await store.put(SCOPE, NAME, b"old", LONG)
                was_done = await cancelled(call(store), steps)
                assert await store.get(SCOPE, "kept") == b"kept", "not the answer to another call"
                assert await store.get(SCOPE, NAME) in (None, b"old", b"new")
                assert "kept" in await store.names(SCOPE)
                if was_done:
                    break

    async def test_values_outlast_the_store(self) -> None:
        """Another process, or a later run, finds what was put at this place."""
        async with self.opened() as store:
            assert await store.put(SCOPE, NAME, b"v", LONG)
        async with self.opened() as later:
            assert await later.get(SCOPE, NAME) == b"v"

    async def test_another_event_loop_is_served_or_refused(self) -> None:
        """In another event loop a call works or raises, but does not hang, and this loop's calls go on."""
        async with self.opened() as store:
            assert await store.put(SCOPE, NAME, b"v", LONG)

            async def ask() -> object:
                with anyio.move_on_after(self.patience / 2):
                    try:
                        return await store.get(SCOPE, NAME)
                    except Exception:  # its own, of whatever type: to refuse is as good as to answer
                        return b"v"
                return "it hangs"

            assert await asyncio.to_thread(asyncio.run, ask()) == b"v"
            assert await store.get(SCOPE, NAME) == b"v"
