"""The account's instances."""

import asyncio
from typing import Final

import click

from ..service.instances import ServiceInstance
from .columns import Column
from .options import Source, SourceCommand, source_options
from .tables import Table, table_options

_COLUMNS: Final[tuple[Column[ServiceInstance], ...]] = (
    Column("name", "name", lambda one: one.name),
    Column("region", "region", lambda one: one.instance.region, rank=1),
    Column("plan", "plan", lambda one: one.plan, rank=2),
    Column("pricing", "pricing", lambda one: one.pricing, rank=10),
    Column("tags", "tags", lambda one: one.tags, rank=11),
    Column("crn", "CRN", lambda one: one.instance.crn, whole=True),
)


@click.command(cls=SourceCommand)
@source_options
@table_options(_COLUMNS)
def instances(source: Source, table: Table[ServiceInstance]) -> None:
    """List the service instances of the account.

    Their names, plans, tags and CRNs, in the order in which the client prefers them.
    """
    table.show(source, "instances", asyncio.run(_instances(source)))


async def _instances(source: Source) -> tuple[ServiceInstance, ...]:
    async with source.client() as client:
        return await client.instances()
