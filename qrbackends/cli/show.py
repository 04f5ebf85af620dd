"""A backend at a glance."""

import asyncio

import click

from ..client import Client
from ..errors import NotFound, QRBackendsError
from ..models import Backend, BackendProperties, BackendSummary
from ..models import summary as summary_of
from . import views
from .options import Source, SourceCommand, source_options
from .screen import print_facts, print_table
from .text import echo_json, warn


@click.command(cls=SourceCommand)
@source_options
@click.argument("backend_id", metavar="ID")
def show(source: Source, as_json: bool, backend_id: str) -> None:
    """Show a backend at a glance.

    Its processor, status and calibration; the median, the best and the worst of T1, T2, readout and gate
    errors, and where they are; and what is faulty.
    """
    found = asyncio.run(_summary(source, backend_id))
    if as_json:
        source.announce()
        echo_json(found)
        return
    print_facts(source.title(backend_id), views.summary(found))
    click.echo()
    print_table("Figures", views.FIGURES, views.figures(found))


async def _summary(source: Source, backend_id: str) -> BackendSummary:
    """Ask for all that is told of a backend, at once."""
    async with source.client() as client:
        configuration, properties, status, listed = await asyncio.gather(
            client.configuration(backend_id),
            _calibrated(client, backend_id),
            client.status(backend_id),
            _listed(client, backend_id),
        )
    return summary_of(configuration, properties, status, listed=listed)


async def _calibrated(client: Client, backend_id: str) -> BackendProperties | None:
    try:
        return await client.properties(backend_id)
    except NotFound:  # a simulator has none; what does not exist at all has no configuration either
        return None


async def _listed(client: Client, backend_id: str) -> Backend | None:
    """Return its entry in the list, which tells what no other document does; without it, less is shown."""
    try:
        return next((one for one in await client.backends() if one.name == backend_id), None)
    except QRBackendsError as error:
        warn(str(error))
        return None
