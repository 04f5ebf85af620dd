"""Documents that msgspec refuses as a whole, decoded part by part: odd parts are left out, and told.

An element that is an object or a text is left out of its array, and a coupling out of its map; a qubit in
`qubits` stays, without values, as its place is its number. An optional field is taken for absent. What is
required is not replaced: an entry without it is left out, and a document without it cannot be read.
Whole numbers may be written as `3.0`, flags as 0 and 1, and dates in any form of ISO 8601.

Only JSON that msgspec refused comes here. It takes at most 24 times its length in memory, or 1 MB: elements
are replaced one by one, a long array of short values is not taken apart, and few odd parts are told.
"""

from contextlib import suppress
from datetime import datetime
from functools import cache
from types import UnionType
from typing import Any, Final, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Raw, Struct, field
from msgspec.structs import fields

from ..errors import DecodeError
from .configuration import GateConfig
from .integers import Integer
from .left_out import MOST_TOLD, Document, LeftOut

S = TypeVar("S", bound=Struct)
Kind: TypeAlias = Any  # a type as msgspec takes it

_MOST = 10_000  # parts left out of one document; decoding them takes some 0.1 s
_MOST_LOOSE = 100_000  # values read that are only written oddly, such as 3.0; that takes up to a second
FEW: Final = 4000
"""Elements of an array that may be of any length."""
LEAST_LENGTH: Final = 3
"""Bytes of an element and its comma in a longer array, as one takes 64 before it is decoded."""
_LONGEST = 500  # characters of a part's name
_SETS: Final = {"coupling_map", "meas_map"}  # of groups of qubits: the place of a group means nothing
_DEFINING: Final = {(GateConfig, "coupling_map")}  # without it, the gate would be on all qubits
_NOTHING: Final = Raw()


class _Odd(Exception):
    """A part that cannot be decoded: the JSON path of the wrong value, and the reason."""

    def __init__(self, at: str, reason: str) -> None:
        super().__init__(at, reason)
        self.at = at
        self.reason = reason


def decode_leniently(body: bytes | Raw, kind: type[S]) -> S:
    """Return an object without its odd parts; a document tells of them.

    Args:
        body: well-formed JSON that msgspec does not decode as `kind`.
        kind: the object's type.

    Raises:
        DecodeError: a required part is odd, or too many parts are.
    """
    reader = _Reader()
    try:
        found: S = reader.read(kind, body, "$")
    except _Odd as odd:
        problem = DecodeError(f"{odd.reason} at {odd.at}", path=odd.at)
    else:
        if isinstance(found, Document):
            vars(found).update(left_out=reader.told, left_out_count=reader.count)
        return found
    raise problem


