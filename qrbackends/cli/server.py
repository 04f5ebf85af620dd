"""The common part of the commands that serve an app: their options, and the server itself."""

import asyncio
import os
import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from ..accounts.secret import Secret
from ..accounts.urls import is_loopback
from ..cache.policy import CachePolicy
from ..client import Client
from .arguments import interval_option
from .choices import WholeNumber
from .logs import logged
from .options import Source
from .text import echo, echo_json, warn

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_VARIABLE = "QRBACKENDS_WEB_TOKEN"
_LEAST = 16  # the least number of characters of a token

_OPTIONS = (
    click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at."),
    click.option(
        "--allow-host",
        "hosts",
        multiple=True,
        metavar="NAME",
        help="A name that is allowed as Host; addresses and localhost always are. Repeatable.",
    ),
    click.option(
        "--per-address",
        type=WholeNumber(min=0),
        default=128,
        show_default=True,
        metavar="N",
        help="The most connections from one address; 0 for any number, such as behind a proxy.",
    ),
    click.option(
        "--verbose",
        is_flag=True,
        help="Write retries, circuits, renewals and visitors' errors on stderr, and not only when a failure "
        "begins and ends.",
    ),
)

token_option = click.option(
    "--with-token",
    is_flag=True,
    help=f"Demand a token: the one in {_VARIABLE}, or a new one, which is shown.",
)

polling_option = interval_option("Seconds between two polls of the lists, each of one request per instance.")


@dataclass(frozen=True, slots=True)
class Serving:
    """The values of the options of a serving command; one without `--with-token` demands a token."""

    source: Source
    as_json: bool
    host: str
    port: int
    hosts: tuple[str, ...]
    per_address: int
    with_token: bool = True
    verbose: bool = False


def serving_options(port: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of servers; the command gets them as one `Serving`, and its others as they are."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_serving(**options: Any) -> None:
            known = {one.name: options.pop(one.name) for one in fields(Serving) if one.name in options}
            command(Serving(**known), **options)

        decorated: Callable[..., None] = click.option(
            "--port", type=WholeNumber(0, 65535), default=port, show_default=True, help="0 for a free one."
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
    policy: CachePolicy | None = None,
) -> None:
    """Serve an app with a client until SIGINT or SIGTERM.

    Args:
        serving: the values of the options.
        app: returns a context that opens the app, and closes it at the end.
        what: what the app shows, for the line on the screen.
        path: the path of the app's first page.
        login: whether the app has a log-in page for the token.
        policy: the policy of the client's cache.
    """
    from ..web import Guard, ServerLimits, serve

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
        if login and "token" in shown:  # browsers do not send the part after #
            link = f"{link}#token={shown.pop('token')}"
        echo(f"{serving.source.title(what)} at {link}")
        if "token" in shown:
            echo(f"Authorization: Bearer {shown['token']}")
        echo("Ctrl-C ends it.")

    async def run() -> None:
        async with serving.source.client(policy or CachePolicy()) as client, app(client) as served:
            guarded = Guard(served, token=token, hosts=serving.hosts, login=login)
            limits = ServerLimits(per_address=serving.per_address)
            await serve(guarded, serving.host, serving.port, announce, limits)

    with logged(serving.verbose):
        asyncio.run(run())


def _token(wanted: bool) -> tuple[Secret | None, bool]:
    """Return the token to demand, or None, and whether it is new and has to be shown."""
    if not wanted:
        return None, False
    given = os.environ.get(_VARIABLE, "")
    if given and len(given) < _LEAST:
        raise click.UsageError(f"{_VARIABLE} has to have {_LEAST} characters or more")
    return Secret(given or secrets.token_urlsafe(32)), not given
