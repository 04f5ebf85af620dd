"""The parts of one client: how they are built, how they answer a call, and how they are closed."""

import warnings
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from copy import copy
from datetime import datetime
from functools import partial
from inspect import signature
from typing import Any, Never, Self, TypedDict, cast

from .accounts.account import Account, AnInstance, Instance
from .accounts.saved import Narrowing
from .accounts.scope import Scopes
from .cache.cache import Cache
from .cache.entry import Entry, Fetch, Fetched, Found
from .cache.loader import Loader
from .cache.memory import Memory
from .cache.policy import CachePolicy
from .cache.stores.base import Store
from .cache.stores.sealed import Shared
from .errors import AccountError, InvalidRequest
from .fleet.directory import Directory
from .fleet.watch import Watcher
from .messages.suggestions import suggested
from .models import ABackend, Backend, name_of
from .protocol.requests import (
    ANSWER_TYPES,
    API_VERSION,
    Request,
    Resource,
    cached_request,
    unknown_resource,
)
from .service.discovery import Discovery
from .service.origin import Origin, checked_version
from .service.sender import Sender
from .service.tokens import Tokens
from .service.versions import Versions
from .tasks.deadlines import Calls, Seconds, checked_timeout
from .tasks.misuse import AsyncContext
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


def unknown_argument(callee: str, name: str, known: Collection[str]) -> TypeError:
    """Return the error for an argument that there is not: what takes it, or which ones are like it."""
    problem = f"{callee} takes no {name!r:.80}"
    if name == "timeout":
        of_all = "that of all calls is limits=Limits(total=…)"
        return TypeError(f"{problem}; client.with_options() takes it, and so do its methods; {of_all}")
    for option, kind in {"": Account, **_OPTIONS}.items():
        if name in signature(kind).parameters:
            given = f"{kind.__name__}({name}=…)"
            return TypeError(f"{problem}; it is given as {f'{option}={given}' if option else given}")
    return TypeError(suggested(problem, name, known))


def split(options: LoadOptions) -> tuple[Narrowing, ClientOptions]:
    """Return what narrows the account, and the arguments of `Client`.

    Raises:
        TypeError: there is no such argument.
    """
    narrowing: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in options.items():
        if name not in LoadOptions.__annotations__:
            raise unknown_argument("from_account()", name, LoadOptions.__annotations__)
        (narrowing if name in Narrowing.__annotations__ else others)[name] = value
    return cast("Narrowing", narrowing), cast("ClientOptions", others)


