"""Calls and answers as values, between the services and the HTTP handler."""

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import msgspec

GZIP_LEVEL = 6  # 684 kB of calibrations become 48 kB in 4 ms; level 9: 7 % less, in five times the time
EMULATED = {"X-Emulated": "qrbackends"}
"""The header of every answer, which says that it is not the service's."""

_TITLES = {status.value: status.phrase for status in HTTPStatus}  # without 520 to 524
_WORTH_PACKING = 512  # bytes; smaller bodies hardly shrink
_QUALITY_ZERO = re.compile(r"^q=0(\.0{0,3})?$")


class Document:
    """A body that is sent many times: its bytes, and their gzip form after the first `pack()`."""

    __slots__ = ("_digest", "body", "packed")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.packed: bytes | None = None
        self._digest: str | None = None

    @property
    def digest(self) -> str:
        """A text that differs from that of any other body, computed at the first use."""
        if self._digest is None:
            self._digest = hashlib.sha256(self.body).hexdigest()[:32]
        return self._digest

    @property
    def size(self) -> int:
        """The number of bytes that it takes in memory."""
        return len(self.body) + len(self.packed or b"")

    def pack(self) -> bytes:
        """Return the gzip form, made at the first call."""
        if self.packed is None:
            self.packed = gzip.compress(self.body, GZIP_LEVEL, mtime=0)
        return self.packed


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it arrived.

    Attributes:
        method: the HTTP method.
        path: the path, percent-encoded, without the query.
        query: the query, percent-encoded.
        headers: the headers.
        host: the host and port that the request is for.
        body: the body.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    host: str
    body: bytes = field(default=b"", repr=False)

    @property
    def credentials(self) -> tuple[str | None, str]:
        """The scheme (`Bearer`, `apikey` or None) and the credential of the Authorization header."""
        scheme, _, credential = self.headers.get("Authorization", "").partition(" ")
        known = {"bearer": "Bearer", "apikey": "apikey"}.get(scheme.lower())
        return known, credential.strip() if known else ""

    @property
    def takes_gzip(self) -> bool:
        """Whether the client accepts gzip."""
        for part in self.headers.get("Accept-Encoding", "").lower().split(","):
            coding, *parameters = [piece.strip() for piece in part.split(";")]
            if coding in ("gzip", "*"):
                return not any(_QUALITY_ZERO.match(parameter) for parameter in parameters)
        return False

    def parameters(self) -> dict[str, list[str]]:
        """Return the decoded parameters of the query, including empty ones.

        Raises:
            ValueError: there are more than 100, or they are not UTF-8 (`UnicodeDecodeError`).
        """
        return parse_qs(self.query, keep_blank_values=True, errors="strict", max_num_fields=100)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: status, document, further headers and content type, which an empty one needs not."""

    status: int
    document: Document
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = "application/json"

    def is_packed(self, takes_gzip: bool) -> bool:
        """Return whether it is sent compressed, if `takes_gzip` allows it."""
        return takes_gzip and len(self.document.body) >= _WORTH_PACKING

    def with_headers(self, headers: Mapping[str, str]) -> Self:
        """Return the same answer with these headers, which replace those of the same names."""
        return replace(self, headers=merged(self.headers, headers))

    def encoded(self, takes_gzip: bool) -> tuple[bytes, dict[str, str]]:
        """Return the bytes to send, and all headers; `takes_gzip` allows compression."""
        headers = {"Vary": "Accept-Encoding"}
        if self.content_type is not None:
            headers["Content-Type"] = self.content_type
        if packed := self.is_packed(takes_gzip):
            headers["Content-Encoding"] = "gzip"
        body = self.document.pack() if packed else self.document.body
        return body, merged(headers, self.headers)


class Refused(Exception):
    """Raised for a call that is answered with an error."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def merged(headers: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Return all headers; those in `more` replace those of the same names, in upper or lower case."""
    replaced = {name.lower() for name in more}
    return {name: value for name, value in headers.items() if name.lower() not in replaced} | dict(more)


def split_target(raw: str) -> tuple[str, str, str]:
    """Return host, path and query of a request line's target, all percent-encoded.

    The host is empty unless the target is in absolute form, which proxies use; then it takes precedence
    over the Host header (RFC 9112, 3.2.2).
    """
    if not raw.startswith("/"):
        parts = urlsplit(raw)
        return parts.netloc, parts.path, parts.query
    path, _, query = raw.partition("?")
    return "", path, query


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return `value` as a JSON answer."""
    return Answer(status, Document(msgspec.json.encode(value)), headers or {})


class Errors:
    """Makes error answers in the service's shape.

    Args:
        seed: the ids in the answers follow from it.
    """

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._serial = 0

    def reset(self) -> None:
        """Number the errors from 1 again."""
        self._serial = 0

    def answer(
        self,
        status: int,
        message: str,
        solution: str = "",
        code: str | int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return an error answer.

        Args:
            status: the HTTP status.
            message: what went wrong.
            solution: what the caller can do; left out, a general advice.
            code: the service's code; left out, 1000 plus the status.
            headers: further headers.
        """
        self._serial += 1
        digest = hashlib.sha256(f"{self._seed}/error/{self._serial}".encode()).hexdigest()
        error = {
            "code": str(1000 + status) if code is None else code,
            "message": message,
            "solution": solution or "Correct the request and try again.",
            "more_info": "https://quantum.cloud.ibm.com/docs/errors",
        }
        body = {
            "correlation_id": as_uuid(digest[:32]),
            "errors": [error],
            "status_code": status,
            "title": _TITLES.get(status, "Unknown Error"),
            "trace": digest[32:],
        }
        return json_answer(body, status, headers)

    def refuse(self, status: int, message: str, solution: str = "", **more: Any) -> Refused:
        """Return an exception with an error answer, as `answer` returns it."""
        return Refused(self.answer(status, message, solution, **more))


def as_uuid(hexadecimal: str) -> str:
    """Return 32 hexadecimal digits with the dashes of a UUID."""
    h = hexadecimal
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:32]}"
