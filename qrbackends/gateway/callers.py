"""Who asks a gateway, and whose credential the service gets for it."""

from collections.abc import Callable
from math import ceil
from typing import Protocol

from ..accounts.account import Account, Instance
from ..accounts.secret import Secret
from ..cache.stats import CacheStats
from ..errors import QRBackendsError
from ..surface.wire import Call, Errors, Refused
from .upstream import Upstream


class Caller(Protocol):
    """One caller, as the credential of a call tells it."""

    @property
    def name(self) -> str:
        """What logs call it; nothing of a credential."""
        ...

    @property
    def upstream(self) -> Upstream:
        """What asks the service for it."""
        ...

    async def instance(self, crn: str) -> Instance:
        """Return the instance with a CRN, and its address.

        Raises:
            Refused: the caller may not use it, or it is none.
            QRBackendsError: the instances cannot be looked up.
        """
        ...

    async def authorization(self) -> Secret:
        """Return the value of the `Authorization` header for a request that is only passed on.

        Raises:
            QRBackendsError: there is none.
        """
        ...

    def rejected(self, authorization: Secret) -> bool:
        """Note that a request that was passed on was refused; return whether that is the gateway's affair.

        Args:
            authorization: the value of the header that the service refused.
        """
        ...

    def asks_again(self, instance: Instance) -> bool:
        """Return whether it may use an instance once more, without a look at its credential."""
        ...

    def may_send(self) -> bool:
        """Count one more request, and return whether its rate allows it; a refused one is not counted."""
        ...

    def failed(self, error: QRBackendsError) -> None:
        """Note that the service did not answer the caller's request with a document."""
        ...


class Source(Protocol):
    """Where the callers' answers come from."""

    @property
    def own(self) -> bool:
        """Whether the credential that the service gets is the gateway's own, and not the caller's."""
        ...

    @property
    def account(self) -> Account | None:
        """The gateway's own account, or None."""
        ...

    def caller(self, call: Call) -> Caller:
        """Return who asks.

        Raises:
            Refused: the credential is missing or not accepted, or the caller asks too often.
        """
        ...

    async def served(self) -> tuple[tuple[str, ...], tuple[Instance, ...]]:
        """Return the regions, and the instances where the source knows them.

        Raises:
            QRBackendsError: the instances cannot be looked up.
        """
        ...

    async def address(self) -> str:
        """Return the base address of the service of a region, for what needs no credential.

        Raises:
            QRBackendsError: the instances cannot be looked up.
        """
        ...

    def upstreams(self) -> tuple[Upstream, ...]:
        """Return what asks the service now."""
        ...

    def stats(self) -> tuple[CacheStats, ...]:
        """Return the statistics of all caches that are open."""
        ...

    async def aclose(self) -> None:
        """End all fetches."""
        ...


class Bucket:
    """Requests per second of one caller, with bursts of what comes together in a second.

    Args:
        rate: requests per second on average.
        clock: returns the seconds of a monotonic clock.
    """

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self.rate = rate
        self._clock = clock
        self._most = max(1.0, rate)
        self._left = self._most
        self._counted = clock()

    def take(self) -> float:
        """Take one request, and return 0; or return the seconds until there is one."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._counted) * self.rate)
        self._counted = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self.rate


def no_credential(errors: Errors) -> Refused:
    """Return the answer to a call whose credential is missing or not accepted."""
    return errors.refuse(
        401,
        "The credentials are missing, invalid or expired.",
        "Send a valid IAM token in the Authorization header.",
        headers={"WWW-Authenticate": "Bearer"},
    )


def no_instance(errors: Errors) -> Refused:
    """Return the answer to a call for an instance that the caller may not use."""
    return errors.refuse(
        403,
        "You are not authorized to use this instance in this region.",
        "Check the instance's CRN.",
        code=1219,
    )


def too_often(errors: Errors, seconds: float) -> Refused:
    """Return the answer to a caller who sends more requests than its key allows."""
    headers = {"Retry-After": str(max(1, ceil(seconds)))}
    return errors.refuse(429, "The key's rate is exceeded.", "Send fewer requests.", headers=headers)
