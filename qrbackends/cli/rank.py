"""`qrbackends rank`: the backends in order of a key, best first."""

import asyncio
from typing import Final

import click

from ..fleet.filters import BackendFilter
from ..fleet.keys import KEYS, RankKey
from ..models import Backend
from .choices import Choice
from .entries import ENTRIES, WAITS
from .filters import NONE_MATCHES, filter_options, fractional_gates_option, warn_of_unmatched
from .logs import warned
from .options import Source, SourceCommand, include_mocks_option, source_options
from .tables import Table, table_options

SHOWN_BY: Final[dict[RankKey, str]] = {
    "queue": "queue_length",
    "wait_time": "wait_time_p50_s",
    "clops": "clops",
    "two_qubit_error": "two_qubit_error_median",
    "two_qubit_error_best": "two_qubit_error_best",
    "two_qubit_error_layered": "two_qubit_error_layered",
    "readout_error": "readout_error_median",
    "qubits": "qubits",
}
"""By key, the column that shows its values."""

_WORDS: Final[dict[RankKey, str]] = {
    "queue": "queue",
    "wait_time": "median waiting time",
    "clops": "CLOPS",
    "two_qubit_error": "two-qubit error",
    "two_qubit_error_best": "best two-qubit error",
    "two_qubit_error_layered": "layered two-qubit error",
    "readout_error": "readout error",
    "qubits": "number of qubits",
}
"""By key, what its values are called in a sentence."""


@click.command(cls=SourceCommand)
@click.argument("key", type=Choice(tuple(KEYS)), metavar="KEY")
@source_options
@filter_options(online=True)
@fractional_gates_option
@include_mocks_option
@click.option("--reverse", is_flag=True, help="The worst first; unknown values are still last.")
@table_options(ENTRIES, sortable=False)
def rank(
    source: Source,
    table: Table[Backend],
    key: RankKey,
    wanted: BackendFilter,
    fractional_gates: bool,
    include_mocks: bool,
    reverse: bool,
) -> None:
    """Rank the backends by a KEY, best first.

    \b
    queue                    the number of waiting jobs
    wait_time                the median of the jobs' waiting times
    clops                    circuit layer operations per second
    two_qubit_error          the median error of the native two-qubit gate
    two_qubit_error_best     the error of the best such gate
    two_qubit_error_layered  the error per gate of whole layers
    readout_error            the median readout error
    qubits                   the number of qubits

    The values are those of the list. Only quantum computers count, and only those that are online unless
    --any-status says otherwise. A backend that several instances share is shown once; unknown values are
    last.
    """
    if key != "wait_time":
        if table.needs(WAITS):
            raise click.UsageError("`rank wait_time` and `backends --wait-times` ask for waiting times")
        table = table.without(WAITS)
    found = asyncio.run(_ranked(source, key, wanted, fractional_gates, include_mocks, reverse))
    shown, words = SHOWN_BY[key], _WORDS[key]
    table = table.showing({shown}, rank=0)
    note = "" if found else NONE_MATCHES
    if found and all(one.value(row) is None for one in ENTRIES if one.name == shown for row in found):
        note = f"No backend reports its {words}."
    table.show(source, f"backends by {words}", found, note, lambda rows: rows)


async def _ranked(
    source: Source, key: RankKey, wanted: BackendFilter, fractional_gates: bool, mocks: bool, reverse: bool
) -> tuple[Backend, ...]:
    with warned("qrbackends.ranking"):
        async with source.client() as client:
            found = await client.rank(
                key,
                reverse=reverse,
                operational=None,
                where=wanted,
                include_mocks=mocks,
                use_fractional_gates=fractional_gates,
            )
            if not found:
                warn_of_unmatched(wanted, await client.backends(include_mocks=mocks))
            return found
