"""Tables, facts and progress bars, as wide as the screen allows."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import NamedTuple, TypeAlias

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from .text import clean

_GAPS = (2, 1)  # blanks between columns: wide if what has to be shown leaves room, narrow otherwise
_PIPED = 10_000  # columns: what is read by a program is never cut or wrapped
_STATUS_STYLES = {"online": "green", "paused": "yellow", "offline": "red"}

Cell: TypeAlias = str | Text


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        header: its title.
        right: whether it is aligned to the right, as numbers are.
        rank: its place in the queue for what room there is; those of rank 0 come first, and are left out
            from the right where not even they fit.
    """

    header: str
    right: bool = False
    rank: int = 0


def make_console(stderr: bool = False) -> Console:
    """Return a console that shows text as it is: no markup, no emoji codes, no highlighting."""
    console = Console(
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
    """Return a status in its colour; nothing else on the screen has one."""
    return Text(clean(name), style=_STATUS_STYLES.get(name, ""))


def print_table(
    title: str, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], note: str = ""
) -> None:
    """Print a table. Columns that do not fit are left out, the least important first, and named below.

    Args:
        title: the line above it.
        columns: all columns.
        rows: their cells; they come from the network, and are shown as they are.
        note: the line below it.
    """
    console = make_console()
    console.print(table_of(title, columns, rows, note, console.width))


def table_of(
    title: str, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], note: str, width: int
) -> Group:
    """Return what `print_table` prints on a screen of so many columns."""
    cells = [[_text(cell) for cell in row] for row in rows]
    shown, gap = _fitting(columns, cells, width)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0))
    for place in shown:
        column = columns[place]
        table.add_column(
            column.header, justify="right" if column.right else "left", no_wrap=True, overflow="ellipsis"
        )
    for row in cells:
        table.add_row(*(row[place] for place in shown))
    hidden = [column.header for place, column in enumerate(columns) if place not in shown]
    notes = [note] if note else []
    if hidden:
        notes.append(f"Not shown for lack of room: {', '.join(hidden)}.")
    below = [Text(clean(" ".join(notes)), style="dim")] if notes else []
    return Group(Text(clean(title), style="bold"), table, *below)


def print_facts(title: str, facts: Iterable[tuple[str, Cell]]) -> None:
    """Print names and values, one a line."""
    console = make_console()
    grid = Table.grid(padding=(0, _GAPS[0], 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for name, value in facts:
        grid.add_row(Text(name), _text(value))
    console.print(Text(clean(title), style="bold"))
    console.print(grid)


def _text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else Text(clean(cell))


def _fitting(columns: Sequence[Column], rows: Sequence[Sequence[Text]], room: int) -> tuple[list[int], int]:
    """Return the places of the columns to show, and the gap between them."""
    widths = [
        max([cell_len(column.header), *(row[place].cell_len for row in rows)])
        for place, column in enumerate(columns)
    ]
    shown = [place for place, column in enumerate(columns) if column.rank == 0]
    wide, narrow = _GAPS
    while len(shown) > 1 and sum(widths[place] + narrow for place in shown) - narrow > room:
        shown.pop()  # a number that is cut is worse than none
    used = sum(widths[place] for place in shown)
    gap = wide if used + (len(shown) - 1) * wide <= room else narrow
    used += (len(shown) - 1) * gap
    for place in sorted(range(len(columns)), key=lambda place: columns[place].rank):
        if columns[place].rank and used + gap + widths[place] <= room:
            shown.append(place)
            used += gap + widths[place]
    return sorted(shown), gap


class Bar:
    """A progress bar on stderr, or nothing where stderr is no terminal."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress = progress
        self._task = progress.add_task(what, total=None)

    def begin(self, what: str, total: int) -> None:
        """Begin with something new, of `total` steps."""
        self._progress.reset(self._task, description=what, total=total)

    def step(self) -> None:
        """Count one step as done."""
        self._progress.advance(self._task)


@contextmanager
def progress_bar(what: str) -> Iterator[Bar]:
    """Show progress on stderr, at first of `what` and without a number of steps, and remove it at the end."""
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
    # One that is disabled still writes an empty line at its end in rich 14.0; one not begun writes nothing.
    with progress if console.is_interactive and sys.stderr.isatty() else nullcontext():
        yield bar
