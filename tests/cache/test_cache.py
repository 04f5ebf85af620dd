"""What a client's cache promises, against the emulator over real sockets; time is what the tests say."""

import asyncio
import gc
import logging
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Unpack

import anyio
import pytest

from qrbackends import (
    AuthenticationFailed,
    BackendProperties,
    BadRequest,
    BodyTooLarge,
    CachePolicy,
    Client,
    ClientClosed,
    ConnectError,
    Forbidden,
    InvalidRequest,
    Limits,
    Memory,
    NotFound,
    RedirectRefused,
    Request,
    RetryPolicy,
    ServiceUnavailable,
    SessionPool,
    TransportError,
    Unauthorized,
)
from qrbackends.assembly import ClientOptions
from qrbackends.emulator import Emulator, Endless, Garbage, Hold, Redirect, Reset, Status, Truncate
from qrbackends.emulator.devices.synthetic import SyntheticFleet

from ..internals import containers, http_connections, parts, ports, renewals
from ..waiting import until

pytestmark = pytest.mark.anyio

POLICY = CachePolicy(jitter=0)
FRESH = POLICY.properties
GRACE = POLICY.stale_while_revalidate
HOUR = 3600.0
DAY = 86_400
REGION = "us-east"
NAMES = ("alpha", "beta", "delta", "gamma")  # in a fleet of two regions, the first has alpha and delta
EXTRA = "extra_gates"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The memory's clock."""
    return Clock(1000.0)


START = 1_790_000_000.0
WORLD = Clock(START)


@pytest.fixture(autouse=True)
def world() -> Clock:
    """The emulators' clock, in Unix seconds."""
    WORLD.now = START
    return WORLD


def fleet(names: tuple[str, ...] = NAMES) -> SyntheticFleet:
    return SyntheticFleet(dict.fromkeys(names, 5))


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    """Four small backends in one region; a client has to ask for no list first."""
    async with Emulator(fleet(), regions=[REGION], clock=WORLD, token_lifetime=DAY) as running:
        yield running


@pytest.fixture(scope="module")
async def shared_wide() -> AsyncIterator[Emulator]:
    """Four small backends in two regions."""
    async with Emulator(fleet(), clock=WORLD, token_lifetime=DAY) as running:
        yield running


@pytest.fixture
async def wide(shared_wide: Emulator) -> AsyncIterator[Emulator]:
    """The emulator of two regions, as it was at its start."""
    yield shared_wide
    await shared_wide.reset()


@pytest.fixture
async def client(emulator: Emulator, clock: Clock) -> AsyncIterator[Client]:
    async with client_of(emulator, clock) as connected:
        yield connected


def client_of(emulator: Emulator, clock: Clock, key: int = 0, **options: Unpack[ClientOptions]) -> Client:
    options.setdefault("cache", POLICY)
    options.setdefault("memory", Memory(clock=clock))
    options.setdefault("retry", RetryPolicy(attempts=1))  # what the cache does about failures is of interest
    if "pool" not in options:
        options.setdefault("limits", Limits(failures=10**9))
    return Client(emulator.account(key), **options)


def properties(name: str, calibration_id: str | None = None) -> Request:
    return Request("properties", name, calibration_id)


async def renewed(client: Client) -> None:
    """Wait until nothing is renewed in the background any more."""
    await until(lambda: not renewals(client))


