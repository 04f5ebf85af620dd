"""The object that people hold."""

import os
import warnings
from collections.abc import Collection, Iterable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

from msgspec.structs import asdict

from .accounts.account import Account, Instance
from .accounts.saved import load_account
from .accounts.scope import Scopes
from .cache.cache import Cache
from .cache.entry import Fetched
from .cache.loader import Loader
from .cache.memory import Memory
from .cache.policy import CachePolicy
from .cache.stats import ClientStats
from .cache.stores.base import Store
from .cache.stores.sealed import Shared
from .errors import InvalidRequest
from .fleet.directory import Directory
from .fleet.history import History
from .fleet.ranking import BackendTest, RankKey, Wanted, least_busy, rank
from .fleet.snapshot import Progress, Snapshot, Where
from .fleet.watch import Until, Watch, Watcher
from .models import (
    Backend,
    BackendConfiguration,
    BackendDefaults,
    BackendList,
    BackendProperties,
    BackendStatus,
)
from .protocol.requests import API_VERSION, Request, Resource
from .service.discovery import Discovery, ServiceInstance
from .service.origin import Origin
from .service.sender import Sender
from .service.tokens import Tokens
from .tasks.deadlines import Calls
from .transport.pool import Limits, SessionPool
from .transport.retry import RetryPolicy

_request = lru_cache(4096)(Request)  # checking the same few names anew costs as much as a look-up


class OptionsBesideStore(TypedDict, total=False):
    """What `Client` takes beside account and store."""

    limits: Limits | None
    retry: RetryPolicy | None
    allow_http: bool
    trust_env: bool
    api_version: str
    cache: CachePolicy | None
    pool: SessionPool | None
    memory: Memory | None


class ClientOptions(OptionsBesideStore, total=False):
    """What `Client` takes beside the account."""

    store: Store | None


