"""The headers of requests, and the dates and times in the headers of answers. No I/O."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from multidict import CIMultiDict, istr

from .._version import __version__
from ..accounts.secret import Secret
from .requests import API_VERSION

USER_AGENT: Final = f"qrbackends/{__version__}"
EMULATED: Final = "X-Emulated"
"""The header by which an answer says that it is an emulator's, and not the service's."""

DATE: Final = istr("Date")
"""The header with the time of an answer; as an `istr`, which is found faster than a `str`."""

_MAX_RETRY_AFTER = 86400.0  # seconds


class Headers(CIMultiDict[str]):
    """Headers whose repr hides the credential, because debuggers and crash reports print it.

    They are of aiohttp's own kind, which it need not make of others for each request.
    """

    def __repr__(self) -> str:
        return repr({name: "***" if name == "Authorization" else self[name] for name in self})


def headers(authorization: Secret, crn: str, api_version: str = API_VERSION) -> Headers:
    """Return a request's own headers, besides those that the pool gives to all requests.

    Args:
        authorization: the whole value of its header, such as `Bearer …`.
        crn: the instance's CRN.
        api_version: the version of the API; empty to name none.
    """
    made = Headers({"Authorization": authorization.reveal(), "Service-CRN": crn})
    if api_version:
        made["IBM-API-Version"] = api_version
    return made


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a `Retry-After` header asks for; None if it is missing or cannot be read.

    Both forms of RFC 9110, section 10.2.3, are read: seconds, and an HTTP date. A date is counted from the
    answer's own `Date` header if there is one, because our clock may differ from the service's. The result
    is at most one day.
    """
    value = headers.get("Retry-After", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdecimal():
        return min(float(value), _MAX_RETRY_AFTER)
    until = http_date(value)
    if until is None:
        return None
    since = http_date(headers.get(DATE, "")) or datetime.now(UTC)
    return min(max(0.0, (until - since).total_seconds()), _MAX_RETRY_AFTER)


def http_date(text: str) -> datetime | None:
    """Return the instant of an HTTP date in UTC, or None if the text is not an HTTP date."""
    try:
        when = parsedate_to_datetime(text)
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError):
        return None