def tasks() -> set[str]:
    """Return what runs in the event loop beside the test and the emulator's connections."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    names = {getattr(task.get_coro(), "__qualname__", "?") for task in others}
    return {name for name in names if not name.startswith("RequestHandler.")}


# --- many callers


async def test_a_thousand_callers_of_one_cold_key_make_one_request(wide: Emulator, clock: Clock) -> None:
    async with client_of(wide, clock) as client:
        answers = await asyncio.gather(*(client.properties("beta") for _ in range(1000)))
        assert wide.count("properties") == 1
        assert wide.count("backends", region="eu-de") == wide.count("backends", region=REGION) == 1
        assert wide.count("token") == 1
        assert len(answers) == 1000
        assert all(answer == answers[0] for answer in answers)
        counts = client.stats().properties
        assert (counts.misses, counts.coalesced) == (1, 999)


async def storm(client: Client, names: tuple[str, ...], callers: int, random: Random) -> None:
    """Let many ask for some keys at once, and half of them leave at random."""
    asked = [names[number % len(names)] for number in range(callers)]
    random.shuffle(asked)
    calls = [asyncio.create_task(client.properties(name)) for name in asked]
    leaving = random.sample(range(callers), callers // 2)
    for number in leaving:
        if random.random() < 0.02:
            await anyio.lowlevel.checkpoint()
        calls[number].cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    left = set(leaving)
    for number, (name, answer) in enumerate(zip(asked, answers, strict=True)):
        if isinstance(answer, BackendProperties):
            assert answer.backend_name == name
        else:
            assert number in left
            assert isinstance(answer, asyncio.CancelledError)


def remembered(client: Client) -> bool:
    """Return whether anything but answers is left of the calls that have ended."""
    gc.collect()  # a traceback and its frame keep each other alive
    return any(containers(client))


@pytest.mark.parametrize(
    ("callers", "keys", "rounds"),
    [(200, 8, 2), pytest.param(10_000, 68, 20, marks=[pytest.mark.long, pytest.mark.timeout(600)])],
)
async def test_a_storm_of_callers_half_of_whom_leave(
    clock: Clock, callers: int, keys: int, rounds: int
) -> None:
    random = Random(f"{callers}/{keys}")
    async with Emulator(fleet="snapshots") as snapshots:
        names = snapshots.backends()[:keys]
        async with client_of(snapshots, clock) as client:
            await client.backends()
            before = tasks()
            taken = []
            tracemalloc.start()
            try:
                for _ in range(rounds):
                    snapshots.reset_log()
                    await client.invalidate(resource="properties")
                    await storm(client, names, callers, random)
                    assert 1 <= snapshots.count("properties") <= keys
                    assert snapshots.count() == snapshots.count("properties") + snapshots.count("token")
                    await until(lambda: tasks() == before)
                    assert client.stats().entries == 2 + keys
                    await until(lambda: not remembered(client))
                    taken.append(tracemalloc.get_traced_memory()[0])
            finally:
                tracemalloc.stop()
            if rounds > 10:
                # The first rounds fill the emulator's and the interpreter's own caches.
                assert max(taken[rounds // 2 :]) < 1.05 * max(taken[: rounds // 2])


# --- what is the same question, and what is not


async def test_plain_variant_plain_are_three_right_answers_in_two_requests(
    emulator: Emulator, client: Client, clock: Clock
) -> None:
    async with client_of(emulator, clock, cache=CachePolicy(properties=0)) as uncached:
        right = await uncached.properties("alpha")
        right_variant = await uncached.properties("alpha", calibration_id=EXTRA)
    assert right != right_variant
    emulator.reset_log()
    assert await client.properties("alpha") == right
    assert await client.properties("alpha", calibration_id=EXTRA) == right_variant
    assert await client.properties("alpha") == right
    assert emulator.count("properties") == 2


@pytest.mark.parametrize("variant", [None, EXTRA])
async def test_a_refresh_sees_a_recalibration_under_the_same_calibration_id(
    emulator: Emulator, client: Client, world: Clock, variant: str | None
) -> None:
    old = await client.properties("alpha", calibration_id=variant)
    world.now += HOUR
    assert await client.properties("alpha", calibration_id=variant) == old
    new = await client.properties("alpha", calibration_id=variant, refresh=True)
    assert new.last_update_date > old.last_update_date
    assert await client.properties("alpha", calibration_id=variant) == new
    assert emulator.count("properties") == 2


async def test_what_was_asked_before_a_refresh_is_not_kept_over_its_answer(
    emulator: Emulator, client: Client, world: Clock
) -> None:
    held = emulator.fault(Hold(), resource="properties")
    early = asyncio.create_task(client.properties("alpha"))
    await held.reached()
    refreshed = await client.properties("alpha", refresh=True)
    world.now += HOUR  # so that the held answer differs from the other
    held.release()
    assert await early != refreshed
    assert await client.properties("alpha") == refreshed
    assert emulator.count("properties") == 2


async def test_callers_who_refresh_at_once_share_one_request(emulator: Emulator, client: Client) -> None:
    held = emulator.fault(Hold(), resource="properties")
    calls = [asyncio.create_task(client.properties("alpha", refresh=True)) for _ in range(10)]
    await held.reached()
    calls.append(asyncio.create_task(client.properties("alpha")))
    await until(lambda: client.stats().properties.coalesced == 10)
    held.release()
    assert len({id(answer) for answer in await asyncio.gather(*calls)}) == 1
    assert emulator.count("properties") == 1


@pytest.mark.parametrize("kept", [True, False])
async def test_what_a_history_asks_is_kept_for_whoever_joins_and_keeps_it(
    emulator: Emulator, client: Client, world: Clock, kept: bool
) -> None:
    since = datetime.fromtimestamp(world.now, UTC) - timedelta(hours=1)
    held = emulator.fault(Hold(), resource="properties")
    reading = asyncio.create_task(anext(aiter(client.history("alpha", since))))  # the newest is asked first
    await held.reached()
    if kept:
        joining = asyncio.create_task(client.properties("alpha"))
        await until(lambda: client.stats().properties.coalesced == 1)
    held.release()
    await reading
    asked = emulator.count("properties")
    if kept:
        assert (await client.fetch(properties("alpha"))).source == "memory"
        assert (await client.properties("alpha")) is (await joining)
    else:
        assert client.stats().entries == 0
    assert emulator.count("properties") == asked


async def test_a_refresh_that_joins_a_history_renews_the_entry(
    emulator: Emulator, client: Client, world: Clock
) -> None:
    old = await client.properties("alpha")
    world.now += HOUR
    since = datetime.fromtimestamp(world.now, UTC) - timedelta(hours=1)
    held = emulator.fault(Hold(), resource="properties")
    reading = asyncio.create_task(anext(aiter(client.history("alpha", since))))
    await held.reached()
    joining = asyncio.create_task(client.properties("alpha", refresh=True))
    await until(lambda: client.stats().properties.coalesced == 1)
    held.release()
    await reading
    assert (await joining).last_update_date > old.last_update_date
    assert await client.properties("alpha") is await joining


async def test_a_history_does_not_make_an_earlier_call_s_answer_unknown(
    emulator: Emulator, client: Client, world: Clock
) -> None:
    since = datetime.fromtimestamp(world.now, UTC) - timedelta(hours=1)
    held = emulator.fault(Hold(), resource="properties")
    early = asyncio.create_task(client.properties("alpha"))
    await held.reached()
    await anext(aiter(client.history("alpha", since)))
    held.release()
    await early
    assert (await client.fetch(properties("alpha"))).source == "memory"


async def test_what_is_never_kept_is_not_kept_for_whoever_joins(emulator: Emulator, client: Client) -> None:
    held = emulator.fault(Hold(), resource="status")
    calls = [asyncio.create_task(client.status("alpha")) for _ in range(2)]
    await until(lambda: client.stats().status.coalesced == 1)
    held.release()
    await asyncio.gather(*calls)
    assert client.stats().entries == 0


# --- rights that end


async def filled(client: Client) -> None:
    """Let the cache know the lists and everybody's properties."""
    await client.backends()
    await asyncio.gather(*(client.properties(name) for name in NAMES))


@pytest.mark.parametrize(
    ("status", "error", "resource"), [(401, Unauthorized, "properties"), (403, Forbidden, "backends")]
)
async def test_a_right_that_ends_takes_all_old_answers_of_its_instance(
    wide: Emulator, clock: Clock, status: int, error: type[Exception], resource: str
) -> None:
    async with client_of(wide, clock) as client:
        await filled(client)
        assert client.stats().entries == 2 + 4
        clock.now += FRESH + GRACE + 1
        wide.fault(Status(status), resource=resource, region=REGION, times=None)
        with pytest.raises(error):
            await (client.properties("alpha") if resource == "properties" else listed_anew(client))
        assert client.stats().entries == 1 + 2
        await wide.stop_region(REGION)
        await wide.stop_region("eu-de")
        for name in ("alpha", "delta"):
            with pytest.raises(ConnectError):
                await client.properties(name)
        for name in ("beta", "gamma"):
            assert (await client.fetch(properties(name))).source == "stale"


async def listed_anew(client: Client) -> None:
    """Ask for the list of the region, and raise the error of its instance."""
    raise (await client.backends()).errors[0]


DOCUMENTS: tuple[Request, ...] = (
    *(Request(resource, "alpha") for resource in ("properties", "configuration", "defaults")),
    Request("properties", "alpha", EXTRA),
    Request("properties", "alpha", updated_before=datetime(2020, 1, 1, tzinfo=UTC)),
)


