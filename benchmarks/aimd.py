"""The candidate: additive increase, multiplicative decrease, with the interface of `Throttle`."""

from collections import deque
from math import inf

from qrbackends.transport.throttle import MAX_HOLD

_CUT = 0.9  # factor of the measured rate, after a 429
_INCREASE = 0.02  # of the rate after the cut, per second
_STEADY = 10.0  # seconds without a 429 after which the rate doubles every second
_SLOWDOWN = 2.0  # by how much each second of Retry-After slows the increase, as it makes a 429 more expensive
_WINDOW = 1.0  # seconds over which the rate is measured
_SHORTEST = 0.25  # seconds; shorter measurements say little
_SLOWEST = 0.5  # requests per second
_JITTER = 0.02  # seconds by which timers may be late; the bucket holds the tokens of that time
_FORGET = 60.0  # seconds without a 429 after which the throttle is not needed any more


class Aimd:
    """A pause where one was asked for, and a token bucket whose rate follows AIMD.

    A 429 cuts the rate to 90 % of the rate that was measured; from then on it grows linearly, by 2 % of it
    per second (D.-M. Chiu and R. Jain, "Analysis of the Increase and Decrease Algorithms for Congestion
    Avoidance in Computer Networks", 1989). Until the limit is known, which is so after the first 429 and
    again after a fifth more without one, the rate doubles every second.

    Args:
        now: seconds, of a steady clock.
        rate: requests per second to begin with.
    """

    def __init__(self, now: float, rate: float) -> None:
        self._base = max(_SLOWEST, rate)
        self._increase = 0.0
        self._steady = 0.0
        self._cut_at = -inf
        self._open_at = now
        self._tokens = 0.0
        self._counted = now
        self._answers: deque[float] = deque()

    def refused(self, now: float, sent: float, retry_after: float | None) -> None:
        """Note a 429."""
        if sent >= self._cut_at:
            if self._cut_at != -inf:
                slowdown = 1 + _SLOWDOWN * min(retry_after or 0.0, MAX_HOLD)
                self._increase = _INCREASE / slowdown
                rate = self._rate(now)
                self._base = max(_SLOWEST, _CUT * max(rate / 2, min(rate, self._measured(now))))
                self._steady = _STEADY * slowdown
            self._cut_at = now
            self._open_at = max(self._open_at, now)
        self.hold(now, retry_after or 0.0)

    def hold(self, now: float, seconds: float) -> None:
        """Let nothing through for some seconds."""
        until = now + min(seconds, MAX_HOLD)
        if until > max(now, self._open_at):
            self._open_at = self._counted = until
            self._tokens = 0.0

    def answered(self, now: float) -> None:
        """Note an answer that is no 429."""
        self._answers.append(now)
        while self._answers[0] < now - _WINDOW:
            self._answers.popleft()

    def ready_at(self, now: float) -> float:
        """Return when the next request may go."""
        if now < self._open_at:
            return self._open_at
        rate = self._rate(now)
        if now > self._counted:
            most = max(1.0, rate * _JITTER)
            self._tokens = min(most, self._tokens + (now - self._counted) * rate)
            self._counted = now
        return now if self._tokens >= 1.0 else now + (1.0 - self._tokens) / rate

    def take(self) -> None:
        """Take the token of one request."""
        self._tokens -= 1.0

    @property
    def held_until(self) -> float:
        """When the last pause ends, or ended."""
        return self._open_at

    def is_over(self, now: float) -> bool:
        """Return whether there was no 429 for so long that the throttle can be dropped."""
        return now > max(self._cut_at, self._open_at) + _FORGET

    def _rate(self, now: float) -> float:
        """Return the requests per second that may be sent now."""
        since = min(max(0.0, now - self._open_at), 2 * _FORGET)
        steady = min(since, self._steady)
        return self._base * (1 + self._increase * steady) * float(2.0 ** (since - steady))

    def _measured(self, now: float) -> float:
        """Return how many answers per second came in the last second."""
        window = min(_WINDOW, max(_SHORTEST, now - self._open_at))
        return sum(when > now - window for when in self._answers) / window
