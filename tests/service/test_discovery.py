"""An account's instances: looked up, chosen and ordered as the official client does."""

import asyncio
import json
import logging
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from qrbackends import (
    Account,
    AccountError,
    BodyTooLarge,
    Client,
    ClientClosed,
    DecodeError,
    Forbidden,
    Instance,
    InstanceSearch,
    Limits,
    Memory,
    QRBackendsError,
    RateLimited,
    RetryPolicy,
    ServerError,
    ServiceUnavailable,
    SessionPool,
    Unauthorized,
)
from qrbackends.emulator import Emulator, Garbage, Hold, Redirect, Status, SyntheticFleet
from qrbackends.protocol.lengths import MOST_BYTES
from qrbackends.service import discovery as module
from qrbackends.service.instances import ServiceInstance, matching

from ..emulator.test_official_client import make, point_at
from ..internals import flights, parts
from ..waiting import until

pytestmark = pytest.mark.anyio

EVERY = InstanceSearch()
FLEET = SyntheticFleet({"alpha": 2, "beta": 2})


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    """Ten usable instances of five plans, and two without any backend."""
    async with Emulator(FLEET, instances=5, unusable_instances=1) as running:
        yield running


def client_of(emulator: Emulator, search: InstanceSearch = EVERY, **options: Any) -> Client:
    options.setdefault("retry", RetryPolicy(attempts=1))
    return Client(emulator.account(search=search), limits=Limits(failures=10**9), **options)


def searching(client: Client) -> bool:
    """Return whether the instances are being looked up, such as in the background."""
    return bool(flights(parts(client).discovery).under_way)


async def test_all_pages_are_read_and_each_plan_is_asked_for_once() -> None:
    async with (
        Emulator(FLEET, instances=125, unusable_instances=5) as emulator,
        client_of(emulator) as client,
    ):
        found = await client.instances()
        assert {one.instance.crn for one in found} == {one.crn for one in emulator.instances if one.usable}
        assert (len(found), emulator.count("search"), emulator.count("catalog")) == (250, 3, 5)
        assert await client.instances() is found
        assert emulator.count("search") == 3, "they are kept"


async def test_they_are_those_of_the_official_client_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Emulator(FLEET, instances=125, unusable_instances=5) as emulator:
        point_at(emulator, monkeypatch)
        monkeypatch.setattr(logging.getLogger("qiskit_ibm_runtime"), "disabled", True)

        def theirs() -> list[dict[str, Any]]:
            account = make(emulator, emulator.instances[0].crn)._account
            listed: list[dict[str, Any]] = account.list_instances()
            return listed

        listed = await asyncio.to_thread(theirs)
        prices = ["free", "trial", "paygo", "paid", "subscription", "unknown"]
        listed.sort(key=lambda one: prices.index(one["pricing_type"]))  # as the service object does
        async with client_of(emulator) as client:
            ours = [
                {
                    "crn": one.instance.crn,
                    "plan": one.plan,
                    "name": one.name,
                    "tags": list(one.tags),
                    "pricing_type": one.pricing,
                }
                for one in await client.instances()
            ]
        assert ours == listed
        assert len(ours) == 250


@pytest.mark.parametrize(
    ("search", "names"),
    [
        (InstanceSearch("emulated-eu-de-2"), ["emulated-eu-de-2"]),
        (InstanceSearch("emulated-eu-de-[23]"), ["emulated-eu-de-2", "emulated-eu-de-3"]),
        (InstanceSearch("*-1", regions=["us-east"]), ["emulated-us-east-1"]),
        (
            InstanceSearch(regions=["eu-de"]),
            [f"emulated-eu-de-{number}" for number in (1, 2, 4, 3, 5)],  # free, paygo, paid, subscription, ?
        ),
        (
            InstanceSearch(plans=["Premium", "open"]),
            ["emulated-us-east-3", "emulated-eu-de-3", "emulated-us-east-1", "emulated-eu-de-1"],
        ),
        (
            InstanceSearch(tags=["EMULATED", "batch:0"], plans=["flex"]),
            ["emulated-us-east-4", "emulated-eu-de-4"],
        ),
    ],
)
async def test_what_is_wanted_is_chosen(emulator: Emulator, search: InstanceSearch, names: list[str]) -> None:
    async with client_of(emulator, search) as client:
        assert [one.name for one in await client.instances()] == names
        listed = await client.backends()
        assert {one.instance for one in listed} == {
            one.crn for one in emulator.instances if one.name in names
        }


