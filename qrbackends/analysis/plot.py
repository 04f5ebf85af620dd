"""Plots of devices, of their history, and of the fleet. They need matplotlib: the extra `plot`.

Each function returns a matplotlib figure, which belongs to the caller; a notebook shows the one that is the
last value of a cell. No global state of matplotlib is changed. Pictures of an emulator's data say so. The
colours can be told apart with impaired colour vision: those of `colorscale`, and the palette of M. Okabe and
K. Ito (2008).
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
from .colorscale import FAULTY, color_at
from .devicemap import RADIUS, TITLES, By, Coupling, DeviceMap, Legend, Qubit, device_map
from .plot_labels import POINTS_PER_INCH, LabelledPoint, label

try:
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection, PatchCollection
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Circle
    from matplotlib.ticker import NullLocator
except ImportError as error:
    raise missing_extra("plots need matplotlib", "plot") from error

Quantity: TypeAlias = Literal["t1", "t2", "readout_error", "two_qubit_error"]

_COLOR_MAP: Final = ListedColormap([color_at(step / 255) for step in range(256)])
_INK = "#444444"
_EMULATED = "#b34700"
_ARM = 0.55 * RADIUS, 1.05 * RADIUS  # where the arms of a qubit's cross begin and end, across and up
_CROSS = 0.1  # half of a coupling's cross
_DASHED, _DOTTED = (0, (1.6, 1.2)), (0, (0.6, 0.8))
_DIGIT_WIDTH = 0.62  # of the font's size
_LARGEST = 2_000  # square points by which the number of qubits enlarges a device's circle
_LEGIBLE = 2.0  # points of the numbers; smaller ones are left out
_MARKED = 60  # calibrations; if there are fewer, each is marked
_LONGEST = 40  # characters of a backend's name that are shown
_PALETTE: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_AXES: Final[dict[str, tuple[str, float]]] = {  # the axis's label, and its units in one SI unit
    "t1": ("T1 (µs)", 1e6),
    "t2": ("T2 (µs)", 1e6),
    "readout_error": ("readout error", 1.0),
    "two_qubit_error": ("two-qubit error", 1.0),
}


class _Picture(Figure):
    """A figure that a notebook shows by itself: IPython knows only those of `matplotlib.pyplot`."""

    def __init__(self, width: float, height: float) -> None:
        super().__init__(figsize=(width, height), layout="constrained")

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def _say_emulated(axes: Any) -> None:
    """Write above the axes, where the layout has its place for it, that the data is not the service's."""
    axes.set_title("Emulated data, not from IBM's service", fontsize=7, color=_EMULATED, loc="left")


def error_map(
    configuration: BackendConfiguration, properties: BackendProperties, by: By = "readout"
) -> Figure:
    """Return a map of a device, with qubits and couplings coloured by their errors.

    A coupling's colour is the error of the native two-qubit gate. The scales are logarithmic, and the same as
    the board's: `qrbackends.analysis.colorscale`. What does not work is hollow and crossed, what is not known
    is dotted.

    Args:
        configuration: tells where the qubits are, and which are coupled.
        properties: tells the errors.
        by: what the qubits are coloured by: `readout`, `t1` or `t2`; with `two_qubit` only couplings have
            colours, and with `operational` only what does not work.

    Raises:
        ImportError: the positions have to be computed, and rustworkx is not installed.
        DecodeError: a unit in the properties is not known, or the number of qubits is no device's.
        InvalidRequest: the device has too many qubits to be drawn, or `by` is none of these.
    """
    check_document("configuration", configuration, BackendConfiguration)
    check_document("properties", properties, BackendProperties)
    if by not in TITLES:
        raise InvalidRequest(
            suggested(f"{by!r:.40} colours no map; choose from {', '.join(TITLES)}", by, TITLES)
        )
    shown = device_map(configuration, properties, by)
    spacing = min(0.55, 13.0 / shown.width, 11.0 / shown.height)  # inches between neighbours
    figure = _Picture(max(5.0, shown.width * spacing + 0.4), shown.height * spacing + 2.6)
    axes = figure.add_subplot()
    _draw_couplings(axes, shown.couplings)
    _draw_qubits(axes, shown.qubits, spacing)
    for legend in (shown.coupling_scale, shown.qubit_scale):
        if legend is not None:
            _draw_scale(figure, axes, legend)
    _say_shapes(figure, shown)
    axes.set_xlim(-0.6, shown.width - 0.4)
    axes.set_ylim(shown.height - 0.4, -0.6)  # rows are counted downward
    axes.set_aspect("equal")
    axes.set_axis_off()
    when = f"{properties.last_update_date.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    figure.suptitle(f"{properties.backend_name}, {when}", fontsize=11, parse_math=False)
    if configuration.emulated or properties.emulated:
        _say_emulated(axes)
    return figure


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
    figure = _Picture(9, 4.5)
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
    axes.set_xlabel("time (UTC)")
    axes.set_title(backend[:_LONGEST], fontsize=11, parse_math=False)
    if found.emulated:
        _say_emulated(axes)
    axes.grid(alpha=0.3)
    figure.legend(fontsize=9, ncols=min(8, 2 + len(qubits)), loc="outside lower center", frameon=False)
    return figure


