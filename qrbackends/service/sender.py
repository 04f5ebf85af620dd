"""The sender: sends requests to the service, IAM, Global Search and Global Catalog, with retries."""

import logging
import random
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, Protocol, TypeVar

import anyio
from msgspec import Struct

from ..accounts.account import Account
from ..accounts.secret import Secret
from ..errors import DecodeError, QRBackendsError, Unauthorized, WrongBackend
from ..tasks.flight import Deadline, Flight, unexplained
from ..transport.body import Wire
from ..transport.failures import located
from ..transport.pool import Response, SessionPool
from ..transport.retry import RetryPolicy, RetryState
from .redaction import redact

logger = logging.getLogger("qrbackends.retry")

_RETRIED: Final = "%s: attempt %d comes in %.2f s, after %s: %s"

T = TypeVar("T")


class Credentials(Protocol):
    """The source of the secret that a request carries."""

    async def authorization(self, until: Deadline) -> Secret:
        """Return the secret; `until` is the deadline of the call, in the event loop's time."""
        ...

    def reject(self, authorization: Secret) -> bool:
        """Note that the service refused the secret; return whether to try again with a new one."""
        ...

    def explain(self, late: QRBackendsError, now: float) -> QRBackendsError:
        """Return the error for a caller whose deadline passes while the secret is waited for."""
        ...


class Unconfirmed(Exception):
    """Raised by a reader: the condition of the request was not answered; send it again without one.

    Args:
        error: what was wrong with the answer, for the history of the call; it repeats nothing of it.
    """

    def __init__(self, error: QRBackendsError) -> None:
        super().__init__(error)
        self.error = error


class Message(Struct, Generic[T], eq=False, kw_only=True):
    """One request, and the reader of its answer; the subclasses say what the request has, and what it means.

    Attributes:
        region: the region whose limits apply; `iam`, `search` or `catalog` for the cloud's own services.
        tenant: the key of the rate limit; a 429 slows down requests with the same key.
        url: the address, percent-encoded.
        most: the most bytes that the answer may have, after decompression; None for the client's limit.
        known: the body of an earlier answer; an equal one is not decompressed.
    """

    region: str
    tenant: str
    url: str
    most: int | None = None
    known: Wire | None = None

    def headers(self, secret: Secret) -> Mapping[str, str]:
        """Return the request's own headers."""
        raise NotImplementedError

    def body(self, secret: Secret) -> Secret | None:
        """Return the body to POST; None for a GET."""
        return None

    def read(self, answer: Response) -> T:
        """Return the value of an answer; raise an error for it, or `Unconfirmed`."""
        raise NotImplementedError


class Sending(Protocol):
    """What sends messages; see `Sender.send`."""

    async def send(
        self,
        message: Message[T],
        credentials: Credentials,
        flight: Flight[Any],
        retry: RetryPolicy | None = None,
    ) -> T:
        """Return the answer to a message."""
        ...


class Sender:
    """Sends the messages of one account.

    Args:
        account: the account whose proxies and TLS settings are used.
        pool: the pool that sends the requests.
        retry: which failed requests are sent again, and when.
        draw: returns random numbers from 0 to 1.
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

    async def send(
        self,
        message: Message[T],
        credentials: Credentials,
        flight: Flight[Any],
        retry: RetryPolicy | None = None,
    ) -> T:
        """Return the answer to a message; send it again after failures, as the policy says.

        The policy is `retry`, or else the client's. It tries until the deadline of the flight, and sets
        `flight.explain`, so that callers whose own deadline passes earlier get the last failure. After a 401
        it sends the message once more with a new token, because the old one may have been revoked, or may
        have expired by the service's clock.

        Raises:
            QRBackendsError: the last failure of a request that was sent, with its attempts and history.
        """
        clock, deadline = flight.loop.time, flight.deadline
        state = _Sending(
            retry or self._retry, clock(), deadline, self._draw, message=message, credentials=credentials
        )
        flight.explain = state.explain
        renewed = False
        while True:
            state.for_answer = False
            secret = await credentials.authorization(deadline)
            state.for_answer = True
            data = message.body(secret)
            try:
                answer = message.read(
                    await self._pool.exchange(
                        "GET" if data is None else "POST",
                        message.url,
                        message.headers(secret),
                        region=message.region,
                        account=self._account,
                        tenant=message.tenant,
                        call=state,
                        data=data,
                        most=message.most,
                        known=message.known,
                    )
                )
                flight.explain = unexplained  # failures before an answer explain no delay after it
                return answer
            except Unconfirmed as unconfirmed:  # the service may work otherwise: there is no pause
                problem = located(unconfirmed.error, message.region, message.url)
                state.note(problem, clock())
                logger.info("%s: asked again without a condition: %s", message.url, problem.problem)
            except QRBackendsError as error:
                now = clock()
                redact(error, credential_of(secret))  # an answer may echo the secret
                located(error, message.region, message.url)
                if isinstance(error, (DecodeError, WrongBackend)):  # the answers may be one request behind
                    self._pool.retire_connections(message.region, message.url)
                if isinstance(error, Unauthorized) and not renewed and credentials.reject(secret):
                    renewed = True
                    state.note(error, now)
                    logger.info("%s: the token was refused, and is renewed", message.url)
                else:
                    pause = state.pause_after(error, now)
                    kind = type(error).__name__
                    logger.info(_RETRIED, message.url, state.sent + 1, pause, kind, error.problem)
                    await anyio.sleep(pause)


def credential_of(authorization: Secret) -> str:
    """Return the credential in the value of an `Authorization` header, without its scheme."""
    return authorization.reveal().removeprefix("Bearer ").removeprefix("apikey ")


class _Sending(RetryState, eq=False, kw_only=True):
    """What a call has sent, and what it waits for: the secret, or the answer."""

    message: Message[Any]
    credentials: Credentials
    for_answer: bool = False

    def explain(self, late: QRBackendsError, now: float) -> QRBackendsError:
        """Return the error for a caller who leaves meanwhile: the last failure, if there was any."""
        if self.for_answer:
            late = located(late, self.message.region, self.message.url)
        elif self.last is None:
            return self.credentials.explain(late, now)
        return self.failure(late, now)
