"""Whose turn it is: the requests that wait to be sent to one region."""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from types import TracebackType
from typing import Final, Self, TypeAlias

from .circuit import Circuit
from .errors import (
    BodyTooLarge,
    CircuitOpen,
    ClientClosed,
    HeldBack,
    QRBackendsError,
    TransportError,
)
from .gate import Gate

_Waiter: TypeAlias = asyncio.Future[float]  # when its place came
_REGION: Final = object()  # the gate of all tenants


class _Queue:
    """One tenant's waiters. Every other place goes to whoever came last: a single call does not wait
    behind a bulk, and nobody waits for ever ("adaptive LIFO": B. Maurer, "Fail at Scale", ACM Queue 2015).
    """

    __slots__ = ("_last", "waiters")

    def __init__(self) -> None:
        self.waiters: OrderedDict[_Waiter, float] = OrderedDict()  # and when their calls have to end
        self._last = True

    def pop(self) -> _Waiter:
        self._last = not self._last
        return self.waiters.popitem(last=self._last)[0]


class Lane:
    """At most so many requests in flight; tenants take turns; each goes as fast as the service lets it.

    Args:
        name: the region, or `iam`.
        places: how many requests may be in flight.
        circuit: whether anything is sent at all.
    """

    def __init__(self, name: str, places: int, circuit: Circuit) -> None:
        self._name = name
        self._places = places
        self._free = places
        self._circuit = circuit
        self._queues: OrderedDict[Hashable, _Queue] = OrderedDict()
        self._gates: dict[Hashable, Gate] = {}
        self._timer: asyncio.TimerHandle | None = None

    def turn(self, tenant: Hashable, deadline: float) -> "Turn":
        """Return the context in which one request is sent.

        Args:
            tenant: whose, and to which instance: what the service's rate limits are about.
            deadline: when it has to have been answered, in the event loop's time.
        """
        return Turn(self, tenant, deadline)

    def close(self) -> None:
        """End the waiting; who waited gets `ClientClosed`."""
        queues, self._queues = self._queues, OrderedDict()
        for queue in queues.values():
            for waiter in queue.waiters:
                if not waiter.done():
                    waiter.set_exception(ClientClosed("the client was closed during the call"))
        if self._timer is not None:
            self._timer.cancel()

    async def enter(self, tenant: Hashable, deadline: float) -> tuple[float, bool]:
        """Wait for a place; return the time, and whether this is the circuit's probe."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if refusal := self._refusal(tenant, now, deadline):
            raise refusal
        if self._free and not self._queues and not self._gates:
            self._free -= 1
        else:
            now = await self._wait(tenant, deadline, loop)
            while self._gates and self._opens_at(tenant) > now:  # a pause began at the same moment
                self.leave()
                if refusal := self._refusal(tenant, now, deadline):
                    raise refusal
                now = await self._wait(tenant, deadline, loop)
        try:
            return now, self._circuit.enter(loop.time())
        except CircuitOpen:
            self.leave()
            raise

    def leave(self) -> None:
        """Give the place back."""
        self._free += 1
        if self._queues:
            self._dispatch()

    def answered(
        self, tenant: Hashable, sent: float, status: int, retry_after: float | None, probe: bool
    ) -> None:
        """Note an answer."""
        now = asyncio.get_running_loop().time()
        if status < 500:
            self._circuit.succeeded()
        else:
            self._broke(now, probe)
            if status == 503 and retry_after:
                self._gate(_REGION, now).hold(now, retry_after)
                self._refuse_in_vain(list(self._queues), now)
        if status == 429:
            self._gate(tenant, now).refused(now, sent, retry_after)
            self._refuse_in_vain([tenant], now)
        elif (gate := self._gates.get(tenant)) is not None:
            gate.answered(now)

    def failed(self, error: QRBackendsError | None, probe: bool) -> None:
        """Note that no answer came, and why; None where the caller left."""
        if isinstance(error, BodyTooLarge):
            self._circuit.succeeded()  # it did answer
        elif isinstance(error, TransportError):
            self._broke(asyncio.get_running_loop().time(), probe)
        else:
            self._circuit.abandoned(probe)

    def _broke(self, now: float, probe: bool) -> None:
        self._circuit.failed(now, probe)
        if self._circuit.refusal(now):
            self._refuse_in_vain(list(self._queues), now)

    def _refuse_in_vain(self, tenants: list[Hashable], now: float) -> None:
        """Tell those at once who would only wait in vain now."""
        for tenant in tenants:
            queue = self._queues.get(tenant)
            for waiter, deadline in list(queue.waiters.items()) if queue else ():
                refusal = self._refusal(tenant, now, deadline)
                if refusal is not None:
                    self._forget(tenant, waiter)
                    if not waiter.done():
                        waiter.set_exception(refusal)

    async def _wait(self, tenant: Hashable, deadline: float, loop: asyncio.AbstractEventLoop) -> float:
        """Wait for a place, and return when it came."""
        waiter: _Waiter = loop.create_future()
        queue = self._queues.get(tenant)
        if queue is None:
            queue = self._queues[tenant] = _Queue()
        queue.waiters[waiter] = deadline
        self._dispatch()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.leave()  # the place came at the same moment
            else:
                self._forget(tenant, waiter)
            raise

    def _forget(self, tenant: Hashable, waiter: _Waiter) -> None:
        queue = self._queues.get(tenant)
        if queue is not None:
            queue.waiters.pop(waiter, None)
            if not queue.waiters:
                del self._queues[tenant]

    def _refusal(self, tenant: Hashable, now: float, deadline: float) -> QRBackendsError | None:
        """Return why it would be in vain to wait, or None if it would not."""
        if refusal := self._circuit.refusal(now):
            return refusal
        for key in (tenant, _REGION) if self._gates else ():
            gate = self._gates.get(key)
            if gate is None or gate.held_until < deadline:
                continue
            wait = gate.held_until - now
            if key is _REGION:
                return CircuitOpen(f"{self._name} has asked for a pause, which ends in {wait:.1f} s", wait)
            held = HeldBack(f"the service has asked to wait for {wait:.1f} s more, so nothing was sent", 429)
            held.retry_after = wait
            return held
        return None

    def _opens_at(self, tenant: Hashable) -> float:
        """Return when the pauses end, or ended, that hold for a tenant."""
        gates = (self._gates.get(key) for key in (_REGION, tenant))
        return max((gate.held_until for gate in gates if gate is not None), default=0.0)

    def _gate(self, key: Hashable, now: float) -> Gate:
        gate = self._gates.get(key)
        if gate is None:
            for old in [old for old, known in self._gates.items() if known.is_over(now)]:
                del self._gates[old]
            gate = self._gates[key] = Gate(now, self._places)
        return gate

    def _ready_at(self, tenant: Hashable, now: float) -> float:
        ready = now
        for key in (_REGION, tenant):
            gate = self._gates.get(key)
            if gate is not None and gate.is_over(now):
                del self._gates[key]
            elif gate is not None:
                ready = max(ready, gate.ready_at(now))
        return ready

    def _dispatch(self) -> None:
        """Give the free places to those whose turn it is, and come back when the next may go."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._free and self._queues:
            soonest, tenant = now, next(iter(self._queues))
            if self._gates:
                soonest, tenant = self._soonest(now)
            if soonest > now:
                self._timer = loop.call_at(soonest, self._dispatch)
                return
            self._give(tenant, now)

    def _soonest(self, now: float) -> tuple[float, Hashable]:
        """Return the next tenant in turn who may send now, or the one who may first, and when."""
        soonest, first = float("inf"), None
        for tenant in self._queues:
            at = self._ready_at(tenant, now)
            if at <= now:
                return now, tenant
            if at < soonest:
                soonest, first = at, tenant
        return soonest, first

    def _give(self, tenant: Hashable, now: float) -> None:
        queue = self._queues[tenant]
        waiter = queue.pop()
        if queue.waiters:
            self._queues.move_to_end(tenant)
        else:
            del self._queues[tenant]
        if waiter.done():  # cancelled, and not awake yet
            return
        for key in (_REGION, tenant):
            gate = self._gates.get(key)
            if gate is not None:
                gate.take()
        self._free -= 1
        waiter.set_result(now)


class Turn:
    """One request's time in a lane; what becomes of it is told with `answered` or `failed`."""

    __slots__ = ("_deadline", "_lane", "_probe", "_sent", "_tenant", "_told")

    def __init__(self, lane: Lane, tenant: Hashable, deadline: float) -> None:
        self._lane = lane
        self._tenant = tenant
        self._deadline = deadline
        self._told = False

    async def __aenter__(self) -> Self:
        self._sent, self._probe = await self._lane.enter(self._tenant, self._deadline)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._told:
            self._lane.failed(None, self._probe)
        self._lane.leave()

    def answered(self, status: int, retry_after: float | None) -> None:
        """Tell that an answer came."""
        self._told = True
        self._lane.answered(self._tenant, self._sent, status, retry_after, self._probe)

    def failed(self, error: QRBackendsError) -> None:
        """Tell that none came, and why."""
        self._told = True
        self._lane.failed(error, self._probe)