def fleet_plot(backends: Iterable[Backend]) -> Figure:
    """Return a plot of all backends: the median two-qubit error against the number of waiting jobs.

    Both numbers are those of the list of backends. The area of a circle grows with the number of qubits;
    backends that are online are filled. Backends without an error in the list are left out, and dots without
    room for a name have none; the picture says how many.

    Args:
        backends: entries of the list, as `client.backends` gives them.

    Raises:
        InvalidRequest: no backend has an error in the list.
    """
    listed = list(backends)
    for one in listed:
        check_document("each of backends", one, Backend)
    known = [
        (backend, backend.performance_metrics.two_q_error_median.value)
        for backend in listed
        if backend.performance_metrics
        and backend.performance_metrics.two_q_error_median
        and usable("gate_error", backend.performance_metrics.two_q_error_median.value)  # 0 has no logarithm
    ]
    if not known:
        raise InvalidRequest("there is nothing to plot: the list contains no two-qubit errors")
    known.sort(key=lambda one: (one[0].queue_length, one[1]))
    figure = _Picture(11, 6.5)
    axes = figure.add_subplot()
    jobs = [backend.queue_length for backend, _ in known]
    errors = [error for _, error in known]
    sizes = [_area(backend.qubits) for backend, _ in known]
    faces = [_PALETTE[0] if backend.online else "none" for backend, _ in known]
    axes.scatter(jobs, errors, s=sizes, c=faces, edgecolors=_PALETTE[0], alpha=0.7, zorder=3)
    axes.set_xscale("symlog", linthresh=10)
    axes.set_yscale("log")
    axes.set_xlim(-0.5, 2.0 * max(*jobs, 5))
    axes.set_ylim(0.8 * min(errors), 1.25 * max(errors))
    axes.set_xlabel("jobs waiting\n ")  # two lines: names are placed by the layout that these have
    axes.set_ylabel("median two-qubit error")
    axes.grid(alpha=0.3)
    _say_sizes(figure, [backend for backend, _ in known])
    if any(backend.emulated for backend, _ in known):
        _say_emulated(axes)
    nameless = label(
        figure,
        axes,
        [
            LabelledPoint(backend.queue_length, error, sqrt(size / pi), backend.name[:_LONGEST])
            for (backend, error), size in zip(known, sizes, strict=True)
        ],
    )
    missing = len(listed) - len(known)
    said = [f"{counted(nameless, 'dot')} without room for a name"] * bool(nameless)
    said += [f"not drawn, as the list has no two-qubit error: {counted(missing, 'backend')}"] * bool(missing)
    axes.set_xlabel("jobs waiting\n" + ("; ".join(said) or " "))
    return figure


def _area(qubits: int | None) -> float:
    """Return the area of a device's circle, in square points."""
    return 20.0 + min(max(qubits or 0, 0), _LARGEST)


