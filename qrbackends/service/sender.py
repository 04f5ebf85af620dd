"""One request to the service, IAM, Global Search or Global Catalog: sent, read, redacted, tried again."""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import anyio

from ..accounts.account import Account
from ..accounts.secret import Secret
from ..errors import QRBackendsError, Unauthorized
from ..tasks.flight import Flight
from ..transport.pool import Response, SessionPool
from ..transport.retry import RetryPolicy, RetryState
from .redaction import redact

T = TypeVar("T")


class Credentials(Protocol):
    """Where the secret comes from that a request carries."""

    async def authorization(self, until: float) -> Secret:
        """Return the secret; `until` is when the call ends, in the event loop's time."""
        ...

    def reject(self, authorization: Secret) -> bool:
        """Take note that the service refused the secret; return whether another one may do."""
        ...


@dataclass(frozen=True, slots=True)
class Message(Generic[T]):
    """One request, and how its answer is read.

    Attributes:
        region: whose limits it counts against: a region, `iam`, `search` or `catalog`.
        tenant: whom a 429 is about.
        url: the address, percent-encoded.
        headers: returns the headers for a secret.
        read: returns the value of an answer, or raises what the answer says.
        body: returns what to POST for a secret; None for a GET.
    """

    region: str
    tenant: str
    url: str
    headers: Callable[[Secret], Mapping[str, str]]
    read: Callable[[Response], T]
    body: Callable[[Secret], Secret] | None = None


class Sender:
    """Sends the messages of one account.

    Args:
        account: whose proxies and TLS settings hold.
        pool: what carries the requests.
        retry: which failures are tried again.
        draw: gives random numbers from 0 to 1.
    """

    def __init__(
        self,
        account: Account,
        pool: SessionPool,
        retry: RetryPolicy,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._account = account
        self._pool = pool
        self._retry = retry
        self._draw = draw

    async def send(self, message: Message[T], credentials: Credentials, flight: Flight[Any]) -> T:
        """Return the answer to a message, which is sent again as the policy says.

        It tries for as long as the flight is wanted, and explains to callers without time why it did not end.
        After a 401 it is sent once more with a new token: the token was revoked, or our clock is wrong.

        Raises:
            QRBackendsError: the last real failure, with attempts and history filled in.
        """
        now = asyncio.get_running_loop().time()
        state = RetryState(self._retry, now, flight.deadline, self._draw)
        flight.explain = state.failure
        renewed = False
        while True:
            secret = await credentials.authorization(flight.until)
            try:
                return message.read(
                    await self._pool.exchange(
                        "GET" if message.body is None else "POST",
                        message.url,
                        message.headers(secret),
                        region=message.region,
                        account=self._account,
                        tenant=message.tenant,
                        call=state,
                        data=None if message.body is None else message.body(secret),
                    )
                )
            except QRBackendsError as error:
                now = asyncio.get_running_loop().time()
                redact(error, secret.reveal().removeprefix("Bearer "))  # an answer may echo it
                if isinstance(error, Unauthorized) and not renewed and credentials.reject(secret):
                    renewed = True
                    state.note(error, now)
                else:
                    await anyio.sleep(state.pause_after(error, now))
