"""What changed, and how stable a device is."""

from datetime import UTC, datetime, timedelta
from math import isnan
from pathlib import Path
from statistics import median, quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from qrbackends import BackendProperties, InvalidRequest
from qrbackends.analysis.archive import Archive
from qrbackends.analysis.comparison import Element, compare, stability
from qrbackends.analysis.tables import gate_rows
from qrbackends.models import Nduv
from qrbackends.models.properties import GateProperties

NOW = datetime(2026, 6, 1, tzinfo=UTC)
WHEN = "2026-06-01T00:00:00Z"


def value(name: str, number: float, unit: str = "") -> Nduv:
    return Nduv(WHEN, name, unit, number)


def device(
    t1: dict[int, float],
    errors: dict[tuple[int, int], float],
    *,
    faulty: tuple[int, ...] = (),
    at: datetime = NOW,
    name: str = "device",
) -> BackendProperties:
    qubits = tuple(
        (value("T1", t1[one], "us"), value("operational", float(one not in faulty))) for one in sorted(t1)
    )
    gates = tuple(GateProperties("cz", pair, (value("gate_error", error),)) for pair, error in errors.items())
    return BackendProperties(name, "1", at, qubits, gates, ())


def test_the_greatest_change_comes_first() -> None:
    before = device({0: 100.0, 1: 200.0}, {(0, 1): 0.01})
    after = device({0: 110.0, 1: 100.0}, {(0, 1): 0.012}, at=NOW + timedelta(hours=1))
    found = compare(before, after)
    assert [(one.gate, one.qubits, one.name) for one in found.differences] == [
        (None, (1,), "T1"),
        ("cz", (0, 1), "gate_error"),
        (None, (0,), "T1"),
    ]
    assert [one.relative for one in found.differences] == pytest.approx([-0.5, 0.2, 0.1])
    assert [one.worse for one in found.differences] == [True, True, False]
    assert (found.differences[0].before, found.differences[0].after) == pytest.approx((200e-6, 100e-6))
    assert (found.before, found.after) == (before.last_update_date, after.last_update_date)


def test_what_breaks_and_is_repaired_is_told() -> None:
    before = device({0: 1.0, 1: 1.0}, {(0, 1): 0.01, (1, 0): 1.0}, faulty=(0,))
    after = device({0: 1.0, 1: 1.0, 2: 1.0}, {(0, 1): 1.0, (1, 0): 0.01}, faulty=(1,))
    found = compare(before, after)
    assert found.broken == (Element(None, (1,)), Element("cz", (0, 1)))
    assert found.repaired == (Element(None, (0,)), Element("cz", (1, 0)))
    assert found.appeared == (Element(None, (2,)),)
    assert found.gone == ()
    assert found.differences == (), "an error of 1 is not compared"
    back = compare(after, before)
    assert (back.broken, back.repaired, back.gone) == (found.repaired, found.broken, found.appeared)


@pytest.mark.parametrize("time", [0.0, -1.6e6])
@pytest.mark.parametrize("error", [-0.5, 1.0, 3.0])
def test_values_that_no_device_can_have_are_not_compared(time: float, error: float) -> None:
    good, odd = device({0: 100.0, 1: 9.0}, {(0, 1): 0.5}), device({0: time, 1: 10.0}, {(0, 1): error})
    for before, after in ((good, odd), (odd, good)):
        assert [(one.qubits, one.name) for one in compare(before, after).differences] == [((1,), "T1")]
    assert bool(compare(good, odd).broken) is (error >= 1), "a negative error is not out of order"


def test_a_gate_whose_qubits_cannot_be_read_hides_no_other() -> None:
    before, after = device({0: 1.0, 1: 1.0}, {(0, 1): 0.5}), device({0: 1.0, 1: 1.0}, {(0, 1): 0.25})
    for qubits in (("q", 1), (0, 2**40), (-1, 0)):
        odd = replace(after, gates=(GateProperties("cz", qubits, ()), *after.gates))
        assert compare(before, odd).differences == compare(before, after).differences
        assert list(gate_rows(odd)) == list(gate_rows(after))


def test_two_devices_cannot_be_compared() -> None:
    with pytest.raises(InvalidRequest, match="one device"):
        compare(device({}, {}), device({}, {}, name="other"))


@given(st.lists(st.floats(1.0, 1000.0), min_size=1, max_size=8), st.data())
def test_there_and_back_is_the_same(times: list[float], data: st.DataObject) -> None:
    others = [data.draw(st.floats(1.0, 1000.0)) for _ in times]
    first, second = device(dict(enumerate(times)), {}), device(dict(enumerate(others)), {})
    there = {one.qubits: one for one in compare(first, second).differences}
    back = {one.qubits: one for one in compare(second, first).differences}
    assert there.keys() == back.keys()
    for qubits, difference in there.items():
        assert (1 + difference.relative) * (1 + back[qubits].relative) == pytest.approx(1.0)
        assert difference.worse != back[qubits].worse
    assert not compare(first, first).differences


def test_stability_is_median_and_quartiles_of_each_qubit(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    series = {0: [100.0, 101.0, 99.0, 100.0, 100.0], 1: [50.0, 150.0, 100.0, 70.0, 130.0]}
    for hour in range(5):
        times = {qubit: values[hour] for qubit, values in series.items()}
        archive.add(device(times, {}, at=NOW + timedelta(hours=hour)))
    archive.add(device({0: 1.0, 1: 1.0}, {}, at=NOW - timedelta(days=9)))
    archive.add(device({0: 9.0, 1: 9.0}, {}, at=NOW), calibration_id="extra_gates")
    first, second = stability(archive, "device", timedelta(days=1))
    assert (first.qubit, second.qubit) == (1, 0)
    assert first.calibrations == 5
    assert first.median == pytest.approx(median(series[1]) * 1e-6)
    lower, _, upper = quantiles(series[1], n=4)
    assert first.relative_iqr == pytest.approx((upper - lower) / median(series[1]))
    assert (first.lowest, first.highest) == pytest.approx((50e-6, 150e-6))
    archive.add(device({0: -1.6, 1: 0.0}, {}, at=NOW - timedelta(days=1, hours=1)))
    assert stability(archive, "device", timedelta(days=2)) == (first, second), "no device has such a time"
    everything = stability(archive, "device", timedelta(days=30))
    assert {one.calibrations for one in everything} == {6}
    earlier = stability(archive, "device", timedelta(days=30), until=NOW)
    assert [one.calibrations for one in earlier] == [1, 1]
    assert all(isnan(one.relative_iqr) for one in earlier), "nobody knows how stable it is"
    for shown in (repr(earlier), earlier._repr_html_()):
        assert "of one calibration only; a range takes two or more" in shown
    assert "one calibration" not in repr(everything)


@pytest.mark.parametrize(("name", "window"), [("other", timedelta(days=1)), ("device", timedelta())])
def test_nonsense_is_refused(name: str, window: timedelta, tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.add(device({0: 1.0}, {}))
    with pytest.raises(InvalidRequest):
        stability(archive, name, window)
