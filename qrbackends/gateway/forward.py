"""A gateway that passes each caller's own credential on, and keeps the answers apart by it."""

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from ..accounts.account import Account, Instance
from ..accounts.secret import Secret
from ..cache.memory import Memory
from ..cache.policy import CachePolicy
from ..cache.stats import CacheStats
from ..errors import AccountError, Forbidden, QRBackendsError, Unauthorized
from ..service.sender import Sender
from ..surface.tokens import sent
from ..surface.wire import Call, Errors
from ..tasks.deadlines import Calls
from ..tasks.flight import Deadline
from ..transport.pool import SessionPool
from ..transport.retry import RetryPolicy
from .callers import no_credential, no_instance
from .failures import Failures, WatchedSender
from .upstream import Upstream

CALLERS: Final = 1024
"""How many callers have a part of the memory; the one that asked least recently gives way."""

_INSTANCES: Final = 64  # CRNs of one caller; one more, and its part of the memory begins anew


class Forwarded:
    """The credentials of requests that a caller's own header authorizes."""

    def __init__(self, authorization: Secret) -> None:
        self._authorization = authorization

    async def authorization(self, until: Deadline | None = None) -> Secret:
        """Return the value of the header."""
        return self._authorization

    def reject(self, authorization: Secret) -> bool:
        """Return that there is no other one."""
        return False

    def explain(self, late: QRBackendsError, now: float) -> QRBackendsError:
        """Return the error as it is."""
        return late


class ForwardedCaller:
    """A caller with a credential of the service's, whose answers no other credential gets.

    Attributes:
        name: random, so that nothing of the credential is in logs.
        upstream: what asks the service with the credential.
    """

    def __init__(
        self,
        upstream: Upstream,
        credentials: Forwarded,
        expires: float | None,
        endpoints: Mapping[str, str],
        errors: Errors,
        is_known: Callable[["ForwardedCaller"], bool],
    ) -> None:
        self.name = secrets.token_hex(4)
        self.upstream = upstream
        self.expires = expires
        self._credentials = credentials
        self._endpoints = endpoints
        self._errors = errors
        self._is_known = is_known
        self._instances: dict[str, Instance] = {}

    async def instance(self, crn: str) -> Instance:
        """Return the instance with a CRN, which need not be one that the caller may use.

        Raises:
            Refused: the header is no CRN, or its region is none to which the gateway passes requests on.
        """
        known = self._instances.get(crn)
        if known is not None:
            return known
        try:
            region = Instance(crn).region
        except AccountError:
            raise self._errors.refuse(
                400, "The header Service-CRN has to be the CRN of an instance."
            ) from None
        if region not in self._endpoints:  # a region's name becomes a part of the address that is asked
            raise no_instance(self._errors)
        if len(self._instances) >= _INSTANCES:  # whoever tries CRNs takes no memory by it
            self._instances.clear()
            self.upstream.forget()
        made = self._instances[crn] = Instance(crn, url=self._endpoints[region])
        return made

    def asks_again(self, instance: Instance) -> bool:
        """Return whether the caller still has a part of the memory, and its token has not expired."""
        return self._is_known(self)

    def may_send(self) -> bool:
        """Return True: how much a caller may ask is the service's affair."""
        return True

    def failed(self, error: QRBackendsError) -> None:
        """Empty the caller's part of the memory if the service refused the credential."""
        if isinstance(error, Unauthorized) or (isinstance(error, Forbidden) and not error.outage):
            self.upstream.forget()

    def rejected(self, authorization: Secret) -> bool:
        """Empty the caller's part of the memory, and return that the refusal is the caller's affair."""
        self.upstream.forget()
        return False

    async def authorization(self) -> Secret:
        """Return the caller's own `Authorization` header."""
        return await self._credentials.authorization()


