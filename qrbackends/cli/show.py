"""`qrbackends show`: the summary of one backend."""

import asyncio

import click

from ..client import Client
from ..errors import NotFound, QRBackendsError
from ..models import Backend, BackendProperties, BackendSummary
from ..models import summary as summary_of
from ..tasks.fanout import together
from . import views
from .options import Source, SourceCommand, source_options
from .screen import print_facts, print_table
from .text import echo, echo_json, warn


@click.command(cls=SourceCommand)
@source_options
@click.argument("backend_id", metavar="ID")
def show(source: Source, as_json: bool, backend_id: str) -> None:
    """Show the summary of a backend.

    Its processor, status and calibration; the median, best and worst value of T1, T2, readout and gate
    errors, with their qubits; the faulty qubits and gates, and the couplings that cannot be used. Values that
    do not count are left out, and counted: errors of 1 and more, and values that no device can have.
    """
    found = asyncio.run(_summary(source, backend_id))
    if as_json:
        source.announce()
        echo_json(found)
        return
    print_facts(source.title(backend_id), views.summary(found))
    echo()
    print_table("Figures", views.FIGURES, views.figures(found))


async def _summary(source: Source, backend_id: str) -> BackendSummary:
    """Fetch all documents of a backend concurrently, and return their summary."""
    async with source.client() as client:
        configuration, properties, status, listed = await together(
            client.configuration(backend_id),
            _calibrated(client, backend_id),
            client.status(backend_id),
            _listed(client, backend_id),
        )
    if isinstance(listed, QRBackendsError):  # told only here, as the rest may have failed for the same reason
        warn(str(listed))
        listed = None
    return summary_of(configuration, properties, status, listed=listed)


async def _calibrated(client: Client, backend_id: str) -> BackendProperties | None:
    try:
        return await client.properties(backend_id)
    except (
        NotFound
    ):  # a simulator has none, as may any device; a backend that does not exist fails for its configuration
        return None


async def _listed(client: Client, backend_id: str) -> Backend | QRBackendsError | None:
    """Return the list's entry of a backend, or why the list failed."""
    try:
        return next((one for one in await client.backends() if one.name == backend_id), None)
    except QRBackendsError as error:
        return error