@pytest.mark.parametrize("refused", range(3))
async def test_a_document_that_is_refused_takes_all_of_its_backend_and_of_no_other(
    wide: Emulator, clock: Clock, refused: int
) -> None:
    async with client_of(wide, clock) as client:
        await filled(client)
        documents = [one for one in DOCUMENTS if await answered(client, one)]
        others = client.stats().entries - len(DOCUMENTS)  # a 404 has an entry, too
        wide.fault(Status(403), resource=documents[refused].resource, backend="alpha", times=None)
        with pytest.raises(Forbidden):
            await client.fetch(documents[refused], refresh=True)
        assert client.stats().entries == others
        wide.reset_log()
        for name in ("beta", "gamma", "delta"):
            assert (await client.fetch(properties(name))).source == "memory"
        await client.backends()
        assert wide.count() == 0
        await wide.stop_region(REGION)
        clock.now += FRESH + GRACE + 1
        for document in documents:
            with pytest.raises(ConnectError):
                await client.fetch(document)
        assert (await client.fetch(properties("delta"))).source == "stale"


async def answered(client: Client, request: Request) -> bool:
    """Return whether the service has this document."""
    try:
        await client.fetch(request)
    except NotFound:
        return False
    return True


async def test_one_backend_of_twenty_that_is_refused_costs_no_other_a_request(clock: Clock) -> None:
    names = tuple(f"b{number:02}" for number in range(20))
    async with Emulator(fleet(names), regions=[REGION]) as emulator, client_of(emulator, clock) as client:
        emulator.fault(Status(403), backend="b07", times=None)
        for _ in range(3):
            found = await client.snapshot(["configuration", "properties"]).collect()
            assert [name for name, items in found.items() if items["properties"].error] == ["b07"]
        asked = Counter(one.backend for one in emulator.requests if one.resource != "token")
        assert asked == {None: 1, "b07": 6} | {name: 2 for name in names if name != "b07"}


BLOCKED = "<html><head><TITLE>Attention\x1b[2J Required! &#124; Fire&amp;Wall</TITLE></head></html>"


@pytest.mark.parametrize("body", [BLOCKED, "", "blocked", {}, b"[]", b"\xff\x00"])
@pytest.mark.parametrize("resource", ["backends", "properties"])
async def test_a_firewall_s_403_is_an_outage(wide: Emulator, clock: Clock, body: Any, resource: str) -> None:
    async with client_of(wide, clock) as client:
        await filled(client)
        clock.now += FRESH + GRACE + 1
        entries = client.stats().entries
        wide.fault(Status(403, body=body), resource=resource, times=None)
        asked = properties("alpha") if resource == "properties" else Request("backends")
        assert (await client.fetch(asked)).source == "stale"
        assert client.stats().entries == entries
        with pytest.raises(Forbidden, match="HTTP 403 from a firewall or gateway") as caught:
            await client.fetch(asked, refresh=True)
        assert caught.value.outage
        assert str(caught.value).isprintable()
        if body == BLOCKED:
            assert "in front of the service: Attention [2J Required! | Fire&Wall" in str(caught.value)
        assert client.stats().entries == entries


@pytest.mark.parametrize("body", [None, {"title": "Forbidden", "status_code": 403}, {"message": "Forbidden"}])
async def test_a_refusal_without_most_of_its_fields_is_none_of_a_firewall(
    wide: Emulator, clock: Clock, body: Any
) -> None:
    async with client_of(wide, clock) as client:
        await filled(client)
        wide.fault(Status(403, body=body), resource="backends", times=None)
        with pytest.raises(Forbidden):
            await client.fetch(Request("backends"), refresh=True)
        assert client.stats().entries == 0


@pytest.mark.parametrize(("status", "error"), [(401, Unauthorized), (403, Forbidden)])
async def test_a_right_that_ends_is_noticed_in_the_background_too(
    wide: Emulator, clock: Clock, status: int, error: type[Exception]
) -> None:
    async with client_of(wide, clock) as client:
        await filled(client)
        clock.now += FRESH + 1
        wide.fault(Status(status), resource="properties", region=REGION, times=None)
        for name in ("alpha", "delta"):
            assert (await client.fetch(properties(name))).source == "stale"
        await renewed(client)
        for name in ("alpha", "delta"):
            with pytest.raises(error):
                await client.properties(name)
        assert (await client.fetch(properties("beta"))).source == "stale"
        await renewed(client)


