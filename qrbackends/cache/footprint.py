"""Estimates of the memory that decoded answers take, from what was decoded.

The numbers follow from CPython's object sizes: a text takes 49 bytes and its characters; a tuple 40, and 8
per element; a float 24; an integer from 257 on 28; a struct 16, and 8 per field. All sizes are in bytes; what
the first look-up builds is included. No answer counts less than its text is long: that may be in one value.
Tests compare the estimates with tracemalloc: on real snapshots in many shapes, and on the densest bodies.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from msgspec.json import format as format_json
from msgspec.structs import astuple

from ..models import (
    BackendConfiguration,
    BackendDefaults,
    BackendProperties,
    BackendsResponse,
    BackendStatus,
)

_NUMBER = 8 + 28  # a number in an array
_ENTRY = 1100  # the entry, its key, request and validators, and their slots in the cache's tables
_TEXT = 49  # a text without its characters
_WIDE_TEXT = 25  # what a text with characters outside of ASCII takes beyond that
_TOLD = 1800  # what is told of a part that was left out, and its error in a list
_NDUV = 8 + 48 + 24  # a measured value without its texts, which are its date, name and unit
_NDUV_JSON = len('{"date":"","name":"","unit":"","value":0.00000001},')
_INDEXED_NDUV = 20  # its slot in the index
_QUBIT = 48 + 184  # a qubit's tuple and index
_GATE = 8 + 48 + 3 * 40 + 72 + 2 * _TEXT  # the gate, three tuples, its slot in the index, and its texts
_QUBIT_LIST = 8 + 32 + 40 + _TEXT
_GATE_JSON = len('{"gate":"","qubits":[],"parameters":[],"name":""},')
_USUAL_TEXTS = 64  # characters of the texts of a measured value and its share of the gate; hardly ever more
_DEVICE = 200, 1400  # an entry of the list: the least, and the most without long texts
_STATUS = 250
_ARRAY = 64  # an array that is one tuple in another
_ARRAY_JSON = 8
_VALUE = 60  # a value that is no number of a qubit; most arrays in arrays are pairs of such numbers
_OBJECTS = (  # of a configuration: arrays of arrays of texts or floats
    "qubit_channel_mapping",
    "meas_lo_range_ghz",
    "qubit_lo_range_ghz",
    "acquisition_latency",
    "conditional_latency",
)
_REST = 2.7  # bytes in memory per byte of the rest of a configuration
_OPEN_OBJECT, _OPEN_ARRAY, _OPEN_VALUE = 340, 64, 72  # in an object that the contract leaves open
_SAMPLE = 1024  # bytes that show where blanks are; looking for them everywhere takes long
_WIDE_ESCAPE = re.compile(rb"\\u(?!00)")
_LATIN_1 = bytes(range(0xC4))  # the bytes in UTF-8 of characters that take one in memory
_UP_TO_THREE_BYTES = bytes(range(0xF0))
_FIRST_INTERNED = -5  # CPython keeps one object for each integer from here
_INTERNED = 257  # to below this one


def retained_size(body: bytes, value: Any, wire: bytes = b"") -> int:
    """Return the bytes that a decoded answer takes in memory, with its index and its entry.

    Args:
        body: the JSON that it was decoded from.
        value: the decoded answer.
        wire: the bytes that are kept of the answer as it came; none if they are part of the value.
    """
    told = _TOLD * len(getattr(value, "left_out", ()))
    return _ENTRY + told + len(wire) + _SIZES[type(value)](body, value)


def _properties(body: bytes, value: BackendProperties) -> int:
    measured = sum(map(len, value.qubits))
    indexed = measured * _INDEXED_NDUV + len(value.qubits) * _QUBIT
    measured += sum([len(gate.parameters) for gate in value.gates]) + len(value.general)
    numbers = sum([len(gate.qubits) for gate in value.gates])
    each = 8 if len(value.qubits) < _INTERNED and numbers <= 4 * len(value.gates) else 24
    named = [one.qubits for one in value.general_qlists or ()]
    listed = sum(map(len, named))
    explained = measured * _NDUV_JSON + len(value.gates) * _GATE_JSON
    length = len(body)
    if length > explained + measured * _USUAL_TEXTS + 512:
        length = len(_compact(body))
    characters = max(0, length - explained) * _width(body)
    objects = measured * (_NDUV + 3 * _TEXT) + len(value.gates) * _GATE + 2 * numbers * each  # 2: the index
    # Looking at each number takes long, and makes no difference where there are few of them.
    large = _NUMBER * listed > objects // 4 and any(
        min(one) < _FIRST_INTERNED or max(one) >= _INTERNED for one in filter(None, named)
    )
    lists = len(named) * _QUBIT_LIST + listed * (_NUMBER if large else 8)
    return max(objects + indexed + lists + characters, len(body))  # it may be one text of blanks


def _width(body: bytes) -> int:
    """Return the most bytes that a character of a text takes in memory."""
    first = body.find(b"\\")
    if first >= 0 and _WIDE_ESCAPE.search(body, first, body.rfind(b"\\") + len("\\u00")):
        return 4  # perhaps of the widest character
    if body.isascii():
        return 1
    if body.translate(None, _UP_TO_THREE_BYTES):
        return 4
    return 2 if body.translate(None, _LATIN_1) else 1


def _configuration(body: bytes, value: BackendConfiguration) -> int:
    """Return the size of a configuration: arrays of arrays grow when they are decoded, raw parts do not."""
    raws = [bytes(raw) for raw in value.raw_parts()]
    kept = sum(map(len, raws))
    counts = [_arrays_of(one) for one in (value, *value.gates)]
    channels = sum(map(len, value.u_channel_lo or ()))  # each is a struct with an array of two numbers
    arrays = sum([one[0] for one in counts]) + channels
    values = sum([one[1] for one in counts]) + 2 * channels
    shared = 2 * (arrays - sum([len(getattr(value, name) or ()) for name in _OBJECTS]))
    sample = body[:_SAMPLE]
    if b"  " in sample or b"\n" in sample or b"\t" in sample or b"\r" in sample:  # laid out for people
        written = len(_compact(body)) - sum([len(_compact(raw)) for raw in raws])
    else:
        written = len(body) - kept - (values if b'": ' in sample else 0)
    rest = written - _ARRAY_JSON * arrays
    large = max(0.0, 1 - _INTERNED / max(1, value.n_qubits))  # the part of the qubits' numbers
    decoded = arrays * (_ARRAY + 2 * 28 * large) + max(_REST * rest, _VALUE * (values - shared), 0)
    return max(kept + int(decoded), len(body)) + _wide(body)  # it may be one text of blanks


def _arrays_of(document: Any) -> tuple[int, int]:
    """Return how many arrays in arrays the fields of a struct have, and how many values are in arrays."""
    arrays = values = 0
    for found in astuple(document):
        if type(found) is tuple and found:
            if type(found[0]) is tuple:
                arrays += len(found)
                values += sum(map(len, found))
            else:
                values += len(found)
    return arrays, values


def _compact(body: bytes) -> bytes:
    """Return JSON without the blanks outside of its texts."""
    try:
        return format_json(body, indent=-1) if body else body
    except RecursionError:  # nested just not too deeply to be decoded
        return body


def _list(body: bytes, value: BackendsResponse) -> int:
    least, most = (each * len(value.devices) for each in _DEVICE)
    metrics = [device.performance_metrics for device in value.devices]
    best = [one.two_q_error_best for one in metrics if one is not None]
    numbers = sum([len(one.qubits) for one in best if one is not None and len(one.qubits) > 2])
    return max(least + len(body), min(most, int(2.3 * len(body)))) + _NUMBER * numbers + _wide(body)


def _status(body: bytes, value: BackendStatus) -> int:
    return _STATUS + len(body) + _wide(body)


def _wide(body: bytes) -> int:
    """Return the bytes that texts take beyond those of ASCII, if one of them may hold other characters."""
    width = _width(body)
    return (width - 1) * len(body) + body.count(b'"') // 2 * _WIDE_TEXT if width > 1 else 0


def _defaults(body: bytes, value: BackendDefaults) -> int:
    """Return the size of what the contract leaves open, when it has been looked at."""
    counts = [body.count(mark) for mark in (b"{", b"[", b",")]
    return len(body) + sum(map(int.__mul__, counts, (_OPEN_OBJECT, _OPEN_ARRAY, _OPEN_VALUE)))


_SIZES: Final[dict[type[Any], Callable[[bytes, Any], int]]] = {
    BackendProperties: _properties,
    BackendConfiguration: _configuration,
    BackendsResponse: _list,
    BackendStatus: _status,
    BackendDefaults: _defaults,
}
