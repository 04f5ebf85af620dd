"""Replies: from cache entries and errors to status, headers and bytes."""

from collections.abc import Mapping
from math import ceil
from typing import Any, Final, NamedTuple

from ..cache.entry import Entry
from ..cache.entry import Source as Tier
from ..errors import (
    AccountError,
    CircuitOpen,
    ClientClosed,
    DecodeError,
    InvalidRequest,
    QRBackendsError,
    ResponseError,
    Timeout,
    Unauthorized,
)
from ..protocol.headers import EMULATED
from ..protocol.validators import names_tag
from ..surface.wire import Answer, Errors
from ..tasks.loops import off_loop
from ..transport.body import Wire
from .documents import KeptDocument

SERVER: Final = {"Server": "qrbackends"}
"""The header that every reply of the gateway has."""

JSON: Final = "application/json"
_NAME: Final = "qrbackends"  # of this cache in Cache-Status (RFC 9211)
_GZIP: Final = ("gzip", "x-gzip")
_NOTHING: Final = Wire(b"")
_LEAST_PAUSE: Final = 1  # seconds in Retry-After


class Reply(NamedTuple):
    """What is sent to a caller.

    Attributes:
        status: the HTTP status.
        headers: all headers but those that every reply of a server has.
        body: the bytes.
        told: how the cache answered, for the log and the metrics: `hit`, `stale`, `miss`, `collapsed`,
            `shared`, `list` or `error`; empty where it was not asked.
        age: seconds since the service gave the answer; None where there is none.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    told: str = ""
    age: float | None = None


async def from_entry(
    entry: Entry, now: float, told: str, takes_gzip: bool, condition: str, limit: int
) -> Reply:
    """Return the reply with an entry's body, or 304 where the caller has it.

    Args:
        entry: an entry with a `KeptDocument`.
        now: the time by the memory's clock.
        told: how the cache answered.
        takes_gzip: whether the caller accepts gzip.
        condition: the request's `If-None-Match`; empty for none.
        limit: the most bytes of the body, decompressed.
    """
    reply = at_once(entry, now, told, takes_gzip, condition)
    if reply is not None:
        return reply
    wire = entry.wire or _NOTHING
    body = await off_loop(len(wire.data), lambda: wire.plain(limit))
    return Reply(200, _headers(entry, now, told), body, told, max(0.0, now - entry.stored_at))


def at_once(entry: Entry, now: float, told: str, takes_gzip: bool, condition: str) -> Reply | None:
    """Return the reply with an entry's bytes as they are kept; None if they have to be decompressed."""
    headers = _headers(entry, now, told)
    age = max(0.0, now - entry.stored_at)
    if condition and names_tag(condition, headers["ETag"]):
        del headers["Content-Type"]
        return Reply(304, headers, b"", told, age)
    wire = entry.wire or _NOTHING
    if not wire.encoding:
        return Reply(200, headers, wire.data, told, age)
    if takes_gzip and wire.encoding in _GZIP:
        headers["Content-Encoding"] = "gzip"
        return Reply(200, headers, wire.data, told, age)
    return None


def _headers(entry: Entry, now: float, told: str) -> dict[str, str]:
    document: KeptDocument = entry.value
    left = entry.fresh_until - now
    age = max(0, int(now - entry.stored_at))
    # Like Age, max-age is counted from the service's own answer: RFC 9111, sections 4.2.1 and 5.1.
    fresh = f"max-age={int(entry.fresh_until - entry.stored_at)}" if left >= 1 else "no-cache"
    headers = {
        "Content-Type": JSON,
        "ETag": document.etag,
        "Age": str(age),
        "Cache-Control": f"private, {fresh}",
        "Cache-Status": cache_status(told, ttl=int(left)),
        "Vary": "Accept-Encoding",
    }
    if document.emulated:
        headers[EMULATED] = _NAME
    return headers


def cache_status(told: str, *, ttl: int | None = None, status: int | None = None) -> str:
    """Return the value of `Cache-Status` (RFC 9211).

    Args:
        told: how the cache answered.
        ttl: seconds for which the answer stays fresh; negative since when it is stale.
        status: the status that the service answered with, if that was an error.
    """
    if told in ("hit", "stale"):
        value = f"{_NAME}; hit"
    elif told in ("shared", "list"):
        value = f"{_NAME}; hit; detail={told}"
    elif told == "collapsed":
        value = f"{_NAME}; fwd=miss; collapsed"
    elif told == "bypass":
        value = f"{_NAME}; fwd=bypass"
    else:
        value = f"{_NAME}; fwd=miss"
    if status is not None:
        value += f"; fwd-status={status}"
    if ttl is not None:
        value += f"; ttl={ttl}"
    return value


def told_of(tier: Tier, collapsed: bool) -> str:
    """Return how the cache answered, given where the answer came from."""
    if tier == "origin":
        return "collapsed" if collapsed else "miss"
    return {"memory": "hit", "shared": "shared", "stale": "stale"}[tier]


def of_answer(answer: Answer, takes_gzip: bool, told: str = "") -> Reply:
    """Return the reply with an answer of the surface's own."""
    body, headers = answer.encoded(takes_gzip)
    return Reply(answer.status, headers, body, told)


def of_error(error: QRBackendsError, errors: Errors, *, own: bool, known: bool = False) -> Reply:
    """Return the reply for a failure: the service's own answer if there is one, otherwise one in its form.

    Args:
        error: the failure.
        errors: makes error answers.
        own: whether the credential was the gateway's own, so that a refusal of it is not the caller's fault.
        known: whether nobody was asked, as the failure was kept.
    """
    refused = isinstance(error, Unauthorized) and own
    if isinstance(error, ResponseError) and error.body and not refused:
        status = error.status
        told = "hit" if known else "error"
        headers = {
            "Content-Type": error.content_type or JSON,
            "Cache-Control": "no-store",
            "Cache-Status": cache_status(told, status=None if known else status),
            "X-Content-Type-Options": "nosniff",  # it may be a page of anything in front of the service
        }
        if error.retry_after is not None:
            headers["Retry-After"] = str(ceil(error.retry_after))
        return Reply(status, headers, error.body, told)
    return of_answer(_answer(error, errors, own), False, "error")


def _answer(error: QRBackendsError, errors: Errors, own: bool) -> Answer:
    status, message = _meaning(error, own)
    headers = {"Cache-Control": "no-store", "Cache-Status": cache_status("error")}
    pause: Any = getattr(error, "retry_after", None)
    if status in (429, 503):
        headers["Retry-After"] = str(max(_LEAST_PAUSE, ceil(pause or 0)))
    return errors.answer(status, message, headers=headers)


def _meaning(error: QRBackendsError, own: bool) -> tuple[int, str]:
    match error:
        case InvalidRequest():
            return 400, error.message
        case Unauthorized() if not own:
            return 401, error.message
        case Unauthorized() | AccountError():
            return 502, "The service refuses the gateway's own account."
        case ResponseError():  # also of what was not sent, as an earlier answer asked for a pause
            return error.status, error.message
        case CircuitOpen() | ClientClosed():
            return 503, "The service does not answer, and no earlier answer is kept."
        case Timeout():
            return 504, "The service did not answer in time, and no earlier answer is kept."
        case DecodeError():
            return 502, "The service's answer is damaged."
    return 502, "The service cannot be reached, and no earlier answer is kept."
