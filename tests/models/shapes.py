"""Bodies as dense as the contract's types allow: every array of every answer, filled and repeated."""

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

from msgspec import inspect as types

from qrbackends.protocol.requests import ANSWER_TYPES, Request

Steps: TypeAlias = tuple[str | int, ...]

REQUESTS = {name: Request(name, None if name == "backends" else "ibm_x") for name in ANSWER_TYPES}  # type: ignore[arg-type]
MARK = "@@"
SCALARS: dict[type[types.Type], tuple[Any, ...]] = {
    types.StrType: ("", "a", "\u20ac"),
    types.IntType: (0, 999),
    types.FloatType: (0, 0.5),
    types.BoolType: (True,),
    types.DateTimeType: ("2026-01-01T00:00:00Z",),
}


def small(kind: types.Type) -> Iterator[Any]:
    """Yield the values of a type whose JSON is short against what they take in memory."""
    match kind:
        case types.UnionType():
            for one in kind.types:
                yield from small(one)
        case types.StructType():
            yield minimal(kind)
            filled = {field.encode_name: largest(field.type) for field in kind.fields if field.required}
            yield filled
            for field in kind.fields:
                if not field.required and not isinstance(field.type, types.RawType):
                    yield filled | {field.encode_name: largest(field.type)}
        case types.VarTupleType():
            yield []
            yield from ([one] for one in small(kind.item_type))
        case types.TupleType():
            yield [next(small(one)) for one in kind.item_types]
        case _:
            yield from SCALARS.get(type(kind), ())


def largest(kind: types.Type) -> Any:
    """Return the one of them that takes the most."""
    return list(small(kind))[-1]


def arrays(kind: types.Type, at: Steps = ()) -> Iterator[tuple[Steps, types.Type]]:
    """Yield the place of each array in a type, and the type of its elements."""
    match kind:
        case types.UnionType():
            for one in kind.types:
                yield from arrays(one, at)
        case types.StructType():
            for field in kind.fields:
                yield from arrays(field.type, (*at, field.encode_name))
        case types.VarTupleType():
            yield at, kind.item_type
            yield from arrays(kind.item_type, (*at, 0))


def minimal(kind: types.StructType) -> dict[str, Any]:
    """Return the smallest document of a type; a backend has the name that is asked for."""
    found = {one.encode_name: next(small(one.type)) for one in kind.fields if one.required}
    return found | ({"backend_name": "ibm_x"} if "backend_name" in found else {})


def container(kind: types.Type) -> types.Type:
    """Return the object or array among the alternatives of a union."""
    if isinstance(kind, types.UnionType):
        return next((one for one in kind.types if not isinstance(one, (types.NoneType, *SCALARS))), kind)
    return kind


def put(document: Any, kind: types.Type, steps: Steps, value: Any) -> Any:
    """Return a document with a value at a place, and with what has to be around it."""
    if not steps:
        return value
    kind, step = container(kind), steps[0]
    if isinstance(kind, types.VarTupleType):
        inner = container(kind.item_type)
        base = minimal(inner) if isinstance(inner, types.StructType) else None
        return [put(base, inner, steps[1:], value)]
    assert isinstance(kind, types.StructType)
    inner = next(one.type for one in kind.fields if one.encode_name == step)
    around = minimal(kind) if document is None else document
    return around | {step: put(None, inner, steps[1:], value)}


def dense(*, everywhere: bool = False) -> Iterator[tuple[str, str, bytes, bytes, bytes]]:
    """Yield the resource, the place, and head, element and tail of each body; elements can be repeated.

    Of several arrays in a document with elements of one type, only the first is filled, unless `everywhere`.
    """
    for resource, type_ in ANSWER_TYPES.items():
        if resource == "defaults":
            for odd in (b"[]", b"{}", b"0", b'"a"', b'{"a":0}', b'[{"":[]}]', b"[[[[[[[[0]]]]]]]]"):
                yield resource, "$.x", b'{"x":[', odd, b"]}"
            continue
        kind = types.type_info(type_)
        assert isinstance(kind, types.StructType)
        seen = set()
        for steps, element_type in arrays(kind):
            if not everywhere and repr(element_type) in seen:
                continue
            seen.add(repr(element_type))
            head, tail = json.dumps(put(minimal(kind), kind, steps, [MARK])).encode().split(b'"@@"')
            place = "$" + "".join("[0]" if step == 0 else f".{step}" for step in steps)
            for value in small(element_type):
                element = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
                yield resource, place, head, element.encode(), tail


def repeated(head: bytes, element: bytes, tail: bytes, size: int) -> bytes:
    """Return a body of about `size` bytes."""
    return head + b",".join([element] * (size // (len(element) + 1))) + tail