async def test_a_key_that_iam_refuses_takes_all_old_answers_of_the_account(
    wide: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qrbackends.service.tokens._REFUSED_FOR", 0.0)  # IAM is asked anew at once
    async with client_of(wide, clock) as client:
        await filled(client)
        clock.now += FRESH + GRACE + 1
        wide.expire_tokens()
        refusing = wide.fault(Status(400), resource="token", times=None)
        with pytest.raises(AuthenticationFailed):
            await client.properties("alpha")
        assert client.stats().entries == client.stats().bytes == 0
        for name in NAMES:
            with pytest.raises(AuthenticationFailed):
                await client.properties(name)
        refusing.cancel()
        await wide.stop_region("eu-de")
        with pytest.raises(ConnectError):
            await client.properties("beta")
        assert (await client.fetch(properties("alpha"))).source == "origin"


@pytest.mark.parametrize(
    "fault", [Garbage(b"{}"), Garbage(b'{"access_token": "x", "expires_in": 0}'), Status(403, body="<html>")]
)
async def test_what_iam_answers_without_sense_takes_no_answer_of_the_service(
    emulator: Emulator, client: Client, clock: Clock, fault: Any
) -> None:
    await client.properties("alpha")
    clock.now += FRESH + GRACE + 1
    emulator.expire_tokens()
    emulator.fault(fault, resource="token", times=None)
    assert (await client.fetch(properties("alpha"))).source == "stale"
    assert client.stats().entries == 1


# --- a service that fails


async def test_one_failed_renewal_does_not_make_callers_get_old_answers_all_day(
    emulator: Emulator, client: Client, clock: Clock, world: Clock
) -> None:
    await client.properties("alpha")
    clock.now += FRESH + GRACE
    emulator.fault(Reset(), resource="properties")
    assert (await client.fetch(properties("alpha"))).source == "stale"
    clock.now += 5 * HOUR
    world.now += 5 * HOUR
    assert (await client.fetch(properties("alpha"))).source == "origin", "the service has been up for hours"
    emulator.fault(Reset(), resource="properties", times=None)
    clock.now += FRESH + GRACE
    for _ in range(5):  # in an outage that lasts only the first caller waits
        assert (await client.fetch(properties("alpha"))).source == "stale"
        await renewed(client)
        clock.now += 50.0
    assert client.stats().properties.misses == 4


async def strike(emulator: Emulator, trouble: Any) -> None:
    if trouble == "dead":
        await emulator.stop_region(REGION)
    else:
        emulator.fault(trouble, resource="properties", times=None)


async def heal(emulator: Emulator) -> None:
    emulator.clear_faults()
    await emulator.start_region(REGION)


OUTAGES = [
    pytest.param("dead", "ConnectError", id="dead"),
    pytest.param(Reset(), "ConnectionLost", id="reset"),
    pytest.param(Status(429), "RateLimited", id="429"),
    pytest.param(Status(500), "ServerError", id="500"),
    pytest.param(Status(503), "ServiceUnavailable", id="503"),
    pytest.param(Garbage(), "DecodeError", id="garbage"),
    pytest.param(Truncate(), "BodyDamaged", id="truncated"),
    pytest.param(Truncate(gzip=True), "BodyDamaged", id="truncated gzip"),
]


@pytest.mark.parametrize(("trouble", "error"), OUTAGES)
async def test_old_answers_flow_with_their_age_until_the_policy_ends_them(
    emulator: Emulator, client: Client, clock: Clock, trouble: Any, error: str
) -> None:
    known = await client.properties("alpha")
    began = clock.now
    await strike(emulator, trouble)
    last = FRESH + POLICY.stale_if_error
    for age in (FRESH, FRESH + GRACE, FRESH + GRACE + 0.5, 2 * HOUR, last - HOUR, last - 1):
        clock.now = began + age
        for _ in range(3):
            given = await client.fetch(properties("alpha"))
            assert (given.value, given.source, given.age) == (known, "stale", age)
        await renewed(client)
    clock.now = began + last
    with pytest.raises(Exception, match="alpha") as caught:
        await client.properties("alpha")
    assert type(caught.value).__name__ == error
    await heal(emulator)
    assert (await client.fetch(properties("alpha"))).source == "origin"


@pytest.mark.parametrize(("trouble", "error"), OUTAGES)
async def test_fresh_answers_come_back_when_the_service_does(
    emulator: Emulator, client: Client, clock: Clock, world: Clock, trouble: Any, error: str
) -> None:
    old = await client.properties("alpha")
    await strike(emulator, trouble)
    clock.now += HOUR
    world.now += HOUR
    assert (await client.fetch(properties("alpha"))).source == "stale", error
    await heal(emulator)
    clock.now += 2
    assert (await client.fetch(properties("alpha"))).source == "stale"  # and renewed meanwhile
    await renewed(client)
    given = await client.fetch(properties("alpha"))
    assert (given.source, given.age) == ("memory", 0)
    assert given.value.last_update_date > old.last_update_date


async def test_a_failing_service_is_not_asked_by_every_caller(
    emulator: Emulator, client: Client, clock: Clock
) -> None:
    await client.properties("alpha")
    emulator.fault(Status(503), resource="properties", times=None)
    clock.now += HOUR
    for _ in range(100):
        assert (await client.fetch(properties("alpha"))).source == "stale"
    assert emulator.count("properties") == 2


async def test_an_old_answer_is_given_when_the_service_takes_too_long(
    emulator: Emulator, clock: Clock
) -> None:
    async with client_of(emulator, clock, limits=Limits(total=0.2)) as client:
        await client.properties("alpha", timeout=30)
        clock.now += HOUR
        emulator.fault(Hold(), resource="properties", times=None)
        given = await client.fetch(properties("alpha"))
        assert (given.source, given.age) == ("stale", HOUR)
        assert (await client.fetch(properties("alpha"))).source == "stale"
        assert emulator.count("properties") == 2  # nobody else waits, as it has just failed


async def test_a_refresh_gets_the_error_and_not_an_old_answer(emulator: Emulator, client: Client) -> None:
    await client.properties("alpha")
    emulator.fault(Status(503), resource="properties")
    with pytest.raises(ServiceUnavailable):
        await client.properties("alpha", refresh=True)
    assert (await client.fetch(properties("alpha"))).source == "memory"


@pytest.mark.parametrize(("status", "error"), [(400, BadRequest), (404, NotFound)])
async def test_what_the_service_says_of_the_question_ends_the_old_answer(
    emulator: Emulator, client: Client, clock: Clock, status: int, error: type[Exception]
) -> None:
    await client.properties("alpha")
    clock.now += FRESH + GRACE + 1
    emulator.fault(Status(status), resource="properties")
    with pytest.raises(error):
        await client.properties("alpha")
    clock.now += POLICY.negative
    await emulator.stop_region(REGION)
    with pytest.raises(ConnectError):
        await client.properties("alpha")
    await emulator.start_region(REGION)
    assert (await client.fetch(properties("alpha"))).source == "origin"


async def test_a_404_is_remembered_for_a_moment(emulator: Emulator, client: Client, clock: Clock) -> None:
    for _ in range(5):
        with pytest.raises(NotFound):
            await client.properties("nowhere")
    assert emulator.count("properties") == 1
    clock.now += POLICY.negative
    with pytest.raises(NotFound):
        await client.properties("nowhere")
    assert emulator.count("properties") == 2


async def test_a_clock_that_is_set_back_makes_no_answer_young(
    emulator: Emulator, client: Client, clock: Clock
) -> None:
    await client.properties("alpha")
    clock.now -= HOUR
    assert (await client.fetch(properties("alpha"))).source == "origin"
    await client.properties("beta")
    clock.now -= HOUR
    await emulator.stop_region(REGION)
    given = await client.fetch(properties("beta"))
    assert (given.source, given.age) == ("stale", 0.0), "never negative"
    with pytest.raises(ConnectError):
        await client.fetch(properties("beta"), max_age=HOUR)


# --- one flight


async def test_a_caller_who_leaves_takes_nothing_from_the_others(emulator: Emulator, client: Client) -> None:
    held = emulator.fault(Hold(), resource="properties")
    calls = [asyncio.create_task(client.properties("alpha")) for _ in range(10)]
    await held.reached()
    for call in calls[:4]:  # among them the one who began it
        call.cancel()
    await asyncio.wait(calls[:4])
    assert all(call.cancelled() for call in calls[:4])
    held.release()
    assert {p.backend_name for p in await asyncio.gather(*calls[4:])} == {"alpha"}
    assert emulator.count("properties") == 1


async def test_the_last_to_leave_stops_the_request_and_frees_its_place(
    emulator: Emulator, clock: Clock
) -> None:
    # `read` would end the request, too; it is out of the way here.
    async with client_of(emulator, clock, limits=Limits(per_region=1, read=600)) as client:
        held = emulator.fault(Hold(), resource="properties", times=None)
        calls = [asyncio.create_task(client.properties("alpha")) for _ in range(3)]
        await held.reached()
        (connection,) = http_connections(ports(emulator)[REGION])
        assert connection.transport is not None
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        await until(lambda: connection.transport is None)  # the origin sees it end
        assert (await client.status("beta")).queue_length >= 0
        held.cancel()
        assert client.stats().entries == 0
        assert (await client.fetch(properties("alpha"))).source == "origin"


async def test_everybody_leaves_at_their_own_deadline(emulator: Emulator, client: Client) -> None:
    held = emulator.fault(Hold(), resource="properties")
    patient = [asyncio.create_task(client.properties("alpha")) for _ in range(2)]
    await held.reached()

    async def hurried(seconds: float) -> str:
        with anyio.move_on_after(seconds):
            await client.properties("alpha")
        try:
            with anyio.fail_after(seconds):
                await client.properties("alpha")
        except TimeoutError:
            return "left"
        return "stayed"

    assert await asyncio.gather(*(hurried(0.01 * n) for n in range(5))) == ["left"] * 5
    assert not any(call.done() for call in patient)
    held.release()
    assert len({id(answer) for answer in await asyncio.gather(*patient)}) == 1
    assert emulator.count("properties") == 1


async def test_a_flight_sees_nothing_of_its_callers_context(
    emulator: Emulator, client: Client, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    who: ContextVar[str] = ContextVar("who", default="nobody")
    seen = []

    def note(record: logging.LogRecord) -> bool:  # called where the record is made: in the flight
        if record.name == "qrbackends.pool":
            seen.append(who.get())
        return True

    caplog.set_level(logging.DEBUG, "qrbackends.pool")
    caplog.handler.addFilter(note)
    try:
        who.set("the caller")
        with anyio.CancelScope():
            await client.properties("alpha")
        clock.now += FRESH + 1
        assert (await client.fetch(properties("alpha"))).source == "stale"
        await renewed(client)
    finally:
        caplog.handler.removeFilter(note)
    assert seen == ["nobody"] * 3  # the token, the answer, and its renewal


async def test_every_waiter_gets_an_error_of_their_own(emulator: Emulator, client: Client) -> None:
    emulator.fault(Status(503), resource="properties")
    calls = (client.properties("alpha") for _ in range(20))
    errors = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(error) for error in errors} == {ServiceUnavailable}
    assert len({id(error) for error in errors}) == 20
    tracebacks = [error.__traceback__ for error in errors if isinstance(error, ServiceUnavailable)]
    assert len({id(traceback) for traceback in tracebacks}) == 20
    assert emulator.count("properties") == 1


async def test_closing_ends_those_who_wait(emulator: Emulator, clock: Clock) -> None:
    before = tasks()
    client = client_of(emulator, clock)
    await client.properties("beta")
    clock.now += FRESH + 1
    held = emulator.fault(Hold(), resource="properties", times=None)
    assert (await client.fetch(properties("beta"))).source == "stale"
    calls = [asyncio.create_task(client.properties("alpha")) for _ in range(10)]
    calls += [asyncio.create_task(client.properties("alpha", refresh=True)) for _ in range(10)]
    await held.reached(3)  # one of them renews beta
    await client.aclose()
    errors = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(error) for error in errors} == {ClientClosed}
    await until(lambda: tasks() == before)
    for use in (client.properties("beta"), client.invalidate()):
        with pytest.raises(ClientClosed):
            await use