class _Reader:
    """Decodes one document."""

    def __init__(self) -> None:
        self.count = 0
        self._elements: list[LeftOut] = []
        self._fields: list[LeftOut] = []
        self._loose = 0  # values that msgspec refused as they are written

    @property
    def told(self) -> tuple[LeftOut, ...]:
        """The parts to be told: elements first, as more is lost with them than with an optional field."""
        return (*self._elements, *self._fields)[:MOST_TOLD]

    def read(self, kind: Kind, raw: Raw | bytes, path: str) -> Any:
        """Return the value of a part.

        Raises:
            _Odd: it cannot be decoded.
        """
        try:
            return _decoder(kind).decode(raw)
        except msgspec.ValidationError as error:
            at, reason = _told(path, error)
        self._count_loose(1, at)
        inner = _alternative(kind, raw)
        if _is_struct(inner):
            return self._struct(inner, raw, path)
        if _is_array(inner) and _has_elements(inner, path):
            return self._array(inner, raw, path)
        loose = _loosened(kind)
        if loose != kind:
            self._count_loose(bytes(raw).count(b","), at)
        with suppress(ValueError, OverflowError):
            if inner is Raw:  # refused by the check of the struct around it
                raise ValueError
            if inner is datetime:
                return datetime.fromisoformat(_decoder(str).decode(raw))
            if loose != kind:
                return _exact(kind, _decoder(loose).decode(raw))
        raise _Odd(at, reason)

    def _struct(self, kind: type[Struct], raw: Raw | bytes, path: str) -> Struct:
        try:
            parts = _decoder(_undecoded(kind)).decode(raw)
        except msgspec.ValidationError as error:
            raise _Odd(*_told(path, error)) from None
        found = {}
        for name, wire, part_kind, is_required, is_optional in _fields(kind):
            part, at = getattr(parts, name), f"{path}.{wire}"
            if not memoryview(part).nbytes:
                if is_required:
                    raise _Odd(path, f"Object missing required field `{wire}`")
                continue
            try:
                if part_kind is Raw and bytes(memoryview(part)[:1]) not in (b"{", b"n"):
                    raise _Odd(at, "Expected `object`")
                found[name] = self.read(part_kind, part, at)
            except _Odd as odd:
                if not is_optional:
                    raise
                self._leave_out(at, odd, part)
        return kind(**found)

    def _array(self, kind: Kind, raw: Raw | bytes, path: str) -> tuple[Any, ...]:
        (item, *_) = get_args(kind)
        body = bytes(raw)
        if body.count(b",") > max(FEW, len(body) // LEAST_LENGTH):
            raise _Odd(path, "Expected objects, texts or arrays in the array")
        try:
            values: list[Any] = _decoder(list[Raw]).decode(body)
        except msgspec.ValidationError as error:
            raise _Odd(*_told(path, error)) from None
        del body
        decode, kept = _decoder(item).decode, 0
        for number, part in enumerate(values):
            try:
                value = decode(part)
            except msgspec.ValidationError:
                at = f"{path}[{number}]"
                try:
                    value = self.read(item, part, at)
                except _Odd as odd:
                    self._leave_out(at, odd, part)
                    if not _is_array(item) or _in_set(path):
                        continue
                    value = ()
            values[kept] = value  # in its place, so that both are not in memory for all elements
            kept += 1
        del values[kept:]
        return tuple(values)

    def _leave_out(self, path: str, odd: _Odd, part: Raw) -> None:
        self.count += 1
        if self.count > _MOST:
            raise DecodeError(
                f"more than {_MOST} parts of the document are odd, such as {odd.at}", path=odd.at
            )
        told = self._elements if path.endswith("]") else self._fields
        if len(told) < MOST_TOLD:
            told.append(LeftOut(path, odd.at, odd.reason, _name_of(part)))

    def _count_loose(self, values: int, at: str) -> None:
        self._loose += values
        if self._loose > _MOST_LOOSE:
            raise DecodeError(
                f"more than {_MOST_LOOSE} values of the document are odd, such as {at}", path=at
            )


class _Named(Struct):
    name: str | None = None


def _name_of(part: Raw) -> str | None:
    """Return the field `name` of a part, fit for logs, or None if it has none."""
    with suppress(msgspec.ValidationError):
        if name := _decoder(_Named).decode(part).name:
            return "".join(char if char.isprintable() else " " for char in name[:_LONGEST])
    return None


def _told(path: str, error: msgspec.ValidationError) -> tuple[str, str]:
    """Return the JSON path and the reason in msgspec's message, which ends with a path in the part."""
    reason, _, inner = str(error).partition(" - at ")
    return path + inner.strip("`").removeprefix("$"), reason


def _in_set(path: str) -> bool:
    return path.rpartition(".")[2] in _SETS


def _is_struct(kind: Kind) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _is_array(kind: Kind) -> bool:
    origin: Any = get_origin(kind)
    return origin is tuple


@cache
def _decoder(kind: Kind) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


@cache
def _undecoded(kind: type[Struct]) -> type[Struct]:
    """Return the type of the same object with its fields as they are on the wire."""
    raw = [(one.name, Raw, field(name=one.encode_name, default=_NOTHING)) for one in fields(kind)]
    return msgspec.defstruct(f"_{kind.__name__}", raw)


@cache
def _fields(kind: type[Struct]) -> tuple[tuple[str, str, Kind, bool, bool], ...]:
    """Return each field's name, its name on the wire, its type, and whether it is required and optional.

    A field that is neither has a value where it is absent, but an odd one is not taken for that.
    """
    hints = get_type_hints(kind, include_extras=True)
    return tuple(
        (
            one.name,
            one.encode_name,
            hints[one.name],
            one.required,
            (kind, one.name) not in _DEFINING
            and (hints[one.name] is Raw or type(None) in _types(hints[one.name])),
        )
        for one in fields(kind)
    )


def _types(kind: Kind) -> tuple[Kind, ...]:
    """Return the alternatives of a union, or the type itself."""
    origin: Any = get_origin(kind)
    return get_args(kind) if origin in (UnionType, Union) else (kind,)


def _alternative(kind: Kind, raw: Raw | bytes) -> Kind:
    """Return the alternative of a union that an object, array or text is meant for; else the type itself."""
    begin = bytes(memoryview(raw)[:64]).lstrip()[:1]
    for one in _types(kind):
        if begin == b"{" and _is_struct(one):
            return one
        if begin == b"[" and _is_array(one):
            return one
        if begin == b'"' and one is datetime:
            return one
    return kind


def _has_elements(kind: Kind, path: str) -> bool:
    """Return whether an array's elements can be left out one by one, which depends on their type."""
    item, *rest = get_args(kind)
    if rest != [...]:
        return False
    is_part = any(one is str or _is_struct(one) for one in _types(item))
    if _is_array(item):
        return _in_set(path) or _is_struct(get_args(item)[0])
    return is_part and Integer not in _types(item)  # a gate's qubits belong together


@cache
def _loosened(kind: Kind) -> Kind:
    """Return the type that also takes whole numbers written as `3.0`, and 0 and 1 for flags."""
    if kind == Integer:
        return Integer | float
    if kind is bool:
        return bool | Integer | float
    if _is_array(kind):
        return tuple[tuple(_loosened(one) for one in get_args(kind))]  # type: ignore[misc]
    if len(types := _types(kind)) > 1:
        return Union[tuple(map(_loosened, types))]  # noqa: UP007
    return kind


def _exact(kind: Kind, value: Any) -> Any:
    """Return a value of the loosened type as one of the type itself.

    Raises:
        ValueError: it cannot be one.
    """
    types = _types(kind)
    if isinstance(value, tuple):
        one = next(one for one in types if _is_array(one))
        item, *rest = get_args(one)
        kinds = [item] * len(value) if rest == [...] else [item, *rest]
        return tuple(map(_exact, kinds, value))
    if isinstance(value, float) and Integer in types and float not in types:
        if value.is_integer() and -(2**63) <= value < 2**63:
            return int(value)
        raise ValueError
    if bool in types and not isinstance(value, bool) and isinstance(value, (int, float)):
        if Integer not in types and value in (0, 1):
            return bool(value)
        raise ValueError
    return value
