"""The options that every command with a table has: its columns, its order, and its form."""

import functools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Generic, TypeAlias, TypeVar

import click

from ..messages.counts import noun
from ..messages.suggestions import suggested, with_question
from .choices import WholeNumber
from .columns import Column, Row, columns_called, csv_text, in_order
from .options import Origin
from .screen import print_table
from .text import echo_csv, echo_json

F = TypeVar("F", bound=Callable[..., None])
_Decorator: TypeAlias = Callable[[Any], Any]

_ALL = "all"


@dataclass(frozen=True)
class Table(Generic[Row]):
    """A table as it is asked for.

    Attributes:
        columns: all its columns.
        chosen: those of `--columns`, in this order; None where it was not given.
        sort: the column by which the rows are sorted; None for the order in which they come.
        reverse: whether they are in descending order.
        limit: how many of them there are at most; None for all.
        as_csv, as_json: whether it is written in this form, and not for a screen.
    """

    columns: Sequence[Column[Row]]
    chosen: Sequence[Column[Row]] | None = None
    sort: Column[Row] | None = None
    reverse: bool = False
    limit: int | None = None
    as_csv: bool = False
    as_json: bool = False

    @property
    def for_screen(self) -> bool:
        """Whether people are to read it."""
        return not (self.as_csv or self.as_json)

    @property
    def on_screen(self) -> Sequence[Column[Row]]:
        """The columns that a screen has.

        The one by which rows are sorted is there, and is never left out; of `--columns`, others are left out
        from the right.
        """
        if self.chosen is None:
            by = self.showing({self.sort.name}, rank=0) if self.sort else self
            return [one for one in by.columns if not one.extra]
        return [
            replace(one, rank=min(place, 0 if one is self.sort else 1))
            for place, one in enumerate(self.chosen)
        ]

    @property
    def written(self) -> Sequence[Column[Row]]:
        """The columns that CSV and JSON have."""
        return self.columns if self.chosen is None else self.chosen

    def needs(self, names: Collection[str]) -> bool:
        """Return whether a column of these names was asked for."""
        asked = [*(self.chosen or ()), *([self.sort] if self.sort else [])]
        return any(one.name in names for one in asked)

    def without(self, names: Collection[str]) -> "Table[Row]":
        """Return the same without the columns of these names, unless they were asked for."""
        return replace(self, columns=[one for one in self.columns if one.name not in names])

    def showing(self, names: Collection[str], rank: int | None = None) -> "Table[Row]":
        """Return the same with the columns of these names on the screen; they may get another rank."""
        columns = [
            replace(one, extra=False, rank=one.rank if rank is None else rank) if one.name in names else one
            for one in self.columns
        ]
        return replace(self, columns=columns)

    def ordered(self, rows: Iterable[Row]) -> list[Row]:
        """Return the rows in the order that was asked for, as many as were asked for."""
        if self.sort is not None:
            rows = in_order(rows, self.sort, self.reverse)
        elif self.reverse:
            rows = reversed([*rows])
        return list(islice(rows, self.limit))

    def show(
        self,
        source: Origin | None,
        what: str,
        rows: Iterable[Row],
        note: str = "",
        value: Callable[[list[Row]], Any] | None = None,
    ) -> None:
        """Write the table.

        Args:
            source: where its data comes from, which is told if it is emulated; None for this machine.
            what: what it shows, for the title.
            rows: the rows.
            note: the line below it on the screen.
            value: returns the value of the rows for JSON; left out, and for `--columns`, it is a list of
                objects.
        """
        found = [*rows]
        rows = self.ordered(found)
        if self.for_screen:
            title = source.title(what) if source else what
            note = " ".join(filter(None, (note, self._unsorted(rows))))
            if len(rows) < len(found):
                note = f"{note} " if note else ""
                first = "The first one" if len(rows) == 1 else f"The first {len(rows):,}"
                shown = f"{first} of {len(found):,} {noun(len(rows), 'is', 'are')} shown"
                note += f"{shown}; --limit says how many."
            print_table(title, self.on_screen, rows, note)
            return
        if source is not None:
            source.announce()
        if self.as_json:
            flat = value is None or self.chosen is not None
            echo_json([self.values(row) for row in rows] if flat or value is None else value(rows))
            return
        self.echo_header()
        for row in rows:
            self.echo_row(row)

    def _unsorted(self, rows: Sequence[Row]) -> str:
        """Return that no row has a value by which it could be sorted, if it is so, and what may be meant."""
        by = self.sort
        if by is None or not rows or any(by.value(row) not in (None, "") for row in rows):
            return ""
        others = [one.name for one in self.columns if by.name in one.name and one is not by]
        text = with_question(f"No row has a value of {by.name} to sort by", others[:3])
        return text if others else f"{text}."

    def values(self, row: Row) -> dict[str, Any]:
        """Return the values of a row, by the names of the columns."""
        return {one.name: one.value(row) for one in self.written}

    def echo_header(self) -> None:
        """Write the first line of CSV."""
        echo_csv(one.name for one in self.written)

    def echo_row(self, row: Row) -> None:
        """Write a row as a line of CSV."""
        echo_csv(csv_text(one.value(row)) for one in self.written)


