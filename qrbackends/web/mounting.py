"""The common base of this package's ASGI apps: the client that they use, and the hubs of its events."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from weakref import WeakKeyDictionary

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from ..client import Client
from .events import Hub, Pace
from .opening import client_of
from .problems import problem
from .responses import ProblemResponse, exception_handlers
from .stream import TRANSPORT, EventStream

_OWN = "qrbackends.client"


class Mountable:
    """An ASGI app that uses a given client, or the client of the app into which it is mounted.

    Args:
        routes: the app's routes.
        client: the client; None for that of the host app's `lifespan`.
    """

    def __init__(self, routes: Sequence[BaseRoute], client: Client | None) -> None:
        self._client = client
        self._app = Starlette(
            routes=routes, exception_handlers={**exception_handlers, HTTPException: _http_problem}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":  # stored now, as the inner app replaces the host app in the scope
            scope = {**scope, _OWN: self._client or client_of(scope), TRANSPORT: _transport(send)}
        await self._app(scope, receive, send)


def _transport(send: Send) -> Any:
    """Return the transport of a request's connection, or None where a middleware hides uvicorn's."""
    return getattr(getattr(send, "__self__", None), "transport", None)


def own_client(request: Request) -> Client:
    """Return the client that a mountable app uses for a request."""
    client: Client = request.scope[_OWN]
    return client


class Hubs:
    """The hubs of an app, one for each client."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._hubs: WeakKeyDictionary[Client, Hub] = WeakKeyDictionary()

    def of(self, client: Client) -> Hub:
        """Return a client's hub."""
        hub = self._hubs.get(client)
        if hub is None:
            hub = self._hubs[client] = Hub(client, self._pace)
        return hub

    async def events(self, request: Request) -> Response:
        """Answer with the stream of events."""
        return self._stream(request, brief=False)

    async def changes(self, request: Request) -> Response:
        """Answer with a stream of the moments at which the fleet has changed."""
        return self._stream(request, brief=True)

    def _stream(self, request: Request, *, brief: bool) -> Response:
        hub = self.of(own_client(request))
        if hub.readers >= hub.pace.readers:
            return ProblemResponse(
                problem(HTTPStatus.SERVICE_UNAVAILABLE, "There are too many readers.", retry_after=30)
            )
        return EventStream(hub, request.headers.get("Last-Event-ID"), brief=brief)


async def _http_problem(_: Request, error: Any) -> Response:
    status = HTTPStatus(error.status_code)
    detail = error.detail if error.detail != status.phrase else status.description
    return ProblemResponse(problem(status, detail or status.phrase), error.headers)
