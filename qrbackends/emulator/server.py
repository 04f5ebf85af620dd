"""The emulator: it opens the ports, and lets tests script faults and read the log."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Literal, Self, get_args

from ..accounts.account import Account, Instance, InstanceSearch
from ..tasks.fanout import together
from ..tasks.loops import running_loop
from .actions import Action
from .allocation import Allocation, allocate, check_allocation, check_names
from .cloud import CloudService
from .emulated_instances import EmulatedInstance, make_instances
from .faults import Fault, Faults
from .fleets import Fleet
from .handler import Handler, Service
from .library import Library
from .log import LoggedRequest, RequestLog
from .ports import Port, to_its_end
from .queues import Queue
from .service import BackendsService, Setting
from .sources import Source, load_fleet
from .tokens import Issuer
from .validators import Validation, Validators
from .wire import Errors

CLOUD = "cloud"


class Emulator:
    """The service on loopback: one port per region, and one for IAM, Global Search and Global Catalog.

    Args:
        fleet: `synthetic`, `snapshots` (the real calibrations of the installed qiskit-ibm-runtime wheel),
            `snapshots:current` (those of them that were calibrated in the year of the newest one), a
            directory of such files or a recording, a `Fleet`, or a list of these. Of two devices with the
            same name, that of the earlier one in the list is served.
        regions: the regions; the backends, sorted by name, are distributed to them in turn.
        seed: queues, keys, CRNs and synthetic calibrations follow from it.
        backends: the names of the devices to serve; left out, all of the fleet.
        shape: the shape of a synthetic fleet's documents: `live`, as the service answers, or `contract`, as
            its published contract says.
        host: the address to listen at.
        port: the first port; the regions get consecutive ones, the cloud's services the next one. With 0,
            free ports are taken.
        instances: number of service instances per region.
        allocation: which backends of its region an instance sees: `shared`, all; `overlapping`, the first by
            name, as all instances do, and others that no other instance sees; or the names by the number of
            the instance, from 1 on. A number that is left out sees all.
        unusable_instances: number of further instances per region, which Global Search lists without an
            allocation of backends.
        keys: the number of API keys; each may use all instances.
        token_lifetime: seconds from the issue of a token to its expiry.
        validators: what the answers of the Backends API carry: `etag` (a strong ETag), `weak` (a weak one) or
            `date` (Last-Modified). A client that sends it back in If-None-Match or If-Modified-Since gets 304
            if the content is the same. With None they carry nothing, and such headers are ignored.
        clock: the time in Unix seconds, for tokens, the hourly synthetic calibrations and the answers' dates.

    Raises:
        ValueError: `regions` is empty or names a region twice, a number is not positive, or there are no such
            `validators` or `allocation`; or, on entering, the fleet has no backend with a name in `backends`
            or `allocation`.
        SnapshotsMissing: on entering, the snapshots are asked for, and the wheel is not installed.
        OSError: on entering, a port is taken; the error names the address.
        RuntimeError: on entering, it runs already.
    """

    def __init__(
        self,
        fleet: Source | Sequence[Source] = "synthetic",
        regions: Sequence[str] = ("us-east", "eu-de"),
        seed: int | str = 0,
        *,
        backends: Sequence[str] | None = None,
        shape: Literal["live", "contract"] = "live",
        host: str = "127.0.0.1",
        port: int = 0,
        instances: int = 1,
        allocation: Allocation = "shared",
        unusable_instances: int = 0,
        keys: int = 1,
        token_lifetime: int = 3600,
        validators: Validation | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not regions or len(set(regions)) != len(regions) or CLOUD in regions:
            raise ValueError(f"regions have to be distinct, at least one, and none of them {CLOUD!r}")
        if instances < 1 or keys < 1 or token_lifetime < 1:
            raise ValueError("instances, keys and token_lifetime have to be positive")
        if validators is not None and validators not in get_args(Validation):
            raise ValueError(f"validators have to be one of {', '.join(get_args(Validation))}, or None")
        check_allocation(allocation, instances)
        self.regions = tuple(regions)
        self.seed = str(seed)
        self._load_fleet = partial(load_fleet, fleet, backends, seed=self.seed, shape=shape)
        self._validators = validators
        self._allocation = allocation
        self._host = host
        self._first_port = port
        self._clock = clock
        self._errors = Errors(self.seed)
        self._issuer = Issuer(make_keys(self.seed, keys), token_lifetime, clock)
        self._instances = make_instances(self.seed, self.regions, instances, unusable_instances)
        self._faults = Faults()
        self._log = RequestLog()
        self._entered = False
        self._ports: dict[str, Port] = {}
        self._services: list[BackendsService] = []
        self._names: dict[str, tuple[str, ...]] = {}

    async def __aenter__(self) -> Self:
        running_loop()  # raises where none of asyncio's runs
        if self._entered:
            raise RuntimeError("the emulator is running already; make another one")
        self._entered = True
        try:
            fleet = await asyncio.to_thread(self._load_fleet)
            self._services = self._region_services(fleet)
            services: list[Service] = [*self._services]
            services.append(CloudService(self._issuer, self._instances, self._errors))
            for offset, service in enumerate(services):
                number = self._first_port + offset if self._first_port else 0
                self._ports[service.region] = Port(self._host, number, partial(self._handler, service))
            for port in self._ports.values():
                await port.start()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    def url(self, region: str) -> str:
        """Return the base address of a region's Backends API, or for `cloud` of the other services."""
        path = "" if region == CLOUD else "/api/v1"
        return f"http://{self._port(region).netloc}{path}"

    @property
    def iam_url(self) -> str:
        """The address of IAM."""
        return self.url(CLOUD)

    @property
    def search_url(self) -> str:
        """The address of Global Search."""
        return self.url(CLOUD)

    @property
    def catalog_url(self) -> str:
        """The address of Global Catalog, which ends in /api/v1."""
        return f"{self.url(CLOUD)}/api/v1"

    @property
    def api_keys(self) -> tuple[str, ...]:
        """The API keys that IAM accepts."""
        return self._issuer.keys

    @property
    def instances(self) -> tuple[EmulatedInstance, ...]:
        """All service instances, in the order in which Global Search lists them."""
        return tuple(self._instances)

    def backends(self, region: str | None = None) -> tuple[str, ...]:
        """Return the sorted names of the backends of a region, or of all regions."""
        if region is not None:
            return self._names[region]
        return tuple(sorted(name for names in self._names.values() for name in names))

    def account(self, key: int = 0, *, search: InstanceSearch | None = None) -> Account:
        """Return an account with one of the API keys, and with all usable instances.

        Args:
            key: the index of the key in `api_keys`.
            search: which instances to look up; if given, the account names none.
        """
        usable = [] if search else [one for one in self._instances if one.usable]
        endpoints = {region: self.url(region) for region in self.regions}
        return Account(
            api_key=self._issuer.keys[key],
            instances=[Instance(one.crn, url=self.url(one.region)) for one in usable],
            search=replace(search or InstanceSearch(), endpoints=endpoints),
            iam_url=self.iam_url,
            search_url=self.search_url,
            catalog_url=self.catalog_url,
        )

    @property
    def requests(self) -> tuple[LoggedRequest, ...]:
        """The requests since the last `reset_log()`, in the order of arrival."""
        return self._log.records()

    def count(
        self, resource: str | None = None, backend: str | None = None, region: str | None = None
    ) -> int:
        """Return the number of requests that match; an argument that is left out matches any request."""
        return self._log.count(resource, backend, region)

    def reset_log(self) -> None:
        """Forget all requests, and count from 0 again."""
        self._log.clear()

    async def reset(self) -> None:
        """Bring it back to its start, for the next test: cheaper than another emulator.

        All faults are removed, the connections are cut, the regions that were stopped are up again, the log
        is empty, the tokens issued until now are refused, and the backends and their queues are as they were
        when it began. The addresses, API keys, CRNs and documents are the same ones as before.

        Raises:
            RuntimeError: it is not running.
        """
        if not self._ports:
            raise RuntimeError("the emulator is not running")
        self._faults.clear()
        await together(*(port.reset() for port in self._ports.values()))
        self._issuer.reset()
        self._errors.reset()
        for service in self._services:
            service.reset()
        self._log.clear()

    def fault(
        self,
        action: Action,
        *,
        resource: str | None = None,
        backend: str | None = None,
        region: str | None = None,
        times: int | None = 1,
    ) -> Fault:
        """Add a fault, which affects requests that match, and return it.

        Like the emulator's other methods, it is to be called in the emulator's event loop only.

        Args:
            action: what happens: `Status`, `Hold`, `Delay`, `Reset`, `Truncate`, `Garbage`, `Bomb`,
                `Redirect`, `Drip`, `Endless`, `RateLimit`, `NotModified` or `WithHeaders`.
            resource: `backends`, `configuration`, `properties`, `defaults`, `status`, `versions`, `usage`,
                `token`, `search` or `catalog`; left out, any.
            backend: its name; left out, any.
            region: its name, or `cloud`; left out, any.
            times: the number of requests that it affects; None for all.
        """
        return self._faults.add(lambda name: Fault(action, resource, backend, region, times, name))

    def set_backend(
        self,
        name: str,
        *,
        status: Literal["online", "paused", "offline"] | None = None,
        reason: str = "",
        queue_length: int | None = None,
        hidden: bool = False,
        retired: bool = False,
    ) -> None:
        """Set how a backend is from now on; what is left out is as it was when the emulator started.

        Args:
            name: the backend's name.
            status: `online`; `paused`, so that it takes jobs and runs none, which the status endpoint calls
                `internal`; or `offline`, which it calls `maintenance`.
            reason: the reason of the status; left out, `available`, `internal` or `maintenance`.
            queue_length: the number of waiting jobs, which then stays the same.
            hidden: whether the list leaves it out, and its documents are answered with 404.
            retired: whether the list leaves it out, but its documents are answered.

        Raises:
            ValueError: there is no such backend, or `queue_length` is negative.
        """
        if queue_length is not None and queue_length < 0:
            raise ValueError("queue_length has to be 0 or more")
        for service in self._services:
            if name in self._names[service.region]:
                service.set_backend(name, Setting(status, reason, queue_length, hidden, retired))
                return
        raise ValueError(f"the emulator has no backend {name!r:.100}")

    def clear_faults(self) -> None:
        """Remove all faults, and answer the requests that they hold."""
        self._faults.clear()

    def expire_tokens(self) -> None:
        """Refuse all tokens issued until now."""
        self._issuer.revoke_all()

    async def stop_region(self, region: str) -> None:
        """Stop the port of a region, or of `cloud`: connections are closed, and new ones refused."""
        await self._port(region).stop()

    async def start_region(self, region: str) -> None:
        """Start a stopped region, or `cloud`, on the same port."""
        await self._port(region).start()

    def _port(self, region: str) -> Port:
        try:
            return self._ports[region]
        except KeyError:
            running = ", ".join(self._ports) or "nothing: it is not running"
            raise ValueError(f"the emulator has no region {region!r}; it has {running}") from None

    async def _close(self) -> None:
        ports, self._ports = tuple(self._ports.values()), {}
        # Every port is closed, even if closing another one fails, or this is cancelled.
        closing = asyncio.gather(*(port.close() for port in ports), return_exceptions=True)
        outcomes = await to_its_end(closing)
        self._faults.clear()
        self._entered = False
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    def _handler(self, service: Service, is_own: Callable[[str], bool]) -> Handler:
        return Handler(service, is_own, self._faults, self._log, self._errors, self._clock)

    def _region_services(self, fleet: Fleet) -> list[BackendsService]:
        library = Library(fleet)
        queues = {name: Queue(f"{self.seed}/queue/{name}") for name in fleet.names}
        count = len(self.regions)
        self._names = {region: fleet.names[at::count] for at, region in enumerate(self.regions)}
        check_names(self._allocation, fleet.names)
        return [
            BackendsService(
                region=region,
                names=names,
                fleet=fleet,
                library=library,
                queues=queues,
                allocations=allocate(
                    self._allocation, [one for one in self._instances if one.region == region], names
                ),
                issuer=self._issuer,
                errors=self._errors,
                clock=self._clock,
                validators=Validators(self._validators, self._clock) if self._validators else None,
            )
            for region, names in self._names.items()
        ]


def make_keys(seed: str, count: int) -> tuple[str, ...]:
    """Return `count` API keys, as long as real ones; they begin with `emulated-`."""
    digests = (hashlib.sha256(f"{seed}/key/{number}".encode()).hexdigest() for number in range(count))
    return tuple(f"emulated-{digest[:35]}" for digest in digests)