def _say_sizes(figure: Figure, drawn: Sequence[Backend]) -> None:
    """Add a legend of the circles' areas, and of those that are hollow."""
    counts = sorted({one.qubits for one in drawn if one.qubits and 0 < one.qubits <= _LARGEST})
    chosen = {counts[place * (len(counts) - 1) // 3] for place in range(4)} if counts else set()
    style: dict[str, Any] = {"linestyle": "", "marker": "o", "markeredgecolor": _PALETTE[0], "alpha": 0.7}
    dots = [
        Line2D(
            [],
            [],
            markersize=2 * sqrt(_area(count) / pi),
            color=_PALETTE[0],
            label=counted(count, "qubit"),
            **style,
        )
        for count in sorted(chosen)
    ]
    if any(not one.online for one in drawn):
        dots.append(Line2D([], [], markersize=8, markerfacecolor="none", label="not online", **style))
    if dots:
        figure.legend(handles=dots, fontsize=8, loc="outside right upper", frameon=False, labelspacing=1.0)


# --- parts of a map


def _draw_qubits(axes: Any, qubits: Sequence[Qubit], spacing: float) -> None:
    circles = [Circle((one.x, one.y), RADIUS) for one in qubits]
    hollow = [one.faulty or not one.known or one.color is None for one in qubits]
    axes.add_collection(
        PatchCollection(
            circles,
            facecolors=["white" if bare else one.color for one, bare in zip(qubits, hollow, strict=True)],
            edgecolors=[
                (one.color or _INK) if bare else _INK for one, bare in zip(qubits, hollow, strict=True)
            ],
            linewidths=[1.4 if bare else 0.5 for bare in hollow],
            linestyles=["-" if one.known else _DOTTED for one in qubits],
            zorder=2,
        )
    )
    digits = max(2, len(str(len(qubits) - 1)))
    size = min(11.0, POINTS_PER_INCH * spacing * 1.6 * RADIUS / (_DIGIT_WIDTH * digits))
    for one in qubits if size >= _LEGIBLE else ():  # thousands of dots would take seconds to write
        style = {"ha": "center", "va": "center_baseline", "fontsize": max(3.0, size)}
        axes.text(one.x, one.y, str(one.number), color=one.ink or "black", zorder=4, **style)
    arms = [
        [(one.x + across * near, one.y + up * near) for near in _ARM]
        for one in qubits
        if one.faulty
        for across in (-1, 1)
        for up in (-1, 1)
    ]
    axes.add_collection(LineCollection(arms, colors=FAULTY, linewidths=1.8, zorder=3))


def _draw_couplings(axes: Any, drawn: Sequence[Coupling]) -> None:
    lines = [((one.x1, one.y1), (one.x2, one.y2)) for one in drawn]
    colors = [one.color or _INK for one in drawn]
    widths = [2.0 if one.faulty else 3.5 for one in drawn]
    styles = [_DASHED if one.faulty else "-" if one.known else _DOTTED for one in drawn]
    axes.add_collection(LineCollection(lines, colors=colors, linestyles=styles, linewidths=widths, zorder=1))
    middles = [((one.x1 + one.x2) / 2, (one.y1 + one.y2) / 2) for one in drawn if one.faulty]
    crosses = [
        [(x - _CROSS, y - turn * _CROSS), (x + _CROSS, y + turn * _CROSS)]
        for x, y in middles
        for turn in (1, -1)
    ]
    axes.add_collection(LineCollection(crosses, colors=FAULTY, linewidths=1.8, zorder=3))


def _draw_scale(figure: Figure, axes: Any, legend: Legend) -> None:
    label = f"{legend.title}; {legend.beyond}" if legend.beyond else legend.title
    colors = ScalarMappable(norm=Normalize(0, 1), cmap=_COLOR_MAP)
    bar = figure.colorbar(colors, ax=axes, location="bottom", shrink=0.6, aspect=40)
    bar.set_label(label, parse_math=False)
    places, texts = zip(*legend.ticks, strict=True)
    bar.set_ticks(places, labels=texts)
    bar.ax.xaxis.set_minor_locator(NullLocator())


def _say_shapes(figure: Figure, shown: DeviceMap) -> None:
    """Write what the shapes of marks mean, and what is not drawn, below the map."""
    qubits, lines = (sum(one.faulty for one in part) for part in (shown.qubits, shown.couplings))
    unknown = sum(not one.known for part in (shown.qubits, shown.couplings) for one in part)
    said = [f"crossed: out of order ({counted(qubits, 'qubit')}, {counted(lines, 'coupling')})"] * bool(
        qubits or lines
    )
    said += [f"dotted: not known ({unknown})"] * bool(unknown)
    text = "\n".join(filter(None, ["; ".join(said), *shown.notes]))
    if text:
        figure.supxlabel(text, fontsize=8, parse_math=False)


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
