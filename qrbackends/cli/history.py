"""`qrbackends history`: the calibrations of a backend, one after the other."""

import asyncio
from dataclasses import replace
from typing import Final

import click

from ..models import BackendProperties, BackendSummary, summary
from .columns import Column
from .options import Source, SourceCommand, source_options
from .past import Asked, Range, asked_options
from .rows import CALIBRATED
from .screen import progress_bar
from .tables import Table, table_options

_calibrated: Final = {one.name: one for one in CALIBRATED}
_HISTORY: Final[tuple[Column[BackendSummary], ...]] = (
    Column("name", "backend", lambda one: one.backend_name, rank=20, extra=True),
    replace(_calibrated.pop("calibrated_at"), rank=0, extra=False),
    *_calibrated.values(),
)


@click.command(cls=SourceCommand)
@source_options
@asked_options()
@table_options(_HISTORY)
def history(source: Source, asked: Asked, table: Table[BackendSummary]) -> None:
    """Show the calibrations of a backend, oldest first.

    With --limit they are the newest ones. The median errors and coherence times of each, and how many qubits
    and couplings cannot be used. All times are in UTC. What the service does not answer gets a line on
    stderr.
    """
    count = table.limit if table.sort is None else None  # all have to be read to be sorted
    within, found, note = asyncio.run(_read(source, asked, count))
    table.show(source, f"calibrations of {asked.backend_id} {within}", found, note)


async def _read(source: Source, asked: Asked, count: int | None) -> tuple[Range, list[BackendSummary], str]:
    with progress_bar("Reading calibrations") as bar:
        async with source.client() as client:
            within = await asked.range(client)
            if count is None:
                found = [_summary(one) async for one in asked.read(client, within, bar)]
            else:
                found = await asked.latest(client, within, count, bar, _summary)
            return within, found, await asked.note(client, within, found)


def _summary(properties: BackendProperties) -> BackendSummary:
    return summary(properties=properties)