async def test_what_is_being_fetched_is_not_kept_once_it_is_invalidated(
    emulator: Emulator, client: Client
) -> None:
    held = emulator.fault(Hold(), resource="properties")
    early = asyncio.create_task(client.properties("alpha"))
    await held.reached()
    assert await client.invalidate() == 0
    held.release()
    assert (await early).backend_name == "alpha"
    assert client.stats().entries == 0
    assert (await client.fetch(properties("alpha"))).source == "origin"
    assert emulator.count("properties") == 2


async def test_who_asks_after_an_invalidation_gets_a_new_answer_that_stays(
    emulator: Emulator, client: Client, world: Clock
) -> None:
    held = emulator.fault(Hold(), resource="properties")
    early = asyncio.create_task(client.properties("alpha"))
    await held.reached()
    await client.invalidate(backend="alpha")
    later = await client.properties("alpha")
    world.now += HOUR  # so that the held answer differs from the other
    held.release()
    assert await early != later
    assert await client.properties("alpha") == later
    assert emulator.count("properties") == 2


async def test_a_404_from_before_an_invalidation_is_not_kept(emulator: Emulator, client: Client) -> None:
    held = emulator.fault(Hold(), resource="properties")
    early = asyncio.create_task(client.properties("nowhere"))
    await held.reached()
    await client.invalidate(backend="nowhere")
    held.release()
    with pytest.raises(NotFound):
        await early
    assert client.stats().entries == 0


async def test_an_invalidation_of_something_else_leaves_a_flight_alone(
    emulator: Emulator, client: Client
) -> None:
    held = emulator.fault(Hold(), resource="properties")
    early = asyncio.create_task(client.properties("alpha"))
    await held.reached()
    await client.invalidate(backend="beta")
    joined = asyncio.create_task(client.properties("alpha"))
    await until(lambda: client.stats().properties.coalesced == 1)
    held.release()
    assert await early is await joined
    assert (await client.fetch(properties("alpha"))).source == "memory"
    assert emulator.count("properties") == 1


# --- many tenants


async def test_200_tenants_share_a_pool_and_a_memory_and_no_answers(clock: Clock) -> None:
    memory = Memory(16 * 2**20, clock=clock)
    async with Emulator(fleet(), regions=[REGION], keys=200) as emulator, SessionPool() as pool:
        tenants = [client_of(emulator, clock, n, pool=pool, memory=memory) for n in range(200)]
        given = await asyncio.gather(*(tenant.fetch(properties("alpha")) for tenant in tenants))
        assert {one.source for one in given} == {"origin"}
        assert emulator.count("properties") == emulator.count("token") == 200
        assert len({id(one.value) for one in given}) == 200
        again = await asyncio.gather(*(tenant.fetch(properties("alpha")) for tenant in tenants))
        assert [one.source for one in again] == ["memory"] * 200
        assert all(one.value is first.value for one, first in zip(again, given, strict=True))
        assert (len(memory), emulator.count("properties")) == (200, 200)
        assert await tenants[7].invalidate() == 1
        emulator.fault(Status(403), resource="properties")
        with pytest.raises(Forbidden):
            await tenants[8].properties("alpha", refresh=True)
        again = await asyncio.gather(*(tenant.fetch(properties("alpha")) for tenant in tenants))
        assert [n for n, one in enumerate(again) if one.source == "origin"] == [7, 8]
        await asyncio.gather(*(tenant.aclose() for tenant in tenants))


async def test_a_shared_memory_keeps_its_bound_whatever_its_tenants_ask(clock: Clock) -> None:
    async with Emulator(fleet(), regions=[REGION], keys=20) as emulator, SessionPool() as pool:
        size = await size_of_one(emulator, clock)
        memory = Memory(10 * size, clock=clock)
        tenants = [client_of(emulator, clock, n, pool=pool, memory=memory) for n in range(20)]
        for _ in range(2):
            for tenant in tenants:
                assert (await tenant.properties("alpha")).backend_name == "alpha"
                assert memory.bytes <= 10 * size
        assert len(memory) == 10
        assert tenants[0].stats().evictions == memory.evictions == 30
        await asyncio.gather(*(tenant.aclose() for tenant in tenants))


