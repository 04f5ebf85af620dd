"""Which failed requests are sent again, and when. No I/O."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from ..errors import Attempt, CircuitOpen, ConnectionLost, HeldBack, QRBackendsError
from ..models.integers import is_number, whole
from .throttle import MAX_HOLD

_MOST: Final = 1e308  # seconds; less than infinity


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request is sent, and how long the pauses between its attempts are.

    A request is sent again after connect errors, timeouts, damaged bodies, bodies that are not JSON, and the
    statuses 429, 500, 502, 503, 504 and 520 to 524. All attempts share the call's one deadline. The pause
    before the n-th repetition is a random time from 0 to `base * 2**(n - 1)` seconds, at most `cap`: "full
    jitter", after M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015). The
    `Retry-After` of a 429 or 503 is respected in addition. The first time that a connection is lost before
    the answer begins, there is no pause: servers close idle connections at any moment (RFC 9112, section
    9.3.1).

    Args:
        attempts: how many requests one call sends at most; 1 for no repetition. A request whose condition
            (`If-None-Match`) was refused is sent once more in any case.
        base: the longest pause before the first repetition, in seconds.
        cap: the longest pause of all, in seconds.

    Raises:
        ValueError: `attempts` is not a whole number greater than zero, or a time is negative or not finite.
    """

    attempts: int = 5
    base: float = 0.25
    cap: float = 8.0

    def __post_init__(self) -> None:
        attempts = whole(self.attempts)
        if attempts is None or attempts < 1:
            raise ValueError("attempts has to be a whole number, 1 or more")
        object.__setattr__(self, "attempts", attempts)
        for name in ("base", "cap"):
            value = getattr(self, name)
            if not is_number(value) or not 0 <= value < _MOST:
                raise ValueError(f"{name} has to be a number of seconds, 0 or more")


class RetryState(Struct):
    """The requests that one call has sent so far, and their failures.

    Args:
        policy: which failures are tried again, and how often.
        began: when the call began, in the event loop's time.
        deadline: returns when the call has to end; the time moves when a caller with a later deadline joins.
        draw: gives random numbers from 0 to 1.

    Attributes:
        sent: how many requests were sent.
        last: the last failure of a request that was sent.
        history: every failure.
    """

    policy: RetryPolicy
    began: float
    deadline: Callable[[], float]
    draw: Callable[[], float] = random.random
    sent: int = 0
    last: QRBackendsError | None = None
    history: list[Attempt] = []

    def note(self, error: QRBackendsError, now: float) -> None:
        """Note that a request failed."""
        self.last = error
        self.history.append(self._attempt(error, now))

    def pause_after(self, error: QRBackendsError, now: float) -> float:
        """Note that a request failed, or was not sent; return the seconds to wait before the next one.

        Raises:
            QRBackendsError: there is no next attempt; this is the last failure of a request that was sent.
        """
        if isinstance(error, (CircuitOpen, HeldBack)):  # nothing was sent; a first request does not wait
            if self.last is None or not self._is_worth_waiting(error, now):
                raise self.failure(error, now)
            return error.retry_after or 0.0
        self.note(error, now)
        if self.sent >= self.policy.attempts or not error.retryable:
            raise self.failure(error, now)
        if isinstance(error, ConnectionLost) and self.sent == 1:
            return 0.0
        exponent = min(self.sent - 1, 60)  # the power stays a finite float
        pause = self.draw() * min(self.policy.cap, self.policy.base * 2.0**exponent)
        if now + max(pause, min(getattr(error, "retry_after", None) or 0.0, MAX_HOLD)) >= self.deadline():
            raise self.failure(error, now)
        return pause

    def failure(self, error: QRBackendsError, now: float) -> QRBackendsError:
        """Return the error to raise: the last failure of a request that was sent, or `error` if none failed.

        Its history is filled in. If a request is still in flight, `error` counts as its failure.
        """
        real = self.last or error
        history = [*self.history]
        if self.sent > len(history):
            history.append(self._attempt(error, now))
        real.history = tuple(history)
        real.attempts = self.sent
        return real

    def _attempt(self, error: QRBackendsError, now: float) -> Attempt:
        return Attempt(now - self.began, f"{type(error).__name__}: {error.problem}")

    def _is_worth_waiting(self, refusal: CircuitOpen | HeldBack, now: float) -> bool:
        """Return whether to wait until the region's open circuit lets requests pass again."""
        wait = refusal.retry_after or 0.0
        return isinstance(refusal, CircuitOpen) and wait <= self.policy.cap and now + wait < self.deadline()