@pytest.mark.parametrize(
    "search",
    [
        InstanceSearch("nobody's"),
        InstanceSearch("*-1", regions=["mars"]),
        InstanceSearch("EMULATED-*"),
        InstanceSearch(regions=["mars"]),
        InstanceSearch(plans=["gold"]),
        InstanceSearch(tags=["emulated", "other"]),
    ],
)
async def test_where_nothing_matches_it_says_what_there_is(
    emulator: Emulator, search: InstanceSearch
) -> None:
    async with client_of(emulator, search) as client:
        for ask in (client.backends, client.instances):
            with pytest.raises(AccountError, match=r"it can see: emulated-us-east-1 \(us-east, open\), "):
                await ask()


@pytest.mark.parametrize(
    "search",
    [
        InstanceSearch(plans=["Open"], regions=["mars"]),
        InstanceSearch(tags=["EMULATED"], regions=["mars"]),
        InstanceSearch("emulated-us-east-*", regions=["mars"]),
        InstanceSearch("emulated-us-east-1", regions=["eu-de"]),
    ],
)
async def test_nobody_is_asked_whether_they_mean_what_they_said(
    emulator: Emulator, search: InstanceSearch
) -> None:
    async with client_of(emulator, search) as client:
        with pytest.raises(AccountError) as raised:
            await client.instances()
    assert "did you mean" not in str(raised.value)


async def test_an_instance_that_is_named_by_its_crn_can_be_searched_for(emulator: Emulator) -> None:
    wanted = next(one for one in emulator.instances if one.name == "emulated-eu-de-2")
    async with client_of(emulator, InstanceSearch(wanted.crn)) as client:
        assert [one.name for one in await client.instances()] == ["emulated-eu-de-2"]


def test_a_name_that_is_there_is_no_glob() -> None:
    crn = "crn:v1:bluemix:public:quantum-computing:us-east:a/A:"
    known = [ServiceInstance(Instance(f"{crn}{name[-1]}::"), name) for name in ("alpha", "[a]*", "[a]*b")]
    for name, chosen in (("[a]*", ["[a]*"]), ("[ab]*", ["alpha"]), ("[[]a]*", ["[a]*", "[a]*b"])):
        assert [one.name for one in matching(InstanceSearch(name), known)] == chosen


async def test_questions_find_their_instances(emulator: Emulator) -> None:
    async with client_of(emulator) as client:
        name = emulator.backends("eu-de")[0]
        assert (await client.properties(name)).backend_name == name
        assert (await client.status(name, instance="emulated-eu-de-4")).queue_length >= 0
        asked = [one.crn for one in emulator.requests if one.resource == "status"]
        assert asked == [next(one.crn for one in emulator.instances if one.name == "emulated-eu-de-4")]
        with pytest.raises(AccountError, match="is none of the account's instances; there are emulated-"):
            await client.status(name, instance="nobody's")
        with pytest.raises(AccountError, match="did you mean emulated-eu-de-4"):
            await client.status(name, instance="emulated-eude-4")
        assert await client.invalidate(backend=name) == 1
        assert (emulator.count("search"), emulator.count("token")) == (1, 1)


