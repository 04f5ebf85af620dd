"""The status board: live pages of the fleet and of each backend, and one that compares backends."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from ..client import Client
from ..errors import QRBackendsError, Timeout
from ..fleet.monitored import MonitoredBackend
from .api import api_routes
from .archivedays import ArchiveDays
from .columns import COLUMNS
from .comparing import ComparePage
from .devicepages import DevicePages
from .events import Pace
from .files import static_file
from .fleetrows import FleetRows, Query
from .freshness import freshness
from .mounting import Hubs, Mountable, own_client
from .pages import base_of, page, templates
from .problems import problem_of
from .renderings import Renderings
from .visitors import VisitorCache

_FIRST = 2.0  # seconds that a page waits for the list; then it is sent empty, and its script fills it
_MINUTE = 60.0
_EFFORT = 5  # of the compression: more takes several times as long, for a tenth of the bytes


def board_app(
    client: Client | None = None, *, pace: Pace | None = None, archive: str | Path | None = None
) -> ASGIApp:
    """Return an app with live pages of the fleet; it has `api_app` under `/api`.

    One page shows every backend of every region, each backend has a page with its device map, and one page
    compares two to six of them. Without scripts the pages work, too, but are not updated. Everything is
    served by the app itself, compressed, under a strict Content-Security-Policy. The pages mark old data, and
    data that is not from IBM's service. The app authenticates nobody; that is left to the host app.

    Args:
        client: the client; by default that of the host app's `lifespan`.
        pace: how events are sent; by default `Pace()`.
        archive: the directory or URL of an archive of calibrations, from which each backend's page shows the
            last days. It needs the extra `arrow`.

    Raises:
        ImportError: an archive is given, and the extra is missing.
        InvalidRequest: no archive can be at such a URL.
    """
    templates()
    cached, hubs = VisitorCache(), Hubs(pace or Pace())
    devices = DevicePages(cached, hubs, None if archive is None else ArchiveDays(archive))
    zipped = [Middleware(GZipMiddleware, compresslevel=_EFFORT)]
    pages = [
        ("/", _FleetPage(cached, hubs).answer),
        ("/compare", ComparePage(cached, hubs).answer),
        ("/backends/{region}/{id}", devices.page),
        ("/backends/{region}/{id}/status", devices.status),
        ("/backends/{region}/{id}/map.svg", devices.picture),
        ("/backends/{region}/{id}/qubits.csv", devices.qubits),
        ("/backends/{region}/{id}/couplings.csv", devices.couplings),
        ("/static/{name}", static_file),
    ]
    routes = [
        *(Route(path, answer, middleware=zipped) for path, answer in pages),
        Route("/events", hubs.changes),
        Mount("/api", routes=api_routes(cached, hubs)),
    ]
    return Mountable(routes, client)


class _Minute:
    """A minute: what is told of ages is told anew in the next one."""

    def __init__(self, at: datetime) -> None:
        self.at = at
        self.number = int(at.timestamp() // _MINUTE)


class _FleetPage:
    def __init__(self, cached: VisitorCache, hubs: Hubs) -> None:
        self._cached = cached
        self._hubs = hubs
        self._rendered: Renderings[FleetRows] = Renderings()
        self._minute = _Minute(datetime.now(UTC))

    async def answer(self, request: Request) -> Response:
        """Return the page of all backends, with the calibrations that have been fetched so far."""
        client, now = own_client(request), datetime.now(UTC)
        hub = self._hubs.of(client)
        monitor, seen = hub.wake(), hub.seen()
        known: Any = seen.view.backends
        source: object = seen.view
        listed = problem = None
        if not known:  # the monitor has only just begun: the client may know the list already
            with anyio.move_on_after(_FIRST):
                try:
                    listed = await self._cached.list(client)
                except QRBackendsError as error:
                    problem = problem_of(error)
            if listed is not None:
                source, known = listed.value, [MonitoredBackend(one) for one in listed.value]
        if self._minute.number != _Minute(now).number:
            self._minute = _Minute(now)
        table, late, base, query = None, False, base_of(request), Query.of(request.query_params)
        if known:
            render = partial(FleetRows, known, seen.view, monitor, base, now)
            key = "fleet", base
            try:
                table = await self._rendered.part(key, (source, self._minute), render)
            except Timeout:
                late = True
        old = listed.age if listed is not None and listed.source == "stale" else None
        rows, matching = table.arranged(query) if table else (b"", 0)
        return page(
            "fleet.html",
            request,
            part=rows,
            table=table,
            matching=matching,
            count=len(table.rows) if table else len(known),
            late=late,
            columns=COLUMNS,
            query=query,
            emulated=table is not None and table.emulated,
            version=seen.version,
            **freshness(monitor, seen.view, hub.pace.interval, old, problem, now),
        )