class Parts:
    """Builds the parts of one client, and closes those that the client owns.

    Attributes:
        timeout: seconds that a call may take by default; None for the pool's limit.
        retry: which failed requests of its calls are sent again, and when; None as the client says.
        instance: the instance to ask by default, or None.
        sender: sends the account's requests; what else asks for this account uses it, too.

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
        self.timeout: Seconds = None
        self.retry: RetryPolicy | None = None
        self.instance: AnInstance = None
        self.pool = pool
        self._shares = memory is not None or store is not None  # so others may have put answers there
        self.calls = Calls(pool.limits.total, pool)
        scopes = Scopes(account, api_version)
        self.account = account
        self.policy = policy
        self.store = store
        self.sender = Sender(account, pool, retry)
        self.tokens = Tokens(account, self.sender, self.calls, scopes.credential)
        origin = Origin(self.sender, self.tokens, checked_version(api_version))
        memory = Memory(policy.max_bytes, share=1.0) if memory is None else memory
        # An answer is stored only if other processes with the same account can read it.
        shared = Shared(store, pool.limits.body) if store is not None and scopes.shareable else None
        loader = Loader(
            origin,
            policy,
            memory,
            lambda: self.directory.scopes,
            shared,
            explain=lambda error, scope: self.directory.explain(error, scope),
        )
        self.cache = Cache(self.calls, policy, memory, loader, shared)
        self.discovery = Discovery(account, self.sender, self.tokens, self.calls, scopes.credential)
        self.directory = Directory(account, scopes, self.cache.fetch, self.discovery)
        self.versions = Versions(account, pool, self.calls, self.directory.instance, api_version)
        self._own_pool = own_pool

    def with_options(self, timeout: Seconds, retry: RetryPolicy | None, instance: AnInstance) -> Self:
        """Return a copy that shares every part, with other options where these are not None.

        Raises:
            InvalidRequest: `timeout` is not a number greater than zero, or `retry` is no `RetryPolicy`.
        """
        if retry is not None and not isinstance(retry, RetryPolicy):
            raise InvalidRequest("retry has to be a RetryPolicy, such as RetryPolicy(attempts=1)")
        twin = copy(self)
        twin.timeout = self.timeout if timeout is None else checked_timeout(timeout)
        twin.retry = retry or self.retry
        twin.instance = self.instance if instance is None else instance
        return twin

    def chosen(self, instance: AnInstance) -> AnInstance:
        """Return the instance of a call: the given one, or else the one of the options."""
        return self.instance if instance is None else instance

    def instance_for(self, backend: ABackend, instance: AnInstance) -> AnInstance:
        """Return the instance to ask about a backend: that of the call.

        Without one it is that of the entry, if the account has it; None leaves the choice to the directory.
        """
        instance = self.chosen(instance)
        if instance is None and isinstance(backend, Backend):
            crns = [scope.crn for scope in self.directory.scopes]
            return backend.instance if backend.instance in crns else None
        return instance

    def until(self, timeout: Seconds) -> float:
        """Return when a call that begins now has to end, in the event loop's time."""
        return self.calls.deadline(self.timeout if timeout is None else timeout)

    def only(self, instance: AnInstance) -> Callable[[], Awaitable[Instance]] | None:
        """Return what looks up the instance whose list is to be watched; None for those of all instances."""
        chosen = self.chosen(instance)
        return None if chosen is None else partial(self.directory.instance, chosen)

    def find(
        self,
        resource: Resource,
        backend: ABackend,
        calibration_id: str | None,
        updated_before: datetime | None,
        instance: AnInstance,
        refresh: bool,
        timeout: Seconds,
    ) -> Entry | Awaitable[Found | Fetched[Any]]:
        """Return what memory has about a backend, or what, when awaited, asks for it."""
        self.calls.check()
        if instance is None:
            instance = self.instance
        try:
            request = cached_request(resource, backend, calibration_id, updated_before)
        except TypeError:  # an entry of the list; or what is no name, of which `Request` says so
            request = Request(resource, backend, calibration_id, updated_before)
            instance = self.instance_for(backend, instance)
        until = None if timeout is None else self.calls.deadline(timeout)  # valid even for a hit
        scope = self.directory.route(request, instance)
        entry = None if scope is None else self.cache.look(request, scope, refresh)
        if entry is not None:
            return entry
        until = until or self.calls.deadline(self.timeout)  # it includes look-ups of instances and lists
        if scope is None:
            return self.directory.fetch(request, instance, until, refresh=refresh, retry=self.retry)
        return self.cache.ask(request, scope, until, refresh=refresh, retry=self.retry)

    def fetch(
        self, request: Request, *, instance: AnInstance = None, timeout: Seconds = None, **how: Any
    ) -> Awaitable[Fetched[Any]]:
        """Return, when awaited, the answer to any request; `how` are the options of `Cache.fetch`."""
        self.calls.check()
        instance = self.chosen(instance)
        if timeout is None:
            timeout = self.timeout
        until = None if timeout is None else self.calls.deadline(timeout)
        try:
            backend = request.backend
        except AttributeError:
            problem = "request has to be a Request, such as Request.status('ibm_boston')"
            raise InvalidRequest(f"{problem}, not {type(request).__name__:.80}") from None
        scope = None if backend is None else self.directory.route(request, instance)
        if scope is not None:
            return self.cache.fetch(request, scope, until, retry=self.retry, **how)
        ask = self.directory.list if backend is None else self.directory.fetch
        return ask(request, instance, until or self.calls.deadline(), retry=self.retry, **how)

    async def invalidate(
        self, backend: ABackend | None, calibration_id: str | None, resource: Resource | None
    ) -> int:
        """Remove the answers to matching requests from memory and store; return how many memory had.

        An argument that is None matches anything. Instances are looked up only if none are known, and others
        may have put answers of theirs there.

        Raises:
            InvalidRequest: there is no such resource.
            QRBackendsError: this look-up failed.
        """
        name = None if backend is None else name_of(backend)

        def matches(request: Request) -> bool:
            named = name in (None, request.backend) and calibration_id in (None, request.calibration_id)
            return named and resource in (None, request.resource)

        if resource is not None and resource not in ANSWER_TYPES:
            raise InvalidRequest(unknown_resource(resource))
        if self._shares and not self.directory.scopes:
            await self.directory.instances()
        return await self.cache.invalidate(matches)

    async def leave(self) -> None:
        """Close what the client owns after its event loop has ended; its tasks and timers ran there."""
        self.calls.end()
        if self._own_pool:
            await self.pool.aclose()

    async def aclose(self) -> None:
        """End all calls, and close each part that the client owns, even if this task is cancelled."""
        async with AsyncExitStack() as stack:  # it closes the last one first
            if self._own_pool:
                stack.push_async_callback(self.pool.aclose)
            for part in (self.tokens, self.cache, self.directory, self.discovery, self.versions):
                stack.push_async_callback(part.aclose)
            self.calls.end()


