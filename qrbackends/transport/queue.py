"""Whose turn it is: the requests that wait to be sent to one region."""

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Callable, Hashable
from itertools import count
from math import inf
from types import TracebackType
from typing import Final, Self, TypeAlias

from ..errors import (
    BodyDamaged,
    BodyTooLarge,
    CircuitOpen,
    ClientClosed,
    HeldBack,
    QRBackendsError,
    Timeout,
)
from .breaker import CircuitBreaker
from .throttle import Throttle
from .traffic import RegionStats, Traffic

Deadline: TypeAlias = Callable[[], float]
"""When a call has to end, in the event loop's time. It may move: others, who have longer, may join it."""

_Waiter: TypeAlias = asyncio.Future[float]  # when its place came
_REGION: Final = object()  # the gate of all tenants
_SWEEP = 60.0  # seconds between two looks for gates that are not needed any more
_IN_VAIN = 1.0  # seconds without an answer at a call's end that count as a failure of the region


class _TenantQueue:
    """One tenant's waiters. Every other place goes to whoever came last: a single call does not wait
    behind a bulk, and nobody waits for ever ("adaptive LIFO": B. Maurer, "Fail at Scale", ACM Queue 2015).
    """

    __slots__ = ("_last", "soonest", "waiters")

    def __init__(self) -> None:
        self.waiters: OrderedDict[_Waiter, Deadline] = OrderedDict()
        self.soonest = inf  # no deadline is before it
        self._last = True

    def add(self, waiter: _Waiter, deadline: Deadline) -> None:
        self.waiters[waiter] = deadline
        self.soonest = min(self.soonest, deadline())

    def pop(self) -> _Waiter:
        self._last = not self._last
        return self.waiters.popitem(last=self._last)[0]


