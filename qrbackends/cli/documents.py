"""The five resources of the service, one command each."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import click

from ..analysis.tables import QubitRow, qubit_rows
from ..client import Client
from ..fleet.filters import BackendFilter
from ..models import Backend, BackendsResponse
from . import views
from .arguments import backend_argument, calibration_option, updated_before_option
from .calibration import GATES, QUBITS, gates
from .entries import ENTRIES, WAITS
from .filters import NONE_MATCHES, filter_options, warn_of_unmatched
from .options import Source, SourceCommand, include_mocks_option, source_options
from .screen import print_facts, print_table
from .tables import Table, table_options
from .text import echo, echo_json, warn

T = TypeVar("T")


def _fetched(source: Source, fetch: Callable[[Client], Awaitable[T]]) -> T:
    async def fetched() -> T:
        async with source.client() as client:
            return await fetch(client)

    return asyncio.run(fetched())


@click.command(cls=SourceCommand)
@source_options
@filter_options()
@click.option("--wait-times", is_flag=True, help="Ask for the jobs' waiting times, too.")
@include_mocks_option
@table_options(ENTRIES)
def backends(
    source: Source, table: Table[Backend], wanted: BackendFilter, wait_times: bool, include_mocks: bool
) -> None:
    """List the backends of all instances.

    The errors are those of the list itself; `fleet` reads the calibrations. Each instance that cannot be
    listed gets one line on stderr; the exit code is 1 only when no instance could be listed.
    """
    fields = ("wait_time_seconds",) if wait_times or table.needs(WAITS) else ()
    listed = _fetched(source, lambda client: client.backends(fields=fields, include_mocks=include_mocks))
    table = table.showing(WAITS, rank=1) if wait_times else table if fields else table.without(WAITS)
    found = list(filter(wanted, listed))
    note = "" if found else NONE_MATCHES
    table.show(source, "backends", found, note, lambda rows: BackendsResponse(tuple(rows)))
    for error in listed.errors:
        warn(str(error))
    warn_of_unmatched(wanted, listed)


@click.command(cls=SourceCommand)
@source_options
@backend_argument
@calibration_option
def configuration(source: Source, as_json: bool, backend_id: str, calibration_id: str | None) -> None:
    """Show a backend's configuration.

    Its gates, couplings, limits and timing.
    """
    document = _fetched(
        source, lambda client: client.configuration(backend_id, calibration_id=calibration_id)
    )
    if as_json:
        source.announce()
        echo_json(document)
    else:
        print_facts(source.title(f"configuration of {backend_id}"), views.configuration(document))


@click.command(cls=SourceCommand)
@source_options
@backend_argument
@calibration_option
@updated_before_option
@click.option("--summary", is_flag=True, help="Only the values of the whole device, without the qubits.")
@table_options(QUBITS)
def properties(
    source: Source,
    table: Table[QubitRow],
    backend_id: str,
    calibration_id: str | None,
    updated_before: datetime | None,
    summary: bool,
) -> None:
    """Show a backend's calibration.

    The device's medians, its gates, and the values of each qubit, which --csv has, too. A dash stands for an
    unmeasured value.
    """
    document = _fetched(
        source,
        lambda client: client.properties(
            backend_id, calibration_id=calibration_id, updated_before=updated_before
        ),
    )
    qubits = list(qubit_rows(document))  # now, as an unknown unit is told before anything is shown
    if table.for_screen:
        device, rows = views.properties(document, datetime.now(UTC)), gates(document)
        print_facts(source.title(f"properties of {backend_id}"), device)
        echo()
        print_table("Gates", GATES, rows)
        if summary:
            return
        echo()
    table.show(None if table.for_screen else source, "Qubits", qubits, value=lambda _: document)


@click.command(cls=SourceCommand)
@source_options
@backend_argument
def status(source: Source, as_json: bool, backend_id: str) -> None:
    """Show whether a backend is operational, and its queue."""
    document = _fetched(source, lambda client: client.status(backend_id))
    if as_json:
        source.announce()
        echo_json(document)
    else:
        print_facts(source.title(f"status of {backend_id}"), views.status(document))


@click.command(cls=SourceCommand)
@source_options
@backend_argument
def defaults(source: Source, as_json: bool, backend_id: str) -> None:
    """Show a backend's pulse-level defaults.

    The service has withdrawn most of them: it sends 404, or an empty object.
    """
    document = _fetched(source, lambda client: client.defaults(backend_id))
    if as_json:
        source.announce()
        echo_json(document.to_dict())
    else:
        print_facts(source.title(f"defaults of {backend_id}"), views.defaults(document))
