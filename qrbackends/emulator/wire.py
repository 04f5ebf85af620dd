"""Calls and answers as values: everything between a handler and its socket."""

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

GZIP_LEVEL = 6  # 684 kB of calibrations: 48 kB in 4 ms; level 9 takes five times as long for 7 % less
_TITLES = {status.value: status.phrase for status in HTTPStatus}  # 520 to 524 are not among them
_WORTH_PACKING = 512  # bytes; below that gzip's own header eats what it saves
_QUALITY_ZERO = re.compile(r"^q=0(\.0{0,3})?$")


class Document:
    """A body that is sent many times: the bytes, and their gzip form once somebody has asked for it."""

    __slots__ = ("body", "packed")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.packed: bytes | None = None

    @property
    def size(self) -> int:
        """The bytes it holds in memory."""
        return len(self.body) + len(self.packed or b"")

    def pack(self) -> bytes:
        """Return the gzip form, made at the first call."""
        if self.packed is None:
            self.packed = gzip.compress(self.body, GZIP_LEVEL, mtime=0)
        return self.packed


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it arrived; `path` is raw, percent-encoding included, without the query.

    `host` is whom it is meant for, with the port.
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
        """The query's parameters, decoded, empty ones included.

        Raises:
            UnicodeDecodeError: they are not UTF-8.
            ValueError: there are far too many of them.
        """
        return parse_qs(self.query, keep_blank_values=True, errors="strict", max_num_fields=100)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: a status and a document."""

    status: int
    document: Document
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"

    def encoded(self, takes_gzip: bool) -> tuple[bytes, dict[str, str]]:
        """Return the bytes to send, and all headers that go with them."""
        headers = {"Content-Type": self.content_type, "Vary": "Accept-Encoding", **self.headers}
        body = self.document.body
        if takes_gzip and len(body) >= _WORTH_PACKING:
            body = self.document.pack()
            headers["Content-Encoding"] = "gzip"
        return body, headers


class Refused(Exception):
    """A call that the service answers with an error."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def split_target(raw: str) -> tuple[str, str, str]:
    """Return the host, the path and the query of a request line's target, all still percent-encoded.

    The host is empty but in the absolute form, which proxies use; there it counts, and not the header
    (RFC 9112, 3.2.2).
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
    """The service's error bodies; their ids are reproducible, as everything here is."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._serial = 0

    def answer(
        self,
        status: int,
        message: str,
        solution: str = "",
        code: str | int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return an error answer in the service's shape."""
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
        """Return the exception that carries this error to the socket."""
        return Refused(self.answer(status, message, solution, **more))


def as_uuid(hexadecimal: str) -> str:
    """Return 32 hexadecimal digits with the dashes of a UUID."""
    h = hexadecimal
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:32]}"
