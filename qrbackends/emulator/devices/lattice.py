"""The lattices of qubits: heavy-hex and square, of any size.

A lattice is a set of cells of a grid; two qubits are coupled if their cells are adjacent. A heavy-hex lattice
has long rows, and between each two rows a bridge in every fourth column; the bridges of one row are shifted
by two columns against those of the row before. A square lattice has all cells.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from math import isqrt
from typing import Literal, TypeAlias

Shape: TypeAlias = Literal["heavy-hex", "square"]
Cell: TypeAlias = tuple[int, int]  # row, column

SMALLEST = 2
_SQUARE_120 = (12, 10)  # rows and columns of Nighthawk


@dataclass(frozen=True, slots=True)
class Lattice:
    """Qubits and couplings.

    Attributes:
        cells: row and column of each qubit; qubits are numbered row by row.
        edges: the coupled pairs in ascending order, the lower number first in each.
    """

    cells: tuple[Cell, ...]
    edges: tuple[tuple[int, int], ...]


def lattice(shape: Shape, qubits: int) -> Lattice:
    """Return a connected lattice with exactly so many qubits.

    With 27, 127, 133 and 156 qubits (heavy-hex) and 120 qubits (square), it is that of the real devices.
    With other numbers, rows are filled from the top.

    Raises:
        ValueError: there are fewer than two qubits.
    """
    if qubits < SMALLEST:
        raise ValueError(f"a lattice has at least {SMALLEST} qubits")
    if shape == "square":
        return _of(_square(qubits))
    real = _REAL_HEAVY_HEX.get(qubits)
    return _of(real() if real else _heavy_hex(qubits))


def _of(cells: Iterable[Cell]) -> Lattice:
    ordered = tuple(sorted(cells))
    number = {cell: qubit for qubit, cell in enumerate(ordered)}
    pairs = (
        (qubit, number[neighbour])
        for qubit, (row, column) in enumerate(ordered)
        for neighbour in ((row, column + 1), (row + 1, column))
        if neighbour in number
    )
    return Lattice(ordered, tuple(sorted(pairs)))


def _square(qubits: int) -> set[Cell]:
    rows, columns = _SQUARE_120
    if qubits != rows * columns:
        columns = isqrt(qubits - 1) + 1
    return {divmod(qubit, columns) for qubit in range(qubits)}


def _heavy_hex(qubits: int) -> set[Cell]:
    """Return the cells of a lattice about as wide as high.

    With w qubits and w/4 bridges in a row, w/2 rows have w²·5/8 qubits.
    """
    width = max(isqrt(qubits * 8 // 5), 5)
    endless = _rows(rows=qubits // width + 3, width=width, first_bridge=0, bridges_below=True)
    return _grown(endless, qubits)


def _grown(cells: set[Cell], count: int) -> set[Cell]:
    """Return the first `count` cells, row by row, that are connected with the first one."""
    start = min(cells)
    taken: set[Cell] = set()
    waiting, seen = [start], {start}
    while len(taken) < count:
        row, column = heappop(waiting)
        taken.add((row, column))
        for cell in ((row, column - 1), (row, column + 1), (row - 1, column), (row + 1, column)):
            if cell in cells and cell not in seen:
                seen.add(cell)
                heappush(waiting, cell)
    return taken


def _rows(rows: int, width: int, first_bridge: int, bridges_below: bool) -> set[Cell]:
    """Return the cells of some rows, of the bridges between them and, if asked for, below the last one."""
    cells = {(2 * row, column) for row in range(rows) for column in range(width)}
    for row in range(rows if bridges_below else rows - 1):
        shift = (first_bridge + 2 * (row % 2)) % 4
        cells |= {(2 * row + 1, column) for column in range(shift, width, 4)}
    return cells


def _falcon() -> set[Cell]:
    """Return 27 cells: two rows of ten, three bridges between them, and two cells on either side."""
    cells = {(1, column) for column in range(10)} | {(3, column) for column in range(1, 11)}
    return cells | {(2, 1), (2, 5), (2, 9)} | {(0, 3), (0, 7), (4, 3), (4, 7)}


def _eagle() -> set[Cell]:
    """Return 127 cells: seven rows of fifteen with bridges, without two opposite corners."""
    return _rows(rows=7, width=15, first_bridge=0, bridges_below=False) - {(0, 14), (12, 0)}


def _heron_1() -> set[Cell]:
    """Return 133 cells: seven rows of fifteen with bridges, also below the last row."""
    return _rows(rows=7, width=15, first_bridge=0, bridges_below=True)


def _heron() -> set[Cell]:
    """Return 156 cells: eight rows of sixteen with bridges."""
    return _rows(rows=8, width=16, first_bridge=3, bridges_below=False)


_REAL_HEAVY_HEX: dict[int, Callable[[], set[Cell]]] = {27: _falcon, 127: _eagle, 133: _heron_1, 156: _heron}
