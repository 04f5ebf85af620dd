"""Tables, facts and progress bars, as wide as the screen allows."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import repeat
from typing import NamedTuple, TypeAlias

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from .text import clean, printable

_GAPS = (2, 1)  # blanks between columns: two if the columns of rank 0 leave room, otherwise one
_WIDE = 40  # columns that a cell may take on any screen, as long names do; it is cut to the next number
_CUT = 24
_PIPED = 10_000  # columns of output that is no terminal, so that no line is cut or wrapped
_STATUS_STYLES = {"online": "green", "paused": "yellow", "offline": "red"}

Cell: TypeAlias = str | Text


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        header: its title.
        right: whether it is aligned to the right, as numbers are.
        rank: its priority on a narrow screen: columns with low ranks are shown first. Of those with rank 0
            the rightmost are left out where they do not all fit.
    """

    header: str
    right: bool = False
    rank: int = 0


class _Console(Console):
    """A console on which no text, from wherever it is, is a control code; only rich's own are."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield the segments of something that is to be shown."""
        for segment in super().render(renderable, options):
            text = segment.text
            if segment.control or text == "\n" or text.isprintable():
                yield segment
            else:
                yield Segment("\n".join(map(printable, text.split("\n"))), segment.style)


def make_console(stderr: bool = False) -> Console:
    """Return a console that shows text as it is: no markup, no emoji codes, no highlighting."""
    console = _Console(
        stderr=stderr,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        markup=False,
        emoji=False,
        highlight=False,
    )
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = _PIPED
    return console


def status_cell(name: str) -> Text:
    """Return a status as text in its colour."""
    return Text(clean(name), style=_STATUS_STYLES.get(name, ""))


def print_table(
    title: str, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], note: str = ""
) -> None:
    """Print a table. Columns that do not fit are left out, the least important first, and named below.

    Args:
        title: the line above it.
        columns: all columns.
        rows: the cells of each row; they come from the network, and are shown as plain text.
        note: the line below it.
    """
    console = make_console()
    console.print(table_of(title, columns, rows, note, console.width))


def table_of(
    title: str, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], note: str, width: int
) -> Group:
    """Return the table of `print_table` for a screen that is `width` characters wide."""
    cells = [[_text(cell) for cell in row] for row in rows]
    cells = [list(map(_limited, columns, row, repeat(width))) for row in cells]
    shown, gap = _fitting(columns, cells, width)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0))
    for index in shown:
        column = columns[index]
        table.add_column(
            column.header, justify="right" if column.right else "left", no_wrap=True, overflow="ellipsis"
        )
    for row in cells:
        table.add_row(*(row[index] for index in shown))
    hidden = [column.header for index, column in enumerate(columns) if index not in shown]
    notes = [note] if note else []
    if hidden:
        notes.append(f"Not shown for lack of room: {', '.join(hidden)}.")
    below = [Text(clean(" ".join(notes)), style="dim")] if notes else []
    return Group(Text(clean(title), style="bold"), table, *below)


def print_facts(title: str, facts: Iterable[tuple[str, Cell]]) -> None:
    """Print names and values, one pair a line."""
    console = make_console()
    grid = Table.grid(padding=(0, _GAPS[0], 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for name, value in facts:
        grid.add_row(_text(name), _text(value))
    console.print(Text(clean(title), style="bold"))
    console.print(grid)


def _limited(column: Column, cell: Text, width: int) -> Text:
    """Return a cell that leaves room for the other columns, which the other rows need."""
    if column.rank or cell.cell_len <= max(width // 2, _WIDE):
        return cell
    if column.right:
        return Text("…")  # a cut number would be misread
    cell = cell.copy()
    cell.truncate(_CUT, overflow="ellipsis")
    return cell


def _text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else Text(clean(cell))


def _fitting(columns: Sequence[Column], rows: Sequence[Sequence[Text]], room: int) -> tuple[list[int], int]:
    """Return the indices of the columns to show, and the number of blanks between them."""
    widths = [
        max([cell_len(column.header), *(row[index].cell_len for row in rows)])
        for index, column in enumerate(columns)
    ]
    shown = [index for index, column in enumerate(columns) if column.rank == 0]
    wide, narrow = _GAPS
    while len(shown) > 1 and sum(widths[index] + narrow for index in shown) - narrow > room:
        shown.pop()  # a cut number would be misread
    used = sum(widths[index] for index in shown)
    gap = wide if used + (len(shown) - 1) * wide <= room else narrow
    used += (len(shown) - 1) * gap
    for index in sorted(range(len(columns)), key=lambda index: columns[index].rank):
        if columns[index].rank and used + gap + widths[index] <= room:
            shown.append(index)
            used += gap + widths[index]
    return sorted(shown), gap


class Bar:
    """A progress bar on stderr, or nothing where stderr is no terminal."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress = progress
        self._task = progress.add_task(what, total=None)

    def begin(self, what: str, total: int) -> None:
        """Start a new bar of `total` steps, described by `what`."""
        self._progress.reset(self._task, description=what, total=total)

    def step(self) -> None:
        """Count one step as done."""
        self._progress.advance(self._task)


@contextmanager
def progress_bar(what: str) -> Iterator[Bar]:
    """Show a progress bar on stderr, described by `what` and without a total, and remove it at the end."""
    console = make_console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    bar = Bar(progress, what)
    # In rich 14.0 a disabled bar writes an empty line at its end; a bar that was not started writes nothing.
    with progress if console.is_interactive and sys.stderr.isatty() else nullcontext():
        yield bar
