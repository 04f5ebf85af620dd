"""Whether a region is asked at all. No I/O."""

from collections.abc import Hashable
from math import inf

from ..errors import CircuitOpen
from .traffic import CircuitState

_FIRST_REST = 2.0  # seconds: a restart is over soon, and need not cost the whole pause
_PROBING = 1.0  # seconds after which to ask again while one request finds out whether it recovers


class CircuitBreaker:
    """Opens after failures in a row, lets one probe through now and then, and closes on a success.

    Closed, everything passes. Open, nothing does until a pause has passed; then one request, the probe, is
    let through. If it fails, the next pause is twice as long, up to `rest`. M. Nygard, "Release It!".

    Args:
        name: what is asked, for the error.
        failures: how many in a row open it.
        rest: the longest pause, in seconds.
    """

    def __init__(self, name: str, failures: int, rest: float) -> None:
        self._name = name
        self._limit = failures
        self._rest = rest
        self._failures = 0
        self._noted = -inf  # when the last of them was noted
        self._only: Hashable | None = None  # what all of them were about
        self._pause = 0.0  # 0 while closed
        self._probe_at = 0.0
        self._probing = False

    @property
    def state(self) -> CircuitState:
        """Whether requests pass: all, none, or one that finds out."""
        return "probing" if self._probing else "open" if self._pause else "closed"

    def refusal(self, now: float) -> CircuitOpen | None:
        """Return why a request would not be let through now, or None if it would."""
        if not self._pause or (not self._probing and now >= self._probe_at):
            return None
        wait = self._probe_at - now
        when = f"it is asked again in {wait:.1f} s"
        if self._probing:
            wait, when = _PROBING, "one request finds out whether it recovers"
        return CircuitOpen(
            f"{self._name} failed {self._failures} times in a row, so nothing was sent; {when}", wait
        )

    def enter(self, now: float) -> bool:
        """Let a request through, and return whether it is the probe.

        Raises:
            CircuitOpen: it is not let through.
        """
        if refusal := self.refusal(now):
            raise refusal
        self._probing = self._pause > 0
        return self._probing

    def succeeded(self) -> None:
        """Note an answer, of whatever request."""
        self._failures = 0
        self._pause = 0.0
        self._probing = False

    def failed(
        self, now: float, sent: float, probe: bool, about: Hashable | None = None, *, in_vain: bool = False
    ) -> None:
        """Note a failure.

        Of those that were under way together one counts, so that a moment's trouble is one failure however
        many it strikes; one broken document does not open it, however often it is asked for.

        Args:
            now: in the event loop's time.
            sent: when its request was sent.
            probe: whether it was the probe.
            about: what was asked, where that alone may be broken; None where the way to it is.
            in_vain: whether it waited and nothing came, which is no moment's trouble.
        """
        if probe:
            self._probing = False
            self._failures += 1
            self._open(now, 2 * self._pause)
        elif not self._pause and (in_vain or sent >= self._noted or not self._failures):
            self._only = about if about == self._only or not self._failures else None
            self._failures += 1
            self._noted = now
            if self._failures >= self._limit and (self._only is None or self._limit == 1):
                self._open(now, _FIRST_REST)

    def abandoned(self, probe: bool) -> None:
        """Note that a request ended without telling anything; where it was the probe, another may go."""
        if probe:
            self._probing = False

    def _open(self, now: float, pause: float) -> None:
        self._pause = min(pause, self._rest)
        self._probe_at = now + self._pause
