"""What is known of the backends that are watched: the rows of `watch`, and their columns."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from operator import attrgetter
from typing import Final, NamedTuple, TypeAlias

from ..errors import QRBackendsError
from ..fleet.changes import Change
from ..fleet.filters import BackendFilter
from ..messages.counts import noun
from ..models import Backend
from ..models.formatting import DASH
from .columns import Column, number
from .entries import ENTRIES
from .text import whole

_Key: TypeAlias = tuple[str | None, str | None]  # a region, and a backend's name, or None for an instance


class Watched(NamedTuple):
    """One backend, or an instance that fails or recovers.

    Attributes:
        change: its last change.
        entry: its entry in the list; None if there is none, or none any more.
        moved: the last change of its state or queue, or None.
        calibrated: its last recalibration, or None.
    """

    change: Change
    entry: Backend | None = None
    moved: Change | None = None
    calibrated: Change | None = None

    @property
    def queue_change(self) -> int | None:
        """By how many jobs the last change changed the queue; None if it did not."""
        if self.moved is None or self.moved.before is None or self.entry is None:
            return None
        return self.entry.queue_length - self.moved.before.queue_length or None


class Known:
    """The backends that are watched, and the instances and entries that fail.

    Attributes:
        rows: the backends that there are now.
        failing: the errors of what fails.

    Args:
        wanted: which backends are watched; one that is not wanted any more is not there.
    """

    def __init__(self, wanted: BackendFilter) -> None:
        self.rows: dict[_Key, Watched] = {}
        self.failing: dict[_Key, QRBackendsError | None] = {}
        self._wanted = wanted

    def wants(self, change: Change) -> bool:
        """Return whether a change is of a backend that was or is wanted, or of no backend."""
        entries = [one for one in (change.before, change.after) if one is not None]
        return not entries or any(map(self._wanted, entries))

    def take(self, change: Change) -> Watched:
        """Take in a change, and return its backend's row."""
        key = change.region, change.backend
        known = self.rows.get(key, Watched(change))
        row = known._replace(change=change, entry=change.after)
        if change.kind == "failed":
            self.failing[key] = change.error
        elif change.kind == "recovered":
            self.failing.pop(key, None)
        else:
            if change.kind == "recalibrated":
                row = row._replace(calibrated=change)
            elif change.kind != "present":
                row = row._replace(moved=change)
            if change.after is not None and self._wanted(change.after):
                self.rows[key] = row
            else:
                self.rows.pop(key, None)
        return row


def _time(at: datetime | None) -> str:
    return DASH if at is None else f"{at.astimezone():%H:%M:%S}"


def _jobs(count: int | None) -> str:
    return "" if count is None else f"{count:+,}"


_entry: Final = {one.name: one.of(attrgetter("entry")) for one in ENTRIES}
_others: Final = ("processor", "clops", "readout_error_median", "two_qubit_error_median")

WATCHED: Final[tuple[Column[Watched], ...]] = (
    Column("at", "at", lambda one: one.change.at, _time, 23, extra=True),
    Column("kind", "kind", lambda one: one.change.kind, rank=24, extra=True),
    Column("name", "backend", lambda one: one.change.backend),
    Column("region", "region", lambda one: one.change.region, rank=12),
    _entry["status"],
    _entry["queue_length"],
    number("queue_change", "by", lambda one: one.queue_change, _jobs, 2),
    _entry["qubits"],
    Column("changed_at", "changed", lambda one: one.moved and one.moved.at, _time, 5),
    Column("recalibrated_at", "recalibrated", lambda one: one.calibrated and one.calibrated.at, _time, 6),
    _entry["reason"],
    *(replace(_entry[name], extra=True) for name in _others),
    Column("instance", "instance", lambda one: one.change.instance, rank=21, extra=True, whole=True),
    _entry["emulated"],
    Column("error", "error", lambda one: one.change.error and str(one.change.error), rank=26, extra=True),
)
"""The columns of `watch`."""


def totals(rows: Iterable[Watched]) -> str:
    """Return how many backends are in which state, and how many jobs wait for them."""
    entries = [row.entry for row in rows if row.entry is not None]
    states = Counter(one.status.name for one in entries)
    if not states:
        return "No backend yet."
    counts = ", ".join(f"{states[state]:,} {state}" for state in sorted(states))
    waiting = sum(one.queue_length for one in entries)
    return f"{counts}; {whole(waiting)} {noun(waiting, 'job')} waiting."