class ClientBase(AsyncContext):
    """What makes a `Client` out of its parts, opens and closes it, and gives views with other options.

    The arguments are those of `Client`.
    """

    _instead = "; a script that is not async makes it in `with asyncio.Runner() as runner: runner.run(…)`"

    fetch: Fetch  # the method of `Client`

    def __init__(
        self,
        account: Account,
        *,
        limits: Limits | None = None,
        retry: RetryPolicy | None = None,
        allow_http: bool = False,
        trust_env: bool = False,
        api_version: str = API_VERSION,
        cache: CachePolicy | None = None,
        pool: SessionPool | None = None,
        memory: Memory | None = None,
        store: Store | None = None,
        check_version: bool = False,
        **mistaken: Never,
    ) -> None:
        for name in mistaken:
            raise unknown_argument("Client()", name, [*ClientOptions.__annotations__])
        account = checked_account(account, limits=limits, retry=retry, cache=cache)
        if not account.verified:
            warnings.warn("TLS certificates are not verified for this account", stacklevel=2)
        if pool is not None and (limits is not None or allow_http or trust_env):
            raise ValueError("limits, allow_http and trust_env are the pool's; give them to SessionPool")
        own_pool, policy = pool is None, cache or CachePolicy()
        pool = pool or SessionPool(limits, allow_http=allow_http, trust_env=trust_env)
        parts = Parts(account, pool, own_pool, policy, retry or RetryPolicy(), api_version, memory, store)
        self._parts, self._find, self._check_version = parts, parts.find, check_version
        self._watcher = Watcher(
            self.fetch, parts.directory.instances, check=parts.calls.check, shared=store is not None
        )
        self._is_view = False

    def with_options(
        self, *, timeout: Seconds = None, retry: RetryPolicy | None = None, instance: AnInstance = None
    ) -> Self:
        """Return a view of this client whose calls have other defaults; what is None stays as it is.

        A view shares everything with its client: cache, connections, tokens and watches. It needs no closing:
        it works as long as its client is open, and closing it closes nothing. Where callers share a request,
        `retry` is that of the caller who began it. `timeout` does not limit `wait_for`.

        Raises:
            InvalidRequest: `timeout` is not a number greater than zero, or `retry` is no `RetryPolicy`.
        """
        view = copy(self)
        view._parts = self._parts.with_options(timeout, retry, instance)
        view._find, view._is_view = view._parts.find, True
        return view

    async def aclose(self) -> None:
        """Close the client's connections; calls that are in flight end with `ClientClosed`.

        A view of `with_options` closes nothing. If the client's event loop has ended, all that ran in it has
        ended, too, and what is left of the connections is closed.

        Raises:
            WrongEventLoop: the client belongs to another process, or to another event loop that still lives.
        """
        if self._is_view:
            return
        if self._parts.calls.has_ended():
            await self._parts.leave()
            return
        self._parts.calls.check_loop()
        try:
            await self._watcher.aclose()
        finally:
            await self._parts.aclose()

    async def __aenter__(self) -> Self:
        self._parts.calls.check()
        if self._check_version:
            self._parts.versions.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
