"""A client that is opened and closed with an ASGI app of any framework."""

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import Any, TypeAlias, Unpack

from ..accounts.account import Account
from ..assembly import OptionsBesideStore
from ..cache.stores.base import Store
from ..client import Client

KEY = "qrbackends"
"""The name of the client in an app's state."""


StoreOption: TypeAlias = Store | Callable[[], Store] | None
"""A store, or a function that returns one."""


@asynccontextmanager
async def opened(
    account: Account | None, require: bool, store: StoreOption, options: OptionsBesideStore
) -> AsyncIterator[Client]:
    """Open a client; at the end close it, and the store and the pool that it was given.

    Raises:
        AccountError: no account was given or found.
        QRBackendsError: with `require`: no instance could be listed.
    """
    async with AsyncExitStack() as stack:
        tier = store() if callable(store) else store
        for part in (tier, options.get("pool")):
            if isinstance(part, AbstractAsyncContextManager):
                await stack.enter_async_context(part)
        if account is None:
            client = Client.from_account(store=tier, **options)
        else:
            client = Client(account, store=tier, **options)
        await stack.enter_async_context(client)
        if require:
            await client.backends()
        yield client


def lifespan(
    account: Account | None = None,
    *,
    require: bool = False,
    store: StoreOption = None,
    **options: Unpack[OptionsBesideStore],
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """Return a lifespan for a Starlette or FastAPI app: `FastAPI(lifespan=lifespan())`.

    The client is available as `client_of(request)`, as FastAPI's `ClientDep`, and to the mounted apps of
    this package. In an app with a lifespan of its own:

        @asynccontextmanager
        async def mine(app):
            async with lifespan()(app) as state, database() as db:
                yield {**state, "db": db}

    Args:
        account: by default the one that `Client.from_account` finds when the app starts.
        require: whether the start of the app fails when no instance can be listed; otherwise the app starts,
            and answers with errors until the service can be reached.
        store: a store that is shared with other workers, or a function that returns one, which is needed
            where the app is started more than once in a process; it is closed with the client.
        options: as for `Client`; a `pool` is closed with the client, too.
    """

    @asynccontextmanager
    async def with_client(app: Any) -> AsyncGenerator[dict[str, Any], None]:
        if "fastapi" in sys.modules:  # so that its routes may return documents, whoever imports `ClientDep`
            import_module(".dependency", __package__)
        async with opened(account, require, store, options) as client:
            state = getattr(app, "state", None)
            if state is not None:  # for an app whose own lifespan does not yield this state
                setattr(state, KEY, client)
            yield {KEY: client}

    return with_client


def client_of(request: Any) -> Client:
    """Return the client of the app that handles a request, given the request or its ASGI scope.

    Raises:
        RuntimeError: the app has no client.
    """
    scope: Mapping[str, Any] = (
        request if isinstance(request, Mapping) and "type" in request else request.scope
    )
    found = (scope.get("state") or {}).get(KEY) or getattr(
        getattr(scope.get("app"), "state", None), KEY, None
    )
    if not isinstance(found, Client):
        raise RuntimeError(
            "the app has no client: give it lifespan=qrbackends.web.lifespan(), or open that in its own"
        )
    return found
