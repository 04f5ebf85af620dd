"""`qrbackends exporter`: the fleet for Prometheus."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

from ..client import Client
from ..fleet.monitor import Monitor
from .options import SourceCommand, source_options
from .server import Serving, polling_option, serve_app, serving_options, token_option

if TYPE_CHECKING:
    from starlette.types import ASGIApp


@click.command(cls=SourceCommand)
@source_options
@serving_options(port=9580)
@token_option
@polling_option
def exporter(serving: Serving, interval: float) -> None:
    """Serve metrics of the fleet to Prometheus.

    They are at /metrics, until Ctrl-C; /healthz answers with 503 when the fleet is followed no longer. The
    command needs the extras `metrics` and `web`. A scrape sends no request to the service: it gets the last
    known data.
    """
    from ..web import MetricsApp

    @asynccontextmanager
    async def app(client: Client) -> "AsyncIterator[ASGIApp]":
        async with Monitor(client, interval) as monitor:
            yield MetricsApp(client, monitor)

    serve_app(serving, app, "metrics", "/metrics", login=False)
