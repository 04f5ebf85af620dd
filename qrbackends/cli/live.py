"""Tables that redraw in place on a terminal."""

from collections.abc import Sequence
from typing import ClassVar, Generic

from rich.console import Console, Group
from rich.live import Live

from .columns import Column, Row
from .screen import make_console, table_of

_AROUND = 8  # lines of the screen for the title, the header, the notes and the prompt


def live_console() -> Console | None:
    """Return a console on which a table can be redrawn; None where stdout is none."""
    console = make_console()
    return console if console.is_terminal and not console.is_dumb_terminal else None


class LiveTable(Generic[Row]):
    """A table that redraws in place, and is not higher than the screen.

    Attributes:
        rows: its rows.
        notes: the sentences below it.

    Args:
        console: the terminal.
        title: the line above the table.
        columns: its columns.
    """

    which: ClassVar[str] = "the first ones"
    """The rows that are kept where not all fit."""

    def __init__(self, console: Console, title: str, columns: Sequence[Column[Row]]) -> None:
        self.rows: Sequence[Row] = ()
        self.notes: Sequence[str] = ()
        self._console = console
        self._title = title
        self._columns = columns

    def live(self) -> Live:
        """Return a context in which the table is on the screen; its `refresh()` draws it anew."""
        return Live(self, console=self._console, auto_refresh=False, vertical_overflow="crop")

    def kept(self, room: int) -> Sequence[Row]:
        """Return the rows that are shown where only so many fit."""
        return self.rows[:room]

    def __rich__(self) -> Group:
        """Return what is drawn."""
        first, *others = self.notes or [""]
        room = max(1, self._console.height - _AROUND - len(others))
        rows, notes = self.rows, [first]
        if len(rows) > room:
            rows = self.kept(room)
            notes.append(f"{len(self.rows) - room:,} more than fit; {self.which} are shown.")
        note = " ".join([*notes, *others])
        return table_of(self._title, self._columns, rows, note, self._console.width)
