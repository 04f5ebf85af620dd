"""The couplings of a device at a glance: how many pairs, in which directions, and in which lattice."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from .usable import Pair

Lattice: TypeAlias = Literal["heavy-hex", "square", "other"]
Neighbours: TypeAlias = Mapping[int, Sequence[int]]

_SQUARE, _HEXAGON = 4, 6  # corners of a cell


class Topology(NamedTuple):
    """The couplings of a device at a glance.

    Attributes:
        couplings: the number of coupled pairs of qubits; the two directions of a pair count once.
        bidirectional: whether every pair is coupled in both directions; None if there is no pair.
        lattice: the lattice that the pairs form, by the criterion of `lattice_of`; None if there is no pair.
    """

    couplings: int
    bidirectional: bool | None
    lattice: Lattice | None


def topology_of(directed: Collection[Pair]) -> Topology:
    """Return the topology of a device with these couplings, a pair for each direction."""
    pairs = {(min(pair), max(pair)) for pair in directed}
    if not pairs:
        return Topology(0, None, None)
    return Topology(len(pairs), len(directed) == 2 * len(pairs), lattice_of(pairs))


def lattice_of(pairs: Iterable[Pair]) -> Lattice:
    """Return the lattice of which the coupled pairs are a piece, by the shape of their graph alone.

    The graph has to be bipartite, as both lattices are. Of its independent cycles (couplings - qubits +
    connected parts), more than half have to be cells of the lattice, so that there is one: a line or a tree,
    such as a Falcon of 5 or 7 qubits, is a piece of either lattice, and counts as `other`.

    - `square`: no qubit has more than 4 neighbours, no two qubits have more than 2 in common, and a cell is a
      cycle of 4 qubits.
    - `heavy-hex`: no qubit has more than 3 neighbours, and in each connected part every second qubit has at
      most 2, as it lies on an edge of a hexagon. The others are the corners: no two of them are joined by two
      edges, or have two neighbouring corners in common, and a cell is a hexagon of 6 corners, 12 qubits.
    """
    graph = _graph(pairs)
    most = max(map(len, graph.values()), default=0)
    parts = _two_coloured(graph) if most <= _SQUARE else None
    if not parts:
        return "other"
    cycles = sum(map(len, graph.values())) // 2 - len(graph) + len(parts)
    if _is_tiled(graph, _SQUARE, cycles):
        return "square"
    corners = _corners(graph, parts) if most < _SQUARE else None
    if corners is not None and _is_tiled(corners, _HEXAGON, cycles):
        return "heavy-hex"
    return "other"


def _graph(pairs: Iterable[Pair]) -> dict[int, list[int]]:
    graph: dict[int, list[int]] = {}
    for one, other in pairs:
        graph.setdefault(one, []).append(other)
        graph.setdefault(other, []).append(one)
    return graph


def _two_coloured(graph: Neighbours) -> list[tuple[list[int], list[int]]] | None:
    """Return the qubits of each connected part in two colours; None if two neighbours have the same."""
    colour: dict[int, int] = {}
    parts = []
    for start in graph:
        if start in colour:
            continue
        colour[start] = 0
        part: tuple[list[int], list[int]] = ([start], [])
        waiting = [start]
        while waiting:
            one = waiting.pop()
            for other in graph[one]:
                if other not in colour:
                    colour[other] = 1 - colour[one]
                    part[colour[other]].append(other)
                    waiting.append(other)
                elif colour[other] == colour[one]:
                    return None
        parts.append(part)
    return parts


def _corners(graph: Neighbours, parts: Iterable[tuple[list[int], list[int]]]) -> Neighbours | None:
    """Return the graph of the hexagons' corners; None if a part has no colour for the edges."""
    joined: list[Pair] = []
    for part in parts:
        edges = next((side for side in part if all(len(graph[one]) <= 2 for one in side)), None)
        if edges is None:
            return None
        joined += [(graph[one][0], graph[one][1]) for one in edges if len(graph[one]) == 2]
    same = {frozenset(pair) for pair in joined}
    return _graph(joined) if len(same) == len(joined) else None


def _is_tiled(graph: Neighbours, corners: int, cycles: int) -> bool:
    """Return whether enough cycles of a graph are cells of so many corners, and none is too small for them.

    Opposite corners of a cell are connected by two paths of half its length. Of k paths between two corners,
    each two are a cell, and each cell has half as many pairs of opposite corners as it has corners.
    """
    in_common = _ends(graph, 2)
    if max(in_common.values(), default=0) > (2 if corners == _SQUARE else 1):
        return False
    paths = in_common if corners == _SQUARE else _ends(graph, corners // 2)
    cells = sum(count * (count - 1) // 2 for count in paths.values()) // (corners // 2)
    return cells <= cycles < 2 * cells  # more cells than independent cycles lie in no plane


def _ends(graph: Neighbours, steps: int) -> Counter[Pair]:
    """Return the number of paths of 2 or 3 steps between each two nodes, the lower number first."""
    if steps == 2:
        return Counter(
            (one, other) for near in graph.values() for one in near for other in near if one < other
        )
    return Counter(
        (min(first, last), max(first, last))
        for one, near in graph.items()
        for other in near
        if one < other
        for first in near
        if first != other
        for last in graph[other]
        if last not in (one, first)
    )
