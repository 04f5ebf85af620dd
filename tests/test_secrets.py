"""Whatever goes wrong, nobody reads an API key or a token in what is logged, raised, counted or stored."""

import asyncio
import base64
import logging
import pickle
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from pprint import pformat
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from redis.asyncio import Redis

from qrbackends import (
    Account,
    AccountError,
    AuthenticationFailed,
    BadRequest,
    BodyDamaged,
    BodyTooLarge,
    CachePolicy,
    CircuitOpen,
    Client,
    ClientClosed,
    ConnectError,
    ConnectionLost,
    DecodeError,
    Forbidden,
    HeldBack,
    InvalidRequest,
    Limits,
    NotFound,
    QRBackendsError,
    RateLimited,
    ReadTimeout,
    RedirectRefused,
    RedisStore,
    Request,
    RetryPolicy,
    ServerError,
    Timeout,
    TransportError,
    Unauthorized,
    WrongEventLoop,
)
from qrbackends.accounts.saved import load_account
from qrbackends.emulator import (
    Action,
    Bomb,
    Drip,
    Emulator,
    Endless,
    Garbage,
    Hold,
    Redirect,
    Reset,
    Status,
    SyntheticFleet,
    Truncate,
)

from .cache.test_shared import everything_in
from .internals import issuer, parts, secret_holders
from .transport.test_pool import server as raw_server

pytestmark = pytest.mark.anyio

# Repeated, so that half of one is found as well; with what URLs and base64 write differently.
KEY_MARK, TOKEN_MARK, PROXY_MARK = "kEyM4rk+/=", "t0kEnM4rk+/=", "pr0xyM4rk"
KEY, TOKEN = KEY_MARK * 4, TOKEN_MARK * 6
REGION = "us-east"
NAME = "alpha"
RESOURCES = ("backends", "configuration", "properties", "status", "defaults")
NEVER = CachePolicy(
    backends=0, configuration=0, properties=0, defaults=0, negative=0, history=0, stale_if_error=0
)


