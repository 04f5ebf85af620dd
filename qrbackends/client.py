"""`Client`, the object that programs use."""

import warnings
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from os import PathLike
from typing import Any, Self, Unpack

from msgspec.structs import asdict

from .accounts.account import Account, AnInstance
from .accounts.saved import load_account
from .assembly import LoadOptions, Parts, checked_account, split
from .cache.entry import Entry, Fetched
from .cache.memory import Memory
from .cache.policy import CachePolicy, checked_age
from .cache.stats import ClientStats
from .cache.stores.base import Store
from .fleet.history import History
from .fleet.ranking import BackendTest, RankKey, Wanted, least_busy, rank
from .fleet.snapshot import Progress, Snapshot
from .fleet.watch import Watch, Watcher
from .models import (
    Backend,
    BackendConfiguration,
    BackendDefaults,
    BackendList,
    BackendProperties,
    BackendStatus,
)
from .protocol.requests import API_VERSION, Request, Resource, cached_request
from .service.discovery import ServiceInstance
from .service.versions import ApiVersion
from .tasks.deadlines import Seconds
from .transport.limits import Limits
from .transport.pool import SessionPool
from .transport.retry import RetryPolicy


class Client:
    """Reads the backends of an account's instances, in all their regions concurrently.

    Every method raises `QRBackendsError`; `errors.py` shows its subclasses. Answers are cached for as long as
    the policy says, and concurrent callers with equal requests share one request. A client belongs to one
    event loop; from other threads only `stats` may be called.

    Arguments of several methods:
        backend_id: the backend's name.
        instance: the instance to ask: an `Instance`, or the CRN or name of one of the account's. None for the
            first in the account's order that lists the backend; for lists, None for all instances.
        refresh: whether to ask the service although a fresh answer is cached.
        timeout: seconds that the call may take, instead of `limits.total`.
        calibration_id: a named variant of the backend.
        min_qubits: the smallest number of qubits.
        operational, simulator: whether a backend is online, and whether it is a simulator; None for either.
        where: a test of a backend's entry in the list, plain or async; called after all other tests.
        include_mocks: whether to list mock devices, too, which only imitate a quantum computer.
        interval: seconds between two polls of the lists.

    Args:
        account: credentials and instances.
        limits: the limits of a call and of a region.
        retry: which failed requests are sent again, and when.
        allow_http: whether credentials may go over plain http to hosts other than this machine.
        trust_env: whether to use the environment's proxies if the account names none.
        api_version: the `IBM-API-Version` to ask for, a date from 2025-01-01 on.
        cache: how long answers may be used.
        pool: a pool that is shared with other clients, instead of `limits`, `allow_http` and `trust_env`.
        memory: a memory that is shared with other clients.
        store: a store that is shared with other processes, such as `RedisStore`; close it yourself.
        check_version: whether to look in the background, once a day while the client is open, if the service
            still supports `api_version`; a warning is logged, and nothing fails.

    Raises:
        AccountError: `account` is no `Account`.
        InvalidRequest: `api_version` is not such a date, or an option has a wrong type.
        ValueError: `pool` is given together with `limits`, `allow_http` or `trust_env`.
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
        check_version: bool = False,
    ) -> None:
        account = checked_account(account, limits=limits, retry=retry, cache=cache)
        if not account.verified:
            warnings.warn("TLS certificates are not verified for this account", stacklevel=2)
        if pool is not None and (limits is not None or allow_http or trust_env):
            raise ValueError("limits, allow_http and trust_env are the pool's; give them to SessionPool")
        own_pool, policy = pool is None, cache or CachePolicy()
        pool = pool or SessionPool(limits, allow_http=allow_http, trust_env=trust_env)
        parts = Parts(account, pool, own_pool, policy, retry or RetryPolicy(), api_version, memory, store)
        self._parts, self._check_version = parts, check_version
        self._calls, self._cache, self._directory = parts.calls, parts.cache, parts.directory
        self._find, self._fetch = parts.find, parts.fetch
        self._watcher = Watcher(
            self.fetch, parts.directory.instances, check=parts.calls.check, shared=store is not None
        )

    @classmethod
    def from_account(
        cls, name: str | None = None, path: str | PathLike[str] | None = None, **options: Unpack[LoadOptions]
    ) -> Self:
        """Return a client for a saved account, or for the account in the environment.

        `name` is the name of a saved account; `path` is the file of saved accounts, by default that of the
        official client. Without both, the account is that of `QISKIT_IBM_TOKEN` and `QISKIT_IBM_INSTANCE`;
        if they are not set, it is the default account of the file. `instance` (a CRN, a name or a glob such
        as `lab-*`), `region`, `plans` and `tags` take the place of what the account says of its instances;
        the other options are those of `Client`.

        Raises:
            AccountError: there is no such account, or it is incomplete.
        """
        narrowing, others = split(options)
        return cls(load_account(name, path, **narrowing), **others)

    async def backends(
        self,
        *,
        fields: Sequence[str] = (),
        include_mocks: bool = False,
        instance: AnInstance = None,
        refresh: bool = False,
        timeout: Seconds = None,
    ) -> BackendList:
        """Return every backend of every instance; the instances are asked concurrently.

        A backend is there once for each instance that lists it: `.unique()` of the result has each once, and
        `.instances_of(name)` has the CRNs of its instances. Instances and entries that cannot be read are in
        `.errors`; an error is raised only if no instance can be listed. `fields` are the optional fields that
        the answer shall contain; the service knows `wait_time_seconds`.
        """
        request = Request("backends", fields=fields, include_mocks=include_mocks)
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
        """Return a backend's configuration: gates, coupling map, limits and timing."""
        request = cached_request("configuration", backend_id, calibration_id)
        found = self._find(request, instance, refresh, timeout)
        configuration: BackendConfiguration = (found if isinstance(found, Entry) else await found).value
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
        request = cached_request("properties", backend_id, calibration_id, updated_before)
        found = self._find(request, instance, refresh, timeout)
        properties: BackendProperties = (found if isinstance(found, Entry) else await found).value
        return properties

    async def status(
        self, backend_id: str, *, instance: AnInstance = None, refresh: bool = False, timeout: Seconds = None
    ) -> BackendStatus:
        """Return whether a backend is operational now, and how many jobs wait for it."""
        request = cached_request("status", backend_id)
        found = self._find(request, instance, refresh, timeout)
        status: BackendStatus = (found if isinstance(found, Entry) else await found).value
        return status

    async def defaults(
        self, backend_id: str, *, instance: AnInstance = None, refresh: bool = False, timeout: Seconds = None
    ) -> BackendDefaults:
        """Return a backend's pulse-level defaults; most backends have none now (`NotFound`)."""
        request = cached_request("defaults", backend_id)
        found = self._find(request, instance, refresh, timeout)
        defaults: BackendDefaults = (found if isinstance(found, Entry) else await found).value
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
        """Return the answer to any request, with its age, its source, and how long it stays fresh.

        The value is a `request.type`; for the list, a `BackendList` of all instances, with the age, source
        and freshness of the oldest instance's list. `max_age` is the largest age of the answer in seconds,
        counted from when the service gave it to any worker. It replaces the policy: no older answer is
        returned, even if the service fails.

        Raises:
            InvalidRequest: `max_age` is not a number of seconds.
        """
        age = checked_age(max_age)
        return await self._fetch(request, instance, timeout, refresh=refresh, max_age=age)

    async def invalidate(
        self,
        *,
        backend: str | None = None,
        calibration_id: str | None = None,
        resource: Resource | None = None,
    ) -> int:
        """Remove cached answers of this account from memory and the store; return how many memory had.

        `backend` is a name, `resource` is such as `properties`; an argument that is None matches anything.
        Matching answers that are being fetched are not kept. Instances are looked up only for what is shared.

        Raises:
            InvalidRequest: there is no such resource.
        """
        return await self._parts.invalidate(backend, calibration_id, resource)

    async def instances(self, *, timeout: Seconds = None) -> tuple[ServiceInstance, ...]:
        """Return the account's instances with their names, plans and tags, in order of preference.

        They are looked up once an hour. If the account names its instances, only these are returned.

        Raises:
            AccountError: no instance matches the account's `search`.
        """
        deadline = None if timeout is None else self._calls.deadline(timeout)
        return await self._parts.discovery.instances(deadline)

    async def addresses(self) -> dict[str, str]:
        """Return the base address of each instance's API, by its CRN; named instances are not looked up."""
        return {one.crn: one.base_url for one in await self._directory.instances()}

    async def versions(self, *, timeout: Seconds = None) -> tuple[ApiVersion, ...]:
        """Return the versions of the API that the service supports; they are not cached."""
        return await self._parts.versions.read(self._calls.deadline(timeout))

    async def least_busy(
        self,
        *,
        min_qubits: int | None = None,
        operational: bool | None = True,
        simulator: bool | None = False,
        where: BackendTest | None = None,
        include_mocks: bool = False,
        timeout: Seconds = None,
    ) -> Backend:
        """Return the backend with the shortest queue, from the list alone; of two, the first by name.

        Raises:
            NotFound: no backend meets the conditions.
            InstanceUnavailable: no listed backend meets them, and some instances could not be listed.
        """
        wanted = Wanted(min_qubits, operational, simulator, where, include_mocks)
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
        include_mocks: bool = False,
        timeout: Seconds = None,
    ) -> tuple[Backend, ...]:
        """Return the backends that meet the conditions, best first, from the list alone; unknown values last.

        `by` is `queue`, `wait_time` (the median), `clops`, `two_qubit_error` (the median),
        `two_qubit_error_best`, `two_qubit_error_layered`, `readout_error` (the median), `qubits`, or a
        function of a backend, plain or async, whose smallest value is best. `reverse` puts the worst first.

        Raises:
            InvalidRequest: there is no such key.
        """
        wanted = Wanted(min_qubits, operational, simulator, where, include_mocks)
        return await rank(self.fetch, by, wanted, reverse=reverse, timeout=timeout)

    def snapshot(
        self,
        resources: Iterable[Resource] = ("status", "configuration", "properties"),
        *,
        where: BackendTest | None = None,
        progress: Progress | None = None,
        include_mocks: bool = False,
    ) -> Snapshot:
        """Return a snapshot: documents of every backend, fetched from all regions concurrently.

        `async for item in client.snapshot(…)` yields each document as it arrives, and an item with an error
        for each failure; `await client.snapshot(…).collect()` returns all items by backend and resource.
        `resources` are some of `configuration`, `properties`, `status` and `defaults`. `progress` is called
        after each item with the number of finished items and the number of all items.

        Raises:
            InvalidRequest: `resources` is empty, or names something that is not a document of a backend.
        """
        width = self._parts.pool.limits.per_region
        return Snapshot(self.fetch, resources, where, progress, include_mocks=include_mocks, width=width)

    def watch(
        self,
        interval: float = 30.0,
        backends: Collection[str] | None = None,
        *,
        threshold: int = 1,
        detail: bool = False,
        per_instance: bool = False,
    ) -> Watch:
        """Return the changes in the fleet as they happen; the first ones report the backends that there are.

        `async for change in client.watch(…)` ends with `break`; `async with` closes the watch at once. There
        is one request per instance and interval for all watches of a client; the shortest interval counts. A
        failure is reported as a change; only a final error, such as a refused key, is raised, and ends the
        iteration. `backends` are the names to watch; None watches all. `threshold` is the number of jobs by
        which a queue has to change to be reported. With `detail`, properties are polled and reported, too.
        With `per_instance`, a backend is reported for each instance that lists it, and not only once.

        Raises:
            InvalidRequest: an argument is not valid.
        """
        return self._watcher.watch(interval, backends, threshold, detail=detail, per_instance=per_instance)

    async def wait_for(
        self, backend_id: str, until: BackendTest, *, timeout: Seconds = None, interval: float = 30.0
    ) -> Backend:
        """Return a backend's entry in the list as soon as `until(entry)` is true; `until` is plain or async.

        An example is `lambda one: one.online and one.queue_length < 5`. `timeout=None` means no time limit.

        Raises:
            Timeout: `until` did not become true in time.
        """
        return await self._watcher.wait_for(backend_id, until, timeout, interval)

    async def wait_for_recalibration(
        self, backend_id: str, *, timeout: Seconds = None, interval: float = 60.0
    ) -> datetime:
        """Return the date of a backend's next calibration as soon as it is there, or raise `Timeout`."""
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
        """Return a backend's calibrations in a period, in order of time; each calibration once.

        `async for one in client.history(…)` yields `BackendProperties`, and a `Gap`, whose `bool` is False,
        for each period in which the service failed. The period begins with `since` and ends before `until`,
        by default now; both need a time zone. With `every`, such as `timedelta(days=1)`, only the newest
        calibration before each of the instants `since + every`, `since + 2 * every`, … is yielded. A store
        keeps answers about instants over an hour ago for `CachePolicy.history` seconds; memory does not.

        Raises:
            InvalidRequest: an instant has no time zone, or `since`, `until` or `every` is not valid.
            NotFound: during the iteration: there is no such backend, or it was never calibrated.
        """
        end = datetime.now(UTC) if until is None else until
        fetch = partial(self._fetch, kept=False)  # each answer is used once, so memory does not keep it
        return History(fetch, backend_id, since, end, every, calibration_id, instance)

    def stats(self) -> ClientStats:
        """Return the counts of cache and pool, and the size of memory; any thread may call it."""
        return ClientStats(**asdict(self._cache.stats()), regions=self._parts.pool.stats())

    async def aclose(self) -> None:
        """Close the client's connections; calls that are in flight end with `ClientClosed`.

        Raises:
            WrongEventLoop: the client belongs to another event loop or process.
        """
        self._calls.check_loop()
        try:
            await self._watcher.aclose()
        finally:
            await self._parts.aclose()

    async def __aenter__(self) -> Self:
        self._calls.check()
        if self._check_version:
            self._parts.versions.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
