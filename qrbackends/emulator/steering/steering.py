"""What can be done to an emulator that runs: faults, devices, regions, tokens, the clock, and the journal."""

from dataclasses import astuple
from math import inf
from typing import Literal, get_args

from ...messages.suggestions import suggested
from ...models import ABackend, name_of
from ...surface.wire import Errors
from ...tasks.fanout import together
from ..devices.invalid import UnknownName, known_backend
from ..devices.recalibrations import RecalibratingFleet
from ..services.emulated_instances import EmulatedInstance
from ..services.service import BackendsService, Setting
from ..services.tokens import Issuer
from ..surface.actions import Action
from ..surface.faults import CLOUD, Fault, Faults, Resource
from ..surface.log import LoggedRequest, RequestLog
from ..surface.ports import Port
from .clock import LAST, Clock, ClockState
from .journal import journal_line
from .scenario import Step
from .states import BackendState, EmulatorState, RegionState
from .timeline import Timeline


class Steering:
    """The half of `Emulator` that changes and watches one that runs.

    Its methods are to be called in the emulator's event loop only. The control API and scenarios call the
    same ones.
    """

    _clock: Clock
    _errors: Errors
    _faults: Faults
    _fleet: RecalibratingFleet
    _issuer: Issuer
    _instances: list[EmulatedInstance]
    _log: RequestLog
    _names: dict[str, tuple[str, ...]]
    _ports: dict[str, Port]
    _services: list[BackendsService]
    _timeline: Timeline

    def url(self, region: str) -> str:
        """Return the base address of a region's Backends API, or for `cloud` of the other services."""
        path = "" if region == CLOUD else "/api/v1"
        return f"http://{self._port(region).netloc}{path}"

    @property
    def requests(self) -> tuple[LoggedRequest, ...]:
        """The requests since the last `reset_log()`, in the order of arrival."""
        return self._log.records()

    def count(
        self, resource: str | None = None, backend: ABackend | None = None, region: str | None = None
    ) -> int:
        """Return the number of requests that match; an argument that is left out matches any request."""
        return self._log.count(resource, None if backend is None else name_of(backend), region)

    def reset_log(self) -> None:
        """Forget all requests, and count from 0 again."""
        self._log.clear()

    async def reset(self) -> None:
        """Bring it back to its start, for the next test: cheaper than another emulator.

        All faults are removed, the connections are cut, the regions that were stopped are up again, the log
        is empty, the tokens issued until now are refused, and the backends and their queues are as they were
        when it began. The clock shows the time of its source, and the scenario begins anew. The addresses,
        API keys, CRNs and documents are the same ones as before.

        Raises:
            RuntimeError: it is not running.
        """
        if not self._ports:
            raise RuntimeError("the emulator is not running")
        await self._timeline.restart(self._restore)

    async def _restore(self) -> None:
        self._faults.clear()
        await together(*(port.reset() for port in self._ports.values()))
        self._clock.reset()
        self._fleet.reset()
        self._issuer.reset()
        self._errors.reset()
        for service in self._services:
            service.reset()
        self._log.clear()

    def journal(self) -> bytes:
        """Return the requests since the last `reset_log()` as lines of JSON, for `replay`.

        They contain no credentials. Of CRNs that are not the emulator's, account and instance are replaced.
        """
        crns = frozenset(instance.crn for instance in self._instances)
        return b"".join(journal_line(request, crns) for request in self.requests)

    def state(self) -> EmulatorState:
        """Return the clock, regions, backends and faults, as the control API sends them."""
        return EmulatorState(
            clock=self.clock,
            regions=[RegionState(name, self.url(name), port.runs) for name, port in self._ports.items()],
            backends=[
                BackendState(name, service.region, *astuple(service.setting(name)))
                for service in self._services
                for name in self._names[service.region]
            ],
            faults=[fault.state() for fault in self.faults],
            requests=self._log.count(None, None, None),
        )

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults, in the order in which they were added, with those that affect no more requests."""
        return self._faults.all()

    def fault(
        self,
        action: Action,
        *,
        resource: str | None = None,
        backend: ABackend | None = None,
        region: str | None = None,
        times: int | None = 1,
        name: str | None = None,
    ) -> Fault:
        """Add a fault, which affects requests that match, and return it.

        Like the emulator's other methods, it is to be called in the emulator's event loop only.

        Args:
            action: what happens: `Status`, `Hold`, `Delay`, `Reset`, `Truncate`, `Garbage`, `Bomb`,
                `Redirect`, `Drip`, `Endless`, `RateLimit`, `NotModified` or `WithHeaders`.
            resource: `backends`, `configuration`, `properties`, `defaults`, `status`, `versions`, `usage`,
                `jobs`, `token`, `search` or `catalog`; left out, any.
            backend: its name, or its entry in the list; left out, any.
            region: its name, or `cloud`; left out, any.
            times: the number of requests that it affects; None for all.
            name: its name; left out, it gets one.

        Raises:
            ValueError: another fault has this name, or there is no such resource, region or backend.
        """
        resources = get_args(Resource)
        if resource is not None and resource not in resources:  # such a fault would never affect a request
            problem = f"resource has to be one of {', '.join(resources)}, not {resource!r:.100}"
            raise ValueError(suggested(problem, resource, resources))
        if region is not None:
            self._port(region)
        target = None if backend is None else name_of(backend)
        if target is not None and not any(service.knows(target) for service in self._services):
            self._service_of(target)  # raises an error with the name that was meant; mocks are known above
        return self._faults.add(lambda name: Fault(action, resource, target, region, times, name), name)

    def find_fault(self, name: str) -> Fault:
        """Return the fault of a name.

        Raises:
            ValueError: there is none.
        """
        for fault in self.faults:
            if fault.name == name:
                return fault
        problem = f"the emulator has no fault {name!r:.100}"
        raise UnknownName("fault", suggested(problem, name, [fault.name for fault in self.faults]))

    def remove_fault(self, name: str) -> None:
        """Remove a fault, and answer the requests that it holds.

        Raises:
            ValueError: there is none of this name.
        """
        self._faults.remove(self.find_fault(name))

    def set_backend(
        self,
        backend: ABackend,
        *,
        status: Literal["online", "paused", "offline"] | None = None,
        reason: str = "",
        queue_length: int | None = None,
        hidden: bool = False,
        retired: bool = False,
    ) -> None:
        """Set how a backend is from now on; what is left out is as it was when the emulator started.

        Args:
            backend: its name, or its entry in the list.
            status: `online`; `paused`, so that it takes jobs and runs none, which the status endpoint calls
                `internal`; or `offline`, which it calls `maintenance`.
            reason: the reason of the status; left out, `available`, `internal` or `maintenance`.
            queue_length: the number of waiting jobs, which then stays the same.
            hidden: whether the list leaves it out, and its documents are answered with 404.
            retired: whether the list leaves it out, but its documents are answered.

        Raises:
            ValueError: there is no such backend or status, or `queue_length` is negative.
        """
        setting = Setting(status, reason, queue_length, hidden, retired)
        name = name_of(backend)
        self._service_of(name).set_backend(name, setting)

    def recalibrate(self, backend: ABackend) -> None:
        """Let a calibration of a backend end at this moment of the emulator's clock.

        Its properties get the date of this second; coherence times and error rates change by a few percent.

        Raises:
            ValueError: there is no such backend.
        """
        name = name_of(backend)
        self._service_of(name)
        self._fleet.recalibrate(name)

    @property
    def clock(self) -> ClockState:
        """The emulator's time, and how fast it passes."""
        return self._clock.state()

    async def advance(self, seconds: float) -> None:
        """Move the clock forward.

        Tokens expire, synthetic backends are calibrated, queues move by a step for each minute, and answers
        are dated as if that time had passed. The steps of the scenario that are due are run, in order and
        each at its own time. Delays and rate limits count real seconds.

        Args:
            seconds: how far; with 0, only the steps are run that are due by a clock of the caller's.

        Raises:
            ValueError: it is negative, or leads beyond the year 9999.
        """
        if not 0 <= seconds <= LAST - self._clock():
            raise ValueError("the clock moves forward, and not beyond the year 9999")
        await self._timeline.advance(seconds)

    async def _run_step(self, step: Step) -> None:
        await step.operation.run(self)

    async def set_clock(self, *, now: float | None = None, rate: float | None = None) -> None:
        """Set the time, or how fast it passes; what is left out stays.

        Args:
            now: Unix seconds. Forward, it is as `advance`; backward, no step of the scenario is run again.
            rate: how many seconds pass in one second; with 0 the clock stands still.

        Raises:
            ValueError: `now` lies before 1970 or beyond the year 9999, or `rate` is negative or infinite.
        """
        if now is not None and not 0 <= now <= LAST:
            raise ValueError("now has to lie in the years 1970 to 9999")
        if rate is not None and not 0 <= rate < inf:
            raise ValueError("rate has to be 0 or more, and finite")
        if rate is not None:
            self._timeline.run_at(rate)
        if now is not None:
            await self._timeline.advance(now - self._clock())
            self._clock.set(now)  # exactly

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
            message = f"the emulator has no region {region!r:.100}; it has {running}"
            raise UnknownName("region", suggested(message, region, self._ports)) from None

    def _service_of(self, backend: str) -> BackendsService:
        if not self._services:
            raise RuntimeError("the emulator is not running")
        known_backend(backend, self._fleet.names)
        return next(one for one in self._services if backend in self._names[one.region])