class Client:
    """Reads the backends of an account's instances, over all their regions at once.

    Every method raises `QRBackendsError`; `errors.py` draws the tree. A backend is looked up in its
    instance by the lists; `instance=` (an `Instance` or a CRN of the account) picks one where several have
    it, and otherwise the first in the account's order is asked. Answers are kept for as long as the policy
    says, and callers who ask for the same at once share one request; `refresh=True` asks the service in any
    case.

    Args:
        account: credentials and instances.
        limits: what a call and a region may take.
        retry: what is tried again, and how often.
        allow_http: whether credentials may go over plain http to hosts other than this machine.
        trust_env: whether the environment's proxies are used where the account names none.
        api_version: the `IBM-API-Version` to ask for, a date.
        cache: how long answers may be used.
        pool: sessions that are shared with other clients, instead of `limits`, `allow_http` and
            `trust_env`. Whoever made it closes it.
        memory: a memory that is shared with other clients, instead of one's own.
        store: a tier that is shared with other processes, such as `RedisStore`. Whoever made it closes it.

    Raises:
        ValueError: `pool` is given, and `limits`, `allow_http` or `trust_env`, too.
    """

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
    ) -> None:
        if not account.verified:
            warnings.warn("TLS certificates are not verified for this account", stacklevel=2)
        if pool is not None and (limits is not None or allow_http or trust_env):
            raise ValueError("limits, allow_http and trust_env are the pool's; give them to SessionPool")
        policy = cache or CachePolicy()
        self._own_pool = pool is None
        self._pool = pool or SessionPool(limits, allow_http=allow_http, trust_env=trust_env)
        self._calls = Calls(self._pool.limits.total, self._pool)
        scopes = Scopes(account, api_version)
        sender = Sender(account, self._pool, retry or RetryPolicy())
        self._tokens = Tokens(account, sender, self._calls, scopes.credential)
        origin = Origin(sender, self._tokens, api_version)
        memory = Memory(policy.max_bytes, share=1.0) if memory is None else memory
        # What nobody else could read is not stored.
        shared = Shared(store, self._pool.limits.body) if store is not None and scopes.shareable else None
        loader = Loader(origin, policy, memory, lambda: self._directory.scopes, shared)
        self._cache = Cache(self._calls, policy, memory, loader, shared)
        self._discovery = Discovery(account, sender, self._tokens, self._calls, scopes.credential)
        self._directory = Directory(account, scopes, self._cache.fetch, self._discovery)
        self._watcher = Watcher(
            self.fetch, self._directory.instances, check=self._calls.check, shared=store is not None
        )

    @classmethod
    def from_account(
        cls,
        name: str | None = None,
        path: str | os.PathLike[str] | None = None,
        **options: Unpack[ClientOptions],
    ) -> Self:
        """Return a client for a saved account, or for the one in the environment.

        Args:
            name: a saved account's name. Left out, `QISKIT_IBM_TOKEN` and `QISKIT_IBM_INSTANCE` are
                used where they are set (unless `path` is given), then the file's default account.
            path: the file of saved accounts; left out, the official client's `~/.qiskit/qiskit-ibm.json`.
            options: as for `Client`.

        Raises:
            AccountError: there is no such account, or it is incomplete.
        """
        return cls(load_account(name, path), **options)

    async def backends(
        self,
        *,
        fields: Sequence[str] = (),
        instance: Instance | str | None = None,
        refresh: bool = False,
        timeout: float | None = None,
    ) -> BackendList:
        """Return every backend of every instance, asked concurrently.

        An instance that cannot be listed does not hide the others' backends: it is in `.errors`. Only if
        none can be listed is an error raised.

        Args:
            fields: optional fields to send; the service knows `wait_time_seconds`.
            instance: ask this one only.
            refresh: ask the service, whatever is known.
            timeout: seconds that the call may take, instead of `limits.total`.
        """
        request = Request("backends", fields=fields)
        backends: BackendList = (await self._fetch(request, instance, timeout, refresh=refresh)).value
        return backends

    async def configuration(
        self,
        backend_id: str,
        *,
        calibration_id: str | None = None,
        instance: Instance | str | None = None,
        refresh: bool = False,
        timeout: float | None = None,
    ) -> BackendConfiguration:
        """Return what a backend can do: gates, couplings, limits and timing.

        Args:
            backend_id: the backend's name.
            calibration_id: a named variant of the backend.
            instance: ask this one.
            refresh: ask the service, whatever is known.
            timeout: seconds that the call may take, instead of `limits.total`.
        """
        configuration: BackendConfiguration = await self._document(
            instance, refresh, timeout, "configuration", backend_id, calibration_id
        )
        return configuration

    async def properties(
        self,
        backend_id: str,
        *,
        calibration_id: str | None = None,
        updated_before: datetime | None = None,
        instance: Instance | str | None = None,
        refresh: bool = False,
        timeout: float | None = None,
    ) -> BackendProperties:
        """Return a backend's calibrated properties: the newest, or the newest before an instant.

        Args:
            backend_id: the backend's name.
            calibration_id: a named variant of the backend.
            updated_before: an instant, with a time zone.
            instance: ask this one.
            refresh: ask the service, whatever is known.
            timeout: seconds that the call may take, instead of `limits.total`.
        """
        properties: BackendProperties = await self._document(
            instance, refresh, timeout, "properties", backend_id, calibration_id, updated_before
        )
        return properties

    async def status(
        self,
        backend_id: str,
        *,
        instance: Instance | str | None = None,
        refresh: bool = False,
        timeout: float | None = None,
    ) -> BackendStatus:
        """Return whether a backend is operational now, and how many jobs wait for it."""
        status: BackendStatus = await self._document(instance, refresh, timeout, "status", backend_id)
        return status

    async def defaults(
        self,
        backend_id: str,
        *,
        instance: Instance | str | None = None,
        refresh: bool = False,
        timeout: float | None = None,
    ) -> BackendDefaults:
        """Return a backend's pulse-level defaults; most backends have none any more (`NotFound`)."""
        defaults: BackendDefaults = await self._document(instance, refresh, timeout, "defaults", backend_id)
        return defaults

    async def fetch(
        self,
        request: Request,
        *,
        instance: Instance | str | None = None,
        refresh: bool = False,
        max_age: float | None = None,
        timeout: float | None = None,
    ) -> Fetched[Any]:
        """Return the answer to any request, with its age and source, and for how long it stays fresh.

        The value is a `request.type`; for the list, a `BackendList` over all instances, with the age,
        source and freshness of its oldest part.

        Args:
            request: what to ask.
            instance: ask this one; the list: this one only.
            refresh: ask the service, whatever is known.
            max_age: seconds since the service gave the answer, to whichever worker; decides instead of the
                policy, and no older one is given when the service fails.
            timeout: seconds that the call may take, instead of `limits.total`.

        Raises:
            InvalidRequest: `max_age` is no number of seconds.
        """
        if max_age is not None and not (isinstance(max_age, (int, float)) and max_age >= 0):
            raise InvalidRequest("max_age has to be a number of seconds, 0 or more")
        return await self._fetch(request, instance, timeout, refresh=refresh, max_age=max_age)

    async def invalidate(
        self,
        *,
        backend: str | None = None,
        calibration_id: str | None = None,
        resource: Resource | None = None,
    ) -> int:
        """Forget what is cached of this account and matches, in memory and in the store.

        What is being fetched for it now is not kept either.

        Args:
            backend: answers about this backend; left out, about any, and the lists.
            calibration_id: answers for this variant; left out, for any.
            resource: answers of this kind, such as `properties`; left out, of any.

        Returns:
            How many answers were removed from memory.
        """
        wanted = (backend, calibration_id, resource)

        def matches(request: Request) -> bool:
            asked = (request.backend_id, request.calibration_id, request.resource)
            return all(want in (None, has) for want, has in zip(wanted, asked, strict=True))

        await self._directory.instances()
        return await self._cache.invalidate(matches)

    async def instances(self, *, timeout: float | None = None) -> tuple[ServiceInstance, ...]:
        """Return the account's instances with their names, plans and tags, in order of preference.

        They are looked up once an hour. An account that names its instances has these and no others.

        Raises:
            AccountError: the account can see no instance that its `search` wants.
        """
        return await self._discovery.instances(None if timeout is None else self._calls.deadline(timeout))

    async def least_busy(
        self,
        *,
        min_qubits: int | None = None,
        operational: bool | None = True,
        simulator: bool | None = False,
        where: BackendTest | None = None,
        timeout: float | None = None,
    ) -> Backend:
        """Return the backend with the fewest jobs waiting, from the list alone; of two, the first by name.

        Args:
            min_qubits: how many it has at least.
            operational: True for those that are online, False for the others, None for any.
            simulator: whether it is one; None for either.
            where: a test of one's own, plain or async; an async one is awaited for those only that pass all
                else, the least busy first, until it accepts one.
            timeout: seconds for the list; left out, `limits.total`.

        Raises:
            NotFound: no backend is what is wanted.
            InstanceUnavailable: none is in the lists that came, and not all came.
        """
        wanted = Wanted(min_qubits, operational, simulator, where)
        return await least_busy(self.fetch, wanted, timeout)

    async def rank(
        self,
        by: str | RankKey = "queue",
        *,
        reverse: bool = False,
        min_qubits: int | None = None,
        operational: bool | None = True,
        simulator: bool | None = False,
        where: BackendTest | None = None,
        timeout: float | None = None,
    ) -> tuple[Backend, ...]:
        """Return the backends that are wanted, best first, from the list alone; unknown values come last.

        Args:
            by: `queue`, `wait_time` (its median), `clops`, `two_qubit_error` (the median),
                `two_qubit_error_best`, `two_qubit_error_layered`, `readout_error`, `qubits`, or a callable
                of a backend, plain or async, whose smallest value is the best.
            reverse: whether the worst come first.
            min_qubits: as for `least_busy`, and so are the rest.
            operational: likewise.
            simulator: likewise.
            where: likewise; an async one is awaited for several at a time.
            timeout: seconds for the list; left out, `limits.total`.

        Raises:
            InvalidRequest: there is no such key.
        """
        wanted = Wanted(min_qubits, operational, simulator, where)
        return await rank(self.fetch, by, wanted, reverse=reverse, timeout=timeout)

    def snapshot(
        self,
        resources: Iterable[Resource] = ("status", "configuration", "properties"),
        *,
        where: Where | None = None,
        progress: Progress | None = None,
    ) -> Snapshot:
        """Return documents of every backend, over all regions at once, to be iterated or collected.

        `async for item in client.snapshot(…)` gives each document as it comes, and failures as items;
        `await client.snapshot(…).collect()` gives all of them, by backend and resource.

        Args:
            resources: any of `configuration`, `properties`, `status` and `defaults`.
            where: a test of the list's entries, plain or async; left out, all of them.
            progress: told after each item: how many are done, and how many there are.

        Raises:
            InvalidRequest: one of the resources is no document of a backend, or there are none.
        """
        return Snapshot(self.fetch, resources, where, progress, width=self._pool.limits.per_region)

    def watch(
        self,
        interval: float = 30.0,
        backends: Collection[str] | None = None,
        *,
        threshold: int = 1,
        detail: bool = False,
    ) -> Watch:
        """Return the changes in the fleet as they happen, beginning with what there is.

        `async for change in client.watch(…)`, which `break` ends; `async with` ends it at once. One request
        per instance and interval, however many watch; those of different intervals share the shortest. What
        fails is told, and asked again; what asking again will not mend (an `AccountError`, such as a refused
        key) is raised and ends it.

        Args:
            interval: seconds between two looks.
            backends: the names to watch; left out, all.
            threshold: by how many jobs a queue has to change to be told.
            detail: whether new calibrations are told; each backend's properties are asked for each time.

        Raises:
            InvalidRequest: one of the arguments makes no sense.
        """
        return self._watcher.watch(interval, backends, threshold, detail=detail)

    async def wait_for(
        self,
        backend_id: str,
        until: Until,
        *,
        timeout: float | None = None,
        interval: float = 30.0,
    ) -> Backend:
        """Return a backend's entry in the list as soon as `until` is true of it.

        Args:
            backend_id: the backend's name.
            until: such as `lambda backend: backend.online and backend.queue_length < 5`; plain or async.
            timeout: seconds to wait at most; left out, for as long as it takes.
            interval: seconds between two looks.

        Raises:
            Timeout: it did not become true in time.
        """
        return await self._watcher.wait_for(backend_id, until, timeout, interval)

    async def wait_for_recalibration(
        self, backend_id: str, *, timeout: float | None = None, interval: float = 60.0
    ) -> datetime:
        """Return the date of a backend's next calibration, as soon as it is there.

        Raises:
            Timeout: there was none in time.
        """
        return await self._watcher.wait_for_recalibration(backend_id, timeout, interval)

    def history(
        self,
        backend_id: str,
        since: datetime,
        until: datetime | None = None,
        *,
        every: timedelta | None = None,
        calibration_id: str | None = None,
        instance: Instance | str | None = None,
    ) -> History:
        """Return a backend's calibrations in a stretch of time, in order; each once.

        `async for one in client.history(…)` gives `BackendProperties`, and a `Gap`, which is false, for each
        stretch of which nothing is known as the service failed. What is well in the past is kept in the
        store for long, where there is one, and not in memory.

        Args:
            backend_id: the backend's name.
            since: where the range begins, inclusive; with a time zone.
            until: where it ends, exclusive; left out, now.
            every: left out, every calibration; or the newest before each of the instants that lie so far
                apart, such as `timedelta(days=1)`.
            calibration_id: a named variant of the backend.
            instance: ask this one.

        Raises:
            InvalidRequest: an instant has no time zone, or the range or `every` makes no sense.
            NotFound: when iterating: there is no such backend, or it never was calibrated.
        """
        end = datetime.now(UTC) if until is None else until
        return History(self._fetch_once, backend_id, since, end, every, calibration_id, instance)

    def stats(self) -> ClientStats:
        """Return what cache and pool did since the client was made, and what memory holds."""
        return ClientStats(**asdict(self._cache.stats()), regions=self._pool.stats())

    async def _document(
        self, instance: Instance | str | None, refresh: bool, timeout: float | None, *asked: Any
    ) -> Any:
        """Return a document. What is fresh in memory takes one look-up and no turn of the event loop.

        Args:
            instance: ask this one.
            refresh: ask the service in any case.
            timeout: seconds that the call may take.
            asked: the arguments of `Request`.
        """
        self._calls.check()
        try:
            request = _request(*asked)
        except TypeError:  # it cannot be hashed, and so is no request; this tells why
            request = Request(*asked)
        deadline = None if timeout is None else self._calls.deadline(timeout)
        scope = self._directory.route(request, instance)
        if scope is None:  # finding it is a part of the call
            deadline = deadline or self._calls.deadline()
            scope = await self._directory.find(request, instance, deadline)
        entry = self._cache.look(request, scope, refresh)
        if entry is None:
            entry = (await self._cache.ask(request, scope, deadline, refresh=refresh)).entry
        return entry.value

    async def _fetch(
        self, request: Request, instance: Instance | str | None, timeout: float | None = None, **how: Any
    ) -> Fetched[Any]:
        """Return an answer of any kind with its age and source."""
        self._calls.check()
        deadline = None if timeout is None else self._calls.deadline(timeout)
        if request.backend_id is None:
            return await self._directory.list(request, instance, deadline, **how)
        scope = self._directory.route(request, instance)
        if scope is None:  # finding it is a part of the call
            deadline = deadline or self._calls.deadline()
            scope = await self._directory.find(request, instance, deadline)
        return await self._cache.fetch(request, scope, deadline, **how)

    async def _fetch_once(
        self, request: Request, *, instance: Instance | str | None, refresh: bool = False
    ) -> Fetched[Any]:
        """Return an answer that is wanted only once: memory does not keep it."""
        return await self._fetch(request, instance, refresh=refresh, kept=False)

    async def aclose(self) -> None:
        """Close the client's connections; calls that are under way end with `ClientClosed`.

        Raises:
            WrongEventLoop: the client belongs to another event loop.
        """
        self._calls.check_loop()
        async with AsyncExitStack() as stack:  # the later ones are closed even if this is cancelled
            if self._own_pool:
                stack.push_async_callback(self._pool.aclose)
            stack.push_async_callback(self._tokens.aclose)
            stack.push_async_callback(self._cache.aclose)
            stack.push_async_callback(self._directory.aclose)
            stack.push_async_callback(self._discovery.aclose)
            stack.push_async_callback(self._watcher.aclose)
            self._calls.end()

    async def __aenter__(self) -> Self:
        self._calls.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
