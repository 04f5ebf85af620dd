"""The service as one credential sees it: a cache of undecoded answers for each version of the API."""

from collections import OrderedDict
from contextlib import AsyncExitStack
from typing import Final

from ..accounts.account import Account, Instance
from ..accounts.scope import Scope, Scopes
from ..cache.cache import Cache
from ..cache.loader import Loader
from ..cache.memory import Memory
from ..cache.policy import CachePolicy
from ..cache.stats import CacheStats
from ..cache.stores.base import Store
from ..cache.stores.sealed import Shared
from ..protocol.requests import Request
from ..service.origin import Origin
from ..service.sender import Credentials, Sending
from ..tasks.deadlines import Calls
from .documents import kept_size, read

_VERSIONS: Final = 16  # of the API; the one that was asked for least recently gives way


class VersionCache:
    """The answers to requests that ask for one version of the API.

    Attributes:
        cache: the cache.
    """

    def __init__(self, cache: Cache, scopes: Scopes) -> None:
        self.cache = cache
        self._scopes = scopes
        self._used: dict[Instance, Scope] = {}

    def scope(self, instance: Instance) -> Scope:
        """Return the scope of an instance."""
        scope = self._used.get(instance)
        if scope is None:
            scope = self._used[instance] = self._scopes.of(instance)
        return scope

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """All scopes that were asked for, since they were forgotten."""
        return tuple(self._used.values())

    def forget(self) -> tuple[Scope, ...]:
        """Forget the scopes, and return them."""
        used, self._used = self._used, {}
        return tuple(used.values())


class Upstream:
    """Asks the service with one credential, and keeps its answers.

    Args:
        account: the account whose proxies and TLS settings are used, and whose credential marks the scopes.
        sender: sends the requests.
        credentials: the source of the `Authorization` header.
        calls: the calls of the gateway.
        policy: how long answers may be used.
        memory: the memory tier, which other upstreams may share.
        store: the store that other gateways share, or None.
        limit: the most bytes of an answer, decompressed.
    """

    def __init__(
        self,
        account: Account,
        sender: Sending,
        credentials: Credentials,
        calls: Calls,
        policy: CachePolicy,
        memory: Memory,
        *,
        store: Store | None = None,
        limit: int,
    ) -> None:
        self.account = account
        self.sender = sender
        self.credentials = credentials
        self.calls = calls
        self.policy = policy
        self.memory = memory
        self._shared = None if store is None else Shared(store, limit)
        self._versions: OrderedDict[str, VersionCache] = OrderedDict()

    def of(self, version: str) -> VersionCache:
        """Return the cache for a version of the API; for an empty one, requests name none."""
        known = self._versions.get(version)
        if known is None:
            if len(self._versions) >= _VERSIONS:
                _, gone = self._versions.popitem(last=False)
                self._empty(gone)
            known = self._versions[version] = self._new(version)
        self._versions.move_to_end(version)
        return known

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that were asked for, the last one at the end."""
        return tuple(self._versions)

    def _new(self, version: str) -> VersionCache:
        scopes = Scopes(self.account, version)
        origin = Origin(self.sender, self.credentials, version, read)
        shared = self._shared if scopes.shareable else None
        loader = Loader(
            origin,
            self.policy,
            self.memory,
            lambda: [scope for one in self._versions.values() for scope in one.scopes],
            shared,
            size=kept_size,
        )
        return VersionCache(Cache(self.calls, self.policy, self.memory, loader, shared), scopes)

    @property
    def is_empty(self) -> bool:
        """Whether no answer is in memory."""
        return not any(self.memory.holds(scope.id) for one in self._versions.values() for scope in one.scopes)

    def forget(self) -> None:
        """Remove all answers from memory; those that are being fetched are not kept either."""
        for one in self._versions.values():
            self._empty(one)

    def _empty(self, version: VersionCache) -> None:
        self.memory.remove([scope.id for scope in version.forget()], _everything)

    def stats(self) -> tuple[CacheStats, ...]:
        """Return the statistics of the cache of each version."""
        return tuple(one.cache.stats() for one in self._versions.values())

    async def aclose(self) -> None:
        """End all fetches."""
        async with AsyncExitStack() as stack:
            for one in self._versions.values():
                stack.push_async_callback(one.cache.aclose)


def _everything(_: Request) -> bool:
    return True
