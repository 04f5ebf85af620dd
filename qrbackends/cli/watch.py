"""`qrbackends watch`: the changes in the fleet as they happen."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import ClassVar, Protocol

import anyio
import click
from rich.console import Console, Group
from rich.live import Live

from ..fleet.changes import Change
from ..fleet.filters import BackendFilter
from ..messages.suggestions import suggested
from .arguments import backends_argument, interval_option
from .choices import WholeNumber
from .filters import filter_options, warn_of_unmatched
from .live import LiveTable, live_console
from .options import Source, SourceCommand, source_options
from .tables import Table, table_options
from .text import clean, echo, echo_json, warn
from .watched import WATCHED, Known, Watched, totals

_REDRAWN = 0.1  # seconds between two drawings, as many changes come at once


@click.command(cls=SourceCommand)
@backends_argument
@source_options
@filter_options()
@interval_option("Seconds between two polls, each of one request per instance.")
@click.option(
    "--threshold",
    type=WholeNumber(min=1),
    default=1,
    show_default=True,
    metavar="JOBS",
    help="The number of jobs by which a queue has to change to be shown.",
)
@click.option(
    "--detail", is_flag=True, help="Show new calibrations, too: one more request per backend and poll."
)
@table_options(WATCHED, sort="name", limited=False)
def watch(
    source: Source,
    table: Table[Watched],
    wanted: BackendFilter,
    names: tuple[str, ...],
    interval: float,
    threshold: int,
    detail: bool,
) -> None:
    """Show the changes in the fleet, until Ctrl-C.

    A terminal shows a table that is kept up to date, to which --columns and --sort apply; a pipe gets a line
    for each change, with --csv the backend's row, and with --json an object. The backends that are there at
    the start come first. An instance that fails is shown, and asked again. When a backend passes the filters
    no longer, that change is shown, and it leaves the table.
    """
    known = Known(wanted)
    title = source.title(f"fleet, asked every {interval:g} s")
    console = live_console()
    shown: Shown
    if not table.for_screen:
        source.announce()
        shown = Lines(_echo_object) if table.as_json else Rows(table, known)
    elif console is not None:
        new = {"recalibrated_at"}
        columns = table.showing(new, rank=3) if detail else table.without(new)
        shown = Board(console, title, columns, known)
    else:
        shown = Lines(_echo_line)
        echo(title)
    asyncio.run(_watch(source, shown, known, wanted, set(names), interval, threshold, detail))


class Shown(Protocol):
    """What shows changes."""

    async def show(self, changes: AsyncIterator[Change]) -> None:
        """Show the changes until there are no more."""
        ...


async def _watch(
    source: Source,
    shown: Shown,
    known: Known,
    wanted: BackendFilter,
    names: set[str],
    interval: float,
    threshold: int,
    detail: bool,
) -> None:
    async with source.client() as client:
        if names or wanted.name or wanted.processor:
            listed = await client.backends()
            there = {backend.name for backend in listed}
            for name in sorted(names - there):
                warn(suggested(f"no instance lists {name} now; it is shown when one does", name, there))
            warn_of_unmatched(wanted, listed)
        asked = names or None
        async with client.watch(interval, asked, threshold=threshold, detail=detail) as changes:
            await shown.show(change async for change in changes if known.wants(change))


class Lines:
    """Writes each change at once, on a line of its own."""

    def __init__(self, echo: Callable[[Change], None]) -> None:
        self._echo = echo

    async def show(self, changes: AsyncIterator[Change]) -> None:
        """Write the changes until there are no more."""
        async for change in changes:
            self._echo(change)


class Rows:
    """Writes a row of CSV for each change: its backend, as it is then."""

    def __init__(self, table: Table[Watched], known: Known) -> None:
        self._table, self._known = table, known

    async def show(self, changes: AsyncIterator[Change]) -> None:
        """Write a row for each change until there are no more."""
        self._table.echo_header()
        async for change in changes:
            self._table.echo_row(self._known.take(change))


class Board(LiveTable[Watched]):
    """A table of the backends that redraws in place.

    Args:
        console: the terminal.
        title: the line above the table.
        table: its columns, and its order.
        known: what is known of the backends.
    """

    which: ClassVar[str] = "those that changed last"

    def __init__(self, console: Console, title: str, table: Table[Watched], known: Known) -> None:
        super().__init__(console, title, table.on_screen)
        self._table, self._known = table, known
        self._dirty = asyncio.Event()

    async def show(self, changes: AsyncIterator[Change]) -> None:
        """Draw the table, and redraw it after each change, until there are no more changes."""
        with self.live() as live:
            async with anyio.create_task_group() as group:
                group.start_soon(self._redraw, live)
                async for change in changes:
                    self.take(change)
                    self._dirty.set()
                group.cancel_scope.cancel()

    async def _redraw(self, live: Live) -> None:
        while True:
            await self._dirty.wait()
            await anyio.sleep(_REDRAWN)
            self._dirty.clear()
            live.refresh()

    def take(self, change: Change) -> None:
        """Update the rows with a change."""
        self._known.take(change)

    def kept(self, room: int) -> Sequence[Watched]:
        """Return the rows that changed last, in their order."""
        latest = sorted(self.rows, key=lambda row: -row.moved.at.timestamp() if row.moved else 0.0)[:room]
        kept = {id(row) for row in latest}
        return [row for row in self.rows if id(row) in kept]

    def __rich__(self) -> Group:
        """Return what is drawn."""
        self.rows = self._table.ordered(self._known.rows.values())
        failing = (f"Failing: {clean(str(error))}." for error in self._known.failing.values())
        self.notes = [totals(self.rows), *failing]
        return super().__rich__()


def _echo_object(change: Change) -> None:
    error = None if change.error is None else str(change.error)
    values = {name: getattr(change, name) for name in change.__struct_fields__}
    echo_json(values | {"error": error})


def _echo_line(change: Change) -> None:
    echo(clean(f"{change.at:%Y-%m-%dT%H:%M:%SZ} {change}"))
