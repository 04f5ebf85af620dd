"""Deadlines: one client's calls, all of which closing the client ends; timeouts that allow for lag."""

from asyncio import get_running_loop
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from numbers import Real
from typing import Protocol, TypeAlias

import anyio

from ..errors import ClientClosed, InvalidRequest, Timeout
from .loops import LoopBound, running_loop

Seconds: TypeAlias = float | None
"""A number of seconds; None for the default."""

_TURNS = 5  # timers, one after the other, that make up an `answer_timeout`
_PER_LATE_TURN = 0.125  # of a turn, at least: even a loop that is always late gives up, after 40 turns
_LAG = 8  # a turn that is late by an eighth of its time counts half


class Closable(Protocol):
    """Something that can be closed, such as a `SessionPool`."""

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        ...


class Calls(LoopBound):
    """The calls of one client.

    Args:
        total: seconds that a call may take by default.
        pool: the pool that sends the calls' requests; once it is closed, no call can begin.
    """

    def __init__(self, total: float, pool: Closable) -> None:
        self._total = total
        self._pool = pool
        self._scopes: set[anyio.CancelScope] = set()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the client or its pool is closed, so that no call can begin."""
        return self._closed or self._pool.closed

    def deadline(self, timeout: Seconds = None) -> float:
        """Return when a call that begins now has to end, in the event loop's time.

        Args:
            timeout: seconds that the call may take; None for the default.

        Raises:
            InvalidRequest: `timeout` is not a number greater than zero.
        """
        now = (self._loop or running_loop()).time()
        return now + (self._total if timeout is None else checked_timeout(timeout))

    @contextmanager
    def call(self, deadline: float | None = None) -> Iterator[None]:
        """Cancel the code inside at a deadline, or when the client is closed.

        Args:
            deadline: in the event loop's time; None for the default time from now.

        Raises:
            Timeout: the deadline passed.
            ClientClosed: the client was closed, before or during the call.
            WrongEventLoop: the client belongs to another event loop or process.
        """
        self.check()
        began = anyio.current_time()
        until = began + self._total if deadline is None else deadline
        with anyio.CancelScope(deadline=until) as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)
        if scope.cancelled_caught:
            if self.closed:
                raise ClientClosed("the client was closed during the call")
            raise overdue(until - began)

    def check(self) -> None:
        """Raise `ClientClosed` if the client is closed, `WrongEventLoop` if it cannot be used here."""
        if self._closed or self._pool.closed:
            raise ClientClosed("the client is closed")
        try:
            here = get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if not here:
            self.check_loop()

    def end(self) -> None:
        """End all calls, whose callers get `ClientClosed`; no other call can begin."""
        self._closed = True
        for scope in tuple(self._scopes):
            scope.cancel()


def overdue(seconds: float) -> Timeout:
    """Return the error for who had so many seconds for an answer; 0 or less if there were none left."""
    if seconds > 0:
        return Timeout(f"no answer within {seconds:.3g} s")
    return Timeout("no answer: the time of the call was over before it began; give it a longer timeout")


def checked_timeout(timeout: float) -> float:
    """Return the seconds that a call may take.

    Raises:
        InvalidRequest: `timeout` is not a number greater than zero.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, int | float | Real) or not timeout > 0:
        raise InvalidRequest(f"timeout has to be a number of seconds greater than zero, not {timeout!r:.80}")
    return timeout if timeout < 1e300 else inf  # an integer may be too large for a float


@contextmanager
def answer_timeout(seconds: float) -> Iterator[Callable[[], float]]:
    """Raise a TimeoutError when another process has not answered for `seconds` in which this one was on time.

    A busy event loop, or a process that gets no CPU, reads late what was answered in time. So the time is
    counted in turns of the loop; the later a turn ends, the less it counts, down to an eighth. It yields a
    function that returns the seconds until now, without those for which a turn has ended late.
    """
    with anyio.CancelScope() as scope:
        alarm = _TurnAlarm(scope.cancel, seconds / _TURNS)
        try:
            yield alarm.on_time
        finally:
            alarm.cancel()
    if scope.cancelled_caught:
        raise TimeoutError


class _TurnAlarm:
    """Calls `ring` after `_TURNS` turns of `step` seconds each."""

    def __init__(self, ring: Callable[[], object], step: float) -> None:
        self._ring = ring
        self._step = step
        self._left = float(_TURNS)
        self._loop = get_running_loop()
        self._began = self._loop.time()
        self._late = 0.0  # seconds
        self._begin()

    def cancel(self) -> None:
        self._handle.cancel()

    def on_time(self) -> float:
        now = self._loop.time()
        return now - self._began - self._late - max(0.0, now - self._due)

    def _begin(self) -> None:
        self._due = self._loop.time() + self._step
        self._handle = self._loop.call_at(self._due, self._end)

    def _end(self) -> None:
        late = self._loop.time() - self._due
        self._late += late
        self._left -= max(_PER_LATE_TURN, self._step / (self._step + _LAG * late))
        if self._left > 0.5:
            self._begin()
        else:
            self._ring()


def halfway(until: float) -> float:
    """Return the instant at which half of the time until a deadline has passed."""
    now = anyio.current_time()
    return now + (until - now) / 2
