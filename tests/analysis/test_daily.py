"""The figures of a device day by day: of each day the newest calibration, by the rules of all medians."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from qrbackends import BackendProperties
from qrbackends.analysis.archive import Archive
from qrbackends.analysis.daily import daily_figures
from qrbackends.models import Nduv, summary

from ..snapshots import real

HERE, THERE = "https://here.test/api/v1", "https://there.test/api/v1"
FIRST = datetime(2026, 5, 30, tzinfo=UTC)
DAY = timedelta(days=1)


def with_t1(properties: BackendProperties, at: datetime, factor: float) -> BackendProperties:
    """Return a calibration of another instant with longer times."""
    qubits = tuple(
        tuple(replace(one, value=factor * one.value) if one.name == "T1" else one for one in qubit)
        for qubit in properties.qubits
    )
    return replace(properties, qubits=qubits, last_update_date=at)


@pytest.mark.parametrize("name", ["torino", "kyoto", "lima"])  # faulty qubits; no coupling works; five qubits
def test_of_each_day_the_newest_calibration_counts_as_the_board_shows_it(name: str, tmp_path: Path) -> None:
    properties = replace(real(name)[1], backend_name="ibm_x")
    newest = with_t1(properties, FIRST + timedelta(hours=23, minutes=59), 3.0)
    archive = Archive(tmp_path)
    archive.add(with_t1(properties, FIRST, 2.0), origin=HERE)
    archive.add(newest, origin=HERE)
    archive.add(with_t1(properties, FIRST + 3 * DAY, 1.0), origin=HERE)  # in June, another file
    archive.add(with_t1(properties, FIRST + 2 * DAY, 5.0), origin=HERE, calibration_id="variant")
    archive.add(with_t1(properties, FIRST - DAY, 5.0), origin=HERE)
    archive.add(with_t1(properties, FIRST + 4 * DAY, 9.0), origin=THERE)
    archive.add(replace(properties, backend_name="other", last_update_date=FIRST + DAY), origin=HERE)
    found = daily_figures(archive, "ibm_x", FIRST, FIRST + 5 * DAY, HERE)
    assert [one.at for one in found.days] == [newest.last_update_date, FIRST + 3 * DAY]
    assert (found.origin, found.emulated) == (HERE, False)
    shown = summary(properties=newest)
    for figure in ("t1", "t2", "readout_error", "two_qubit_error"):
        spread, three = getattr(shown, figure), getattr(found.days[0], figure)
        assert (spread is None) is (three is None)
        if three is not None:
            assert three.median == pytest.approx(spread.median, rel=1e-12)
            assert three.lower <= three.median <= three.upper
    elsewhere = daily_figures(archive, "ibm_x", FIRST, FIRST + 5 * DAY, "https://nowhere.test")
    assert (elsewhere.origin, [one.at for one in elsewhere.days]) == (THERE, [FIRST + 4 * DAY])
    assert daily_figures(archive, "nothing", FIRST, FIRST + DAY, HERE).days == ()
    assert daily_figures(Archive(tmp_path / "none"), "ibm_x", FIRST, FIRST + DAY, HERE).days == ()


def test_qubits_of_any_numbers_take_no_room(tmp_path: Path) -> None:
    _, properties = real("lima")
    archive = Archive(tmp_path)
    one = (Nduv("", "T1", "us", 70.0), Nduv("", "operational", "", 1.0))
    archive.add(replace(properties, qubits=((), one), gates=(), general=(), last_update_date=FIRST))
    table = archive.scan().to_table()
    far = table.set_column(table.schema.get_field_index("qubits"), "qubits", [[[2**31 - 1]] * len(table)])

    class Odd(Archive):
        def batches(self, columns: object = None, **_: object) -> object:  # type: ignore[override]
            return iter(far.to_batches())

    (day,) = daily_figures(Odd(tmp_path), "x", FIRST, FIRST + DAY, "").days
    assert day.t1 == pytest.approx((7e-5,) * 3)
    assert day.two_qubit_error is None
