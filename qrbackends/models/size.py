"""How many values a body may hold, so that one that is small off the wire is not large in memory."""

from typing import Final

from ..errors import DecodeError

UNCOUNTED: Final = 2**20
"""The bytes up to which a body may hold any number of values; the largest real one has 684 kB."""

# The real documents have a comma for 16 bytes and more, except in coupling maps: those of 10,000 qubits have
# 1 MB. Decoding takes at most 165 bytes for each comma: 11 times a body's length, or 90 MB if that is more. A
# body that is not counted takes at most 22 times its length, and an open object 65 times.
_LENGTH = 12  # bytes
_NUMBER = 308  # digits; the time to decode an integer grows with their square
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)


def check_values(body: bytes, what: str = "the body", marks: tuple[bytes, ...] = (b",",)) -> None:
    """Raise `DecodeError` if a body holds too many values to be decoded.

    Args:
        body: the JSON.
        what: the name of the body, for the error.
        marks: what is counted; commas are enough where the type limits the depth.
    """
    if len(body) <= UNCOUNTED:
        return
    most = max(UNCOUNTED // 2, len(body) // _LENGTH)
    if sum(map(body.count, marks)) > most:
        raise DecodeError(f"{what} holds more than {most} values")


def has_long_number(body: bytes) -> bool:
    """Return whether a body holds a number of more than 308 digits, which is in no range."""
    return b"0" * (_NUMBER + 1) in body.translate(_DIGITS)
