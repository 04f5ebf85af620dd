"""An MCP server as an ASGI app: streamable HTTP, one message for each request, and nothing to be kept."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..client import Client
from ..web.bodies import BodyRefused, read_body
from .server import mcp_server

_MOST_BODY: Final = 65536  # bytes of a message; arguments are short


@asynccontextmanager
async def mcp_app(client: Client) -> AsyncIterator[ASGIApp]:
    """Open an app that answers agents at `/mcp`, by streamable HTTP, until the context ends.

    There are no sessions and no streams, as the server has nothing to say unasked; so any number of workers
    can answer. The app lets everybody in and looks at no Host: wrap it in `qrbackends.web.Guard`, or in an
    app of your own that does it.

    Args:
        client: an open client, which is to stay open.
    """
    manager = StreamableHTTPSessionManager(
        mcp_server(client),
        json_response=True,
        stateless=True,
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    # A GET would open a stream on which nothing is ever sent.
    app = Starlette(routes=[Route("/mcp", _Whole(StreamableHTTPASGIApp(manager)), methods=["POST"])])
    try:
        async with manager.run():
            yield app
    except BaseExceptionGroup as group:  # what is raised within the context, in a group of the SDK's tasks
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None


class _Whole:
    """An ASGI app that wraps another one: it passes whole requests on, and ends them when the visitor leaves.

    The SDK waits for a body without end, logs a traceback for one that is cut off, and goes on with a call
    whose visitor is gone.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(Request(scope, receive), _MOST_BODY)
        except BodyRefused as error:
            await error.response(scope, receive, send)
            return
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            if not waiting:
                await anyio.sleep_forever()  # the group ends it
            return waiting.pop()

        async def leave() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(leave)
            await self._app(scope, replay, send)
            group.cancel_scope.cancel()
