"""The positions and the couplings of qubits, for drawing a chip.

If the service sends no positions, they are computed; this needs rustworkx
(`pip install "qrbackends[graph]"`).
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import sqrt
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..errors import InvalidRequest
from ..messages.extras import missing_extra
from ..models import BackendConfiguration
from ..models.arguments import check_document
from ..models.usable import Pair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

Coordinate: TypeAlias = tuple[float, float]
"""Column and row, in units of the distance between neighbours; rows are counted downward."""

MOST_QUBITS: Final = 10_000
MOST_COUPLINGS: Final = 100_000
"""The largest device whose positions are told or computed."""

_KEPT = 32  # layouts, each of one coupling map
_MAJORIZED = 1200  # qubits; of more, as the cost grows with the cube, the positions are approximated
_ROW = 20.0  # the least width of a row of parts
_STEPS = 100  # at most, of the majorization; that of devices converges in some 50
_PIVOTS = 50


def coordinates(configuration: BackendConfiguration) -> tuple[Coordinate, ...]:
    """Return each qubit's position; neighbours are about 1 apart, and the smallest column and row are 0.

    If the service sends `coords`, these are used, unless they cannot be a chip's: one for each qubit, at
    places of their own, which are not too far apart. Otherwise the positions are computed from the coupling
    map by stress majorization, with the weight 1/d² for two qubits that are d couplings apart (E. Gansner,
    Y. Koren and S. North, "Graph Drawing by Stress Majorization", GD 2004); those of more than 1,200
    connected qubits, or of several parts that cost as much, by pivot MDS (U. Brandes and C. Pich, GD 2006).
    The longer side is horizontal. The same device always has the same positions; they are computed once for
    each coupling map.

    Raises:
        ImportError: the positions have to be computed, and rustworkx is not installed.
        DecodeError: the document's number of qubits is no device's.
        InvalidRequest: the device has more than 10,000 qubits or 100,000 couplings.
    """
    check_document("configuration", configuration, BackendConfiguration)
    count = len(configuration.qubit_numbers)
    if count > MOST_QUBITS:
        raise InvalidRequest(
            f"a device of {count:,} qubits is too large to be drawn; {MOST_QUBITS:,} are not"
        )
    known = configuration.coords
    if known and len(known) == count and _are_places(known):
        left, top = map(min, zip(*known, strict=True))  # whole numbers: they may be far away all together
        return tuple((float(column - left), float(row - top)) for column, row in known)
    pairs = couplings(configuration)
    if len(pairs) > MOST_COUPLINGS:
        raise InvalidRequest(f"{len(pairs):,} couplings are too many to be drawn; {MOST_COUPLINGS:,} are not")
    return _computed(count, tuple(sorted(pairs)))


def couplings(configuration: BackendConfiguration) -> set[Pair]:
    """Return the coupled pairs of qubits that the device has.

    They are those of the coupling map, or of the gates where there is none.
    """
    return {(min(pair), max(pair)) for pair in configuration.directed_couplings()}


def _are_places(coords: Sequence[Sequence[int]]) -> bool:
    """Return whether these can be the places of a chip's qubits."""
    if len({tuple(place) for place in coords}) < len(coords) or any(len(place) != 2 for place in coords):
        return False
    farthest = 10 * len(coords) + 100
    return all(max(axis) - min(axis) <= farthest for axis in zip(*coords, strict=True))


def _to_origin(positions: Iterable[Coordinate]) -> tuple[Coordinate, ...]:
    found = tuple(positions)
    left, top = (min((position[axis] for position in found), default=0.0) for axis in (0, 1))
    return tuple((column - left, row - top) for column, row in found)


