"""Bearer tokens: where they come from, and when they are renewed."""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from traceback import extract_tb
from typing import Any
from urllib.parse import urlencode

import anyio
import msgspec
from msgspec import Struct, field

from ..accounts.account import Account
from ..accounts.scope import Scopes
from ..accounts.secret import Secret
from ..errors import (
    AccountError,
    AuthenticationFailed,
    DecodeError,
    QRBackendsError,
    RateLimited,
    ServerError,
    TransportError,
)
from ..protocol.answers import error_for, is_json, printable
from ..protocol.headers import USER_AGENT
from ..protocol.requests import API_VERSION
from ..tasks.deadlines import Calls
from ..tasks.flight import Flights
from ..transport.pool import Response, SessionPool
from ..transport.retry import RetryPolicy, Trail
from .redaction import redact

logger = logging.getLogger("qrbackends.auth")

_GRANT = "urn:ibm:params:oauth:grant-type:apikey"
_RENEW_AT = 0.8  # of a token's life, as IBM's own SDK does
_MARGIN = 30.0  # seconds before its expiry at which a token is not sent any more: it has to arrive alive
_PAUSE = 10.0  # seconds between renewals in the background while they fail
_CALM = (
    10.0  # seconds for which a refusal is believed: a bad key or a locked instance is no storm of exchanges
)


# What a provider raises where asking again will not help; all else, of whatever library, may be an outage.
_MISTAKES = (AccountError, ArithmeticError, AttributeError, LookupError, NameError, TypeError, ValueError)


@dataclass(slots=True, eq=False)
class _Token:
    """The value of the `Authorization` header, and when it expires and is to be renewed."""

    authorization: Secret
    expires: float
    renew_at: float
    instead_since: float = -inf  # where it replaced one that the service refused: since when


