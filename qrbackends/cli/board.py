"""`qrbackends board`: the fleet in a browser, live."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from ..client import Client
from .options import SourceCommand, source_options
from .server import Serving, polling_option, serve_app, serving_options, token_option

if TYPE_CHECKING:
    from starlette.types import ASGIApp


@click.command(cls=SourceCommand)
@source_options
@serving_options(port=8580)
@token_option
@polling_option
@click.option(
    "--archive",
    metavar="URL",
    help="An archive of calibrations (`archive sync`), from which each backend's page shows the last days.",
)
def board(serving: Serving, interval: float, archive: str | None) -> None:
    """Serve a live page that shows the fleet.

    Browsers see every backend of every region, until Ctrl-C. The command needs the extra `web`. Only this
    machine can reach the page, unless --host names another address. The fleet as JSON is below /api. An
    archive is a directory or a URL such as s3://bucket/prefix, and needs the extra `arrow`.
    """
    from ..web import Pace, ServerLimits, board_app

    pace = Pace(interval=interval)
    most = ServerLimits().connections * 3 // 4  # the others are for who has no page yet

    @asynccontextmanager
    async def app(client: Client) -> "AsyncIterator[ASGIApp]":
        yield board_app(client, pace=replace(pace, readers=min(pace.readers, most)), archive=archive)

    serve_app(serving, app, "fleet", "/", login=True)
