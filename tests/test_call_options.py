"""What each call takes: `instance`, `refresh` and `timeout`, views with other defaults, entries for names."""

import dataclasses
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from qrbackends import (
    Account,
    AccountError,
    CachePolicy,
    Client,
    ClientClosed,
    FileStore,
    Instance,
    InstanceSearch,
    InvalidRequest,
    Limits,
    NotFound,
    Request,
    RetryPolicy,
    ServiceUnavailable,
    Timeout,
)
from qrbackends.emulator import Emulator, Hold, Status, SyntheticFleet
from qrbackends.protocol.requests import cached_request

from .test_readme import run

pytestmark = pytest.mark.anyio

PATIENT = Limits(failures=10**9)  # no region is left alone
DAY = timedelta(days=1)
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    """One backend in each of two regions, each of which two instances list."""
    async with Emulator(SyntheticFleet({"alpha": 2, "beta": 2}), instances=2) as running:
        yield running


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[Client]:
    async with Client(emulator.account(), limits=PATIENT, retry=RetryPolicy(base=0.0)) as opened:
        yield opened


@pytest.fixture
def crn(emulator: Emulator) -> str:
    """The second instance of the first region, which is never the one that is asked by itself."""
    return [one.crn for one in emulator.instances if one.region == "us-east"][1]


async def items(stream: Any) -> list[Any]:
    return [one async for one in stream]


async def first(stream: Any) -> Any:
    async with stream as opened:
        async for one in opened:
            return one
    return None


CALLS: dict[str, Callable[..., Awaitable[Any]]] = {
    "backends": lambda client, **how: client.backends(**how),
    "configuration": lambda client, **how: client.configuration("alpha", **how),
    "properties": lambda client, **how: client.properties("alpha", **how),
    "status": lambda client, **how: client.status("alpha", **how),
    "fetch": lambda client, **how: client.fetch(Request.properties("alpha"), **how),
    "least_busy": lambda client, **how: client.least_busy(**how),
    "rank": lambda client, **how: client.rank("qubits", **how),
    "snapshot": lambda client, **how: items(client.snapshot(["properties"], **how)),
    "history": lambda client, **how: items(client.history("alpha", NOON - DAY, NOON, every=DAY, **how)),
}
"""A call of each method that reads, and takes all three."""

OTHERS = {  # why not: what each of them is about
    "defaults": {"instance", "refresh", "timeout"},  # the devices here have none
    "instances": {"refresh", "timeout"},  # it is about all of them
    "addresses": {"refresh", "timeout"},
    "versions": {"instance", "timeout"},  # which are never cached
    "watch": {"instance"},  # it has no end, and asks the service at each poll
    "wait_for": {"instance", "timeout"},
    "wait_for_recalibration": {"instance", "timeout"},
}


@pytest.mark.parametrize("method", [*CALLS, *OTHERS])
def test_each_method_that_reads_takes_what_makes_sense(method: str) -> None:
    taken = inspect.signature(getattr(Client, method)).parameters
    expected = OTHERS.get(method, {"instance", "refresh", "timeout"})
    assert {"instance", "refresh", "timeout"} & set(taken) == expected
    for name in expected:
        assert taken[name].kind is inspect.Parameter.KEYWORD_ONLY
    assert not {"backend_id", "name", "id"} & set(taken), "a backend has one word"


@pytest.mark.parametrize("method", CALLS)
async def test_only_the_instance_that_is_named_is_asked(
    emulator: Emulator, client: Client, crn: str, method: str
) -> None:
    await CALLS[method](client, instance=crn)
    asked = {one.crn for one in emulator.requests if one.resource not in ("token", "search", "catalog")}
    assert asked == {crn}


@pytest.mark.parametrize("method", CALLS)
async def test_a_refresh_asks_the_service(emulator: Emulator, method: str, tmp_path: Path) -> None:
    resources = {"status": "status", "configuration": "configuration"}
    resources |= dict.fromkeys(("backends", "least_busy", "rank"), "backends")
    resource = resources.get(method, "properties")
    # A store keeps what histories have read, and this policy statuses, too.
    async with (
        FileStore(tmp_path / "kept.db") as store,
        Client(emulator.account(), store=store, cache=CachePolicy(status=60)) as client,
    ):
        await CALLS[method](client)
        emulator.reset_log()
        await CALLS[method](client)
        kept = emulator.count(resource)
        assert kept == (method == "history"), "it always looks for the newest calibration"
        await CALLS[method](client, refresh=True)
        assert emulator.count(resource) > 2 * kept


