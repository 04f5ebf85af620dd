"""The tables of one calibration: its gates, its qubits, and the figures of a summary."""

from collections import Counter
from collections.abc import Callable
from operator import itemgetter
from typing import Final, NamedTuple

from rich.text import Text

from ..analysis.tables import QubitRow
from ..models import BackendProperties, BackendSummary, Measurements, Spread
from ..models.formatting import DASH, probability, scaled
from .columns import Cell, Column, micro, nano, number
from .text import whole


def _mega(value: float | None) -> str:
    return scaled(value, 1e-6)


def _giga(value: float | None) -> str:
    return scaled(value, 1e-9, 3)


def _state(works: bool) -> Text:
    return Text("works", "green") if works else Text("faulty", "red")


QUBITS: Final[tuple[Column[QubitRow], ...]] = (
    number("qubit", "qubit", itemgetter("qubit"), str),
    number("t1_s", "T1 µs", itemgetter("t1"), micro, 4),
    number("t2_s", "T2 µs", itemgetter("t2"), micro, 5),
    number("frequency_hz", "GHz", itemgetter("frequency"), _giga, 6),
    number("anharmonicity_hz", "anharmonicity MHz", itemgetter("anharmonicity"), _mega, 12),
    number("readout_error", "readout", itemgetter("readout_error"), probability, 2),
    number("prob_meas0_prep1", "0 for 1", itemgetter("prob_meas0_prep1"), probability, 10),
    number("prob_meas1_prep0", "1 for 0", itemgetter("prob_meas1_prep0"), probability, 11),
    number("readout_length_s", "readout ns", itemgetter("readout_length"), nano, 13),
    Column("operational", "state", itemgetter("operational"), _state, 1),
)
"""The columns of a device's qubits."""


class Gate(NamedTuple):
    """A gate over the whole device.

    Attributes:
        gate: its name.
        places: the number of sets of qubits that have it.
        faulty: the number of those on which it does not work.
        errors: its errors.
        length: the median of its duration, in seconds.
    """

    gate: str
    places: int
    faulty: int
    errors: Measurements
    length: float | None


def _error(gate: Gate) -> str:
    text = probability(gate.errors.median)
    return f"{text} ({gate.errors.left_out:,} left out)" if gate.errors.left_out else text


GATES: Final[tuple[Column[Gate], ...]] = (
    Column("gate", "gate", lambda one: one.gate),
    number("places", "places", lambda one: one.places, rank=3),
    number("faulty", "faulty", lambda one: one.faulty, rank=2),
    number("gate_error_median", "median error", lambda one: one.errors.median, rank=1, cell=_error),
    number("gate_length_median_s", "median length ns", lambda one: one.length, nano, 4),
)
"""The columns of a device's gates."""


def gates(document: BackendProperties) -> list[Gate]:
    """Return the gates of a calibration."""
    places = Counter(gate.gate for gate in document.gates)
    faulty = Counter(gate.gate for gate in document.faulty_gates())
    return [
        Gate(
            gate,
            places[gate],
            faulty[gate],
            document.gate_measurements(gate, "gate_error"),
            document.median_gate_length(gate),
        )
        for gate in places
    ]


class Figure(NamedTuple):
    """A figure of a summary.

    Attributes:
        figure: its name.
        spread: its values, in SI units; None if there are none.
        shown: returns such a value as text.
        unit: the unit of that text.
        length: of a gate, the median of its duration in seconds.
        places: of a gate, the number of sets of qubits on which it works.
    """

    figure: str
    spread: Spread | None
    shown: Callable[[float | None], str] = probability
    unit: str = ""
    length: float | None = None
    places: int | None = None

    @property
    def label(self) -> str:
        """Its name with the unit of its texts."""
        return f"{self.figure} {self.unit}".rstrip()


def _of_spread(name: str, header: str, part: str, rank: int) -> Column[Figure]:
    def value(one: Figure) -> float | None:
        return getattr(one.spread, part, None)

    return number(name, header, value, rank=rank, cell=lambda one: one.shown(value(one)))


def _on(qubits: tuple[int, ...] | None) -> str:
    return DASH if qubits is None else ", ".join(map(str, qubits))


def _of_gate(text: Callable[[Figure], str]) -> Callable[[Figure], Cell]:
    return lambda one: "" if one.places is None else text(one)


FIGURES: Final[tuple[Column[Figure], ...]] = (
    Column("figure", "figure", lambda one: one.figure, cell=lambda one: one.label),
    _of_spread("median", "median", "median", 1),
    _of_spread("best", "best", "best", 2),
    number("best_on", "on", lambda one: getattr(one.spread, "best_on", None), _on, 11),
    _of_spread("worst", "worst", "worst", 3),
    number("worst_on", "on", lambda one: getattr(one.spread, "worst_on", None), _on, 12),
    number(
        "length_s", "length ns", lambda one: one.length, rank=10, cell=_of_gate(lambda one: nano(one.length))
    ),
    number("places", "places", lambda one: one.places, rank=13, cell=_of_gate(lambda one: whole(one.places))),
)
"""The columns of a summary's figures."""


def figures(found: BackendSummary) -> list[Figure]:
    """Return the figures of a summary that are known."""
    rows = [
        Figure("T1", found.t1, micro, "µs"),
        Figure("T2", found.t2, micro, "µs"),
        Figure("readout error", found.readout_error),
        *(Figure(f"{one.gate} error", one.error, length=one.length, places=one.count) for one in found.gates),
    ]
    return [one for one in rows if one.spread is not None or one.places is not None]