@lru_cache(_KEPT)
def _computed(count: int, pairs: tuple[Pair, ...]) -> tuple[Coordinate, ...]:
    """Return computed positions: each connected part is laid out by itself, and they are put in rows."""
    try:
        import rustworkx as rx
    except ImportError as error:
        raise missing_extra(
            "the positions of the qubits have to be computed, which needs rustworkx", "graph"
        ) from error
    graph = rx.PyGraph(multigraph=False)
    graph.add_nodes_from(range(count))
    graph.add_edges_from_no_data(list(pairs))
    positions: dict[int, Coordinate] = {}
    widest = max(_ROW, 3.0 * sqrt(count))
    right = top = bottom = 0.0
    left = _MAJORIZED**3
    for part in sorted(map(sorted, rx.connected_components(graph)), key=lambda part: (-len(part), part)):
        if len(part) < 3:
            laid: Sequence[Coordinate] = [(float(index), 0.0) for index in range(len(part))]
        elif len(part) ** 3 <= left:
            left -= len(part) ** 3
            laid = _to_origin(_majorized(rx.distance_matrix(graph.subgraph(part))))
        else:
            laid = _to_origin(_by_pivots({qubit: sorted(graph.neighbors(qubit)) for qubit in part}))
        width, height = (max(place[axis] for place in laid) for axis in (0, 1))
        if right and right + width > widest:
            right, top = 0.0, bottom
        positions.update(zip(part, ((column + right, row + top) for column, row in laid), strict=True))
        right, bottom = right + width + 1.0, max(bottom, top + height + 1.0)
    return tuple(positions[qubit] for qubit in range(count))


def _by_pivots(neighbours: Mapping[int, Sequence[int]]) -> list[Coordinate]:
    """Return positions of the nodes of a connected graph, from the distances to a few of them only.

    Args:
        neighbours: the neighbours of each node; positions are in its order.
    """
    import numpy as np

    order = {node: place for place, node in enumerate(neighbours)}
    hops: Any = np.empty((len(order), _PIVOTS))
    nearest: Any = np.full(len(order), np.inf)
    pivot = next(iter(order))
    for column in range(_PIVOTS):
        reached = _hops_from(pivot, neighbours)
        hops[:, column] = [reached[node] for node in order]
        nearest = np.minimum(nearest, hops[:, column])
        pivot = list(order)[int(nearest.argmax())]  # the farthest from all pivots
    squares = hops**2
    centred = squares - squares.mean(axis=0) - squares.mean(axis=1)[:, None] + squares.mean()
    _, vectors = np.linalg.eigh(centred.T @ centred)
    found = centred @ vectors[:, -2:]
    lengths = [
        np.hypot(*(found[order[one]] - found[order[other]]))
        for one, others in neighbours.items()
        for other in others
    ]
    return _upright(found / max(float(np.quantile(lengths, 0.1)), 1e-9))  # so that few circles overlap


def _hops_from(start: int, neighbours: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """Return the number of couplings on the shortest path from `start` to each node."""
    hops = {start: 0}
    waiting = deque([start])
    while waiting:
        node = waiting.popleft()
        for other in neighbours[node]:
            if other not in hops:
                hops[other] = hops[node] + 1
                waiting.append(other)
    return hops


def _majorized(hops: "Floats") -> list[Coordinate]:
    """Return positions of the nodes of a connected graph.

    Args:
        hops: the number of couplings on the shortest path between each two nodes.
    """
    import numpy as np

    weights = np.divide(1.0, hops**2, out=np.zeros_like(hops), where=hops > 0)
    laplacian = np.diag(weights.sum(axis=1)) - weights
    inverse = np.linalg.pinv(laplacian, hermitian=True)
    found = _scaled(hops)
    for _ in range(_STEPS):
        squares = (found**2).sum(axis=1)
        apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * found @ found.T, 0.0))
        pull = np.divide(weights * hops, apart, out=np.zeros_like(hops), where=apart > 0)
        moved = inverse @ ((np.diag(pull.sum(axis=1)) - pull) @ found)
        done = np.abs(moved - found).max() < 1e-4
        found = moved
        if done:
            break
    return _upright(found)


def _scaled(hops: "Floats") -> "Floats":
    """Return start positions by classical scaling of the distances (W. Torgerson, Psychometrika 17, 1952)."""
    import numpy as np

    centring = np.eye(len(hops)) - 1.0 / len(hops)
    values, vectors = np.linalg.eigh(-0.5 * centring @ hops**2 @ centring)
    return np.asarray(vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 1e-9)))


def _upright(positions: "Floats") -> list[Coordinate]:
    """Turn positions so that the longer side is horizontal, and the first qubit in the upper left part."""
    import numpy as np

    centred = positions - positions.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    turned = centred @ axes[:, ::-1]
    signs = np.where(turned[0] > 0, -1.0, 1.0)
    return [(float(column), float(row)) for column, row in turned * signs]


__all__ = ["coordinates", "couplings"]
