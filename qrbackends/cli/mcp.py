"""`qrbackends mcp`: tools for agents, by the Model Context Protocol."""

import asyncio
import logging
import sys
from typing import Final

import click
from click.core import ParameterSource

from ..cache.policy import CachePolicy
from .logs import handled_by
from .options import Source, SourceCommand, source_options
from .server import Serving, serve_app, serving_options
from .signals import ended_by_signals
from .text import echo

# An agent may ask for a status again and again. It gets an old answer only where the service fails.
_POLICY: Final = CachePolicy(status=10.0, stale_while_revalidate=0)
_OF_HTTP: Final = frozenset(("as_json", "host", "hosts", "port", "per_address", "verbose"))


@click.command(cls=SourceCommand)
@source_options
@serving_options(port=8780)
@click.option("--http", is_flag=True, help="Serve streamable HTTP at /mcp, to those who have the token.")
def mcp(serving: Serving, http: bool) -> None:
    """Serve tools for agents, by the Model Context Protocol.

    A host, such as an editor or a chat program, starts the command and talks to it on standard input and
    output. With --http it is a server for several hosts, at an address of this machine unless --host names
    another one; it demands the token in QRBACKENDS_WEB_TOKEN, or a new one, which is shown. The command needs
    the extra `mcp`, and for --http also `web`.

    The tools read what the account can see; they change nothing.
    """
    ctx = click.get_current_context()
    for option in ctx.command.params:
        name = option.name or ""
        if not http and name in _OF_HTTP and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option.opts[0]} can be given together with --http only")
    kept = logging.StreamHandler()  # on stderr, which hosts keep
    kept.setLevel(logging.WARNING)
    with handled_by(kept, "mcp", *(() if serving.verbose else ("qrbackends",))):
        if http:
            from ..agents import mcp_app

            serve_app(serving, mcp_app, "MCP server", "/mcp", login=False, policy=_POLICY)
        else:
            asyncio.run(_serve_stdio(serving.source))


async def _serve_stdio(source: Source) -> None:
    if sys.stdin is None or sys.stdout is None:
        raise click.ClickException("a host has to connect standard input and standard output")
    from ..agents import mcp_server, serve_stdio

    with ended_by_signals():
        source.announce()
        if sys.stdin.isatty():
            echo(
                "A host that speaks MCP starts this command; by hand it is of no use. Ctrl-C ends it.",
                err=True,
            )
        async with source.client(_POLICY) as client:
            await serve_stdio(mcp_server(client))
