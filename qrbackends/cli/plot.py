"""`qrbackends plot`: pictures of devices, of their history, and of the fleet."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..client import Client
from ..fleet.filters import BackendFilter
from ..fleet.history import Gap
from ..models import BackendProperties
from ..tasks.fanout import together
from .arguments import (
    backend_argument,
    calibration_option,
    every_option,
    range_options,
    updated_before_option,
)
from .choices import Choice, Group, WholeNumber
from .filters import filter_options
from .options import Source, SourceCommand, source_options
from .past import WEEK, Asked, Range, further_back, unknown
from .text import echo, echo_json, warn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KINDS = (".png", ".svg", ".pdf")
_MOMENTS = 60  # calibrations in a history without --every


def _file(_: click.Context, __: click.Parameter, value: str) -> Path:
    path = Path(value)
    if path.suffix not in _KINDS:
        raise click.BadParameter(f"{value!r} has to end in one of {', '.join(_KINDS)}")
    return path


_output = click.option(
    "-o", "--output", required=True, callback=_file, metavar="FILE.{png,svg,pdf}", help="The picture."
)


_dpi = click.option(
    "--dpi", type=WholeNumber(30, 600), default=150, show_default=True, help="Dots per inch of a PNG."
)


@click.group(cls=Group)
def plot() -> None:
    """Draw devices, their history, and the fleet.

    It needs the extra `plot`. Emulated data says so in the picture.
    """


@plot.command("map", cls=SourceCommand)
@backend_argument
@source_options
@calibration_option
@updated_before_option
@click.option(
    "--by",
    type=Choice(["readout", "t1", "t2", "two_qubit", "operational"]),
    default="readout",
    show_default=True,
    help="What colours the qubits; two_qubit colours the couplings only.",
)
@_output
@_dpi
def error_map(
    source: Source,
    as_json: bool,
    backend_id: str,
    by: Any,
    calibration_id: str | None,
    updated_before: datetime | None,
    output: Path,
    dpi: int,
) -> None:
    """Draw a device's qubits and couplings by their errors."""

    async def draw(client: Client) -> "Figure":
        from ..analysis.plot import error_map

        configuration, properties = await together(
            client.configuration(backend_id, calibration_id=calibration_id),
            client.properties(backend_id, calibration_id=calibration_id, updated_before=updated_before),
        )
        return error_map(configuration, properties, by)

    _draw(source, output, dpi, draw, as_json)


@plot.command(cls=SourceCommand)
@backend_argument
@source_options
@click.option(
    "--name",
    type=Choice(["t1", "t2", "readout_error", "two_qubit_error"], case_sensitive=False),
    default="t1",
    show_default=True,
    help="The figure of which the median and the quartiles are drawn.",
)
@click.option(
    "--qubit",
    "qubits",
    multiple=True,
    type=WholeNumber(min=0),
    help="Draw this qubit's own line, too; repeatable.",
)
@range_options("7 days before the newest calibration", "now, or that calibration")
@calibration_option
@every_option(f"about {_MOMENTS} in all; 1min draws every one")
@_output
@_dpi
def history(
    source: Source,
    as_json: bool,
    backend_id: str,
    name: Any,
    qubits: tuple[int, ...],
    since: datetime | None,
    until: datetime | None,
    calibration_id: str | None,
    every: timedelta | None,
    output: Path,
    dpi: int,
) -> None:
    """Draw a device's calibrations over time."""

    async def draw(client: Client) -> "Figure":
        from ..analysis.plot import history_plot

        begin, end = await _range(client, Asked(backend_id, since, until, calibration_id))
        step = every or max((end - begin) / _MOMENTS, timedelta(minutes=1))
        moments: list[BackendProperties | Gap] = []
        calibrations = client.history(backend_id, begin, end, every=step, calibration_id=calibration_id)
        async for one in calibrations:
            moments.append(one)
            if isinstance(one, Gap):
                warn(unknown(one))
        if not any(moments):
            problem = f"no calibration of {backend_id} {Range(begin, end)} is known"
            raise click.ClickException(problem + further_back(begin, calibrations.newest))
        return history_plot(moments, name, qubits=qubits)

    _draw(source, output, dpi, draw, as_json)


async def _range(client: Client, asked: Asked) -> Range:
    """Return the range of time; by default it ends with the newest calibration, and is not empty after it."""
    if asked.since is not None:
        return await asked.range(client)
    newest = (await asked.newest(client, asked.until)).last_update_date
    return Range(newest - WEEK, min(asked.until or datetime.now(UTC), newest + timedelta(seconds=1)))


@plot.command(cls=SourceCommand)
@source_options
@filter_options()
@_output
@_dpi
def fleet(source: Source, as_json: bool, wanted: BackendFilter, output: Path, dpi: int) -> None:
    """Draw the backends' errors against their queues."""

    async def draw(client: Client) -> "Figure":
        from ..analysis.plot import fleet_plot

        listed = await client.backends()
        for error in listed.errors:
            warn(str(error))
        chosen = [one for one in listed.unique() if wanted(one)]
        if listed and not chosen:
            reasons = ("no backend is what is wanted", *wanted.unmatched(listed))
            raise click.ClickException("; ".join(reasons))
        return fleet_plot(chosen)

    _draw(source, output, dpi, draw, as_json)


def _draw(
    source: Source, output: Path, dpi: int, draw: "Callable[[Client], Awaitable[Figure]]", as_json: bool
) -> None:
    async def run() -> "Figure":
        async with source.client() as client:
            return await draw(client)

    figure = asyncio.run(run())
    figure.savefig(output, dpi=dpi)
    if as_json:
        echo_json({"file": str(output)})
    else:
        echo(f"{output} is drawn.")
    source.announce()
