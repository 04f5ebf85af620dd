"""`qrbackends watch`: the changes in the fleet as they happen."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeAlias

import anyio
import click
from rich.console import Console, Group
from rich.live import Live

from ..analysis.formatting import DASH
from ..errors import QRBackendsError
from ..fleet.changes import Change
from ..messages.counts import noun
from ..messages.suggestions import suggested
from ..models import Backend
from .options import Source, SourceCommand, source_options
from .screen import Cell, Column, make_console, status_cell, table_of
from .text import clean, echo, echo_json, warn, whole

_REDRAWN = 0.1  # seconds between two drawings, as many changes come at once
_COLUMNS = (
    Column("backend"),
    Column("region", rank=2),
    Column("status"),
    Column("queue", right=True),
    Column("by", right=True, rank=1),
    Column("qubits", right=True, rank=4),
    Column("changed", rank=1),
    Column("recalibrated", rank=3),
    Column("reason", rank=5),
)
_Row: TypeAlias = tuple[Backend, Change | None, Change | None]  # last change, recalibration

_AROUND = 8  # lines of the screen for the title, the header, the notes and the prompt


@click.command(cls=SourceCommand)
@click.argument("names", nargs=-1, metavar="[BACKEND]...")
@source_options
@click.option(
    "--interval",
    type=click.FloatRange(1, 86400),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds between two polls, each of one request per instance.",
)
@click.option(
    "--threshold",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="JOBS",
    help="The number of jobs by which a queue has to change to be shown.",
)
@click.option(
    "--detail", is_flag=True, help="Show new calibrations, too: one more request per backend and poll."
)
def watch(
    source: Source, as_json: bool, names: tuple[str, ...], interval: float, threshold: int, detail: bool
) -> None:
    """Show the changes in the fleet, until Ctrl-C.

    A terminal shows a table that is kept up to date; a pipe gets a line for each change, and with --json an
    object. The backends that are there at the start come first. An instance that fails is shown, and asked
    again.
    """
    console = make_console()
    if as_json:
        shown: Lines | Board = Lines(_echo_object)
        source.announce()
    elif console.is_terminal and not console.is_dumb_terminal:
        shown = Board(console, source.title(f"fleet, asked every {interval:g} s"), detail)
    else:
        shown = Lines(_echo_line)
        echo(source.title(f"fleet, asked every {interval:g} s"))
    asyncio.run(_watch(source, shown, set(names), interval, threshold, detail))


async def _watch(
    source: Source, shown: "Lines | Board", names: set[str], interval: float, threshold: int, detail: bool
) -> None:
    async with source.client() as client:
        if names:
            listed = {backend.name for backend in await client.backends()}
            for name in sorted(names - listed):
                warn(suggested(f"no instance lists {name} now; it is shown when one does", name, listed))
        wanted = names or None
        async with client.watch(interval, wanted, threshold=threshold, detail=detail) as changes:
            await shown.show(changes)


class Lines:
    """Writes each change at once, on a line of its own."""

    def __init__(self, echo: Callable[[Change], None]) -> None:
        self._echo = echo

    async def show(self, changes: AsyncIterator[Change]) -> None:
        """Write the changes until there are no more."""
        async for change in changes:
            self._echo(change)


class Board:
    """A table that redraws in place.

    Args:
        console: the terminal.
        title: the line above the table.
        detail: whether calibrations are watched, too.
    """

    def __init__(self, console: Console, title: str, detail: bool) -> None:
        self._console = console
        self._title = title
        self._columns = [column for column in _COLUMNS if detail or column.header != "recalibrated"]
        self._rows: dict[tuple[str | None, str | None], _Row] = {}
        self._failing: dict[tuple[str | None, str | None], QRBackendsError | None] = {}
        self._dirty = asyncio.Event()

    async def show(self, changes: AsyncIterator[Change]) -> None:
        """Draw the table, and redraw it after each change, until there are no more changes."""
        with Live(self, console=self._console, auto_refresh=False, vertical_overflow="crop") as live:
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
        key = change.region, change.backend
        if change.kind == "failed":
            self._failing[key] = change.error
        elif change.kind == "recovered":
            self._failing.pop(key, None)
        elif change.after is None:
            self._rows.pop(key, None)
        else:
            _, moved, calibrated = self._rows.get(key, (None, None, None))
            if change.kind == "recalibrated":
                calibrated = change
            elif change.kind != "present":
                moved = change
            self._rows[key] = change.after, moved, calibrated

    def __rich__(self) -> Group:
        """Return the table; where not all backends fit, it has those that changed last."""
        room = max(1, self._console.height - _AROUND - len(self._failing))
        rows = sorted(self._rows.values(), key=_latest_first)
        notes = [_summary(backend for backend, _, _ in rows)]
        if len(rows) > room:
            notes.append(f"{len(rows) - room:,} more than fit; those that changed last are shown.")
        rows = sorted(rows[:room], key=_by_name)
        notes += [f"Failing: {clean(str(error))}." for error in self._failing.values()]
        cells = ([*self._cells(*row)] for row in rows)
        return table_of(self._title, self._columns, cells, " ".join(notes), self._console.width)

    def _cells(self, backend: Backend, moved: Change | None, calibrated: Change | None) -> Iterable[Cell]:
        by = 0
        if moved is not None and moved.before is not None:
            by = backend.queue_length - moved.before.queue_length
        shown: dict[str, Cell] = {
            "backend": backend.name,
            "region": backend.region or DASH,
            "status": status_cell(backend.status.name),
            "queue": whole(backend.queue_length),
            "by": f"{'+' if by > 0 else ''}{whole(by)}" if by else "",
            "qubits": whole(backend.qubits),
            "changed": f"{moved.at.astimezone():%H:%M:%S}" if moved else DASH,
            "recalibrated": f"{calibrated.at.astimezone():%H:%M:%S}" if calibrated else DASH,
            "reason": backend.status.reason or DASH,
        }
        return (shown[column.header] for column in self._columns)


def _by_name(row: _Row) -> tuple[str, str]:
    return row[0].name, row[0].region or ""


def _latest_first(row: _Row) -> tuple[float, tuple[str, str]]:
    moved = row[1]
    return -moved.at.timestamp() if moved else 0.0, _by_name(row)


def _summary(backends: Iterable[Backend]) -> str:
    states: Counter[str] = Counter()
    waiting = 0
    for backend in backends:
        states[backend.status.name] += 1
        waiting += backend.queue_length
    if not states:
        return "No backend yet."
    by_state = ", ".join(f"{states[state]:,} {state}" for state in sorted(states))
    return f"{by_state}; {whole(waiting)} {noun(waiting, 'job')} waiting."


def _echo_object(change: Change) -> None:
    error = None if change.error is None else str(change.error)
    values = {name: getattr(change, name) for name in change.__struct_fields__}
    echo_json(values | {"error": error})


def _echo_line(change: Change) -> None:
    where = f"{change.backend} ({change.region})" if change.backend else change.instance or "the service"
    echo(clean(f"{change.at:%Y-%m-%dT%H:%M:%SZ} {where}: {_described(change)}"))


def _described(change: Change) -> str:
    before, after = change.before, change.after
    match change.kind:
        case "failed":
            return f"fails: {change.error}"
        case "recovered" if change.backend is not None:
            return "its entry in the list can be read again"
        case "recovered":
            return "answers again"
        case "recalibrated" if change.calibrated_at is not None:
            return f"recalibrated at {change.calibrated_at:%Y-%m-%dT%H:%M:%SZ}"
        case "queue" if before is not None and after is not None:
            return f"queue {whole(before.queue_length)} to {whole(after.queue_length)}"
        case "status" if before is not None and after is not None:
            return f"{_state(before)} to {_state(after)}"
    if after is None:
        return change.kind
    jobs = f"{whole(after.queue_length)} {noun(after.queue_length, 'job')}"
    return f"{change.kind}, {_state(after)}, {jobs}"


def _state(backend: Backend) -> str:
    return backend.status.name + (f" ({backend.status.reason})" if backend.status.reason else "")
