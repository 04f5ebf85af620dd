"""The circuit breaker: after repeated failures, a region gets no requests for a while. No I/O."""

from collections.abc import Hashable
from math import inf

from ..errors import CircuitOpen
from .traffic import CircuitState

_FIRST_PAUSE = 2.0  # seconds; short, because a restarted service is back soon
_PROBING = 1.0  # seconds after which a caller may try again while the probe is in flight


class CircuitBreaker:
    """Opens after several failures in a row, and closes on a success (M. Nygard, "Release It!").

    While it is closed, all requests pass. While it is open, none does until a pause is over; then one
    request, the probe, passes. If the probe fails, the next pause is twice as long, up to `rest`.

    Args:
        name: the region's name, for the error.
        failures: how many failures in a row open it.
        rest: the longest pause, in seconds.
    """

    def __init__(self, name: str, failures: int, rest: float) -> None:
        self._name = name
        self._limit = failures
        self._rest = rest
        self.failures = 0
        """How many requests failed in a row; more than 0 while it is open or probing."""
        self._noted = -inf  # the time of the last failure that counted
        self._only: Hashable | None = None  # the one document that all failures were about
        self._why = ""  # what the last failure was
        self.pause = 0.0
        """Seconds of the pause while it is open or probing; 0 while it is closed."""
        self._probe_at = 0.0
        self._probing = False

    @property
    def state(self) -> CircuitState:
        """`closed`: all requests pass; `open`: none does; `probing`: the probe is in flight."""
        return "probing" if self._probing else "open" if self.pause else "closed"

    def refusal(self, now: float) -> CircuitOpen | None:
        """Return the error if a request may not pass now, or None if it may."""
        if not self.pause or (not self._probing and now >= self._probe_at):
            return None
        wait = self._probe_at - now
        when = f"it is asked again in {wait:.1f} s"
        if self._probing:
            wait, when = _PROBING, "one request finds out whether it recovers"
        why = f" ({self._why})" if self._why else ""
        failed = f"{self._name} failed {self.failures} times in a row{why}"
        return CircuitOpen(f"{failed}, so nothing was sent; {when}", wait)

    def enter(self, now: float) -> bool:
        """Let a request pass, and return whether it is the probe.

        Raises:
            CircuitOpen: the request may not pass.
        """
        if self.pause and (refusal := self.refusal(now)):
            raise refusal
        self._probing = self.pause > 0
        return self._probing

    def succeeded(self) -> None:
        """Note that a request, any, got an answer."""
        self.failures = 0
        self.pause = 0.0
        self._probing = False

    def failed(
        self,
        now: float,
        sent: float,
        probe: bool,
        about: Hashable | None = None,
        *,
        timed_out: bool = False,
        why: str = "",
    ) -> None:
        """Note a failure.

        Of the failures of requests that were in flight together, only the first counts, so that a short
        disturbance is one failure. Failures of one document alone do not open the circuit.

        Args:
            now: the event loop's time.
            sent: when the request was sent.
            probe: whether the request was the probe.
            about: the document that may be broken; None if the connection or the service failed.
            timed_out: whether no answer came in time; such failures count each, as the disturbance is long.
            why: what happened, for the error of the requests that do not pass.
        """
        self._why = why
        if probe:
            self._probing = False
            self.failures += 1
            self._open(now, 2 * self.pause)
        elif not self.pause and (timed_out or sent >= self._noted or not self.failures):
            self._only = about if about == self._only or not self.failures else None
            self.failures += 1
            self._noted = now
            if self.failures >= self._limit and (self._only is None or self._limit == 1):
                self._open(now, _FIRST_PAUSE)

    def abandoned(self, probe: bool) -> None:
        """Note that a request ended without a result; if it was the probe, another request may be."""
        if probe:
            self._probing = False

    def _open(self, now: float, pause: float) -> None:
        self.pause = min(pause, self._rest)
        self._probe_at = now + self.pause
