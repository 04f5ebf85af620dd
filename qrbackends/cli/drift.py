"""`qrbackends drift`: what has changed from one calibration of a backend to another."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

import click
from rich.text import Text

from ..analysis.comparison import Comparison, Difference, Element, compare
from ..errors import NotFound
from ..models import BackendProperties, median_of, summary
from .calibration import Figure, figures
from .columns import Column, minute, number
from .options import Source, SourceCommand, source_options
from .past import WEEK, Asked, asked_options, only_one
from .quantities import QUANTITIES, change, label, quantity_option, shown
from .screen import print_facts, print_table
from .tables import Table, table_options
from .text import echo
from .views import on, some


def _verdict(worse: bool) -> Text:
    return Text("worse", "red") if worse else Text("better", "green")


_DIFFERENCES: Final[tuple[Column[Difference], ...]] = (
    Column("name", "value", lambda one: one.name, rank=1, cell=lambda one: label(one.name, one.gate)),
    Column("gate", "gate", lambda one: one.gate, rank=21, extra=True),
    Column("qubits", "on", lambda one: one.qubits, lambda qubits: "-".join(map(str, qubits))),
    number("before", "before", lambda one: one.before, rank=4, cell=lambda one: shown(one.name, one.before)),
    number("after", "after", lambda one: one.after, rank=3, cell=lambda one: shown(one.name, one.after)),
    number("relative", "change", lambda one: one.relative, change, 2),
    Column("worse", "is", lambda one: one.worse, _verdict, 5),
)


class _Median(NamedTuple):
    """The median of a figure in both calibrations; None where there is none."""

    figure: Figure
    before: float | None
    after: float | None

    @property
    def relative(self) -> float | None:
        """The relative change, or None if it is not known."""
        if not self.before or self.after is None:
            return None
        return (self.after - self.before) / self.before


_MEDIANS: Final[tuple[Column[_Median], ...]] = (
    Column("figure", "median", lambda one: one.figure.figure, cell=lambda one: one.figure.label),
    number("before", "before", lambda one: one.before, rank=2, cell=lambda one: one.figure.shown(one.before)),
    number("after", "after", lambda one: one.after, rank=1, cell=lambda one: one.figure.shown(one.after)),
    number("relative", "change", lambda one: one.relative, change, 3),
)


@click.command(cls=SourceCommand)
@source_options
@asked_options(stepped=False)
@quantity_option(QUANTITIES)
@table_options(_DIFFERENCES, on_screen=20)
def drift(source: Source, asked: Asked, table: Table[Difference], names: tuple[str, ...]) -> None:
    """Show what has changed on a backend.

    The newest calibration before --until is compared with the newest one before --since: the medians, what
    works no more or works again, and each qubit's and gate's values, the greatest relative changes first. All
    times are in UTC. --csv has the values.
    """
    before, after = asyncio.run(_read(source, asked))
    found = compare(before, after)
    medians = _medians(before, after)
    rows = [one for one in found.differences if not names or one.name in names]
    if table.for_screen:
        print_facts(source.title(f"drift of {asked.backend_id}"), _facts(found))
        echo()
        print_table("Medians", _MEDIANS, medians)
        echo()
    note = "" if rows else _why_none(found)
    table.show(
        None if table.for_screen else source,
        "Values",
        rows,
        note,
        value=lambda rows: _json_of(found, medians, [table.values(row) for row in rows]),
    )


async def _read(source: Source, asked: Asked) -> tuple[BackendProperties, BackendProperties]:
    """Return the calibration before the range, and the last one in it."""
    async with source.client() as client:
        after = await asked.newest(client, asked.until)
        newest = after.last_update_date
        since = asked.since or newest - WEEK
        try:
            return await asked.newest(client, since), after
        except NotFound:
            problem = f"{asked.backend_id} has no calibration before {minute(since)} UTC"
        try:
            await asked.newest(client, newest - timedelta(seconds=1))
        except NotFound:
            raise click.ClickException(f"{problem}; {only_one(source, newest)}") from None
    raise click.ClickException(f"{problem}, to compare that of {minute(newest)} with: give another --since")


def _medians(before: BackendProperties, after: BackendProperties) -> list[_Median]:
    earlier = {one.figure: median_of(one.spread) for one in figures(summary(properties=before))}
    later = figures(summary(properties=after))
    return [_Median(one, earlier.get(one.figure), median_of(one.spread)) for one in later]


def _facts(found: Comparison) -> list[tuple[str, str]]:
    parts = {
        "works no more": found.broken,
        "works again": found.repaired,
        "is new": found.appeared,
        "is gone": found.gone,
    }
    return [
        ("before", f"{minute(found.before)} UTC"),
        ("after", f"{minute(found.after)} UTC"),
        *((name, some(map(_element, elements))) for name, elements in parts.items()),
    ]


def _element(one: Element) -> str:
    return f"qubit {one.qubits[0]}" if one.gate is None else on(one.gate, one.qubits)


def _why_none(found: Comparison) -> str:
    if found.before == found.after:
        return f"It was not calibrated in between: its newest calibration is of {minute(found.after)} UTC."
    return "No value has changed."


def _json_of(found: Comparison, medians: Iterable[_Median], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    parts = {
        name: [one._asdict() for one in getattr(found, name)]
        for name in ("broken", "repaired", "appeared", "gone")
    }
    return {
        "before": found.before,
        "after": found.after,
        "medians": [{column.name: column.value(one) for column in _MEDIANS} for one in medians],
        "differences": rows,
        **parts,
    }
