"""The emulator: it opens the ports, and tells the addresses and keys. `steering` changes one that runs."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, get_args
from urllib.parse import urlsplit

from msgspec.structs import replace

from ..accounts.account import EMULATED_KEY, Account, InstanceSearch
from ..models import ABackend, name_of
from ..surface.addresses import Addresses, InstanceAddress
from ..surface.cloud import CloudService, Plan
from ..surface.hosts import Hosts, netloc
from ..surface.wire import Errors
from ..tasks.loops import running_loop
from ..tasks.misuse import AsyncContext
from .devices.fleets import Fleet
from .devices.recalibrations import RecalibratingFleet
from .devices.sources import Source, load_fleet
from .services.allocation import Allocation, allocate, check_allocation, check_names
from .services.emulated_instances import PLANS, EmulatedInstance, make_instances
from .services.library import Library
from .services.queues import Queue
from .services.service import BackendsService
from .services.tokens import Issuer
from .steering.clock import Clock
from .steering.control import Control
from .steering.journal import JournalFile
from .steering.scenario import Scenario
from .steering.steering import Steering
from .steering.timeline import Timeline
from .surface.faults import CLOUD, Faults
from .surface.handler import Handler, Service
from .surface.log import RequestLog
from .surface.ports import Port, to_its_end
from .surface.validators import Validation, Validators


class Emulator(Steering, AsyncContext):
    """The service on loopback: one port per region, and one for IAM, Global Search and Global Catalog.

    Args:
        fleet: `synthetic`, `snapshots` (the real calibrations of the installed qiskit-ibm-runtime wheel),
            `snapshots:current` (those of them that were calibrated in the year of the newest one), a
            directory of such files or a recording, a `Fleet`, or a list of these. Of two devices with the
            same name, that of the earlier one in the list is served.
        regions: the regions; the backends, sorted by name, are distributed to them in turn.
        seed: queues, keys, CRNs and synthetic calibrations follow from it.
        backends: the devices to serve, by name; left out, all of the fleet.
        shape: the shape of a synthetic fleet's documents: `live`, as the service answers, or `contract`, as
            its published contract says.
        host: the address to listen at.
        allowed_hosts: the names by which other machines and containers reach it, the first of which is in
            the URLs. If given, requests that name another host are refused, except addresses and localhost.
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
        clock: the time in Unix seconds, for tokens, the hourly synthetic calibrations and the answers' dates;
            `advance()` and `set_clock()` move the emulator away from it.
        scenario: what happens when, as a `Scenario` or the path of its TOML file.
        control_port: the port of the control API, which listens on loopback only; 0 takes a free one. With
            None there is none.
        journal: a file that gets a line of JSON for each request when it is answered.

    Raises:
        ScenarioError: the scenario is not as it should be; some of it is checked on entering.
        ValueError: `regions` is empty or names a region twice, a number is not positive, or there are no such
            `validators`, `allocation` or hosts; or, on entering, the fleet has no backend with a name in
            `backends` or `allocation`.
        SnapshotsMissing: on entering, the snapshots are asked for, and the wheel is not installed.
        OSError: on entering, a port is taken; the error names the address.
        RuntimeError: on entering, it runs already.
    """

    _instead = "; ThreadedEmulator is opened by a plain `with`"

    def __init__(
        self,
        fleet: Source | Sequence[Source] = "synthetic",
        regions: Sequence[str] = ("us-east", "eu-de"),
        seed: int | str = 0,
        *,
        backends: Sequence[ABackend] | None = None,
        shape: Literal["live", "contract"] = "live",
        host: str = "127.0.0.1",
        allowed_hosts: Sequence[str] = (),
        port: int = 0,
        instances: int = 1,
        allocation: Allocation = "shared",
        unusable_instances: int = 0,
        keys: int = 1,
        token_lifetime: int = 3600,
        validators: Validation | None = None,
        clock: Callable[[], float] = time.time,
        scenario: Scenario | Path | str | None = None,
        control_port: int | None = None,
        journal: Path | str | None = None,
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
        names = None if backends is None else [name_of(one) for one in backends]
        self._load_fleet = partial(load_fleet, fleet, names, seed=self.seed, shape=shape)
        self._validators = validators
        self._allocation = allocation
        self._host = host
        self._hosts = Hosts(host, allowed_hosts)
        self._first_port = port
        self._clock = Clock(clock)
        self._timeline = Timeline(self._clock, self._run_step)
        self._scenario = Scenario.load(scenario) if isinstance(scenario, str | Path) else scenario
        self._control_port = control_port
        self._control: Control | None = None
        self._journal_path = journal
        self._errors = Errors(self.seed)
        self._issuer = Issuer(make_keys(self.seed, keys), token_lifetime, self._clock)
        self._instances = make_instances(self.seed, self.regions, instances, unusable_instances)
        self._faults = Faults()
        self._log = RequestLog(self._clock)
        self._journal: JournalFile | None = None
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
            self._fleet = RecalibratingFleet(await asyncio.to_thread(self._load_fleet), self._clock)
            scenario = self._scenario or Scenario([])
            scenario.check(self.regions, self._fleet.names)
            if self._journal_path is not None:
                self._journal = JournalFile(self._journal_path, [one.crn for one in self._instances])
                self._log.on_answer = self._journal.write
            self._services = self._region_services(self._fleet)
            services: list[Service] = [*self._services]
            services.append(CloudService(self._issuer, self._listed, _plans, self._errors))
            for offset, service in enumerate(services):
                number = self._first_port + offset if self._first_port else 0
                handler = partial(self._handler, service)
                self._ports[service.region] = Port(self._host, number, handler, self._hosts)
            for port in self._ports.values():
                await port.start()
            if self._control_port is not None:
                self._control = Control(self, self._control_port)
                await self._control.start()
            await self._timeline.start(scenario.steps)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

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
    def control_url(self) -> str:
        """The address of the control API.

        Raises:
            RuntimeError: there is none, or the emulator is not running.
        """
        return self._running_control().url

    @property
    def control_token(self) -> str:
        """The token of the control API, another one each time.

        Raises:
            RuntimeError: there is none, or the emulator is not running.
        """
        return self._running_control().token

    @property
    def api_keys(self) -> tuple[str, ...]:
        """The API keys that IAM accepts."""
        return self._issuer.keys

    def make_token(self, key: int = 0) -> str:
        """Return a new bearer token, as IAM issues it for one of the API keys.

        Args:
            key: the index of the key in `api_keys`.
        """
        return str(self._issuer.issue(self.api_keys[key])["access_token"])

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
        return replace(self.addresses(), api_key=self.api_keys[key]).account(search)

    def addresses(self, host: str | None = None) -> Addresses:
        """Return where the emulator is, and a key and the instances that it accepts.

        Args:
            host: the name or address in the URLs; left out, that of `url()`.
        """

        def at(url: str) -> str:
            parts = urlsplit(url)
            return url if host is None else parts._replace(netloc=netloc(host, parts.port or 0)).geturl()

        regions = {region: at(self.url(region)) for region in self.regions}
        usable = [one for one in self._instances if one.usable]
        return Addresses(
            regions=regions,
            iam_url=at(self.iam_url),
            search_url=at(self.search_url),
            catalog_url=at(self.catalog_url),
            api_key=self.api_keys[0],
            instances=tuple(InstanceAddress(one.crn, one.region, regions[one.region]) for one in usable),
        )

    async def _listed(self, _: str) -> Sequence[EmulatedInstance]:
        return self._instances

    def _running_control(self) -> Control:
        if self._control is None:
            raise RuntimeError("there is no control API: it needs control_port, and an emulator that runs")
        return self._control

    async def _close(self) -> None:
        ending = self._timeline.cancel()
        ports, self._ports = [*self._ports.values()], {}
        if self._control is not None:
            ports.append(self._control.port)
            self._control = None
        # Every port is closed, even if closing another one fails, or this is cancelled.
        closing = asyncio.gather(*(port.close() for port in ports), *ending, return_exceptions=True)
        outcomes = await to_its_end(closing)
        self._faults.clear()
        self._clock.reset()
        self._log.on_answer = None
        if self._journal is not None:
            self._journal.close()
        self._entered = False
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    def _handler(self, service: Service, is_own: Callable[[str], bool]) -> Handler:
        return Handler(service, is_own, self._faults, self._log, self._errors, self._clock, self.addresses)

    def _region_services(self, fleet: Fleet) -> list[BackendsService]:
        library = Library(fleet)
        queues = {name: Queue(f"{self.seed}/queue/{name}", self._clock.moved) for name in fleet.names}
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


async def _plans() -> tuple[Plan, ...]:
    return PLANS


def make_keys(seed: str, count: int) -> tuple[str, ...]:
    """Return `count` API keys, as long as real ones; they begin with `EMULATED_KEY`."""
    digests = (hashlib.sha256(f"{seed}/key/{number}".encode()).hexdigest() for number in range(count))
    return tuple(f"{EMULATED_KEY}{digest[:35]}" for digest in digests)
