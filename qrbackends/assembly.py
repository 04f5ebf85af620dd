"""The parts of one client: how they are built, how they answer a call, and how they are closed."""

from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Any, TypedDict, cast

from .accounts.account import Account, AnInstance
from .accounts.saved import Narrowing
from .accounts.scope import Scopes
from .cache.cache import Cache
from .cache.entry import Entry, Fetched, Found
from .cache.loader import Loader
from .cache.memory import Memory
from .cache.policy import CachePolicy
from .cache.stores.base import Store
from .cache.stores.sealed import Shared
from .errors import AccountError, InvalidRequest
from .fleet.directory import Directory
from .protocol.requests import ANSWER_TYPES, Request, Resource, unknown_resource
from .service.discovery import Discovery
from .service.origin import Origin
from .service.sender import Sender
from .service.tokens import Tokens
from .service.versions import Versions
from .tasks.deadlines import Calls, Seconds
from .transport.limits import Limits
from .transport.pool import SessionPool
from .transport.retry import RetryPolicy


class OptionsBesideStore(TypedDict, total=False):
    """The arguments of `Client` without `account` and `store`."""

    limits: Limits | None
    retry: RetryPolicy | None
    allow_http: bool
    trust_env: bool
    api_version: str
    cache: CachePolicy | None
    pool: SessionPool | None
    memory: Memory | None
    check_version: bool


class ClientOptions(OptionsBesideStore, total=False):
    """The arguments of `Client` without `account`."""

    store: Store | None


class LoadOptions(ClientOptions, Narrowing, total=False):
    """The arguments of `Client.from_account` beside the account's name and file."""


_OPTIONS = {"limits": Limits, "retry": RetryPolicy, "cache": CachePolicy}


def checked_account(account: object, **options: object) -> Account:
    """Return the account of a client, after a look at what is easily mistaken: it, and three of its options.

    Raises:
        AccountError: it is no `Account`; the message does not contain it, as it may be a key.
        InvalidRequest: an option has a wrong type.
    """
    if not isinstance(account, Account):
        raise AccountError(
            f"Client takes an Account, and not {type(account).__name__}: Client(Account(api_key=…)), or "
            "Client.from_account(), which takes a saved account or QISKIT_IBM_TOKEN"
        )
    for name, option in options.items():
        if option is not None and not isinstance(option, _OPTIONS[name]):
            kind = _OPTIONS[name].__name__
            raise InvalidRequest(f"{name} has to be a {kind}, such as {kind}(), not {type(option).__name__}")
    return account


def split(options: LoadOptions) -> tuple[Narrowing, ClientOptions]:
    """Return what narrows the account, and the arguments of `Client`."""
    narrowing: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in options.items():
        (narrowing if name in Narrowing.__annotations__ else others)[name] = value
    return cast("Narrowing", narrowing), cast("ClientOptions", others)


class Parts:
    """Builds the parts of one client, and closes those that the client owns.

    Args:
        account: credentials and instances.
        pool: the pool that sends the requests.
        own_pool: whether the client owns the pool, and closes it.
        policy: how long answers may be used.
        retry: which failed requests are sent again, and when.
        api_version: the `IBM-API-Version` to ask for.
        memory: the memory tier; None to make one for this client.
        store: the store of the shared tier, or None.
    """

    def __init__(
        self,
        account: Account,
        pool: SessionPool,
        own_pool: bool,
        policy: CachePolicy,
        retry: RetryPolicy,
        api_version: str,
        memory: Memory | None,
        store: Store | None,
    ) -> None:
        self.pool = pool
        self._shares = memory is not None or store is not None  # so others may have put answers there
        self.calls = Calls(pool.limits.total, pool)
        scopes = Scopes(account, api_version)
        sender = Sender(account, pool, retry)
        self.tokens = Tokens(account, sender, self.calls, scopes.credential)
        origin = Origin(sender, self.tokens, api_version)
        memory = Memory(policy.max_bytes, share=1.0) if memory is None else memory
        # An answer is stored only if other processes with the same account can read it.
        shared = Shared(store, pool.limits.body) if store is not None and scopes.shareable else None
        loader = Loader(
            origin,
            policy,
            memory,
            lambda: self.directory.scopes,
            shared,
            names=lambda scope: self.directory.names(scope),
        )
        self.cache = Cache(self.calls, policy, memory, loader, shared)
        self.discovery = Discovery(account, sender, self.tokens, self.calls, scopes.credential)
        self.directory = Directory(account, scopes, self.cache.fetch, self.discovery)
        self.versions = Versions(account, pool, self.calls, self.directory.instances, api_version)
        self._own_pool = own_pool

    def find(
        self, request: Request, instance: AnInstance, refresh: bool, timeout: Seconds
    ) -> Entry | Awaitable[Found | Fetched[Any]]:
        """Return what memory has about a backend, or what, when awaited, asks for it."""
        self.calls.check()
        until = None if timeout is None else self.calls.deadline(timeout)  # valid even for a hit
        scope = self.directory.route(request, instance)
        entry = None if scope is None else self.cache.look(request, scope, refresh)
        if entry is not None:
            return entry
        until = until or self.calls.deadline()  # it includes look-ups of instances and lists
        if scope is None:
            return self.directory.fetch(request, instance, until, refresh=refresh)
        return self.cache.ask(request, scope, until, refresh=refresh)

    def fetch(
        self, request: Request, instance: AnInstance, timeout: Seconds = None, **how: Any
    ) -> Awaitable[Fetched[Any]]:
        """Return, when awaited, the answer to any request; `how` are the options of `Cache.fetch`."""
        self.calls.check()
        until = None if timeout is None else self.calls.deadline(timeout)
        scope = None if request.backend_id is None else self.directory.route(request, instance)
        if scope is not None:
            return self.cache.fetch(request, scope, until, **how)
        ask = self.directory.list if request.backend_id is None else self.directory.fetch
        return ask(request, instance, until or self.calls.deadline(), **how)

    async def invalidate(
        self, backend: str | None, calibration_id: str | None, resource: Resource | None
    ) -> int:
        """Remove the answers to matching requests from memory and store; return how many memory had.

        An argument that is None matches anything. Instances are looked up only if none are known, and others
        may have put answers of theirs there.

        Raises:
            InvalidRequest: there is no such resource.
            QRBackendsError: this look-up failed.
        """

        def matches(request: Request) -> bool:
            named = backend in (None, request.backend_id) and calibration_id in (None, request.calibration_id)
            return named and resource in (None, request.resource)

        if resource is not None and resource not in ANSWER_TYPES:
            raise InvalidRequest(unknown_resource(resource))
        if self._shares and not self.directory.scopes:
            await self.directory.instances()
        return await self.cache.invalidate(matches)

    async def aclose(self) -> None:
        """End all calls, and close each part that the client owns, even if this task is cancelled."""
        async with AsyncExitStack() as stack:  # it closes the last one first
            if self._own_pool:
                stack.push_async_callback(self.pool.aclose)
            for part in (self.tokens, self.cache, self.directory, self.discovery, self.versions):
                stack.push_async_callback(part.aclose)
            self.calls.end()
