"""A map of a device: where its qubits and couplings are, their colours and shapes, and what they tell.

It is what all drawings of devices share: the board's pages and pictures, and `qrbackends.analysis.plot`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final, Literal, NamedTuple, TypeAlias

from msgspec import Struct

from ..errors import DecodeError
from ..messages.counts import counted
from ..models import BackendConfiguration, BackendProperties, GateProperties, Nduv, usable
from ..models.formatting import probability, scaled
from ..models.usable import Pair
from .colorscale import FAULTY, UNKNOWN, ColorScale, Tick, ink_on
from .layout import Coordinate, coordinates, couplings

By: TypeAlias = Literal["readout", "t1", "t2", "two_qubit", "operational"]
"""What colours a map: a figure of the qubits beside the couplings' errors, the latter alone, or nothing."""

RADIUS: Final = 0.34
"""The radius of a qubit's circle; neighbours are about 1 apart."""


class Qubit(Struct, frozen=True, gc=False):
    """A qubit in a map.

    Attributes:
        number: its number.
        x, y: its column and row; neighbours are about 1 apart, and rows are counted downward.
        color: the colour of its value, or that of what is not known or out of order; None where the map does
            not colour qubits.
        ink: the colour of the number on it; None where it is hollow.
        faulty: whether it is out of order: it is drawn hollow and crossed.
        known: whether its value is known and counts; if not, it is drawn hollow and dotted.
        text: its value with the unit, as it was sent.
        measured_at: when that was measured.
    """

    number: int
    x: float
    y: float
    color: str | None
    ink: str | None
    faulty: bool
    known: bool
    text: str
    measured_at: datetime | None


class Coupling(Struct, frozen=True, gc=False):
    """A coupling in a map: a line between two qubits; the other attributes are those of `Qubit`."""

    pair: Pair
    x1: float
    y1: float
    x2: float
    y2: float
    color: str | None
    faulty: bool
    known: bool
    text: str
    measured_at: datetime | None


class Legend(NamedTuple):
    """What the colours mean.

    Attributes:
        title: the figure and its unit.
        ticks: places on the scale, from 0 for the best colour to 1 for the worst, with texts.
        beyond: a phrase about the values that are worse than the scale's end; empty if there are none.
    """

    title: str
    ticks: tuple[tuple[float, str], ...]
    beyond: str


class DeviceMap(NamedTuple):
    """A device in a map of `width` by `height` distances of neighbours.

    Attributes:
        qubit_scale, coupling_scale: the legends; None where nothing is coloured by a value.
        notes: what could not be drawn, and what is odd, a sentence each.
    """

    width: float
    height: float
    qubits: tuple[Qubit, ...]
    couplings: tuple[Coupling, ...]
    qubit_scale: Legend | None
    coupling_scale: Legend | None
    notes: tuple[str, ...]


class Figure(NamedTuple):
    """A figure by which qubits can be coloured: its name on the wire, and how it is shown."""

    name: str
    title: str
    show: Callable[[float], str]
    unit: str
    high_is_good: bool


_MICRO = partial(scaled, scale=1e6)
FIGURES: Final[Mapping[str, Figure]] = {
    "readout": Figure("readout_error", "Readout error", probability, "", False),
    "t1": Figure("T1", "T1", _MICRO, " µs", True),
    "t2": Figure("T2", "T2", _MICRO, " µs", True),
}
"""The figures by which qubits can be coloured."""

TITLES: Final[Mapping[By, str]] = {
    "readout": "Readout error",
    "t1": "T1",
    "t2": "T2",
    "two_qubit": "Two-qubit error",
    "operational": "What works",
}
"""What a map can show."""


def device_map(configuration: BackendConfiguration, properties: BackendProperties, by: By) -> DeviceMap:
    """Return a device's map.

    Args:
        configuration: gives the coordinates and the couplings.
        properties: give the errors.
        by: what colours the qubits and couplings; couplings are coloured by the native two-qubit gate's
            error, the lower one of two directions, unless this is `operational`.

    Raises:
        ImportError: the coordinates have to be computed, and rustworkx is not installed.
        DecodeError: a unit in the properties cannot be read, or the number of qubits is no device's.
        InvalidRequest: the device has too many qubits to be drawn.
    """
    places = coordinates(configuration)
    qubits, scale = _qubits(properties, places, FIGURES.get(by))
    drawn, coupling_scale = _couplings(configuration, properties, places, colored=by != "operational")
    width = max((x for x, _ in places), default=0.0) + 1
    height = max((y for _, y in places), default=0.0) + 1
    return DeviceMap(width, height, qubits, drawn, scale, coupling_scale, _notes(configuration, properties))


