"""One account's way to the service: headers, answers, what is sent again, and a token that was refused."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

import anyio
from msgspec.structs import force_setattr

from ..accounts.account import Account, Instance
from ..accounts.scope import Scopes
from ..accounts.secret import Secret
from ..errors import InvalidRequest, QRBackendsError, Unauthorized
from ..models import BackendsResponse
from ..protocol.answers import parse
from ..protocol.headers import headers
from ..protocol.requests import API_VERSION, Request
from ..transport.pool import SessionPool
from ..transport.retry import RetryPolicy, Trail
from .redaction import redact
from .tokens import Tokens

T = TypeVar("T")

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class Answer(NamedTuple):
    """What the service answered: a `request.type`, the body that it was decoded from, and its `Date`."""

    value: Any
    body: bytes
    date: str


def read(request: Request, instance: Instance, status: int, headers: Mapping[str, str], body: bytes) -> Any:
    """Return an instance's answer to `request` as `api.parse` does; backends know where they are listed.

    Raises:
        QRBackendsError: as `api.parse` does.
    """
    value = parse(request, status, headers, body)
    if isinstance(value, BackendsResponse):
        region, crn = instance.region, instance.crn
        for device in value.devices:  # nobody else has them yet
            force_setattr(device, "region", region)
            force_setattr(device, "instance", crn)
    return value


async def persist(tokens: Tokens, trail: Trail, attempt: Callable[[Secret], Awaitable[T]]) -> T:
    """Return what `attempt` returns, which is given the `Authorization` and made again as the policy says.

    Args:
        tokens: where the authorization comes from.
        trail: what the policy is, and where to note what went wrong.
        attempt: sends one request.

    Raises:
        QRBackendsError: the last real failure.
    """
    renewed = False
    while True:
        authorization = await tokens.authorization(trail.until)
        try:
            return await attempt(authorization)
        except Unauthorized as error:
            # Once more with a new token: this one was revoked, or our clock is wrong.
            if renewed or not tokens.reject(authorization):
                trail.failed(error, anyio.current_time())
            renewed = True
            trail.note(error, anyio.current_time())
        except QRBackendsError as error:
            await anyio.sleep(trail.failed(error, anyio.current_time()))


class Origin:
    """Fetches from the service on behalf of one account.

    Args:
        account: whose rights are used.
        pool: what carries the requests.
        tokens: the account's bearer tokens.
        api_version: the `IBM-API-Version` to ask for, a date.
        retry: what is tried again.
        draw: gives random numbers from 0 to 1.
    """

    def __init__(
        self,
        account: Account,
        pool: SessionPool,
        tokens: Tokens,
        api_version: str = API_VERSION,
        retry: RetryPolicy | None = None,
        *,
        draw: Callable[[], float] = random.random,
    ) -> None:
        if not isinstance(api_version, str) or not _DATE.fullmatch(api_version):
            raise InvalidRequest(f"api_version has to be a date such as {API_VERSION}")
        self._account = account
        self._pool = pool
        self._tokens = tokens
        self._api_version = api_version
        self._scopes = Scopes(account, api_version)
        self._retry = retry or RetryPolicy()
        self._draw = draw

    def trail(self, until: float) -> Trail:
        """Return a new trail, for a call that begins now and has to end by then."""
        return Trail(self._retry, asyncio.get_running_loop().time(), until, self._draw)

    async def fetch(self, request: Request, instance: Instance, trail: Trail) -> Answer:
        """Return the service's answer to `request`, which is sent again as the policy says.

        It has no deadline of its own: whoever waits for it has one.

        Args:
            request: what to ask.
            instance: whom.
            trail: where to note what went wrong on the way; it knows how long is worth waiting for.

        Raises:
            QRBackendsError: the last real failure, with region, instance, backend, attempts and history
                filled in.
        """
        try:
            return await persist(self._tokens, trail, partial(self._attempt, request, instance, trail))
        except QRBackendsError as error:
            error.about(region=instance.region, instance=instance.crn, backend=request.backend_id)
            raise error from None

    async def _attempt(
        self, request: Request, instance: Instance, trail: Trail, authorization: Secret
    ) -> Answer:
        answer = await self._pool.exchange(
            "GET",
            instance.base_url + request.target,
            headers(authorization, instance.crn, self._api_version),
            lane=instance.region,
            account=self._account,
            tenant=self._scopes.of(instance),
            deadline=trail.deadline,
            sending=trail.sending,
            repeated=trail.sent > 0,
        )
        try:
            value = read(request, instance, *answer)
            return Answer(value, answer.body, answer.headers.get("Date", ""))
        except QRBackendsError as error:
            redact(error, authorization.reveal().removeprefix("Bearer "))  # an answer may echo it
            raise
