"""Plots of devices, of their history, and of the fleet. They need matplotlib: the extra `plot`.

Each function returns a matplotlib figure, which belongs to the caller; a notebook shows the one that is the
last value of a cell. No global state of matplotlib is changed. Pictures of an emulator's data say so. The
colours can be told apart with impaired colour vision: cividis (J. Nuñez, C. Anderton and R. Renslow, PLoS ONE
13(7), 2018) and the palette of M. Okabe and K. Ito (2008).
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from io import BytesIO
from math import nan, pi, sqrt
from statistics import quantiles
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from ..errors import InvalidRequest
from ..fleet.history import CalibrationList, Gap
from ..messages.counts import counted
from ..messages.extras import missing_extra
from ..messages.suggestions import suggested
from ..models import Backend, BackendConfiguration, BackendProperties, usable
from ..models.arguments import check_document
from .layout import Coordinate, coordinates, couplings
from .plot_labels import POINTS_PER_INCH, LabelledPoint, label

try:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection, PatchCollection
    from matplotlib.colors import LogNorm, to_rgba
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Circle
    from matplotlib.ticker import NullLocator
except ImportError as error:
    raise missing_extra("plots need matplotlib", "plot") from error

Quantity: TypeAlias = Literal["t1", "t2", "readout_error", "two_qubit_error"]

_COLOR_MAP: Final = "cividis_r"  # greater errors are darker
_RADIUS = 0.36  # of a qubit's circle; neighbours are 1 apart
_FAULTY = "#d55e00"  # Okabe and Ito's vermilion
_UNKNOWN = "#bbbbbb"
_DIGIT_WIDTH = 0.62  # of the font's size
_SMALLEST = 1e-100  # of the errors on a logarithmic scale, on which 0 has no place
_LARGEST = 2_000  # square points by which the number of qubits enlarges a device's circle
_LEGIBLE = 2.0  # points of the numbers; smaller ones are left out
_MARKED = 60  # calibrations; if there are fewer, each is marked
_LONGEST = 40  # characters of a backend's name that are shown
_BELOW: Final[dict[str, Any]] = {"fontsize": 9, "loc": "outside lower center", "frameon": False}
_PALETTE: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_AXES: Final[dict[str, tuple[str, float]]] = {  # the axis's label, and its units in one SI unit
    "t1": ("T1 (µs)", 1e6),
    "t2": ("T2 (µs)", 1e6),
    "readout_error": ("readout error", 1.0),
    "two_qubit_error": ("two-qubit error", 1.0),
}


class _Picture(Figure):
    """A figure that a notebook shows by itself: IPython knows only those of `matplotlib.pyplot`."""

    def __init__(self, width: float, height: float, *, emulated: bool) -> None:
        super().__init__(figsize=(width, height), layout="constrained")
        if emulated:
            self.text(0.005, 0.005, "Emulated data, not from IBM's service", fontsize=7, color=_FAULTY)

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def error_map(configuration: BackendConfiguration, properties: BackendProperties) -> Figure:
    """Return a map of a device, with qubits and couplings coloured by their errors.

    A qubit's colour is its readout error, a coupling's the error of the native two-qubit gate; both are
    probabilities on logarithmic scales. What does not work is vermilion, and a faulty qubit is crossed out
    as well; a coupling that cannot be used is dashed; what is not known is grey. The date is in UTC.

    Args:
        configuration: tells where the qubits are, and which are coupled.
        properties: tells the errors.

    Raises:
        ImportError: the positions have to be computed, and rustworkx is not installed.
        DecodeError: a unit in the properties is not known, or the number of qubits is no device's.
        InvalidRequest: the device has too many qubits to be drawn.
    """
    check_document("configuration", configuration, BackendConfiguration)
    check_document("properties", properties, BackendProperties)
    positions = coordinates(configuration)
    width = max((x for x, _ in positions), default=0.0) + 1
    height = max((y for _, y in positions), default=0.0) + 1
    spacing = min(0.55, 13.0 / width, 11.0 / height)  # inches between neighbours
    emulated = configuration.emulated or properties.emulated
    figure = _Picture(max(5.0, width * spacing + 0.4), height * spacing + 2.2, emulated=emulated)
    axes = figure.add_subplot()
    coupling_scale = _draw_couplings(axes, positions, configuration, properties)
    qubit_scale = _draw_qubits(axes, positions, properties, spacing)
    titles = f"{properties.native_entangler} error", "readout error"
    for scale, title in zip((coupling_scale, qubit_scale), titles, strict=True):
        if scale is not None:
            bar = figure.colorbar(scale, ax=axes, location="bottom", label=title, shrink=0.6, aspect=40)
            ends = scale.norm.vmin, scale.norm.vmax
            ticks = [ends[0], sqrt(ends[0] * ends[1]), ends[1]]  # three: more would overlap
            bar.set_ticks(ticks, labels=[f"{tick:.1e}".replace("e-0", "e-") for tick in ticks])
            bar.ax.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(-0.6, width - 0.4)
    axes.set_ylim(height - 0.4, -0.6)  # rows are counted downward
    axes.set_aspect("equal")
    axes.set_axis_off()
    when = f"{properties.last_update_date.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    figure.suptitle(f"{properties.backend_name}, {when}", fontsize=11, parse_math=False)
    _note(figure, _marks(properties))
    return figure


def _note(figure: Figure, text: str) -> None:
    """Write a small line below a picture, at its right."""
    figure.text(0.995, 0.005, text, fontsize=7, color="#444444", ha="right")


def _marks(properties: BackendProperties) -> str:
    """Return what the marks of a map mean, those that it has."""
    marks = []
    if properties.broken_couplings():
        marks.append("dashed: cannot be used")
    if properties.faulty_qubits():
        marks.append("crossed out: faulty")
    return ", ".join(marks)


def history_plot(
    history: Iterable[BackendProperties | Gap], name: Quantity = "t1", *, qubits: Sequence[int] = ()
) -> Figure:
    """Return a plot of one quantity of a device over time: its median, and the quartiles around it.

    Median and quartiles are over the qubits or pairs that work. Times are in microseconds, errors are
    probabilities on a logarithmic scale. The lines are interrupted at gaps.

    Args:
        history: calibrations and gaps in order of time, as `client.history` gives them.
        name: the quantity: `t1`, `t2`, `readout_error` or `two_qubit_error`.
        qubits: qubits that get a line each; none for `two_qubit_error`.

    Raises:
        InvalidRequest: there is no such quantity, or no calibration.
        UnknownQubit: the device has no such qubit.
    """
    if name not in _AXES or (qubits and name == "two_qubit_error"):
        of_qubits = " for single qubits" if qubits else ""
        choices = [one for one in _AXES if not (qubits and one == "two_qubit_error")]
        problem = f"{name!r:.40} cannot be plotted{of_qubits}; choose from {', '.join(choices)}"
        raise InvalidRequest(problem if name in _AXES else suggested(problem, name, _AXES))
    title, scale = _AXES[name]
    found = CalibrationList(history)
    for one in found:
        if not isinstance(one, Gap):
            check_document("each calibration of history", one, BackendProperties)
    moments = [_moment(one, name, qubits, scale) for one in found]
    backend = next((one.backend for one in moments if one.backend), None)
    if backend is None:
        raise InvalidRequest("there is no calibration to plot")
    figure = _Picture(9, 4.5, emulated=found.emulated)
    axes = figure.add_subplot()
    when = [date2num(one.at) for one in moments]
    lower, middle, upper = zip(*(one.quartiles for one in moments), strict=True)
    marker = "." if len(moments) < _MARKED else ""
    axes.fill_between(when, lower, upper, color=_PALETTE[0], alpha=0.25, linewidth=0, label="quartiles")
    axes.plot(when, middle, color=_PALETTE[0], linewidth=1.8, marker=marker, label="median")
    for number, qubit in enumerate(qubits):
        rounds, color = divmod(number, len(_PALETTE) - 1)
        style: dict[str, Any] = {"color": _PALETTE[1 + color], "marker": marker, "linewidth": 1}
        style["linestyle"] = ("-", "--", ":")[rounds % 3]
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
    figure.legend(ncols=min(8, 2 + len(qubits)), **_BELOW)
    return figure


def fleet_plot(backends: Iterable[Backend]) -> Figure:
    """Return a plot of all backends: the median two-qubit error against the number of waiting jobs.

    Both numbers are those of the list of backends. The area of a circle grows with the number of qubits;
    backends that are online are filled; a legend says so. Backends without an error in the list are left out,
    and so are names for which there is no room, which are counted.

    Args:
        backends: entries of the list, as `client.backends` gives them.

    Raises:
        InvalidRequest: no backend has an error in the list.
    """
    backends = tuple(backends)
    for one in backends:
        check_document("each of backends", one, Backend)
    known = [
        (backend, backend.performance_metrics.two_q_error_median.value)
        for backend in backends
        if backend.performance_metrics
        and backend.performance_metrics.two_q_error_median
        and usable("gate_error", backend.performance_metrics.two_q_error_median.value)  # 0 has no logarithm
    ]
    if not known:
        raise InvalidRequest("there is nothing to plot: the list contains no two-qubit errors")
    known.sort(key=lambda one: (one[0].queue_length, one[1]))
    figure = _Picture(10, 6.5, emulated=any(backend.emulated for backend, _ in known))
    axes = figure.add_subplot()
    jobs = [backend.queue_length for backend, _ in known]
    errors = [error for _, error in known]
    sizes = [_area(backend) for backend, _ in known]
    faces = [_PALETTE[0] if backend.online else "none" for backend, _ in known]
    axes.scatter(jobs, errors, s=sizes, c=faces, edgecolors=_PALETTE[0], alpha=0.7, zorder=3)
    axes.set_xscale("symlog", linthresh=10)
    axes.set_yscale("log")
    axes.set_xlim(-0.5, 2.0 * max(*jobs, 5))
    axes.set_ylim(0.8 * min(errors), 1.25 * max(errors))
    axes.set_xlabel("jobs waiting")
    axes.set_ylabel("median two-qubit error")
    axes.grid(alpha=0.3)
    figure.legend(handles=_keys([backend for backend, _ in known]), ncols=4, **_BELOW)
    unnamed = label(
        figure,
        axes,
        [
            LabelledPoint(backend.queue_length, error, sqrt(size / pi), backend.name[:_LONGEST])
            for (backend, error), size in zip(known, sizes, strict=True)
        ],
    )
    if unnamed:
        _note(figure, f"{counted(unnamed, 'name')} left out for lack of room")
    return figure


def _area(backend: Backend) -> float:
    """Return the area of a backend's circle, in square points."""
    return 20 + min(max(backend.qubits or 0, 0), _LARGEST)