class Tokens:
    """The bearer tokens of one account.

    One renewal is under way at a time. It begins at 80 % of a token's life, in the background, so that no
    call waits for it; while it fails, the token that still lives is used.

    Args:
        account: whose.
        pool: what carries requests to IAM.
        calls: the client's calls.
        clock: Unix seconds.
        retry: how often IAM is asked again when it fails.
    """

    def __init__(
        self,
        account: Account,
        pool: SessionPool,
        calls: Calls,
        clock: Callable[[], float] = time.time,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._account = account
        self._pool = pool
        self._calls = calls
        self._clock = clock
        self._flights: Flights[_Token] = Flights()
        self._token: _Token | None = None
        self._retry = retry or RetryPolicy()
        self._trail: Trail  # of the renewal that is under way
        self._rejected = False
        self._refusal: tuple[AuthenticationFailed, float] | None = None  # and when
        self._tenant = Scopes(account, API_VERSION).credential
        key, token = account.api_key, account.token
        self._fixed = isinstance(token, Secret)
        self._fetch: Callable[[], Awaitable[_Token]]
        if isinstance(key, Secret):
            self._fetch = partial(self._from_iam, key)
        elif isinstance(token, Secret):
            self._fetch = partial(self._from_provider, partial(_unending, token))
        elif callable(token):
            self._fetch = partial(self._from_provider, token)

    async def authorization(self, until: float | None = None) -> Secret:
        """Return the value of the `Authorization` header.

        Args:
            until: when the caller's call ends, in the event loop's time; it is not waited for.

        Raises:
            AuthenticationFailed: IAM refused the API key.
            QRBackendsError: IAM, or the provider, could not be reached or made no sense.
        """
        now = self._clock()
        token = self._token
        if token is not None and now < token.expires - _MARGIN:
            if now >= token.renew_at:
                token.renew_at = now + _PAUSE
                self._join(self._calls.deadline())
                self._flights.begin("token", self._renew_quietly)
            return token.authorization
        if self._refusal is not None and 0 <= now - self._refusal[1] < _CALM:
            raise self._refusal[0].again()
        # Whoever waits has a deadline of their own, and the last to leave stops it.
        self._join(self._calls.deadline() if until is None else until)
        try:
            return (await self._flights.join("token", partial(self._renew, inf))).authorization
        except (TransportError, ServerError, RateLimited):
            if token is not None and token is self._token and self._clock() < token.expires:
                return token.authorization  # it still lives, if not for long
            raise

    def reject(self, authorization: Secret) -> bool:
        """Drop the token that the service refused; return whether another one may do.

        Where the one before it was refused, too, a moment ago, the token is not to blame.
        """
        if self._fixed:
            return False
        if self._token is not None and self._token.authorization == authorization:
            if 0 <= self._clock() - self._token.instead_since < _CALM:
                return False  # a new one was no better
            self._token = None
            self._rejected = True
        return True

    def _join(self, until: float) -> None:
        """Let a renewal be as patient as whoever waits longest for it."""
        if "token" not in self._flights:
            self._trail = Trail(self._retry, anyio.current_time(), until)
        self._trail.until = max(self._trail.until, until)

    async def aclose(self) -> None:
        """Stop a renewal that is under way."""
        await self._flights.aclose()

    async def _renew(self, deadline: float | None = None) -> _Token:
        with self._calls.call(deadline):
            try:
                self._token = await self._fetch()
            except AuthenticationFailed as error:
                self._refusal = (error.again(), self._clock())
                raise
        self._refusal = None
        if self._rejected:
            self._rejected = False
            self._token.instead_since = self._clock()
        return self._token

    async def _renew_quietly(self) -> _Token:
        try:
            return await self._renew()
        except AuthenticationFailed:
            self._token = None  # the key has been revoked: the next call is told
            raise
        except QRBackendsError as error:
            logger.warning("the token could not be renewed, the old one is still good: %s", error)
            raise

    async def _from_provider(self, provider: Callable[[], Awaitable[tuple[str | Secret, float]]]) -> _Token:
        try:
            answer = await provider()
        except Exception as error:  # it is the user's own code; its words may hold the token
            kind = AccountError if isinstance(error, _MISTAKES) else TransportError
            where = extract_tb(error.__traceback__)[-1]
            failure: QRBackendsError = kind(
                f"the token provider failed with {type(error).__name__} "
                f"({Path(where.filename).name}, line {where.lineno}, in {where.name})"
            )
        else:
            return self._provided(answer)
        raise failure

    def _provided(self, answer: Any) -> _Token:
        try:
            text, expires = answer
            bearer, until = text if isinstance(text, Secret) else Secret(text), float(expires)
        except (TypeError, ValueError):  # whose words may quote what was returned
            del answer
        else:
            now = self._clock()
            return _Token(bearer.prefixed("Bearer "), until, now + _RENEW_AT * (until - now))
        raise AccountError("the token provider has to return (token, expiry in Unix seconds)")

    async def _from_iam(self, key: Secret) -> _Token:
        trail = self._trail
        while True:
            try:
                return await self._exchange(key, trail)
            except QRBackendsError as error:
                await anyio.sleep(trail.failed(error, anyio.current_time()))

    async def _exchange(self, key: Secret, trail: Trail) -> _Token:
        asked = self._clock()
        answer = await self._pool.exchange(
            "POST",
            f"{self._account.iam}/identity/token",
            {
                "Accept": "application/json",
                "Content-Type": "application/x-www-form-urlencoded",
                "User-Agent": USER_AGENT,
            },
            lane="iam",
            account=self._account,
            tenant=self._tenant,
            deadline=trail.deadline,
            sending=trail.sending,
            repeated=trail.sent > 0,
            data=Secret(urlencode({"grant_type": _GRANT, "apikey": key.reveal()})),
        )
        try:
            bearer, lifetime = _read_token(self._account, answer)
        except QRBackendsError as error:
            del answer  # whose body may hold a token, and a traceback this frame
            redact(error, key.reveal())  # an answer may echo it
            raise
        # Counted from our own clock: IAM's may differ, and its `expiration` with it.
        return _Token(bearer.prefixed("Bearer "), asked + lifetime, asked + _RENEW_AT * lifetime)


async def _unending(token: Secret) -> tuple[Secret, float]:
    return token, inf


class _Issued(Struct, frozen=True):
    access_token: str
    expires_in: float


class _Refused(Struct, frozen=True):
    code: str | None = field(name="errorCode", default=None)
    message: str | None = field(name="errorMessage", default=None)


def _read_token(account: Account, answer: Response) -> tuple[Secret, float]:
    """Return the token in IAM's answer and its lifetime in seconds."""
    if answer.status != 200:
        raise _refusal(account, answer)
    try:
        issued = msgspec.json.decode(answer.body, type=_Issued)
        return Secret(issued.access_token), issued.expires_in
    except (ValueError, RecursionError):
        problem = "IAM's answer holds no token"  # and no more of it is told, as it may hold half of one
    raise DecodeError(problem, malformed=not is_json(answer.body))


def _refusal(account: Account, answer: Response) -> QRBackendsError:
    try:
        sent = msgspec.json.decode(answer.body, type=_Refused)
    except (ValueError, RecursionError):
        sent = _Refused()
    reason = f": {printable(sent.message)}" if sent.message else ""
    if answer.status in (400, 401, 403):
        error = AuthenticationFailed(f"IAM refused the API key (HTTP {answer.status}){reason}")
        error.code = sent.code and printable(sent.code)
        return error
    said = f"IAM answered with HTTP {answer.status}{reason}"
    if answer.status == 429 or answer.status >= 500:
        return error_for(answer.status, said, answer.headers)
    return AccountError(f"{said}; check the address of IAM, {account.iam}")
