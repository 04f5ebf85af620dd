"""Estimates of the memory that decoded answers take, from the size of their JSON.

The numbers follow from CPython's object sizes: a text takes 49 bytes and its characters; a tuple 40 bytes, 16
for the garbage collector, and 8 per element; a float 24; a struct 16, and 8 per field. Tests compare the
estimates with tracemalloc on every real snapshot.
"""

from typing import Any

from ..models import BackendConfiguration

# Bytes in memory per byte of JSON, with the index that the first look-up builds. The ratio hardly differs
# between documents of one kind, because they repeat the same structures.
_RATIOS = {"properties": 3.4, "backends": 2.3, "status": 2.5, "defaults": 8.0}
_ENTRY = 900  # bytes of the entry, its key, its request, and their slots in the cache's tables
_PAIR = 64  # bytes in memory of a pair of qubits in a coupling map
_PAIR_TEXT = 8  # bytes of JSON of such a pair
_REST = 2.0  # bytes in memory per byte of JSON that is neither coupling maps nor kept undecoded


def retained_size(resource: str, body: bytes, value: Any) -> int:
    """Return the bytes that a decoded answer takes in memory, with its index and its entry.

    Args:
        resource: the resource that was asked for.
        body: the JSON that it was decoded from.
        value: the decoded answer.
    """
    if isinstance(value, BackendConfiguration):
        return _ENTRY + _configuration(body, value)
    return _ENTRY + int(_RATIOS[resource] * len(body))


def _configuration(body: bytes, value: BackendConfiguration) -> int:
    """Return the bytes of a configuration: coupling maps grow when they are decoded, raw parts do not."""
    pairs = len(value.coupling_map or ()) + sum(len(gate.coupling_map or ()) for gate in value.gates)
    kept = sum(len(bytes(raw)) for raw in value.raw_parts())
    rest = max(0, len(body) - kept - _PAIR_TEXT * pairs)
    return _PAIR * pairs + int(_REST * rest) + len(body)
