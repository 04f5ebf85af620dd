"""The bound of an answer: visible texts, finite numbers, and lists that are as long as there is room.

An agent reads whatever it is given, and pays for it. So an answer has at most `MOST` bytes, whatever the
service sent, and says what was left out and how to ask for it.
"""

import json
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any, Final, TypeVar

import msgspec

from ..models.formatting import visible
from .schemas import Answer, Page

T = TypeVar("T")

MOST: Final = 4000
"""The bytes of a tool's answer on the wire, its text and its structured content together."""

_ROOM: Final = MOST - 400  # the others are MCP's own, around them
_MOST_ENTRIES: Final = 1000  # of a list, of which fewer have room
_LONGEST: Final = (160, 80, 40, 20, 8)  # of a text, and of a list within an entry; shorter where it has to be


def fitted(answer: Answer) -> dict[str, Any]:
    """Return an answer as JSON's types, shortened to the bound.

    Of the lists that `answer.lists` names, the first is shortened first. A `Page` keeps an entry at least, so
    that asking on comes to an end.
    """
    whole = msgspec.to_builtins(answer)
    lengths = {name: len(whole[name]) for name in answer.lists if name in whole}
    whole |= {name: whole[name][:_MOST_ENTRIES] for name in lengths}
    data: dict[str, Any] = {}
    for longest in _LONGEST:
        data = tidy({name: one for name, one in whole.items() if name not in lengths}, longest, longest)
        data |= {name: [tidy(one, longest, longest) for one in whole[name]] for name in lengths}
        _mark(answer, data, lengths)
        for number, name in enumerate(lengths):
            if _size(data) > _ROOM:
                _shorten(answer, data, lengths, name, isinstance(answer, Page) and number == 0)
        if _size(data) <= _ROOM:
            break
    return data


def tidy(value: Any, longest: int, most: int | None = None) -> Any:
    """Return a value of JSON's types with visible texts of at most `longest` characters.

    Floats have 9 significant digits, more than anything that is measured. What has no number in JSON, and
    what is null, is left out of objects. Arrays have at most `most` elements, if it is given: no device has a
    gate on so many qubits.
    """
    if isinstance(value, str):
        return visible(value, longest)
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        known = ((key, one) for key, one in value.items() if _is_known(one))
        return {visible(key, longest): tidy(one, longest, most) for key, one in known}
    if isinstance(value, (list, tuple)):
        return [tidy(one, longest, most) for one in value[:most]]
    return value


def as_text(value: Any) -> str:
    """Return a value of JSON's types as compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def fitting(entries: Iterable[T], room: int, cost: Callable[[T], int]) -> list[T]:
    """Return the entries, from the first on, for which there is room."""
    found: list[T] = []
    for entry in entries:
        room -= cost(entry)
        if room < 0:
            break
        found.append(entry)
    return found


def _is_known(value: Any) -> bool:
    return value is not None and (not isinstance(value, float) or isfinite(value))


def _shorten(answer: Answer, data: dict[str, Any], lengths: dict[str, int], name: str, keeps: bool) -> None:
    """Shorten one list of an answer as far as needed; if it `keeps` an entry, that one stays in any case."""
    entries, data[name] = data[name], []
    _mark(answer, data, lengths)
    data[name] = fitting(entries, _ROOM - _size(data), _size) or entries[:keeps]
    _mark(answer, data, lengths)


def _mark(answer: Answer, data: dict[str, Any], lengths: dict[str, int]) -> None:
    """Write into an answer what is not in it, and how to ask for it."""
    left_out = {
        name: length - len(data[name]) for name, length in lengths.items() if length > len(data[name])
    }
    more = answer.rest if left_out else ""
    if isinstance(answer, Page):
        left_out.pop(answer.lists[0], None)
        after = answer.offset + len(data[answer.lists[0]])
        more = ""
        if after < answer.total:
            data["next_offset"] = after
            more = f"{answer.total - after} more: ask again with offset={after}{answer.rest}"
    data |= {name: value for name, value in (("left_out", left_out), ("more", more)) if value}


def _size(value: Any) -> int:
    """Return the most bytes that a value takes, as structured content and as text.

    Everything beyond ASCII counts as its escape, as some encoders write it.
    """
    text = as_text(value)
    return len(json.dumps(value, separators=(",", ":"))) + len(json.dumps(text)) + 2
