"""How fast one tenant asks after the service has said that it asks too fast. No I/O."""

from collections import deque
from math import inf

MAX_HOLD = 60.0
"""Seconds; whatever a Retry-After says, the service is asked again then."""

_CUT = 0.9  # of the rate that went well, after a 429
_BACK = 5.0  # seconds until the rate that went well is reached again, as long again until a tenth above it
_WORTH = 10.0  # times as long where a 429 costs a pause: what it brings has to be worth it
_WINDOW = 1.0  # seconds over which the rate that went well is measured
_SHORTEST = 0.25  # seconds below which a measurement says little
_SLOWEST = 0.5  # requests per second
_JITTER = 0.02  # seconds by which timers are late; what was missed meanwhile is made up for
_FORGET = 60.0  # seconds without a 429 after which nothing is held back any more


class Throttle:
    """A pause where one was asked for, and a token bucket whose rate follows what the service bears.

    After the first 429 the rate doubles every second until the next one. From then on it is the cubic of
    CUBIC congestion control (RFC 9438, section 4.2), as in botocore's adaptive mode: after a 429 it is cut to
    90 % of what went well, is back there after a while, stays, and then tries for more; here relative to the
    rate, so that it behaves alike at 1 and at 1,000 requests per second. Twice that while without a 429, and
    it learns anew.

    Args:
        now: seconds, of a steady clock.
        rate: requests per second to begin with.
    """

    def __init__(self, now: float, rate: float) -> None:
        self._base = max(_SLOWEST, rate)
        self._learning = True
        self._cut_at = -inf
        self._back = _BACK
        self._open_at = now  # when it last began to let through
        self._tokens = 0.0
        self._counted = now
        self._answers: deque[float] = deque()

    def refused(self, now: float, sent: float, retry_after: float | None) -> None:
        """Note a 429: pause for as long as it says, and go on more slowly.

        Args:
            now: when it came.
            sent: when its request was sent.
            retry_after: the seconds that it asks for, or None.
        """
        if sent >= self._cut_at:  # else it was sent before the last cut, and tells nothing new
            if self._cut_at != -inf:
                rate = self._rate(now)  # little is measured right after a pause: never less than half of it
                self._base = max(_SLOWEST, rate / 2, min(rate, self._measured(now)))
                self._learning = False
            self._back = _BACK + _WORTH * min(retry_after or 0.0, MAX_HOLD)
            self._cut_at = now
            self._open_at = max(self._open_at, now)
        self.hold(now, retry_after or 0.0)

    def hold(self, now: float, seconds: float) -> None:
        """Let nothing through for some seconds, and then gently."""
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
        """Take the place of one request."""
        self._tokens -= 1.0

    @property
    def held_until(self) -> float:
        """When the pause ends, or ended, that was asked for."""
        return self._open_at

    def is_over(self, now: float) -> bool:
        """Return whether it need not be kept: for long nothing was refused."""
        return now > max(self._cut_at, self._open_at) + _FORGET

    def _rate(self, now: float) -> float:
        since = min(max(0.0, now - self._open_at), 2 * _FORGET)
        if self._learning:
            return self._base * _CUT * float(2.0**since)
        known = min(since, 2 * self._back)  # after which the limit is another one
        return self._base * (1 + (1 - _CUT) * (known / self._back - 1) ** 3) * float(2.0 ** (since - known))

    def _measured(self, now: float) -> float:
        """Return how many requests per second went well of late."""
        window = min(_WINDOW, max(_SHORTEST, now - self._open_at))
        return sum(when > now - window for when in self._answers) / window
