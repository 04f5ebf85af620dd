"""What deadlines, pauses and circuits do together: the client against the emulator."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import anyio
import pytest

from qrbackends import (
    BackendStatus,
    CachePolicy,
    CircuitOpen,
    Client,
    HeldBack,
    Limits,
    QRBackendsError,
    RateLimited,
    RetryPolicy,
    ServerError,
    ServiceUnavailable,
    SessionPool,
    Timeout,
)
from qrbackends.emulator import Emulator, Hold, Reset, Status, SyntheticFleet

from ..internals import parts, set_clock

pytestmark = pytest.mark.anyio

MANY = 20
NAMES = [f"b{number:02}" for number in range(2 * MANY)]
NEVER = CachePolicy(status=0, stale_if_error=0)


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    async with Emulator(SyntheticFleet(dict.fromkeys(NAMES, 2)), ["us-east", "eu-de"]) as running:
        yield running


def client_of(emulator: Emulator, **options: Any) -> Client:
    return Client(emulator.account(), cache=NEVER, **options)


async def outcomes(client: Client, names: tuple[str, ...], **options: Any) -> list[Any]:
    with anyio.fail_after(60):
        asked = (client.status(name, **options) for name in names)
        return await asyncio.gather(*asked, return_exceptions=True)


def kinds(found: list[Any]) -> set[str]:
    return {type(one).__name__ for one in found}


# --- deadlines


async def test_a_pause_longer_than_the_pools_limit_is_waited_for_where_the_call_has_time(
    emulator: Emulator,
) -> None:
    limits = Limits(total=0.5)
    async with client_of(emulator, limits=limits, retry=RetryPolicy(base=0.0)) as client:
        await client.backends(timeout=30)
        emulator.fault(Status(429, {"Retry-After": "1"}), region="us-east", resource="status")
        found = await outcomes(client, emulator.backends("us-east"), timeout=50.0)
    assert kinds(found) == {"BackendStatus"}


@pytest.mark.parametrize(
    ("fault", "first", "others"),
    [
        (Status(429, {"Retry-After": "20"}), RateLimited, HeldBack),
        (Status(503, {"Retry-After": "20"}), ServiceUnavailable, CircuitOpen),
    ],
)
async def test_a_pause_that_outlasts_a_call_is_told_at_once(
    emulator: Emulator, fault: Status, first: type[QRBackendsError], others: type[QRBackendsError]
) -> None:
    name, *more = emulator.backends("us-east")
    async with client_of(emulator, limits=Limits(per_region=1, total=600.0)) as client:
        await client.backends()
        emulator.fault(fault, resource="status")
        began = anyio.current_time()
        found = await outcomes(client, (name, *more[:5]), timeout=15.0)
        assert type(found[0]) is first
        assert {type(one) for one in found[1:]} == {others}
        assert all(15.0 < one.retry_after <= 20.0 for one in found)
        with pytest.raises(others):
            await client.status(name, timeout=15.0)
        assert emulator.count("status") == 1, "nothing else was sent"
        # Fifteen seconds were not waited for: a bound that a loaded machine keeps as well.
        assert anyio.current_time() - began < 14.0


async def test_a_flight_is_as_patient_as_the_most_patient_of_its_callers(emulator: Emulator) -> None:
    name = emulator.backends("us-east")[0]
    async with client_of(emulator, retry=RetryPolicy(base=0.0)) as client:
        await client.backends()
        emulator.fault(Status(429, {"Retry-After": "2"}), resource="status")
        asked = (client.status(name, timeout=timeout) for timeout in (0.5, 50.0))
        hasty, patient = await asyncio.gather(*asked, return_exceptions=True)
    assert type(hasty) is RateLimited, "the last real failure"
    assert isinstance(patient, BackendStatus)


# --- which error is raised


async def test_a_request_without_an_answer_is_an_attempt(emulator: Emulator) -> None:
    name = emulator.backends("us-east")[0]
    async with client_of(emulator, retry=RetryPolicy(base=0.0)) as client:
        await client.backends()
        emulator.fault(Hold(), resource="status", times=None)
        with pytest.raises(Timeout) as alone:
            await client.status(name, timeout=0.5)
        assert (alone.value.attempts, len(alone.value.history), emulator.count("status")) == (1, 1, 1)
        emulator.clear_faults()
        emulator.reset_log()
        emulator.fault(Status(503), resource="status")
        emulator.fault(Hold(), resource="status", times=None)
        with pytest.raises(ServiceUnavailable) as caught:
            await client.status(name, timeout=2.0)
        assert (caught.value.attempts, emulator.count("status")) == (2, 2)
        assert [attempt.problem.partition(":")[0] for attempt in caught.value.history] == [
            "ServiceUnavailable",
            "Timeout",
        ]


async def test_a_refused_token_is_an_attempt(emulator: Emulator) -> None:
    name = emulator.backends("us-east")[0]
    async with client_of(emulator, retry=RetryPolicy(attempts=3, base=0.0)) as client:
        await client.backends()
        emulator.fault(Status(401), resource="status")
        emulator.fault(Status(503), resource="status", times=None)
        with pytest.raises(ServiceUnavailable) as caught:
            await client.status(name)
    assert (caught.value.attempts, emulator.count("status")) == (3, 3)
    assert [attempt.problem.partition(":")[0] for attempt in caught.value.history] == [
        "Unauthorized",
        "ServiceUnavailable",
        "ServiceUnavailable",
    ]


# --- circuits


@pytest.mark.parametrize("fault", [Status(503), Reset()])
async def test_a_moment_that_strikes_many_costs_nobody_the_answer(
    emulator: Emulator, fault: Status | Reset
) -> None:
    names = emulator.backends("us-east")
    async with client_of(emulator) as client:
        await client.backends()
        emulator.fault(fault, region="us-east", resource="status", times=MANY)
        found = await outcomes(client, names)
        assert kinds(found) == {"BackendStatus"}
        assert emulator.count("status") == 2 * MANY


async def test_a_broken_document_does_not_cut_off_its_region(emulator: Emulator) -> None:
    broken, healthy, *_ = emulator.backends("us-east")
    async with client_of(emulator, retry=RetryPolicy(base=0.0)) as client:
        await client.backends()
        emulator.fault(Status(500), resource="status", backend=broken, times=None)
        for _ in range(4):
            with pytest.raises(ServerError) as caught:
                await client.status(broken)
            assert caught.value.attempts == 5
        assert (await client.status(healthy)).operational


async def test_a_dead_region_is_cut_off_and_the_other_is_not(emulator: Emulator) -> None:
    dead, alive = emulator.backends("us-east"), emulator.backends("eu-de")
    async with client_of(emulator, retry=RetryPolicy(attempts=1)) as client:
        await client.backends()
        await emulator.stop_region("us-east")
        seen = [kinds([(await outcomes(client, (name,)))[0]]).pop() for name in dead[:8]]
        assert seen[:5] == ["ConnectError"] * 5 or "ConnectionLost" in seen[:5]
        assert seen[-1] == "CircuitOpen"
        assert kinds(await outcomes(client, alive)) == {"BackendStatus"}


async def test_silence_cuts_a_region_off_though_its_callers_are_hasty(emulator: Emulator) -> None:
    names = emulator.backends("us-east")[:6]
    async with client_of(emulator, limits=Limits(failures=3)) as client:
        await client.backends()
        emulator.fault(Hold(), region="us-east", resource="status", times=None)
        assert kinds(await outcomes(client, names, timeout=1.2)) == {"Timeout"}
        with pytest.raises(CircuitOpen) as caught:
            await client.status(names[0], timeout=1.2)
        assert caught.value.retry_after > 0
        emulator.clear_faults()


async def test_one_accounts_mistakes_cut_nobody_off(emulator: Emulator) -> None:
    account = emulator.account()
    (here, _) = account.instances
    own = ssl.create_default_context()
    wrong = replace(account, instances=[replace(here, url=here.url.replace("http:", "https:"))], verify=own)  # type: ignore[union-attr]
    lost = replace(wrong, proxies={"https": "http://127.0.0.1:1"})
    async with SessionPool(Limits(failures=2)) as pool:
        for mistaken, expected in ((wrong, {"TLSError"}), (lost, {"ConnectError"})):
            once = RetryPolicy(attempts=1)
            async with Client(mistaken, pool=pool, cache=NEVER, retry=once) as client:
                for _ in range(5):
                    assert kinds(await outcomes(client, ("b00",))) == expected


async def test_who_has_begun_waits_for_a_short_rest(emulator: Emulator) -> None:
    names = emulator.backends("us-east")[:3]
    async with client_of(emulator, limits=Limits(failures=2), retry=RetryPolicy(base=0.0)) as client:
        await client.backends()
        emulator.fault(Status(503), region="us-east", resource="status", times=4)
        assert kinds(await outcomes(client, names)) == {"BackendStatus"}


async def test_a_token_that_lives_a_moment_longer_is_used_while_iam_is_down() -> None:
    now = [1.8e9]
    async with (
        Emulator(SyntheticFleet({"a": 2}), ["us-east"], clock=lambda: now[0]) as emulator,
        client_of(emulator, retry=RetryPolicy(attempts=1)) as client,
    ):
        set_clock(parts(client).tokens, lambda: now[0])
        await client.status("a")
        now[0] += 3600 - 20
        emulator.fault(Status(503), resource="token", times=None)
        assert (await client.status("a")).operational
        now[0] += 21
        with pytest.raises(ServiceUnavailable, match="IAM"):
            await client.status("a")
