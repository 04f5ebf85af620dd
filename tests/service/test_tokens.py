"""Tokens: one renewal at a time, ahead of expiry, and never a secret in an error."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from itertools import count
from typing import Any

import anyio
import pytest

from qrbackends import (
    Account,
    AccountError,
    AuthenticationFailed,
    ClientClosed,
    DecodeError,
    Forbidden,
    ServerError,
    Timeout,
    TransportError,
)
from qrbackends.accounts.secret import Bearer, Secret
from qrbackends.emulator import Emulator, Garbage, Hold, Status
from qrbackends.service.sender import Sender
from qrbackends.service.tokens import Tokens
from qrbackends.tasks.deadlines import Calls
from qrbackends.transport.pool import SessionPool
from qrbackends.transport.retry import RetryPolicy

from ..emulator.asking import Asker
from ..internals import flights
from ..waiting import until

pytestmark = pytest.mark.anyio


class Clock:
    """Unix seconds that move only when the test sets them."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


START = 1_800_000_000.0
CLOCK = Clock(START)


@pytest.fixture(autouse=True)
def clock() -> Clock:
    CLOCK.now = START
    return CLOCK


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    async with Emulator(regions=("us-east",), clock=CLOCK, token_lifetime=3600) as running:
        yield running


@pytest.fixture
async def pool() -> AsyncIterator[SessionPool]:
    pool = SessionPool()
    yield pool
    await pool.aclose()


def tokens_of(
    account: Account, pool: SessionPool, clock: Callable[[], float] = time.time, attempts: int = 5
) -> Tokens:
    sender = Sender(account, pool, RetryPolicy(attempts=attempts))
    return Tokens(account, sender, Calls(pool.limits.total, pool), "tenant", clock)


@pytest.fixture
async def tokens(emulator: Emulator, pool: SessionPool, clock: Clock) -> AsyncIterator[Tokens]:
    tokens = tokens_of(emulator.account(), pool, clock, attempts=1)
    yield tokens
    await tokens.aclose()


async def settle(tokens: Tokens, emulator: Emulator, renewals: int) -> None:
    """Wait for renewals in the background, which nobody waits for, to have ended."""
    await until(lambda: emulator.count("token") >= renewals and "token" not in flights(tokens).under_way)


async def test_a_key_that_is_revoked_ends_its_token_at_the_next_renewal(
    tokens: Tokens, emulator: Emulator, clock: Clock
) -> None:
    await tokens.authorization()
    emulator.fault(Status(400), resource="token", times=None)
    clock.now += 0.85 * 3600
    await tokens.authorization()  # it renews in the background
    await settle(tokens, emulator, 2)
    with pytest.raises(AuthenticationFailed):
        await tokens.authorization()


async def test_a_thousand_callers_cost_one_exchange(tokens: Tokens, emulator: Emulator) -> None:
    answers = await asyncio.gather(*(tokens.authorization() for _ in range(1000)))
    assert len(set(answers)) == 1
    assert answers[0].reveal().startswith("Bearer ey")
    assert emulator.count("token") == 1


async def test_a_token_is_used_until_four_fifths_of_its_life(
    tokens: Tokens, emulator: Emulator, clock: Clock
) -> None:
    first = await tokens.authorization()
    clock.now += 0.79 * 3600
    assert await tokens.authorization() == first
    assert emulator.count("token") == 1


async def test_renewal_begins_ahead_of_expiry_and_nobody_waits(
    tokens: Tokens, emulator: Emulator, clock: Clock
) -> None:
    first = await tokens.authorization()
    clock.now += 0.81 * 3600
    held = emulator.fault(Hold(), resource="token")
    assert await tokens.authorization() == first
    assert await tokens.authorization() == first
    held.release()
    await settle(tokens, emulator, 2)
    assert await tokens.authorization() != first
    assert emulator.count("token") == 2


async def test_a_token_about_to_expire_is_not_sent(tokens: Tokens, clock: Clock) -> None:
    first = await tokens.authorization()
    clock.now += 3600 - 29
    assert await tokens.authorization() != first


