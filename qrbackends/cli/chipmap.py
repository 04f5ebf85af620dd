"""A small map of a chip in characters: which of its qubits are chosen."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

from rich.text import Text

from ..analysis.layout import Coordinate

Place: TypeAlias = tuple[int, int]  # column and row

_SCALES: Final = (1.0, 1.5, 2.0, 3.0)  # places per distance of neighbours, until no two qubits share a place
_HIGHEST: Final = 40  # rows
_AROUND: Final = 2  # places around the chosen qubits, where the whole chip is too large


class Mark(NamedTuple):
    """How qubits of a kind are shown: by a character, in a style, and what it means."""

    char: str
    style: str
    meaning: str


BOTH: Final = Mark("●", "bold green", "set and line")
ONLY_SET: Final = Mark("◆", "bold cyan", "set")
ONLY_LINE: Final = Mark("◇", "bold yellow", "line")
FAULTY: Final = Mark("×", "red", "faulty")
OTHER: Final = Mark("·", "dim", "other")
_CHOSEN: Final = (BOTH, ONLY_SET, ONLY_LINE)
_COUPLING: Final = Mark("─", "green", "")


def chip_map(
    coordinates: Sequence[Coordinate], marks: Sequence[Mark], used: Iterable[tuple[int, int]], width: int
) -> list[Text]:
    """Return the lines of a map, and below them what its marks mean; none if it would not fit the screen.

    Of a chip that is too large, the part around the chosen qubits is shown.

    Args:
        coordinates: the position of each qubit.
        marks: the mark of each qubit.
        used: the couplings to draw, of which those along a row are.
        width: the characters of a line.
    """
    places = _places(coordinates)
    left, top, right, bottom = _box(places)
    if not _fits(left, top, right, bottom, width):
        left, top, right, bottom = _box(
            [place for place, mark in zip(places, marks, strict=True) if mark in _CHOSEN], _AROUND
        )
        if not _fits(left, top, right, bottom, width):
            return []
    shown: dict[Place, Mark] = {}
    for one, other in used:
        (from_, row), (to, other_row) = sorted((places[one], places[other]))
        if row == other_row:  # two characters a column, so that there is one between neighbours
            shown |= {(column, row): _COUPLING for column in range(2 * from_ + 1, 2 * to)}
    inside = {
        qubit: place
        for qubit, place in enumerate(places)
        if left <= place[0] <= right and top <= place[1] <= bottom
    }
    shown |= {(2 * column, row): marks[qubit] for qubit, (column, row) in inside.items()}
    lines = [_line(shown, row, 2 * left, 2 * right) for row in range(top, bottom + 1)]
    legend = Text("  ").join(
        Text(mark.char, mark.style).append(f" {mark.meaning}", "dim")
        for mark in (*_CHOSEN, FAULTY, OTHER)
        if any(marks[qubit] is mark for qubit in inside)
    )
    return [*lines, legend]


def _line(shown: dict[Place, Mark], row: int, left: int, right: int) -> Text:
    line = Text(no_wrap=True)
    for column in range(left, right + 1):
        mark = shown.get((column, row))
        line.append(" " if mark is None else mark.char, "" if mark is None else mark.style)
    line.rstrip()
    return line


def _places(coordinates: Sequence[Coordinate]) -> list[Place]:
    """Return a place for each qubit; computed positions, which are no whole numbers, are spread out."""
    places: list[Place] = []
    for scale in _SCALES:
        places = [(round(column * scale), round(row * scale)) for column, row in coordinates]
        if len({*places}) == len(places):
            break
    return places


def _box(places: Sequence[Place], around: int = 0) -> tuple[int, int, int, int]:
    """Return the least and the greatest column and row, as left, top, right and bottom."""
    columns, rows = zip(*places, strict=True)
    return min(columns) - around, min(rows) - around, max(columns) + around, max(rows) + around


def _fits(left: int, top: int, right: int, bottom: int, width: int) -> bool:
    return 2 * (right - left) + 1 <= width and bottom - top < _HIGHEST
