"""The status board: one live page for the fleet, and one for each backend."""

from functools import partial
from http import HTTPStatus
from typing import Any, cast

import anyio
from msgspec.structs import replace
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from ..analysis.devicemap import FIGURES, By
from ..cache.entry import Fetched
from ..client import Client
from ..errors import NotFound, QRBackendsError, Timeout
from ..fleet.monitored import FleetView, MonitoredBackend
from ..models import Backend, BackendConfiguration, BackendList, BackendProperties
from .api import api_routes
from .devicepart import device_part
from .events import Pace
from .files import static_file
from .mounting import Hubs, Mountable, own_client
from .pages import base_of, is_odd, page, rendered, templates
from .problems import problem_of
from .renderings import Renderings
from .visitors import VisitorCache

_FIRST = 2.0  # seconds that a page waits for the list; then it is sent empty, and its script fills it
_LARGE = 300  # qubits of a device whose map may take seconds


def board_app(client: Client | None = None, *, pace: Pace | None = None) -> ASGIApp:
    """Return an app with live pages of the fleet; it has `api_app` under `/api`.

    One page shows every backend of every region, and each backend has a page with its device map. Without
    scripts the pages work, too, but are not updated. Everything is served by the app itself, under a strict
    Content-Security-Policy. The pages mark old data, and data that is not from IBM's service. The app
    authenticates nobody; that is left to the host app.

    Args:
        client: the client; by default that of the host app's `lifespan`.
        pace: how events are sent.
    """
    templates()
    board = _Board(pace or Pace())
    routes = [
        Route("/", board.fleet),
        Route("/backends/{region}/{id}", board.backend),
        Route("/events", board.hubs.events),
        Mount("/api", routes=api_routes(board.cached, board.hubs)),
        Route("/static/{name}", static_file),
    ]
    return Mountable(routes, client)


class _Board:
    def __init__(self, pace: Pace) -> None:
        self.cached = VisitorCache()
        self.hubs = Hubs(pace)
        self._rendered = Renderings()

    async def fleet(self, request: Request) -> Response:
        """Return the page of all backends, with the calibrations that have been fetched so far."""
        client = own_client(request)
        hub = self.hubs.of(client)
        hub.wake()
        listed: Fetched[Any] | None = None
        problem = None
        with anyio.move_on_after(_FIRST):
            try:
                listed = await self.cached.list(client)
            except QRBackendsError as error:
                problem = problem_of(error)
        rows, late = b"", False
        if listed is not None:
            base, view = base_of(request), hub.view()
            render = partial(_rows, listed.value, view, base)
            try:
                rows = await self._rendered.part(("fleet", base), (listed.value, view), render)
            except Timeout:
                late = True
        return page(
            "fleet.html",
            request,
            part=rows,
            count=len(listed.value) if listed else 0,
            late=late,
            age=listed.age if listed and listed.source == "stale" else None,
            problem=problem,
            emulated=listed is not None and listed.value.emulated,
        )

    async def backend(self, request: Request) -> Response:
        """Return the page of one backend, with its device map."""
        client = own_client(request)
        self.hubs.of(client).wake()
        region, name = request.path_params["region"], request.path_params["id"]
        fleet = await self.cached.list(client)
        found = next((one for one in fleet.value if (one.region or "-", one.name) == (region, name)), None)
        if found is None or is_odd(name):
            return page("missing.html", request, status=HTTPStatus.NOT_FOUND, odd=found is not None)
        by = request.query_params.get("by", "readout")
        if by not in FIGURES:
            raise HTTPException(HTTPStatus.BAD_REQUEST, f"by has to be one of {', '.join(FIGURES)}")
        configuration, properties, age, problem = await self._documents(client, found)
        drawn = b"<p>There is no calibration to be drawn.</p>"
        if configuration is not None and properties is not None:
            try:
                drawn = await self._rendered.part(
                    (region, name, by),
                    (configuration, properties),
                    partial(device_part, configuration, properties, cast("By", by)),
                    slow=configuration.n_qubits > _LARGE,
                )
            except Timeout:
                drawn = b"<p>The map is still being drawn; load the page again in a moment.</p>"
        processor = (configuration and configuration.processor_type) or found.processor_type
        return page(
            "backend.html",
            request,
            backend=found,
            qubits=found.qubits if configuration is None else configuration.n_qubits,
            processor=str(processor or ""),
            part=drawn,
            age=age,
            problem=problem,
            emulated=found.emulated,
        )

    async def _documents(
        self, client: Client, backend: Backend
    ) -> tuple[BackendConfiguration | None, BackendProperties | None, float | None, Any]:
        """Return configuration and properties, the age in seconds of stale ones, and the last problem."""
        found: dict[str, Any] = {}
        age, problem = None, None
        for resource in ("configuration", "properties"):
            try:
                fetched = await self.cached.document(client, cast("Any", resource), backend)
                found[resource] = fetched.value
                if fetched.source == "stale":
                    age = max(age or 0.0, fetched.age)
            except NotFound:
                pass
            except QRBackendsError as error:
                problem = problem_of(error)
        return found.get("configuration"), found.get("properties"), age, problem


def _rows(backends: BackendList, view: FleetView, base: str) -> bytes:
    """Return the table's rows, as HTML."""
    known = {(one.backend.region, one.backend.name): one for one in view.backends}
    rows = [
        replace(known.get((one.region, one.name)) or MonitoredBackend(one), backend=one) for one in backends
    ]
    rows.sort(key=lambda row: (row.backend.name, row.backend.region or ""))
    return rendered("rows.html", rows=rows, base=base)
