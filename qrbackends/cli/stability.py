"""`qrbackends stability`: how much the values of each qubit vary from calibration to calibration."""

import asyncio
from datetime import UTC, datetime
from typing import Final

import click

from ..analysis.comparison import QubitValue, Stabilities, Stability, qubit_values, stability_of
from ..analysis.comparison import stability as stability_in
from .columns import Column, number
from .options import Archived, Origin, Source, SourceCommand, source_options
from .past import WEEK, Asked, Range, asked_options
from .quantities import label, percent, quantity_option, shown
from .screen import progress_bar
from .tables import Table, table_options


def _range(one: Stability) -> float | None:
    return one.relative_iqr if one.calibrations > 1 else None


def _spread(one: Stability) -> str:
    return percent(_range(one))


_STABILITY: Final[tuple[Column[Stability], ...]] = (
    number("qubit", "qubit", lambda one: one.qubit, str),
    Column("name", "value", lambda one: one.name, label, 1),
    number("relative_iqr", "spread", _range, rank=2, cell=_spread),
    number("median", "median", lambda one: one.median, rank=3, cell=lambda one: shown(one.name, one.median)),
    number("lowest", "lowest", lambda one: one.lowest, rank=4, cell=lambda one: shown(one.name, one.lowest)),
    number(
        "highest", "highest", lambda one: one.highest, rank=5, cell=lambda one: shown(one.name, one.highest)
    ),
    number("calibrations", "calibrations", lambda one: one.calibrations, rank=6),
)


@click.command(cls=SourceCommand)
@source_options
@asked_options()
@quantity_option(("T1", "T2", "readout_error"))
@click.option(
    "--archive", "url", metavar="URL", help="Read an archive instead of the service (`archive sync`)."
)
@table_options(_STABILITY, on_screen=20)
def stability(
    source: Source, asked: Asked, table: Table[Stability], names: tuple[str, ...], url: str | None
) -> None:
    """Show how stable each qubit of a backend was.

    The least stable come first. The spread is the interquartile range of T1, T2 or the readout error over the
    calibrations of a time, divided by their median. All times are in UTC.
    """
    what = f"stability of {asked.backend_id}"
    origin: Origin = source
    note = "No calibration in this time."
    if url is None:
        within, values, note = asyncio.run(_read(source, asked))
        found, what = stability_of(values), f"{what} {within}"
    elif asked.every is not None or asked.calibration_id is not None:
        raise click.UsageError("--archive is read whole: leave out --every and --calibration-id")
    else:
        found = _archived(url, asked)
        origin = Archived(found.emulated)
    rows = [one for one in found if not names or one.name in names]
    if rows:
        is_one = all(one.calibrations == 1 for one in rows)
        note = "A spread takes two calibrations or more; --since asks further back." if is_one else ""
    table.show(origin, what, rows, note)


def _archived(url: str, asked: Asked) -> Stabilities:
    from ..analysis.archive import Archive

    if asked.since is None:
        return stability_in(Archive(url), asked.backend_id, WEEK, until=asked.until)
    until = asked.until or datetime.now(UTC)
    return stability_in(Archive(url), asked.backend_id, until - asked.since, until=until)


async def _read(source: Source, asked: Asked) -> tuple[Range, list[QubitValue], str]:
    """Return the range, the values of its calibrations, none of which is kept, and a note if it is empty."""
    with progress_bar("Reading calibrations") as bar:
        async with source.client() as client:
            within = await asked.range(client)
            calibrations = asked.read(client, within, bar)
            values = [value async for one in calibrations for value in qubit_values(one)]
            return within, values, await asked.note(client, within, values)
