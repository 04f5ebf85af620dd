"""Clients that are connected: they have a token, know the lists, and keep their connections open."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

import httpx
from hishel import AsyncSqliteStorage, CacheOptions
from hishel.httpx import AsyncCacheTransport

from qrbackends import CachePolicy, Client

from . import official
from .fleet import GRANT, PER_REGION, headers_of
from .service import Service

T = TypeVar("T")
Backend = tuple[str, str]
"""Its region and name."""
Get = Callable[[str, str], Awaitable[bytes]]
"""Takes a region and what is below its address, and returns the inflated body."""


class Loop(NamedTuple):
    """A loop that runs during the turns of the contestants, and keeps open what they have opened."""

    loop: asyncio.AbstractEventLoop
    stack: AsyncExitStack

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end."""
        return self.loop.run_until_complete(work)

    def enter(self, context: AbstractAsyncContextManager[T]) -> T:
        """Enter what is left when the loop is closed."""
        return self.run(self.stack.enter_async_context(context))


@contextmanager
def opened() -> Iterator[Loop]:
    """Yield a loop, and close it with all that was opened."""
    opened = Loop(asyncio.new_event_loop(), AsyncExitStack())
    try:
        yield opened
    finally:
        opened.run(opened.stack.aclose())
        opened.loop.close()


@asynccontextmanager
async def client_of(there: Service) -> AsyncIterator[Client]:
    """Yield ours, which knows the lists for the next hour, so that none is renewed in between."""
    async with Client(there.account(), cache=CachePolicy(backends=3600.0)) as client:
        await client.backends()
        yield client


@asynccontextmanager
async def with_hishel(there: Service) -> AsyncIterator[Get]:
    """Yield what asks with httpx and hishel, which keeps the answers, and always asks if they still hold."""
    with TemporaryDirectory() as folder:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        transport = AsyncCacheTransport(
            httpx.AsyncHTTPTransport(limits=limits, trust_env=False),
            AsyncSqliteStorage(database_path=Path(folder) / "hishel.db", default_ttl=3600),
            rfc=CacheOptions(shared=False),
        )
        async with httpx.AsyncClient(transport=transport, timeout=60) as session:
            form = {"grant_type": GRANT, "apikey": there.api_key}
            token = (await session.post(f"{there.iam_url}/identity/token", data=form)).json()["access_token"]

            async def get(region: str, target: str) -> bytes:
                headers = headers_of(there, region, token) | {"Cache-Control": "no-cache"}
                answer = await session.get(f"{there.urls[region]}{target}", headers=headers)
                return answer.content

            yield get


async def concurrently(
    there: Service, asked: list[Backend], ask: Callable[[str, str], Awaitable[T]]
) -> list[T]:
    """Ask for each of these backends, as many at a time in a region as our client does."""
    places = {region: asyncio.Semaphore(PER_REGION) for region in there.urls}

    async def one(region: str, name: str) -> T:
        async with places[region]:
            return await ask(region, name)

    return await asyncio.gather(*(one(*backend) for backend in asked))


def with_official(there: Service, asked: list[Backend]) -> list[Any]:
    """Return the official client's backends, which know their configurations."""
    found = official.make(there)
    return [found.backend(name) for _, name in asked] if len(asked) < 10 else found.backends()