@pytest.mark.parametrize("method", CALLS)
async def test_a_timeout_ends_the_call(emulator: Emulator, client: Client, method: str) -> None:
    await client.backends()
    emulator.fault(Hold(), times=None)
    with pytest.raises(Timeout):
        await CALLS[method](client, refresh=True, timeout=0.05)


async def test_the_timeout_of_a_snapshot_is_that_of_each_document(emulator: Emulator, client: Client) -> None:
    emulator.fault(Hold(), resource="properties", backend="beta", times=None)
    found = await client.snapshot(["properties", "status"], timeout=0.5).collect()
    late = [(name, item.resource) for name, some in found.items() for item in some.values() if item.error]
    assert late == [("beta", "properties")]
    assert isinstance(found["beta"]["properties"].error, Timeout)


async def test_looking_up_instances_again(emulator: Emulator) -> None:
    async with Client(emulator.account(search=InstanceSearch())) as client:
        known = await client.instances()
        assert await client.instances() is known
        assert emulator.count("search") == 1
        again = await client.instances(refresh=True)
        assert again == known
        assert emulator.count("search") == 2
        assert set(await client.addresses(refresh=True)) == {one.instance.crn for one in known}
        assert emulator.count("search") == 3
        emulator.fault(Hold(), times=None)
        for method in (client.instances, client.addresses):
            with pytest.raises(Timeout):
                await method(refresh=True, timeout=0.05)


async def test_the_versions_of_one_instance_s_service(emulator: Emulator, client: Client) -> None:
    await client.versions()
    abroad = [one.crn for one in emulator.instances if one.region == "eu-de"][1]
    await client.versions(instance=abroad)
    regions = [one.region for one in emulator.requests if one.resource == "versions"]
    assert regions == ["us-east", "eu-de"]
    with pytest.raises(AccountError):
        await client.versions(instance="crn:v1:bluemix:public:quantum-computing:eu-de:a/1:2::")


# --- watching one instance


async def test_a_watch_of_one_instance_asks_and_tells_of_this_one(
    emulator: Emulator, client: Client, crn: str
) -> None:
    change = await first(client.watch(interval=60, instance=crn))
    assert (change.kind, change.backend, change.instance) == ("present", "alpha", crn)
    assert {one.crn for one in emulator.requests if one.resource == "backends"} == {crn}
    found = await client.wait_for("alpha", lambda one: one.online, instance=crn, timeout=30)
    assert found.instance == crn
    with pytest.raises(Timeout):
        await client.wait_for("beta", lambda one: one.online, instance=crn, timeout=0.2, interval=0.05)
    with pytest.raises(Timeout):
        await client.wait_for_recalibration("alpha", instance=crn, timeout=0.2, interval=0.05)


async def test_a_watch_of_all_joins_one_of_an_instance(emulator: Emulator, client: Client, crn: str) -> None:
    told: set[tuple[str | None, str | None]] = set()
    async with client.watch(interval=600, instance=crn) as one, client.watch(interval=600) as every:
        assert (await anext(one)).instance == crn
        emulator.reset_log()
        with anyio.fail_after(30):  # seconds, and not the ten minutes until the next poll
            while len(told) < 2:
                change = await anext(every)
                told.add((change.kind, change.backend))
        assert told == {("present", "alpha"), ("present", "beta")}
        assert emulator.count("backends") == 4, "each instance once, at once"


async def test_an_instance_that_fails_is_told_to_those_who_watch_it(
    emulator: Emulator, client: Client, crn: str
) -> None:
    await emulator.stop_region("us-east")
    once = client.with_options(retry=RetryPolicy(attempts=1))
    change = await first(once.watch(interval=60, instance=crn))
    assert (change.kind, change.instance) == ("failed", crn)
    abroad = next(one.crn for one in emulator.instances if one.region == "eu-de")
    change = await first(once.watch(interval=60, instance=abroad))
    assert (change.kind, change.instance) == ("present", abroad)


# --- views


async def test_a_view_shares_everything_with_its_client(emulator: Emulator, client: Client) -> None:
    view = client.with_options(timeout=20)
    assert type(view) is Client
    known = await client.properties("alpha")
    emulator.reset_log()
    assert await view.properties("alpha") is known
    assert emulator.count() == 0
    assert await view.invalidate(backend="alpha") == 1
    await client.properties("alpha")
    assert emulator.count("properties") == 1
    assert view.stats() == client.stats()
    async with client.watch(interval=600) as one, view.watch(interval=600) as other:
        emulator.reset_log()
        await anext(one)
        await anext(other)
        assert emulator.count("backends") == 4, "one poll serves both"


