"""Instants on the wire."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qrbackends.emulator.devices.dates import in_seconds, parse_instant, with_milliseconds, with_offset

OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1971, 1, 1), datetime(9998, 1, 1), timezones=OFFSETS))
def test_every_rfc3339_date_time_is_read(moment: datetime) -> None:
    assert parse_instant(moment.isoformat()) == pytest.approx(moment.timestamp(), abs=1e-3)
    assert parse_instant(moment.isoformat(" ").replace("+00:00", "z")) == parse_instant(moment.isoformat())


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("1970-01-01T02:00:00+02:00", 0.0),
        ("1970-01-01t00:00:00.25z", 0.25),
        ("1969-12-31T23:59:60Z", 0.0),
        ("0001-01-01T00:00:00+23:59", -62135596800.0 - 86340),
        ("9999-12-31T23:59:59-23:59", 253402300799.0 + 86340),
    ],
)
def test_the_edges_of_what_can_be_said(text: str, instant: float) -> None:
    assert parse_instant(text) == instant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-04-17",
        "2026-04-17T12:19:24",
        "2026-04-17T12:19:24 02:00",
        "2026-04-17T12:19:24+0200",
        "2026-04-17T12:19:24+24:00",
        "2026-04-17T12:19:24+00:60",
        "2026-02-30T12:19:24Z",
        "2026-04-17T24:00:00Z",
        "2026-04-17T12:19:61Z",
        "0000-01-01T00:00:00Z",
        "2026-04-17T12:19:24Z\n",
        "２026-04-17T12:19:24Z",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_instant(text)


@given(st.integers(0, 4_000_000_000), st.integers(-12, 14))
def test_the_three_forms_have_the_lengths_that_they_should_and_come_back(instant: int, hours: int) -> None:
    texts = {25: with_offset(instant, hours), 24: with_milliseconds(instant), 20: in_seconds(instant)}
    assert {length: len(text) for length, text in texts.items()} == {25: 25, 24: 24, 20: 20}
    assert {parse_instant(text) for text in texts.values()} == {float(instant)}
    assert datetime.fromisoformat(texts[20]) == datetime.fromtimestamp(instant, UTC)
