"""Heavy-hex and square lattices."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qrbackends.emulator.devices.fleets import wheel_directory
from qrbackends.emulator.devices.lattice import Lattice, Shape, lattice

MOST: dict[Shape, int] = {"heavy-hex": 3, "square": 4}


def reached(built: Lattice) -> set[int]:
    """The qubits that hang together with qubit 0."""
    neighbours: dict[int, set[int]] = {}
    for a, b in built.edges:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    seen, waiting = {0}, [0]
    while waiting:
        fresh = neighbours[waiting.pop()] - seen
        seen |= fresh
        waiting += fresh
    return seen


@given(st.sampled_from(("heavy-hex", "square")), st.integers(2, 700))
def test_a_lattice_of_any_size_is_connected_and_nowhere_too_dense(shape: Shape, qubits: int) -> None:
    built = lattice(shape, qubits)
    assert len(built.cells) == len(set(built.cells)) == qubits
    assert reached(built) == set(range(qubits))
    degrees = Counter(qubit for edge in built.edges for qubit in edge)
    assert max(degrees.values()) <= MOST[shape]
    assert all(a < b for a, b in built.edges)
    assert list(built.edges) == sorted(set(built.edges))


@given(st.integers(2, 700))
def test_in_heavy_hex_every_coupling_has_an_end_with_at_most_two(qubits: int) -> None:
    built = lattice("heavy-hex", qubits)
    degrees = Counter(qubit for edge in built.edges for qubit in edge)
    assert all(min(degrees[a], degrees[b]) <= 2 for a, b in built.edges)


@pytest.mark.parametrize("shape", ["heavy-hex", "square"])
def test_thousands_of_qubits(shape: Shape) -> None:
    built = lattice(shape, 4000)
    assert len(built.cells) == 4000
    rows, columns = (max(cell[axis] for cell in built.cells) for axis in (0, 1))
    assert 0.5 < rows / columns < 2  # about as wide as high


@pytest.mark.parametrize(
    ("snapshot", "shape"),
    [("brisbane", "heavy-hex"), ("torino", "heavy-hex"), ("boston", "heavy-hex"), ("miami", "square")],
)
def test_the_real_sizes_are_the_real_lattices(snapshot: str, shape: Shape) -> None:
    real = msgspec.json.decode((wheel_directory() / snapshot / f"conf_{snapshot}.json").read_bytes())
    built = lattice(shape, real["n_qubits"])
    assert set(built.edges) == {tuple(sorted(edge)) for edge in real["coupling_map"]}
    assert real["coords"] == [[column + 1, row + 1] for row, column in built.cells]


def test_27_qubits_are_falcons_two_hexagons() -> None:
    real = msgspec.json.decode((wheel_directory() / "hanoi" / "conf_hanoi.json").read_bytes())
    built = lattice("heavy-hex", 27)
    edges = {tuple(sorted(edge)) for edge in real["coupling_map"]}
    assert signature(built.edges) == signature(tuple(sorted(edges)))


def signature(edges: tuple[tuple[int, ...], ...]) -> Counter[tuple[int, ...]]:
    """How often each constellation of degrees occurs around a qubit: equal for equal lattices."""
    degrees = Counter(qubit for edge in edges for qubit in edge)
    around = {q: sorted(degrees[o] for e in edges if q in e for o in e if o != q) for q in degrees}
    return Counter((degrees[qubit], *others) for qubit, others in around.items())


@pytest.mark.parametrize("qubits", [-1, 0, 1])
def test_fewer_than_two_qubits_are_no_lattice(qubits: int) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        lattice("square", qubits)