async def test_closing_a_view_closes_nothing(emulator: Emulator, client: Client) -> None:
    view = client.with_options(timeout=20)
    async with view as same:
        assert same is view
    await view.aclose()
    await view.status("alpha")
    await client.status("alpha")
    await client.aclose()
    for closed in (client, view, view.with_options(timeout=5)):
        with pytest.raises(ClientClosed):
            await closed.status("alpha")
        await closed.aclose()


async def test_a_view_s_timeout(emulator: Emulator, client: Client) -> None:
    await client.backends()
    hasty = client.with_options(timeout=0.05)
    emulator.fault(Hold(), times=None)
    for call in CALLS.values():
        with pytest.raises(Timeout):
            await call(hasty, refresh=True)
    for call in (hasty.versions, hasty.defaults):
        with pytest.raises(Timeout):
            await call(*(() if call == hasty.versions else ("alpha",)))
    emulator.clear_faults()
    held = emulator.fault(Hold(), resource="status")
    async with anyio.create_task_group() as tasks:
        patient = client.with_options(timeout=0.05).with_options(timeout=60)
        tasks.start_soon(patient.status, "alpha")
        with pytest.raises(Timeout):
            await hasty.status("alpha")
        held.release()
        await hasty.status("alpha", timeout=60)


async def test_a_view_s_retries(emulator: Emulator, client: Client) -> None:
    await client.backends()
    once = client.with_options(retry=RetryPolicy(attempts=1))
    for method, call in CALLS.items():
        if method in ("snapshot", "history"):  # they tell of failures beside what went well
            continue
        emulator.fault(Status(503), times=8)
        with pytest.raises(ServiceUnavailable) as refused:
            await call(once, refresh=True)
        assert refused.value.attempts == 1
        emulator.clear_faults()
        for resource in ("backends", "configuration", "properties", "status"):
            emulator.fault(Status(503), resource=resource, times=1)
        await call(client, refresh=True)
        emulator.clear_faults()
    thrice = once.with_options(retry=RetryPolicy(attempts=3, base=0.0))
    emulator.fault(Status(503), resource="status", times=2)
    await thrice.status("alpha")


async def test_a_view_s_instance(emulator: Emulator, client: Client, crn: str) -> None:
    other = next(one.crn for one in emulator.instances if one.crn != crn)
    view = client.with_options(instance=crn)
    for call in CALLS.values():
        emulator.reset_log()
        await call(view, refresh=True)
        asked = {one.crn for one in emulator.requests if one.resource not in ("token", "search", "catalog")}
        assert asked == {crn}
    assert {one.instance for one in await view.backends()} == {crn}
    assert {one.instance for one in await view.backends(instance=other)} == {other}
    assert (await first(view.watch(interval=60))).instance == crn
    assert {one.instance for one in await view.with_options(timeout=30).backends()} == {crn}
    assert {one.instance for one in await view.with_options(instance=other).backends()} == {other}
    strange = client.with_options(instance="nobody's")
    with pytest.raises(AccountError):
        await strange.properties("alpha")


@pytest.mark.parametrize(
    "wrong", [{"timeout": 0}, {"timeout": -1.0}, {"timeout": True}, {"timeout": "5"}, {"retry": 3}]
)
async def test_options_that_cannot_be(client: Client, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=next(iter(wrong))):
        client.with_options(**wrong)


def test_a_view_is_made_without_a_loop() -> None:
    view = Client(Account("an API key")).with_options(timeout=5, retry=RetryPolicy(), instance="lab")
    assert isinstance(view, Client)


# --- entries of the list


async def test_an_entry_is_taken_for_its_name_and_asked_for_where_it_is_listed(
    emulator: Emulator, client: Client, crn: str
) -> None:
    entry = next(one for one in await client.backends() if one.instance == crn)
    for method in ("configuration", "properties", "status"):
        emulator.reset_log()
        by_name = await getattr(client, method)("alpha")
        found = await getattr(client, method)(entry)
        assert [one.crn for one in emulator.requests][-1] == crn
        assert type(found) is type(by_name)
        elsewhere = await getattr(client, method)(entry, instance=emulator.instances[0].crn)
        assert elsewhere is by_name or method == "status"
    emulator.reset_log()
    async for _ in client.history(entry, NOON - DAY, NOON, every=DAY):
        pass
    assert {one.crn for one in emulator.requests} == {crn}


