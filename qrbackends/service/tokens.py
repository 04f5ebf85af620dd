"""Bearer tokens: how they are obtained, and when they are renewed."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Annotated, cast
from urllib.parse import urlencode

import msgspec
from msgspec import Meta, Struct, field

from ..accounts.account import Account
from ..accounts.secret import BearerProvider, Secret, odd_ends
from ..errors import AccountError, AuthenticationFailed, DecodeError, QRBackendsError, Timeout, TransportError
from ..models.lenient import decode_leniently
from ..protocol.answers import error_for, is_json, json_object, page_title, printable
from ..protocol.lengths import MOST_BYTES
from ..tasks.deadlines import Calls
from ..tasks.flight import Deadline, Flight, Flights
from ..transport.pool import Response
from .provider import provided
from .sender import Message, Sender

logger = logging.getLogger("qrbackends.tokens")

_GRANT = "urn:ibm:params:oauth:grant-type:apikey"
_RENEW_AT = 0.8  # the part of a token's lifetime after which it is renewed, as in IBM's own SDK
_MARGIN = 30.0  # seconds; a token that expires sooner is not sent, as it may expire on its way
_SHARE = 0.1  # of a token's lifetime; the margin of a token that lives for less than 300 s
_PAUSE = 10.0  # seconds between renewals in the background while they fail
_CLOSING = 5.0  # seconds in which a token provider has to end once it is cancelled
_REFUSED_FOR = 10.0  # seconds after a refusal in which IAM is not asked again, so that it gets no flood


@dataclass(slots=True, eq=False)
class _Token:
    """The value of an `Authorization` header, and the times until which it is used, in Unix seconds.

    Attributes:
        authorization: the value of the header.
        expires: when the token expires.
        renew_at: when it is renewed in the background.
        usable_until: when a call has to wait for a new one, as this one may expire on its way.
        replaced_at: when it replaced a token that the service had refused.
    """

    authorization: Secret
    expires: float
    renew_at: float
    usable_until: float
    replaced_at: float = -inf


def _issued(bearer: Secret, begins: float, expires: float) -> _Token:
    """Return a token that is good from `begins` to `expires`, in Unix seconds."""
    lifetime = expires - begins
    margin = min(_MARGIN, _SHARE * lifetime)
    renew_at = begins + _RENEW_AT * lifetime
    return _Token(bearer.prefixed("Bearer "), expires, renew_at, expires - margin)


class _Exchange(Message[_Token], kw_only=True):
    """One exchange of an API key for a token: its request, and the credentials of the request."""

    account: Account
    key: Secret
    clock: Callable[[], float]
    asked: float = 0.0

    async def authorization(self, until: Deadline) -> Secret:
        self.asked = self.clock()
        return self.key

    def reject(self, authorization: Secret) -> bool:
        return False

    def explain(self, late: QRBackendsError, now: float) -> QRBackendsError:
        return late

    def headers(self, secret: Secret) -> Mapping[str, str]:
        return {"Content-Type": "application/x-www-form-urlencoded"}

    def body(self, secret: Secret) -> Secret:
        return Secret(urlencode({"grant_type": _GRANT, "apikey": secret.reveal()}))

    def read(self, answer: Response) -> _Token:
        """Return the token in IAM's answer; its expiry is computed by our own clock, as IAM's may differ."""
        if answer.status != 200:
            raise _refusal(self.account, answer)
        try:
            issued = msgspec.json.decode(answer.body, type=_Issued)
            bearer, lifetime = Secret(issued.access_token), issued.expires_in
        except (ValueError, RecursionError):
            damaged = not is_json(answer.body)
            del answer  # a traceback holds this frame, and the body may hold a token
        else:
            return _issued(bearer, self.asked, self.asked + lifetime)
        failure = DecodeError("IAM's answer holds no token", malformed=damaged)
        failure.outage = True  # it is no refusal, and says nothing about the answers that are cached
        raise failure


class Tokens:
    """The bearer tokens of one account.

    There is at most one renewal at a time. It begins at 80 % of a token's lifetime, in the background, so
    that no call waits for it. If it fails, the old token is used until it expires.

    Args:
        account: the account.
        sender: sends requests to IAM.
        calls: the client's calls.
        tenant: the key of the rate limit; a 429 of IAM slows down requests with the same key.
        clock: returns the time in Unix seconds.
    """

    def __init__(
        self,
        account: Account,
        sender: Sender,
        calls: Calls,
        tenant: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._account = account
        self._sender = sender
        self._calls = calls
        self._tenant = tenant
        self._clock = clock
        self._flights: Flights[_Token] = Flights()
        self._token: _Token | None = None
        self._rejected = False  # whether the service refused the last token
        self._failing = False  # whether the last renewal in the background failed
        self._refusal: tuple[AuthenticationFailed, float] | None = None  # IAM's error, and its time

    async def authorization(self, until: Deadline | None = None) -> Secret:
        """Return the value of the `Authorization` header.

        Args:
            until: the caller's deadline; None for the default.

        Raises:
            AuthenticationFailed: IAM refused the API key.
            QRBackendsError: IAM or the token provider failed, or returned no valid token.
        """
        now = self._clock()
        token = self._token
        if token is not None and now < token.usable_until:
            if now >= token.renew_at:
                token.renew_at = now + _PAUSE
                if "token" not in self._flights.under_way:
                    renewal = self._flights.begin("token", self._renew, self._calls.deadline())
                    renewal.add_done_callback(self._renewed)
            return token.authorization
        if self._refusal is not None and 0 <= now - self._refusal[1] < _REFUSED_FOR:
            raise self._refusal[0].again()
        deadline = self._calls.deadline() if until is None else until
        try:
            return (await self._flights.join("token", self._renew, deadline)).authorization
        except QRBackendsError as error:
            valid = token is not None and token is self._token and self._clock() < token.expires
            if not error.final and token is not None and valid:
                return token.authorization  # it expires soon, but is still valid
            raise

    def reject(self, authorization: Secret) -> bool:
        """Drop a token that the service refused; return whether to try again with a new one.

        The answer is no if the refused token is itself a recent replacement of a refused one: then a new
        token does not help.
        """
        if isinstance(self._account.token, Secret):
            return False
        if self._token is not None and self._token.authorization == authorization:
            if 0 <= self._clock() - self._token.replaced_at < _REFUSED_FOR:
                return False
            self._token = None
            self._rejected = True
        return True

    def explain(self, late: QRBackendsError, now: float) -> QRBackendsError:
        """Return the error for a caller whose deadline passes while a token is waited for."""
        renewal = self._flights.under_way.get("token")
        return late if renewal is None else renewal.explain(late, now)

    async def aclose(self) -> None:
        """Cancel a renewal that is in flight; a provider that goes on all the same is not waited for."""
        await self._flights.aclose(_CLOSING)

    async def _renew(self, flight: Flight[_Token]) -> _Token:
        try:
            self._token = await self._new(flight)
        except AuthenticationFailed as error:
            self._refusal = (error.again(), self._clock())
            raise
        self._refusal, self._failing = None, False
        if self._rejected:
            self._rejected = False
            self._token.replaced_at = self._clock()
        return self._token

    def _renewed(self, renewal: asyncio.Task[_Token]) -> None:
        """Report the failure of a renewal in the background, which nobody may wait for."""
        error = Timeout("it took too long") if renewal.cancelled() else renewal.exception()
        if isinstance(error, AuthenticationFailed):
            self._token = None  # the key was revoked: the next call gets the error
        elif error is not None and not self._flights.closed:
            level = logging.DEBUG if self._failing else logging.WARNING  # once per outage
            self._failing = True
            logger.log(level, "the token could not be renewed, the old one is still good: %s", error)

    async def _new(self, flight: Flight[_Token]) -> _Token:
        key, token = self._account.api_key, self._account.token
        if isinstance(key, Secret):
            exchange = _Exchange(
                region="iam",
                tenant=self._tenant,
                url=f"{self._account.iam}/identity/token",
                most=MOST_BYTES["token"],
                account=self._account,
                key=key,
                clock=self._clock,
            )
            return await self._sender.send(exchange, exchange, flight)  # the key is its credential
        if isinstance(token, Secret):
            return _issued(token, self._clock(), inf)
        given: tuple[Secret, float] | None = None
        flight.explain = _without_token
        with suppress(TimeoutError):
            # Whoever asks while the provider hangs joins this flight, which would never end without a limit.
            async with asyncio.timeout_at(self._calls.deadline()):
                given = await provided(cast("BearerProvider", token))
        if given is None:  # raised here, so that its context does not hold the provider's frames
            raise Timeout("the token provider did not return within the time of a call")
        bearer, expires = given
        now = self._clock()
        if expires <= now:
            raise TransportError(
                f"the token provider returned a token that expired {now - expires:.0f} s ago; the expiry has "
                "to be in Unix seconds"
            )
        return _issued(bearer, now, expires)


def _without_token(late: QRBackendsError, now: float) -> QRBackendsError:
    """Return the error for a caller who leaves while the token provider runs."""
    late.message += ": the token provider has not returned"
    return late


class _Issued(Struct, frozen=True):
    access_token: str
    expires_in: Annotated[float, Meta(gt=0)]  # `expiration` is not used, as it is by another clock than ours


class _Refused(Struct, frozen=True):
    code: str | None = field(name="errorCode", default=None)
    message: str | None = field(name="errorMessage", default=None)


def _refusal(account: Account, answer: Response) -> QRBackendsError:
    try:
        sent = decode_leniently(answer.body, _Refused)
    except (ValueError, RecursionError):
        sent = _Refused()
    said = printable(sent.message) if sent.message else page_title(answer.body)
    reason = f": {said}" if said else ""
    by_firewall = answer.status == 403 and not json_object(answer.body)  # says nothing about the key
    if answer.status in (400, 401, 403) and not by_firewall:
        key = account.api_key
        ends = odd_ends(key.reveal()) if isinstance(key, Secret) else ""
        of = f" of {account.source}" if account.source else ""
        hint = f"; {ends}, which no key does" if ends else ""
        error = AuthenticationFailed(f"IAM refused the API key{of} (HTTP {answer.status}){reason}{hint}")
        error.code = sent.code and printable(sent.code)
        return error
    message = f"IAM answered with HTTP {answer.status}{reason}"
    if by_firewall or answer.status == 429 or answer.status >= 500:
        return error_for(answer.status, message, answer.headers, own=False)
    return AccountError(f"{message}; check the address of IAM, {account.iam}")
