"""How things are timed: alternately, in one run, many times; medians, spreads and ratios are reported."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from operator import truediv
from typing import Any, NamedTuple


class Timing(NamedTuple):
    """Seconds of one contestant: the median of all rounds, and the quartiles around it."""

    median: float
    lower: float
    upper: float


def alternate(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Time each contestant once per round, so that whatever else the machine does strikes all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for contestant in contestants.values():
        contestant()  # caches, imports and allocators are warm from here on
    gc.freeze()  # what others have imported is nobody's to walk through
    order = list(contestants.items())
    for number in range(rounds):
        begin = number % len(order)  # nobody always follows the same one
        for name, contestant in order[begin:] + order[:begin]:
            gc.collect()  # nobody pays for what others left
            start = time.perf_counter()
            contestant()
            seconds[name].append(time.perf_counter() - start)
    return {name: summarized(measured) for name, measured in seconds.items()}


def summarized(seconds: list[float]) -> Timing:
    """Return the median and the quartiles."""
    if len(seconds) < 2:
        return Timing(*3 * seconds)
    lower, median, upper = statistics.quantiles(seconds, n=4)
    return Timing(median, lower, upper)


def per_call(contestants: Mapping[str, Callable[[int], float]], rounds: int, calls: int) -> dict[str, Timing]:
    """Time calls that are too short to be timed one by one.

    Args:
        contestants: each makes so many calls and returns the seconds that they took.
        rounds: how often each does, in turn.
        calls: how many calls in a row.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for contestant in contestants.values():
        contestant(calls)
    for _ in range(rounds):
        for name, contestant in contestants.items():
            seconds[name].append(contestant(calls) / calls)
    return {name: summarized(measured) for name, measured in seconds.items()}


class Cost(NamedTuple):
    """Seconds that passed, and that this process worked."""

    wall: float
    cpu: float


def in_turn(
    contestants: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    before: Callable[[str], object] = lambda name: None,
    after: Callable[[str, Any], object] = lambda name, found: None,
) -> dict[str, list[Cost]]:
    """Let each contestant do its work once a round, each time in another order; return what that cost.

    Args:
        contestants: their work.
        rounds: how often it is measured; a round before that warms up.
        before: takes the contestant's name before its turn, outside of what is measured.
        after: takes the contestant's name and what it returned, outside of what is measured.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in contestants}
    order = list(contestants.items())
    for number in range(rounds + 1):
        begin = number % len(order)  # nobody always follows the same one
        for name, contestant in order[begin:] + order[:begin]:
            before(name)
            gc.collect()  # nobody pays for what others left
            gc.freeze()
            wall, cpu = time.perf_counter(), time.process_time()
            found = contestant()
            cost = Cost(time.perf_counter() - wall, time.process_time() - cpu)
            after(name, found)
            del found
            if number:
                costs[name].append(cost)
    return costs


class Table(NamedTuple):
    """Timings side by side.

    Attributes:
        title: what was measured.
        timings: by contestant; ours is the first one.
        note: a line below.
    """

    title: str
    timings: Mapping[str, Timing]
    note: str = ""

    def ratios(self) -> dict[str, float]:
        """Return each one's median over ours."""
        ours = next(iter(self.timings.values())).median
        return {name: timing.median / ours for name, timing in self.timings.items()}

    def __str__(self) -> str:
        lines = [self.title]
        unit, scale = ("ms", 1e3) if next(iter(self.timings.values())).median >= 1e-4 else ("µs", 1e6)
        for (name, timing), ratio in zip(self.timings.items(), self.ratios().values(), strict=True):
            lines.append(
                f"  {name:<29} {timing.median * scale:10.3f} {unit}"
                f"   [{timing.lower * scale:.3f}, {timing.upper * scale:.3f}]   {ratio:7.2f} x"
            )
        return "\n".join([*lines, *([f"  {self.note}"] if self.note else [])])


def by_cost(title: str, costs: Mapping[str, list[Cost]], floor: str, note: str = "") -> list[Table]:
    """Return a table of the CPU, which says how many times the floor's ours is, and one of the wall clock.

    That is the median of the rounds' ratios, as what else the machine does strikes a whole round.
    """
    tables = []
    ours = next(iter(costs))
    for what, place in (("CPU of the client", 1), ("wall", 0)):
        seconds = {name: [cost[place] for cost in found] for name, found in costs.items()}
        timings = {name: summarized(measured) for name, measured in seconds.items()}
        ratio = statistics.median(map(truediv, seconds[ours], seconds[floor]))
        told = f"{ours} takes {ratio:.2f} times what this takes: {floor}"
        tables.append(Table(f"{title}: {what}", timings, told))
    return [tables[0]._replace(note="\n  ".join(filter(None, (tables[0].note, note)))), *tables[1:]]


def multiple(timings: Mapping[str, Timing], floor: str) -> str:
    """Return how many times the floor's median ours is."""
    name, ours = next(iter(timings.items()))
    return f"{name} takes {ours.median / timings[floor].median:.2f} times what this takes: {floor}"
