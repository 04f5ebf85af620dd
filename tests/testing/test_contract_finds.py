"""Stores that are broken in one way each: the contract finds all of them, and each of its tests finds one."""

import re
from pathlib import Path

import pytest

from qrbackends.testing import LeasingStoreContract

from ..projects import files_of, run

# Each is the store of the documentation with one mistake; its docstring names the tests that have to find it.
BROKEN = '''
import asyncio
import re
import time

import anyio
import pytest
from dict_store import DictStore
from qrbackends.testing import LeasingStoreContract, StoreContract


class IsNeverInTime(DictStore):
    """Found by test_its_timeout_is_a_time."""

    timeout = 0


class ReturnsText(DictStore):
    """Found by test_a_value_is_read_as_it_was_put."""

    async def get(self, scope, name):
        value = await super().get(scope, name)
        return value and value.decode("latin-1")


class ReturnsAView(DictStore):
    """Found by test_a_value_is_read_as_it_was_put."""

    async def get(self, scope, name):
        value = await super().get(scope, name)
        return value and bytearray(value)


class StripsLines(DictStore):
    """Found by test_a_value_is_read_as_it_was_put."""

    async def put(self, scope, name, value, ttl, owner=None):
        return await super().put(scope, name, value.strip(), ttl, owner)


class TakesEmptyForNone(DictStore):
    """Found by test_a_value_is_read_as_it_was_put."""

    async def get(self, scope, name):
        return await super().get(scope, name) or None


class SaysNothingOfPuts(DictStore):
    """Found by test_a_value_is_read_as_it_was_put."""

    async def put(self, *arguments):
        await super().put(*arguments)


class IgnoresCase(DictStore):
    """Found by test_any_bytes_under_any_name."""

    def __init__(self, place, clock):
        super().__init__(place, clock)
        self.values = place.setdefault("folded", Folded())


class Folded(dict):
    def __setitem__(self, place, value):
        super().__setitem__((place[0], place[1].lower()), value)

    def get(self, place, default=None):
        return super().get((place[0], place[1].lower()), default)


class CutsNames(DictStore):
    """Found by test_any_bytes_under_any_name."""

    async def get(self, scope, name):
        return await super().get(scope, name[:255])

    async def put(self, scope, name, *arguments):
        return await super().put(scope, name[:255], *arguments)


class RaisesOnAMiss(DictStore):
    """Found by:
    test_where_nothing_was_put_there_is_none
    test_many_callers_of_several_clients_get_one_answer
    """

    async def get(self, scope, name):
        return self.values[scope, name][0]


class ReturnsWhatIsThere(DictStore):
    """Found by test_what_is_no_value_is_none."""


class KeepsTheFirst(DictStore):
    """Found by:
    test_a_put_replaces_an_older_value
    test_garbage_is_a_miss
    """

    async def put(self, scope, name, value, ttl, owner=None):
        there = await self.get(scope, name)
        return await super().put(scope, name, value if there is None else there, ttl, owner)


class RemembersWhatItRead(DictStore):
    """Found by test_a_put_replaces_an_older_value."""

    def __init__(self, place, clock):
        super().__init__(place, clock)
        self.read = {}

    async def get(self, scope, name):
        if (scope, name) not in self.read:
            self.read[scope, name] = await super().get(scope, name)
        return self.read[scope, name]

    async def put(self, scope, name, *arguments):
        self.read.pop((scope, name), None)
        return await super().put(scope, name, *arguments)


class NeverExpires(DictStore):
    """Found by:
    test_a_value_lasts_for_its_ttl
    test_the_last_ttl_counts
    """

    async def get(self, scope, name):
        return self.values.get((scope, name), (None,))[0]


class ExpiresAtOnce(DictStore):
    """Found by test_a_value_lasts_for_its_ttl."""

    async def put(self, scope, name, value, ttl, owner=None):
        return await super().put(scope, name, value, ttl / 2, owner)


class LivesOnWhenRead(DictStore):
    """Found by test_a_value_lasts_for_its_ttl."""

    async def get(self, scope, name):
        value = await super().get(scope, name)
        if value is not None:
            self.values[scope, name] = value, self.clock() + 1
        return value


class TakesYearsForADate(DictStore):
    """Found by test_a_value_lasts_for_its_ttl."""

    async def put(self, scope, name, value, ttl, owner=None):
        if ttl > 30 * 86_400:  # as memcached does
            ttl -= self.clock()
        return await super().put(scope, name, value, ttl, owner)


class ExpiresWithoutAnOwnerOnly(DictStore):
    """Found by test_a_value_lasts_for_its_ttl."""

    async def put(self, scope, name, value, ttl, owner=None):
        return await super().put(scope, name, value, ttl if owner is None else 1e9, owner)


class KeepsTheFirstEnd(DictStore):
    """Found by test_the_last_ttl_counts."""

    async def put(self, scope, name, value, ttl, owner=None):
        _, end = self.values.get((scope, name), (None, self.clock() + ttl))
        return await super().put(scope, name, value, end - self.clock(), owner)


class IgnoresScopes(DictStore):
    """Found by:
    test_scopes_share_nothing
    test_another_credential_reads_nothing
    """

    async def get(self, scope, name):
        return await super().get("", name)

    async def put(self, scope, name, *arguments):
        return await super().put("", name, *arguments)

    async def acquire(self, scope, name, *arguments, **options):
        return await super().acquire("", name, *arguments, **options)


class JoinsScopeAndName(DictStore):
    """Found by test_scopes_share_nothing."""

    async def get(self, scope, name):
        return await super().get("", scope + name)

    async def put(self, scope, name, value, ttl, owner=None):
        return await super().put("", scope + name, value, ttl)

    async def names(self, scope):
        return [name.removeprefix(scope) for name in await super().names("") if name.startswith(scope)]


class TellsAllNames(DictStore):
    """Found by:
    test_scopes_share_nothing
    test_names_are_those_with_a_value_or_a_lease
    """

    async def names(self, scope):
        return [name for _, name in {**self.values, **self.leases}]


class MissesWhatItDeletes(DictStore):
    """Found by test_what_is_deleted_is_gone_and_the_rest_stays."""

    async def delete(self, scope, names):
        for name in names:
            del self.values[scope, name]


class CountsWhatItDeletes(DictStore):
    """Found by test_what_is_deleted_is_gone_and_the_rest_stays."""

    async def delete(self, scope, names):
        if len(names):
            await super().delete(scope, names)


class DeletesNothing(DictStore):
    """Found by:
    test_what_is_deleted_is_gone_and_the_rest_stays
    test_an_invalidation_empties_the_store
    """

    async def delete(self, scope, names):
        pass


class PutsLate(DictStore):
    """Found by test_a_delete_reaches_a_put_that_has_not_returned."""

    async def put(self, scope, name, value, ttl, owner=None):
        if owner is not None and self.look(self.leases, scope, name) != owner:
            return False
        self.leases.pop((scope, name), None)
        for _ in range(3):
            await asyncio.sleep(0)
        return await super().put(scope, name, value, ttl)


class CutsLargeValues(DictStore):
    """Found by test_a_large_value_is_stored_whole_or_not_at_all."""

    async def put(self, scope, name, value, ttl, owner=None):
        return await super().put(scope, name, value[: 2**20], ttl, owner)


class SaysItStoredLargeValues(DictStore):
    """Found by test_a_large_value_is_stored_whole_or_not_at_all."""

    async def put(self, scope, name, value, *arguments):
        return len(value) > 2**20 or await super().put(scope, name, value, *arguments)


class MixesCallsUp(DictStore):
    """Found by test_many_calls_at_once_are_kept_apart."""

    async def get(self, scope, name):
        self.asked = scope, name
        await asyncio.sleep(0)
        return await super().get(*self.asked)


class ListsAThousand(DictStore):
    """Found by test_there_may_be_many_values."""

    async def names(self, scope):
        return (await super().names(scope))[:1000]


class DeletesAHundred(DictStore):
    """Found by test_there_may_be_many_values."""

    async def delete(self, scope, names):
        await super().delete(scope, list(names)[:100])


class WritesInParts(DictStore):
    """Found by test_readers_never_see_parts_of_values."""

    async def put(self, scope, name, value, ttl, owner=None):
        await super().put(scope, name, value[:10], ttl)
        await asyncio.sleep(0)
        return await super().put(scope, name, value, ttl, owner)


class Locked(DictStore):
    """Its calls do not free what they take if they are cancelled."""

    busy = False

    async def take(self):
        while self.busy:
            await asyncio.sleep(0.001)
        self.busy = True
        await asyncio.sleep(0)
        self.busy = False


class LeavesItsLock(Locked):
    """Found by test_a_cancelled_call_breaks_nothing."""

    async def get(self, scope, name):
        await self.take()
        return await super().get(scope, name)


class LeavesTheLockOfLeases(Locked):
    """Found by test_a_cancelled_call_on_a_lease_breaks_nothing."""

    async def acquire(self, *arguments, **options):
        await self.take()
        return await super().acquire(*arguments, **options)


class LosesAllWhenItEnds(DictStore):
    """Found by:
    test_values_outlast_the_store
    test_another_client_answers_from_the_store
    """

    def __init__(self, place, clock):
        super().__init__({}, clock)


class HangsInAnotherLoop(DictStore):
    """Found by test_another_event_loop_is_served_or_refused."""

    loop = None

    async def get(self, scope, name):
        self.loop = self.loop or asyncio.get_running_loop()
        answer = asyncio.get_running_loop().create_future()
        self.loop.call_soon(answer.set_result, await super().get(scope, name))
        return await answer


class HasLeasesUnawares(DictStore):
    """Found by test_a_store_with_leases_has_its_own_contract."""


class Closable(DictStore):
    closed = False

    async def aclose(self):
        self.closed = True

    def look(self, table, scope, name):
        if self.closed:
            raise RuntimeError("the store is closed")
        return super().look(table, scope, name)

    async def names(self, scope):
        self.look({}, scope, "")
        return await super().names(scope)

    async def delete(self, scope, names):
        self.look({}, scope, "")
        await super().delete(scope, names)

    async def put(self, scope, name, *arguments):
        self.look({}, scope, name)
        return await super().put(scope, name, *arguments)

    async def acquire(self, scope, name, *arguments, **options):
        self.look({}, scope, name)
        return await super().acquire(scope, name, *arguments, **options)


class ClosesOnce(Closable):
    """Found by test_closing_it_again_is_no_error."""

    async def aclose(self):
        if self.closed:
            raise RuntimeError("the store is closed")
        await super().aclose()


class ReadsWhenClosed(Closable):
    """Found by test_a_closed_store_refuses_every_call."""

    async def get(self, scope, name):
        return await DictStore(self.__dict__, self.clock).get(scope, name)


class PutsWhenClosed(Closable):
    """Found by test_a_closed_store_refuses_every_call."""

    async def put(self, scope, name, value, ttl, owner=None):
        if owner is None:
            return await DictStore(self.__dict__, self.clock).put(scope, name, value, ttl)
        return await super().put(scope, name, value, ttl, owner)


class WaitsWhenClosed(Closable):
    """Found by test_closing_ends_the_calls_that_run."""

    async def wait(self, scope, name, timeout):
        self.look(self.leases, scope, name)
        await asyncio.sleep(timeout)


class HangsWhenClosed(Closable):
    """Found by test_a_closed_store_fails_no_call."""

    timeout = 600.0

    async def get(self, scope, name):
        while self.closed:
            await asyncio.sleep(1)
        return await super().get(scope, name)


class HangsForLong(DictStore):
    """Found by test_a_store_that_fails_fails_no_call."""

    timeout = 600.0

    async def names(self, scope):
        await asyncio.sleep(self.timeout)


class GivesTheLeaseToAll(DictStore):
    """Found by:
    test_one_owner_has_the_lease
    test_one_client_fetches_and_the_others_wait
    """

    async def acquire(self, scope, name, owner, lease, *, force=False):
        return await super().acquire(scope, name, owner, lease, force=True)


class RefusesItsOwner(DictStore):
    """Found by test_one_owner_has_the_lease."""

    async def acquire(self, scope, name, owner, lease, *, force=False):
        if not force and self.look(self.leases, scope, name) is not None:
            return False
        return await super().acquire(scope, name, owner, lease, force=True)


class LeasesTheValue(DictStore):
    """Found by test_a_put_of_its_owner_ends_the_lease."""

    async def acquire(self, scope, name, *arguments, **options):
        given = await super().acquire(scope, name, *arguments, **options)
        if given:
            self.values.pop((scope, name), None)
        return given


class ReleasesTheValue(DictStore):
    """Found by test_a_lease_changes_no_value."""

    async def release(self, scope, name, owner):
        if self.look(self.leases, scope, name) == owner:
            await self.delete(scope, [name])


class HasOneEndForBoth(DictStore):
    """Found by test_a_lease_changes_no_value."""

    async def acquire(self, scope, name, owner, lease, *, force=False):
        given = await super().acquire(scope, name, owner, lease, force=force)
        if given and (scope, name) in self.values:
            self.values[scope, name] = self.values[scope, name][0], self.clock() + lease
        return given


class LosesTheValueWithTheLease(DictStore):
    """Found by test_a_lease_changes_no_value."""

    def look(self, table, scope, name):
        is_led = table is self.leases and (scope, name) in table
        there = super().look(table, scope, name)
        if is_led and there is None:
            self.values.pop((scope, name), None)
        return there


class PutsTheLeaseWithTheValues(DictStore):
    """Found by test_one_owner_has_the_lease."""

    async def acquire(self, scope, name, *arguments, **options):
        given = await super().acquire(scope, name, *arguments, **options)
        if given:
            self.values.setdefault((scope, name), (b"", self.clock() + 60))
        return given


class DoesNotProlongWhenAskedAgain(DictStore):
    """Found by test_asking_again_prolongs_the_lease."""

    async def acquire(self, scope, name, owner, lease, *, force=False):
        has_it = self.look(self.leases, scope, name) == owner
        return has_it or await super().acquire(scope, name, owner, lease, force=force)


class LeasesNames(DictStore):
    """Found by test_each_name_of_each_scope_has_a_lease_of_its_own."""

    async def acquire(self, scope, name, *arguments, **options):
        return await super().acquire("", name, *arguments, **options)


class LocksOutItsOwnCallsOnly(DictStore):
    """Found by:
    test_of_many_at_once_one_gets_the_lease
    test_another_process_takes_or_ends_the_lease_meanwhile
    """

    def __init__(self, place, clock):
        super().__init__(place, clock)
        self.lock = asyncio.Lock()

    async def acquire(self, scope, name, owner, lease, *, force=False):
        async with self.lock:
            if not force and self.look(self.leases, scope, name) not in (None, owner):
                return False
            await asyncio.sleep(0)
            return await super().acquire(scope, name, owner, lease, force=True)

    async def put(self, scope, name, value, ttl, owner=None):
        async with self.lock:
            if owner is not None and self.look(self.leases, scope, name) != owner:
                return False
            await asyncio.sleep(0)
            if owner is not None:
                self.leases.pop((scope, name), None)
            return await super().put(scope, name, value, ttl)

    async def delete(self, scope, names):
        async with self.lock:
            await super().delete(scope, names)


class LooksBeforeItReleases(DictStore):
    """Found by test_another_process_takes_or_ends_the_lease_meanwhile."""

    async def release(self, scope, name, owner):
        if self.look(self.leases, scope, name) == owner:
            await asyncio.sleep(0)
            self.leases.pop((scope, name), None)


class LooksBeforeItRenews(DictStore):
    """Found by test_another_process_takes_or_ends_the_lease_meanwhile."""

    async def renew(self, scope, name, owner, lease):
        if self.look(self.leases, scope, name) != owner:
            return False
        await asyncio.sleep(0)
        return await self.acquire(scope, name, owner, lease, force=True)


class LooksBeforeItLeases(DictStore):
    """Found by test_of_many_at_once_one_gets_the_lease."""

    async def acquire(self, scope, name, owner, lease, *, force=False):
        if not force and self.look(self.leases, scope, name) not in (None, owner):
            return False
        await asyncio.sleep(0)
        return await super().acquire(scope, name, owner, lease, force=True)


class LeasesForEver(DictStore):
    """Found by test_a_lease_ends_by_itself."""

    async def acquire(self, scope, name, owner, lease, *, force=False):
        return await super().acquire(scope, name, owner, 1e9, force=force)


class BelievesOldOwners(DictStore):
    """Found by test_a_lease_that_has_ended_is_nobodys."""

    async def put(self, scope, name, value, ttl, owner=None):
        if owner is not None and self.leases.get((scope, name), (None,))[0] == owner:
            owner = None
        return await super().put(scope, name, value, ttl, owner)

    def look(self, table, scope, name):
        there, end = table.get((scope, name), (None, 0.0))
        return there if end > self.clock() else None


class RenewsForAnybody(DictStore):
    """Found by:
    test_a_lease_that_has_ended_is_nobodys
    test_a_renewed_lease_goes_on
    """

    async def renew(self, scope, name, owner, lease):
        return await self.acquire(scope, name, self.look(self.leases, scope, name) or owner, lease)


class RenewsNothing(DictStore):
    """Found by test_a_renewed_lease_goes_on."""

    async def renew(self, scope, name, owner, lease):
        return self.look(self.leases, scope, name) == owner


class DoesNotRenew(DictStore):
    """Found by test_a_renewed_lease_goes_on."""

    async def renew(self, scope, name, owner, lease):
        return False


class KnowsNoForce(DictStore):
    """Found by test_force_takes_the_lease."""

    async def acquire(self, scope, name, owner, lease, *, force=False):
        return await super().acquire(scope, name, owner, lease)


class DoesNotGuardWrites(DictStore):
    """Found by:
    test_a_put_of_a_stranger_is_refused
    test_a_lease_that_is_old_may_be_shared
    """

    async def put(self, scope, name, value, ttl, owner=None):
        return await super().put(scope, name, value, ttl)


class StoresWhatItRefuses(DictStore):
    """Found by test_a_put_of_a_stranger_is_refused."""

    async def put(self, scope, name, value, ttl, owner=None):
        await super().put(scope, name, value, ttl)
        return await super().put(scope, name, value, ttl, owner)


class KeepsTheLease(DictStore):
    """Found by test_a_put_of_its_owner_ends_the_lease."""

    async def put(self, scope, name, value, ttl, owner=None):
        lease = self.leases.get((scope, name))
        stored = await super().put(scope, name, value, ttl, owner)
        if lease:
            self.leases[scope, name] = lease
        return stored


class DemandsALease(DictStore):
    """Found by test_a_put_without_an_owner_needs_no_lease."""

    async def put(self, scope, name, value, ttl, owner=None):
        if owner is None and self.look(self.leases, scope, name) is not None:
            return False
        return await super().put(scope, name, value, ttl, owner)


class EndsEveryLease(DictStore):
    """Found by test_a_put_without_an_owner_needs_no_lease."""

    async def put(self, scope, name, value, ttl, owner=None):
        stored = await super().put(scope, name, value, ttl, owner)
        self.leases.pop((scope, name), None)
        return stored


class ReleasesForAnybody(DictStore):
    """Found by:
    test_its_owner_alone_releases_the_lease
    test_force_takes_the_lease
    """

    async def release(self, scope, name, owner):
        self.leases.pop((scope, name), None)


class ReleasesNothing(DictStore):
    """Found by:
    test_its_owner_alone_releases_the_lease
    test_another_client_takes_over
    test_a_lease_that_fails_fails_no_call
    """

    async def release(self, scope, name, owner):
        pass


class DeletesValuesOnly(DictStore):
    """Found by:
    test_a_delete_ends_the_lease
    test_an_invalidation_reaches_the_fetches_of_others
    """

    async def delete(self, scope, names):
        for name in names:
            self.values.pop((scope, name), None)


class TellsNamesTwice(DictStore):
    """Found by test_names_are_those_with_a_value_or_a_lease."""

    async def names(self, scope):
        return [name for table in (self.values, self.leases) for where, name in table if where == scope]


class TellsValuesOnly(DictStore):
    """Found by test_names_are_those_with_a_value_or_a_lease."""

    async def names(self, scope):
        return [name for where, name in self.values if where == scope]


class WaitsForNobody(DictStore):
    """Found by test_nobody_waits_where_there_is_no_lease."""

    async def wait(self, scope, name, timeout):
        await asyncio.sleep(timeout)


class WaitsForEver(DictStore):
    """Found by test_waiting_ends_at_its_timeout."""

    async def wait(self, scope, name, timeout):
        await super().wait(scope, name, 1e9)


class RaisesAtTheTimeout(DictStore):
    """Found by test_waiting_ends_at_its_timeout."""

    async def wait(self, scope, name, timeout):
        await super().wait(scope, name, timeout)
        if self.look(self.leases, scope, name) is not None:
            raise TimeoutError


class WakesNobody(DictStore):
    """Found by test_who_waits_is_woken."""

    async def wait(self, scope, name, timeout):
        _, end = self.leases.get((scope, name), (None, 0))
        await asyncio.sleep(min(timeout, end - self.clock()))


class WakesByEventsOnly(DictStore):
    """Found by test_nobody_waits_longer_than_a_lease_lasts."""

    async def wait(self, scope, name, timeout):
        with anyio.move_on_after(timeout):
            while (scope, name) in self.leases:
                await asyncio.sleep(0.01)


class WakesAll(DictStore):
    """Found by test_nothing_else_wakes_those_who_wait."""

    async def wait(self, scope, name, timeout):
        leases = len(self.leases)
        with anyio.move_on_after(timeout):
            while self.look(self.leases, scope, name) and len(self.leases) == leases:
                await asyncio.sleep(0)


class WakesAtOnce(DictStore):
    """Found by test_who_waits_is_woken."""

    async def wait(self, scope, name, timeout):
        pass


class SwallowsCancellations(DictStore):
    """Found by test_nothing_else_wakes_those_who_wait."""

    async def wait(self, scope, name, timeout):
        try:
            await super().wait(scope, name, timeout)
        except asyncio.CancelledError:
            pass


class Patience:
    patience = 0.2

    @pytest.fixture
    def place(self):
        return {}

    @pytest.fixture
    def make_store(self, place, store_clock):
        return lambda: self.store(place, store_clock)

    @pytest.fixture
    def spoil(self, place):
        async def spoil(scope, name):
            place["values"][scope, name] = 17, time.time() + 1e9

        return spoil


for name, store in tuple(globals().items()):
    if tests := re.findall("test_[a-z_]+", getattr(store, "__doc__", None) or ""):
        contract = StoreContract if name == "HasLeasesUnawares" else LeasingStoreContract
        others = {test: None for test in dir(contract) if test.startswith("test_") and test not in tests}
        made = type(name, (Patience, contract), {"store": store, **others})
        globals()[f"Test{name}"] = pytest.mark.anyio(made)
'''
TOLD = re.compile(r'^class (\w+)\(\w+\):\n    """Found by(.+?)"""', re.MULTILINE | re.DOTALL)
FINDS = {store: re.findall(r"test_\w+", tests) for store, tests in TOLD.findall(BROKEN)}


@pytest.mark.long
def test_every_broken_store_is_found_by_the_test_of_its_duty(tmp_path: Path) -> None:
    (tmp_path / "dict_store.py").write_text(files_of("stores.md")["dict_store.py"])
    (tmp_path / "test_broken.py").write_text(BROKEN)
    outcome = run(tmp_path, "-p", "no:asyncio", "-rA", "--tb=no")
    verdicts = re.findall(r"^([A-Z]+) test_broken\.py::Test(\w+)::(\w+)", outcome.stdout, re.MULTILINE)
    found = {(store, test) for verdict, store, test in verdicts if verdict == "FAILED"}
    assert found == {(store, test) for store, tests in FINDS.items() for test in tests}, outcome.stdout
    assert {verdict for verdict, *_ in verdicts} == {"FAILED", "PASSED"}, "some values, calls or moments pass"


def test_each_test_of_the_contract_finds_a_broken_store() -> None:
    contract = {name for name in dir(LeasingStoreContract) if name.startswith("test_")}
    assert {test for tests in FINDS.values() for test in tests} == contract
