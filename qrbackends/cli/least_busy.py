"""`qrbackends least-busy`: the backend with the fewest waiting jobs."""

import asyncio

import click

from ..models import Backend
from . import views
from .options import Source, SourceCommand, source_options
from .screen import print_table
from .text import echo_json


@click.command("least-busy", cls=SourceCommand)
@source_options
@click.option("--min-qubits", type=click.IntRange(min=0), metavar="N", help="At least so many qubits.")
@click.option("--fractional-gates", is_flag=True, help="Only those with the gates rx or rzz.")
def least_busy(source: Source, as_json: bool, min_qubits: int | None, fractional_gates: bool) -> None:
    """Show the backend with the fewest waiting jobs.

    Only quantum computers that are online count; `--min-qubits` also asks for a size, and
    `--fractional-gates` for gates that turn by any angle.

    The exit code is 1 where there is no such backend.
    """
    found = asyncio.run(_least_busy(source, min_qubits, fractional_gates))
    if as_json:
        source.announce()
        echo_json(found)
    else:
        print_table(source.title("least busy backend"), views.BACKENDS, [views.backend(found, False)])


async def _least_busy(source: Source, min_qubits: int | None, fractional_gates: bool) -> Backend:
    async with source.client() as client:
        return await client.least_busy(min_qubits=min_qubits, use_fractional_gates=fractional_gates)
