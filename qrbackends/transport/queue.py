"""The queue of requests to one region: which tenant's request is sent next, and when."""

import asyncio
import heapq
import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from itertools import count
from math import inf
from typing import Final, TypeAlias

from msgspec import Struct

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

logger = logging.getLogger("qrbackends.circuit")

Deadline: TypeAlias = Callable[[], float]
"""Returns when a call has to end, in the event loop's time; later once a caller who has longer has joined."""

_Waiter: TypeAlias = asyncio.Future[float]  # resolves to the time at which it got its slot
_REGION: Final = object()  # key of the throttle that holds for all tenants
_SWEEP = 60.0  # seconds between two removals of throttles that are not needed any more
_SILENT = 1.0  # seconds without an answer that count as a failure, where the caller leaves at the deadline


class _TenantQueue:
    """The waiting requests of one tenant.

    Slots go alternately to the newest and to the oldest request: a single call does not wait behind a bulk,
    and no request waits for ever ("adaptive LIFO": B. Maurer, "Fail at Scale", ACM Queue 2015).
    """

    __slots__ = ("_last", "soonest", "waiters")

    def __init__(self) -> None:
        self.waiters: OrderedDict[_Waiter, Deadline] = OrderedDict()
        self.soonest = inf  # lower bound of the deadlines
        self._last = True

    def add(self, waiter: _Waiter, deadline: Deadline) -> None:
        self.waiters[waiter] = deadline
        self.soonest = min(self.soonest, deadline())

    def pop(self) -> _Waiter:
        self._last = not self._last
        return self.waiters.popitem(last=self._last)[0]


