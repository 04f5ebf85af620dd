"""What faults can do: a struct for each kind, which control API and scenarios take as JSON and TOML."""

import re
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from msgspec import Meta, Struct, field, structs

_BLOCK = 1 << 20

if TYPE_CHECKING:
    ErrorBody: TypeAlias = bytes | str | dict[str, Any] | None
else:  # JSON has one kind of text only: bytes come as `raw`
    ErrorBody = str | dict[str, Any] | None

HeaderName: TypeAlias = Annotated[str, Meta(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$(?!\n)")]
HeaderText: TypeAlias = Annotated[str, Meta(pattern=r"^[^\x00-\x08\x0a-\x1f\x7f]*$(?!\n)")]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=1e9)]
Count: TypeAlias = Annotated[int, Meta(ge=1)]


def snake_case(name: str) -> str:
    """Return the name by which JSON and TOML know a class, such as `rate_limit` for `RateLimit`."""
    return re.sub("(?<!^)(?=[A-Z])", "_", name).lower()


class _Action(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag=snake_case):
    """One kind of fault; the limits of its fields are checked where it comes from JSON or TOML."""


class Status(_Action, frozen=True):
    """The answer has this status.

    Attributes:
        status: the HTTP status.
        headers: further headers.
        body: a dict is sent as JSON, bytes as they are, a str as HTML, as gateways do; None stands for the
            service's own error body.
        raw: the bytes given as `body`; in JSON and TOML `body_base64`.
    """

    status: Annotated[int, Meta(ge=200, le=599)]
    headers: Mapping[HeaderName, HeaderText] = field(default_factory=dict)
    body: ErrorBody = None
    raw: bytes | None = field(default=None, name="body_base64")

    def __post_init__(self) -> None:
        """Keep bytes apart from text."""
        if isinstance(self.body, bytes):
            structs.force_setattr(self, "raw", self.body)
            structs.force_setattr(self, "body", None)


class Hold(_Action, frozen=True):
    """The request waits for `Fault.release()`, and is then answered normally."""


class Delay(_Action, frozen=True):
    """The request waits for some seconds, and is then answered normally."""

    seconds: Seconds


class Reset(_Action, frozen=True):
    """The connection is reset by TCP, without an answer."""


class Truncate(_Action, frozen=True):
    """Only a part of the body is sent.

    Attributes:
        gzip: if False, Content-Length is that of the whole body, and the connection closes early. If True,
            the body is a gzip stream without its end, and Content-Length is that of the part sent.
        keep: the fraction of the body that is sent, from 0 to 1.
    """

    gzip: bool = False
    keep: Annotated[float, Meta(ge=0, le=1)] = 0.5


class Garbage(_Action, frozen=True):
    """The answer has status 200 and a body that is not JSON."""

    body: bytes = b"<html>\xff\x00 this is not JSON"
    content_type: HeaderText = "application/json"


class Bomb(_Action, frozen=True):
    """The answer has status 200 and a gzip body that decompresses to `size` bytes, 1000 times its own."""

    size: Annotated[int, Meta(ge=0, le=4 << 30)] = 256 << 20


class Redirect(_Action, frozen=True):
    """The answer is a redirect to `url`."""

    url: HeaderText
    status: Annotated[int, Meta(ge=300, le=399)] = 302


class Drip(_Action, frozen=True):
    """The answer is sent slowly.

    Attributes:
        interval: seconds between two pieces.
        size: bytes in a piece.
        head: whether status line and headers are sent in pieces, too.
    """

    interval: Seconds = 1.0
    size: Count = 1
    head: bool = False


class Endless(_Action, frozen=True):
    """The answer has status 200 and a body without an end, sent as fast as the client reads."""


class RateLimit(_Action, frozen=True):
    """Requests beyond a rate are answered with 429, the others normally; a token bucket decides.

    Attributes:
        rate: requests per second.
        burst: number of requests that may come at once.
        retry_after: the `Retry-After` that is sent, in seconds; None for no such header.
    """

    rate: Annotated[float, Meta(ge=0, le=1e9)] = 50.0
    burst: Annotated[int, Meta(ge=0)] = 10
    retry_after: Annotated[int, Meta(ge=0)] | None = 1


class NotModified(_Action, frozen=True):
    """The answer has status 304 and no body, whether the request has a condition or not.

    Attributes:
        etag: the `ETag` that is sent; None for no such header.
    """

    etag: HeaderText | None = None


class WithHeaders(_Action, frozen=True):
    """The request is answered normally, but with these headers, which replace those of the same names.

    So answers get validators that are malformed, too long or never the same. The emulator does not compare
    them with a request's condition, but those that it would have sent itself.
    """

    headers: Mapping[HeaderName, HeaderText]


Action: TypeAlias = (
    Status
    | Hold
    | Delay
    | Reset
    | Truncate
    | Garbage
    | Bomb
    | Redirect
    | Drip
    | Endless
    | RateLimit
    | NotModified
    | WithHeaders
)


@lru_cache(maxsize=2)
def gzip_bomb(size: int) -> bytes:
    """Return gzip bytes that decompress to `size` bytes of JSON: blanks, and an empty object at the end."""
    pack = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    block = b" " * _BLOCK
    whole, rest = divmod(max(size - 2, 0), _BLOCK)
    pieces = [pack.compress(block) for _ in range(whole)]
    pieces += [pack.compress(block[:rest]), pack.compress(b"{}"), pack.flush()]
    return b"".join(pieces)
