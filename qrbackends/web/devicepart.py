"""The part of a device's page that its documents alone decide: the figures, the map and the tables."""

import logging
from collections.abc import Callable
from datetime import UTC
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypeVar

from ..analysis.devicemap import RADIUS, TITLES, By, DeviceMap, device_map
from ..errors import QRBackendsError
from ..models import BackendConfiguration, BackendProperties, BackendSummary, summary
from .devicetables import coupling_rows, qubit_rows
from .pages import rendered

logger = logging.getLogger("qrbackends.web")

Shape: TypeAlias = Literal["line", "set"]

DAYS: Final = (7, 30, 90)
"""Over how many days figures of an archive are shown, the middle one where nothing else is asked for."""

_TABLES = 2_000  # qubits of the largest device whose tables are on its page; the CSV has all
_UNIT = 40  # of the drawing, for the distance of two neighbours

T = TypeVar("T")


class Wanted(NamedTuple):
    """What a visitor wants to see: what colours the map, the best line or set of how many qubits, and days.

    `days` is over how many of them the archive is asked; the part only hands it on, in its links.
    """

    by: By
    shape: Shape
    size: int | None = None
    days: int = DAYS[1]


class Drawing(NamedTuple):
    """A map, and the best qubits on it.

    Attributes:
        map: the map.
        chosen: the numbers of the best qubits.
        lines: the ends of the couplings between them, in the map's units.
        text: what is told about the choice, or why there is none; empty if none is wanted.
    """

    map: DeviceMap
    chosen: frozenset[int]
    lines: tuple[tuple[float, float, float, float], ...]
    text: str


def device_part(configuration: BackendConfiguration, properties: BackendProperties, wanted: Wanted) -> bytes:
    """Return figures, map and tables of a device, as HTML, or a sentence about why there is no map."""
    found: BackendSummary | None = None
    drawing: Drawing | None = None
    tables: Any = None

    def make() -> None:
        nonlocal found, drawing, tables
        found = summary(configuration, properties)
        drawing = _drawing(configuration, properties, wanted)
        if configuration.n_qubits <= _TABLES:
            tables = qubit_rows(properties), coupling_rows(configuration, properties)

    missing = _why_not(properties, make)
    return rendered(
        "device.html",
        name=properties.backend_name,
        found=found,
        drawing=drawing,
        tables=tables,
        missing=missing,
        wanted=wanted,
        usual_days=DAYS[1],
        titles=TITLES,
        unit=_UNIT,
        radius=RADIUS,
        emulated=configuration.emulated or properties.emulated,
    )


def device_picture(
    configuration: BackendConfiguration, properties: BackendProperties, wanted: Wanted
) -> bytes:
    """Return the map of a device as a picture of its own, as SVG, without its best qubits.

    Raises:
        ImportError, DecodeError, InvalidRequest: the device cannot be drawn, as for `device_map`.
    """
    return rendered(
        "picture.svg",
        name=properties.backend_name,
        drawing=_drawing(configuration, properties, wanted._replace(size=None)),
        when=f"{properties.last_update_date.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        unit=_UNIT,
        radius=RADIUS,
        emulated=configuration.emulated or properties.emulated,
    )


def _why_not(properties: BackendProperties, make: Callable[[], None]) -> str:
    """Make a page's parts, and return why some are missing, as a sentence; empty if none is."""
    try:
        make()
    except ImportError as error:
        return error.msg
    except QRBackendsError as error:
        return f"This device cannot be drawn: {error.message}."
    except (ArithmeticError, ValueError, LookupError, TypeError) as error:  # documents that nobody foresaw
        logger.warning("%.80r cannot be drawn: %s", properties.backend_name, type(error).__name__)
        return "This device cannot be drawn: its documents are odd."
    return ""


def _drawing(configuration: BackendConfiguration, properties: BackendProperties, wanted: Wanted) -> Drawing:
    shown = device_map(configuration, properties, wanted.by)
    if wanted.size is None:
        return Drawing(shown, frozenset(), (), "")
    try:
        from ..analysis.qubits import best_chain, best_qubits
    except ImportError as error:
        return Drawing(shown, frozenset(), (), error.msg)
    search = best_chain if wanted.shape == "line" else best_qubits
    try:
        found = search(configuration, properties, wanted.size)
    except QRBackendsError as error:
        return Drawing(shown, frozenset(), (), f"{error.message[:1].upper()}{error.message[1:]}.")
    places = [(one.x, one.y) for one in shown.qubits]
    lines = tuple((*places[one], *places[other]) for one, other in found.couplings)
    between = "–" if wanted.shape == "line" else ", "
    numbers = between.join(map(str, found.qubits))
    text = (
        f"Best {wanted.shape} of {len(found.qubits)}: {numbers}; expected error {found.expected_error:.3g}."
    )
    return Drawing(shown, frozenset(found.qubits), lines, text)