def _find(columns: Sequence[Column[Any]], text: str) -> Column[Any]:
    found = columns_called(columns, text)
    if len(found) == 1:
        return found[0]
    if found:
        *others, last = [one.name for one in found]
        raise click.BadParameter(f"{text!r} may be {', '.join(others)} or {last}: give one of these")
    names = ", ".join(one.name for one in columns)
    known = [text for one in columns for text in (one.name, one.header)]
    raise click.BadParameter(suggested(f"there is no column {text!r}; there are: {names}", text, known))


def _chosen(columns: Sequence[Column[Any]], text: str) -> list[Column[Any]]:
    if text.strip().lower() == _ALL:
        return list(columns)
    found = [_find(columns, part) for part in text.split(",") if part.strip()]
    if not found:
        raise click.BadParameter("give at least one column")
    return list(dict.fromkeys(found))


def _form_options(columns: Sequence[Column[Any]], complete: Callable[..., Any]) -> list[_Decorator]:
    def columns_of(text: str) -> list[Column[Any]]:
        return _chosen(columns, text)

    names = ", ".join(one.name for one in columns)
    return [
        click.option(
            "--columns",
            "chosen",
            type=columns_of,
            metavar="A,B",
            shell_complete=complete,
            help=f"These columns, in this order: {names}; or {_ALL}. A title on the screen will do, and so "
            "will the beginning of either. With --json, objects of these.",
        ),
        click.option(
            "--csv",
            "as_csv",
            is_flag=True,
            help="CSV on stdout, in SI units, and nothing else there; a text that a spreadsheet would take "
            "for a formula gets a ' before it.",
        ),
    ]


def _order_options(
    columns: Sequence[Column[Any]], complete: Callable[..., Any], sort: str | None
) -> list[_Decorator]:
    def column_of(text: str) -> Column[Any]:
        return _find(columns, text)

    return [
        click.option(
            "--sort",
            type=column_of,
            default=sort,
            show_default=sort is not None,
            metavar="COLUMN",
            shell_complete=complete,
            help="Sort by any of the columns, in ascending order; unknown values are last.",
        ),
        click.option("--reverse", is_flag=True, help="In descending order; unknown values are still last."),
    ]


def _limit_option(on_screen: int | None) -> _Decorator:
    default = f" By default {on_screen} on a screen, and all elsewhere." if on_screen else ""
    return click.option(
        "--limit",
        type=WholeNumber(min=1),
        metavar="N",
        help=f"At most the first N rows.{default}",
    )


def table_options(
    columns: Sequence[Column[Any]],
    *,
    sort: str | None = None,
    sortable: bool = True,
    limited: bool = True,
    on_screen: int | None = None,
) -> Callable[[F], F]:
    """Return a decorator that adds the options of a table; the command gets them as `table`.

    Args:
        columns: all columns of the table.
        sort: the name of the column by which rows are sorted; left out, they are in the order they come.
        sortable: whether there are `--sort` and `--reverse`.
        limited: whether there is `--limit`.
        on_screen: the number of rows on a screen where `--limit` is not given; None for all.
    """

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
        *given, last = incomplete.split(",")
        return [",".join((*given, one.name)) for one in columns if one.name.startswith(last)]

    options = _form_options(columns, complete)
    options += _order_options(columns, complete, sort) if sortable else []
    options += [_limit_option(on_screen)] if limited else []
    names = [*(("sort", "reverse") if sortable else ()), *(("limit",) if limited else ())]

    def add(command: F) -> F:
        @functools.wraps(command)
        def with_table(
            chosen: Sequence[Column[Any]] | None, as_csv: bool, as_json: bool, **others: Any
        ) -> None:
            if as_csv and as_json:
                raise click.UsageError("--csv and --json are two forms: give one of them")
            order = {name: others.pop(name) for name in names}
            table = Table(columns, chosen, as_csv=as_csv, as_json=as_json, **order)
            if table.for_screen and table.limit is None:
                table = replace(table, limit=on_screen)
            command(table=table, **others)

        decorated: Any = with_table
        for option in reversed(options):
            decorated = option(decorated)
        found: F = decorated
        return found

    return add
