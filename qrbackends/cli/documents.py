"""The five resources of the service, one command each."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import click

from ..client import Client
from ..models import BackendsResponse
from . import views
from .options import Source, SourceCommand, include_mocks_option, instant_of, source_options
from .screen import print_facts, print_table
from .text import echo, echo_json, warn

T = TypeVar("T")

_backend = click.argument("backend_id", metavar="ID")
_calibration = click.option("--calibration-id", metavar="NAME", help="A named variant of the backend.")


def _fetched(source: Source, fetch: Callable[[Client], Awaitable[T]]) -> T:
    async def fetched() -> T:
        async with source.client() as client:
            return await fetch(client)

    return asyncio.run(fetched())


@click.command(cls=SourceCommand)
@source_options
@click.option("--wait-times", is_flag=True, help="Ask for the jobs' waiting times, too.")
@include_mocks_option
def backends(source: Source, as_json: bool, wait_times: bool, include_mocks: bool) -> None:
    """List the backends of all instances.

    The errors are those of the list itself; `fleet` reads the calibrations. Each instance that cannot be
    listed gets one line on stderr; the exit code is 1 only when no instance could be listed.
    """
    fields = ("wait_time_seconds",) if wait_times else ()
    listed = _fetched(source, lambda client: client.backends(fields=fields, include_mocks=include_mocks))
    if as_json:
        source.announce()
        echo_json(BackendsResponse(tuple(listed)))
    else:
        columns = views.BACKENDS + (views.WAITS if wait_times else ())
        print_table(source.title("backends"), columns, (views.backend(b, wait_times) for b in listed))
    for error in listed.errors:
        warn(str(error))


@click.command(cls=SourceCommand)
@source_options
@_backend
@_calibration
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
@_backend
@_calibration
@click.option(
    "--updated-before",
    type=instant_of,
    metavar="INSTANT",
    help="The newest calibration before this instant: ISO 8601 with an offset, such as 2026-04-17T12:00:00Z.",
)
@click.option("--summary", is_flag=True, help="Only the values of the whole device, without the qubits.")
def properties(
    source: Source,
    as_json: bool,
    backend_id: str,
    calibration_id: str | None,
    updated_before: datetime | None,
    summary: bool,
) -> None:
    """Show a backend's calibration.

    The device's medians, its gates, and the values of each qubit. A dash stands for an unmeasured value.
    """
    document = _fetched(
        source,
        lambda client: client.properties(
            backend_id, calibration_id=calibration_id, updated_before=updated_before
        ),
    )
    if as_json:
        source.announce()
        echo_json(document)
        return
    device = views.properties(document, datetime.now(UTC))
    gates, qubits = views.gates(document), views.qubits(document)
    print_facts(source.title(f"properties of {backend_id}"), device)
    echo()
    print_table("Gates", views.GATES, gates)
    if not summary:
        echo()
        print_table("Qubits", views.QUBITS, qubits)


@click.command(cls=SourceCommand)
@source_options
@_backend
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
@_backend
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
