"""The last hours of a fleet: bounded, and the older the coarser."""

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from qrbackends.fleet.recent import RecentHistory
from qrbackends.models import summary

from ..snapshots import real

BEGIN = datetime(2026, 6, 1, tzinfo=UTC)
PLACE = ("us-east", "ibm_boston")


def test_a_queue_is_kept_for_hours_in_few_samples_of_which_the_newest_are_whole() -> None:
    history = RecentHistory()
    for step in range(2_000):  # some 16 hours, a poll every 30 seconds
        history.add_queue(PLACE, BEGIN + timedelta(seconds=30 * step), step)
    samples = history.queue(PLACE)
    assert len(samples) <= 120
    assert [jobs for _, jobs in samples[-50:]] == list(range(1_950, 2_000))
    assert samples == tuple(sorted(samples))
    assert samples[-1][0] - samples[0][0] > 3 * 3600
    history.add_queue(PLACE, BEGIN + timedelta(days=1), 1_999)
    assert history.queue(PLACE) == samples, "what has not changed takes no place"
    history.forget(PLACE)
    assert history.queue(PLACE) == ()


def test_each_calibration_is_kept_once_and_only_the_last_ones() -> None:
    history = RecentHistory()
    found = summary(*real("boston"))
    for hour in range(100):
        calibrated = replace(found, calibrated_at=BEGIN + timedelta(hours=hour))
        for _ in range(2):
            history.add_calibration(PLACE, calibrated)
    known = history.calibrations(PLACE)
    assert [one.at for one in known] == [BEGIN + timedelta(hours=hour) for hour in range(52, 100)]
    assert found.t1 is not None
    assert found.two_qubit_error is not None
    assert (known[0].t1, known[0].two_qubit_error) == (found.t1.median, found.two_qubit_error.median)
