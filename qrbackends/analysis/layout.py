"""The positions of qubits and the errors of their pairs, for drawing a chip.

If the service sends no positions, they are computed; this needs rustworkx
(`pip install "qrbackends[graph]"`).
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from ..errors import InvalidRequest
from ..models import BackendConfiguration, BackendProperties

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

Coordinate: TypeAlias = tuple[float, float]
"""Column and row, in units of the distance between neighbours; rows are counted downward."""

Pair: TypeAlias = tuple[int, int]
"""Two coupled qubits, the lower number first."""

_SPREAD = 10  # columns or rows per qubit; positions that are further apart are not believed
_MOST_DRAWN = 10_000  # qubits; a page of them has some MB
_MOST_COMPUTED = 2_000  # connected qubits: 7 s, which grow with the cube
_STEPS = 300  # at most, of the majorization; it converges sooner


def coordinates(configuration: BackendConfiguration) -> tuple[Coordinate, ...]:
    """Return each qubit's position; neighbours are about 1 apart, and the smallest column and row are 0.

    If the service sends `coords`, these are used. Otherwise the positions are computed from the coupling
    map by stress majorization, with the weight 1/d² for two qubits that are d couplings apart (E. Gansner,
    Y. Koren and S. North, "Graph Drawing by Stress Majorization", GD 2004); the longer side is horizontal.
    The same device always has the same positions.

    Raises:
        ImportError: the positions have to be computed, and rustworkx is not installed.
        DecodeError: the document's number of qubits is no device's.
        InvalidRequest: the device has more than 10,000 qubits, or more than 2,000 that are connected and
            without positions.
    """
    count = len(configuration.qubit_numbers)
    if count > _MOST_DRAWN:
        raise _too_many(configuration, _MOST_DRAWN)
    known = configuration.coords
    if known and len(known) == count and all(len(one) == 2 for one in known):
        told = _to_origin((float(column), float(row)) for column, row in known)
        if max(map(max, told)) <= _SPREAD * count:
            return told
    return _computed(configuration)


def pair_errors(properties: BackendProperties) -> tuple[dict[Pair, float], set[Pair]]:
    """Return the error of the native two-qubit gate on each pair, and the pairs on which it does not work.

    If a gate is given for both directions of a pair, the smaller error counts. An error of 1 or more marks
    a gate that does not work.

    Returns:
        The errors, which are probabilities, and the pairs without a direction that works.

    Raises:
        DecodeError: a unit is not known, or a gate's qubit is not a number.
    """
    errors: dict[Pair, float] = {}
    broken: set[Pair] = set()
    for gate in properties.gates:
        if gate.gate == properties.native_entangler and len(gate.on) == 2:
            pair = (min(gate.on), max(gate.on))
            found = gate.parameter("gate_error")
            if gate.operational and found is not None and found.si < 1:
                errors[pair] = min(found.si, errors.get(pair, 1.0))
            else:
                broken.add(pair)
    return errors, broken - errors.keys()


def _to_origin(positions: Iterable[Coordinate]) -> tuple[Coordinate, ...]:
    found = tuple(positions)
    left, top = (min((position[axis] for position in found), default=0.0) for axis in (0, 1))
    return tuple((column - left, row - top) for column, row in found)


def _too_many(configuration: BackendConfiguration, most: int) -> InvalidRequest:
    problem = f"a device of more than {most} qubits is not drawn"
    return InvalidRequest(problem).about(backend=configuration.backend_name)


def _computed(configuration: BackendConfiguration) -> tuple[Coordinate, ...]:
    """Return computed positions: each connected part is laid out by itself, and put beside the others."""
    try:
        import rustworkx as rx
    except ImportError as error:
        raise ImportError(
            "the positions of the qubits have to be computed, which needs rustworkx: "
            'pip install "qrbackends[graph]"'
        ) from error
    graph = rx.PyGraph(multigraph=False)
    graph.add_nodes_from(configuration.qubit_numbers)
    graph.add_edges_from_no_data([pair for pair in _pairs(configuration) if max(pair) < len(graph)])
    positions: dict[int, Coordinate] = {}
    right = 0.0
    parts = sorted(map(sorted, rx.connected_components(graph)), key=lambda part: (-len(part), part))
    if len(parts[0]) > _MOST_COMPUTED:
        raise _too_many(configuration, _MOST_COMPUTED)
    for part in parts:
        laid = _to_origin(_laid_out(rx.distance_matrix(graph.subgraph(part))))
        positions.update(zip(part, ((column + right, row) for column, row in laid), strict=True))
        right += 1.0 + max(column for column, _ in laid)
    return tuple(positions[qubit] for qubit in configuration.qubit_numbers)


def _pairs(configuration: BackendConfiguration) -> set[tuple[int, int]]:
    known = configuration.coupling_map or [
        pair for gate in configuration.gates for pair in gate.coupling_map or () if len(pair) == 2
    ]
    return {(min(pair), max(pair)) for pair in known if len(pair) == 2 and min(pair) >= 0}


def _laid_out(hops: "Floats") -> list[Coordinate]:
    """Return positions of the nodes of a connected graph.

    Args:
        hops: the number of couplings on the shortest path between each two nodes.
    """
    import numpy as np

    if len(hops) < 3:
        return [(float(index), 0.0) for index in range(len(hops))]
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
    return [(float(column), float(row)) for column, row in _upright(found)]


def _scaled(hops: "Floats") -> "Floats":
    """Return start positions by classical scaling of the distances (W. Torgerson, Psychometrika 17, 1952)."""
    import numpy as np

    centring = np.eye(len(hops)) - 1.0 / len(hops)
    values, vectors = np.linalg.eigh(-0.5 * centring @ hops**2 @ centring)
    return np.asarray(vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 1e-9)))


def _upright(positions: "Floats") -> "Floats":
    """Turn positions so that the longer side is horizontal, and the first qubit in the upper left part."""
    import numpy as np

    centred = positions - positions.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    turned = centred @ axes[:, ::-1]
    signs = np.where(turned[0] > 0, -1.0, 1.0)
    return np.asarray(turned * signs)
