"""`qrbackends least-busy`: the backend with the fewest waiting jobs."""

import asyncio

import click

from ..fleet.filters import BackendFilter
from ..models import Backend
from .entries import ENTRIES, WAITS
from .filters import filter_options, fractional_gates_option
from .logs import warned
from .options import Source, SourceCommand, include_mocks_option, source_options
from .tables import Table, table_options


@click.command("least-busy", cls=SourceCommand)
@source_options
@filter_options(online=True)
@fractional_gates_option
@include_mocks_option
@table_options([one for one in ENTRIES if one.name not in WAITS], sortable=False, limited=False)
def least_busy(
    source: Source,
    table: Table[Backend],
    wanted: BackendFilter,
    fractional_gates: bool,
    include_mocks: bool,
) -> None:
    """Show the backend with the fewest waiting jobs.

    Only quantum computers count, and only those that are online unless --any-status says otherwise.

    The exit code is 1 where there is no such backend.
    """
    found = asyncio.run(_least_busy(source, wanted, fractional_gates, include_mocks))
    table.show(source, "least busy backend", [found], value=lambda rows: rows[0])


async def _least_busy(source: Source, wanted: BackendFilter, fractional_gates: bool, mocks: bool) -> Backend:
    with warned("qrbackends.ranking"):
        async with source.client() as client:
            return await client.least_busy(
                operational=None,
                min_qubits=wanted.min_qubits,  # so that an error says how large the largest one is
                where=wanted,
                include_mocks=mocks,
                use_fractional_gates=fractional_gates,
            )
