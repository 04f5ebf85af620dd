"""Response bodies: decompressed while they arrive, limited in size, and checked to be complete. No I/O."""

import zlib
from collections.abc import Callable
from hashlib import sha256
from typing import Any, cast

from msgspec import Struct

from ..errors import BodyDamaged, BodyTooLarge, TransportError

decompressor: Callable[[int], Any] = zlib.decompressobj
_failures: tuple[type[Exception], ...] = (zlib.error,)
try:
    from isal import igzip_lib, isal_zlib  # from the extra `speed`; it decompresses the same formats faster
except ImportError:
    pass
else:
    decompressor = isal_zlib.decompressobj
    _failures = (zlib.error, cast("type[Exception]", igzip_lib.IsalError))

ACCEPT_ENCODING = "gzip, deflate"

_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # zlib's `wbits` of each format
_OTHERS = ("br", "zstd", "compress", "x-compress", "dcb", "dcz")
_MOST_PARTS = 4096
_RAW_DEFLATE = -15  # zlib's `wbits` of deflate without a zlib header
_WORTH_PACKING = 512  # bytes
_LEVEL = 1  # 684 kB of calibrations become 70 kB in 5 ms; level 6: 48 kB in five times the time
_TRAILER = 8  # bytes at the end of gzip: CRC-32 and length of what is in it (RFC 1952, section 2.3.1)


class Wire(Struct, frozen=True, gc=False):
    """A body as it came over the wire, or compressed to be kept.

    Attributes:
        data: the bytes.
        encoding: how they are compressed: `gzip`, `x-gzip`, `deflate`; empty if they are not.
        digest: the SHA-256 of the plain body, if it came plain and was compressed to be kept; otherwise
            empty. A body that comes plain is compared with it.
    """

    data: bytes
    encoding: str = ""
    digest: bytes = b""

    def packed(self) -> "Wire":
        """Return the body compressed; as it is, if it came so or is too small."""
        if self.encoding or len(self.data) < _WORTH_PACKING:
            return self
        packer = zlib.compressobj(_LEVEL, wbits=_WINDOW_BITS["gzip"])
        return Wire(packer.compress(self.data) + packer.flush(), "gzip", sha256(self.data).digest())

    def plain(self, limit: int) -> bytes:
        """Return the body, decompressed.

        Raises:
            TransportError: it is larger than `limit` bytes, or is not compressed as `encoding` says.
        """
        return self.compared(None, limit)[0]

    def compared(self, known: "Wire | None", limit: int) -> tuple[bytes, bool]:
        """Return the body, decompressed, and whether it is the known one; then nothing is returned of it.

        Raises:
            TransportError: as for `plain`.
        """
        body = Body(self.encoding, limit, known)
        body.feed(self.data)
        return body.finish(), body.wire is known

    def is_same(self, other: "Wire") -> bool:
        """Return whether the other one is the same body, as far as that is known without decompressing."""
        if self.digest or other.digest:
            return self._plain_digest() == other._plain_digest() != b""
        return self.encoding == other.encoding and self.data == other.data

    def _plain_digest(self) -> bytes:
        """Return the SHA-256 of the plain body; empty if it came compressed."""
        return sha256(self.data).digest() if self.encoding == "" else self.digest


_NOTHING = Wire(b"")


