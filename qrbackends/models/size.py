"""How many values a body may hold, so that one that is small off the wire is not large in memory."""

from typing import Final

from ..errors import DecodeError

UNCOUNTED: Final = 2**20
"""The bytes up to which a body may hold any number of values; the largest real one has 684 kB."""

# The real documents have a comma for 16 bytes and more, except in coupling maps: those of 10,000 qubits have
# 1 MB. Decoding takes at most 165 bytes for each comma: 12 times a body's length, or 90 MB if that is more. A
# body that is not counted takes at most 22 times its length, 24 in parts (`lenient`), and an open object 65.
_MOST = UNCOUNTED // 2
_LENGTH = 12  # bytes
_NUMBER = 308  # digits; the time to decode an integer grows with their square
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)


def check_values(body: bytes) -> None:
    """Raise `DecodeError` if a document holds too many values to be decoded.

    Only commas are counted, as its type limits how deep arrays and objects are nested.
    """
    if len(body) > UNCOUNTED and body.count(b",") > max(_MOST, len(body) // _LENGTH):
        raise DecodeError(f"the body of {len(body)} bytes holds more values than a document of its size")


def check_open_values(body: bytes) -> None:
    """Raise `DecodeError` if an object of no type holds too many values to be decoded, which takes 0.5 s."""
    if len(body) > UNCOUNTED and sum(map(body.count, (b",", b"[", b"{"))) > _MOST:
        raise DecodeError(f"an open object of this document holds more than {_MOST} values")


def has_long_number(body: bytes) -> bool:
    """Return whether a body holds a number of more than 308 digits, which is in no range."""
    return b"0" * (_NUMBER + 1) in body.translate(_DIGITS)