async def test_iam_down_has_no_effect_while_the_token_lives(
    tokens: Tokens, emulator: Emulator, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    first = await tokens.authorization()
    emulator.fault(Status(503), resource="token", times=None)
    clock.now += 0.81 * 3600
    for _ in range(20):
        assert await tokens.authorization() == first
    await settle(tokens, emulator, 2)
    assert emulator.count("token") == 2, "a failed renewal is not repeated at once"
    assert [record.levelno for record in caplog.records if record.name == "qrbackends.tokens"] == [
        logging.WARNING
    ]
    clock.now += 11
    await tokens.authorization()
    await settle(tokens, emulator, 3)
    clock.now += 3600
    with pytest.raises(ServerError, match="IAM answered with HTTP 503"):
        await tokens.authorization()


async def test_the_life_of_a_token_is_counted_by_our_clock(emulator: Emulator, pool: SessionPool) -> None:
    behind = Clock(1_000_000_000.0)
    tokens = tokens_of(emulator.account(), pool, behind)
    first = await tokens.authorization()
    behind.now += 2000
    assert await tokens.authorization() == first
    assert emulator.count("token") == 1
    await tokens.aclose()


async def test_a_refused_key_is_one_clear_error(emulator: Emulator, pool: SessionPool) -> None:
    tokens = tokens_of(replace(emulator.account(), api_key="not-a-key"), pool)
    with pytest.raises(AuthenticationFailed, match="IAM refused the API key") as caught:
        await tokens.authorization()
    assert caught.value.code == "BXNIM0415E"
    assert "not-a-key" not in repr(caught.value) + str(caught.value)
    assert emulator.count("token") == 1


async def test_a_refused_key_is_told_where_it_is_from_and_what_is_odd_about_it(
    emulator: Emulator, pool: SessionPool
) -> None:
    odd = replace(emulator.account(), api_key="'not-a-key ", source="the saved account 'work'")
    tokens = tokens_of(odd, pool)
    with pytest.raises(AuthenticationFailed) as caught:
        await tokens.authorization()
    message = str(caught.value)
    assert message.startswith("IAM refused the API key of the saved account 'work' (HTTP 400): ")
    odd_ends = "; it begins with a quotation mark and it ends with white space, which no key does"
    assert message.endswith(odd_ends)
    assert "not-a-key" not in message


async def test_a_refusal_is_believed_for_ten_seconds(
    tokens: Tokens, emulator: Emulator, clock: Clock
) -> None:
    emulator.fault(Status(400, body={"errorMessage": "no such key"}), resource="token", times=None)
    for wait, exchanges in ((0.0, 1), (9.0, 1), (2.0, 2), (-100.0, 3)):
        clock.now += wait
        outcomes = await asyncio.gather(*(tokens.authorization() for _ in range(100)), return_exceptions=True)
        assert {str(outcome) for outcome in outcomes} == {"IAM refused the API key (HTTP 400): no such key"}
        assert emulator.count("token") == exchanges, "no storm of exchanges"
    emulator.clear_faults()
    clock.now += 11.0
    await tokens.authorization()


async def test_a_new_token_that_is_refused_as_well_is_not_replaced_at_once(
    tokens: Tokens, emulator: Emulator, clock: Clock
) -> None:
    assert tokens.reject(await tokens.authorization())
    second = await tokens.authorization()
    for _ in range(50):
        assert not tokens.reject(second)
        assert await tokens.authorization() == second
    assert emulator.count("token") == 2
    clock.now += 11.0
    assert tokens.reject(second)
    assert await tokens.authorization() != second


@pytest.mark.parametrize("ahead", [-600.0, 600.0])
async def test_ten_minutes_between_the_clocks_do_no_harm(
    emulator: Emulator, pool: SessionPool, clock: Clock, ahead: float
) -> None:
    ours = Clock(clock.now + ahead)
    tokens = tokens_of(emulator.account(), pool, ours)
    async with Asker(emulator) as ask:
        for _ in range(48):  # in steps of five minutes, over four hours
            ask.token = (await tokens.authorization()).reveal().removeprefix("Bearer ")
            assert (await ask.get("/backends")).status == 200, "a token that is sent is alive"
            ours.now += 300.0
            clock.now += 300.0
            await until(lambda: "token" not in flights(tokens).under_way)
    assert 4 <= emulator.count("token") <= 7
    await tokens.aclose()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"access_token": 5, "expires_in": 1}',
        b'{"access_token": "x\\n", "expires_in": 1}',
    ],
)
async def test_an_answer_without_a_token_is_an_error_that_shows_none_of_it(
    tokens: Tokens, emulator: Emulator, body: bytes
) -> None:
    emulator.fault(Garbage(body), resource="token")
    with pytest.raises(DecodeError, match="holds no token") as caught:
        await tokens.authorization()
    assert caught.value.text == ""


