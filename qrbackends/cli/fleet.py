"""`qrbackends fleet`: every backend of every region, with the medians of its calibration."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, NamedTuple

import anyio
import click

from ..client import Client
from ..errors import NotFound, QRBackendsError
from ..fleet.filters import BackendFilter
from ..messages.counts import counted, noun
from ..models import Backend, summary, unique
from ..tasks.fanout import as_answered
from ..transport.limits import Limits
from .arguments import calibration_option, interval_option, updated_before_option
from .filters import NONE_MATCHES, filter_options
from .live import LiveTable, live_console
from .options import Source, SourceCommand, include_mocks_option, source_options
from .rows import FLEET, Row, json_of
from .screen import Bar, progress_bar
from .tables import Table, table_options
from .text import warn, whole

_INTERVAL = 30.0  # seconds


class _Fleet(NamedTuple):
    """What was read.

    Attributes:
        rows: one for each backend.
        problems: one line for each list or calibration that could not be read.
    """

    rows: list[Row]
    problems: list[str]


@click.command(cls=SourceCommand)
@source_options
@filter_options()
@include_mocks_option
@calibration_option
@updated_before_option
@table_options(FLEET, sort="name")
@click.option("--watch", is_flag=True, help="Read it again and again, until Ctrl-C.")
@interval_option(
    f"Seconds between two readings of --watch, {_INTERVAL:g} by default; a calibration is read every 5 min.",
    None,
)
def fleet(
    source: Source,
    table: Table[Row],
    wanted: BackendFilter,
    watch: bool,
    interval: float | None,
    include_mocks: bool,
    calibration_id: str | None,
    updated_before: datetime | None,
) -> None:
    """Show all backends of all regions, with their errors.

    T1 and T2 are medians over the working qubits; readout and 2q err are medians of error probabilities, the
    latter of the native two-qubit gate; age is the age of the calibration. Bad couplings are pairs of qubits
    that cannot be used: flagged, or with an error of 1 or more. A dash stands for an unknown value; where no
    coupling has an error that counts, it says so. Values that no device can have are left out; --json counts
    them.

    Each instance or calibration that cannot be read gets one line on stderr; the exit code is 1 only when no
    instance could be listed. A backend that several instances share is shown once.

    With --watch, a terminal shows a table that is kept up to date; a pipe gets a table each time, and with
    --json an array on a line.
    """
    if interval is not None and not watch:
        raise click.UsageError("--interval is that of --watch")
    if watch and table.as_csv:
        raise click.UsageError("--csv is one table: `qrbackends watch --csv` writes each change")
    if watch and updated_before is not None:
        raise click.UsageError("--watch shows what is new, and --updated-before what was: give one of them")
    which = {"calibration_id": calibration_id, "updated_before": updated_before}
    reading = _Reading(wanted, include_mocks, which)
    if watch:
        asyncio.run(_watch(source, table, reading, interval or _INTERVAL))
        return
    found = asyncio.run(_read_once(source, reading))
    table.show(source, "fleet", found.rows, _totals(found.rows), _json_of)
    for problem in found.problems:
        warn(problem)


class _Reading(NamedTuple):
    """Reads the fleet.

    Attributes:
        where: which backends.
        mocks: whether mock devices are among them.
        which: the calibrations: arguments of `Client.properties`.
    """

    where: BackendFilter
    mocks: bool
    which: dict[str, Any]

    async def read(self, client: Client, bar: Bar | None = None, *, refresh: bool = False) -> _Fleet:
        """Return what there is now; with `refresh`, the service is asked for the lists."""
        listed = await client.backends(include_mocks=self.mocks, refresh=refresh)
        found = unique(filter(self.where, listed))
        if bar is not None:
            bar.begin("Reading calibrations", len(found))
        rows: list[Row] = []
        absent = 0
        problems = list(self.where.unmatched(listed)) if listed else []
        # As many calls at a time as the client sends requests to a region: a call's deadline begins with the
        # call, so that a backend must not begin to wait before its request can be sent.
        answered = as_answered(_by_region(found), lambda one: self._row(client, one), Limits().per_region)
        async with aclosing(answered) as answers:
            async for _, (row, problem) in answers:
                rows.append(row)
                problems += [problem] if problem else []
                absent += row.error is not None and problem is None
                if bar is not None:
                    bar.step()
        if absent and any(self.which.values()):
            problems.append(f"{counted(absent, 'backend')} {noun(absent, 'has', 'have')} no such calibration")
        rows.sort(key=lambda row: (row.listed.name, row.listed.region or ""))
        return _Fleet(rows, [*map(str, listed.errors), *sorted(problems)])

    async def _row(self, client: Client, backend: Backend) -> tuple[Row, str | None]:
        """Return a backend's row, and what failed."""
        try:
            properties = await client.properties(backend.name, instance=backend.instance, **self.which)
            return Row(backend, summary(properties=properties, listed=backend)), None
        except QRBackendsError as error:
            has_none = isinstance(error, NotFound)  # as simulators and new backends
            return Row(backend, summary(listed=backend), str(error)), None if has_none else str(error)


def _by_region(backends: Iterable[Backend]) -> list[list[Backend]]:
    regions: dict[str | None, list[Backend]] = {}
    for backend in backends:
        regions.setdefault(backend.region, []).append(backend)
    return list(regions.values())


async def _read_once(source: Source, reading: _Reading) -> _Fleet:
    with progress_bar("Listing backends") as bar:
        async with source.client() as client:
            return await reading.read(client, bar)


async def _watch(source: Source, table: Table[Row], reading: _Reading, interval: float) -> None:
    """Show the fleet again and again: on a terminal in place, elsewhere one after the other."""
    title = source.title(f"fleet, read every {interval:g} s")
    console = live_console() if table.for_screen else None
    if table.as_json:
        source.announce()
    async with source.client() as client:
        rounds = _rounds(client, reading, interval)
        if console is None:
            known: set[str] = set()
            async for found in rounds:
                table.show(None, title, found.rows, _totals(found.rows), _json_of)
                for problem in sorted({*found.problems} - known):
                    warn(problem)
                known = {*found.problems}
            return
        shown = LiveTable(console, title, table.on_screen)
        with shown.live() as live:
            async for found in rounds:
                shown.rows = table.ordered(found.rows)
                told = [_totals(found.rows)] if found.rows or not found.problems else []
                shown.notes = [*told, *(f"Failing: {one}." for one in found.problems)]
                live.refresh()


async def _rounds(client: Client, reading: _Reading, interval: float) -> AsyncGenerator[_Fleet, None]:
    """Yield the fleet at intervals; where the lists fail, as it was, with the reason."""
    found = _Fleet([], [])
    while True:
        try:
            found = await reading.read(client, refresh=True)
        except QRBackendsError as error:
            if error.final:
                raise
            found = found._replace(problems=[str(error)])
        yield found
        await anyio.sleep(interval)


def _json_of(rows: Iterable[Row]) -> list[dict[str, Any]]:
    return [json_of(row) for row in rows]


def _totals(rows: Sequence[Row]) -> str:
    if not rows:
        return NONE_MATCHES
    regions = {row.found.region for row in rows}
    online = sum(row.found.operational is True for row in rows)
    jobs = sum(row.found.queue_length or 0 for row in rows)
    return (
        f"{counted(len(rows), 'backend')} in {counted(len(regions), 'region')}, {online} online, "
        f"{whole(jobs)} {noun(jobs, 'job')} waiting."
    )
