"""`qrbackends versions`: the versions of the API."""

import asyncio

import click

from ..models.formatting import DASH
from ..protocol.requests import API_VERSION
from ..service.versions import ApiVersion, in_use
from .options import Source, SourceCommand, source_options
from .screen import Column, print_table
from .text import echo_json

_COLUMNS = (Column("version"), Column("status"), Column("sunset"), Column("used here"))


@click.command(cls=SourceCommand)
@source_options
def versions(source: Source, as_json: bool) -> None:
    """List the versions of the API that the service supports.

    Their status, and the day from which each may be gone. This package asks for the one that is marked.
    """
    found = asyncio.run(_versions(source))
    if as_json:
        source.announce()
        echo_json({"versions": found, "asked": API_VERSION})
        return
    used = in_use(found, API_VERSION)
    rows = [
        [one.version, one.status or DASH, str(one.sunset_date or DASH), "yes" if one is used else ""]
        for one in found
    ]
    print_table(source.title("versions of the API"), _COLUMNS, rows)


async def _versions(source: Source) -> tuple[ApiVersion, ...]:
    async with source.client() as client:
        return await client.versions()