def _keys(backends: Sequence[Backend]) -> list[Line2D]:
    """Return the keys of a legend: what the areas of circles mean, and what filled ones do."""
    style: dict[str, Any] = {"marker": "o", "linestyle": "", "color": _PALETTE[0], "alpha": 0.7}
    by_qubits = {one.qubits: _area(one) for one in backends if one.qubits and one.qubits > 0}
    ends = sorted({min(by_qubits), max(by_qubits)}) if by_qubits else []
    keys = [
        Line2D([], [], markersize=sqrt(by_qubits[qubits]), label=counted(qubits, "qubit"), **style)
        for qubits in ends
    ]
    states = {one.online for one in backends}
    if True in states:
        keys.append(Line2D([], [], markersize=6, label="online", **style))
    if False in states:
        keys.append(Line2D([], [], markersize=6, label="not online", markerfacecolor="none", **style))
    return keys


# --- parts of a map


def _draw_qubits(
    axes: Any, positions: Sequence[Coordinate], properties: BackendProperties, spacing: float
) -> Any:
    """Draw the qubits; return the scale of their colours, or None if no error is known."""
    faulty = set(properties.faulty_qubits())
    errors = {
        qubit: value
        for value, (qubit,) in properties.qubit_measurements("readout_error").values
        if value > _SMALLEST and qubit < len(positions)
    }
    scale = _log_scale(errors.values())
    colors: list[Any] = [to_rgba(_UNKNOWN)] * len(positions)
    for qubit, color in zip(errors, scale.to_rgba(list(errors.values())), strict=True):
        colors[qubit] = tuple(color)
    edges = [_FAULTY if qubit in faulty else "#444444" for qubit in range(len(positions))]
    widths = [2.0 if qubit in faulty else 0.5 for qubit in range(len(positions))]
    circles = [Circle(position, _RADIUS) for position in positions]
    drawn = PatchCollection(circles, facecolors=colors, edgecolors=edges, linewidths=widths, zorder=2)
    axes.add_collection(drawn)
    digits = max(2, len(str(len(positions) - 1)))
    size = min(11.0, POINTS_PER_INCH * spacing * 1.6 * _RADIUS / (_DIGIT_WIDTH * digits))
    numbered = positions if size >= _LEGIBLE else ()  # thousands of dots would take seconds to write
    for qubit, (x, y) in enumerate(numbered):
        ink = "black" if _luma(colors[qubit]) > 0.5 else "white"
        style = {"ha": "center", "va": "center_baseline", "fontsize": max(3.0, size)}
        axes.text(x, y, str(qubit), color=ink, zorder=4, **style)
    crosses = [
        [(x - sign * _RADIUS, y - _RADIUS), (x + sign * _RADIUS, y + _RADIUS)]
        for x, y in (positions[qubit] for qubit in faulty if qubit < len(positions))
        for sign in (1, -1)
    ]
    axes.add_collection(LineCollection(crosses, colors=_FAULTY, linewidths=1.5, zorder=3))
    return scale if errors else None


