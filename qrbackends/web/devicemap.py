"""A drawing of a device: its qubits and couplings at their coordinates, coloured by their errors."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Final, Literal, NamedTuple, TypeAlias

from msgspec import Struct

from ..analysis.layout import coordinates, couplings
from ..messages.counts import counted
from ..models import BackendConfiguration, BackendProperties, usable
from ..models.formatting import probability, scaled
from ..models.usable import Pair

By: TypeAlias = Literal["readout", "t1", "t2"]

_PITCH = 40.0  # distance of two neighbours, in units of the drawing
_MARGIN = 30.0
_RADIUS = 13.0
_UNKNOWN = "#9aa0a6"
# Six colours of the map cividis, which looks the same with impaired colour vision: J. Nuñez, C. Anderton and
# R. Renslow, PLoS ONE 13(7), 2018. Dark is bad and light is good for every figure.
_CIVIDIS: Final = (
    (0, 34, 78),
    (53, 69, 108),
    (102, 105, 112),
    (148, 142, 119),
    (200, 184, 102),
    (254, 232, 56),
)


class Scale(NamedTuple):
    """The legend of the colours.

    Attributes:
        title: the figure and its unit.
        worst, middle, best: the worst value, the median and the best value, as text.
        colors: the colours from the worst to the best value; each is used for the same number of values.
    """

    title: str
    worst: str
    middle: str
    best: str
    colors: tuple[str, ...]


class Qubit(Struct, frozen=True, gc=False):
    """A qubit in the drawing."""

    number: int
    x: float
    y: float
    color: str
    ink: str
    faulty: bool
    text: str


class Coupling(Struct, frozen=True, gc=False):
    """A coupling in the drawing."""

    x1: float
    y1: float
    x2: float
    y2: float
    color: str
    faulty: bool
    text: str


class DeviceMap(NamedTuple):
    """A device in a drawing of `width` by `height` units; `notes` say what could not be drawn."""

    width: float
    height: float
    radius: float
    qubits: tuple[Qubit, ...]
    couplings: tuple[Coupling, ...]
    qubit_scale: Scale | None
    coupling_scale: Scale | None
    notes: tuple[str, ...]


class _Figure(NamedTuple):
    """A figure by which qubits can be coloured."""

    name: str
    title: str
    of: Callable[[BackendProperties, int], float | None]
    show: Callable[[float], str]
    high_is_good: bool


FIGURES: Final[Mapping[By, _Figure]] = {
    "readout": _Figure("readout_error", "Readout error", BackendProperties.readout_error, probability, False),
    "t1": _Figure("T1", "T1, µs", BackendProperties.t1, partial(scaled, scale=1e6), True),
    "t2": _Figure("T2", "T2, µs", BackendProperties.t2, partial(scaled, scale=1e6), True),
}
"""The figures by which qubits can be coloured."""


def device_map(configuration: BackendConfiguration, properties: BackendProperties, by: By) -> DeviceMap:
    """Return a device's drawing.

    Args:
        configuration: gives the coordinates and the couplings.
        properties: give the errors.
        by: the figure that colours the qubits; couplings are coloured by the native two-qubit gate's error.

    Raises:
        ImportError: the coordinates have to be computed, and rustworkx is not installed.
        DecodeError: a unit in the properties cannot be read, or the number of qubits is no device's.
        InvalidRequest: the device has too many qubits to be drawn.
    """
    places = [
        (_MARGIN + _PITCH * column, _MARGIN + _PITCH * row) for column, row in coordinates(configuration)
    ]
    figure = FIGURES[by]
    faulty = set(properties.faulty_qubits())
    measured = range(min(len(places), len(properties.qubits)))
    values = {qubit: value for qubit in measured if (value := figure.of(properties, qubit)) is not None}
    good = {
        qubit: value
        for qubit, value in values.items()
        if qubit not in faulty and usable(figure.name, value) is not None
    }
    scale, color = _scaled(list(good.values()), figure.title, figure.show, high_is_good=figure.high_is_good)
    qubits = tuple(
        Qubit(
            number,
            *place,
            color(good.get(number)),
            _ink(color(good.get(number))),
            number in faulty,
            f"{figure.title}: {figure.show(values[number])}" if number in values else "not known",
        )
        for number, place in enumerate(places)
    )
    drawn, coupling_scale = _couplings(configuration, properties, places)
    width = max((x for x, _ in places), default=0.0) + _MARGIN
    height = max((y for _, y in places), default=0.0) + _MARGIN
    return DeviceMap(
        width, height, _RADIUS, qubits, drawn, scale, coupling_scale, _notes(configuration, properties)
    )


def _couplings(
    configuration: BackendConfiguration, properties: BackendProperties, places: Sequence[tuple[float, float]]
) -> tuple[tuple[Coupling, ...], Scale | None]:
    """Return each coupled pair once, with the lower error of its two directions."""
    errors = {pair: error for pair, error in properties.coupling_errors().items() if error is not None}
    broken = frozenset(properties.broken_couplings())
    measured = {pair for pair in properties.coupling_errors().keys() | broken if pair[1] < len(places)}
    title = f"Two-qubit error ({properties.native_entangler})"
    scale, color = _scaled(list(errors.values()), title, probability, high_is_good=False)
    drawn = tuple(
        Coupling(
            *places[pair[0]],
            *places[pair[1]],
            color(errors.get(pair)),
            pair in broken,
            f"{pair[0]}–{pair[1]}: {_told(pair, errors, broken)}",
        )
        for pair in sorted(couplings(configuration) | measured)
    )
    return drawn, scale


def _told(pair: Pair, errors: Mapping[Pair, float], broken: Collection[Pair]) -> str:
    if pair in broken:
        return "out of order"
    return probability(errors[pair]) if pair in errors else "not known"


def _notes(configuration: BackendConfiguration, properties: BackendProperties) -> tuple[str, ...]:
    """Return what is odd about the documents, a sentence each."""
    count, measured = configuration.n_qubits, len(properties.qubits)
    strange = sum(
        not 0 <= min(pair) < max(pair) < count for pair in configuration.coupling_map or () if len(pair) == 2
    )
    notes = []
    if strange:
        few = strange == 1
        notes.append(
            f"{counted(strange, 'coupling')} {'is' if few else 'are'} not drawn: "
            f"{'it is' if few else 'they are'} not between two qubits of this device."
        )
    if measured != count:
        notes.append(f"The configuration has {counted(count, 'qubit')}, the calibration {measured:,}.")
    return tuple(notes)


def _scaled(
    values: Sequence[float], title: str, show: Callable[[float], str], *, high_is_good: bool
) -> tuple[Scale | None, Callable[[float | None], str]]:
    """Return the legend, and a function from a value to its colour.

    The colour follows the value's rank: on a linear scale one outlier would leave the others one colour.
    """
    known = sorted(values, reverse=not high_is_good)
    if not known:
        return None, lambda _: _UNKNOWN
    ranks = {value: place / max(1, len(known) - 1) for place, value in enumerate(known)}
    colors = tuple(_color(step / 5) for step in range(6))
    scale = Scale(title, show(known[0]), show(median(known)), show(known[-1]), colors)
    return scale, lambda value: _UNKNOWN if value is None else _color(ranks[value])


def _color(part: float) -> str:
    """Return the colour for a rank from 0, the worst, to 1, the best."""
    place = min(max(part, 0.0), 1.0) * (len(_CIVIDIS) - 1)
    below = min(int(place), len(_CIVIDIS) - 2)
    mixed = (
        round(low + (high - low) * (place - below))
        for low, high in zip(_CIVIDIS[below], _CIVIDIS[below + 1], strict=True)
    )
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def _ink(color: str) -> str:
    """Return black or white, whichever is easier to read on `color`, by its luma (ITU-R BT.601)."""
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 127 else "#ffffff"