def _qubits(
    properties: BackendProperties, places: Sequence[Coordinate], figure: Figure | None
) -> tuple[tuple[Qubit, ...], Legend | None]:
    faulty = frozenset(properties.faulty_qubits())
    if figure is None:
        plain = tuple(
            Qubit(
                number,
                *place,
                FAULTY if number in faulty else None,
                None,
                number in faulty,
                True,
                "out of order" if number in faulty else "works",
                None,
            )
            for number, place in enumerate(places)
        )
        return plain, None
    measured: dict[int, Nduv] = {}
    for number in range(min(len(places), len(properties.qubits))):
        found = properties.qubit_property(number, figure.name)
        if found is not None:
            measured[number] = found
    values = {number: one.si for number, one in measured.items()}
    good = {
        number: value
        for number, value in values.items()
        if number not in faulty and usable(figure.name, value) is not None
    }
    scale = ColorScale(list(good.values()), high_is_good=figure.high_is_good)
    qubits = []
    for number, place in enumerate(places):
        color = scale.color(good[number]) if number in good else None
        text = (
            f"{figure.title}: {figure.show(values[number])}{figure.unit}" if number in values else "not known"
        )
        qubits.append(
            Qubit(
                number,
                *place,
                color or (FAULTY if number in faulty else UNKNOWN),
                color and ink_on(color),
                number in faulty,
                number in good or number in faulty,
                text,
                _date(measured.get(number)),
            )
        )
    title = figure.title + figure.unit.replace(" ", ", ")
    return tuple(qubits), _legend(scale, title, figure.show, figure.high_is_good) if good else None


def _couplings(
    configuration: BackendConfiguration,
    properties: BackendProperties,
    places: Sequence[Coordinate],
    *,
    colored: bool,
) -> tuple[tuple[Coupling, ...], Legend | None]:
    """Return each coupled pair once, with the lower error of its two directions."""
    errors = {pair: error for pair, error in properties.coupling_errors().items() if error is not None}
    broken = frozenset(properties.broken_couplings())
    measured = {pair for pair in properties.coupling_errors().keys() | broken if pair[1] < len(places)}
    dates = _dates(properties)
    scale = ColorScale(list(errors.values()), high_is_good=False)
    drawn = []
    for pair in sorted(couplings(configuration) | measured):
        color = UNKNOWN
        text = "not known"
        if pair in broken:
            color, text = FAULTY, "out of order"
        elif pair in errors:
            color, text = scale.color(errors[pair]), probability(errors[pair])
        bare = not colored and pair not in broken
        known = pair in errors or pair in broken or not colored
        drawn.append(
            Coupling(
                pair,
                *places[pair[0]],
                *places[pair[1]],
                None if bare else color,
                pair in broken,
                known,
                text,
                dates.get(pair),
            )
        )
    title = f"Two-qubit error ({properties.native_entangler})"
    return tuple(drawn), _legend(scale, title, probability, False) if errors and colored else None


def _dates(properties: BackendProperties) -> dict[Pair, datetime]:
    """Return when the native gate's error was measured, of its better direction."""
    found: dict[Pair, tuple[float, datetime]] = {}
    for gate in _native(properties):
        error = gate.parameter("gate_error")
        date = _date(error)
        on = gate.on
        if error is None or date is None or len(on) != 2:
            continue
        pair = (min(on), max(on))
        if pair not in found or error.value < found[pair][0]:
            found[pair] = (error.value, date)
    return {pair: date for pair, (_, date) in found.items()}


def _native(properties: BackendProperties) -> Sequence[GateProperties]:
    native = properties.native_entangler
    return () if native is None else properties.working_gates(native)


def _date(measured: Nduv | None) -> datetime | None:
    """Return when a value was measured, or None where its date cannot be read."""
    if measured is None or not measured.date:
        return None
    try:
        return measured.measured_at
    except DecodeError:
        return None


def _legend(scale: ColorScale, title: str, show: Callable[[float], str], high_is_good: bool) -> Legend:
    beyond = ""
    if scale.beyond:
        value = "1 value" if scale.beyond == 1 else f"{scale.beyond} values"
        beyond = f"{value} beyond, {'down' if high_is_good else 'up'} to {show(scale.extreme)}"
    sign = ("≤ " if high_is_good else "≥ ") if beyond else ""
    return Legend(title, tuple(_tick(tick, show, sign) for tick in scale.ticks), beyond)


def _tick(tick: Tick, show: Callable[[float], str], sign: str) -> tuple[float, str]:
    return tick.place, (sign if tick.place == 1.0 else "") + show(tick.value)


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
