"""The form of answers in a store, and its seal. No I/O."""

import hashlib
import hmac
from typing import NamedTuple

import msgspec
from msgspec import Struct

from ...protocol.validators import NONE, Validators
from ...transport.body import Wire

_SKEW = 60.0  # seconds by which the clocks of two machines may differ
_MAGIC = b"qrb2"
_TAG = hashlib.sha256().digest_size


class Stored(NamedTuple):
    """An answer as the store has it.

    Attributes:
        wire: its body.
        age: seconds since the service gave it.
        validators: its validators.
        confirmed: how many answers in a row were a 304, as in `Entry`.
        emulated: whether an emulator sent it.
    """

    wire: Wire
    age: float = 0.0
    validators: Validators = NONE
    confirmed: float = 0
    emulated: bool = False


class _Content(Struct, frozen=True, array_like=True):
    """A stored answer; `fetched_at` is when the service gave it, in Unix seconds."""

    fetched_at: float
    wire: tuple[bytes, str, bytes]
    validators: Validators
    confirmed: float
    emulated: bool = False


_decode = msgspec.msgpack.Decoder(_Content).decode


def seal(key: bytes | None, scope: str, name: str, answer: Stored, fetched_at: float) -> bytes:
    """Return an answer as bytes that are valid under this scope and name only.

    Args:
        key: the key of the scope's credential.
        scope: the id of the scope.
        name: the name under which it will be stored.
        answer: the answer.
        fetched_at: when the service gave it, in Unix seconds.

    Raises:
        ValueError: there is no key, as no other process can have it.
    """
    packed = answer.wire.packed()
    parts = packed.data, packed.encoding, packed.digest
    stored = _Content(fetched_at, parts, answer.validators, answer.confirmed, answer.emulated)
    content = msgspec.msgpack.encode(stored)
    return b"".join((_MAGIC, _tag(key, scope, name, content), content))


def unseal(key: bytes | None, scope: str, name: str, sealed: bytes, now: float) -> Stored | None:
    """Return the answer that `seal` made bytes of; None if they are others.

    Args:
        key: the key of the scope's credential.
        scope: the id of the scope.
        name: the name under which it was stored.
        sealed: the bytes.
        now: the time in Unix seconds.

    Raises:
        ValueError: there is no key, as no other process can have it.
    """
    begin = len(_MAGIC) + _TAG
    tag, content = sealed[len(_MAGIC) : begin], sealed[begin:]
    if not sealed.startswith(_MAGIC) or not hmac.compare_digest(tag, _tag(key, scope, name, content)):
        return None
    try:
        stored = _decode(content)
    except (ValueError, RecursionError):  # another version of this package stored it
        return None
    age = now - stored.fetched_at
    # Clocks differ a little; an answer from further in the future would be new for too long. Neither
    # comparison holds for NaN, which would be young, or confirmed, for ever.
    if not (age > -_SKEW and stored.confirmed >= 0):
        return None
    validators = stored.validators.well_formed()
    return Stored(Wire(*stored.wire), max(0.0, age), validators, stored.confirmed, stored.emulated)


def _tag(key: bytes | None, scope: str, name: str, content: bytes) -> bytes:
    """Return an HMAC over scope, name and content: a value is valid in its own place only."""
    if key is None:
        raise ValueError("a scope without a key cannot be used with a store")
    mac = hmac.new(key, digestmod=hashlib.sha256)
    for part in (_MAGIC, f"{scope}\0{name}\0".encode(), content):
        mac.update(part)
    return mac.digest()
