"""Where qubits are drawn: at given positions, or so that neighbours are neighbours."""

import math
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from qrbackends import BackendConfiguration, DecodeError, InvalidRequest
from qrbackends.analysis import layout
from qrbackends.analysis.layout import Coordinate, coordinates, couplings
from qrbackends.emulator import SyntheticFleet

from ..snapshots import BOTH, real


def pairs_of(configuration: BackendConfiguration) -> set[tuple[int, int]]:
    gates = (pair for gate in configuration.gates for pair in gate.coupling_map or () if len(pair) == 2)
    return {(min(pair), max(pair)) for pair in configuration.coupling_map or gates}


def nearest(positions: tuple[Coordinate, ...]) -> float:
    return min((math.dist(a, b) for at, a in enumerate(positions) for b in positions[:at]), default=1.0)


def size(positions: tuple[Coordinate, ...]) -> tuple[float, float]:
    return max(column for column, _ in positions), max(row for _, row in positions)


@pytest.mark.parametrize("name", BOTH)
def test_every_qubit_of_every_device_has_a_position_of_its_own(name: str) -> None:
    configuration, _ = real(name)
    positions = coordinates(configuration)
    assert len(positions) == configuration.n_qubits
    assert min(column for column, _ in positions) == min(row for _, row in positions) == 0.0
    assert nearest(positions) > 0.9


def test_positions_that_are_told_are_kept() -> None:
    configuration, _ = real("boston")
    assert configuration.coords is not None
    first = configuration.coords[0]
    assert coordinates(configuration) == tuple(
        (column - first[0], row - first[1]) for column, row in configuration.coords
    )


@pytest.mark.parametrize("name", ["athens", "guadalupe", "almaden", "rochester", "washington", "torino"])
def test_computed_positions_have_neighbours_next_to_each_other(name: str) -> None:
    configuration = replace(real(name)[0], coords=None)
    positions = coordinates(configuration)
    lengths = [math.dist(positions[a], positions[b]) for a, b in pairs_of(configuration)]
    assert 0.9 < min(lengths) <= max(lengths) < 1.4
    assert nearest(positions) > 0.9, "nothing lies on top of anything else"
    across, down = size(positions)
    assert across >= down
    assert coordinates(configuration) == positions, "the same every time"


def small(count: int, *pairs: tuple[int, int]) -> BackendConfiguration:
    return BackendConfiguration("x", "1.0.0", count, (), (), coupling_map=pairs)


def test_parts_without_a_coupling_between_them_lie_side_by_side() -> None:
    positions = coordinates(small(6, (0, 1), (1, 2), (3, 4)))
    assert nearest(positions) >= 0.99
    assert len({tuple(round(x, 6) for x in position) for position in positions}) == 6
    assert max(column for column, _ in positions[:3]) < min(column for column, _ in positions[3:])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_devices_without_couplings_are_laid_out_as_well(count: int) -> None:
    assert coordinates(small(count)) == tuple((float(number), 0.0) for number in range(count))


def test_positions_that_do_not_fit_the_device_are_not_believed() -> None:
    configuration, _ = real("lima")
    for coords in ([(0, 0)], [(0,)] * 5, [(0, 0, 0)] * 5):
        odd = replace(configuration, coords=tuple(coords))
        assert coordinates(odd) == coordinates(configuration)
        assert nearest(coordinates(odd)) > 0.9


def test_couplings_to_qubits_that_do_not_exist_are_left_out() -> None:
    assert coordinates(small(2, (0, 1), (1, 7))) == ((0.0, 0.0), (1.0, 0.0))


@pytest.mark.long
def test_a_device_of_a_thousand_qubits_is_laid_out() -> None:
    fleet = SyntheticFleet({"condor": 1121})
    key = fleet.find("configuration", "condor", None, None, 1.8e9)
    assert key is not None
    configuration = replace(msgspec.json.decode(fleet.build(key), type=BackendConfiguration), coords=None)
    positions = coordinates(configuration)
    assert len(positions) == 1121
    lengths = sorted(math.dist(positions[a], positions[b]) for a, b in pairs_of(configuration))
    assert lengths[0] > 0.5
    assert lengths[-1] < 2.0


def test_without_rustworkx_it_says_what_to_install_and_told_positions_need_none() -> None:
    code = """
import sys
from typing import Any
sys.modules["rustworkx"] = sys.modules["numpy"] = None
from qrbackends import BackendConfiguration, InvalidRequest
from qrbackends.analysis.layout import coordinates
print(coordinates(BackendConfiguration("x", "1", 2, (), (), coords=((3, 1), (4, 1)))))
coordinates(BackendConfiguration("x", "1", 2, (), ()))
"""
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert outcome.stdout == "((0.0, 0.0), (1.0, 0.0))\n"
    assert 'pip install "qrbackends[graph]"' in outcome.stderr.splitlines()[-1]


def grid(columns: int, rows: int) -> BackendConfiguration:
    across = [(c + columns * r, c + 1 + columns * r) for c in range(columns - 1) for r in range(rows)]
    down = [(c + columns * r, c + columns * (r + 1)) for c in range(columns) for r in range(rows - 1)]
    return small(columns * rows, *across, *down)


def test_a_coupling_map_is_laid_out_once() -> None:
    first = coordinates(grid(4, 3))
    assert coordinates(replace(grid(4, 3), backend_name="y")) is first
    assert coordinates(grid(3, 4)) is not first


def test_a_device_of_thousands_is_approximated() -> None:
    configuration = grid(45, 30)
    positions = coordinates(configuration)
    lengths = [math.dist(positions[a], positions[b]) for a, b in pairs_of(configuration)]
    assert 0.5 < min(lengths) <= max(lengths) < 3
    assert nearest(positions[:300]) > 0.5
    across, down = size(positions)
    assert across > down
    assert coordinates(replace(configuration, backend_name="y")) == positions


def test_many_parts_cost_no_more_than_one_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    costs: list[int] = []

    def counted(hops: Any) -> list[Coordinate]:
        costs.append(len(hops) ** 3)
        return majorized(hops)

    majorized = layout._majorized
    monkeypatch.setattr(layout, "_majorized", counted)
    monkeypatch.setattr(layout, "_MAJORIZED", 30)
    starts = range(0, 200, 20)
    pairs = [(start + place, start + place + 1) for start in starts for place in range(19)]
    positions = coordinates(small(200, *pairs))
    assert 1 < len(costs) < len(starts)
    assert sum(costs) <= 30**3
    assert len(set(positions)) == 200


def test_thousands_of_parts_lie_in_rows() -> None:
    positions = coordinates(small(2000))
    assert len(set(positions)) == 2000
    across, down = size(positions)
    assert across < 200
    assert down > 10


def test_what_is_too_large_to_be_drawn_is_told() -> None:
    for count in (0, -1, 10**9):
        with pytest.raises(DecodeError, match=f"{count} qubits"):
            coordinates(small(count))
    many = ((a, b) for a in range(500) for b in range(a))
    with pytest.raises(InvalidRequest, match="124,750 couplings are too many"):
        coordinates(small(500, *many))


def test_couplings_are_between_two_qubits_of_the_device() -> None:
    odd = small(3, (-1, 2), (0, 10**18), (1, 1), (2, 0), (0, 2))
    assert couplings(odd) == {(0, 2)}
    assert len(coordinates(odd)) == 3
