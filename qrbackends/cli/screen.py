"""Tables, facts and progress bars, as wide as the screen allows."""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from .columns import CHOSEN_BY, Cell, Column, Row, titles
from .text import clean, printable

_GAPS = (2, 1)  # blanks between columns: one only if two cost a column by which people choose
_WIDE = 40  # columns that a cell may take on any screen, as long names do; it is cut to the next number
_CUT = 24
_PIPED = 10_000  # columns of output that is no terminal, so that no line is cut or wrapped
_PARTS = re.compile("[^:]*:+|[^:]+")
_STATUS_STYLES = {"online": "green", "paused": "yellow", "offline": "red"}


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


def print_table(title: str, columns: Sequence[Column[Row]], rows: Iterable[Row], note: str = "") -> None:
    """Print a table. Columns that do not fit are left out, the least important first, and named below.

    Args:
        title: the line above it.
        columns: all columns.
        rows: what each row is about; their texts come from the network, and are shown as plain text.
        note: the line below it.
    """
    console = make_console()
    console.print(table_of(title, columns, rows, note, console.width, folded=False), crop=False)


def table_of(
    title: str,
    columns: Sequence[Column[Row]],
    rows: Iterable[Row],
    note: str,
    width: int,
    *,
    folded: bool = True,
) -> Group:
    """Return the table of `print_table` for a screen that is `width` characters wide.

    Where it is not `folded`, what has lines of its own is not cut into lines: the terminal wraps it, so
    that it is copied as it is. A table that redraws in place has to know its height, and is folded.
    """
    cells = [[_limited(one, one.text(row), width) for one in columns] for row in rows]
    widths = [
        max([cell_len(one.header), *(row[index].cell_len for row in cells)])
        for index, one in enumerate(columns)
    ]
    beside, below, gap = _fitting(columns, widths, width)

    def lines(row: Sequence[Text], style: str = "") -> Iterator[Text]:
        if beside:
            line = Text(" " * gap).join(
                _padded(row[i], min(widths[i], width), columns[i].right) for i in beside
            )
            line.rstrip()
            line.no_wrap, line.style = True, style
            yield line
        for index in below:
            parts = _folded(row[index], width) if folded else [row[index].plain]
            yield from (Text(text, style or "dim", no_wrap=True, overflow="ignore") for text in parts)

    used = sum(widths[i] + gap for i in beside) - gap if beside else width
    parts = [
        Text(clean(title), style="bold"),
        *lines([Text(one.header) for one in columns], "bold"),
        Text("─" * min(width, used), no_wrap=True),
        *chain.from_iterable(map(lines, cells)),
    ]
    hidden = [one for index, one in enumerate(titles(columns)) if index not in (*beside, *below)]
    notes = [note] if note else []
    if hidden:
        notes.append(f"Not shown for lack of room: {', '.join(hidden)}.")
    return Group(*parts, *([Text(clean(" ".join(notes)), style="dim")] if notes else []))


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


def _text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else Text(clean(cell))


def _limited(column: Column[Row], cell: Text, width: int) -> Text:
    """Return a cell that leaves room for the other columns, which the other rows need."""
    if column.whole or column.rank > CHOSEN_BY or cell.cell_len <= max(width // 2, _WIDE):
        return cell
    if column.right:
        return Text("…")  # a cut number would be misread
    cell = cell.copy()
    cell.truncate(_CUT, overflow="ellipsis")
    return cell


def _folded(cell: Text, width: int) -> Iterator[str]:
    """Yield a cell as lines that fit, which end after colons where they can, as the parts of a CRN do."""
    line = ""
    for part in _PARTS.findall(cell.plain):
        if line and cell_len(line) + cell_len(part) > width:
            yield line
            line = ""
        line += part
        *full, line = chop_cells(line, width)
        yield from full
    yield line


def _padded(cell: Text, width: int, right: bool) -> Text:
    cell = cell.copy()
    cell.truncate(width, overflow="ellipsis")
    cell.align("right" if right else "left", width)
    return cell


def _fitting(
    columns: Sequence[Column[Row]], widths: Sequence[int], room: int
) -> tuple[list[int], list[int], int]:
    """Return the indices of the columns to show, those with lines of their own, and the blanks between."""
    by_rank = sorted(range(len(columns)), key=lambda index: columns[index].rank)
    chosen = [i for i in by_rank if columns[i].rank <= CHOSEN_BY or columns[i].whole]
    wide, narrow = _GAPS
    below = [i for i in by_rank if columns[i].whole]
    if sum(widths[i] + narrow for i in chosen) - narrow <= room:
        below = []
    chosen = [i for i in chosen if i not in below]
    gap = wide if sum(widths[i] + wide for i in chosen) - wide <= room else narrow
    shown: list[int] = []
    used = -gap
    for index in [*chosen, *(i for i in by_rank if i not in chosen and i not in below)]:
        if not shown or used + gap + widths[index] <= room:
            shown.append(index)
            used += gap + widths[index]
        elif index in chosen:
            break  # nothing that is less important takes its place
    return sorted(shown), sorted(below), gap


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