async def test_an_account_that_names_its_instances_learns_their_names_and_asks_no_others(
    emulator: Emulator,
) -> None:
    second = emulator.instances[1]
    elsewhere = Instance("crn:v1:bluemix:public:quantum-computing:us-east:a/b:c::", url="http://127.0.0.1:1")
    named = Instance(second.crn, url=emulator.url(second.region))
    account = emulator.account()
    account = Account(
        api_key=account.api_key,
        instances=[named, elsewhere],
        iam_url=account.iam_url,
        search_url=account.search_url,
        catalog_url=account.catalog_url,
    )
    async with Client(account) as client:
        await client.status(emulator.backends(second.region)[0], instance=named)
        assert emulator.count("search") == 0, "nobody asked for it"
        known, unknown = await client.instances()
    assert (known.instance, known.name, known.plan) == (named, second.name, second.plan.name.lower())
    assert (unknown.instance, unknown.name, unknown.plan, unknown.tags) == (elsewhere, "", "unknown", ())


async def test_an_instance_that_may_not_be_listed_is_reported(emulator: Emulator) -> None:
    emulator.fault(Status(403), resource="backends", region="us-east", times=None)
    async with client_of(emulator) as client:
        fleet = await client.backends()
    assert {one.region for one in fleet} == {"eu-de"}
    assert [type(error) for error in fleet.errors] == [Forbidden] * 5


# --- in trouble


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Status(500), ServerError),
        (Status(403), Forbidden),
        (Status(401), Unauthorized),
        (Garbage(b"[]"), DecodeError),
        (Garbage(b'{"items": [{"name": "x"}]}'), DecodeError),
        (Garbage(b"[" * 100_000), DecodeError),
        (Redirect("http://127.0.0.1:1/"), QRBackendsError),
    ],
)
async def test_a_search_that_fails_is_told(
    emulator: Emulator, fault: Any, expected: type[QRBackendsError]
) -> None:
    emulator.fault(fault, resource="search", times=None)
    async with client_of(emulator) as client:
        with pytest.raises(expected) as caught:
            await client.backends()
        assert not isinstance(caught.value, AccountError)
        emulator.clear_faults()
        assert len(await client.instances()) == 10, "it is tried again"


async def test_a_search_that_stumbles_is_sent_again(emulator: Emulator) -> None:
    for fault in (Status(503), Garbage(b"{")):
        emulator.fault(fault, resource="search")
    async with client_of(emulator, retry=RetryPolicy(base=0.0)) as client:
        assert len(await client.instances()) == 10
    assert emulator.count("search") == 3


async def test_a_catalog_that_fails_leaves_plans_unknown(emulator: Emulator) -> None:
    emulator.fault(Status(500), resource="catalog", times=None)
    async with client_of(emulator) as client:
        found = await client.instances()
    assert len(found) == 10
    assert {(one.plan, one.pricing) for one in found} == {("unknown", "unknown")}


async def test_what_is_no_instance_hides_no_other(emulator: Emulator) -> None:
    crn = emulator.instances[0].crn
    items = (
        f'{{"crn": "{crn}", "doc": {{"extensions": {{"a": 1}}}}, "tags": null, "name": "a\\u001b[2Jb"}}',
        '{"crn": "crn:v1:evil", "doc": {"extensions": {"a": 1}}}',
        '{"crn": "x", "doc": null}',
    )
    emulator.fault(Garbage(f'{{"items": [{", ".join(items)}]}}'.encode()), resource="search")
    async with client_of(emulator) as client:
        (found,) = await client.instances()
    assert found.instance.crn == crn
    assert found.name == "a [2Jb"


