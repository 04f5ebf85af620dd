"""Plots of devices, of their history, and of the fleet. They need matplotlib: the extra `plot`.

Figures are returned, and belong to whoever asked: nothing is shown, and no global state of matplotlib is
changed. Colours are told apart with impaired colour vision, too: cividis (J. Nuñez, C. Anderton and
R. Renslow, PLoS ONE 13(7), 2018) and the palette of M. Okabe and K. Ito (2008).
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from math import inf, nan, pi, sqrt
from statistics import quantiles
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from ..errors import InvalidRequest
from ..fleet.history import Gap
from ..models import Backend, BackendConfiguration, BackendProperties
from .layout import Coordinate, coordinates, pair_errors

try:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection, PatchCollection
    from matplotlib.colors import LogNorm, to_rgba
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle
    from matplotlib.ticker import NullLocator
except ImportError as error:
    raise ImportError('plots need matplotlib: pip install "qrbackends[plot]"') from error

Name: TypeAlias = Literal["t1", "t2", "readout_error", "two_qubit_error"]

_MAP: Final = "cividis_r"  # dark is bad
_RADIUS = 0.36  # of the distance between two neighbours
_FAULTY = "#d55e00"  # Okabe and Ito's vermilion
_UNKNOWN = "#bbbbbb"
_POINTS = 72.0  # to the inch
_DIGIT = 0.62  # of its size: how wide a digit is
_MARKED = 60  # moments, up to which each is marked
_PALETTE: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_TITLES: Final[dict[str, tuple[str, float]]] = {
    "t1": ("T1 (µs)", 1e6),
    "t2": ("T2 (µs)", 1e6),
    "readout_error": ("readout error", 1.0),
    "two_qubit_error": ("two-qubit error", 1.0),
}


def error_map(configuration: BackendConfiguration, properties: BackendProperties) -> Figure:
    """Return a device's map: qubits coloured by readout error, couplings by the native two-qubit gate's.

    Errors are probabilities, on logarithmic scales. What is out of order is vermilion and crossed out; what
    is not known is grey.

    Args:
        configuration: where the qubits are.
        properties: how good they are.

    Raises:
        ImportError: the places have to be computed, and rustworkx is not installed.
        DecodeError: a unit in the properties is not known.
    """
    places = coordinates(configuration)
    wide = max((x for x, _ in places), default=0.0) + 1
    high = max((y for _, y in places), default=0.0) + 1
    inch = min(0.55, 13.0 / wide, 11.0 / high)  # of a distance between neighbours
    figure = Figure(figsize=(max(5.0, wide * inch + 0.4), high * inch + 2.2), layout="constrained")
    axes = figure.add_subplot()
    couplings = _draw_couplings(axes, places, configuration, properties)
    qubits = _draw_qubits(axes, places, properties, inch)
    for scale, label in ((couplings, f"{properties.native_entangler} error"), (qubits, "readout error")):
        if scale is not None:
            bar = figure.colorbar(scale, ax=axes, location="bottom", label=label, shrink=0.6, aspect=40)
            ends = scale.norm.vmin, scale.norm.vmax
            ticks = [ends[0], sqrt(ends[0] * ends[1]), ends[1]]  # few, as long numbers would collide
            bar.set_ticks(ticks, labels=[f"{tick:.1e}".replace("e-0", "e-") for tick in ticks])
            bar.ax.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(-0.6, wide - 0.4)
    axes.set_ylim(high - 0.4, -0.6)  # rows are counted downward
    axes.set_aspect("equal")
    axes.set_axis_off()
    when = f"{properties.last_update_date:%Y-%m-%d %H:%M %Z}"
    figure.suptitle(f"{properties.backend_name}, {when}", fontsize=11, parse_math=False)
    return figure


def history_plot(
    history: Iterable[BackendProperties | Gap], name: Name = "t1", *, qubits: Sequence[int] = ()
) -> Figure:
    """Return how a figure of a device went: the median over what works, and the quartiles around it.

    Gaps are left open.

    Args:
        history: calibrations and gaps in order of time, as `client.history` gives them.
        name: `t1`, `t2`, `readout_error` or `two_qubit_error`.
        qubits: those that are drawn singly, too; for `two_qubit_error` none.

    Raises:
        InvalidRequest: there is no such figure, or nothing to be drawn.
        UnknownQubit: the device has no such qubit.
    """
    if name not in _TITLES or (qubits and name == "two_qubit_error"):
        raise InvalidRequest(f"no figure {name!r:.40} of these; there are {', '.join(_TITLES)}")
    title, factor = _TITLES[name]
    moments = [_moment(one, name, qubits, factor) for one in history]
    backend = next((one.backend for one in moments if one.backend), None)
    if backend is None:
        raise InvalidRequest("there is nothing to be drawn")
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    when = [date2num(one.at) for one in moments]
    lower, middle, upper = zip(*(one.quartiles for one in moments), strict=True)
    marker = "." if len(moments) < _MARKED else ""
    axes.fill_between(when, lower, upper, color=_PALETTE[0], alpha=0.25, linewidth=0, label="quartiles")
    axes.plot(when, middle, color=_PALETTE[0], linewidth=1.8, marker=marker, label="median")
    for number, qubit in enumerate(qubits):
        around, place = divmod(number, len(_PALETTE) - 1)
        style: dict[str, Any] = {"color": _PALETTE[1 + place], "marker": marker, "linewidth": 1}
        style["linestyle"] = ("-", "--", ":")[around % 3]
        single = [one.single[number] for one in moments]
        axes.plot(when, single, label=f"qubit {qubit}", **style)
    if name.endswith("error"):
        axes.set_yscale("log")
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_ylabel(title)
    axes.set_title(backend, fontsize=11, parse_math=False)
    axes.grid(alpha=0.3)
    figure.legend(fontsize=9, ncols=min(8, 2 + len(qubits)), loc="outside lower center", frameon=False)
    return figure


def fleet_plot(backends: Iterable[Backend]) -> Figure:
    """Return the backends compared: the median two-qubit error against the jobs waiting.

    Both as the list tells them; a circle's area follows the number of qubits. Backends of which the list
    tells no error are left out. Filled ones are online.

    Args:
        backends: entries of the list.

    Raises:
        InvalidRequest: there is nothing to be drawn.
    """
    known = [
        (backend, backend.performance_metrics.two_q_error_median.value)
        for backend in backends
        if backend.performance_metrics and backend.performance_metrics.two_q_error_median
    ]
    if not known:
        raise InvalidRequest("there is nothing to be drawn: the list tells no two-qubit errors")
    known.sort(key=lambda one: (one[0].queue_length, one[1]))
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    axes = figure.add_subplot()
    jobs = [backend.queue_length for backend, _ in known]
    errors = [error for _, error in known]
    sizes = [20 + (backend.qubits or 0) for backend, _ in known]
    faces = [_PALETTE[0] if backend.online else "none" for backend, _ in known]
    axes.scatter(jobs, errors, s=sizes, c=faces, edgecolors=_PALETTE[0], alpha=0.7, zorder=3)
    axes.set_xscale("symlog", linthresh=10)
    axes.set_yscale("log")
    axes.set_xlim(-0.5, 2.0 * max(*jobs, 5))
    axes.set_ylim(0.8 * min(errors), 1.25 * max(errors))
    axes.set_xlabel("jobs waiting")
    axes.set_ylabel("median two-qubit error")
    axes.grid(alpha=0.3)
    _label(
        figure,
        axes,
        [
            _Point(backend.queue_length, error, sqrt(size / pi), backend.name[:_LONGEST])
            for (backend, error), size in zip(known, sizes, strict=True)
        ],
    )
    return figure


# --- parts of a map


def _draw_qubits(axes: Any, places: Sequence[Coordinate], properties: BackendProperties, inch: float) -> Any:
    """Draw the qubits, and return the scale of their colours, if any is known."""
    faulty = set(properties.faulty_qubits())
    measured = range(min(len(places), len(properties.qubits)))
    errors = {
        qubit: value
        for qubit in measured
        if (value := properties.readout_error(qubit)) is not None and 0 < value < 1 and qubit not in faulty
    }
    scale = _log_scale(errors.values())
    colors: list[Any] = [to_rgba(_UNKNOWN)] * len(places)
    for qubit, error in errors.items():
        colors[qubit] = scale.to_rgba(error)
    edges = [_FAULTY if qubit in faulty else "#444444" for qubit in range(len(places))]
    widths = [2.0 if qubit in faulty else 0.5 for qubit in range(len(places))]
    circles = [Circle(place, _RADIUS) for place in places]
    drawn = PatchCollection(circles, facecolors=colors, edgecolors=edges, linewidths=widths, zorder=2)
    axes.add_collection(drawn)
    digits = max(2, len(str(len(places) - 1)))
    size = max(3.0, min(11.0, _POINTS * inch * 1.6 * _RADIUS / (_DIGIT * digits)))
    for qubit, (x, y) in enumerate(places):
        ink = "black" if _luma(colors[qubit]) > 0.5 else "white"
        axes.text(x, y, str(qubit), ha="center", va="center_baseline", fontsize=size, color=ink, zorder=4)
    crosses = [
        [(x - sign * _RADIUS, y - _RADIUS), (x + sign * _RADIUS, y + _RADIUS)]
        for x, y in (places[qubit] for qubit in faulty if qubit < len(places))
        for sign in (1, -1)
    ]
    axes.add_collection(LineCollection(crosses, colors=_FAULTY, linewidths=1.5, zorder=3))
    return scale if errors else None


def _draw_couplings(
    axes: Any,
    places: Sequence[Coordinate],
    configuration: BackendConfiguration,
    properties: BackendProperties,
) -> Any:
    """Draw the couplings, and return the scale of their colours, if any is known."""
    errors, broken = pair_errors(properties)
    listed = {(min(pair), max(pair)) for pair in configuration.coupling_map or () if len(pair) == 2}
    pairs = sorted(pair for pair in listed | errors.keys() | broken if pair[1] < len(places))
    errors = {pair: error for pair, error in errors.items() if error > 0}  # others have no logarithm
    scale = _log_scale(errors.values())
    colors: list[Any] = [to_rgba(_FAULTY if pair in broken else _UNKNOWN) for pair in pairs]
    for number, pair in enumerate(pairs):
        if pair in errors:
            colors[number] = scale.to_rgba(errors[pair])
    lines = [(places[one], places[other]) for one, other in pairs]
    styles = [(0, (0.7, 0.5)) if pair in broken else "-" for pair in pairs]
    axes.add_collection(LineCollection(lines, colors=colors, linestyles=styles, linewidths=3.5, zorder=1))
    return scale if errors else None


def _log_scale(values: Iterable[float]) -> Any:
    known = list(values) or [0.1, 1.0]
    low, high = min(known), max(known)
    norm = LogNorm(low, high) if low < high else LogNorm(low / 2, high * 2)
    return ScalarMappable(norm=norm, cmap=colormaps[_MAP])


def _luma(color: Any) -> float:
    """Return how bright a colour is, from 0 to 1 (ITU-R BT.601)."""
    red, green, blue = color[:3]
    return float(0.299 * red + 0.587 * green + 0.114 * blue)


# --- parts of a history


class _Moment(NamedTuple):
    at: datetime
    backend: str | None
    quartiles: tuple[float, float, float]
    single: list[float]


def _moment(one: BackendProperties | Gap, name: Name, qubits: Sequence[int], factor: float) -> _Moment:
    if isinstance(one, Gap):
        return _Moment(one.since, None, (nan, nan, nan), [nan] * len(qubits))
    values = [factor * value for value in _values(one, name)]
    single = [getattr(one, name)(qubit) for qubit in qubits]
    drawn = [nan if value is None else factor * value for value in single]
    return _Moment(one.last_update_date, one.backend_name, _quartiles(values), drawn)


def _values(properties: BackendProperties, name: Name) -> list[float]:
    """Return a figure of everything that works."""
    if name == "two_qubit_error":
        return list(pair_errors(properties)[0].values())
    accessor = getattr(properties, name)
    faulty = set(properties.faulty_qubits())
    most = 1.0 if name == "readout_error" else inf
    values = (accessor(qubit) for qubit in range(len(properties.qubits)) if qubit not in faulty)
    return [value for value in values if value is not None and value < most]


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        middle = values[0] if values else nan
        return middle, middle, middle
    lower, middle, upper = quantiles(values, n=4)
    return lower, middle, upper


# --- parts of a fleet


class _Point(NamedTuple):
    x: float
    y: float
    radius: float  # in points
    name: str


def _label(figure: Figure, axes: Any, points: Sequence[_Point]) -> None:
    """Write names beside their points, each where it hits no other; where there is no room, none."""
    figure.draw_without_rendering()
    pixel = figure.dpi / _POINTS
    spots: list[Any] = [axes.transData.transform((one.x, one.y)) for one in points]
    taken = [
        _around(x, y, one.radius * pixel, one.radius * pixel)
        for (x, y), one in zip(spots, points, strict=True)
    ]
    frame = axes.get_window_extent()
    for (x, y), one in zip(spots, points, strict=True):
        wide, high = 2.1 * len(one.name) * pixel, 4.5 * pixel  # halves
        away = (one.radius + 3) * pixel
        for across, up in _OFFSETS:
            shift = across * (wide + away), up * (high + away)
            box = _around(x + shift[0], y + shift[1], wide, high)
            inside = frame.x0 < box[0] and box[2] < frame.x1 and frame.y0 < box[1] and box[3] < frame.y1
            if inside and not any(_meet(box, other) for other in taken):
                taken.append(box)
                offset = (shift[0] / pixel, shift[1] / pixel)
                where = {"xytext": offset, "textcoords": "offset points", "ha": "center", "va": "center"}
                axes.annotate(one.name, (one.x, one.y), fontsize=7, parse_math=False, zorder=4, **where)
                break


_LONGEST = 40  # characters of a name
_OFFSETS: Final = [
    (far * across, far * up)
    for far in (1.0, 1.8)
    for across, up in ((1, 0), (-1, 0), (0, 1), (0, -1), (0.8, 1), (0.8, -1), (-0.8, 1), (-0.8, -1))
]
_Box: TypeAlias = tuple[float, float, float, float]


def _around(x: float, y: float, wide: float, high: float) -> _Box:
    return x - wide, y - high, x + wide, y + high


def _meet(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


__all__ = ["error_map", "fleet_plot", "history_plot"]