async def size_of_one(emulator: Emulator, clock: Clock) -> int:
    async with client_of(emulator, clock) as client:
        await client.properties("alpha")
        return client.stats().bytes + 200  # the numbers of another hour may take a few digits more


@pytest.mark.parametrize(("share", "kept"), [(0.5, "memory"), (1.0, "origin")])
async def test_a_share_keeps_a_tenant_from_driving_out_the_others(
    clock: Clock, share: float, kept: str
) -> None:
    async with Emulator(fleet(), regions=[REGION], keys=2) as emulator, SessionPool() as pool:
        size = await size_of_one(emulator, clock)
        memory = Memory(10 * size, share=share, clock=clock)
        greedy, modest = (client_of(emulator, clock, n, pool=pool, memory=memory) for n in range(2))
        await modest.properties("alpha")
        for days in range(30):
            await greedy.properties(
                "alpha", updated_before=datetime(2025, 3, 1, tzinfo=UTC) + timedelta(days)
            )
        assert memory.bytes <= 10 * size
        assert memory.evictions >= 20
        assert (await modest.fetch(properties("alpha"))).source == kept
        await greedy.aclose()
        await modest.aclose()


async def test_closing_one_client_leaves_the_others_of_its_pool_working(clock: Clock) -> None:
    memory = Memory(clock=clock)
    async with Emulator(fleet(), regions=[REGION], keys=2) as emulator, SessionPool() as pool:
        one, other = (client_of(emulator, clock, n, pool=pool, memory=memory) for n in range(2))
        held = emulator.fault(Hold(), resource="properties", times=None)
        calls = [asyncio.create_task(client.properties("alpha")) for client in (one, other)]
        await held.reached(2)
        await one.aclose()
        with pytest.raises(ClientClosed):
            await calls[0]
        with pytest.raises(ClientClosed):
            await one.status("alpha")
        held.release()
        assert (await calls[1]).backend_name == "alpha"
        assert (await other.status("alpha")).queue_length >= 0
        assert (await other.fetch(properties("alpha"))).source == "memory"
        await other.aclose()


async def test_the_pool_closed_by_its_maker_ends_all_of_its_clients(clock: Clock) -> None:
    async with Emulator(fleet(), regions=[REGION], keys=3) as emulator:
        pool = SessionPool()
        clients = [client_of(emulator, clock, n, pool=pool) for n in range(3)]
        await clients[0].properties("beta")
        held = emulator.fault(Hold(), resource="properties", times=None)
        calls = [asyncio.create_task(client.properties("alpha")) for client in clients]
        await held.reached(3)
        await pool.aclose()
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(error) for error in errors} == {ClientClosed}
        for client in clients:
            with pytest.raises(ClientClosed):
                await client.properties("beta")
            await client.aclose()


async def test_limits_belong_to_whoever_makes_the_pool(emulator: Emulator) -> None:
    async with SessionPool() as pool:
        with pytest.raises(ValueError, match="give them to SessionPool"):
            Client(emulator.account(), pool=pool, limits=Limits())
        with pytest.raises(ValueError, match="give them to SessionPool"):
            Client(emulator.account(), pool=pool, allow_http=True)


# --- what it tells, and what it forgets


def counted(client: Client, resource: str) -> dict[str, int]:
    counts = getattr(client.stats(), resource)
    return {name: value for name in counts.__struct_fields__ if (value := getattr(counts, name))}


async def test_stats_tell_what_happened(emulator: Emulator, client: Client, clock: Clock) -> None:
    assert client.stats().entries == client.stats().bytes == client.stats().evictions == 0
    assert client.stats().store is None
    await client.properties("alpha")
    await client.properties("alpha")
    await asyncio.gather(*(client.properties("beta") for _ in range(5)))
    assert counted(client, "properties") == {"hits": 1, "misses": 2, "coalesced": 4}
    clock.now += FRESH + 1
    await client.properties("alpha")
    await renewed(client)
    await client.properties("alpha")
    assert counted(client, "properties") == {
        "hits": 2,
        "misses": 2,
        "coalesced": 4,
        "stale": 1,
        "refreshes": 1,
    }
    emulator.fault(Status(503), resource="properties", times=None)
    await client.properties("beta")
    await renewed(client)
    with pytest.raises(ServiceUnavailable):
        await client.properties("alpha", refresh=True)
    assert counted(client, "properties") == {
        "hits": 2,
        "misses": 3,
        "coalesced": 4,
        "stale": 2,
        "refreshes": 2,
        "failures": 1,
    }
    await client.status("alpha")
    await client.status("alpha")
    await client.configuration("alpha")
    await client.backends()
    with pytest.raises(NotFound):
        await client.defaults("nowhere")
    with pytest.raises(NotFound):
        await client.defaults("nowhere")
    assert counted(client, "status") == {"misses": 2}
    assert counted(client, "configuration") == {"misses": 1}
    assert counted(client, "backends") == {"misses": 1}
    assert counted(client, "defaults") == {"misses": 1, "hits": 1}
    stats = client.stats()
    assert stats.entries == 5  # alpha's and beta's properties, a configuration, a list, a 404
    assert stats.evictions == 0
    clock.now += POLICY.negative
    assert 4096 < stats.bytes - client.stats().bytes < 4096 + 1024  # the 404, and its body
    assert client.stats().entries == 4
    assert await client.invalidate() == 4
    assert client.stats().entries == client.stats().bytes == 0


async def test_evictions_are_counted_and_those_used_last_stay(emulator: Emulator, clock: Clock) -> None:
    size = await size_of_one(emulator, clock)
    async with client_of(emulator, clock, memory=Memory(3 * size, share=1, clock=clock)) as client:
        for name in ("alpha", "beta", "delta", "alpha", "gamma"):
            await client.properties(name)
        assert (client.stats().entries, client.stats().evictions) == (3, 1)
        for name in ("alpha", "delta", "gamma"):
            assert (await client.fetch(properties(name))).source == "memory"
        assert (await client.fetch(properties("beta"))).source == "origin"


async def test_a_policy_bounds_a_clients_own_memory(emulator: Emulator) -> None:
    async with Client(emulator.account(), cache=CachePolicy(max_bytes=0)) as client:
        for _ in range(2):
            assert (await client.fetch(properties("alpha"))).source == "origin"
        assert client.stats().entries == client.stats().bytes == 0


