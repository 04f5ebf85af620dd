"""How values wander."""

from random import Random
from statistics import fmean, pstdev

from hypothesis import given
from hypothesis import strategies as st

from qrbackends.emulator.devices.walk import Walk

HOURS = st.integers(0, 1_000_000)


@given(st.integers(), HOURS, st.integers(1, 48))
def test_a_walk_is_a_function_of_seed_and_hour(seed: int, hour: int, cadence: int) -> None:
    walk, again = Walk(Random(seed), cadence), Walk(Random(seed), cadence)
    walk.at(hour + 1000)  # no hour depends on what was asked before
    assert walk.at(hour) == again.at(hour)


@given(st.integers(), HOURS, st.integers(1, 48))
def test_between_two_measurements_nothing_changes(seed: int, hour: int, cadence: int) -> None:
    walk = Walk(Random(seed), cadence)
    measured = walk.measured(hour)
    assert hour - cadence < measured <= hour
    assert {walk.at(between) for between in range(measured, hour + 1)} == {walk.at(hour)}


def test_walks_are_spread_as_a_standard_normal_and_revert_to_their_own_mean() -> None:
    random = Random(1)
    walks = [Walk(random, 1) for _ in range(3000)]
    now = [walk.at(490_000) for walk in walks]
    assert abs(fmean(now)) < 0.06
    assert 0.94 < pstdev(now) < 1.06
    later = [walk.at(490_000 + 24 * 365) for walk in walks]
    changes = [after - before for before, after in zip(now, later, strict=True)]
    assert 0.3 < pstdev(changes) < 0.8  # a year later a good qubit is still a good qubit
    assert len({round(walks[0].at(hour), 12) for hour in range(490_000, 490_500)}) == 500
