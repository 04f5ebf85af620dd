"""How things are timed: alternately, in one run, many times; medians, spreads and ratios are told."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple


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
    for _ in range(rounds):
        for name, contestant in contestants.items():
            start = time.perf_counter()
            contestant()
            seconds[name].append(time.perf_counter() - start)
    return {name: summarized(measured) for name, measured in seconds.items()}


def summarized(seconds: list[float]) -> Timing:
    """Return the median and the quartiles."""
    lower, median, upper = statistics.quantiles(seconds, n=4)
    return Timing(median, lower, upper)


def table(title: str, timings: Mapping[str, Timing], ours: str) -> str:
    """Return the timings as text, each with its ratio to ours."""
    lines = [title]
    for name, timing in timings.items():
        ratio = timing.median / timings[ours].median
        lines.append(
            f"  {name:<29} {timing.median * 1e3:9.3f} ms"
            f"   [{timing.lower * 1e3:.3f}, {timing.upper * 1e3:.3f}]   {ratio:7.2f} x"
        )
    return "\n".join(lines)
