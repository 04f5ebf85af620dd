"""The object that people hold."""

import os
import warnings
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any, Self, Unpack

from msgspec.structs import asdict

from .accounts.account import Account, AnInstance
from .accounts.saved import load_account
from .assembly import ClientOptions, Parts
from .cache.entry import Fetched
from .cache.memory import Memory
from .cache.policy import CachePolicy
from .cache.stats import ClientStats
from .cache.stores.base import Store
from .errors import InvalidRequest
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
from .service.discovery import ServiceInstance
from .tasks.deadlines import Seconds
from .transport.pool import Limits, SessionPool
from .transport.retry import RetryPolicy

_request = lru_cache(4096)(Request)  # checking the same few names anew costs as much as a look-up


class Client:
    """Reads the backends of an account's instances, over all their regions at once.

    Every method raises `QRBackendsError`; `errors.py` draws the tree. Answers are kept for as long as the
    policy says, and callers who ask for the same at once share one request.

    What several methods take:
        backend_id: the backend's name.
        instance: the instance to ask: an `Instance`, or the CRN or name of one of the account's. Left out,
            the first in the account's order that lists the backend; for lists, all of them.
        refresh: whether the service is asked although a fresh answer is known.
        timeout: seconds that the call may take, instead of `limits.total`.
        calibration_id: a named variant of the backend.
        min_qubits: how many qubits a backend has at least.
        operational, simulator: whether a backend is online, and whether it is a simulator; None for either.
        where: a test of a backend's entry in the list, plain or async; asked last.
        interval: seconds between two polls of the lists.

    Args:
        account: credentials and instances.
        limits: what a call and a region may take.
        retry: which requests are sent again, and how often.
        allow_http: whether credentials may go over plain http to hosts other than this machine.
        trust_env: whether the environment's proxies are used where the account names none.
        api_version: the `IBM-API-Version` to ask for, a date.
        cache: how long answers may be used.
        pool: sessions that are shared with other clients, instead of `limits`, `allow_http` and `trust_env`.
        memory: a memory that is shared with other clients.
        store: a tier that is shared with other processes, such as `RedisStore`; its maker closes it.

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
        own_pool, policy = pool is None, cache or CachePolicy()
        pool = pool or SessionPool(limits, allow_http=allow_http, trust_env=trust_env)
        parts = Parts(account, pool, own_pool, policy, retry or RetryPolicy(), api_version, memory, store)
        self._parts = parts
        self._calls, self._cache, self._directory = parts.calls, parts.cache, parts.directory
        self._watcher = Watcher(
            self.fetch, parts.directory.instances, check=parts.calls.check, shared=store is not None
        )

    @classmethod
    def from_account(
        cls,
        name: str | None = None,
        path: str | os.PathLike[str] | None = None,
        **options: Unpack[ClientOptions],
    ) -> Self:
        """Return a client for a saved account, or for the one in the environment.

        `name` is a saved account's, and `path` the file of saved accounts, by default the official client's.
        Without both, `QISKIT_IBM_TOKEN` and `QISKIT_IBM_INSTANCE` are used where they are set, then the
        file's default account. The options are those of `Client`.

        Raises:
            AccountError: there is no such account, or it is incomplete.
        """
        return cls(load_account(name, path), **options)

    async def backends(
        self,
        *,
        fields: Sequence[str] = (),
        instance: AnInstance = None,
        refresh: bool = False,
        timeout: Seconds = None,
    ) -> BackendList:
        """Return every backend of every instance, asked concurrently.

        An instance that cannot be listed does not hide the others' backends: its error is in `.errors`. Only
        if none can be listed is an error raised. `fields` names optional fields to send; the service knows
        `wait_time_seconds`.
        """
        request = Request("backends", fields=fields)
        backends: BackendList = (await self._fetch(request, instance, timeout, refresh=refresh)).value
        return backends

    async def configuration(
        self,
        backend_id: str,
        *,
        calibration_id: str | None = None,
        instance: AnInstance = None,
        refresh: bool = False,
        timeout: Seconds = None,
    ) -> BackendConfiguration:
        """Return what a backend can do: gates, couplings, limits and timing."""
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
        instance: AnInstance = None,
        refresh: bool = False,
        timeout: Seconds = None,
    ) -> BackendProperties:
        """Return a backend's newest calibrated properties, or the newest before `updated_before`."""
        properties: BackendProperties = await self._document(
            instance, refresh, timeout, "properties", backend_id, calibration_id, updated_before
        )
        return properties

    async def status(
        self, backend_id: str, *, instance: AnInstance = None, refresh: bool = False, timeout: Seconds = None
    ) -> BackendStatus:
        """Return whether a backend is operational now, and how many jobs wait for it."""
        status: BackendStatus = await self._document(instance, refresh, timeout, "status", backend_id)
        return status

    async def defaults(
        self, backend_id: str, *, instance: AnInstance = None, refresh: bool = False, timeout: Seconds = None
    ) -> BackendDefaults:
        """Return a backend's pulse-level defaults; most backends have none any more (`NotFound`)."""
        defaults: BackendDefaults = await self._document(instance, refresh, timeout, "defaults", backend_id)
        return defaults

    async def fetch(
        self,
        request: Request,
        *,
        instance: AnInstance = None,
        refresh: bool = False,
        max_age: float | None = None,
        timeout: Seconds = None,
    ) -> Fetched[Any]:
        """Return the answer to any request, with its age and source, and for how long it stays fresh.

        The value is a `request.type`; for the list, a `BackendList` over all instances, with the age, source
        and freshness of its oldest part. `max_age` are seconds since the service gave the answer, to
        whichever worker: it decides instead of the policy, and no older answer is given when the service
        fails.

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
        """Remove cached answers of this account, in memory and in the store; return how many memory had.

        Answers that are being fetched now are not kept either. What is left out matches anything: `backend`,
        a name; `calibration_id`; `resource`, such as `properties`.
        """

        def matches(request: Request) -> bool:
            named = backend in (None, request.backend_id) and calibration_id in (None, request.calibration_id)
            return named and resource in (None, request.resource)

        await self._directory.instances()
        return await self._cache.invalidate(matches)

    async def instances(self, *, timeout: Seconds = None) -> tuple[ServiceInstance, ...]:
        """Return the account's instances with their names, plans and tags, in order of preference.

        They are looked up once an hour. An account that names its instances has these and no others.

        Raises:
            AccountError: the account can see no instance that its `search` wants.
        """
        deadline = None if timeout is None else self._calls.deadline(timeout)
        return await self._parts.discovery.instances(deadline)

    async def least_busy(
        self,
        *,
        min_qubits: int | None = None,
        operational: bool | None = True,
        simulator: bool | None = False,
        where: BackendTest | None = None,
        timeout: Seconds = None,
    ) -> Backend:
        """Return the backend with the fewest jobs waiting, from the list alone; of two, the first by name.

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
        timeout: Seconds = None,
    ) -> tuple[Backend, ...]:
        """Return the backends that are wanted, best first, from the list alone; unknown values come last.

        `by` is `queue`, `wait_time` (its median), `clops`, `two_qubit_error` (the median),
        `two_qubit_error_best`, `two_qubit_error_layered`, `readout_error`, `qubits`, or a callable of a
        backend, plain or async, whose smallest value is the best. `reverse` puts the worst first.

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
        `await client.snapshot(…).collect()` gives all of them, by backend and resource. `resources` are any
        of `configuration`, `properties`, `status` and `defaults`; `progress` is called after each item with
        the number of finished items and the number of all.

        Raises:
            InvalidRequest: one of the resources is no document of a backend, or there are none.
        """
        return Snapshot(self.fetch, resources, where, progress, width=self._parts.pool.limits.per_region)

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
        per instance and interval, however many watch; those of different intervals share the shortest. A
        failure is a change, too; only one that concerns the whole account, such as a refused key, is raised
        and ends the iteration. `backends` are the names to watch, left out all; `threshold` is by how many
        jobs a queue has to change to be reported; with `detail` each backend's properties are polled, too,
        and new ones reported.

        Raises:
            InvalidRequest: one of the arguments makes no sense.
        """
        return self._watcher.watch(interval, backends, threshold, detail=detail)

    async def wait_for(
        self, backend_id: str, until: Until, *, timeout: Seconds = None, interval: float = 30.0
    ) -> Backend:
        """Return a backend's entry in the list as soon as `until`, plain or async, is true of it.

        `until` may be `lambda backend: backend.online and backend.queue_length < 5`. No `timeout`, no limit.

        Raises:
            Timeout: it did not become true in time.
        """
        return await self._watcher.wait_for(backend_id, until, timeout, interval)

    async def wait_for_recalibration(
        self, backend_id: str, *, timeout: Seconds = None, interval: float = 60.0
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
        instance: AnInstance = None,
    ) -> History:
        """Return a backend's calibrations in a stretch of time, in order; each once.

        `async for one in client.history(…)` gives `BackendProperties`, and a `Gap`, which is false, for each
        stretch of which nothing is known as the service failed. The range begins with `since` and ends before
        `until`, left out now; both have a time zone. With `every`, such as `timedelta(days=1)`, it gives the
        newest calibration before each of the instants that lie so far apart. What is well in the past is kept
        in the store for long, where there is one, and not in memory.

        Raises:
            InvalidRequest: an instant has no time zone, or the range or `every` makes no sense.
            NotFound: when iterating: there is no such backend, or it never was calibrated.
        """
        end = datetime.now(UTC) if until is None else until
        fetch = partial(self._fetch, kept=False)  # each is wanted once, and leaves the room to others
        return History(fetch, backend_id, since, end, every, calibration_id, instance)

    def stats(self) -> ClientStats:
        """Return what cache and pool did since the client was made, and what memory holds."""
        return ClientStats(**asdict(self._cache.stats()), regions=self._parts.pool.stats())

    async def _document(self, instance: AnInstance, refresh: bool, timeout: Seconds, *asked: Any) -> Any:
        """Return the document that the arguments of a `Request` ask for; a hit never awaits."""
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
        self, request: Request, instance: AnInstance, timeout: Seconds = None, **how: Any
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

    async def aclose(self) -> None:
        """Close the client's connections; calls that are under way end with `ClientClosed`.

        Raises:
            WrongEventLoop: the client belongs to another event loop.
        """
        self._calls.check_loop()
        try:
            await self._watcher.aclose()
        finally:
            await self._parts.aclose()

    async def __aenter__(self) -> Self:
        self._calls.check()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