PAST = datetime(2025, 3, 1, tzinfo=UTC)
ASKED = {
    "list": Request("backends"),
    "configuration": Request("configuration", "alpha"),
    "configuration of the variant": Request("configuration", "alpha", EXTRA),
    "properties": properties("alpha"),
    "properties of the variant": properties("alpha", EXTRA),
    "another's properties": properties("beta"),
    "another's past": Request("properties", "beta", None, PAST),
    "another's variant": properties("beta", EXTRA),
}


@pytest.mark.parametrize(
    ("which", "gone"),
    [
        ({}, lambda request: True),
        ({"backend": "alpha"}, lambda request: request.backend == "alpha"),
        ({"backend": "nowhere"}, lambda request: False),
        ({"calibration_id": EXTRA}, lambda request: request.calibration_id == EXTRA),
        ({"resource": "properties"}, lambda request: request.resource == "properties"),
        ({"resource": "backends"}, lambda request: request.resource == "backends"),
        ({"resource": "status"}, lambda request: False),
        (
            {"backend": "alpha", "resource": "properties"},
            lambda request: (request.backend, request.resource) == ("alpha", "properties"),
        ),
        (
            {"backend": "alpha", "calibration_id": EXTRA, "resource": "properties"},
            lambda request: request == properties("alpha", EXTRA),
        ),
    ],
)
async def test_an_invalidation_removes_what_it_names_and_no_more(
    emulator: Emulator, client: Client, which: dict[str, Any], gone: Callable[[Request], bool]
) -> None:
    for request in ASKED.values():
        await client.fetch(request)
    expected = {what for what, request in ASKED.items() if gone(request)}
    assert await client.invalidate(**which) == len(expected)
    assert client.stats().entries == len(ASKED) - len(expected)
    assert await client.invalidate(**which) == 0
    again = {what: (await client.fetch(request)).source for what, request in ASKED.items()}
    assert {what for what, source in again.items() if source == "origin"} == expected
    assert set(again.values()) <= {"origin", "memory"}
    assert emulator.count() == len(ASKED) + len(expected) + 1


async def test_a_new_list_does_not_lengthen_the_life_of_properties(client: Client, clock: Clock) -> None:
    await client.properties("alpha")
    began = clock.now
    for age in (40.0, 200.0, FRESH - 1):
        clock.now = began + age
        listed = await client.fetch(Request("backends"), refresh=True)
        assert (listed.source, listed.age) == ("origin", 0)
        given = await client.fetch(properties("alpha"))
        assert (given.source, given.age) == ("memory", age)
    clock.now = began + FRESH + GRACE
    await client.backends(refresh=True)
    assert (await client.fetch(properties("alpha"))).source == "origin"


async def test_what_no_answer_can_change_any_more_is_kept_for_a_day(
    emulator: Emulator, client: Client, clock: Clock
) -> None:
    past = Request("properties", "alpha", None, PAST)
    await client.fetch(past)
    clock.now += POLICY.history - 1
    assert (await client.fetch(past)).source == "memory"
    clock.now += 1
    assert (await client.fetch(past)).source == "stale"
    await renewed(client)
    assert emulator.count("properties") == 2


# --- in the background


async def test_one_renewal_for_each_key(emulator: Emulator, client: Client, clock: Clock) -> None:
    await client.properties("alpha")
    clock.now += FRESH + 1
    held = emulator.fault(Hold(), resource="properties", times=None)
    given = await asyncio.gather(*(client.fetch(properties("alpha")) for _ in range(50)))
    assert Counter((one.source, one.age) for one in given) == {("stale", FRESH + 1): 50}
    await held.reached()
    assert (await client.fetch(properties("alpha"))).source == "stale"
    assert held.hits == client.stats().properties.refreshes == 1
    held.release()
    await renewed(client)
    assert (await client.fetch(properties("alpha"))).source == "memory"
    assert emulator.count("properties") == 2


async def test_who_may_not_have_an_old_answer_joins_its_renewal(
    emulator: Emulator, client: Client, clock: Clock
) -> None:
    await client.properties("alpha")
    clock.now += FRESH + 1
    held = emulator.fault(Hold(), resource="properties")
    await client.properties("alpha")
    await held.reached()
    clock.now += GRACE
    waiting = asyncio.create_task(client.fetch(properties("alpha")))
    await until(lambda: client.stats().properties.coalesced == 1)
    held.release()
    assert (await waiting).source == "origin"
    assert emulator.count("properties") == 2


async def test_renewals_are_bounded_and_the_rest_come_later(clock: Clock) -> None:
    names = tuple(f"device_{number:02}" for number in range(40))
    limits = Limits(per_region=64)
    async with (
        Emulator(fleet(names), regions=[REGION]) as emulator,
        client_of(emulator, clock, limits=limits) as client,
    ):
        await asyncio.gather(*(client.properties(name) for name in names))
        clock.now += FRESH + 1
        held = emulator.fault(Hold(), resource="properties", times=None)

        async def sources() -> Counter[str]:
            return Counter([(await client.fetch(properties(name))).source for name in names])

        assert await sources() == {"stale": 40}
        await held.reached(32)
        assert await sources() == {"stale": 40}
        assert client.stats().properties.refreshes == 32
        held.release()
        await renewed(client)
        assert await sources() == {"memory": 32, "stale": 8}
        await renewed(client)
        assert await sources() == {"memory": 40}
        assert emulator.count("properties") == 80


async def test_a_failing_renewal_is_logged_once_per_outage_and_never_raised(
    emulator: Emulator, client: Client, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def warned() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.levelno >= logging.WARNING]

    for outage in (1, 2):
        await client.properties("alpha")
        clock.now += FRESH + 1
        emulator.fault(Status(503), resource="properties", times=None)
        for _ in range(5):
            assert (await client.fetch(properties("alpha"))).source == "stale"
            await renewed(client)
            clock.now += 2
        assert client.stats().properties.failures == 5 * outage
        assert [record.name for record in warned()] == ["qrbackends.cache"] * outage
        assert "could not be renewed" in warned()[-1].getMessage()
        emulator.clear_faults()
        assert (await client.fetch(properties("alpha"))).source == "stale"
        await renewed(client)
        assert (await client.fetch(properties("alpha"))).source == "memory"
    assert client.stats().properties.refreshes == 2 * (5 + 1)


# --- lists


async def test_two_lists_within_half_a_minute_cost_one_request_per_instance(
    wide: Emulator, clock: Clock
) -> None:
    async with client_of(wide, clock) as client:
        first = await client.backends()
        clock.now += POLICY.backends - 1
        second = await client.backends()
        assert [b.name for b in first] == [b.name for b in second]
        assert wide.count("backends", region=REGION) == wide.count("backends", region="eu-de") == 1
        await client.backends(fields=["wait_time_seconds"])  # it is another question
        assert wide.count("backends") == 4


