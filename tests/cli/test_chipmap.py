"""The small map of a chip."""

import pytest

from qrbackends import Client
from qrbackends.analysis.layout import Coordinate, coordinates
from qrbackends.cli.chipmap import BOTH, FAULTY, ONLY_LINE, ONLY_SET, OTHER, chip_map
from qrbackends.emulator import Emulator

GRID: list[Coordinate] = [(float(column), float(row)) for row in range(3) for column in range(4)]


def test_marks_and_the_couplings_along_a_row() -> None:
    marks = [OTHER] * 12
    marks[0], marks[1], marks[2], marks[6], marks[11] = BOTH, BOTH, ONLY_SET, ONLY_LINE, FAULTY
    lines = chip_map(GRID, marks, [(1, 0), (1, 2), (2, 6)], 80)
    assert [line.plain for line in lines] == [
        "●─●─◆ ·",
        "· · ◇ ·",
        "· · · ×",
        "● set and line  ◆ set  ◇ line  × faulty  · other",
    ]
    assert chip_map(GRID, marks, [], 7)[0].plain == "● ● ◆ ·"


def test_of_a_chip_that_is_too_large_the_chosen_part_is_shown() -> None:
    places: list[Coordinate] = [(float(column), float(row)) for row in range(60) for column in range(60)]
    marks = [OTHER] * 3600
    marks[60 * 30 + 30] = marks[60 * 30 + 31] = BOTH
    lines = [line.plain for line in chip_map(places, marks, [(1830, 1831)], 60)]
    assert lines[:-1] == ["· · · · · ·"] * 2 + ["· · ●─● · ·"] + ["· · · · · ·"] * 2
    marks[0] = marks[-1] = ONLY_SET
    assert chip_map(places, marks, [], 60) == [], "wherever it is cut, something that is chosen is missing"


@pytest.mark.parametrize(("column", "row"), [(0.0, 0.0), (0.4, 0.0), (0.3, 0.3)])
def test_computed_positions_are_spread_until_no_two_qubits_share_a_place(column: float, row: float) -> None:
    places: list[Coordinate] = [(0.0, 0.0), (column or 1.0, row), (2.0, 1.0)]
    lines = chip_map(places, [BOTH] * 3, [], 80)
    assert sum(line.plain.count("●") for line in lines[:-1]) == 3


@pytest.mark.anyio
async def test_every_real_chip_has_a_map(real_emulator: Emulator) -> None:
    async with Client(real_emulator.account()) as client:
        for name in ("ibm_boston", "ibm_berlin", "ibm_prague", "ibmq_rochester", "ibmq_manhattan"):
            places = coordinates(await client.configuration(name))
            lines = chip_map(places, [BOTH] * len(places), [], 120)
            assert sum(line.plain.count("●") for line in lines[:-1]) == len(places), name