def _draw_couplings(
    axes: Any,
    positions: Sequence[Coordinate],
    configuration: BackendConfiguration,
    properties: BackendProperties,
) -> Any:
    """Draw the couplings; return the scale of their colours, or None if no error is known."""
    found, broken = properties.coupling_errors(), frozenset(properties.broken_couplings())
    measured = {pair for pair in found.keys() | broken if pair[1] < len(positions)}
    pairs = sorted(couplings(configuration) | measured)
    errors = {pair: error for pair, error in found.items() if error is not None and error > _SMALLEST}
    scale = _log_scale(errors.values())
    known = dict(zip(errors, map(tuple, scale.to_rgba(list(errors.values()))), strict=True))
    colors = [known.get(pair, to_rgba(_FAULTY if pair in broken else _UNKNOWN)) for pair in pairs]
    lines = [(positions[one], positions[other]) for one, other in pairs]
    styles = [(0, (0.7, 0.5)) if pair in broken else "-" for pair in pairs]
    axes.add_collection(LineCollection(lines, colors=colors, linestyles=styles, linewidths=3.5, zorder=1))
    return scale if errors else None


def _log_scale(values: Iterable[float]) -> Any:
    known = list(values) or [0.1, 1.0]
    low, high = min(known), max(known)
    norm = LogNorm(low, high) if low < high else LogNorm(low / 2, high * 2)
    return ScalarMappable(norm=norm, cmap=colormaps[_COLOR_MAP])


