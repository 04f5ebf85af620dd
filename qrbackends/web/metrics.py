"""The metrics of a client and a monitor for Prometheus, as an ASGI app. It needs the extra `metrics`, too."""

from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus

import anyio
from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ..client import Client
from ..fleet.monitor import Monitor
from ..interop.exposition import FleetText, fleet_text
from ..interop.prometheus import Collector, encoder_for
from .responses import SlicedResponse


class MetricsApp:
    """An ASGI app that answers `/healthz` with the monitor's health, and any other path with the metrics.

    The fleet's text is made in a thread, at the first scrape after a change; until the next change scrapes
    get the same bytes. Only the ages and the client's statistics are written for each.

    Args:
        client: the client whose statistics are shown.
        monitor: keeps the fleet.
        now: returns the current time.
    """

    def __init__(
        self, client: Client, monitor: Monitor, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._collector = Collector(client)
        self._monitor = monitor
        self._now = now
        self._text: FleetText | None = None
        self._making = anyio.Lock()
        self._app = Starlette(routes=[Route("/healthz", self._health), Route("/{path:path}", self._metrics)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._app(scope, receive, send)

    async def _health(self, _: Request) -> Response:
        if self._monitor.view.is_up:
            return PlainTextResponse("The fleet is followed.\n")
        return PlainTextResponse("The monitor has ended.\n", HTTPStatus.SERVICE_UNAVAILABLE)

    async def _metrics(self, request: Request) -> Response:
        encode, content_type = encoder_for(request.headers.get("Accept", ""))
        text = await self._fleet()
        # The client's statistics are last, as OpenMetrics ends with a mark.
        rest = text.moving(self._now()) + encode(self._collector)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if "gzip" not in request.headers.get("Accept-Encoding", ""):
            return SlicedResponse((text.fixed, rest), HTTPStatus.OK, headers)
        end = await to_thread.run_sync(text.packed.end, rest)
        headers["Content-Encoding"] = "gzip"
        return SlicedResponse((text.packed.begin, end), HTTPStatus.OK, headers)

    async def _fleet(self) -> FleetText:
        """Return the text of the newest view; scrapes that come while it is made share it."""
        before = self._text
        if before is not None and before.view is self._monitor.view:
            return before
        async with self._making:
            text = self._text
            if text is None or text is before:
                text = self._text = await to_thread.run_sync(fleet_text, self._monitor.view)
            return text