async def test_a_list_has_the_age_and_the_source_of_its_oldest_part(wide: Emulator, clock: Clock) -> None:
    account = wide.account()
    asked = Request("backends")
    async with client_of(wide, clock) as client:
        given = await client.fetch(asked)
        assert (given.source, given.age, len(given.value)) == ("origin", 0, 4)
        clock.now += 10
        given = await client.fetch(asked)
        assert (given.source, given.age) == ("memory", 10)
        newer = await client.fetch(asked, instance=account.instances[1], refresh=True)
        assert (newer.source, newer.age, len(newer.value)) == ("origin", 0, 2)
        clock.now += 5
        given = await client.fetch(asked)
        assert (given.source, given.age) == ("memory", 15)
        clock.now += POLICY.backends - 15
        given = await client.fetch(asked)
        assert (given.source, given.age) == ("stale", POLICY.backends)
        await renewed(client)
        given = await client.fetch(asked)
        assert (given.source, given.age) == ("memory", POLICY.backends - 10)


async def test_a_dead_regions_backends_stay_listed_for_a_while(wide: Emulator, clock: Clock) -> None:
    async with client_of(wide, clock) as client:
        await client.backends()
        await wide.stop_region("eu-de")
        clock.now += HOUR
        given = await client.fetch(Request("backends"))
        assert (given.source, given.age) == ("stale", HOUR)
        assert {b.name for b in given.value} == set(NAMES)
        assert given.value.errors == ()
        clock.now += POLICY.stale_if_error
        listed = await client.backends()
        assert {b.region for b in listed} == {REGION}
        assert [type(error) for error in listed.errors] == [ConnectError]


async def test_a_private_token_provider_shares_nothing_with_its_like(emulator: Emulator) -> None:
    memory = Memory()
    async with Client(emulator.account()) as client:
        bearer = (await parts(client).tokens.authorization()).reveal().removeprefix("Bearer ")

    async def provider() -> tuple[str, float]:
        return bearer, datetime.now(UTC).timestamp() + HOUR

    account = replace(emulator.account(), api_key=None, token=provider)
    async with Client(account, memory=memory) as one, Client(account, memory=memory) as other:
        assert (await one.fetch(properties("alpha"))).source == "origin"
        assert (await other.fetch(properties("alpha"))).source == "origin"
        assert (await one.fetch(properties("alpha"))).source == "memory"


async def test_max_age_decides_instead_of_the_policy(
    emulator: Emulator, client: Client, clock: Clock
) -> None:
    asked = properties(NAMES[0])
    assert (await client.fetch(asked)).source == "origin"
    clock.now += 10.0
    found = await client.fetch(asked, max_age=10.0)
    assert (found.source, found.age, found.fresh_for) == ("memory", 10.0, 290.0)
    assert (await client.fetch(asked, max_age=9.0)).source == "origin"
    clock.now += 500.0
    assert (await client.fetch(asked, max_age=1000.0)).source == "memory"  # not fresh, and young enough
    await emulator.stop_region("us-east")
    with pytest.raises(TransportError):
        await client.fetch(asked, max_age=100.0, timeout=5)
    assert (await client.fetch(asked, timeout=5)).source == "stale"
    for wrong in (-1.0, "1"):
        with pytest.raises(InvalidRequest):
            await client.fetch(asked, max_age=wrong)  # type: ignore[arg-type]


async def test_callers_who_want_it_young_share_one_request(
    emulator: Emulator, client: Client, clock: Clock
) -> None:
    asked = properties(NAMES[0])
    await client.fetch(asked)
    clock.now += 1.0
    before = emulator.count("properties")
    await asyncio.gather(*(client.fetch(asked, max_age=0.5) for _ in range(20)))
    assert emulator.count("properties") == before + 1


# --- what no old answer hides


@pytest.mark.parametrize(
    ("fault", "expected"),
    [(Redirect("https://elsewhere.invalid/"), RedirectRefused), (Endless(), BodyTooLarge)],
)
async def test_what_is_no_outage_is_told_at_once_whatever_is_known(
    emulator: Emulator, clock: Clock, fault: Redirect | Endless, expected: type[TransportError]
) -> None:
    limits = Limits(failures=10**9, body=2**20)
    async with client_of(emulator, clock, limits=limits) as client:
        await client.properties("beta")
        emulator.fault(fault, resource="properties", times=None)
        clock.now += FRESH + GRACE
        with pytest.raises(expected):
            await client.properties("beta")
        assert client.stats().entries == 0, "it would hide what the service says now"
        emulator.clear_faults()
        await client.properties("beta")
        clock.now += FRESH + 1  # within the grace it is found out in the background
        emulator.fault(fault, resource="properties", times=None)
        await client.properties("beta")
        await renewed(client)
        with pytest.raises(expected):
            await client.properties("beta")


async def test_an_outage_does_not_bring_back_what_was_invalidated(
    emulator: Emulator, client: Client, clock: Clock
) -> None:
    await client.properties("beta")
    clock.now += FRESH + GRACE
    held = emulator.fault(Hold(), resource="properties")
    asking = asyncio.create_task(client.properties("beta"))
    await held.reached()
    assert await client.invalidate() >= 1
    emulator.fault(Reset(), resource="properties", times=None)
    held.release()
    await asyncio.wait([asking])
    with pytest.raises(TransportError):
        await client.properties("beta")


# --- max_age


async def test_cold_callers_with_different_ages_cost_one_request(emulator: Emulator, client: Client) -> None:
    ages = (None, 0.0, 0.5, 1.0, 100.0)
    asked = (client.fetch(properties("beta"), max_age=max_age) for max_age in ages)
    answers = await asyncio.gather(*asked)
    assert emulator.count("properties") == 1
    assert {answer.source for answer in answers} == {"origin"}


async def test_a_clock_that_goes_back_costs_no_storm_of_requests(
    emulator: Emulator, client: Client, clock: Clock
) -> None:
    held = emulator.fault(Hold(), resource="properties")
    asking = asyncio.create_task(client.fetch(properties("beta"), max_age=0))
    await held.reached()
    clock.now -= 5.0
    held.release()
    assert (await asking).source == "origin"
    assert emulator.count("properties") == 1


@pytest.mark.parametrize("max_age", [10**400, 1e308, float("inf")])
async def test_any_age_will_do(emulator: Emulator, client: Client, clock: Clock, max_age: float) -> None:
    known = await client.fetch(properties("beta"))
    clock.now += FRESH + GRACE
    assert (await client.fetch(properties("beta"), max_age=max_age)).value is known.value
