"""`qrbackends versions`: the versions of the API."""

import asyncio
from typing import Final, NamedTuple

import click

from ..protocol.requests import API_VERSION
from ..service.versions import ApiVersion, in_use
from .columns import Column
from .options import Source, SourceCommand, source_options
from .tables import Table, table_options


class _Version(NamedTuple):
    """A version, and whether it is the one that this package asks for."""

    api: ApiVersion
    is_used: bool


_COLUMNS: Final[tuple[Column[_Version], ...]] = (
    Column("version", "version", lambda one: one.api.version),
    Column("status", "status", lambda one: one.api.status, rank=1),
    Column("sunset_date", "sunset", lambda one: one.api.sunset_date, rank=2),
    Column("used", "used here", lambda one: one.is_used, lambda used: "yes" if used else "", 3),
)


@click.command(cls=SourceCommand)
@source_options
@table_options(_COLUMNS)
def versions(source: Source, table: Table[_Version]) -> None:
    """List the versions of the API that the service supports.

    Their status, and the day from which each may be gone. This package asks for the one that is marked.
    """
    found = asyncio.run(_versions(source))
    used = in_use(found, API_VERSION)
    rows = [_Version(one, one is used) for one in found]
    table.show(
        source,
        "versions of the API",
        rows,
        value=lambda rows: {"versions": [one.api for one in rows], "asked": API_VERSION},
    )


async def _versions(source: Source) -> tuple[ApiVersion, ...]:
    async with source.client() as client:
        return await client.versions()
