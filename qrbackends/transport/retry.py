"""What is tried again, and when. No I/O."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..errors import (
    Attempt,
    BodyTooLarge,
    CircuitOpen,
    ConnectionLost,
    DecodeError,
    HeldBack,
    QRBackendsError,
    RateLimited,
    RedirectRefused,
    ServerError,
    TLSError,
    TransportError,
)
from .throttle import MAX_HOLD

# The service's own failures, those of gateways, and Cloudflare's; not 501, which stays as it is.
_PASSING: Final = frozenset((500, 502, 503, 504, *range(520, 525)))


_ABSURD: Final = 1e308  # seconds


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request is sent, and how long is waited in between.

    Connect errors, timeouts, damaged bodies, bodies that are not JSON, 429, 500, 502, 503, 504 and 520 to 524
    are tried again, all within the call's one deadline. Before the n-th repetition a random time from 0 to
    `base * 2**(n - 1)` seconds passes, at most `cap`: "full jitter", after M. Brooker, "Exponential Backoff
    And Jitter" (AWS Architecture Blog, 2015). What a 429 or 503 says in `Retry-After` is kept besides.
    A connection that is lost before the answer begins costs no pause the first time, as servers close idle
    ones at any moment (RFC 9112, section 9.3.1).

    Args:
        attempts: how many requests one call sends at most; 1 for no repetition.
        base: seconds, as above.
        cap: seconds, as above.

    Raises:
        ValueError: `attempts` is not a whole number greater than zero, or a time is negative or not finite.
    """

    attempts: int = 5
    base: float = 0.25
    cap: float = 8.0

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise ValueError("attempts has to be a whole number, 1 or more")
        for name in ("base", "cap"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _ABSURD:
                raise ValueError(f"{name} has to be a number of seconds, 0 or more")


class Trail:
    """What one call's requests came to so far.

    Args:
        policy: what is tried again.
        began: when the call began, in the event loop's time.
        until: when it has to end; it may move, as others may join it who have longer.
        draw: gives random numbers from 0 to 1.
    """

    def __init__(
        self, policy: RetryPolicy, began: float, until: float, draw: Callable[[], float] = random.random
    ) -> None:
        self.until = until
        self.sent = 0
        self.last: QRBackendsError | None = None
        self._policy = policy
        self._began = began
        self._draw = draw
        self._history: list[Attempt] = []

    def deadline(self) -> float:
        """Return when the call has to end, as far as is known now."""
        return self.until

    def sending(self) -> None:
        """Note that a request is sent."""
        self.sent += 1

    def note(self, error: QRBackendsError, now: float) -> None:
        """Note that a request failed."""
        self.last = error
        self._history.append(Attempt(now - self._began, f"{type(error).__name__}: {error.message}"))

    def failed(self, error: QRBackendsError, now: float) -> float:
        """Note that a request failed, or was not sent, and return the seconds to wait before the next.

        Raises:
            QRBackendsError: there is no next attempt; the last real failure of this call.
        """
        if isinstance(error, (CircuitOpen, HeldBack)):  # it was not sent
            if self.last is None or not self._is_worth_it(error, now):
                raise self.told(error, now)
            return error.retry_after or 0.0
        self.note(error, now)
        if self.sent >= self._policy.attempts or not is_passing(error):
            raise self.told(error, now)
        if isinstance(error, ConnectionLost) and self.sent == 1:
            return 0.0
        exponent = min(self.sent - 1, 60)  # beyond which floats gain nothing
        pause = self._draw() * min(self._policy.cap, self._policy.base * 2.0**exponent)
        if now + max(pause, min(getattr(error, "retry_after", None) or 0.0, MAX_HOLD)) >= self.until:
            raise self.told(error, now)
        return pause

    def told(self, error: QRBackendsError, now: float) -> QRBackendsError:
        """Return what the caller is told: the last real failure, or `error` where there was none.

        A request that is still under way came to `error`.
        """
        real = self.last or error
        history = [*self._history]
        if self.sent > len(history):
            history.append(Attempt(now - self._began, f"{type(error).__name__}: {error.message}"))
        real.history = tuple(history)
        return real.about(attempts=self.sent)

    def _is_worth_it(self, refusal: CircuitOpen | HeldBack, now: float) -> bool:
        """Return whether to wait for a region that rests; whoever has just come is not kept waiting."""
        wait = refusal.retry_after or 0.0
        return isinstance(refusal, CircuitOpen) and wait <= self._policy.cap and now + wait < self.until


def is_passing(error: QRBackendsError) -> bool:
    """Return whether the same request may well succeed if it is sent again."""
    match error:
        case DecodeError():
            return error.malformed  # damaged on its way; what is whole and has the wrong shape stays so
        case ServerError():
            return error.status in _PASSING
        case BodyTooLarge() | RedirectRefused() | TLSError() | CircuitOpen() | HeldBack():
            return False
        case TransportError() | RateLimited():
            return True
    return False
