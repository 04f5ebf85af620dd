"""The couplings at a glance: of every real device, of the emulator's, and of graphs that are no lattice."""

from collections import Counter
from itertools import combinations, product

import msgspec
import pytest

from qrbackends import BackendConfiguration, summary
from qrbackends.emulator import SyntheticFleet
from qrbackends.emulator.devices.lattice import Shape, lattice
from qrbackends.models import Topology
from qrbackends.models.configuration import GateConfig
from qrbackends.models.topology import lattice_of

from ..snapshots import CONFIGURATIONS

Pairs = list[tuple[int, int]]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_real_device(name: str) -> None:
    configuration = msgspec.json.decode(CONFIGURATIONS[name].read_bytes(), type=BackendConfiguration)
    found = configuration.topology
    directed = {tuple(pair) for pair in configuration.coupling_map or ()}
    assert found.couplings == len({frozenset(pair) for pair in directed})
    both = {(b, a) for a, b in directed} == directed
    assert found.bidirectional == (both if directed else None)
    whole = summary(configuration)
    assert (whole.couplings, whole.bidirectional, whole.lattice) == found
    family = str(configuration.processor_type)
    if family.startswith("Nighthawk") or name == "melbourne":
        assert found.lattice == "square"
    elif configuration.n_qubits in (16, 27, 28, 33, 53, 65, 127, 133, 156):  # from Falcon to Heron
        assert found.lattice == "heavy-hex"
    else:  # 20 qubits with couplings of their own, and 5 or 7 without a cell
        assert found.lattice == ("other" if directed else None)


def test_how_many_real_devices_have_which_lattice() -> None:
    found = Counter(
        msgspec.json.decode(path.read_bytes(), type=BackendConfiguration).topology.lattice
        for path in CONFIGURATIONS.values()
    )
    assert found == {"heavy-hex": 36, "square": 4, "other": 27, None: 1}


@pytest.mark.parametrize("shape", ["heavy-hex", "square"])
@pytest.mark.parametrize("qubits", [4, 12, 13, 16, 27, 65, 120, 127, 133, 156, 433, 1121])
def test_what_the_emulator_makes_is_recognized_as_soon_as_it_has_a_cell(shape: Shape, qubits: int) -> None:
    edges = lattice(shape, qubits).edges
    assert lattice_of(edges) == (shape if qubits >= 12 or shape == "square" else "other")


def test_the_synthetic_fleet() -> None:
    fleet = SyntheticFleet()
    for name in fleet.names:
        key = fleet.find("configuration", name, None, None, 1.8e9)
        assert key is not None
        configuration = msgspec.json.decode(fleet.build(key), type=BackendConfiguration)
        shape: Shape = "square" if "nighthawk" in name else "heavy-hex"
        edges = lattice(shape, configuration.n_qubits).edges
        one_way = any(family in name for family in ("eagle",))
        assert configuration.topology == Topology(len(edges), not one_way, shape)


def ring(count: int) -> Pairs:
    return [(one, (one + 1) % count) for one in range(count)]


def halved(pairs: Pairs) -> Pairs:
    """Return a graph with a qubit on each edge."""
    return [(one, 10_000 + number) for number, pair in enumerate(pairs) for one in pair]


def grid(columns: int, rows: int) -> Pairs:
    across = [(c + columns * r, c + 1 + columns * r) for c in range(columns - 1) for r in range(rows)]
    return across + [
        (c + columns * r, c + columns * (r + 1)) for c in range(columns) for r in range(rows - 1)
    ]


HYPERCUBE = [
    (a, b) for a, b in combinations(range(16), 2) if (a ^ b).bit_count() == 1
]  # every qubit has 4 neighbours, and the graph lies in no plane


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        pytest.param([(0, 1)], "other", id="a pair"),
        pytest.param(ring(3), "other", id="triangle"),
        pytest.param(ring(4), "square", id="one square"),
        pytest.param(ring(5), "other", id="pentagon"),
        pytest.param(ring(6), "other", id="hexagon"),
        pytest.param(ring(12), "heavy-hex", id="one cell of heavy-hex"),
        pytest.param(ring(14), "other", id="a ring"),
        pytest.param(grid(2, 2), "square", id="2 by 2"),
        pytest.param(grid(7, 2), "square", id="ladder"),
        pytest.param(grid(9, 9), "square", id="9 by 9"),
        pytest.param([*grid(4, 4), (0, 5)], "other", id="a diagonal"),
        pytest.param(halved(grid(4, 4)), "other", id="heavy square"),
        pytest.param(halved(grid(4, 2)), "other", id="heavy ladder"),
        pytest.param(halved(ring(6)), "heavy-hex", id="heavy hexagon"),
        pytest.param(list(product(range(3), range(3, 6))), "other", id="all with all of two groups"),
        pytest.param(list(combinations(range(5), 2)), "other", id="all with all"),
        pytest.param([(0, one) for one in range(1, 5)], "other", id="star"),
        pytest.param([(0, one) for one in range(1, 5_000)], "other", id="large star"),
        pytest.param(HYPERCUBE, "other", id="hypercube"),
        pytest.param([*ring(12), *((a + 20, b + 20) for a, b in ring(12))], "heavy-hex", id="two parts"),
        pytest.param([*ring(12), *((a + 20, b + 20) for a, b in ring(4))], "other", id="two lattices"),
    ],
)
def test_shapes(pairs: Pairs, expected: str) -> None:
    assert lattice_of(pairs) == expected
    assert lattice_of([(b, a) for a, b in reversed(pairs)]) == expected, "in any order"


def test_pairs_are_counted_once_and_odd_ones_not_at_all() -> None:
    def device(*pairs: tuple[int, ...]) -> Topology:
        return BackendConfiguration("x", "1", 3, (), (), coupling_map=pairs).topology

    assert device((0, 1), (1, 0), (1, 2)) == Topology(2, False, "other")
    assert device((0, 1), (1, 0), (1, 0)) == Topology(1, True, "other")
    assert device((1, 1), (0, 3), (-1, 0), (0,), (0, 1, 2), (2, 10**18)) == Topology(0, None, None)
    gates = (GateConfig("cx", coupling_map=((0, 1),)), GateConfig("cz", coupling_map=((1, 0), (2,))))
    assert BackendConfiguration("x", "1", 3, (), gates).topology == Topology(1, True, "other")
    assert BackendConfiguration("x", "1", 10**15, (), gates).topology.couplings == 1
