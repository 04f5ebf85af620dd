"""JSON objects whose fields the contract does not define, as read-only mappings."""

from collections.abc import Iterator, Mapping
from typing import Any, Self

import msgspec

from ..errors import DecodeError
from .shown import brief, joined
from .size import check_open_values, has_long_number

_READ = msgspec.Raw()  # in place of the JSON that was decoded


class JSONObject(Mapping[str, Any]):
    """A read-only mapping in which all values, nested ones included, are immutable.

    Arrays are tuples and objects are `JSONObject`s, so that tasks can share it.
    """

    __slots__ = ("_found", "_raw")

    def __init__(self, items: Mapping[str, Any]) -> None:
        self._found: dict[str, Any] | None = {key: freeze(value) for key, value in items.items()}
        self._raw = _READ

    @classmethod
    def of(cls, raw: msgspec.Raw) -> Self:
        """Return the object whose JSON is `raw`; it is decoded when somebody looks at it first.

        Every look raises `DecodeError` if the object is damaged, nested too deeply or holds too many values.
        """
        unread = cls.__new__(cls)
        unread._found, unread._raw = None, raw
        return unread

    @property
    def _items(self) -> dict[str, Any]:
        raw, found = self._raw, self._found  # in this order: another thread may decode it, too
        if found is None:
            found = self._found = _opened(raw)
            self._raw = _READ
        return found

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        name = type(self).__name__
        try:
            told = (f"{brief(key)}: {brief(value)}" for key, value in self._items.items())
            return joined(f"{name}({{", told, "})")
        except DecodeError as error:
            return f"<{name}: {error.message}>"

    def to_dict(self) -> dict[str, Any]:
        """Return a copy made of dicts and lists, as JSON encoders need it."""
        return {key: thaw(value) for key, value in self._items.items()}


def freeze(value: Any) -> Any:
    """Return a JSON value with its arrays as tuples and its objects as `JSONObject`s."""
    if isinstance(value, Mapping):
        return JSONObject(value)
    if isinstance(value, (list, tuple)):
        return tuple(map(freeze, value))
    return value


def thaw(value: Any) -> Any:
    """Return a frozen JSON value as dicts and lists."""
    if isinstance(value, JSONObject):
        return value.to_dict()
    if isinstance(value, tuple):
        return list(map(thaw, value))
    return value


def object_or_null(raw: msgspec.Raw, name: str) -> msgspec.Raw:
    """Return a copy of `raw`, as `raw` itself would keep the whole response in memory.

    Raises:
        ValueError: `raw` is neither an object nor null; msgspec adds the path of the field `name`.
    """
    if bytes(memoryview(raw)[:1]) not in (b"", b"{", b"n"):
        raise ValueError(f"Expected `object` in {name}")
    return raw.copy()


def read_only(raw: msgspec.Raw) -> JSONObject | None:
    """Return the object in `raw` as a read-only mapping, or None where it is absent or null.

    Raises:
        DecodeError: the object is damaged, nested too deeply, or holds too many values.
    """
    if bytes(memoryview(raw)[:1]) != b"{":
        return None
    found = JSONObject.of(raw)
    len(found)  # decodes it
    return found


def _opened(raw: msgspec.Raw) -> dict[str, Any]:
    """Return the object in `raw`, with its arrays as tuples and its objects as `JSONObject`s."""
    body = bytes(raw)
    check_open_values(body)
    problem = "an open object of this document holds a number that is too long"
    if not has_long_number(body):
        try:
            found = msgspec.json.decode(body, type=dict[str, Any])
            for key, value in found.items():
                found[key] = _sealed(value)
            return found
        except (ValueError, RecursionError):
            problem = "an open object of this document is damaged or nested too deeply"
    raise DecodeError(problem)


def _sealed(value: Any) -> Any:
    """Return what `freeze` does for a value that nobody else holds; its objects are not copied."""
    if type(value) is dict:
        for key, inner in value.items():
            value[key] = _sealed(inner)
        sealed = JSONObject.__new__(JSONObject)
        sealed._found, sealed._raw = value, _READ
        return sealed
    return tuple(map(_sealed, value)) if type(value) is list else value
