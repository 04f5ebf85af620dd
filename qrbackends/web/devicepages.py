"""The pages of one backend: its state and map, live, and what is measured as files."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast

from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ..analysis.devicemap import TITLES
from ..client import Client
from ..errors import NotFound, QRBackendsError, Timeout
from ..fleet.monitor import Monitor
from ..fleet.monitored import MonitoredBackend
from ..models import Backend, BackendConfiguration, BackendProperties
from ..tasks.fanout import together
from .archivedays import ArchiveDays
from .charts import queue_chart
from .devicepart import DAYS, Wanted, device_part, device_picture
from .devicetables import couplings_csv, qubits_csv
from .fleetrows import reason_of, since_text
from .freshness import freshness
from .mounting import Hubs, own_client
from .pages import is_odd, page
from .problems import Problem, problem_of
from .renderings import Renderings
from .responses import SlicedResponse
from .visitors import VisitorCache

_LARGE = 300  # qubits of a device whose map may take seconds
_LONGEST_SEARCH = 400  # qubits of the largest best line or set
_SHAPES = ("line", "set")
_CSV = "text/csv; charset=utf-8"
_FILE: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
    "X-Content-Type-Options": "nosniff",
}


class DevicePages:
    """Answers requests for the pages of one backend.

    Args:
        cached: gives the lists and documents.
        hubs: give what the monitor knows.
        archive: shows what an archive has of the last days; None if there is none.
    """

    def __init__(self, cached: VisitorCache, hubs: Hubs, archive: ArchiveDays | None = None) -> None:
        self._cached = cached
        self._hubs = hubs
        self._archive = archive
        self._rendered: Renderings[bytes] = Renderings()

    async def page(self, request: Request) -> Response:
        """Return the page of one backend, with its device map."""
        found = await self._found(request)
        if isinstance(found, Response):
            return found
        wanted = _wanted(request)
        configuration, properties, age, problem = await self._documents(own_client(request), found)
        drawn, days = await together(
            self._drawn(found, configuration, properties, wanted), self._days(request, found, wanted)
        )
        processor = (configuration and configuration.processor_type) or found.processor_type
        monitor = self._hubs.of(own_client(request)).wake()
        values = self._status(request, found, age, problem)
        return page(
            "backend.html",
            request,
            **values
            | {
                "part": drawn,
                "qubits": found.qubits if configuration is None else configuration.n_qubits,
                "processor": str(processor or ""),
                "wanted": wanted,
                "chart": queue_chart(monitor.queue_history(_key(found)), datetime.now(UTC)),
                "calibrations": monitor.calibration_history(_key(found)),
                "days": days,
                "all_days": DAYS,
            },
        )

    async def _drawn(
        self,
        found: Backend,
        configuration: BackendConfiguration | None,
        properties: BackendProperties | None,
        wanted: Wanted,
    ) -> bytes:
        if configuration is None or properties is None:
            return b"<p>There is no calibration to be drawn.</p>"
        try:
            return await self._rendered.part(
                (found.region, found.name, wanted),
                (configuration, properties),
                partial(device_part, configuration, properties, wanted),
                slow=configuration.n_qubits > _LARGE or wanted.size is not None,
            )
        except Timeout:
            return b"<p>The map is still being drawn; load the page again in a moment.</p>"

    async def _days(self, request: Request, found: Backend, wanted: Wanted) -> Markup | None:
        """Return what the archive has of the last days; None if there is no archive."""
        if self._archive is None:
            return None
        try:
            addresses = await own_client(request).addresses()
        except QRBackendsError:
            addresses = {}
        return await self._archive.part(found, addresses.get(found.instance or "", ""), wanted.days)

    async def status(self, request: Request) -> Response:
        """Return the part of the page that changes."""
        found = await self._found(request)
        if isinstance(found, Response):
            return found
        _, _, age, problem = await self._documents(own_client(request), found)
        return page("status.html", request, **self._status(request, found, age, problem))

    async def picture(self, request: Request) -> Response:
        """Return the map as a picture."""
        wanted = _wanted(request)
        return await self._file(
            request,
            "image/svg+xml",
            lambda conf, props: device_picture(conf, props, wanted),
            "map",
            wanted.by,
        )

    async def qubits(self, request: Request) -> Response:
        """Return the table of qubits."""
        return await self._file(request, _CSV, lambda _, props: qubits_csv(props), "qubits")

    async def couplings(self, request: Request) -> Response:
        """Return the table of couplings."""
        return await self._file(request, _CSV, couplings_csv, "couplings")

    async def _file(
        self,
        request: Request,
        kind: str,
        make: Callable[[BackendConfiguration, BackendProperties], bytes],
        *what: str,
    ) -> Response:
        found = await self._found(request)
        if isinstance(found, Response):
            return found
        configuration, properties, _, _ = await self._documents(own_client(request), found)
        if configuration is None or properties is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "There is no calibration.")
        try:
            body = await self._rendered.part(
                (found.region, found.name, *what),
                (configuration, properties),
                partial(_made, make, configuration, properties),
                slow=configuration.n_qubits > _LARGE,
            )
        except ImportError as error:
            raise HTTPException(HTTPStatus.NOT_IMPLEMENTED, error.msg) from None
        return SlicedResponse((body,), HTTPStatus.OK, {**_FILE, "Content-Type": kind})

    async def _found(self, request: Request) -> Backend | Response:
        """Return the entry of the backend that a path names, or a page that says that there is none."""
        region, name = request.path_params["region"], request.path_params["id"]
        client = own_client(request)
        self._hubs.of(client).wake()
        fleet = await self._cached.list(client)
        found = next((one for one in fleet.value if (one.region or "-", one.name) == (region, name)), None)
        if found is None or is_odd(name):
            return page("missing.html", request, status=HTTPStatus.NOT_FOUND, odd=found is not None)
        return found

    def _status(
        self, request: Request, found: Backend, age: float | None, problem: Problem | None
    ) -> dict[str, Any]:
        hub, now = self._hubs.of(own_client(request)), datetime.now(UTC)
        monitor, seen = hub.wake(), hub.seen()
        known = _known(monitor, found)
        return {
            "backend": known.backend,
            "since": since_text(known, now).strip(),
            "reason": reason_of(known.backend),
            "calibrated_at": known.calibration.calibrated_at if known.calibration else None,
            "emulated": found.emulated,
            "version": seen.version,
            **freshness(monitor, seen.view, hub.pace.interval, age, problem, now),
        }

    async def _documents(
        self, client: Client, backend: Backend
    ) -> tuple[BackendConfiguration | None, BackendProperties | None, float | None, Problem | None]:
        """Return configuration and properties, the age in seconds of stale ones, and the last problem."""
        found: dict[str, Any] = {}
        age, problem = None, None
        for resource in ("configuration", "properties"):
            try:
                fetched = await self._cached.document(client, cast("Any", resource), backend)
                found[resource] = fetched.value
                if fetched.source == "stale":
                    age = max(age or 0.0, fetched.age)
            except NotFound:
                pass
            except QRBackendsError as error:
                problem = problem_of(error)
        return found.get("configuration"), found.get("properties"), age, problem


def _key(backend: Backend) -> tuple[str | None, str]:
    return backend.region, backend.name


def _known(monitor: Monitor, found: Backend) -> MonitoredBackend:
    """Return what the monitor knows of a backend, or what its entry in the list tells."""
    return monitor.fleet.get(_key(found)) or MonitoredBackend(found)


def _made(
    make: Callable[[BackendConfiguration, BackendProperties], bytes],
    configuration: BackendConfiguration,
    properties: BackendProperties,
) -> bytes:
    try:
        return make(configuration, properties)
    except (ArithmeticError, ValueError, LookupError, TypeError) as error:  # documents that nobody foresaw
        raise HTTPException(
            HTTPStatus.BAD_GATEWAY, f"The documents of this device are odd ({type(error).__name__})."
        ) from None


def _wanted(request: Request) -> Wanted:
    """Return what a visitor wants to see of a device.

    Raises:
        HTTPException: there is no such map, or the number of qubits is none.
    """
    by, shape = request.query_params.get("by", "readout"), request.query_params.get("find", "line")
    if by not in TITLES:
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"by has to be one of {', '.join(TITLES)}")
    if shape not in _SHAPES:
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"find has to be one of {', '.join(_SHAPES)}")
    days = request.query_params.get("days", str(DAYS[1]))
    if days not in map(str, DAYS):
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"days has to be one of {', '.join(map(str, DAYS))}")
    count = request.query_params.get("n", "")
    if not count:
        return Wanted(cast("Any", by), cast("Any", shape), None, int(days))
    if not (count.isascii() and count.isdecimal() and len(count) < 5 and 1 <= int(count) <= _LONGEST_SEARCH):
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"n has to be a number from 1 to {_LONGEST_SEARCH}")
    return Wanted(cast("Any", by), cast("Any", shape), int(count), int(days))
