"""aiohttp.web: a client in the app's cleanup context, and errors as problem details."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Unpack

from aiohttp import web

from ..accounts.account import Account
from ..assembly import OptionsBesideStore
from ..client import Client
from ..errors import QRBackendsError
from .encoding import encode
from .opening import StoreOption, opened
from .problems import problem_log, problem_of

CLIENT = web.AppKey("CLIENT", Client)
"""The key of an app's client: `request.app[CLIENT]`."""


def client_ctx(
    account: Account | None = None,
    *,
    require: bool = False,
    store: StoreOption = None,
    **options: Unpack[OptionsBesideStore],
) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return a context for `app.cleanup_ctx` that opens the client `app[CLIENT]`, and closes it at the end.

    Args:
        account: by default the one that `Client.from_account` finds when the app starts.
        require: whether the start of the app fails when no instance can be listed.
        store: a store that is shared with other workers, or a function that returns one; it is closed with
            the client.
        options: as for `Client`; a `pool` is closed with the client, too.
    """

    async def context(app: web.Application) -> AsyncIterator[None]:
        async with opened(account, require, store, options) as client:
            app[CLIENT] = client
            yield

    return context


def json_response(value: Any, *, status: int = 200) -> web.Response:
    """Return a JSON response for any of this package's documents; large documents are encoded once."""
    return web.Response(body=encode(value), status=status, content_type="application/json")


@web.middleware
async def problem_middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer a `QRBackendsError` with problem details (RFC 9457)."""
    try:
        return await handler(request)
    except QRBackendsError as error:
        found = problem_of(error)
        problem_log.add(error, found.log_level)  # the answer has no details
    return web.Response(body=encode(found), status=found.status, headers=found.headers)