async def test_an_odd_code_does_not_hide_the_reason(tokens: Tokens, emulator: Emulator) -> None:
    emulator.fault(Status(400, body={"errorCode": 7, "errorMessage": "no such key"}), resource="token")
    with pytest.raises(AuthenticationFailed, match="no such key") as caught:
        await tokens.authorization()
    assert caught.value.code is None


@pytest.mark.parametrize("lifetime", [b"3600", b"3600.0", b"3.6e3"])
async def test_a_lifetime_is_read_however_the_number_is_written(
    tokens: Tokens, emulator: Emulator, lifetime: bytes
) -> None:
    emulator.fault(Garbage(b'{"access_token": "a.b.c", "expires_in": %s}' % lifetime), resource="token")
    assert (await tokens.authorization()).reveal() == "Bearer a.b.c"


@pytest.mark.parametrize(("status", "body"), [(400, "<html>"), (401, "<html>"), (403, {"errorCode": None})])
async def test_a_refusal_without_reason_is_a_refusal(
    tokens: Tokens, emulator: Emulator, status: int, body: Any
) -> None:
    emulator.fault(Status(status, body=body), resource="token")
    with pytest.raises(AuthenticationFailed, match=str(status)) as caught:
        await tokens.authorization()
    assert caught.value.code is None


async def test_a_firewall_in_front_of_iam_refuses_no_key(
    tokens: Tokens, emulator: Emulator, clock: Clock
) -> None:
    emulator.fault(Status(403, body="<title>Blocked</title>"), resource="token", times=None)
    with pytest.raises(Forbidden, match="IAM answered with HTTP 403: Blocked") as caught:
        await tokens.authorization()
    assert (caught.value.outage, caught.value.final) == (True, False)
    emulator.clear_faults()
    await tokens.authorization()


@pytest.mark.parametrize("status", [302, 404, 418])
async def test_an_address_that_is_not_iam_s_is_told(tokens: Tokens, emulator: Emulator, status: int) -> None:
    emulator.fault(Status(status), resource="token")
    with pytest.raises(AccountError, match=f"HTTP {status}.*check the address of IAM, http://127") as caught:
        await tokens.authorization()
    assert not isinstance(caught.value, AuthenticationFailed)


async def test_an_answer_that_echoes_the_key_does_not_show_it(tokens: Tokens, emulator: Emulator) -> None:
    key = emulator.api_keys[0]
    emulator.fault(Status(400, body={"errorCode": key, "errorMessage": f"bad key {key}"}), resource="token")
    with pytest.raises(AuthenticationFailed, match=r"bad key \*\*\*") as caught:
        await tokens.authorization()
    assert key not in repr(caught.value) + repr(vars(caught.value)) + repr(caught.value.args)


async def test_what_iam_says_is_fit_for_a_terminal(tokens: Tokens, emulator: Emulator) -> None:
    said = {"errorCode": "B\x1b[2J", "errorMessage": "no\r\n\x1b]0;owned\x07" + "x" * 5000}
    emulator.fault(Status(400, body=said), resource="token")
    with pytest.raises(AuthenticationFailed) as caught:
        await tokens.authorization()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1100
    assert caught.value.code == "B [2J"


async def test_a_rejected_token_is_dropped_once(tokens: Tokens, emulator: Emulator) -> None:
    first = await tokens.authorization()
    assert tokens.reject(first)
    second = await tokens.authorization()
    assert second != first
    assert tokens.reject(first), "late news of the first one"
    assert await tokens.authorization() == second
    assert emulator.count("token") == 2


