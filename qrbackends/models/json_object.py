"""JSON objects whose fields the contract does not define, as read-only mappings."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..errors import DecodeError


class JSONObject(Mapping[str, Any]):
    """A read-only mapping in which all values, nested ones included, are immutable.

    Arrays are tuples and objects are `JSONObject`s, so that tasks can share it.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Any]) -> None:
        self._items = {key: freeze(value) for key, value in items.items()}

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._items!r})"

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
        DecodeError: the object is damaged or nested too deeply.
    """
    try:
        value = msgspec.json.decode(raw) if memoryview(raw) else None
        return None if value is None else JSONObject(value)
    except (ValueError, RecursionError):
        problem = "an open object of this document is damaged or nested too deeply"
    raise DecodeError(problem)