async def test_pages_without_end_come_to_one(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator.fault(Garbage(b'{"items": [], "search_cursor": "same"}'), resource="search", times=None)
    async with client_of(emulator) as client:
        with pytest.raises(AccountError):
            await client.instances()
    assert emulator.count("search") == 2, "a cursor that does not move is the end"
    monkeypatch.setattr(module, "_MOST_PAGES", 3)
    emulator.clear_faults()
    emulator.reset_log()
    for number in range(5):
        page = f'{{"items": [], "search_cursor": "{number}é"}}'.encode()
        emulator.fault(Garbage(page), resource="search")
    async with client_of(emulator) as client:
        with pytest.raises(DecodeError, match="more than 3 pages"):
            await client.instances()
    assert emulator.count("search") == 3


def page_of(crn: str | None, cursor: str | None) -> Garbage:
    """Return a page of Global Search with one usable instance, or none."""
    items = f'{{"crn": "{crn}", "doc": {{"extensions": {{"a": 1}}}}}}' if crn else ""
    more = f', "search_cursor": "{cursor}"' if cursor is not None else ""
    return Garbage(f'{{"items": [{items}]{more}}}'.encode())


async def test_cursors_that_go_round_are_the_end(emulator: Emulator) -> None:
    crns = [one.crn for one in emulator.instances if one.usable]
    for number in range(20):
        emulator.fault(page_of(crns[min(number, 2)], "abc"[number % 3]), resource="search")
    async with client_of(emulator) as client:
        assert {one.instance.crn for one in await client.instances()} == set(crns[:3])
    assert emulator.count("search") == 4


@pytest.mark.parametrize("same", [True, False])
async def test_pages_that_bring_nothing_new_are_not_read_for_ever(emulator: Emulator, same: bool) -> None:
    crn = emulator.instances[0].crn
    for number in range(20):
        emulator.fault(page_of(crn if same or not number else None, f"cursor {number}"), resource="search")
    async with client_of(emulator) as client:
        with pytest.raises(DecodeError, match="without a new instance"):
            await client.instances()
    assert emulator.count("search") == 6


async def test_an_empty_page_and_an_empty_cursor_lose_nothing(emulator: Emulator) -> None:
    crns = [one.crn for one in emulator.instances if one.usable]
    for crn, cursor in ((None, "a"), (crns[0], "b"), (None, "c"), (None, "d"), (crns[1], "")):
        emulator.fault(page_of(crn, cursor), resource="search")
    async with client_of(emulator) as client:
        assert {one.instance.crn for one in await client.instances()} == set(crns[:2])
    assert emulator.count("search") == 5


async def test_they_are_renewed_in_the_background_and_old_ones_do_while_they_cannot_be(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_FRESH", -1.0)
    monkeypatch.setattr(module, "_PAUSE", -1.0)
    async with client_of(emulator) as client:
        first = await client.instances()
        assert await client.instances() is first, "nobody waits for a renewal"
        await until(lambda: not searching(client))
        again = await client.instances()
        assert again == first
        assert again is not first
        await until(lambda: not searching(client))
        emulator.fault(Hold(), resource="search", times=None)
        known = await client.instances()
        assert (await client.status(emulator.backends()[0], timeout=20.0)).queue_length >= 0
        emulator.clear_faults()
        await until(lambda: not searching(client))
        emulator.fault(Status(503), resource="search", times=None)
        caplog.clear()
        for _ in range(3):
            assert await client.instances() == known
            await until(lambda: not searching(client))
        warnings = [one for one in caplog.records if one.levelno >= logging.WARNING]
        assert len([one for one in warnings if "could not be looked up" in one.message]) == 1, "once"


async def test_while_it_fails_it_is_not_asked_at_each_call(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(emulator) as client:
        await client.instances()
        monkeypatch.setattr(parts(client).discovery, "_renew_at", 0.0)
        emulator.fault(Status(503), resource="search", times=None)
        for _ in range(5):
            await client.instances()
            await until(lambda: not searching(client))
    assert emulator.count("search") == 2


@pytest.mark.parametrize(
    ("fault", "expected"), [(Status(403), Forbidden), (Garbage(b'{"items": []}'), AccountError)]
)
async def test_a_refusal_is_not_hidden_by_what_was_known(
    emulator: Emulator, fault: Any, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(emulator) as client:
        await client.instances()
        monkeypatch.setattr(parts(client).discovery, "_renew_at", 0.0)
        emulator.fault(fault, resource="search", times=None)
        assert len(await client.instances()) == 10
        await until(lambda: not searching(client))
        with pytest.raises(expected):
            await client.instances()


async def test_a_firewall_in_front_of_search_hides_nothing_that_was_known(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_of(emulator) as client:
        await client.instances()
        emulator.fault(Status(403, body="<title>Blocked</title>"), resource="search", times=None)
        for _ in range(2):
            monkeypatch.setattr(parts(client).discovery, "_renew_at", 0.0)
            assert len(await client.instances()) == 10
            await until(lambda: not searching(client))
        assert len(await client.instances()) == 10
    assert "Global Search answered with HTTP 403: Blocked" in caplog.text


async def test_what_is_cached_can_be_removed_when_nothing_can_be_looked_up(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = emulator.backends()[0]
    async with client_of(emulator) as client, client_of(emulator) as unknowing:
        await client.properties(name)
        await client.instances()
        emulator.fault(Status(403), resource="search", times=None)
        monkeypatch.setattr(parts(client).discovery, "_known", ())  # as after a look-up that was refused
        asked = emulator.count("search")
        assert await client.invalidate(backend=name) == 1
        assert await unknowing.invalidate(backend=name) == 0, "it has nothing"
        assert emulator.count("search") == asked, "in an outage it would wait"
    async with client_of(emulator, memory=Memory()) as sharing:
        with pytest.raises(Forbidden):
            await sharing.invalidate(backend=name)


async def test_instances_and_lists_have_one_deadline(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(emulator) as client:
        calls, made = parts(client).calls, list[float]()
        deadline = calls.deadline

        def noted(timeout: float | None = None) -> float:
            made.append(deadline(timeout))
            return made[-1]

        monkeypatch.setattr(calls, "deadline", noted)
        assert len((await client.backends()).errors) == 0
        assert (emulator.count("search"), emulator.count("backends")) == (1, 10)
    assert len(made) == 1


async def test_a_closed_client_tells_nothing(emulator: Emulator) -> None:
    async with client_of(emulator) as client:
        await client.instances()
    with pytest.raises(ClientClosed):
        await client.instances()


async def test_who_has_little_time_fails_nobody_else(emulator: Emulator) -> None:
    emulator.fault(Status(503), resource="search")
    async with client_of(emulator, retry=RetryPolicy(base=0.3)) as client:
        hasty = asyncio.create_task(client.instances(timeout=0.05))
        patient = asyncio.create_task(client.instances(timeout=60.0))
        await asyncio.wait({hasty, patient})
        assert len(await patient) == 10
        await asyncio.gather(hasty, return_exceptions=True)


async def test_plans_that_cannot_be_asked_for_are_asked_for_again_soon(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PLANS_TIMEOUT", 0.05)
    monkeypatch.setattr(module, "_PAUSE", -1.0)
    emulator.fault(Hold(), resource="catalog", times=None)
    async with client_of(emulator) as client:
        assert {one.plan for one in await client.instances()} == {"unknown"}
        emulator.clear_faults()
        monkeypatch.setattr(module, "_PLANS_TIMEOUT", 60.0)
        await client.instances()
        await until(lambda: not searching(client))
        assert len({one.plan for one in await client.instances()}) == 5


async def test_where_plans_are_wanted_a_catalog_that_fails_is_told(emulator: Emulator) -> None:
    emulator.fault(Status(500), resource="catalog", times=None)
    async with client_of(emulator, InstanceSearch(plans=["premium"])) as client:
        with pytest.raises(ServerError):
            await client.instances()


async def test_what_the_catalog_sends_is_fit_for_a_terminal_and_odd_parts_hide_no_others(
    emulator: Emulator,
) -> None:
    entry = b'{"overview_ui": {"en": {"display_name": "x\\u001b[2J\\nEVIL"}}, "metadata": {"pricing": 7}}'
    emulator.fault(Garbage(entry), resource="catalog", times=None)
    async with client_of(emulator) as client:
        (found, *_) = await client.instances()
    assert (found.plan, found.pricing) == ("x [2j evil", "unknown")


async def test_an_odd_item_hides_no_other(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    crn, second = (one.crn for one in emulator.instances[:2])
    items = (
        f'{{"crn": "{crn}", "doc": {{"extensions": {{"a": 1}}}}, "tags": ["a\\u0007b"]}}',
        '{"name": "x"}',
        '{"crn": "x", "tags": [1]}',
        '{"crn": "x", "doc": []}',
        "7",
        f'{{"crn": "{second}", "doc": {{"extensions": {{"a": 1}}}}, "name": 7, "tags": [1, "t"]}}',
    )
    emulator.fault(Garbage(f'{{"items": [{", ".join(items)}]}}'.encode()), resource="search")
    async with client_of(emulator) as client:
        found = await client.instances()
    assert {(one.instance.crn, one.name, one.tags) for one in found} == {
        (crn, "", ("a b",)),
        (second, "", ("t",)),  # an odd name or tag costs that part
    }
    assert caplog.text.count("not as it is documented") == 2


async def test_one_account_that_asks_too_often_holds_back_no_other() -> None:
    async with Emulator(FLEET, keys=2) as emulator, SessionPool() as pool:
        emulator.fault(Status(429, {"Retry-After": "60"}), resource="search")
        retry = RetryPolicy(attempts=1)
        first = Client(emulator.account(0, search=EVERY), pool=pool, retry=retry)
        second = Client(emulator.account(1, search=EVERY), pool=pool, retry=retry)
        async with first, second:
            with pytest.raises(RateLimited):
                await first.instances()
            assert len(await second.instances()) == 2


async def test_instances_that_change_while_a_backend_is_looked_for(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = emulator.fault(Hold(), resource="backends", times=None)
    async with client_of(emulator) as client:
        asking = asyncio.create_task(client.status(emulator.backends("eu-de")[0]))
        await held.reached()
        more = "crn:v1:bluemix:public:quantum-computing:us-east:a/b:c::"
        crns = [more, *(one.crn for one in emulator.instances if one.usable)]
        items = ", ".join(f'{{"crn": "{crn}", "doc": {{"extensions": {{"a": 1}}}}}}' for crn in crns)
        emulator.fault(Garbage(f'{{"items": [{items}]}}'.encode()), resource="search")
        monkeypatch.setattr(parts(client).discovery, "_renew_at", 0.0)
        await client.instances()
        await until(lambda: not searching(client))
        directory = parts(client).directory
        assert more in {one.crn for one in await directory.instances()}
        emulator.clear_faults()
        assert (await asking).queue_length >= 0


async def test_many_callers_cost_one_search(emulator: Emulator) -> None:
    async with client_of(emulator) as client:
        await asyncio.gather(*(client.backends() for _ in range(50)))
    assert emulator.count("search") == 1


async def test_who_may_see_nothing_is_told_so(emulator: Emulator) -> None:
    emulator.fault(Garbage(b'{"items": []}'), resource="search")
    async with client_of(emulator) as client:
        with pytest.raises(AccountError, match="no instance with any at all; it can see: none"):
            await client.backends()


@pytest.mark.parametrize(
    "wrong",
    [
        {"regions": "eu-de"},
        {"plans": [1]},
        {"tags": "x"},
        {"cloud_url": "nowhere"},
        {"endpoints": {"eu-de": "http://user:pw@x"}},
    ],
)
def test_a_search_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(AccountError):
        InstanceSearch(**wrong)


def test_where_instances_and_iam_are() -> None:
    crn = "crn:v1:bluemix:public:quantum-computing:eu-de:a/account:guid::"
    assert InstanceSearch().instance(crn) == Instance(crn)
    private = InstanceSearch(cloud_url="https://c.test", private_endpoint=True)
    assert private.instance(crn).base_url == "https://private.eu-de.quantum.c.test/api/v1"
    assert Account(api_key="key-number-1", search=private).iam == "https://private.iam.c.test"
    own = InstanceSearch(endpoints={"eu-de": "http://127.0.0.1:7/api/v1/"})
    assert own.instance(crn).base_url == "http://127.0.0.1:7/api/v1"
    with pytest.raises(AccountError, match="search has to be an InstanceSearch"):
        Account(api_key="key-number-1", search="auto")  # type: ignore[arg-type]


async def test_unavailable_is_what_it_is_called(emulator: Emulator) -> None:
    emulator.fault(Status(503, {"Retry-After": "60"}), resource="search", times=None)
    async with client_of(emulator) as client:
        with pytest.raises(ServiceUnavailable, match="Global Search answered with HTTP 503"):
            await client.properties("alpha", timeout=5.0)


DENSE = [b"{}", b"[]", b'{"a":0}', b"[[[[[[[[0]]]]]]]]", b"0", b'"a"']


@pytest.mark.parametrize("element", DENSE)
@pytest.mark.parametrize("around", ['{"items": [{"crn": "x", "doc": [%s]}]}', '{"items": [%s]}'])
async def test_no_page_of_the_search_fills_the_memory(
    emulator: Emulator, element: bytes, around: str
) -> None:
    body = (around % "@").encode().replace(b"@", b",".join([element] * (300_000 // len(element))))
    emulator.fault(Garbage(body), resource="search", times=None)
    async with client_of(emulator) as client:
        tracemalloc.start()
        try:
            with pytest.raises((AccountError, DecodeError)):
                await client.instances()
            assert tracemalloc.get_traced_memory()[1] < 40 * len(body) + 1_000_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("element", DENSE)
async def test_no_entry_of_the_catalog_fills_the_memory(emulator: Emulator, element: bytes) -> None:
    body = b'{"metadata": {"x": [%s], "pricing": {"type": "Free"}}}'
    body %= b",".join([element] * (300_000 // len(element)))
    emulator.fault(Garbage(body), resource="catalog", times=None)
    async with client_of(emulator) as client:
        tracemalloc.start()
        try:
            (found, *_) = await client.instances()
            assert tracemalloc.get_traced_memory()[1] < 10 * len(body) + 1_000_000
        finally:
            tracemalloc.stop()
    assert (found.plan, found.pricing) == ("unknown", "free")


@pytest.mark.parametrize("long", ["name", "cursor"])
async def test_the_pages_of_the_search_are_limited_together(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, long: str
) -> None:
    monkeypatch.setattr(module, "_MOST_SEARCHED", 10_000)
    crn = emulator.instances[0].crn
    # Each page names another instance: pages that bring nothing new have a limit of their own.
    for number in range(20):
        texts = {"name": "", "cursor": ""} | {long: "x" * 1000}
        item = {"crn": crn.replace("::", f"-{number}::"), "name": texts["name"]}
        page = {"items": [item], "search_cursor": f"{texts['cursor']}{number}"}
        emulator.fault(Garbage(json.dumps(page).encode()), resource="search")
    async with client_of(emulator) as client:
        with pytest.raises(DecodeError, match="more than 10000 bytes"):
            await client.instances()


async def test_a_long_answer_of_the_search_or_the_catalog_is_not_read(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MOST_BYTES, "search", 100)
    async with client_of(emulator) as client:
        with pytest.raises(BodyTooLarge, match="limit of 100 bytes"):
            await client.instances()


@pytest.mark.parametrize(
    ("extensions", "usable"),
    [("{}", False), ("[ ]", False), ("null", False), ('{"a": null}', True), ("[0]", True), ('"x"', True)],
)
async def test_an_instance_without_extensions_is_left_out(
    emulator: Emulator, extensions: str, usable: bool
) -> None:
    crn = emulator.instances[0].crn
    page = f'{{"items": [{{"crn": "{crn}", "doc": {{"extensions": {extensions} }}}}]}}'
    emulator.fault(Garbage(page.encode()), resource="search")
    async with client_of(emulator) as client:
        if usable:
            assert len(await client.instances()) == 1
        else:
            with pytest.raises(AccountError, match="no instance"):
                await client.instances()
