"""The columns of tables: their names, what they show, their order, and their cells in CSV."""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import isnan
from typing import Any, Generic, TypeAlias, TypeVar

from rich.text import Text

from ..models.formatting import DASH, scaled
from .text import clean, whole

Row = TypeVar("Row")
Outer = TypeVar("Outer")

Cell: TypeAlias = str | Text

CHOSEN_BY = 9
"""The greatest rank of the columns by which people choose: they are shown as long as there is any room."""

_MEDIAN = "_median"
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # by these, spreadsheets take a text for a formula


def as_text(value: Any) -> str:
    """Return a value as text for a screen; a dash if it is unknown."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return csv_text(value, guarded=False) or DASH


def micro(value: float | None) -> str:
    """Return seconds as microseconds."""
    return scaled(value, 1e6)


def nano(value: float | None) -> str:
    """Return seconds as nanoseconds."""
    return scaled(value, 1e9)


def minute(value: datetime | None) -> str:
    """Return an instant to the minute, in UTC."""
    return DASH if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"


@dataclass(frozen=True)
class Column(Generic[Row]):
    """A column of a table of rows of any kind.

    Attributes:
        name: its name for `--columns`, `--sort`, CSV and JSON; it ends in the unit if there is one.
        header: its title on the screen.
        value: returns a row's value in SI units; None if it is not known.
        shown: returns a value as it is on the screen.
        rank: its priority on a narrow screen: columns with great ranks are left out first. Those up to
            `CHOSEN_BY` are what people choose by.
        right: whether it is aligned to the right, as numbers are.
        cell: returns a row's cell, where its value alone is not enough for `shown`.
        extra: whether a screen has it only if it is asked for by its name.
        whole: whether it is never left out nor cut, as one that is copied: where there is no room beside the
            other columns, it gets lines of its own.
    """

    name: str
    header: str
    value: Callable[[Row], Any]
    shown: Callable[[Any], Cell] = as_text
    rank: int = 0
    right: bool = False
    cell: Callable[[Row], Cell] | None = None
    extra: bool = False
    whole: bool = False

    def text(self, row: Row) -> Text:
        """Return the cell of a row."""
        cell = self.shown(self.value(row)) if self.cell is None else self.cell(row)
        return cell if isinstance(cell, Text) else Text(clean(cell))

    def of(self, part: Callable[[Outer], Row | None]) -> "Column[Outer]":
        """Return the same column for other rows, of which `part` returns what it is about, or None."""
        draw = self.cell

        def value(row: Outer) -> Any:
            inner = part(row)
            return None if inner is None else self.value(inner)

        def cell(row: Outer) -> Cell:
            inner = part(row)
            return DASH if inner is None or draw is None else draw(inner)

        own: Any = self
        moved: Column[Outer] = replace(own, value=value, cell=None if draw is None else cell)
        return moved


def number(
    name: str,
    header: str,
    value: Callable[[Row], Any],
    shown: Callable[[Any], Cell] = whole,
    rank: int = 0,
    *,
    cell: Callable[[Row], Cell] | None = None,
    extra: bool = False,
) -> Column[Row]:
    """Return a column of numbers."""
    return Column(name, header, value, shown, rank, right=True, cell=cell, extra=extra)


def columns_called(columns: Sequence[Column[Row]], text: str) -> list[Column[Row]]:
    """Return the columns of this name or title, or else all whose name or title begins so.

    Case does not matter, and neither does whether words are separated by `_`, `-` or blanks. A median is also
    called without that word, as it is where backends are ranked.
    """
    wanted = _plain(text)
    if not wanted:
        return []
    names = [(one, (_plain(one.name), _plain(one.header))) for one in columns]
    return (
        [one for one, own in names if wanted in own]
        or [one for one, (name, _) in names if name == f"{wanted}{_MEDIAN}"]
        or [one for one, own in names if any(name.startswith(wanted) for name in own)]
    )


def titles(columns: Sequence[Column[Row]]) -> list[str]:
    """Return the title of each column; where several have the same, their names, in words."""
    count = Counter(one.header for one in columns)
    return [one.header if count[one.header] == 1 else one.name.replace("_", " ") for one in columns]


def in_order(rows: Iterable[Row], column: Column[Row], reverse: bool = False) -> list[Row]:
    """Return the rows in ascending order; those whose value is unknown are last, also with `reverse`."""
    keyed = [(_key(column.value(row)), row) for row in rows]
    known = [(key, row) for key, row in keyed if key is not None]
    known.sort(key=lambda one: one[0], reverse=reverse)
    return [row for _, row in known] + [row for key, row in keyed if key is None]


def csv_text(value: Any, *, guarded: bool = True) -> str:
    """Return a value as the text of a cell; nothing if it is unknown.

    Numbers are as in Python, instants in UTC; qubits are separated by blanks, those of a pair by `-`.

    Args:
        value: the value.
        guarded: whether a text that spreadsheets would take for a formula gets a `'` before it.
    """
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() if abs(value) > sys.maxsize:  # it may have more digits than Python converts
            return whole(value)
        case int() | float():
            return str(value)
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case tuple() | list() if all(isinstance(one, int) for one in value):
            return " ".join(map(str, value))
        case tuple() | list() if all(isinstance(one, tuple) for one in value):
            return " ".join("-".join(map(str, one)) for one in value)
        case tuple() | list():
            value = ", ".join(map(str, value))
    text = clean(str(value))
    return f"'{text}" if guarded and text.startswith(_FORMULA) else text


def _plain(name: str) -> str:
    return re.sub("[-_ ]+", "_", name.strip().casefold())


def _key(value: Any) -> tuple[int, Any] | None:
    """Return what a value is sorted by; numbers come before texts. None if it is unknown."""
    match value:
        case None | "":
            return None
        case float() if isnan(value):
            return None
        case int() | float():
            return 0, value
        case datetime():
            return 0, value.timestamp()
        case tuple() | list() if not (value and isinstance(value[0], str)):
            return 0, len(value)
        case tuple() | list():
            return 1, ", ".join(value).casefold()
    return 1, str(value).casefold()
