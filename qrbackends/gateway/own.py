"""A gateway with an account of its own: callers present keys of the gateway's."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from ..accounts.account import Account, Instance
from ..accounts.secret import Secret
from ..assembly import Parts
from ..cache.memory import Memory
from ..cache.stats import CacheStats
from ..client import Client
from ..errors import QRBackendsError
from ..service.instances import UNKNOWN, ServiceInstance
from ..surface.cloud import Plan
from ..surface.wire import Call, Errors, as_uuid
from ..transport.pool import SessionPool
from .callers import Bucket, no_credential, no_instance, too_often
from .failures import Failures, WatchedSender
from .keys import Key, Keyring
from .upstream import Upstream

_LOOK_UP: Final = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class ListedInstance:
    """An instance of the account as the gateway's Global Search lists it."""

    crn: str
    name: str
    region: str
    plan: Plan
    tags: tuple[str, ...]
    usable: bool = True


class OwnAccount:
    """The source of a gateway that asks the service with a client's account.

    Args:
        client: the client, whose account, pool and tokens are used; its cache is not, as it keeps decoded
            answers.
        keyring: the keys that callers present.
        errors: makes error answers.
        failures: the log of failures.
        clock: returns the seconds of a monotonic clock, for the keys' rates.
    """

    own = True

    def __init__(
        self,
        client: Client,
        keyring: Keyring,
        errors: Errors,
        failures: Failures,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self.keyring = keyring
        self._errors = errors
        self._clock = clock
        self._parts: Parts = client._parts
        parts, policy = self._parts, self._parts.policy
        memory = Memory(policy.max_bytes, share=1.0)
        self.upstream = Upstream(
            parts.account,
            WatchedSender(parts.sender, failures),
            parts.tokens,
            parts.calls,
            policy,
            memory,
            store=parts.store,
            limit=parts.pool.limits.body,
        )
        self._buckets: dict[str, Bucket] = {}

    @property
    def pool(self) -> SessionPool:
        """The client's pool."""
        return self._parts.pool

    @property
    def account(self) -> Account:
        """The gateway's own account."""
        return self._parts.account

    def caller(self, call: Call) -> "OwnCaller":
        """Return the key that a call presents, itself or a token that was issued for it.

        Raises:
            Refused: there is no such key, or it asks too often.
        """
        scheme, credential = call.credentials
        key, expires = None, inf
        if scheme == "Bearer":
            key, expires = self.keyring.bearer(credential)
        elif scheme is not None:
            key = self.keyring.key(credential)
        if key is None:
            raise no_credential(self._errors)
        if wait := self.take(key):
            raise too_often(self._errors, wait)
        return OwnCaller(key, expires, self)

    def take(self, key: Key) -> float:
        """Count one request of a key, and return 0; or return the seconds until it may send one."""
        return self._bucket(key).take() if key.rate else 0.0

    def knows(self, instance: Instance) -> bool:
        """Return whether an instance is one of the account's that are known now."""
        return self._parts.directory.has(instance.crn)

    def _bucket(self, key: Key) -> Bucket:
        bucket = self._buckets.get(key.id)
        if bucket is None or bucket.rate != key.rate:
            bucket = self._buckets[key.id] = Bucket(key.rate, self._clock)
        return bucket

    async def instances(self) -> tuple[Instance, ...]:
        """Return the account's instances.

        Raises:
            QRBackendsError: they cannot be looked up.
        """
        return await self._parts.directory.instances()

    async def instance(self, crn: str, key: Key) -> Instance:
        """Return an instance of the account that a key may use.

        Raises:
            Refused: there is none.
            QRBackendsError: the instances cannot be looked up.
        """
        if key.may_use(crn):
            for one in await self.instances():
                if one.crn == crn:
                    return one
        raise no_instance(self._errors)

    async def listed(self, subject: str) -> Sequence[ListedInstance]:
        """Return the instances that a key may use, as Global Search lists them.

        Raises:
            Refused: they cannot be looked up.
        """
        key = self.keyring.of(subject)
        listed = [_entry(one) for one in await self._found()]
        return [one for one in listed if key is not None and key.may_use(one.crn)]

    async def plans(self) -> Sequence[Plan]:
        """Return the plans of all instances.

        Raises:
            Refused: the instances cannot be looked up.
        """
        return [_entry(one).plan for one in await self._found()]

    async def _found(self) -> Sequence[ServiceInstance]:
        try:
            return await self.client.instances(timeout=_LOOK_UP)
        except QRBackendsError:
            if self.account.instances:  # named, and usable although nobody tells their names and plans
                return [ServiceInstance(one) for one in self.account.instances]
        headers = {"Retry-After": "10"}
        raise self._errors.refuse(503, "The instances cannot be looked up.", headers=headers)

    async def served(self) -> tuple[tuple[str, ...], tuple[Instance, ...]]:
        """Return the regions of the account's instances, and these.

        Raises:
            QRBackendsError: they cannot be looked up.
        """
        found = await self.instances()
        return tuple(dict.fromkeys(one.region for one in found)), found

    async def address(self) -> str:
        """Return the base address of the first instance's service.

        Raises:
            QRBackendsError: the instances cannot be looked up.
        """
        return (await self.instances())[0].base_url

    def upstreams(self) -> tuple[Upstream, ...]:
        """Return what asks the service."""
        return (self.upstream,)

    def stats(self) -> tuple[CacheStats, ...]:
        """Return the statistics of the caches."""
        return self.upstream.stats()

    async def aclose(self) -> None:
        """End all fetches; the client stays open."""
        await self.upstream.aclose()


class OwnCaller:
    """A caller that has presented a key of the gateway's."""

    __slots__ = ("_expires", "_key", "_source")

    def __init__(self, key: Key, expires: float, source: OwnAccount) -> None:
        self._key = key
        self._expires = expires
        self._source = source

    @property
    def name(self) -> str:
        """The key's name."""
        return self._key.name

    @property
    def upstream(self) -> Upstream:
        """What asks the service with the gateway's account."""
        return self._source.upstream

    async def instance(self, crn: str) -> Instance:
        """Return an instance of the account; see `OwnAccount.instance`."""
        return await self._source.instance(crn, self._key)

    def asks_again(self, instance: Instance) -> bool:
        """Return whether token, key and instance are still good."""
        key, source = self._key, self._source
        return (
            source.keyring.holds(key, self._expires) and key.may_use(instance.crn) and source.knows(instance)
        )

    def may_send(self) -> bool:
        """Count one more request of the key, and return whether its rate allows it."""
        return not self._source.take(self._key)

    def failed(self, error: QRBackendsError) -> None:
        """Do nothing: the cache has removed what the error makes invalid."""

    async def authorization(self) -> Secret:
        """Return the value of the `Authorization` header with a token of the gateway's account.

        Raises:
            QRBackendsError: there is none.
        """
        return await self._source.client._parts.tokens.authorization()

    def rejected(self, authorization: Secret) -> bool:
        """Let the next request have a new token, and return that the refusal is the gateway's affair."""
        self._source.client._parts.tokens.reject(authorization)
        return True


def _entry(one: ServiceInstance) -> ListedInstance:
    """Return an instance as it is listed; the same plan has the same id in every gateway."""
    name = "" if one.plan == UNKNOWN else one.plan.title()
    identity = as_uuid(hashlib.sha256(f"{one.plan}/{one.pricing}".encode()).hexdigest())
    plan = Plan(identity, name, "" if one.pricing == UNKNOWN else one.pricing)
    crn, region = one.instance.crn, one.instance.region
    return ListedInstance(crn, one.name or crn.split(":")[7], region, plan, one.tags)
