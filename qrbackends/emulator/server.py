"""The emulator: its ports, its life and what tests may do with it."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from ..accounts.account import Account, Instance, InstanceSearch
from .cloud import CloudService
from .emulated_instances import EmulatedInstance, make_instances
from .faults import Action, Fault, Faults
from .fleets import Fleet, SnapshotFleet
from .handler import Handler, Service
from .library import Library
from .log import LoggedRequest, RequestLog
from .ports import Port, to_its_end
from .queues import Queue
from .service import BackendsService, Setting
from .synthetic import SyntheticFleet
from .tokens import Issuer
from .wire import Errors

CLOUD = "cloud"


class Emulator:
    """The whole service on loopback: one port per region, and one for IAM, Global Search and Global Catalog.

    Args:
        fleet: `synthetic`, `snapshots` (the real calibrations of the installed qiskit-ibm-runtime wheel), a
            directory of such files, or a `Fleet`.
        regions: the regions; the backends, sorted by name, go to them in turn.
        seed: everything random follows from it: queues, keys, CRNs, synthetic calibrations.
        shape: what a synthetic fleet's documents look like: `live`, as the service really answers, or
            `contract`, as its published contract says.
        host: the address to listen at.
        port: the first port; the regions take consecutive ones, the cloud's services the next. 0: free ones.
        instances: service instances per region; each sees all backends of its region.
        unusable_instances: further instances per region that Global Search lists without any allocation.
        keys: the number of API keys; all of them open all instances.
        token_lifetime: seconds from a token's issue to its expiry.
        clock: the time in Unix seconds; tokens and the hourly synthetic calibrations follow it.

    Raises:
        SnapshotsMissing: on entering, when the snapshots are asked for and the wheel is not installed.
        OSError: on entering, when a port is taken; it names the address.
        RuntimeError: on entering it while it runs.
    """

    def __init__(
        self,
        fleet: "Literal['synthetic', 'snapshots'] | Path | str | Fleet" = "synthetic",
        regions: Sequence[str] = ("us-east", "eu-de"),
        seed: int | str = 0,
        *,
        shape: Literal["live", "contract"] = "live",
        host: str = "127.0.0.1",
        port: int = 0,
        instances: int = 1,
        unusable_instances: int = 0,
        keys: int = 1,
        token_lifetime: int = 3600,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not regions or len(set(regions)) != len(regions) or CLOUD in regions:
            raise ValueError(f"regions have to be distinct, at least one, and none of them {CLOUD!r}")
        if instances < 1 or keys < 1 or token_lifetime < 1:
            raise ValueError("instances, keys and token_lifetime have to be positive")
        self.regions = tuple(regions)
        self.seed = str(seed)
        self._wanted = fleet
        self._shape = shape
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
                self._ports[service.region] = Port(self._host, number, partial(self._make_handler, service))
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
        """Return the base address of a region's Backends API, or of the `cloud` services' origin."""
        path = "" if region == CLOUD else "/api/v1"
        return f"http://{self._port(region).netloc}{path}"

    @property
    def iam_url(self) -> str:
        """IAM's address."""
        return self.url(CLOUD)

    @property
    def search_url(self) -> str:
        """Global Search's address."""
        return self.url(CLOUD)

    @property
    def catalog_url(self) -> str:
        """Global Catalog's address, which ends in /api/v1."""
        return f"{self.url(CLOUD)}/api/v1"

    @property
    def api_keys(self) -> tuple[str, ...]:
        """The API keys that its IAM accepts."""
        return self._issuer.keys

    @property
    def instances(self) -> tuple[EmulatedInstance, ...]:
        """All service instances, in the order of Global Search."""
        return tuple(self._instances)

    def backends(self, region: str | None = None) -> tuple[str, ...]:
        """Return the names of the backends of a region, or of all, sorted."""
        if region is not None:
            return self._names[region]
        return tuple(sorted(name for names in self._names.values() for name in names))

    def account(self, key: int = 0, *, search: InstanceSearch | None = None) -> Account:
        """Return an account for one of the keys, with all usable instances at their addresses here.

        Args:
            key: the number of the key.
            search: which instances are to be looked up, instead of naming them all.
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
        """The requests since the last `reset_log()`, in the order of their arrival."""
        return self._log.records()

    def count(
        self, resource: str | None = None, backend: str | None = None, region: str | None = None
    ) -> int:
        """Return how many of the requests asked for that; what is left out is not compared."""
        return self._log.count(resource, backend, region)

    def reset_log(self) -> None:
        """Forget all requests, and start counting anew."""
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
        """Let something go wrong with the next `times` requests that match, or with all of them for None.

        Args:
            action: what happens: `Status`, `Hold`, `Delay`, `Reset`, `Truncate`, `Garbage`, `Bomb`,
                `Redirect`, `Drip`, `Endless` or `RateLimit`.
            resource: `backends`, `configuration`, `properties`, `defaults`, `status`, `token`, `search` or
                `catalog`; left out, any.
            backend: its name; left out, any.
            region: its name, or `cloud`; left out, any.
            times: how many requests it strikes.

        Like everything else here it belongs to the emulator's event loop, and is not for other threads.
        """
        return self._faults.add(Fault(action, resource, backend, region, times))

    def set_backend(
        self,
        name: str,
        *,
        status: Literal["online", "paused", "offline"] | None = None,
        reason: str = "",
        queue_length: int | None = None,
        hidden: bool = False,
    ) -> None:
        """Let a backend be like this from now on; what is left out is as it was when the emulator began.

        Args:
            name: the backend.
            status: its state.
            reason: why, where `status` is given.
            queue_length: the number of jobs waiting, which then does not move by itself.
            hidden: whether no instance lists it, and its documents are not found.

        Raises:
            ValueError: there is no such backend, or the number of jobs is negative.
        """
        if queue_length is not None and queue_length < 0:
            raise ValueError("queue_length has to be 0 or more")
        for service in self._services:
            if name in self._names[service.region]:
                service.set_backend(name, Setting(status, reason, queue_length, hidden))
                return
        raise ValueError(f"the emulator has no backend {name!r:.100}")

    def clear_faults(self) -> None:
        """Remove all faults, and let go of the requests that they hold."""
        self._faults.clear()

    def expire_tokens(self) -> None:
        """Refuse every token that was issued until now."""
        self._issuer.revoke_all()

    async def stop_region(self, region: str) -> None:
        """Let a region, or `cloud`, die: its connections are cut, new ones are refused."""
        await self._port(region).stop()

    async def start_region(self, region: str) -> None:
        """Bring a region back, on the same port."""
        await self._port(region).start()

    def _port(self, region: str) -> Port:
        try:
            return self._ports[region]
        except KeyError:
            running = ", ".join(self._ports) or "nothing: it is not running"
            raise ValueError(f"the emulator has no region {region!r}; it has {running}") from None

    async def _close(self) -> None:
        ports, self._ports = tuple(self._ports.values()), {}
        # Each port is closed whatever becomes of the others, and even if whoever closes them is cancelled.
        closing = asyncio.gather(*(port.close() for port in ports), return_exceptions=True)
        outcomes = await to_its_end(closing)
        self._faults.clear()
        self._entered = False
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    def _make_handler(self, service: Service, is_own: Callable[[str], bool]) -> Handler:
        return Handler(service, is_own, self._faults, self._log, self._errors)

    def _load_fleet(self) -> Fleet:
        match self._wanted:
            case "synthetic":
                return SyntheticFleet(seed=self.seed, shape=self._shape)
            case "snapshots":
                return SnapshotFleet()
            case str() | Path():
                return SnapshotFleet(self._wanted)
            case _:
                return self._wanted

    def _region_services(self, fleet: Fleet) -> list[BackendsService]:
        library = Library(fleet)
        queues = {name: Queue(f"{self.seed}/queue/{name}") for name in fleet.names}
        count = len(self.regions)
        self._names = {region: fleet.names[at::count] for at, region in enumerate(self.regions)}
        return [
            BackendsService(
                region=region,
                names=names,
                fleet=fleet,
                library=library,
                queues=queues,
                crns=frozenset(i.crn for i in self._instances if i.region == region and i.usable),
                issuer=self._issuer,
                errors=self._errors,
                clock=self._clock,
            )
            for region, names in self._names.items()
        ]


def make_keys(seed: str, count: int) -> tuple[str, ...]:
    """Return `count` API keys: as long as real ones, and not to be taken for them."""
    digests = (hashlib.sha256(f"{seed}/key/{number}".encode()).hexdigest() for number in range(count))
    return tuple(f"emulated-{digest[:35]}" for digest in digests)
