"""A client that opens and closes with an ASGI app. No framework: the protocol is all it takes."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias, Unpack

from ..accounts.account import Account
from ..cache.stores.base import Store
from ..client import Client, OptionsBesideStore

KEY = "qrbackends"
"""The name under which an app's state holds the client."""


StoreOption: TypeAlias = Store | Callable[[], Store] | None
"""A store, or what makes one."""


@asynccontextmanager
async def opened(
    account: Account | None, require: bool, store: StoreOption, options: OptionsBesideStore
) -> AsyncIterator[Client]:
    """Open a client, and in the end close it, and the store and the pool that it was given.

    Raises:
        AccountError: no account is given, and none is found.
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

    The client is there as `client_of(request)`, as FastAPI's `ClientDep`, and for the apps of this package
    that are mounted. In an app with a lifespan of its own:

        @asynccontextmanager
        async def mine(app):
            async with lifespan()(app) as state, database() as db:
                yield {**state, "db": db}

    Args:
        account: left out, the one that `Client.from_account` finds when the app starts.
        require: whether starting fails when no instance can be listed; otherwise the app starts, and its
            answers are problems until the service is back.
        store: a tier that is shared with other workers, or what makes one, as an app needs that is started
            more than once in a process; it is closed with the client.
        options: as for `Client`; a `pool` is closed with it, too.
    """

    @asynccontextmanager
    async def with_client(app: Any) -> AsyncGenerator[dict[str, Any], None]:
        async with opened(account, require, store, options) as client:
            state = getattr(app, "state", None)
            if state is not None:  # whoever forgets to yield what we yield still finds it
                setattr(state, KEY, client)
            yield {KEY: client}

    return with_client


def client_of(request: Any) -> Client:
    """Return the client of the app that a request, or its ASGI scope, came to.

    Raises:
        RuntimeError: the app has none.
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