def _luma(color: Any) -> float:
    """Return the brightness of a colour, from 0 to 1 (ITU-R BT.601)."""
    red, green, blue = color[:3]
    return float(0.299 * red + 0.587 * green + 0.114 * blue)


# --- parts of a history


class _Moment(NamedTuple):
    at: datetime
    backend: str | None  # None for a gap, whose values are NaN
    quartiles: tuple[float, float, float]
    single: list[float]  # of the qubits that get a line each


def _moment(one: BackendProperties | Gap, name: Quantity, qubits: Sequence[int], scale: float) -> _Moment:
    if isinstance(one, Gap):
        return _Moment(one.since, None, (nan, nan, nan), [nan] * len(qubits))
    values = [scale * value for value in _values(one, name)]
    single = [usable(_quantity(name), getattr(one, name)(qubit)) for qubit in qubits]
    drawn = [nan if value is None else scale * value for value in single]
    return _Moment(one.last_update_date, one.backend_name, _quartiles(values), drawn)


def _values(properties: BackendProperties, name: Quantity) -> list[float]:
    """Return the quantity's value, in SI units, for every qubit or pair that works."""
    if name == "two_qubit_error":
        return [error for error in properties.coupling_errors().values() if error is not None]
    return [value for value, _ in properties.qubit_measurements(_quantity(name)).values]


def _quantity(name: Quantity) -> str:
    """Return the name on the wire of a quantity of qubits."""
    return name if name == "readout_error" else name.upper()


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        middle = values[0] if values else nan
        return middle, middle, middle
    lower, middle, upper = quantiles(values, n=4)
    return lower, middle, upper


__all__ = ["error_map", "fleet_plot", "history_plot"]
