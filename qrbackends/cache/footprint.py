"""What decoded answers take in memory, known from their bytes without a walk through the objects.

The figures follow from CPython's objects (a text is 49 bytes and its characters, a tuple 40, its place in the
collector 16 and 8 an element, a float 24, a struct 16 and 8 a field); tests hold them against tracemalloc on
every real snapshot.
"""

from typing import Any

from ..models import BackendConfiguration

# Bytes in memory for a byte of JSON, the index that the first look-up builds included. Documents of one kind
# repeat the same few shapes, whose keys and punctuation are not kept.
_RATIOS = {"properties": 3.4, "backends": 2.3, "status": 2.5, "defaults": 8.0}
_ENTRY = 1000  # the entry itself, its key, its question, and their places in the cache's tables
_PAIR = 64  # a coupling; coupling maps consist of them
_PAIR_TEXT = 8  # as it is written
_REST = 2.0  # for a byte of what is neither couplings nor kept as it was sent


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
    pairs = len(value.coupling_map or ()) + sum(len(gate.coupling_map or ()) for gate in value.gates)
    kept = sum(len(bytes(raw)) for raw in value.raw_parts())
    rest = max(0, len(body) - kept - _PAIR_TEXT * pairs)
    return _PAIR * pairs + int(_REST * rest) + len(body)