async def test_a_fixed_token_is_sent_as_it_is_and_cannot_be_renewed(pool: SessionPool) -> None:
    tokens = tokens_of(Account(token="abc"), pool)
    assert await tokens.authorization() == Secret("Bearer abc")
    assert not tokens.reject(Secret("Bearer abc"))
    assert await tokens.authorization() == Secret("Bearer abc")


async def test_a_provider_is_asked_when_its_token_nears_its_end(pool: SessionPool, clock: Clock) -> None:
    numbers = count(1)

    async def provider() -> Bearer:
        return f"token-{next(numbers)}", clock.now + 100

    tokens = tokens_of(Account(token=provider), pool, clock)
    assert await tokens.authorization() == Secret("Bearer token-1")
    clock.now += 60
    assert await tokens.authorization() == Secret("Bearer token-1")
    clock.now += 30
    assert await tokens.authorization() == Secret("Bearer token-2")
    assert tokens.reject(Secret("Bearer token-2"))
    assert await tokens.authorization() == Secret("Bearer token-3")


@pytest.mark.parametrize("lifetime", [1.0, 25.0, 60.0, 149.0, 150.0, 151.0, 299.0, 300.0, 3600.0])
async def test_a_token_is_renewed_ahead_however_short_its_life_is(
    pool: SessionPool, clock: Clock, lifetime: float
) -> None:
    numbers = count(1)

    async def provider() -> Bearer:
        return f"token-{next(numbers)}", clock.now + lifetime

    tokens = tokens_of(Account(token=provider), pool, clock)
    for part, token in ((0.0, 1), (0.79, 1), (0.81, 1)):  # the last begins a renewal, and does not wait
        clock.now = START + part * lifetime
        assert await tokens.authorization() == Secret(f"Bearer token-{token}")
    await until(lambda: "token" not in flights(tokens).under_way)
    late = 1.81 - 0.9 * min(30.0 / lifetime, 0.1)
    for part, token in ((0.82, 2), (0.81 + 0.79, 2), (late, 3)):  # the last waits for a new one
        clock.now = START + part * lifetime
        assert await tokens.authorization() == Secret(f"Bearer token-{token}")
    assert next(numbers) == 4
    await tokens.aclose()


LIFETIMES = [b"0", b"-1", b"-1e300", b"null", b'"3600"', b"1e999", b"9" * 400, b"true", b"[]", b"{}", b"NaN"]


@pytest.mark.parametrize("lifetime", [*LIFETIMES, b""])
async def test_an_answer_of_iam_without_a_lifetime_is_an_error(
    tokens: Tokens, emulator: Emulator, lifetime: bytes
) -> None:
    sent = b', "expires_in": ' + lifetime if lifetime else b', "expiration": 1800003600'
    emulator.fault(Garbage(b'{"access_token": "x"' + sent + b"}"), resource="token")
    with pytest.raises(DecodeError, match="holds no token"):
        await tokens.authorization()
    await tokens.authorization()


@pytest.mark.parametrize(
    "lifetime", [b"1e-3", b"25", b"3600.5", b"1e300", b"18446744073709551616", b"9" * 300]
)
async def test_any_number_of_seconds_may_be_a_lifetime(
    tokens: Tokens, emulator: Emulator, lifetime: bytes
) -> None:
    sent = b'{"access_token": "x", "expires_in": ' + lifetime + b', "expiration": "never", "odd": 1e5}'
    emulator.fault(Garbage(sent), resource="token")
    assert (await tokens.authorization()).reveal() == "Bearer x"
    assert (await tokens.authorization()).reveal() == "Bearer x"
    assert emulator.count("token") == 1


@pytest.mark.parametrize("answer", [None, ("x",), ("x", "soon"), ("", 1.0), (5, 1.0)])
async def test_a_provider_that_answers_nonsense_is_told(pool: SessionPool, answer: object) -> None:
    async def provider() -> object:
        return answer

    tokens = tokens_of(Account(token=provider), pool)  # type: ignore[arg-type]
    with pytest.raises(AccountError, match="token provider has to return") as caught:
        await tokens.authorization()
    assert caught.value.__cause__ is None, "it would quote what was returned"