class RequestQueue:
    """Limits the requests in flight to one region, and shares them out fairly.

    A request needs a slot to be sent. Slots go to the tenants by round robin; a tenant that got a 429 gets
    them no faster than its throttle allows.

    Args:
        name: the region, or `iam`.
        slots: how many requests may be in flight.
        circuit: the region's circuit breaker; while it is open, no request is sent.
        host: whose host it is, for the log.
    """

    def __init__(self, name: str, slots: int, circuit: CircuitBreaker, *, host: str = "") -> None:
        self._name = name
        self._host = host or name
        self._loop = asyncio.get_running_loop()  # asked for once, as CPython 3.11 makes a system call for it
        self._slots = slots
        self._free = slots
        self._circuit = circuit
        self._traffic = Traffic()
        self._queues: dict[Hashable, _TenantQueue] = {}
        self._ready: OrderedDict[Hashable, None] = OrderedDict()  # tenants that may send; for the round robin
        # The others, by when they may send; a heap. Queues that are empty by now stay for a while.
        self._delayed: list[tuple[float, int, Hashable, _TenantQueue]] = []
        self._numbers = count()  # breaks ties in the heap, as tenants need not be comparable
        self._throttles: dict[Hashable, Throttle] = {}
        self._swept = -inf
        self._timer: asyncio.TimerHandle | None = None

    def stats(self) -> RegionStats:
        """Return the counts of all requests that have ended."""
        return self._traffic.stats(self._name, self._circuit.state)

    def close(self) -> None:
        """Raise `ClientClosed` in all requests that wait for a slot."""
        queues, self._queues = self._queues, {}
        self._ready.clear()
        for queue in queues.values():
            for waiter in queue.waiters:
                if not waiter.done():
                    waiter.set_exception(ClientClosed("the client was closed during the call"))
        if self._timer is not None:
            self._timer.cancel()

    def enters_at_once(self, slot: "Slot") -> bool:
        """Take a slot if one is free, nobody waits, and nothing is held back; return whether it was taken."""
        if not self._free or self._queues or self._throttles or self._circuit.pause:
            return False
        self._free -= 1
        slot.sent = self._loop.time()
        return True

    async def enter(self, slot: "Slot") -> None:
        """Wait for a slot.

        Raises:
            QRBackendsError: none can come before the deadline.
        """
        tenant, deadline = slot.tenant, slot.deadline
        now = self._loop.time()
        if self._throttles and now > self._swept + _SWEEP:
            self._sweep(now)
        while True:
            if refusal := self._refusal(tenant, now, deadline):
                raise refusal
            now = await self._wait(tenant, deadline)
            if self._held_until(tenant) <= now:
                break
            self.leave()  # a pause began at the same moment
        try:
            slot.sent, slot.probe = now, self._circuit.enter(self._loop.time())
        except CircuitOpen:
            self.leave()
            raise

    def leave(self, slot: "Slot | None" = None) -> None:
        """Give a slot back. Its request counts as abandoned without an outcome; None: nothing was sent."""
        if slot is not None and not slot.noted:
            self._left(slot)
        self._free += 1
        if self._queues:
            self._dispatch()

    def answered(self, slot: "Slot", status: int, retry_after: float | None) -> None:
        """Note an answer: its status, and the seconds of its `Retry-After`, if any."""
        slot.noted = True
        now = self._loop.time()
        self._traffic.count(status, now - slot.sent, repeated=slot.repeated)
        if status < 500:
            if self._circuit.failures:
                self._succeeded()
        else:
            self._broke(slot, now, slot.about, f"HTTP {status}")
            if status == 503 and retry_after:
                self._throttle(_REGION, now).hold(now, retry_after)
                self._refuse_hopeless(list(self._queues), now)
        if status == 429:
            self._throttle(slot.tenant, now).refused(now, slot.sent, retry_after)
            self._refuse_hopeless([slot.tenant], now)
        elif self._throttles and (throttle := self._throttles.get(slot.tenant)) is not None:
            throttle.answered(now)

    def failed(self, slot: "Slot", error: QRBackendsError, *, own: bool = False) -> None:
        """Note that no complete answer came.

        Args:
            slot: the request's.
            error: why no answer came.
            own: whether the account's own settings are the cause, so that the region did not fail.
        """
        slot.noted = True
        now = self._loop.time()
        self._traffic.count(type(error).__name__, now - slot.sent, repeated=slot.repeated)
        if own:
            self._circuit.abandoned(slot.probe)
        elif isinstance(error, BodyTooLarge):
            self._succeeded()  # it did answer
        else:
            about = slot.about if isinstance(error, BodyDamaged) else None
            self._broke(slot, now, about, error.message, timed_out=isinstance(error, Timeout))

    def _left(self, slot: "Slot") -> None:
        """Note that the caller left before the answer came."""
        now = self._loop.time()
        self._traffic.count("abandoned", now - slot.sent, repeated=slot.repeated)
        if now >= slot.deadline() and now - slot.sent >= _SILENT:
            self._broke(slot, now, None, "no answer before the caller's deadline", timed_out=True)
        else:
            self._circuit.abandoned(slot.probe)

    def _succeeded(self) -> None:
        if self._circuit.pause:
            logger.info("%s answers again; requests are sent to it as before", self._host)
        self._circuit.succeeded()

    def _broke(
        self, slot: "Slot", now: float, about: Hashable | None, why: str, *, timed_out: bool = False
    ) -> None:
        before = self._circuit.pause
        self._circuit.failed(now, slot.sent, slot.probe, about, timed_out=timed_out, why=why)
        pause = self._circuit.pause
        if pause and not before:
            logger.info("%s keeps failing, and gets no requests for %g s: %s", self._host, pause, why)
        elif pause and slot.probe:
            logger.info("%s still fails, and gets no requests for %g s: %s", self._host, pause, why)
        if self._circuit.refusal(now):
            self._refuse_hopeless(list(self._queues), now)

    # --- waiting

    async def _wait(self, tenant: Hashable, deadline: Deadline) -> float:
        """Wait for a slot, and return the time at which it came."""
        waiter: _Waiter = self._loop.create_future()
        queue = self._queues.get(tenant)
        if queue is None:
            queue = self._queues[tenant] = _TenantQueue()
            self._ready[tenant] = None
        queue.add(waiter, deadline)
        self._dispatch()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.leave()  # the slot came at the same moment
            else:
                self._forget(tenant, waiter)
            raise

    def _forget(self, tenant: Hashable, waiter: _Waiter) -> None:
        queue = self._queues.get(tenant)
        if queue is not None:
            queue.waiters.pop(waiter, None)
            if not queue.waiters:
                del self._queues[tenant]
                self._ready.pop(tenant, None)

    def _refusal(self, tenant: Hashable, now: float, deadline: Deadline) -> QRBackendsError | None:
        """Return why no slot can come before the deadline, or None if one can."""
        if refusal := self._circuit.refusal(now):
            return refusal
        for key in (tenant, _REGION) if self._throttles else ():
            throttle = self._throttles.get(key)
            if throttle is None or throttle.held_until <= now or throttle.held_until < deadline():
                continue
            wait = throttle.held_until - now
            if key is _REGION:
                return CircuitOpen(f"{self._name} has asked for a pause, which ends in {wait:.1f} s", wait)
            held = HeldBack(f"the service has asked to wait for {wait:.1f} s more, so nothing was sent", 429)
            held.retry_after = wait
            return held
        return None

    def _refuse_hopeless(self, tenants: list[Hashable], now: float) -> None:
        """Refuse the waiting requests that can get no slot before their deadlines."""
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

    # --- throttles

    def _throttle(self, key: Hashable, now: float) -> Throttle:
        throttle = self._throttles.get(key)
        if throttle is None:
            throttle = self._throttles[key] = Throttle(now, self._slots)
        return throttle

    def _sweep(self, now: float) -> None:
        """Remove the throttles that are not needed any more."""
        self._swept = now
        self._throttles = {
            key: throttle for key, throttle in self._throttles.items() if not throttle.is_over(now)
        }

    def _held_until(self, tenant: Hashable) -> float:
        """Return when the last pause of a tenant ends, or ended."""
        throttles = (self._throttles.get(key) for key in (_REGION, tenant))
        return max((throttle.held_until for throttle in throttles if throttle is not None), default=-inf)

    def _ready_at(self, tenant: Hashable, now: float) -> float:
        """Return when a tenant may send its next request."""
        throttles = (self._throttles.get(key) for key in (_REGION, tenant))
        return max((throttle.ready_at(now) for throttle in throttles if throttle is not None), default=now)

    # --- slots

    def _dispatch(self) -> None:
        """Give the free slots to tenants that may send, and set a timer for the next that may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._loop.time()
        while self._delayed and self._delayed[0][0] <= now:
            _, _, tenant, queue = heapq.heappop(self._delayed)
            if self._queues.get(tenant) is queue:
                self._ready.setdefault(tenant)
        while self._free and self._ready:
            tenant = next(iter(self._ready))
            ready = self._ready_at(tenant, now) if self._throttles else now
            if ready > now:
                self._delay(tenant, ready)
            else:
                self._give(tenant, now)
        if self._free and self._delayed:
            self._timer = self._loop.call_at(self._delayed[0][0], self._dispatch)

    def _delay(self, tenant: Hashable, ready: float) -> None:
        """Let a tenant wait until it may send."""
        del self._ready[tenant]
        if len(self._delayed) > 2 * len(self._queues):  # most of them were left by calls that were cancelled
            self._delayed = [entry for entry in self._delayed if self._queues.get(entry[2]) is entry[3]]
            heapq.heapify(self._delayed)
        heapq.heappush(self._delayed, (ready, next(self._numbers), tenant, self._queues[tenant]))

    def _give(self, tenant: Hashable, now: float) -> None:
        queue = self._queues[tenant]
        waiter = queue.pop()
        if queue.waiters:
            self._ready.move_to_end(tenant)
        else:
            del self._queues[tenant], self._ready[tenant]
        if waiter.done():  # cancelled, and its task has not run since
            return
        for key in (_REGION, tenant) if self._throttles else ():
            throttle = self._throttles.get(key)
            if throttle is not None:
                throttle.take()
        self._free -= 1
        waiter.set_result(now)


class Slot(Struct, eq=False):
    """One request's place among those in flight.

    Attributes:
        tenant: the tenant that sends the request.
        deadline: returns when the answer has to be there.
        about: the document that is asked for, or None.
        repeated: whether the request is a retry.
        sent: when the slot came, in the event loop's time.
        probe: whether the request is the circuit breaker's probe.
        noted: whether its outcome is.
    """

    tenant: Hashable
    deadline: Deadline
    about: Hashable | None = None
    repeated: bool = False
    sent: float = 0.0
    probe: bool = False
    noted: bool = False
