"""`qrbackends fleet`: every backend of every region, and how good each is."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import anyio
import click
from msgspec.structs import replace

from ..analysis.formatting import DASH, probability, scaled
from ..client import Client
from ..errors import NotFound, QRBackendsError
from ..models import Backend
from ..transport.pool import Limits
from .options import Source, SourceCommand, source_options
from .rows import SORTS, Row, Wanted, calibrated, in_order, row_of
from .screen import Bar, Cell, Column, print_table, progress_bar, status_cell
from .text import age, echo_json, warn, whole

_COLUMNS = (
    Column("backend"),
    Column("region", rank=4),
    Column("status"),
    Column("queue", right=True),
    Column("qubits", right=True),
    Column("processor", rank=3),
    Column("CLOPS", right=True, rank=6),
    Column("T1 µs", right=True),
    Column("T2 µs", right=True),
    Column("readout", right=True),
    Column("2q err", right=True),
    Column("2q gate", rank=5),
    Column("age", right=True, rank=2),
    Column("bad qubits", right=True, rank=7),
    Column("bad gates", right=True, rank=8),
    Column("reason", rank=9),
)


@click.command(cls=SourceCommand)
@source_options
@click.option(
    "--sort",
    type=click.Choice(tuple(SORTS)),
    default="name",
    show_default=True,
    help="The least first; what is not known is last.",
)
@click.option("--reverse", is_flag=True, help="The greatest first; what is not known stays last.")
@click.option("--min-qubits", type=click.IntRange(min=0), metavar="N", help="At least so many qubits.")
@click.option("--online", is_flag=True, help="Only what takes and runs jobs now.")
@click.option("--name", metavar="GLOB", help="Only backends whose name matches, such as 'ibm_b*'.")
def fleet(
    source: Source,
    as_json: bool,
    sort: str,
    reverse: bool,
    min_qubits: int | None,
    online: bool,
    name: str | None,
) -> None:
    """Show every backend of every region, and how good it is.

    T1 and T2 are medians over the working qubits, readout and 2q err are medians of error probabilities, 2q
    being the native two-qubit gate; age is the calibration's. A dash stands for what is not known.

    An instance or calibration that cannot be read is told in one line on stderr and hides nothing else; the
    exit code is 1 only when no instance could be listed. A backend that several instances share is shown
    once.
    """
    rows, problems = asyncio.run(_load(source, Wanted(name, min_qubits, online)))
    rows = in_order(rows, sort, reverse)
    if as_json:
        source.announce()
        echo_json(rows)
    else:
        print_table(source.title("fleet"), _COLUMNS, map(_cells, rows), _summary(rows))
    for problem in problems:
        warn(problem)


async def _load(source: Source, wanted: Wanted) -> tuple[list[Row], list[str]]:
    """Return the rows, and one line for each part that could not be read."""
    with progress_bar("Listing backends") as bar:
        async with source.client() as client:
            listed = await client.backends()
            found = {(b.region, b.name): b for b in reversed(listed) if b in wanted}
            bar.begin("Reading calibrations", len(found))
            rows, problems = await _read(client, found.values(), bar)
    return rows, [str(error) for error in listed.errors] + problems


async def _read(client: Client, backends: Iterable[Backend], bar: Bar) -> tuple[list[Row], list[str]]:
    rows: list[Row] = []
    problems: list[str] = []
    # As many at a time as the client lets out to a region: a call's deadline begins with the call, and a
    # backend that waits here for its turn loses none of it.
    places: dict[str | None, anyio.CapacityLimiter] = {}

    async def read(backend: Backend, place: anyio.CapacityLimiter) -> None:
        row = row_of(backend)
        try:
            async with place:
                properties = await client.properties(backend.name, instance=backend.instance)
            row = calibrated(row, properties, datetime.now(UTC))
        except QRBackendsError as error:
            row = replace(row, error=str(error))
            if not isinstance(error, NotFound):  # simulators and new backends have none
                problems.append(str(error))
        rows.append(row)
        bar.step()

    async with anyio.create_task_group() as group:
        for backend in backends:
            if backend.region not in places:
                places[backend.region] = anyio.CapacityLimiter(Limits().per_region)
            group.start_soon(read, backend, places[backend.region])
    return rows, sorted(problems)


def _cells(row: Row) -> list[Cell]:
    faulty = row.faulty_qubits, row.faulty_gates
    return [
        row.name,
        row.region or DASH,
        status_cell(row.status),
        whole(row.queue_length),
        whole(row.qubits),
        row.processor or DASH,
        whole(row.clops),
        scaled(row.t1_median_s, 1e6),
        scaled(row.t2_median_s, 1e6),
        probability(row.readout_error_median),
        probability(row.two_qubit_error_median),
        row.two_qubit_gate or DASH,
        age(row.calibration_age_s),
        *(whole(None if parts is None else len(parts)) for parts in faulty),
        row.reason or DASH,
    ]


def _summary(rows: Sequence[Row]) -> str:
    if not rows:
        return "No backend matches."
    regions = {row.region for row in rows}
    online = sum(row.status == "online" for row in rows)
    return (
        f"{_count(len(rows), 'backend')} in {_count(len(regions), 'region')}, {online} online, "
        f"{sum(row.queue_length for row in rows):,} jobs waiting."
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
