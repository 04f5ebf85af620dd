"""Response bodies: decompressed while they arrive, limited in size, and checked to be complete. No I/O."""

import zlib
from collections.abc import Callable
from typing import Any, cast

from ..errors import BodyDamaged, BodyTooLarge

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


class Body:
    """A body that is being received.

    It replaces aiohttp's own decompression, which raises no error for a compressed body that was cut short,
    and which expands a whole chunk before its size can be checked.

    Args:
        encoding: the answer's `Content-Encoding`; empty for none.
        limit: the largest size in bytes, after decompression.

    Raises:
        BodyDamaged: the request did not offer this encoding.
    """

    def __init__(self, encoding: str, limit: int) -> None:
        self._encoding = encoding.strip().lower()
        self._room = limit
        self._received = 0
        self._limit = limit
        self._parts: list[bytes] = []
        self._member: Any = None
        self._compressed = self._encoding not in ("", "identity")
        if self._compressed and self._encoding not in _WINDOW_BITS:
            # Only known encodings are named: the header may hold anything, even an echo of a credential.
            known = f"as {self._encoding!r}" if self._encoding in _OTHERS else "in an unknown way"
            raise BodyDamaged(f"the answer is compressed {known}, which was not asked for")

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes as they were received.

        Raises:
            BodyTooLarge: the body is larger than the limit; `begun` returns what came before it.
            BodyDamaged: the body is not compressed as `encoding` says.
        """
        if self._compressed:
            self._received += len(chunk)
            if self._received > self._limit:  # many gzip members that are empty
                raise self._too_large()
            while chunk:
                chunk = self._inflate(chunk)
        else:
            self._keep(chunk)

    def finish(self) -> bytes:
        """Return the whole body, decompressed.

        Raises:
            BodyDamaged: the end of the compressed body is missing.
        """
        if self._member is not None:
            raise BodyDamaged("the compressed body was cut short")
        return self.begun()

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
