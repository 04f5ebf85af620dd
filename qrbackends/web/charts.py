"""Small charts as SVG, without styles of their own: queues and figures over time, and distributions."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from math import log
from statistics import quantiles
from typing import NamedTuple

from markupsafe import Markup
from msgspec import Struct

from ..fleet.recent import QueueHistory

_HOUR = 3600.0
_BINS = 20  # steps of a sparkline
_WIDE, _HIGH = 640, 140  # of a chart, in its own units
_SMALL_WIDE, _SMALL_HIGH, _SMALL_LEFT = 320, 120, 58  # of one of several charts side by side
_LEFT, _BOTTOM = 48, 22  # room for numbers


def sparkline(history: QueueHistory, now: datetime) -> Markup:
    """Return the length of a queue over the last hour, or as long as it is known, as a line.

    It has its place before there is anything to draw. The number beside it tells the same.
    """
    return Markup('<svg class="spark" viewBox="0 0 60 16" aria-hidden="true"><path d="%s"/></svg>') % _steps(
        history, now.timestamp()
    )


def _steps(history: QueueHistory, end: float) -> str:
    if not history:
        return ""
    begin = max(history[0][0], end - _HOUR)
    if end - begin < 1:
        begin = end - 1
    heights: list[int] = []
    place, jobs = 0, history[0][1]
    for step in range(1, _BINS + 1):
        until = begin + (end - begin) * step / _BINS
        while place < len(history) and history[place][0] <= until:
            jobs = history[place][1]
            place += 1
        heights.append(jobs)
    most = max(1, *heights)
    drawn = [15 - round(14 * jobs / most) for jobs in heights]
    path, last = f"M0 {drawn[0]}", drawn[0]
    for step, height in enumerate(drawn):
        if height != last:
            path, last = f"{path}H{3 * step}V{height}", height
    return f"{path}H60"


class QueueChart(Struct, frozen=True):
    """A queue over hours: the path of a line, and the numbers at its axes."""

    path: str
    most: int
    since: str
    until: str
    wide: int = _WIDE
    tall: int = _HIGH
    left: int = _LEFT
    bottom: int = _BOTTOM


def queue_chart(history: QueueHistory, now: datetime) -> QueueChart | None:
    """Return the chart of a queue over as long as it is known; None if that is no time at all."""
    end = now.timestamp()
    if not history or end - history[0][0] < 1:
        return None
    begin = history[0][0]
    most = max(1, *(jobs for _, jobs in history))

    def across(at: float) -> float:
        return _LEFT + (_WIDE - _LEFT) * (at - begin) / (end - begin)

    def up(jobs: int) -> float:
        return (_HIGH - _BOTTOM) - (_HIGH - _BOTTOM - 8) * jobs / most

    path = f"M{across(begin):.1f} {up(history[0][1]):.1f}"
    for at, jobs in history[1:]:
        path += f"H{across(at):.1f}V{up(jobs):.1f}"
    since = datetime.fromtimestamp(begin, UTC)
    return QueueChart(
        f"{path}H{_WIDE}", most, f"{since:%Y-%m-%d %H:%M} UTC", f"{now.astimezone(UTC):%H:%M} UTC"
    )


class DaysChart(Struct, frozen=True):
    """A figure day by day: the paths of the medians' line and of the band between the quartiles.

    Attributes:
        title: the figure and its unit.
        line, band: the two paths; days that are not known are gaps.
        low, high: the ends of the axis, as text.
        last, on: the newest median and its day, as text; empty if there is none.
        told: what the chart shows, as a sentence's part.
    """

    title: str
    line: str
    band: str
    low: str
    high: str
    last: str
    on: str
    told: str
    wide: int = _SMALL_WIDE
    tall: int = _SMALL_HIGH
    left: int = _SMALL_LEFT
    bottom: int = _BOTTOM


def days_chart(
    title: str,
    values: Mapping[date, tuple[float, float, float]],
    since: date,
    count: int,
    show: Callable[[float], str],
) -> DaysChart:
    """Return the chart of a figure over days.

    Args:
        title: the figure and its unit.
        values: the quartiles of the days that are known.
        since: the first day of the axis.
        count: the number of days on it.
        show: returns a value as text.
    """
    if not values:
        return DaysChart(title, "", "", "", "", "", "", "not known")
    low, high = min(three[0] for three in values.values()), max(three[2] for three in values.values())
    bottom, step = _SMALL_HIGH - _BOTTOM, (_SMALL_WIDE - _SMALL_LEFT) / count

    def across(day: date) -> float:
        return _SMALL_LEFT + step * ((day - since).days + 0.5)

    def up(value: float) -> float:
        return bottom - 6 - (bottom - 12) * ((value - low) / (high - low) if high > low else 0.5)

    line, band = "", ""
    for run in _runs(sorted(values)):
        middle = " ".join(f"{across(day):.1f} {up(values[day][1]):.1f}" for day in run)
        line += f"M{middle}" if len(run) > 1 else f"M{middle}h0"  # a dot, by its round ends
        # Half a day to each side, so that a day alone has a band, too.
        ends = [(across(run[0]) - step / 2, run[0]), *((across(day), day) for day in run)]
        ends.append((across(run[-1]) + step / 2, run[-1]))
        there = " ".join(f"{x:.1f} {up(values[day][2]):.1f}" for x, day in ends)
        back = " ".join(f"{x:.1f} {up(values[day][0]):.1f}" for x, day in reversed(ends))
        band += f"M{there} {back}Z"
    medians = [three[1] for three in values.values()]
    last, on = show(values[max(values)][1]), f"{max(values):%Y-%m-%d}"
    told = f"medians from {show(min(medians))} to {show(max(medians))}, {last} on {on}"
    return DaysChart(title, line, band, show(low), show(high), last, on, told)


def _runs(days: Sequence[date]) -> list[list[date]]:
    """Return days in order as runs without a gap."""
    runs = [[days[0]]]
    for before, day in pairwise(days):
        if (day - before).days > 1:
            runs.append([])
        runs[-1].append(day)
    return runs


class Box(NamedTuple):
    """A distribution: its name, ends and quartiles, their places in the chart, and how many values it has."""

    name: str
    places: tuple[float, float, float, float, float]
    texts: tuple[str, str, str, str, str]
    size: int


class Distributions(Struct, frozen=True):
    """The distributions of one figure on one logarithmic axis.

    Attributes:
        title: the figure and its unit.
        boxes: a distribution for each device that has values.
        low, high: the ends of the axis, as text.
        missing: the devices without values.
    """

    title: str
    boxes: tuple[Box, ...]
    low: str
    high: str
    missing: tuple[str, ...]
    wide: int = _WIDE


def distributions(
    title: str, values: Mapping[str, Sequence[float]], show: Callable[[float], str]
) -> Distributions:
    """Return the distributions of one figure on several devices.

    Args:
        title: the figure and its unit.
        values: the values that count, by device; 0 has no place on the axis, and is left out.
        show: returns a value as text.
    """
    known = {name: sorted(value for value in found if value > 0) for name, found in values.items()}
    missing = tuple(name for name, found in known.items() if not found)
    ends = [end for found in known.values() if found for end in (found[0], found[-1])]
    if not ends:
        return Distributions(title, (), "", "", missing)
    low, high = min(ends), max(ends)
    span = log(high) - log(low) or 1.0

    def box(name: str, found: Sequence[float]) -> Box:
        middle = quantiles(found, n=4, method="inclusive") if len(found) > 1 else [found[0]] * 3
        five = (found[0], *middle, found[-1])
        places = tuple(round(6 + (_WIDE - 12) * (log(value) - log(low)) / span, 1) for value in five)
        return Box(name, places, tuple(map(show, five)), len(found))  # type: ignore[arg-type]

    boxes = tuple(box(name, found) for name, found in known.items() if found)
    return Distributions(title, boxes, show(low), show(high), missing)
