"""Instants on the wire, as seconds since 1970 in UTC."""

import re
from datetime import UTC, datetime, timedelta, timezone

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(\.\d+)?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)
_EPOCH = datetime(1970, 1, 1)  # naive: with an offset, the first and last days would leave its range
_LEAP = 60


def parse_instant(text: str) -> float:
    """Return the Unix time of an RFC 3339 date-time, offset included.

    Raises:
        ValueError: it is not one.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 date-time")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    leap = second == _LEAP  # a leap second is the last one of its minute, once more
    moment = datetime(year, month, day, hour, minute, second - leap)
    seconds = (moment - _EPOCH).total_seconds() + leap + float(match[7] or 0)
    if match[8] is None:
        hours, minutes = int(match[10]), int(match[11])
        if hours > 23 or minutes > 59:
            raise ValueError("the offset is out of range")
        seconds -= int(f"{match[9]}1") * (hours * 3600 + minutes * 60)
    return seconds


def with_offset(instant: float, offset_hours: int) -> str:
    """Return 25 characters, such as `2026-04-17T12:19:24+02:00`: what the service really sends."""
    zone = timezone(timedelta(hours=offset_hours))
    return datetime.fromtimestamp(int(instant), zone).isoformat()


def with_milliseconds(instant: float) -> str:
    """Return 24 characters, such as `2026-04-17T10:19:24.000Z`: a Nduv's date in the contract."""
    return datetime.fromtimestamp(int(instant), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def in_seconds(instant: float) -> str:
    """Return 20 characters, such as `2026-04-17T10:19:24Z`: the contract's last_update_date."""
    return datetime.fromtimestamp(int(instant), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