class Body:
    """A body that is being received.

    It replaces aiohttp's own decompression, which raises no error for a compressed body that was cut short,
    and which expands a whole chunk before its size can be checked. As long as the bytes are those of a known
    body they are only compared with it.

    Args:
        encoding: the answer's `Content-Encoding`; empty for none.
        limit: the largest size in bytes, after decompression.
        known: the body that is known already, or None.

    Attributes:
        wire: the body as it came, once it is complete; the known one itself, if it is the same body.

    Raises:
        BodyDamaged: the request did not offer this encoding.
    """

    wire = _NOTHING
    _received = 0  # bytes of a compressed body
    _member: Any = None
    _equals: Wire | None = None  # the known body as long as what came is its beginning, not looked into
    _equal = 0  # bytes

    def __init__(self, encoding: str, limit: int, known: Wire | None = None) -> None:
        self._encoding = _checked(encoding.strip().lower()) if encoding else ""
        self._room = self._limit = limit
        self._parts: list[bytes] = []
        self._chunks: list[bytes] = []  # of a compressed body, as they came
        self._known = known
        if known is not None and known.encoding == self._encoding and not known.digest:
            self._equals = known

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes as they were received.

        Raises:
            BodyTooLarge: the body is larger than the limit; `begun` returns what came before it.
            BodyDamaged: the body is not compressed as `encoding` says.
        """
        if self._equals is not None:
            if self._equals.data.startswith(chunk, self._equal):
                self._equal += len(chunk)
                return
            self._differ(self._equals)
        if self._encoding:
            self._decompress(chunk)
        else:
            self._keep(chunk)

    def _differ(self, known: Wire) -> None:
        """Take what was only compared until now, as the next bytes are not the known body's."""
        self._equals = None
        self.feed(known.data[: self._equal])

    def _decompress(self, chunk: bytes) -> None:
        self._received += len(chunk)
        if self._received > self._limit:  # many gzip members that are empty
            raise self._too_large()
        self._chunks.append(chunk)
        if len(self._chunks) > _MOST_PARTS:
            self._chunks = [b"".join(self._chunks)]
        while chunk:
            chunk = self._inflate(chunk)

    def finish(self) -> bytes:
        """Return the whole body, decompressed; nothing if it is the known one.

        Raises:
            BodyDamaged: the end of the compressed body is missing.
        """
        known = self._known
        if self._equals is not None:
            if self._equal == len(self._equals.data):
                self.wire = self._equals
                return b""
            self._differ(self._equals)
        if self._member is not None:
            raise BodyDamaged("the compressed body was cut short")
        body = self.begun()
        self.wire = Wire(b"".join(self._chunks), self._encoding) if self._encoding else Wire(body)
        if known is not None and self._is_known(known, body):
            self.wire = known
            return b""
        return body

    def _is_known(self, known: Wire, body: bytes) -> bool:
        """Return whether a body is the known one although its bytes on the wire may be others."""
        if not self._encoding:
            return known.digest != b"" and sha256(body).digest() == known.digest
        # The server compressed it anew: its time is in the header, or the pieces were others.
        if known.digest or known.data[-_TRAILER:] != self.wire.data[-_TRAILER:]:
            return False
        try:
            # A small body is longer when it is compressed, and the limit counts both forms.
            return known.plain(max(len(body), len(known.data))) == body
        except TransportError:
            return False

    def begun(self) -> bytes:
        """Return what has been received, decompressed, up to the limit."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    def _inflate(self, chunk: bytes) -> bytes:
        """Decompress `chunk`; return the bytes after the end of a gzip member, which begin the next one."""
        if self._member is None:
            # Some servers send raw deflate for "deflate": a zlib header's low nibble is always 8.
            raw = self._encoding == "deflate" and chunk[0] & 0x0F != 8
            self._member = decompressor(_RAW_DEFLATE if raw else _WINDOW_BITS[self._encoding])
        try:
            self._keep(self._member.decompress(chunk, self._room + 1))
        except _failures:
            problem = "the body is not compressed as its headers say"
        else:
            if not self._member.eof:
                return b""
            rest: bytes = self._member.unused_data
            self._member = None
            return rest
        raise BodyDamaged(problem)

    def _keep(self, part: bytes) -> None:
        if not part:
            return
        self._parts.append(part[: self._room])
        self._room -= len(part)
        if self._room < 0:
            raise self._too_large()
        if len(self._parts) > _MOST_PARTS:  # a part of one byte takes 42
            self._parts = [b"".join(self._parts)]

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"the body is larger than the limit of {self._limit} bytes")


def _checked(encoding: str) -> str:
    """Return the encoding, empty for none.

    Raises:
        BodyDamaged: the request did not offer it.
    """
    if encoding in ("", "identity"):
        return ""
    if encoding not in _WINDOW_BITS:
        # Only known encodings are named: the header may hold anything, even an echo of a credential.
        way = f"as {encoding!r}" if encoding in _OTHERS else "in an unknown way"
        raise BodyDamaged(f"the answer is compressed {way}, which was not asked for")
    return encoding