class OtherLibrarysError(Exception):
    """What an HTTP client other than ours raises: no OSError."""


@pytest.mark.parametrize("failure", [ConnectionError("lost"), TimeoutError(), OtherLibrarysError()])
async def test_a_provider_that_cannot_reach_its_source_is_an_outage(
    pool: SessionPool, failure: Exception
) -> None:
    async def provider() -> Bearer:
        raise failure

    tokens = tokens_of(Account(token=provider), pool)
    with pytest.raises(TransportError, match=f"the token provider failed with {type(failure).__name__}"):
        await tokens.authorization()


async def test_a_provider_that_fails_is_told_with_its_place_and_not_with_its_words(pool: SessionPool) -> None:
    async def provider() -> Bearer:
        raise KeyError("the token is s3cret")

    tokens = tokens_of(Account(token=provider), pool)
    with pytest.raises(AccountError, match=r"KeyError \(test_tokens.py, line \d+, in provider\)") as caught:
        await tokens.authorization()
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


async def test_closing_ends_a_renewal(tokens: Tokens, emulator: Emulator) -> None:
    held = emulator.fault(Hold(), resource="token")
    waiting = asyncio.create_task(tokens.authorization())
    await held.reached()
    await tokens.aclose()
    with pytest.raises(ClientClosed):
        await waiting


async def test_a_provider_that_cancels_itself_is_not_a_closed_client(pool: SessionPool) -> None:
    async def provider() -> Bearer:
        raise asyncio.CancelledError

    tokens = tokens_of(Account(token=provider), pool)
    for _ in range(2):
        with pytest.raises(TransportError, match="the token provider failed with CancelledError"):
            await tokens.authorization()
    await tokens.aclose()


async def test_a_caller_who_is_cancelled_stays_cancelled(pool: SessionPool) -> None:
    begun = asyncio.Event()

    async def provider() -> Bearer:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    tokens = tokens_of(Account(token=provider), pool)
    asking = asyncio.create_task(tokens.authorization())
    await begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await tokens.aclose()


async def test_a_renewal_that_hangs_is_given_up_and_told(
    emulator: Emulator, pool: SessionPool, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    account = emulator.account()
    sender = Sender(account, pool, RetryPolicy(attempts=1))
    tokens = Tokens(account, sender, Calls(0.05, pool), "tenant", clock)
    first = await tokens.authorization(anyio.current_time() + 30)
    held = emulator.fault(Hold(), resource="token")
    clock.now += 0.85 * 3600
    assert await tokens.authorization() == first
    await held.reached()
    await until(lambda: bool(caplog.records))
    assert [record.name for record in caplog.records] == ["qrbackends.tokens"]
    assert "it took too long" in caplog.text
    held.release()
    await tokens.aclose()


async def test_a_token_is_waited_for_as_long_as_the_most_patient_caller_does(pool: SessionPool) -> None:
    release = asyncio.Event()

    async def provider() -> Bearer:
        await release.wait()
        return "a-token", time.time() + 3600

    looks = count()
    now = anyio.current_time()

    def deadline() -> float:  # somebody patient joins after the first look
        return now + 600 * min(next(looks), 1)

    tokens = tokens_of(Account(token=provider), pool)
    asking = asyncio.create_task(tokens.authorization(deadline))
    await until(lambda: anyio.current_time() > now)
    await anyio.wait_all_tasks_blocked()
    assert not asking.done()
    with pytest.raises(Timeout):
        await tokens.authorization(now)
    release.set()
    assert (await asking).reveal() == "Bearer a-token"
    await tokens.aclose()


async def test_a_provider_that_closes_what_asked_it_ends_the_call(pool: SessionPool) -> None:
    asked: list[Tokens] = []

    async def provider() -> Bearer:
        await asked[0].aclose()
        return "a-token", time.time() + 3600

    asked.append(tokens_of(Account(token=provider), pool))
    with anyio.fail_after(30), pytest.raises(ClientClosed):
        await asked[0].authorization()
