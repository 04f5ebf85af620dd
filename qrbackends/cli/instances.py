"""The account's instances."""

import asyncio

import click

from ..service.discovery import ServiceInstance
from . import views
from .options import Source, SourceCommand, source_options
from .screen import print_table
from .text import echo_json


@click.command(cls=SourceCommand)
@source_options
def instances(source: Source, as_json: bool) -> None:
    """List the service instances of the account.

    Their names, plans and tags, in the order in which the client prefers them.
    """
    found = asyncio.run(_instances(source))
    if as_json:
        source.announce()
        echo_json([_row(one) for one in found])
    else:
        print_table(source.title("instances"), views.INSTANCES, map(views.instance, found))


async def _instances(source: Source) -> tuple[ServiceInstance, ...]:
    async with source.client() as client:
        return await client.instances()


def _row(one: ServiceInstance) -> dict[str, object]:
    return {
        "crn": one.instance.crn,
        "name": one.name,
        "region": one.instance.region,
        "plan": one.plan,
        "pricing": one.pricing,
        "tags": one.tags,
    }
