"""Whether a region is asked at all. No I/O."""

from .errors import CircuitOpen

_FIRST_REST = 2.0  # seconds: a restart is over soon, and need not cost the whole pause


class Circuit:
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
        self._pause = 0.0  # 0 while closed
        self._probe_at = 0.0
        self._probing = False

    def refusal(self, now: float) -> CircuitOpen | None:
        """Return why a request would not be let through now, or None if it would."""
        if not self._pause or (not self._probing and now >= self._probe_at):
            return None
        wait = max(0.0, self._probe_at - now)
        when = f"it is asked again in {wait:.1f} s" if wait else "one request finds out whether it recovers"
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

    def failed(self, now: float, probe: bool) -> None:
        """Note a failure; of those that were under way when it opened, only the probe's counts."""
        self._failures += 1
        if probe:
            self._probing = False
            self._open(now, 2 * self._pause)
        elif not self._pause and self._failures >= self._limit:
            self._open(now, _FIRST_REST)

    def abandoned(self, probe: bool) -> None:
        """Note that a request ended without telling anything; where it was the probe, another may go."""
        if probe:
            self._probing = False

    def _open(self, now: float, pause: float) -> None:
        self._pause = min(pause, self._rest)
        self._probe_at = now + self._pause
