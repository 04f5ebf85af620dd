"""The throttle: how fast one tenant may send requests after the service has answered with a 429. No I/O."""

from collections import deque
from math import inf

MAX_HOLD = 60.0
"""The longest pause in seconds; a longer Retry-After is cut to it."""

_DECREASE = 0.9  # factor for the rate at a 429
_INCREASE = 0.02  # growth per second, as a share of the rate after the 429
_STEADY = 10.0  # seconds without a 429 after which the limit is taken to be unknown again
_SLOWDOWN = 2.0  # for each second of Retry-After, growth takes this much longer, as a 429 costs a pause
_WINDOW = 1.0  # seconds over which the successful requests are counted
_SHORTEST = 0.25  # seconds; the shortest time over which a count gives a rate
_SLOWEST = 0.5  # requests per second; the rate never falls below it
_JITTER = 0.02  # seconds by which timers may be late; the bucket holds the tokens of that time
_FORGET = 60.0  # seconds without a 429 after which the throttle is not needed any more


class Throttle:
    """Pauses after a 429 for its Retry-After, then lets requests pass at a rate that follows AIMD.

    AIMD is additive increase, multiplicative decrease (D.-M. Chiu and R. Jain, "Analysis of the Increase and
    Decrease Algorithms for Congestion Avoidance in Computer Networks", 1989): a 429 sets the rate to 90 % of
    that of the successful requests; then it grows linearly, by 2 % of this value per second. While the limit
    is unknown, the rate doubles every second: between the first 429 and the second, and after 10 s without a
    429. Growth is relative, so the throttle works alike at 1 and at 1,000 requests per second. A token bucket
    holds requests to the rate.

    Args:
        now: the time in seconds, from a monotonic clock.
        rate: requests per second after the first 429.
    """

    def __init__(self, now: float, rate: float) -> None:
        self._base = max(_SLOWEST, rate)
        self._increase = 0.0
        self._steady = 0.0  # seconds of linear growth, before the rate doubles every second
        self._cut_at = -inf
        self._open_at = now  # the end of the last pause
        self._tokens = 0.0
        self._counted = now  # when tokens were last added
        self._successes: deque[float] = deque()

    def refused(self, now: float, sent: float, retry_after: float | None) -> None:
        """Note a 429: pause, and lower the rate.

        Args:
            now: when the 429 came.
            sent: when its request was sent.
            retry_after: the seconds of its Retry-After, or None.
        """
        pause = min(retry_after or 0.0, MAX_HOLD)
        if sent >= self._cut_at:  # requests sent before the last cut went at the old rate
            if self._cut_at != -inf:
                rate = self._rate(now)  # few successes are counted right after a pause: keep at least half
                self._base = max(_SLOWEST, _DECREASE * max(rate / 2, min(rate, self._measured(now))))
                slowdown = 1 + _SLOWDOWN * pause
                self._increase = _INCREASE / slowdown
                self._steady = _STEADY * slowdown
            self._cut_at = now
            self._open_at = max(self._open_at, now)
        self.hold(now, pause)

    def hold(self, now: float, seconds: float) -> None:
        """Pause for some seconds, at most `MAX_HOLD`; the bucket is empty afterwards."""
        until = now + min(seconds, MAX_HOLD)
        if until > max(now, self._open_at):
            self._open_at = self._counted = until
            self._tokens = 0.0

    def answered(self, now: float) -> None:
        """Note an answer other than a 429."""
        self._successes.append(now)
        while self._successes[0] < now - _WINDOW:
            self._successes.popleft()

    def ready_at(self, now: float) -> float:
        """Return when the next request may be sent: `now`, or later."""
        if now < self._open_at:
            return self._open_at
        rate = self._rate(now)
        if now > self._counted:
            capacity = max(1.0, rate * _JITTER)
            self._tokens = min(capacity, self._tokens + (now - self._counted) * rate)
            self._counted = now
        return now if self._tokens >= 1.0 else now + (1.0 - self._tokens) / rate

    def take(self) -> None:
        """Take a token for one request."""
        self._tokens -= 1.0

    @property
    def held_until(self) -> float:
        """When the last pause ends, or ended."""
        return self._open_at

    def is_over(self, now: float) -> bool:
        """Return whether there has been no 429 and no pause for so long that the throttle can be dropped."""
        return now > max(self._cut_at, self._open_at) + _FORGET

    def _rate(self, now: float) -> float:
        """Return the requests per second that may be sent at `now`."""
        since = min(max(0.0, now - self._open_at), 2 * _FORGET)  # bounded, as 2.0**since grows fast
        steady = min(since, self._steady)
        return self._base * (1 + self._increase * steady) * float(2.0 ** (since - steady))

    def _measured(self, now: float) -> float:
        """Return the successful requests per second of the last second, or since the last pause."""
        window = min(_WINDOW, max(_SHORTEST, now - self._open_at))
        return sum(when > now - window for when in self._successes) / window
