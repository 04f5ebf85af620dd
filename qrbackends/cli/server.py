"""What the commands share that serve something until they are told to end."""

import asyncio
import os
import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ..accounts.secret import Secret
from ..accounts.urls import is_loopback
from ..cache.policy import CachePolicy
from ..client import Client
from .options import Source
from .text import echo_json, warn

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_VARIABLE = "QRBACKENDS_WEB_TOKEN"
_LEAST = 16  # characters of a token

_OPTIONS = (
    click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at."),
    click.option(
        "--allow-host",
        "hosts",
        multiple=True,
        metavar="NAME",
        help="A name under which it may be called; addresses and localhost always may. Repeatable.",
    ),
    click.option(
        "--with-token",
        is_flag=True,
        help=f"Demand a token: that in {_VARIABLE}, or a new one, which is shown.",
    ),
    click.option(
        "--interval",
        type=click.FloatRange(1, 86400),
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        help="How often the lists are asked for, one request per instance.",
    ),
)


@dataclass(frozen=True, slots=True)
class Serving:
    """How something is served."""

    source: Source
    as_json: bool
    host: str
    port: int
    hosts: tuple[str, ...]
    with_token: bool
    interval: float


def serving_options(port: int) -> Callable[[Callable[[Serving], None]], Callable[..., None]]:
    """Add the options of servers; the command gets them as one `Serving`."""

    def add(command: Callable[[Serving], None]) -> Callable[..., None]:
        def with_serving(**options: Any) -> None:
            command(Serving(**options))

        with_serving.__doc__ = command.__doc__
        decorated: Callable[..., None] = click.option(
            "--port", type=click.IntRange(0, 65535), default=port, show_default=True, help="0 for a free one."
        )(with_serving)
        for option in reversed(_OPTIONS):
            decorated = option(decorated)
        return decorated

    return add


def serve_app(
    serving: Serving,
    app: "Callable[[Client], AbstractAsyncContextManager[ASGIApp]]",
    what: str,
    path: str,
    *,
    login: bool,
) -> None:
    """Serve an app with a client until SIGINT or SIGTERM.

    Args:
        serving: how.
        app: makes the app, and in the end closes what belongs to it.
        what: it is, for the person who started it.
        path: where it is.
        login: whether a token can be shown at a page.
    """
    from ..web import Guard, serve

    token, is_new = _token(serving.with_token)
    if token is None and not is_loopback(serving.host):
        warn(f"whoever can reach {serving.host} can read this; --with-token demands a token")

    def announce(url: str) -> None:
        link = f"{url}{path}"
        shown = {"url": link} | ({"token": token.reveal()} if token is not None and is_new else {})
        if serving.as_json:
            serving.source.announce()
            echo_json(shown)
            return
        if login and "token" in shown:  # what follows # is sent to no server
            link = f"{link}#token={shown.pop('token')}"
        click.echo(f"{serving.source.title(what)} at {link}")
        if "token" in shown:
            click.echo(f"Authorization: Bearer {shown['token']}")
        click.echo("Ctrl-C ends it.")

    async def run() -> None:
        async with serving.source.client(CachePolicy()) as client, app(client) as served:
            guarded = Guard(served, token=token, hosts=serving.hosts, login=login)
            await serve(guarded, serving.host, serving.port, announce)

    asyncio.run(run())


def _token(wanted: bool) -> tuple[Secret | None, bool]:
    """Return the token to demand, and whether it is a new one, which has to be shown."""
    if not wanted:
        return None, False
    given = os.environ.get(_VARIABLE, "")
    if given and len(given) < _LEAST:
        raise click.UsageError(f"{_VARIABLE} has to have {_LEAST} characters or more")
    return Secret(given or secrets.token_urlsafe(32)), not given