class Forwarding:
    """The source of a gateway that has no account.

    A credential is kept in this process's memory only, for as long as its caller is one of the last `most`,
    and only to ask the service with it. Its answers are under a key that is derived from it with a secret of
    this process. No token is believed: what it says of its own expiry only ends its part early.

    Args:
        endpoints: by region, the base address of its Backends API; the first one is asked for versions.
        pool: sends the requests; it stays open.
        policy: how long answers may be used.
        retry: which failed requests are sent again, and when.
        errors: makes error answers.
        failures: the log of failures.
        most: how many callers have a part of the memory.
        clock: the time in Unix seconds.
    """

    own = False
    account = None
    dropped: Callable[[ForwardedCaller], None] | None = None
    """Called with each caller who gives way, so that nothing else keeps its credential."""

    def __init__(
        self,
        endpoints: Mapping[str, str],
        pool: SessionPool,
        policy: CachePolicy,
        retry: RetryPolicy,
        errors: Errors,
        failures: Failures,
        *,
        most: int = CALLERS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._endpoints = dict(endpoints)
        self._pool = pool
        self._policy = policy
        self._retry = retry
        self._errors = errors
        self._failures = failures
        self._most = most
        self._clock = clock
        self._calls = Calls(pool.limits.total, pool)
        self._memory = Memory(policy.max_bytes)
        self._secret = secrets.token_bytes(32)
        self._callers: OrderedDict[bytes, ForwardedCaller] = OrderedDict()

    def caller(self, call: Call) -> ForwardedCaller:
        """Return the caller with the credential of a call.

        Raises:
            Refused: there is no credential.
        """
        scheme, credential = call.credentials
        digest = hmac.digest(self._secret, sent(f"{scheme} {credential}"), hashlib.sha256)
        known = self._callers.get(digest)
        if known is not None:
            if known.expires is not None and known.expires <= self._clock():
                self._drop(digest)  # the service is asked each time, and refuses it or not
            else:
                self._callers.move_to_end(digest)
                return known
        if scheme is None:
            raise no_credential(self._errors)
        return self._new(digest, scheme, credential)

    def _new(self, digest: bytes, scheme: str, credential: str) -> ForwardedCaller:
        try:
            header = Secret(f"{scheme} {credential}")
            account = Account(token=header)  # with the scheme, as the same text may be good in one only
        except AccountError:
            raise no_credential(self._errors) from None
        credentials = Forwarded(header)
        upstream = Upstream(
            account,
            WatchedSender(Sender(account, self._pool, self._retry), self._failures),
            credentials,
            self._calls,
            self._policy,
            self._memory,
            limit=self._pool.limits.body,
        )
        is_known = partial(self._is_known, digest)
        made = ForwardedCaller(
            upstream, credentials, _expiry(credential), self._endpoints, self._errors, is_known
        )
        while len(self._callers) >= self._most:
            self._drop(self._least_useful())
        self._callers[digest] = made
        return made

    def _is_known(self, digest: bytes, caller: ForwardedCaller) -> bool:
        if self._callers.get(digest) is not caller:
            return False
        self._callers.move_to_end(digest)
        return caller.expires is None or self._clock() < caller.expires

    def _least_useful(self) -> bytes:
        """Return who gives way: one without answers if these are many, else the one not heard longest.

        So made-up credentials, for which the service gives no answer, drive most callers' answers not out.
        """
        idle = [digest for digest, one in self._callers.items() if one.upstream.is_empty]
        return idle[0] if len(idle) > self._most // 4 else next(iter(self._callers))

    def _drop(self, digest: bytes) -> None:
        gone = self._callers.pop(digest)
        gone.upstream.forget()
        if self.dropped is not None:
            self.dropped(gone)

    @property
    def callers(self) -> int:
        """How many callers have a part of the memory."""
        return len(self._callers)

    async def served(self) -> tuple[tuple[str, ...], tuple[Instance, ...]]:
        """Return the regions to which requests are passed on; which instances there are is not known."""
        return tuple(self._endpoints), ()

    async def address(self) -> str:
        """Return the base address of the first region's service."""
        return next(iter(self._endpoints.values()))

    def upstreams(self) -> tuple[Upstream, ...]:
        """Return what asks the service for each caller."""
        return tuple(one.upstream for one in self._callers.values())

    def stats(self) -> tuple[CacheStats, ...]:
        """Return the statistics of all callers' caches."""
        return tuple(stats for one in self._callers.values() for stats in one.upstream.stats())

    async def aclose(self) -> None:
        """End all fetches, and forget all credentials."""
        callers, self._callers = list(self._callers.values()), OrderedDict()
        self._calls.end()
        for one in callers:
            await one.upstream.aclose()


def _expiry(token: str) -> float | None:
    """Return when a token says that it expires, in Unix seconds; None if it is no JWT, or does not say it."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims: Any = msgspec.json.decode(payload)
        expires = claims["exp"]
    except (binascii.Error, ValueError, LookupError, TypeError, RecursionError):
        return None
    return float(expires) if isinstance(expires, (int, float)) else None
