"""`qrbackends qubits`: which qubits of a backend to use."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

import click

from ..analysis.layout import coordinates
from ..analysis.tables import QubitRow, qubit_rows
from ..errors import InvalidRequest, QRBackendsError
from ..messages.counts import counted
from ..models import BackendConfiguration, BackendProperties
from ..tasks.fanout import together
from .arguments import backend_argument, calibration_option, updated_before_option
from .calibration import QUBITS
from .chipmap import BOTH, FAULTY, ONLY_LINE, ONLY_SET, OTHER, Mark, chip_map
from .choices import WholeNumber
from .columns import Column, minute, number
from .options import Source, SourceCommand, source_options
from .screen import make_console, print_facts, progress_bar
from .tables import Table, table_options
from .text import echo

if TYPE_CHECKING:
    from ..analysis.qubits import Choice


class _Count(WholeNumber):
    """The number of qubits, which follows the backend."""

    def fail(
        self, message: str, param: click.Parameter | None = None, ctx: click.Context | None = None
    ) -> NoReturn:
        """Refuse a value; where a number is in the backend's place, say that it comes last."""
        first = "" if ctx is None else str(ctx.params.get("backend_id", ""))
        advice = f" The backend comes first: `qubits ID {first}`." if first.isdecimal() else ""
        super().fail(f"{message}{advice}", param, ctx)


class _Chosen(NamedTuple):
    """A qubit that is in the set or in the line.

    Attributes:
        measured: its row of the calibration.
        in_set: whether it is in the set.
        place: its place in the line, from 1 on, or None.
    """

    measured: QubitRow
    in_set: bool
    place: int | None


_measured: Final[dict[str, Column[_Chosen]]] = {one.name: one.of(lambda row: row.measured) for one in QUBITS}
_CHOSEN: Final[tuple[Column[_Chosen], ...]] = (
    _measured.pop("qubit"),
    Column("in_set", "set", lambda one: one.in_set, lambda yes: "yes" if yes else "", 1),
    number("place_in_line", "line", lambda one: one.place, lambda place: str(place or ""), 2),
    *_measured.values(),
)


@click.command(cls=SourceCommand)
@backend_argument
@click.argument("count", type=_Count(min=1), metavar="N")
@source_options
@calibration_option
@updated_before_option
@table_options(_CHOSEN)
def qubits(
    source: Source,
    table: Table[_Chosen],
    backend_id: str,
    count: int,
    calibration_id: str | None,
    updated_before: datetime | None,
) -> None:
    """Show which N qubits of a backend to use.

    The connected set and the line with the least expected error: the probability that any of N - 1 two-qubit
    gates on its couplings, of one idle time of each qubit and of the readout of all fails. It needs the extra
    `graph`. --csv has the qubits.
    """
    from ..analysis.qubits import best_chain, best_qubits

    with progress_bar("Looking for the best qubits"):
        configuration, properties = asyncio.run(_read(source, backend_id, calibration_id, updated_before))
        measured = list(qubit_rows(properties))  # now, as an unknown unit is told before anything is shown
        if count > (there := len(properties.qubits)):
            raise InvalidRequest(f"{backend_id} has {counted(there, 'qubit')}, fewer than {count:,}")
        best = best_qubits(configuration, properties, count)
        line: Choice | InvalidRequest
        try:
            line = best_chain(configuration, properties, count)
        except InvalidRequest as error:  # there may be a set although there is no line
            line = error
    in_line = () if isinstance(line, InvalidRequest) else line.qubits
    rows = [
        _Chosen(one, one["qubit"] in best.qubits, _place(in_line, one["qubit"]))
        for one in measured
        if one["qubit"] in {*best.qubits, *in_line}
    ]
    if table.for_screen:
        title = source.title(f"best {counted(count, 'qubit')} of {backend_id}")
        print_facts(title, _facts(best, line, properties))
        echo()
        _print_map(configuration, properties, best, in_line)
    value = {
        "set": best,
        "line": None if isinstance(line, InvalidRequest) else line,
        "calibrated_at": properties.last_update_date,
    }
    table.show(None if table.for_screen else source, "Qubits", rows, value=lambda _: value)


async def _read(
    source: Source, backend_id: str, calibration_id: str | None, updated_before: datetime | None
) -> tuple[BackendConfiguration, BackendProperties]:
    async with source.client() as client:
        configuration, properties = await together(
            client.configuration(backend_id, calibration_id=calibration_id),
            client.properties(backend_id, calibration_id=calibration_id, updated_before=updated_before),
        )
    return configuration, properties


def _place(line: Sequence[int], qubit: int) -> int | None:
    return line.index(qubit) + 1 if qubit in line else None


def _facts(
    best: "Choice", line: "Choice | InvalidRequest", properties: BackendProperties
) -> list[tuple[str, str]]:
    facts = [("calibrated", f"{minute(properties.last_update_date)} UTC")]
    for name, choice in (("set", best), ("line", line)):
        if isinstance(choice, InvalidRequest):
            facts.append((name, f"none: {choice.message}"))
        else:
            facts.append((name, " ".join(map(str, choice.qubits))))
            facts.append((f"{name} error", f"{choice.expected_error:.1%}, expected"))
    return facts


def _print_map(
    configuration: BackendConfiguration, properties: BackendProperties, best: "Choice", line: Sequence[int]
) -> None:
    """Print a map of the chip, unless it cannot be drawn, or is wider than the screen."""
    faulty = frozenset(properties.faulty_qubits())

    def mark(qubit: int) -> Mark:
        if qubit in best.qubits:
            return BOTH if qubit in line else ONLY_SET
        return ONLY_LINE if qubit in line else FAULTY if qubit in faulty else OTHER

    try:
        positions = coordinates(configuration)
    except QRBackendsError:  # it is too large
        return
    console = make_console()
    used = {*best.couplings, *pairwise(line)}
    lines = chip_map(positions, [mark(qubit) for qubit in range(len(positions))], used, console.width)
    for one in lines:
        console.print(one)
    if lines:
        echo()
