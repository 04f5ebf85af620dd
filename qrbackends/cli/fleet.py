"""`qrbackends fleet`: every backend of every region, with the medians of its calibration."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import aclosing

import click

from ..analysis.formatting import DASH, probability, scaled
from ..client import Client
from ..errors import NotFound, QRBackendsError
from ..messages.counts import counted, noun
from ..models import Backend, median_of, summary, unique
from ..tasks.fanout import as_answered
from ..transport.limits import Limits
from .choices import Choice
from .options import Source, SourceCommand, include_mocks_option, source_options
from .rows import SORTS, Row, Wanted, in_order, json_of
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
    Column("bad couplings", right=True, rank=8),
    Column("reason", rank=9),
)


@click.command(cls=SourceCommand)
@source_options
@click.option(
    "--sort",
    type=Choice(tuple(SORTS)),
    default="name",
    show_default=True,
    help="In ascending order; unknown values are last.",
)
@click.option("--reverse", is_flag=True, help="In descending order; unknown values are still last.")
@click.option("--min-qubits", type=click.IntRange(min=0), metavar="N", help="At least so many qubits.")
@click.option("--online", is_flag=True, help="Only backends that take and run jobs now.")
@include_mocks_option
@click.option("--name", metavar="GLOB", help="Only backends whose name matches, such as 'ibm_b*'.")
def fleet(
    source: Source,
    as_json: bool,
    sort: str,
    reverse: bool,
    min_qubits: int | None,
    online: bool,
    name: str | None,
    include_mocks: bool,
) -> None:
    """Show all backends of all regions, with their errors.

    T1 and T2 are medians over the working qubits; readout and 2q err are medians of error probabilities, the
    latter of the native two-qubit gate; age is the age of the calibration. Bad couplings are pairs of qubits
    that cannot be used: flagged, or with an error of 1 or more. A dash stands for an unknown value; where no
    coupling has an error that counts, it says so. Values that no device can have are left out; --json counts
    them.

    Each instance or calibration that cannot be read gets one line on stderr; the exit code is 1 only when no
    instance could be listed. A backend that several instances share is shown once.
    """
    rows, problems = asyncio.run(_load(source, Wanted(name, min_qubits, online), mocks=include_mocks))
    rows = in_order(rows, sort, reverse)
    if as_json:
        source.announce()
        echo_json([json_of(row) for row in rows])
    else:
        print_table(source.title("fleet"), _COLUMNS, map(_cells, rows), _totals(rows))
    for problem in problems:
        warn(problem)


async def _load(source: Source, wanted: Wanted, *, mocks: bool) -> tuple[list[Row], list[str]]:
    """Return the rows, and one line for each list or calibration that could not be read."""
    with progress_bar("Listing backends") as bar:
        async with source.client() as client:
            listed = await client.backends(include_mocks=mocks)
            found = unique(backend for backend in listed if backend in wanted)
            bar.begin("Reading calibrations", len(found))
            rows, problems = await _read(client, found, bar)
    return rows, [str(error) for error in listed.errors] + problems


async def _read(client: Client, backends: Iterable[Backend], bar: Bar) -> tuple[list[Row], list[str]]:
    rows: list[Row] = []
    problems: list[str] = []
    regions: dict[str | None, list[Backend]] = {}
    for backend in backends:
        regions.setdefault(backend.region, []).append(backend)

    async def read(backend: Backend) -> Row:
        try:
            properties = await client.properties(backend.name, instance=backend.instance)
            return Row(summary(properties=properties, listed=backend))
        except QRBackendsError as error:
            if not isinstance(error, NotFound):  # simulators and new backends have no properties
                problems.append(str(error))
            return Row(summary(listed=backend), str(error))

    # As many calls at a time as the client sends requests to a region: a call's deadline begins with the
    # call, so that a backend must not begin to wait before its request can be sent.
    async with aclosing(as_answered(regions.values(), read, Limits().per_region)) as answered:
        async for _, row in answered:
            rows.append(row)
            bar.step()
    return rows, sorted(problems)


def _cells(row: Row) -> list[Cell]:
    found = row.found
    error = median_of(found.two_qubit_error)
    bad = found.faulty_qubits, found.broken_couplings
    return [
        found.backend_name,
        found.region or DASH,
        status_cell(found.status or DASH),
        whole(found.queue_length),
        whole(found.qubits),
        found.processor or DASH,
        whole(found.clops),
        scaled(median_of(found.t1), 1e6),
        scaled(median_of(found.t2), 1e6),
        probability(median_of(found.readout_error)),
        "none works" if found.left_out["two_qubit_error"] and error is None else probability(error),
        found.two_qubit_gate or DASH,
        age(found.calibration_age),
        *(whole(None if found.calibrated_at is None else len(parts)) for parts in bad),
        found.reason or DASH,
    ]


def _totals(rows: Sequence[Row]) -> str:
    if not rows:
        return "No backend matches."
    regions = {row.found.region for row in rows}
    online = sum(row.found.operational is True for row in rows)
    jobs = sum(row.found.queue_length or 0 for row in rows)
    return (
        f"{counted(len(rows), 'backend')} in {counted(len(regions), 'region')}, {online} online, "
        f"{whole(jobs)} {noun(jobs, 'job')} waiting."
    )
