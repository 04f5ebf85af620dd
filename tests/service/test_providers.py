"""Token providers are anybody's code: whatever they do is an error of ours, without a secret."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from fractions import Fraction
from math import inf, nan
from typing import Any, NoReturn

import anyio
import pytest

from qrbackends import (
    Account,
    AccountError,
    Client,
    ClientClosed,
    Limits,
    QRBackendsError,
    RetryPolicy,
    Timeout,
    TransportError,
)
from qrbackends.accounts.secret import Bearer
from qrbackends.emulator import Emulator
from qrbackends.service.tokens import Tokens
from qrbackends.transport.pool import SessionPool

from ..internals import issuer
from ..waiting import until
from .test_tokens import Clock, tokens_of

pytestmark = pytest.mark.anyio

SECRET = "s3cret-0123456789"
NOW = 1_800_000_000.0


@pytest.fixture
async def pool() -> AsyncIterator[SessionPool]:
    pool = SessionPool()
    yield pool
    await pool.aclose()


def raising(failure: BaseException) -> Callable[[], Any]:
    async def provider() -> Bearer:
        raise failure

    return provider


def returning(answer: object) -> Any:
    async def provider() -> object:
        return answer

    return provider


def asking(provider: Any, pool: SessionPool, clock: Callable[[], float] = time.time) -> Tokens:
    return tokens_of(Account(token=provider), pool, clock)


class Custom(BaseException):
    pass


class Quoting(Exception):
    """An error whose very name was made of a secret."""


Quoting.__name__ = f"Bad\x1b[2J\n{'x' * 5000}"


FAILURES = [
    asyncio.CancelledError(SECRET),
    SystemExit(SECRET),
    KeyboardInterrupt(SECRET),
    GeneratorExit(SECRET),
    StopAsyncIteration(SECRET),
    Custom(SECRET),
    Quoting(SECRET),
    ExceptionGroup(SECRET, [OSError(SECRET), ExceptionGroup("x", [OSError(SECRET)])]),
    BaseExceptionGroup(SECRET, [asyncio.CancelledError(SECRET), KeyboardInterrupt(SECRET)]),
    BaseExceptionGroup(SECRET, [asyncio.CancelledError(SECRET)]),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__[:20])
async def test_whatever_a_provider_raises_is_an_outage_that_shows_no_secret(
    pool: SessionPool, failure: BaseException
) -> None:
    tokens = asking(raising(failure), pool)
    for _ in range(2):
        with pytest.raises(TransportError, match="the token provider failed with") as caught:
            await tokens.authorization()
        assert SECRET not in repr(caught.value) + repr(vars(caught.value))
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 400
    await tokens.aclose()


@pytest.mark.parametrize(
    "failure",
    [
        ValueError(SECRET),
        ExceptionGroup(SECRET, [ValueError(SECRET)]),
        ExceptionGroup(SECRET, [ExceptionGroup(SECRET, [KeyError(SECRET)])]),
    ],
)
async def test_a_mistake_is_one_in_a_group_too(pool: SessionPool, failure: Exception) -> None:
    tokens = asking(raising(failure), pool)
    with pytest.raises(
        AccountError, match=r"with (Value|Key)Error \(test_providers.py, line \d+, in provider\)"
    ) as caught:
        await tokens.authorization()
    assert SECRET not in repr(caught.value)


async def test_a_provider_that_cancels_the_task_it_runs_in_has_not_closed_the_client(
    pool: SessionPool,
) -> None:
    async def waits() -> Bearer:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.Event().wait()
        raise AssertionError

    async def returns() -> Bearer:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return SECRET, time.time() + 3600

    for provider in (waits, returns):
        tokens = asking(provider, pool)
        with pytest.raises(TransportError, match="cancelled"):
            await tokens.authorization()
        await tokens.aclose()


async def test_what_it_raises_when_its_caller_leaves_or_the_client_closes_changes_nothing(
    pool: SessionPool,
) -> None:
    begun = asyncio.Event()

    async def provider() -> Bearer:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError(SECRET)

    tokens = asking(provider, pool)
    leaving = asyncio.create_task(tokens.authorization())
    await begun.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    begun.clear()
    staying = asyncio.create_task(tokens.authorization())
    await begun.wait()
    await tokens.aclose()
    with pytest.raises(ClientClosed):
        await staying


async def test_one_that_hangs_is_left_at_the_deadline_of_the_call(pool: SessionPool) -> None:
    async def provider() -> Bearer:
        await asyncio.Event().wait()
        raise AssertionError

    tokens = asking(provider, pool)
    with pytest.raises(Timeout):
        await tokens.authorization(anyio.current_time() + 0.001)
    await tokens.aclose()


async def test_one_that_hangs_once_is_asked_again_though_somebody_always_waits(emulator: Emulator) -> None:
    source, asked = emulator.account(), list[int]()

    async def provider() -> Bearer:
        asked.append(1)
        if len(asked) == 1:
            await asyncio.Event().wait()
        return issuer(emulator).issue(emulator.api_keys[0])["access_token"], time.time() + 3600

    account = Account(token=provider, instances=source.instances[:1])
    async with Client(account, limits=Limits(total=0.1), retry=RetryPolicy(attempts=1)) as client:
        waiting = [asyncio.create_task(client.backends(timeout=600)) for _ in range(2)]
        async with asyncio.timeout(60):
            for error in await asyncio.gather(*waiting, return_exceptions=True):
                assert isinstance(error, Timeout)
                assert "the token provider did not return" in str(error)
            assert await client.backends(timeout=600)
    assert len(asked) == 2


async def test_one_that_ignores_its_cancellation_does_not_keep_a_client_open(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qrbackends.service.tokens._CLOSING", 0.01)
    ends = asyncio.Event()

    async def provider() -> Bearer:
        while not ends.is_set():
            with suppress(asyncio.CancelledError):
                await ends.wait()
        raise OSError

    before = asyncio.all_tasks()
    async with asyncio.timeout(30):
        async with Client(Account(token=provider, instances=emulator.account().instances)) as client:
            with pytest.raises(Timeout):
                await client.backends(timeout=0.001)
        ends.set()
        await until(lambda: asyncio.all_tasks() == before)


class Evil:
    """Fails wherever it is looked at."""

    def __init__(self, failure: BaseException) -> None:
        self.failure = failure

    def __iter__(self) -> NoReturn:
        raise self.failure

    def __float__(self) -> NoReturn:
        raise self.failure

    def __repr__(self) -> NoReturn:
        raise self.failure


NO_TOKENS = [
    None,
    5,
    "",
    b"token",
    "tokén",
    f"{SECRET}\n",
    f"{SECRET}\r\nHost: x",
    "\x00",
    [SECRET],
    object(),
]
NO_EXPIRIES = [10**400, -(10**400), nan, -1.0, -inf, "soon", "1800003600", b"1", None, [1.0], 1j]


@pytest.mark.parametrize(
    "answer",
    [
        *[(token, NOW + 3600) for token in NO_TOKENS],
        *[(SECRET, expiry) for expiry in NO_EXPIRIES],
        *[None, SECRET, (), (SECRET,), (SECRET, NOW + 3600, "x"), {SECRET: 1}, 5],
        Evil(RuntimeError(SECRET)),
        Evil(asyncio.CancelledError(SECRET)),
        (SECRET, Evil(SystemExit(SECRET))),
        (Evil(RuntimeError(SECRET)), NOW + 3600),
    ],
    ids=lambda _: "",
)
async def test_what_is_no_token_with_its_expiry_is_told_and_not_shown(
    pool: SessionPool, answer: object
) -> None:
    tokens = asking(returning(answer), pool, Clock(NOW))
    with pytest.raises(AccountError, match="token provider has to return") as caught:
        await tokens.authorization()
    assert SECRET not in repr(caught.value) + repr(vars(caught.value))
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


async def test_a_plain_function_is_told_that_it_has_to_be_async(pool: SessionPool) -> None:
    tokens = asking(lambda: (SECRET, NOW + 3600), pool)
    with pytest.raises(AccountError, match="has to be an async function") as caught:
        await tokens.authorization()
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize("expiry", [0, 3600, NOW - 1, NOW])
async def test_a_token_that_has_expired_is_not_sent(pool: SessionPool, expiry: float) -> None:
    tokens = asking(returning((SECRET, expiry)), pool, Clock(NOW))
    with pytest.raises(TransportError, match=r"expired .* s ago; .* Unix seconds") as caught:
        await tokens.authorization()
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize("expiry", [inf, 1e300, NOW + 3600, int(NOW) + 3600, Fraction(int(NOW) + 3600)])
async def test_a_token_may_never_expire(pool: SessionPool, expiry: Any) -> None:
    asked = []

    async def provider() -> Bearer:
        asked.append(1)
        return SECRET, expiry

    tokens = asking(provider, pool, Clock(NOW))
    for _ in range(3):
        assert (await tokens.authorization()).reveal() == f"Bearer {SECRET}"
    assert len(asked) == 1


async def test_a_client_whose_provider_misbehaves_is_not_closed(emulator: Emulator) -> None:
    failures = [*FAILURES]

    async def provider() -> Bearer:
        if failures:
            raise failures.pop(0)
        return "not-one-of-the-emulator's", time.time() + 3600

    account = Account(token=provider, instances=emulator.account().instances[:1])
    async with Client(account) as client:
        while failures:
            with pytest.raises(TransportError):
                await client.backends()
        with pytest.raises(QRBackendsError, match="401"):
            await client.backends()