class RequestQueue:
    """At most so many requests in flight; tenants take turns; each goes as fast as the service lets it.

    Args:
        name: the region, or `iam`.
        places: how many requests may be in flight.
        circuit: whether anything is sent at all.
    """

    def __init__(self, name: str, places: int, circuit: CircuitBreaker) -> None:
        self._name = name
        self._places = places
        self._free = places
        self._circuit = circuit
        self._traffic = Traffic()
        self._queues: dict[Hashable, _TenantQueue] = {}
        self._turns: OrderedDict[Hashable, None] = OrderedDict()  # of those that may send, as far as is known
        self._alarms: list[tuple[float, int, Hashable]] = []  # when the others may; a heap
        self._numbers = count()  # tenants need no order
        self._gates: dict[Hashable, Throttle] = {}
        self._swept = -inf
        self._timer: asyncio.TimerHandle | None = None

    def slot(
        self, tenant: Hashable, deadline: Deadline, about: Hashable | None = None, *, repeated: bool = False
    ) -> "Slot":
        """Return the context in which one request is sent.

        Args:
            tenant: whose, and to which instance: what the service's rate limits are about.
            deadline: when it has to have been answered.
            about: what is asked, if that alone may be what fails.
            repeated: whether it repeats another, for the statistics.
        """
        return Slot(self, tenant, deadline, about, repeated)

    def stats(self) -> RegionStats:
        """Return what was sent until now."""
        return self._traffic.stats(self._name, self._circuit.state)

    def close(self) -> None:
        """End the waiting; who waited gets `ClientClosed`."""
        queues, self._queues = self._queues, {}
        self._turns.clear()
        for queue in queues.values():
            for waiter in queue.waiters:
                if not waiter.done():
                    waiter.set_exception(ClientClosed("the client was closed during the call"))
        if self._timer is not None:
            self._timer.cancel()

    async def enter(self, tenant: Hashable, deadline: Deadline) -> tuple[float, bool]:
        """Wait for a place; return the time, and whether this is the circuit's probe."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._gates and now > self._swept + _SWEEP:
            self._sweep(now)
        self._check(tenant, now, deadline)
        if self._free and not self._queues and not self._gates:
            self._free -= 1
        else:
            now = await self._wait(tenant, deadline, loop)
            while self._held_until(tenant) > now:  # a pause began at the same moment
                self.leave()
                self._check(tenant, now, deadline)
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

    def answered(self, turn: "Slot", status: int, retry_after: float | None) -> None:
        """Note an answer."""
        now = asyncio.get_running_loop().time()
        self._traffic.count(str(status), now - turn.sent, repeated=turn.repeated)
        if status < 500:
            self._circuit.succeeded()
        else:
            self._broke(turn, now, turn.about)
            if status == 503 and retry_after:
                self._gate(_REGION, now).hold(now, retry_after)
                self._refuse_in_vain(list(self._queues), now)
        if status == 429:
            self._gate(turn.tenant, now).refused(now, turn.sent, retry_after)
            self._refuse_in_vain([turn.tenant], now)
        elif (gate := self._gates.get(turn.tenant)) is not None:
            gate.answered(now)

    def failed(self, turn: "Slot", error: QRBackendsError, *, own: bool = False) -> None:
        """Note that no complete answer came, and why; of the account's own the region is not to blame."""
        now = asyncio.get_running_loop().time()
        self._traffic.count(type(error).__name__, now - turn.sent, repeated=turn.repeated)
        if own:
            self._circuit.abandoned(turn.probe)
        elif isinstance(error, BodyTooLarge):
            self._circuit.succeeded()  # it did answer
        else:
            about = turn.about if isinstance(error, BodyDamaged) else None
            self._broke(turn, now, about, isinstance(error, Timeout))

    def left(self, turn: "Slot") -> None:
        """Note that nobody waits for the answer any more."""
        now = asyncio.get_running_loop().time()
        self._traffic.count("abandoned", now - turn.sent, repeated=turn.repeated)
        if now >= turn.deadline() and now - turn.sent >= _IN_VAIN:
            self._broke(turn, now, None, True)
        else:
            self._circuit.abandoned(turn.probe)

    def _broke(self, turn: "Slot", now: float, about: Hashable | None, in_vain: bool = False) -> None:
        self._circuit.failed(now, turn.sent, turn.probe, about, in_vain=in_vain)
        if self._circuit.refusal(now):
            self._refuse_in_vain(list(self._queues), now)

    # --- waiting

    async def _wait(self, tenant: Hashable, deadline: Deadline, loop: asyncio.AbstractEventLoop) -> float:
        """Wait for a place, and return when it came."""
        waiter: _Waiter = loop.create_future()
        queue = self._queues.get(tenant)
        if queue is None:
            queue = self._queues[tenant] = _TenantQueue()
            self._turns[tenant] = None
        queue.add(waiter, deadline)
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
                self._turns.pop(tenant, None)

    def _check(self, tenant: Hashable, now: float, deadline: Deadline) -> None:
        if refusal := self._refusal(tenant, now, deadline):
            raise refusal

    def _refusal(self, tenant: Hashable, now: float, deadline: Deadline) -> QRBackendsError | None:
        """Return why it would be in vain to wait, or None if it would not."""
        if refusal := self._circuit.refusal(now):
            return refusal
        for key in (tenant, _REGION) if self._gates else ():
            gate = self._gates.get(key)
            if gate is None or gate.held_until <= now or gate.held_until < deadline():
                continue
            wait = gate.held_until - now
            if key is _REGION:
                return CircuitOpen(f"{self._name} has asked for a pause, which ends in {wait:.1f} s", wait)
            held = HeldBack(f"the service has asked to wait for {wait:.1f} s more, so nothing was sent", 429)
            held.retry_after = wait
            return held
        return None

    def _refuse_in_vain(self, tenants: list[Hashable], now: float) -> None:
        """Tell those at once who would only wait in vain now."""
        is_open = self._circuit.refusal(now) is not None
        for tenant in tenants:
            queue = self._queues.get(tenant)
            if queue is None or not (is_open or self._held_until(tenant) >= queue.soonest):
                continue
            for waiter, deadline in list(queue.waiters.items()):
                refusal = self._refusal(tenant, now, deadline)
                if refusal is not None:
                    self._forget(tenant, waiter)
                    if not waiter.done():
                        waiter.set_exception(refusal)
            queue.soonest = min((deadline() for deadline in queue.waiters.values()), default=inf)

    # --- gates

    def _gate(self, key: Hashable, now: float) -> Throttle:
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = Throttle(now, self._places)
        return gate

    def _sweep(self, now: float) -> None:
        """Remove what holds nobody back any more."""
        self._swept = now
        self._gates = {key: gate for key, gate in self._gates.items() if not gate.is_over(now)}

    def _held_until(self, tenant: Hashable) -> float:
        """Return when the pauses end, or ended, that hold for a tenant."""
        gates = (self._gates.get(key) for key in (_REGION, tenant))
        return max((gate.held_until for gate in gates if gate is not None), default=-inf)

    def _ready_at(self, tenant: Hashable, now: float) -> float:
        """Return when a tenant may send."""
        gates = (self._gates.get(key) for key in (_REGION, tenant))
        return max((gate.ready_at(now) for gate in gates if gate is not None), default=now)

    # --- turns

    def _dispatch(self) -> None:
        """Give the free places to those whose turn it is, and come back when the next may go."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._alarms and self._alarms[0][0] <= now:
            tenant = heapq.heappop(self._alarms)[2]
            if tenant in self._queues:
                self._turns.setdefault(tenant)
        while self._free and self._turns:
            tenant = next(iter(self._turns))
            ready = self._ready_at(tenant, now) if self._gates else now
            if ready > now:
                del self._turns[tenant]
                heapq.heappush(self._alarms, (ready, next(self._numbers), tenant))
            else:
                self._give(tenant, now)
        if self._free and self._alarms:
            self._timer = loop.call_at(self._alarms[0][0], self._dispatch)

    def _give(self, tenant: Hashable, now: float) -> None:
        queue = self._queues[tenant]
        waiter = queue.pop()
        if queue.waiters:
            self._turns.move_to_end(tenant)
        else:
            del self._queues[tenant], self._turns[tenant]
        if waiter.done():  # cancelled, and not awake yet
            return
        for key in (_REGION, tenant) if self._gates else ():
            gate = self._gates.get(key)
            if gate is not None:
                gate.take()
        self._free -= 1
        waiter.set_result(now)


class Slot:
    """One request's time in a lane; what becomes of it is told with `answered` or `failed`.

    Attributes:
        tenant: whose it is.
        deadline: when it has to have been answered.
        about: what is asked.
        repeated: whether it repeats another.
        sent: when its place came.
        probe: whether it is the circuit's.
    """

    __slots__ = ("_lane", "_told", "about", "deadline", "probe", "repeated", "sent", "tenant")

    def __init__(
        self, lane: RequestQueue, tenant: Hashable, deadline: Deadline, about: Hashable | None, repeated: bool
    ) -> None:
        self._lane = lane
        self._told = False
        self.tenant = tenant
        self.deadline = deadline
        self.about = about
        self.repeated = repeated

    async def __aenter__(self) -> Self:
        self.sent, self.probe = await self._lane.enter(self.tenant, self.deadline)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._told:
            self._lane.left(self)
        self._lane.leave()

    def answered(self, status: int, retry_after: float | None) -> None:
        """Tell that an answer came."""
        self._told = True
        self._lane.answered(self, status, retry_after)

    def failed(self, error: QRBackendsError, *, own: bool = False) -> None:
        """Tell that none came, and why; of what is the account's own the region is not to blame."""
        self._told = True
        self._lane.failed(self, error, own=own)
