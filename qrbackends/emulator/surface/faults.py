"""The faults that were added to an emulator, and which requests they affect.

A fault is added with `Emulator.fault(action, …)`, and affects the first `times` requests that match it.
Nothing is random: a request gets the first added fault that matches it and has not affected `times` requests.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Literal, TypeAlias

from msgspec import Struct

from .actions import Action, RateLimit

CLOUD = "cloud"
"""The name of IAM, Global Search and Global Catalog where regions are named."""

Resource: TypeAlias = Literal[
    "backends",
    "configuration",
    "properties",
    "defaults",
    "status",
    "versions",
    "usage",
    "jobs",
    "token",
    "search",
    "catalog",
]


class FaultState(Struct, frozen=True):
    """What the control API says of a fault.

    Attributes:
        fault: its name.
        action: what it does.
        resource: the resource that it is for; None for any.
        backend: the backend that it is for; None for any.
        region: the region that it is for; None for any.
        times: the number of requests that it affects; None for all.
        hits: the number of requests that it has affected.
        held: the number of requests that it holds at the moment.
    """

    fault: str
    action: Action
    resource: str | None
    backend: str | None
    region: str | None
    times: int | None
    hits: int
    held: int


class Bucket:
    """A token bucket, full at first.

    Args:
        rate: tokens added per second.
        burst: number of tokens that it can hold.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._counted = 0.0

    def take(self, now: float) -> bool:
        """Take a token if there is one; return whether there was one.

        Args:
            now: the time in seconds, of any clock.
        """
        self._tokens = min(self._burst, self._tokens + (now - self._counted) * self._rate)
        self._counted = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Fault:
    """A fault that was added to an emulator; its methods can be called from any thread.

    Attributes:
        name: its name among the emulator's faults.
        action: what it does.
        hits: the number of requests that it has affected.
    """

    def __init__(
        self,
        action: Action,
        resource: str | None,
        backend: str | None,
        region: str | None,
        times: int | None,
        name: str = "",
    ) -> None:
        self.name = name
        self.action = action
        self.hits = 0
        self._target = (resource, backend, region)
        self._times = times
        self._lock = threading.Lock()  # for all below: tests wait and release in threads of their own
        self._waiters: list[tuple[int, Future[None]]] = []
        self._held: list[Future[None]] = []
        self._holds = True
        self._bucket = Bucket(action.rate, action.burst) if isinstance(action, RateLimit) else None

    async def reached(self, hits: int = 1) -> None:
        """Return when it has affected `hits` requests.

        Raises:
            RuntimeError: it will not: `hits` is more than its `times`, or it has been removed.
        """
        waiter = self._reached(hits)
        if waiter.done():  # without waiting, for which any timeout may be too short
            waiter.result()
        else:
            await asyncio.wrap_future(waiter)

    def wait_reached(self, hits: int = 1, timeout: float | None = 10.0) -> None:
        """Block until it has affected `hits` requests: for threads other than the emulator's.

        Args:
            hits: the number of requests.
            timeout: seconds to wait at most; None for no limit.

        Raises:
            TimeoutError: it has not within `timeout`.
            RuntimeError: it will not, as for `reached`.
        """
        self._reached(hits).result(timeout)

    def release(self) -> None:
        """Answer the requests that it holds, and hold no more."""
        with self._lock:
            self._holds = False
            held, self._held = self._held, []
        for one in held:
            _settle(one)

    def cancel(self) -> None:
        """Affect no more requests, answer those that it holds, and let `reached` raise."""
        with self._lock:
            self._times = self.hits
            waiters, self._waiters = self._waiters, []
        self.release()
        for _, waiter in waiters:
            _settle(waiter, RuntimeError(f"the fault was removed after {self.hits} requests"))

    async def released(self) -> None:
        """Return when `release()` has been called."""
        with self._lock:
            if not self._holds:
                return
            held = Future[None]()
            self._held.append(held)
        try:
            await asyncio.wrap_future(held)
        finally:
            with self._lock, suppress(ValueError):
                self._held.remove(held)

    def takes(self, resource: str | None, backend: str | None, region: str) -> bool:
        """Return whether it affects this request; if so, the request is counted."""
        actual = (resource, backend, region)
        if any(wanted not in (None, given) for wanted, given in zip(self._target, actual, strict=True)):
            return False
        with self._lock:
            if self._times is not None and self.hits >= self._times:
                return False
            if self._bucket is not None and self._bucket.take(asyncio.get_running_loop().time()):
                return False
            self.hits += 1
            ready = [waiter for hits, waiter in self._waiters if hits <= self.hits]
            self._waiters = [one for one in self._waiters if one[0] > self.hits]
        for waiter in ready:
            _settle(waiter)
        return True

    def state(self) -> FaultState:
        """Return what the control API says of it."""
        with self._lock:
            return FaultState(self.name, self.action, *self._target, self._times, self.hits, len(self._held))

    def _reached(self, hits: int) -> "Future[None]":
        waiter = Future[None]()
        with self._lock:
            if self.hits >= hits:
                waiter.set_result(None)
            elif self._times is not None and hits > self._times:
                waiter.set_exception(RuntimeError(f"the fault affects no more than {self._times} requests"))
            else:
                self._waiters.append((hits, waiter))
        return waiter


def _settle(waiter: "Future[None]", error: Exception | None = None) -> None:
    """Wake who waits, unless they left at this moment."""
    with suppress(InvalidStateError):
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)


class Faults:
    """The faults of one emulator."""

    def __init__(self) -> None:
        self._faults: dict[str, Fault] = {}
        self._serial = 0

    def add(self, make: Callable[[str], Fault], name: str | None = None) -> Fault:
        """Add a fault behind the others, and return it.

        Args:
            make: makes it, given its name.
            name: its name; left out, a number that no other one has.

        Raises:
            ValueError: another one has the name.
        """
        if name is not None and name in self._faults:
            raise ValueError(f"there is a fault {name!r:.100} already")
        while name is None or name in self._faults:
            self._serial += 1
            name = f"fault-{self._serial}"
        fault = self._faults[name] = make(name)
        return fault

    def all(self) -> tuple[Fault, ...]:
        """Return them in the order in which they were added."""
        return tuple(self._faults.values())

    def take(self, resource: str | None, backend: str | None, region: str) -> Fault | None:
        """Return the fault that affects this request, or None."""
        return next((f for f in self._faults.values() if f.takes(resource, backend, region)), None)

    def remove(self, fault: Fault) -> None:
        """Remove a fault, and answer the requests that it holds."""
        self._faults.pop(fault.name, None)
        fault.cancel()

    def clear(self) -> None:
        """Remove all faults, and answer the requests that they hold."""
        for fault in self.all():
            self.remove(fault)
        self._serial = 0
