"""Reading and writing the dates of requests and documents; instants are Unix seconds."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(\.\d+)?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)
_EPOCH = datetime(1970, 1, 1)  # naive: aware datetimes could overflow in the years 1 and 9999
_LEAP = 60


def parse_instant(text: str) -> float:
    """Return the Unix time of an RFC 3339 date-time, in seconds.

    Raises:
        ValueError: the text is not an RFC 3339 date-time.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 date-time")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    leap = second == _LEAP  # it counts as the second after the 59th
    moment = datetime(year, month, day, hour, minute, second - leap)
    seconds = (moment - _EPOCH).total_seconds() + leap + float(match[7] or 0)
    if match[8] is None:
        hours, minutes = int(match[10]), int(match[11])
        if hours > 23 or minutes > 59:
            raise ValueError("the offset is out of range")
        seconds -= int(f"{match[9]}1") * (hours * 3600 + minutes * 60)
    return seconds


def with_offset(instant: float, offset_hours: int) -> str:
    """Return an instant as the service sends it, such as `2026-04-17T12:19:24+02:00`."""
    moment = datetime.fromtimestamp(int(instant), UTC)
    return in_zone(moment, timezone(timedelta(hours=offset_hours))).isoformat()


def in_zone(moment: datetime, zone: tzinfo | None) -> datetime:
    """Return a moment in a time zone; in UTC if there is none, or the moment's year there is beyond 9999."""
    try:
        return moment.astimezone(zone or UTC)
    except OverflowError:
        return moment.astimezone(UTC)


def with_milliseconds(instant: float) -> str:
    """Return an instant as the contract has it in a Nduv, such as `2026-04-17T10:19:24.000Z`."""
    return datetime.fromtimestamp(int(instant), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def in_seconds(instant: float) -> str:
    """Return an instant as the contract's last_update_date has it, such as `2026-04-17T10:19:24Z`."""
    return datetime.fromtimestamp(int(instant), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
