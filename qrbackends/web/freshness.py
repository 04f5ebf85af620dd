"""How fresh a page is: when the service was asked, and what cannot be read, since when and why."""

from datetime import datetime
from typing import Any, NamedTuple

from ..fleet.monitor import Monitor
from ..fleet.monitored import FleetView
from ..models.formatting import DASH
from .columns import age_text, clock, seconds_since
from .pages import shown
from .problems import Problem, problem_of

_POLLS, _SLOW = 2, 60.0  # polls and further seconds without an answer after which nothing counts as current
_MOST = 8  # calibrations that cannot be read, which are told


class Failure(NamedTuple):
    """What cannot be read, since when, and why.

    Attributes:
        what: the instance, entry or calibration.
        since: an instant, as text.
        age: how long ago that was.
        why: a sentence.
    """

    what: str
    since: str
    age: str
    why: str


def freshness(
    monitor: Monitor,
    view: FleetView,
    interval: float,
    age: float | None,
    problem: Problem | None,
    now: datetime,
) -> dict[str, Any]:
    """Return the values of the template `freshness.html`.

    Args:
        monitor: tells when the lists were asked for.
        view: what it knows.
        interval: seconds between two polls.
        age: seconds since the service told what is shown, if it is old; None if not.
        problem: why something is old or missing.
        now: the current time.
    """
    asked = monitor.asked_at
    since = 0.0 if asked is None else seconds_since(asked, now)
    failures = _failures(view, now)
    parts = "Partly old data" if failures or problem or age is not None else "Current"
    late_after = _POLLS * interval + _SLOW
    return {
        "asked": asked,
        "asked_age": age_text(since),
        "interval": interval,
        "how": "Old data" if since > late_after else parts,
        "how_without_delay": parts,
        "late_after": late_after,
        "age": age,
        "problem": problem,
        "failures": failures,
    }


def _failures(view: FleetView, now: datetime) -> list[Failure]:
    regions = [one.region for one in view.failures]
    found: list[tuple[str, Any]] = []
    for one in view.failures:
        several = one.number and regions.count(one.region) > 1
        which = f", instance {one.number} of the account" if several else ""
        found.append((f"{one.region or 'the service'}{which}", one))
    for entry in view.entry_failures[:_MOST]:
        name = shown(entry.name) if entry.name else "a backend without a name"
        found.append((f"the entry of {name} in {entry.region or DASH}", entry))
    found += [(f"the calibration of {shown(one.name)}", one) for one in view.calibration_failures[:_MOST]]
    return [
        Failure(
            what, clock(one.since, now), age_text(seconds_since(one.since, now)), problem_of(one.error).detail
        )
        for what, one in found
    ]
