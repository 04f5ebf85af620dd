"""Half-open intervals of time: which are covered, and which are missing."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TypeAlias

Interval: TypeAlias = tuple[datetime, datetime]
"""From the first instant, inclusive, to the second, exclusive."""


def joined(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the union of intervals in order of time, those that touch or overlap as one."""
    union: list[Interval] = []
    for since, until in sorted(intervals):
        if union and since <= union[-1][1]:
            union[-1] = union[-1][0], max(union[-1][1], until)
        else:
            union.append((since, until))
    return union


def missing(wanted: Interval, covered: Iterable[Interval]) -> Iterator[Interval]:
    """Yield the parts of `wanted` that are not covered, in order of time.

    Args:
        wanted: the interval to cover.
        covered: intervals as `joined` returns them.
    """
    begin, end = wanted
    for since, until in covered:
        if until <= begin or since >= end:
            continue
        if begin < since:
            yield begin, since
        begin = until
    if begin < end:
        yield begin, end
