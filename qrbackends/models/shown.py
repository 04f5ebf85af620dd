"""How values show themselves: in at most 300 characters, and in notebooks as small tables."""

from collections.abc import Iterable, Mapping, Set
from datetime import datetime
from typing import Any, Final

from msgspec import Raw, Struct

from ..messages.counts import counted

MOST: Final = 300
"""The characters of a `repr`."""

_MOST_OF_TEXT = 60
_FEW = 4  # values of a collection that are shown; of a larger one, only their number is


class Shown(Struct, frozen=True):
    """A struct whose `repr` is short: without defaults, and with the sizes of collections.

    A notebook shows it as a table, if `notebook` has one for its class.
    """

    def __repr__(self) -> str:
        return _struct(self, MOST)

    @property
    def __rich_repr__(self) -> Any:  # msgspec's own would give `rich` all fields
        raise AttributeError("rich shows the repr")

    def _repr_html_(self) -> str | None:
        from .notebook import html_of  # which imports the documents

        return html_of(self)


def joined(begin: str, parts: Iterable[str], end: str, most: int = MOST) -> str:
    """Return the parts with commas between them; those for which there is no room are left out."""
    kept: list[str] = []
    room = most - len(f"{begin}, …{end}")
    for part in parts:
        room -= len(part) + len(", ")
        if room < 0:
            kept.append("…")
            break
        kept.append(part)
    return f"{begin}{', '.join(kept)}{end}"


def brief(value: Any, most: int = MOST // 3) -> str:
    """Return a value as a short text: of a larger collection, the number of its items."""
    match value:
        case Struct():
            return _struct(value, most)
        case str():
            return cut(repr(cut(value, _MOST_OF_TEXT)), 2 * _MOST_OF_TEXT)
        case datetime():
            return value.isoformat()
        case Raw():
            return f"<{memoryview(value).nbytes} bytes>"
        case Mapping() | list() | tuple() | Set():
            return _items(value)
        case _:
            return cut(repr(value), _MOST_OF_TEXT)


def cut(text: str, most: int) -> str:
    """Return a text, and what is longer than `most` characters with an ellipsis at its end."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _struct(struct: Struct, most: int) -> str:
    names, defaults = struct.__struct_fields__, struct.__struct_defaults__
    required = len(names) - len(defaults)
    values = [(name, getattr(struct, name)) for name in names]
    told = [
        f"{name}={brief(value, most // 3)}"
        for number, (name, value) in enumerate(values)
        if number < required or value != defaults[number - required]
    ]
    return joined(f"{type(struct).__name__}(", told, ")", most)


def _items(values: Any) -> str:
    count = len(values)
    if count <= _FEW and all(isinstance(one, (str, int, float)) for one in values):
        text = repr(values)
        if len(text) <= _MOST_OF_TEXT:
            return text
    return f"<{counted(count, 'item')}>"
