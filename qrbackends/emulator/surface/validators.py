"""The validators of answers (RFC 9110, 8.8), and the conditions of requests that quote them (13.1)."""

from collections.abc import Callable
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from math import floor
from typing import Literal, TypeAlias

from ...protocol.validators import names_tag
from ...surface.wire import Answer, Call, Document

Validation: TypeAlias = Literal["etag", "weak", "date"]

_KEPT = 10_000  # addresses; see `_modified`


class Validators:
    """Adds validators to the answers of one region, and answers 304 if the client has the same content.

    Args:
        kind: `etag` for strong tags, of which the one of a gzip form is another one than that of the plain
            form; `weak` for weak tags, `date` for `Last-Modified`.
        clock: the time in Unix seconds.
    """

    def __init__(self, kind: Validation, clock: Callable[[], float]) -> None:
        self._kind = kind
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget what was answered: whatever is answered next was not modified since now."""
        self._start = floor(self._clock())
        self._seen: dict[str, tuple[str, int]] = {}

    def applied(self, call: Call, answer: Answer) -> Answer:
        """Return an answer of status 200 with its validator, or 304 if the call's condition says so."""
        if self._kind == "date":
            headers, unchanged = self._dated(call, answer)
        else:
            tag = self._tag(answer.document, answer.is_packed(call.takes_gzip))
            headers, unchanged = {"ETag": tag}, names_tag(call.headers.get("If-None-Match", ""), tag)
        if unchanged:
            return Answer(304, Document(b""), headers, content_type=None)
        return answer.with_headers(headers)

    def _tag(self, document: Document, packed: bool) -> str:
        if self._kind == "weak":  # both forms mean the same
            return f'W/"{document.digest}"'
        return f'"{document.digest}-gzip"' if packed else f'"{document.digest}"'

    def _dated(self, call: Call, answer: Answer) -> tuple[dict[str, str], bool]:
        # Instances may see different backends, and versions have different lists, at the same address.
        headers = (call.headers.get(name, "") for name in ("Service-CRN", "IBM-API-Version"))
        modified = self._modified(" ".join((f"{call.path}?{call.query}", *headers)), answer.document.digest)
        if "If-None-Match" in call.headers:  # then the date does not count
            unchanged = call.headers["If-None-Match"].strip() == "*"
        else:
            since = _instant(call.headers.get("If-Modified-Since", ""))
            unchanged = since is not None and modified <= since
        if modified > self._clock():
            return {}, False
        return {"Last-Modified": formatdate(modified, usegmt=True)}, unchanged

    def _modified(self, address: str, digest: str) -> int:
        """Return the Unix time at which the content of an address changed, in whole seconds.

        A change counts from the end of its second, and the date is not sent before: a client that has seen
        an earlier content within the same second would take the new one for the same. For the same reason it
        is later than the date before, even if the clock was moved backward.
        """
        known = self._seen.get(address)
        if known is not None and known[0] == digest:
            return known[1]
        if known is None and len(self._seen) >= _KEPT:  # without a limit, it would grow for ever
            self._seen.clear()
            self._start = floor(self._clock()) + 1
        modified = self._start if known is None else max(floor(self._clock()), known[1]) + 1
        self._seen[address] = digest, modified
        return modified


def _instant(http_date: str) -> float | None:
    """Return the Unix time of an HTTP date in seconds, or None if it is none."""
    try:
        moment = parsedate_to_datetime(http_date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