async def test_an_entry_of_an_instance_that_is_not_the_account_s_is_found_by_its_name(
    emulator: Emulator, client: Client
) -> None:
    entry = (await client.backends())["alpha"]
    known = await client.properties("alpha")
    for instance in (None, "crn:v1:bluemix:public:quantum-computing:us-east:a/1:2::"):
        assert await client.properties(replace(entry, instance=instance)) is known


async def test_entries_everywhere_else(emulator: Emulator, client: Client) -> None:
    fleet = await client.backends()
    entry = fleet["alpha"]
    assert Request("properties", entry) == Request.properties(entry) == Request.properties("alpha")
    assert (await client.fetch(Request.status(entry))).source == "origin"
    assert (await client.wait_for(entry, lambda one: one.online, timeout=30)).name == "alpha"
    assert (await first(client.watch(60, [entry]))).backend == "alpha"
    await client.properties(entry)
    assert await client.invalidate(backend=entry, resource="properties") == 1
    assert fleet.instances_of(entry) == fleet.instances_of("alpha")
    assert emulator.count("properties", entry) == emulator.count("properties", "alpha") == 1
    emulator.set_backend(entry, status="paused")
    assert not (await client.backends(refresh=True))[entry].online
    emulator.fault(Status(503), resource="status", backend=entry, times=None)
    once = client.with_options(retry=RetryPolicy(attempts=1))
    with pytest.raises(ServiceUnavailable):
        await once.status("alpha")
    with pytest.raises(InvalidRequest, match="list of names"):
        client.watch(60, entry)  # type: ignore[arg-type]  # one entry is no list


async def test_entries_do_not_fill_the_memory_of_requests(client: Client) -> None:
    entry = (await client.backends())["alpha"]
    await client.properties(entry)
    before = cached_request.cache_info().currsize
    for jobs in range(50):
        await client.properties(replace(entry, queue_length=jobs))
    assert cached_request.cache_info().currsize == before


async def test_the_example_of_the_page_runs(
    real_emulator: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "calls.md").read_text(encoding="utf-8")
    monkeypatch.setattr("qrbackends.client.load_account", lambda name, path: real_emulator.account())
    (block,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    await run(block)
    assert capsys.readouterr().out.splitlines()[-1] == "True"
    told = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE))))
    assert {*CALLS, *OTHERS} <= told, "the table has every method"


def test_an_option_that_from_account_does_not_take_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "a-key-of-nobody")
    with pytest.raises(TypeError, match=r"takes no 'timeout'; client.with_options\(\) takes it, and so do"):
        Client.from_account(timeout=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"from_account\(\) takes no 'limit'; did you mean limits\?$"):
        Client.from_account(limit=Limits())  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        (
            "timeout",
            "with_options() takes it, and so do its methods; that of all calls is limits=Limits(total=…)",
        ),
        ("attempts", "it is given as retry=RetryPolicy(attempts=…)"),
        ("per_region", "it is given as limits=Limits(per_region=…)"),
        ("api_key", "it is given as Account(api_key=…)"),
        ("retries", "did you mean retry?"),
    ],
)
def test_an_option_that_a_client_does_not_take_is_named(name: str, hint: str) -> None:
    options: dict[str, Any] = {name: "a-key-of-nobody"}
    with pytest.raises(TypeError) as caught:
        Client(Account("no-such-key"), **options)
    assert str(caught.value).startswith(f"Client() takes no {name!r}; ")
    assert str(caught.value).endswith(hint)
    assert "of-nobody" not in str(caught.value)


@pytest.mark.anyio
async def test_a_call_without_time_is_told_so(client: Client) -> None:
    with pytest.raises(
        Timeout, match=r"no answer: the time of the call was over before it began|within 1e-09 s"
    ):
        await client.backends(timeout=1e-9, refresh=True)
    with pytest.raises(InvalidRequest, match=r"timeout has to be a number of seconds .*, not '3'"):
        await client.backends(timeout="3")  # type: ignore[arg-type]


@pytest.mark.anyio
@pytest.mark.parametrize("resource", ["backends", "status"])
async def test_an_address_that_is_not_that_of_the_api_is_told(emulator: Emulator, resource: str) -> None:
    instance = emulator.account().instances[0]
    root = (instance.url or "").removesuffix("/api/v1")
    account = dataclasses.replace(emulator.account(), instances=[Instance(instance.crn, url=root)])
    async with Client(account) as client:
        asked = client.backends() if resource == "backends" else client.status("ibm_boston")
        with pytest.raises(
            NotFound, match=f"; the instance's address is {root}, and those of .* end with /api/v1"
        ):
            await asked
