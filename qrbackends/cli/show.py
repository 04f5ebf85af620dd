"""`qrbackends show`: the summary of one backend."""

import asyncio
from collections.abc import Awaitable
from datetime import datetime
from typing import Any

import click

from ..client import Client
from ..errors import NotFound, QRBackendsError
from ..models import Backend, BackendProperties, BackendSummary
from ..models import summary as summary_of
from ..tasks.fanout import together
from . import views
from .arguments import backend_argument, calibration_option, updated_before_option
from .calibration import FIGURES, Figure, figures
from .options import Source, SourceCommand, source_options
from .screen import print_facts
from .tables import Table, table_options
from .text import echo, warn


@click.command(cls=SourceCommand)
@source_options
@backend_argument
@calibration_option
@updated_before_option
@table_options(FIGURES)
def show(
    source: Source,
    table: Table[Figure],
    backend_id: str,
    calibration_id: str | None,
    updated_before: datetime | None,
) -> None:
    """Show the summary of a backend.

    Its processor, status and calibration; the median, best and worst value of T1, T2, readout and gate
    errors, with their qubits; the faulty qubits and gates, and the couplings that cannot be used. Values that
    do not count are left out, and counted: errors of 1 and more, and values that no device can have.

    --csv has the figures. The status and the queue are today's, also with --updated-before.
    """
    found = asyncio.run(_summary(source, backend_id, calibration_id, updated_before))
    if table.for_screen:
        print_facts(source.title(backend_id), views.summary(found))
        echo()
    table.show(None if table.for_screen else source, "Figures", figures(found), value=lambda _: found)


async def _summary(
    source: Source, backend_id: str, calibration_id: str | None, updated_before: datetime | None
) -> BackendSummary:
    """Fetch all documents of a backend concurrently, and return their summary."""
    which: dict[str, Any] = {"calibration_id": calibration_id, "updated_before": updated_before}
    async with source.client() as client:
        configuration, properties, status, listed = await together(
            client.configuration(backend_id, calibration_id=calibration_id),
            _calibrated(client.properties(backend_id, **which)),
            client.status(backend_id),
            _listed(client, backend_id),
        )
    if isinstance(properties, NotFound):
        if any(which.values()):
            warn(str(properties))
        properties = None
    if isinstance(listed, QRBackendsError):  # told only here, as the rest may have failed for the same reason
        warn(str(listed))
        listed = None
    return summary_of(configuration, properties, status, listed=listed)


async def _calibrated(asked: Awaitable[BackendProperties]) -> BackendProperties | NotFound:
    try:
        return await asked
    except NotFound as error:  # a simulator has none; an unknown backend fails for its configuration
        return error


async def _listed(client: Client, backend_id: str) -> Backend | QRBackendsError | None:
    """Return the list's entry of a backend, or why the list failed."""
    try:
        return next((one for one in await client.backends() if one.name == backend_id), None)
    except QRBackendsError as error:
        return error
