"""What decoded answers take in memory, known from their bytes without a walk through the objects.

The figures follow from CPython's objects (a text is 49 bytes and its characters, a tuple 40, its place in the
collector 16 and 8 an element, a float 24, a struct 16 and 8 a field); tests hold them against tracemalloc on
every real snapshot.
"""

from typing import Any

from .models import BackendConfiguration

# Bytes in memory for a byte of JSON, the index that the first look-up builds included. Documents of one kind
# repeat the same few shapes, whose keys and punctuation are not kept.
_RATIOS = {"properties": 3.4, "backends": 2.3, "status": 2.5, "defaults": 8.0}
_ENTRY = 1200  # the entry itself, its key, its question, and their places in the cache's tables
_ARRAY = 64  # an array of a pair, of which coupling maps consist
_TEXT = 72  # a text of 23 characters


def retained_size(resource: str, body: bytes, value: Any) -> int:
    """Return the bytes that a decoded answer takes, with its index and its place in the cache.

    Args:
        resource: what was asked for.
        body: the JSON that it was decoded from.
        value: the decoded answer.
    """
    if isinstance(value, BackendConfiguration):
        return _ENTRY + _configuration(body, value)
    return _ENTRY + int(_RATIOS[resource] * len(body))


def _configuration(body: bytes, value: BackendConfiguration) -> int:
    """A device's couplings may be written in 13 kB and take 97, another's channels stay as they were sent."""
    kept = [bytes(raw) for raw in value.raw_parts()]
    arrays = body.count(b"[") - sum(raw.count(b"[") for raw in kept)
    quotes = body.count(b'"') - sum(raw.count(b'"') for raw in kept)
    keys = body.count(b":") - sum(raw.count(b":") for raw in kept)
    return _ARRAY * arrays + _TEXT * max(0, quotes // 2 - keys) + len(body)