def forms(secret: str) -> set[bytes]:
    """Return what a secret looks like in texts: as it is, in URLs, in base64 at any offset, in hex."""
    found = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), secret.encode().hex()}
    found |= {secret[::-1], repr(secret)[1:-1], secret.replace("/", "\\/")}
    for before in range(3):
        packed = base64.b64encode(b"\0" * before + secret.encode()).decode().rstrip("=")
        inner = packed[4 if before else 0 : len(packed) // 4 * 4]
        found |= {inner, inner.replace("+", "-").replace("/", "_")}
    return {form.encode() for form in found if len(form) >= 8}


class Watch:
    """Gathers all that anybody could read, and says which of it tells a secret."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self.errors: list[BaseException] = []

    def see(self, where: str, what: object) -> None:
        for text in what if isinstance(what, list) else [what]:
            if isinstance(text, bytes):
                self.seen.append((where, text))
            else:
                self.seen += [(where, f"{text!s}".encode(errors="backslashreplace"))]
                self.seen += [(where, f"{text!r}".encode(errors="backslashreplace"))]

    def see_error(self, where: str, error: BaseException) -> None:
        for one in chain_of(error):
            self.errors.append(one)
            self.see(where, [one, one.args, vars(one), getattr(one, "__notes__", [])])
            self.see(where, "".join(traceback.format_exception(one)))
            if isinstance(one, QRBackendsError):
                self.see(where, pformat(vars(one)))
                self.see(where, list(one.history))
                self.see(where, one.again())
                for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                    self.see(where, pickle.dumps(one, protocol))

    def see_log(self, caplog: pytest.LogCaptureFixture) -> None:
        for record in caplog.records:
            where = f"the log of {record.name}"
            self.see(where, [record.getMessage().encode(), repr(vars(record)).encode()])
            if record.exc_info and record.exc_info[1]:
                self.see_error(where, record.exc_info[1])
        self.see("the log", caplog.text)

    def leaks(self, secrets: Iterable[str]) -> set[tuple[str, str]]:
        """Return which secrets are found, and where."""
        seen = set(self.seen)
        return {
            (secret[:10], where)
            for secret in secrets
            for form in forms(secret)
            for where, text in seen
            if form in text
        }


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and all that hang on it."""
    left: list[BaseException | None] = [error]
    known: set[int] = set()
    while left:
        one = left.pop()
        if one is None or id(one) in known:
            continue
        known.add(id(one))
        yield one
        left += [one.__cause__, one.__context__, *getattr(one, "errors", ())]
        left += getattr(one, "exceptions", ())


def test_the_watch_finds_what_is_told() -> None:
    for secret in (KEY_MARK, TOKEN_MARK):
        for text in (
            secret,
            quote_plus(f"x={secret}&"),
            base64.b64encode(f"apikey:{secret}!".encode()).decode(),
            base64.b64encode(f"Bearer {secret}".encode()).decode(),
            base64.urlsafe_b64encode(f"a:{secret}".encode()).decode(),
        ):
            watch = Watch()
            inner = ValueError(text)
            outer = QRBackendsError("calm")
            outer.__context__ = inner
            watch.see_error("here", outer)
            assert watch.leaks([secret]), text
    watch = Watch()
    watch.see_error("here", QRBackendsError("calm"))
    assert not watch.leaks([KEY_MARK, TOKEN_MARK])


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    """A region with one small backend, whose IAM knows the marked key and issues marked tokens."""
    async with Emulator(SyntheticFleet({NAME: 5, "beta": 5}), [REGION]) as running:
        issues: Any = issuer(running)
        issues.keys = (KEY,)
        issue = issues.issue
        issues.issue = lambda key: issue(key) | {"access_token": TOKEN}
        issues.accepts = lambda token: token == TOKEN
        yield running


@pytest.fixture
def watch(caplog: pytest.LogCaptureFixture) -> Watch:
    caplog.set_level(logging.DEBUG)
    for name in tuple(logging.root.manager.loggerDict):
        caplog.set_level(logging.DEBUG, logger=name)
    return Watch()


def client_of(account: Account, **options: Any) -> Client:
    limits = options.pop("limits", None) or Limits(failures=10**9, body=1 << 20)
    retry = options.pop("retry", RetryPolicy(attempts=2, base=0.0))
    return Client(account, limits=limits, retry=retry, cache=NEVER, **options)


async def failing(
    watch: Watch, where: str, call: Callable[[], Awaitable[Any]], *expected: type[Exception]
) -> None:
    """Await what has to fail in one of these ways, and look at the error."""
    with pytest.raises(expected) as caught:
        await call()
    assert type(caught.value) in expected, f"{where}: {caught.value!r}"
    watch.see_error(where, caught.value)


ECHO: dict[str, Any] = {
    "errors": [
        {
            "code": f"c {TOKEN}",
            "message": f"no such thing as {TOKEN}",
            "solution": f"do not send {TOKEN}",
            "more_info": f"https://docs.invalid/?t={TOKEN}",
        }
    ],
    "title": f"Title {TOKEN}",
    "trace": f"t-{TOKEN}",
    "correlation_id": f"c-{TOKEN}",
}
HTML = f"<html>Authorization: Bearer {TOKEN}</html>"
HEADERS = {"X-Echo": TOKEN, "Set-Cookie": f"t={quote(TOKEN)}", "WWW-Authenticate": f"Bearer {TOKEN}"}

SERVICE: dict[str, tuple[Action, type[QRBackendsError]]] = {
    "400": (Status(400, HEADERS, ECHO), BadRequest),
    "401": (Status(401, HEADERS, ECHO), Unauthorized),
    "403": (Status(403, HEADERS, ECHO), Forbidden),
    "404": (Status(404, HEADERS, ECHO), NotFound),
    "429": (Status(429, HEADERS | {"Retry-After": "0"}, ECHO), RateLimited),
    "500": (Status(500, HEADERS, HTML), ServerError),
    "the token in Retry-After": (Status(500, {"Retry-After": TOKEN}, ECHO), ServerError),
    "reset": (Reset(), ConnectionLost),
    "cut": (Truncate(), BodyDamaged),
    "cut gzip": (Truncate(gzip=True), BodyDamaged),
    "garbage": (Garbage(f"Bearer {TOKEN}".encode()), DecodeError),
    "half of a document": (Garbage(f'{{"state": "{TOKEN}'.encode()), DecodeError),
    "another shape": (Garbage(f'["{TOKEN}"]'.encode()), DecodeError),
    "a wrong value": (Garbage(f'{{"length_queue": "{TOKEN}", "devices": "{TOKEN}"}}'.encode()), DecodeError),
    "a wrong key": (Garbage(f'{{"{TOKEN}": 1, "length_queue": null}}'.encode()), DecodeError),
    "bomb": (Bomb(2 << 20), BodyTooLarge),
    "endless": (Endless(), BodyTooLarge),
    "redirect": (Redirect(f"https://elsewhere.invalid/{TOKEN}?token={quote(TOKEN)}"), RedirectRefused),
    "headers": (Status(200, {"X-Echo": TOKEN * 1000}, ECHO), TransportError),
}
IAM_ECHO = {
    "errorCode": f"BX {KEY}",
    "errorMessage": f"no key {KEY}",
    "errorDetails": KEY,
    "context": {"k": KEY},
}
GIVEN = {"access_token": TOKEN, "expires_in": "soon", "apikey": KEY}
IAM: dict[str, tuple[Action, type[QRBackendsError]]] = {
    "400": (Status(400, {"X-Echo": KEY}, IAM_ECHO), AuthenticationFailed),
    "401": (Status(401, {}, IAM_ECHO), AuthenticationFailed),
    "403": (Status(403, {}, IAM_ECHO), AuthenticationFailed),
    "404": (Status(404, {}, IAM_ECHO), AccountError),
    "429": (Status(429, {"Retry-After": "0"}, IAM_ECHO), RateLimited),
    "500": (Status(500, {}, IAM_ECHO), ServerError),
    "502": (Status(502, {}, f"<html>apikey={KEY}</html>"), ServerError),
    "reset": (Reset(), ConnectionLost),
    "cut": (Truncate(), BodyDamaged),
    "cut gzip": (Truncate(gzip=True), BodyDamaged),
    "garbage": (Garbage(f"apikey={quote_plus(KEY)} {TOKEN}".encode()), DecodeError),
    "a wrong lifetime": (Status(200, {}, GIVEN), DecodeError),
    "half a token": (Garbage(f'{{"access_token": "{TOKEN}"'.encode()), DecodeError),
    "a token with a line end": (
        Status(200, {}, GIVEN | {"access_token": f"{TOKEN}\n", "expires_in": 9}),
        DecodeError,
    ),
    "redirect": (Redirect(f"https://elsewhere.invalid/?apikey={quote_plus(KEY)}", 307), AccountError),
    "endless": (Endless(), BodyTooLarge),
}


async def ask_everything(
    client: Client,
    watch: Watch,
    where: str,
    *expected: type[Exception],
    resources: tuple[str, ...] = RESOURCES,
) -> None:
    instance = parts(client).directory.scopes[0].instance
    for resource in resources:
        if resource == "defaults" and where.startswith("the service: a wrong"):
            continue  # any object will do there
        if resource != "backends" and where == "IAM: 429":
            continue  # each next one would wait longer
        request = Request(resource, None if resource == "backends" else NAME)  # type: ignore[arg-type]
        await failing(
            watch, f"{where}: {resource}", partial(client.fetch, request, instance=instance), *expected
        )
    watch.see(f"{where}: stats", client.stats())


async def test_nothing_tells_a_key_or_a_token(
    emulator: Emulator,
    store: RedisStore,
    redis: Redis,
    watch: Watch,
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
    tmp_path: Path,
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0  # every step of every task is logged
    try:
        await the_service_fails(emulator, watch)
        await iam_fails(emulator, watch)
        await nothing_is_sent(emulator, watch)
        await nothing_comes(emulator, watch)
        await the_store_holds(emulator, store, redis, watch)
        await providers_fail(emulator, watch)
        await accounts_are_wrong(emulator, watch, tmp_path)
    finally:
        loop.slow_callback_duration = 0.1
        loop.set_debug(False)
    watch.see_log(caplog)
    for warning in recwarn.list:
        watch.see("a warning", [warning.message, warning])
    leaks = watch.leaks([KEY_MARK, TOKEN_MARK, PROXY_MARK])
    assert not leaks, "\n".join(sorted(f"{secret}: {where}" for secret, where in leaks))
    assert len(watch.errors) > 150
    assert any(where == "the log of asyncio" for where, _ in watch.seen), "the loop did log its steps"
    assert any(where == "the log of qrbackends.pool" for where, _ in watch.seen)


async def the_service_fails(emulator: Emulator, watch: Watch) -> None:
    for name, (action, expected) in SERVICE.items():
        # After a 429 the same client would wait longer for each next answer.
        groups = [(one,) for one in RESOURCES] if name == "429" else [RESOURCES]
        for resources in groups:
            async with client_of(emulator.account()) as client:
                await client.backends()
                emulator.fault(action, region=REGION, times=None)
                where = f"the service: {name}"
                # What was cut off may have been all there was.
                may_be = [expected, *[NotFound] * name.startswith("cut")]
                await ask_everything(client, watch, where, *may_be, resources=resources)
                emulator.clear_faults()


async def iam_fails(emulator: Emulator, watch: Watch) -> None:
    for name, (action, expected) in IAM.items():
        emulator.fault(action, resource="token", times=None)
        async with client_of(emulator.account()) as client:
            await ask_everything(client, watch, f"IAM: {name}", expected)
            watch.see("IAM: refusal", secret_holders(client))
        emulator.clear_faults()


async def nothing_is_sent(emulator: Emulator, watch: Watch) -> None:
    account = emulator.account()
    client = client_of(account, limits=Limits(failures=1), retry=RetryPolicy(attempts=1))
    await client.backends()
    emulator.fault(Status(500, HEADERS, ECHO), resource="status")
    await failing(watch, "circuit", partial(client.status, NAME), ServerError)
    await failing(watch, "circuit", partial(client.status, NAME), CircuitOpen)
    await client.aclose()
    await ask_everything(client, watch, "closed", ClientClosed)

    async with client_of(account) as client:
        await client.backends()
        emulator.fault(Status(429, {"Retry-After": "60"}, ECHO), resource="status")
        await failing(watch, "held back", partial(client.status, NAME), RateLimited)
        await failing(watch, "held back", partial(client.status, NAME), HeldBack)
        await failing(watch, "invalid", partial(client.status, "a\r\nb"), InvalidRequest)
        await failing(watch, "invalid", partial(client.status, NAME, timeout=-1), InvalidRequest)
        await failing(watch, "foreign", partial(client.status, NAME, instance="crn:x"), AccountError)
        watch.see("reprs", secret_holders(client))
        watch.see("reprs", [account, pformat(account), account.api_key, vars(account)])
        await asyncio.to_thread(elsewhere, watch, client)
    emulator.clear_faults()


def elsewhere(watch: Watch, client: Client) -> None:
    with pytest.raises(WrongEventLoop) as caught:
        asyncio.run(client.status(NAME))
    watch.see_error("another loop", caught.value)


async def nothing_comes(emulator: Emulator, watch: Watch) -> None:
    quick = Limits(failures=10**9, read=1.0, connect=1.0)
    for action in (Hold(), Drip(0.01, head=True)):
        async with client_of(emulator.account(), limits=quick, retry=RetryPolicy(attempts=1)) as client:
            await client.status(NAME)
            emulator.fault(action, resource="status", times=None)
            await failing(watch, "silence", partial(client.status, NAME), ReadTimeout)
            emulator.clear_faults()
    async with client_of(emulator.account()) as client:
        await client.status(NAME)
        emulator.fault(Hold(), resource="status", times=None)
        await failing(watch, "deadline", partial(client.status, NAME, timeout=0.05), Timeout)
        emulator.clear_faults()
        emulator.fault(Status(500, HEADERS, ECHO), resource="status")
        emulator.fault(Hold(), resource="status", times=None)
        await failing(watch, "late", partial(client.status, NAME, timeout=2.0), ServerError)
        emulator.clear_faults()
        held = emulator.fault(Hold(), resource="properties")
        asking = asyncio.create_task(client.properties(NAME))
        await held.reached()
        watch.see("a task", asking)
        await client.aclose()
        with pytest.raises(ClientClosed) as caught:
            await asking
        watch.see_error("closing", caught.value)
        watch.see("a task", asking)
        emulator.clear_faults()
    async with client_of(emulator.account()) as client:
        await client.backends()
        await emulator.stop_region(REGION)
        await ask_everything(client, watch, "refused", ConnectError)
        await emulator.stop_region("cloud")
        async with client_of(emulator.account()) as another:
            await ask_everything(another, watch, "IAM is down", ConnectError)
        await emulator.start_region("cloud")
        await emulator.start_region(REGION)
    refusals = [b"HTTP/1.1 407 %s\r\nX: %s\r\nContent-Length: 0\r\n\r\n" % (TOKEN.encode(), KEY.encode())] * 9
    async with raw_server(*refusals) as (proxy, _):
        proxies = {"https": proxy.replace("://", f"://me:{PROXY_MARK}@")}
        (own,) = emulator.account().instances
        secure = replace(own, url="https://service.invalid/api/v1")
        account = replace(emulator.account(), proxies=proxies, instances=[secure])
        async with client_of(account) as client:
            await failing(watch, "proxy", client.backends, ConnectError)
            watch.see("proxy", [account, pformat(account), parts(client).pool])
    async with client_of(
        replace(account, proxies={"https": f"http://me:{PROXY_MARK}@127.0.0.1:1"})
    ) as client:
        await failing(watch, "no proxy", client.backends, ConnectError)


async def the_store_holds(emulator: Emulator, store: RedisStore, redis: Redis, watch: Watch) -> None:
    account = emulator.account()
    async with Client(account, store=store, retry=RetryPolicy(attempts=1)) as client:
        await client.backends()
        await client.configuration(NAME)
        await client.properties(NAME, updated_before=datetime(2026, 3, 1, tzinfo=UTC))
        watch.see("Redis", await everything_in(redis))
        for action, _ in SERVICE.values():
            emulator.fault(action, resource="properties", times=None)
            try:
                await client.properties(NAME, refresh=True)
            except QRBackendsError as error:
                watch.see_error(f"with a store: {type(error).__name__}", error)
            emulator.clear_faults()
            held = emulator.fault(Hold(), resource="properties")
            asking = asyncio.create_task(client.properties(NAME, refresh=True))
            await held.reached()
            seen = await everything_in(redis)
            assert seen
            watch.see("Redis", seen)
            held.cancel()
            await asyncio.wait([asking])
        watch.see("Redis", await everything_in(redis))
        watch.see("reprs", [store, client.stats()])


async def providers_fail(emulator: Emulator, watch: Watch) -> None:
    instances = emulator.account().instances

    async def returning(answer: Any) -> Any:
        return answer

    for answer in (
        None,
        TOKEN,
        (TOKEN,),
        (TOKEN, "soon"),
        (TOKEN, TOKEN),
        (f"{TOKEN}\n", 1e12),
        ([TOKEN], 1e12),
        {TOKEN: 1, KEY: 2},
    ):
        account = Account(token=partial(returning, answer), instances=instances)
        async with client_of(account) as client:
            await failing(watch, f"provider: {type(answer)}", client.backends, AccountError)
            watch.see("reprs", [client, account.identity])
    async with client_of(Account(token=TOKEN, instances=instances)) as client:
        await client.backends()
        watch.see("reprs", secret_holders(client))
        emulator.fault(Status(401, HEADERS, ECHO), region=REGION, times=None)
        await ask_everything(client, watch, "a fixed token", Unauthorized)
        emulator.clear_faults()


async def accounts_are_wrong(emulator: Emulator, watch: Watch, tmp_path: Path) -> None:
    def failing_now(where: str, make: Callable[[], Any], *expected: type[Exception]) -> None:
        with pytest.raises(expected) as caught:
            make()
        watch.see_error(where, caught.value)

    own = emulator.account()
    crn = own.instances[0].crn
    failing_now("both", lambda: Account(api_key=KEY, token=TOKEN), AccountError)
    failing_now("a line end", lambda: Account(api_key=f"{KEY}\n"), AccountError)
    failing_now("not ASCII", lambda: Account(token=f"{TOKEN}é"), AccountError)
    failing_now("bytes", lambda: Account(api_key=KEY.encode()), AccountError)  # type: ignore[arg-type]
    failing_now("an identity", lambda: Account(api_key=KEY, identity=KEY), AccountError)
    failing_now("an address", lambda: replace(own, iam_url=f"https://x:{KEY}@iam.invalid"), AccountError)
    failing_now("a query", lambda: replace(own, iam_url=f"https://iam.invalid?apikey={KEY}"), AccountError)
    failing_now("a proxy", lambda: replace(own, proxies={"https": f"ftp://me:{PROXY_MARK}@x"}), AccountError)
    failing_now("a proxy", lambda: replace(own, proxies={"https": f"http://me:{PROXY_MARK}@["}), AccountError)
    failing_now("a pickle", lambda: pickle.dumps(own), TypeError)
    failing_now("a pickle", lambda: pickle.dumps(own.api_key), TypeError)
    for number, text in enumerate(
        (
            f'{{"mine": {{"token": "{KEY}"',
            f'{{"mine": "{KEY}"}}',
            f'["{KEY}"]',
            f'{{"mine": {{"token": ["{KEY}"], "instance": "{crn}"}}}}',
            f'{{"mine": {{"token": "{KEY}\\n", "instance": "{crn}"}}}}',
            f'{{"mine": {{"token": "{KEY}", "instance": "{crn}", "url": "https://u:{KEY}@x"}}}}',
            f'{{"mine": {{"token": "{KEY}", "instance": 7}}}}',
            f'{{"mine": {{"token": "{KEY}", "proxies": "{KEY}", "instance": "{crn}"}}}}',
        )
    ):
        saved = tmp_path / f"{number}.json"
        saved.write_text(text)
        try:
            watch.see("saved", load_account("mine", saved))
        except QRBackendsError as error:
            watch.see_error(f"saved {number}", error)


# --- what a service would have to do on purpose, or by half

LONG = "longT0k" * 200  # as long as IBM's own, so that what is cut off holds a part of it


def saying(message: str) -> Status:
    return Status(400, {}, {"errors": [{"code": 1, "message": message}]})


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        (saying(f"bad token {LONG}"), "status"),
        (Garbage(f'{{"length_queue": "{LONG}"}}'.encode()), "status"),
        (Garbage(f"Bearer {LONG}".encode()), "status"),
        (Status(200, {"Content-Encoding": LONG}, b"x"), "status"),
        (saying(quote(LONG + "+/=", safe="")), "status"),
        (saying(base64.b64encode((LONG + "+/=").encode()).decode()), "status"),
        (Status(400, {}, {"errorMessage": f"grant_type=x&apikey={quote_plus(KEY)}"}), "token"),
        (Status(400, {}, {"errorMessage": base64.b64encode(KEY.encode()).decode()}), "token"),
        (Status(400, {}, {"errorMessage": "." * 990 + KEY}), "token"),
    ],
    ids=[
        "a message cut at 1,000 characters",
        "a value cut at 200 characters",
        "a body cut at 200 characters",
        "an encoding cut at 40 characters",
        "a token as in URLs",
        "a token in base64",
        "a form that IAM sends back",
        "a key in base64",
        "a key cut by the end of a message",
    ],
)
async def test_no_part_and_no_other_form_of_a_secret_is_told(
    emulator: Emulator, watch: Watch, action: Action, resource: str
) -> None:
    token = LONG + "+/="
    emulator.fault(action, resource=resource, times=None)
    account = emulator.account()
    if resource == "status":
        account = replace(account, api_key=None, token=token)
    async with client_of(account) as client:
        with pytest.raises(QRBackendsError) as caught:
            await client.status(NAME)
    watch.see_error("here", caught.value)
    leaks = watch.leaks([KEY_MARK, LONG[:35]])
    assert not leaks


@pytest.mark.parametrize("kind", [OSError, RuntimeError, ValueError])
async def test_a_provider_that_fails_with_the_token_in_its_words_tells_nobody(
    emulator: Emulator, watch: Watch, kind: type[Exception]
) -> None:
    async def failing_provider() -> tuple[str, float]:
        raise kind(f"cannot renew {TOKEN}")

    account = Account(token=failing_provider, instances=emulator.account().instances)
    async with client_of(account) as client:
        with pytest.raises(QRBackendsError) as caught:
            await client.backends()
    watch.see_error("here", caught.value)
    assert not watch.leaks([TOKEN_MARK])
