"""`Client`, the object that programs use."""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from os import PathLike
from typing import Self, TypeVar, Unpack

from msgspec.structs import asdict

from .accounts.account import AnInstance
from .accounts.saved import load_account
from .assembly import ClientBase, LoadOptions, split
from .cache.entry import Entry, Fetched
from .cache.policy import checked_age
from .cache.stats import ClientStats
from .fleet.history import History
from .fleet.keys import RankKey
from .fleet.ranking import BackendTest, RankFunction, Wanted, least_busy, rank
from .fleet.snapshot import Progress, Snapshot
from .fleet.watch import Watch
from .models import (
    ABackend,
    Backend,
    BackendConfiguration,
    BackendDefaults,
    BackendList,
    BackendProperties,
    BackendStatus,
)
from .protocol.requests import DocumentResource, Request, Resource
from .service.instances import ServiceInstance
from .service.versions import ApiVersion
from .tasks.deadlines import Seconds

A = TypeVar("A")


class Client(ClientBase):
    """Reads the backends of an account's instances, in all their regions concurrently.

    Every method raises `QRBackendsError`; `errors.py` shows its subclasses. Answers are cached for as long as
    the policy says, and concurrent callers with equal requests share one request. A client belongs to one
    event loop; from other threads only `stats` may be called.

    Arguments of several methods:
        backend: the backend's name, or its entry in the list.
        instance: the instance to ask: an `Instance`, or the CRN or name of one of the account's. None for
            that of the entry, or the first in the account's order that lists the backend; for lists, None for
            all instances.
        refresh: whether to ask the service although a fresh answer is cached.
        timeout: seconds that the call may take, instead of `limits.total`.
        calibration_id: a named variant of the backend.
        min_qubits: the smallest number of qubits.
        operational, simulator: whether a backend is online, and whether it is a simulator; None for either.
        where: a test of a backend's entry in the list, plain or async; called after all other tests.
        include_mocks: whether to list mock devices, too, which only imitate a quantum computer.
        use_fractional_gates: True for backends that have `rx` or `rzz`, which takes their configurations,
            as the list does not tell; False and None for all.
        interval: seconds between two polls of the lists.

    Args:
        account: credentials and instances.
        limits: the limits of a call and of a region; by default `Limits()`.
        retry: which failed requests are sent again, and when; by default `RetryPolicy()`.
        allow_http: whether credentials may go over plain http to hosts other than this machine.
        trust_env: whether to use the environment's proxies if the account names none.
        api_version: the `IBM-API-Version` to ask for, a date from 2025-01-01 on.
        cache: how long answers may be used; by default `CachePolicy()`.
        pool: a pool that is shared with other clients, instead of `limits`, `allow_http` and `trust_env`; by
            default the client has one of its own.
        memory: a memory that is shared with other clients; by default the client has one of its own.
        store: a store that is shared with other processes, such as `RedisStore`; close it yourself. By
            default answers are kept in memory only.
        check_version: whether to look in the background, once a day while the client is open, if the service
            still supports `api_version`; a warning is logged, and nothing fails.

    Raises:
        AccountError: `account` is no `Account`.
        InvalidRequest: `api_version` is not such a date, or an option has a wrong type.
        ValueError: `pool` is given together with `limits`, `allow_http` or `trust_env`.
    """

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
        request = Request.backends(fields=fields, include_mocks=include_mocks)
        return (await self.fetch(request, instance=instance, refresh=refresh, timeout=timeout)).value

    async def configuration(
        self,
        backend: ABackend,
        *,
        calibration_id: str | None = None,
        instance: AnInstance = None,
        refresh: bool = False,
        timeout: Seconds = None,
    ) -> BackendConfiguration:
        """Return a backend's configuration: gates, coupling map, limits and timing."""
        found = self._find("configuration", backend, calibration_id, None, instance, refresh, timeout)
        configuration: BackendConfiguration = (found if isinstance(found, Entry) else await found).value
        return configuration

    async def properties(
        self,
        backend: ABackend,
        *,
        calibration_id: str | None = None,
        updated_before: datetime | None = None,
        instance: AnInstance = None,
        refresh: bool = False,
        timeout: Seconds = None,
    ) -> BackendProperties:
        """Return a backend's newest calibrated properties, or the newest before `updated_before`."""
        found = self._find("properties", backend, calibration_id, updated_before, instance, refresh, timeout)
        properties: BackendProperties = (found if isinstance(found, Entry) else await found).value
        return properties

    async def status(
        self,
        backend: ABackend,
        *,
        instance: AnInstance = None,
        refresh: bool = False,
        timeout: Seconds = None,
    ) -> BackendStatus:
        """Return whether a backend is operational now, and how many jobs wait for it."""
        found = self._find("status", backend, None, None, instance, refresh, timeout)
        status: BackendStatus = (found if isinstance(found, Entry) else await found).value
        return status

    async def defaults(
        self,
        backend: ABackend,
        *,
        instance: AnInstance = None,
        refresh: bool = False,
        timeout: Seconds = None,
    ) -> BackendDefaults:
        """Return a backend's pulse-level defaults; most backends have none now (`NotFound`)."""
        found = self._find("defaults", backend, None, None, instance, refresh, timeout)
        defaults: BackendDefaults = (found if isinstance(found, Entry) else await found).value
        return defaults

    async def fetch(
        self,
        request: Request[A],
        *,
        instance: AnInstance = None,
        refresh: bool = False,
        max_age: float | None = None,
        timeout: Seconds = None,
    ) -> Fetched[A]:
        """Return the answer to any request, with its age, its source, and how long it stays fresh.

        The list, `Request.backends()`, has the age, source and freshness of the oldest instance's list.
        `max_age` is the largest age of the answer in seconds, counted from when the service gave it to any
        worker. It replaces the policy: no older answer is returned, even if the service fails.

        Raises:
            InvalidRequest: `max_age` is not a number of seconds.
        """
        how = {"refresh": refresh, "max_age": checked_age(max_age)}
        return await self._parts.fetch(request, instance=instance, timeout=timeout, **how)

    async def invalidate(
        self,
        *,
        backend: ABackend | None = None,
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

    async def instances(
        self, *, refresh: bool = False, timeout: Seconds = None
    ) -> tuple[ServiceInstance, ...]:
        """Return the account's instances with their names, plans and tags, in order of preference.

        They are looked up once an hour. If the account names its instances, only these are returned.

        Raises:
            AccountError: no instance matches the account's `search`.
        """
        return await self._parts.discovery.instances(self._parts.until(timeout), refresh=refresh)

    async def addresses(self, *, refresh: bool = False, timeout: Seconds = None) -> dict[str, str]:
        """Return the base address of each instance's API, by its CRN; named instances are not looked up."""
        found = await self._parts.directory.instances(self._parts.until(timeout), refresh=refresh)
        return {one.crn: one.base_url for one in found}

    async def versions(
        self, *, instance: AnInstance = None, timeout: Seconds = None
    ) -> tuple[ApiVersion, ...]:
        """Return the versions of the API that an instance's service supports; they are never cached."""
        chosen = self._parts.chosen(instance)
        return await self._parts.versions.read(chosen, self._parts.until(timeout))

    async def least_busy(
        self,
        *,
        min_qubits: int | None = None,
        operational: bool | None = True,
        simulator: bool | None = False,
        where: BackendTest | None = None,
        include_mocks: bool = False,
        use_fractional_gates: bool | None = False,
        instance: AnInstance = None,
        refresh: bool = False,
        timeout: Seconds = None,
    ) -> Backend:
        """Return the backend with the shortest queue, by the list; of two, the first by name.

        Raises:
            NotFound: no backend meets the conditions.
            InstanceUnavailable: none was found that does, and some lists or configurations could not be read.
        """
        wanted = Wanted(min_qubits, operational, simulator, where, include_mocks, use_fractional_gates)
        fetch = partial(self.fetch, instance=instance, refresh=refresh)
        return await least_busy(fetch, wanted, timeout)

    async def rank(
        self,
        by: RankKey | RankFunction = "queue",
        *,
        reverse: bool = False,
        min_qubits: int | None = None,
        operational: bool | None = True,
        simulator: bool | None = False,
        where: BackendTest | None = None,
        include_mocks: bool = False,
        use_fractional_gates: bool | None = False,
        instance: AnInstance = None,
        refresh: bool = False,
        timeout: Seconds = None,
    ) -> tuple[Backend, ...]:
        """Return the backends that meet the conditions, best first, by the list; unknown values come last.

        `by` is `queue`, `wait_time` (the median), `clops`, `two_qubit_error` (the median),
        `two_qubit_error_best`, `two_qubit_error_layered`, `readout_error` (the median), `qubits`, or a
        function of a backend, plain or async, whose smallest value is best. `reverse` puts the worst first.

        Raises:
            InvalidRequest: there is no such key.
        """
        wanted = Wanted(min_qubits, operational, simulator, where, include_mocks, use_fractional_gates)
        fetch = partial(self.fetch, instance=instance, refresh=refresh)
        return await rank(fetch, by, wanted, reverse=reverse, timeout=timeout)

    def snapshot(
        self,
        resources: Iterable[DocumentResource] = ("status", "configuration", "properties"),
        *,
        where: BackendTest | None = None,
        progress: Progress | None = None,
        include_mocks: bool = False,
        instance: AnInstance = None,
        refresh: bool = False,
        timeout: Seconds = None,
    ) -> Snapshot:
        """Return a snapshot: documents of every backend, fetched from all regions concurrently.

        `async for item in client.snapshot(…)` yields each document as it arrives, and an item with an error
        for each failure; `await client.snapshot(…).collect()` returns all items by backend and resource.
        `resources` are some of `configuration`, `properties`, `status` and `defaults`. `progress` is called
        after each item with the number of finished items and the number of all items. `timeout` is that of
        the list, and of each document from when it is asked for.

        Raises:
            InvalidRequest: `resources` is empty, or names something that is not a document of a backend.
        """
        width = self._parts.pool.limits.per_region
        fetch = partial(self.fetch, instance=instance, refresh=refresh, timeout=timeout)
        return Snapshot(fetch, resources, where, progress, include_mocks=include_mocks, width=width)

    def watch(
        self,
        interval: float = 30.0,
        backends: Collection[ABackend] | None = None,
        *,
        threshold: int = 1,
        detail: bool = False,
        per_instance: bool = False,
        instance: AnInstance = None,
    ) -> Watch:
        """Return the changes in the fleet as they happen; the first ones report the backends that there are.

        `async for change in client.watch(…)` ends with `break`; `async with` closes the watch at once. There
        is one request per instance and interval for all watches of a client; the shortest interval counts. A
        failure is reported as a change; only a final error, such as a refused key, is raised, and ends the
        iteration. `backends` are those to watch, by name; None watches all. `threshold` is the number of jobs
        by which a queue has to change to be reported. With `detail`, properties are polled and reported, too.
        With `per_instance`, a backend is reported for each instance that lists it, and not only once.

        Raises:
            InvalidRequest: an argument is not valid.
        """
        only = self._parts.only(instance)
        return self._watcher.watch(
            interval, backends, threshold, detail=detail, per_instance=per_instance, only=only
        )

    async def wait_for(
        self,
        backend: ABackend,
        until: BackendTest,
        *,
        instance: AnInstance = None,
        timeout: Seconds = None,
        interval: float = 30.0,
    ) -> Backend:
        """Return a backend's entry in the list as soon as `until(entry)` is true; `until` is plain or async.

        An example is `lambda one: one.online and one.queue_length < 5`. `timeout=None` means no time limit.

        Raises:
            Timeout: `until` did not become true in time.
        """
        only = self._parts.only(instance)
        return await self._watcher.wait_for(backend, until, timeout, interval, only)

    async def wait_for_recalibration(
        self,
        backend: ABackend,
        *,
        instance: AnInstance = None,
        timeout: Seconds = None,
        interval: float = 60.0,
    ) -> datetime:
        """Return the date of a backend's next calibration as soon as it is there, or raise `Timeout`."""
        only = self._parts.only(instance)
        return await self._watcher.wait_for_recalibration(backend, timeout, interval, only)

    def history(
        self,
        backend: ABackend,
        since: datetime,
        until: datetime | None = None,
        *,
        every: timedelta | None = None,
        calibration_id: str | None = None,
        instance: AnInstance = None,
        refresh: bool = False,
        timeout: Seconds = None,
    ) -> History:
        """Return a backend's calibrations in a period, in order of time; each calibration once.

        `async for one in client.history(…)` yields `BackendProperties`, and a `Gap`, whose `bool` is False,
        for each period in which the service failed; `await client.history(…).collect()` returns all of them.
        The period begins with `since` and ends before `until`, by default now; both need a time zone. With
        `every`, such as `timedelta(days=1)`, only the newest calibration before each of the instants
        `since + every`, `since + 2 * every`, … is yielded. A store keeps answers about instants over an hour
        ago for `CachePolicy.history` seconds; memory does not. `timeout` is that of each request.

        Raises:
            InvalidRequest: an instant has no time zone, or `since`, `until` or `every` is not valid.
            NotFound: during the iteration: there is no such backend, or it was never calibrated.
        """
        end = datetime.now(UTC) if until is None else until
        # Each answer is used once, so memory does not keep it.
        fetch = partial(self._parts.fetch, kept=False, refresh=refresh, timeout=timeout)
        instance = self._parts.instance_for(backend, instance)
        return History(fetch, backend, since, end, every, calibration_id, instance)

    def stats(self) -> ClientStats:
        """Return the counts of cache and pool, and the size of memory; any thread may call it."""
        return ClientStats(**asdict(self._parts.cache.stats()), regions=self._parts.pool.stats())
