"""A read-only JSON API of the cached fleet: an ASGI app to mount, or to serve."""

from collections.abc import Collection
from datetime import datetime
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ..cache.entry import Fetched
from ..client import Client
from ..models import Backend, BackendList
from ..protocol.requests import Resource
from .encoding import Encoded, encoded, encoded_once, has_tag, listed, status_of
from .events import Pace
from .mounting import Hubs, Mountable, own_client
from .openapi import document
from .problems import problem_of
from .responses import SlicedResponse
from .visitors import VisitorCache


def api_app(
    client: Client | None = None,
    *,
    pace: Pace | None = None,
    refresh: bool = False,
    updated_before: bool = False,
    calibration_ids: Collection[str] = (),
) -> ASGIApp:
    """Return an app that serves the cached fleet as JSON, and its changes as server-sent events.

    `/backends`, `/backends/{id}` and, below that, `/properties`, `/configuration` and `/status`; `/events`;
    `/openapi.json`. Answers carry `Age`, `ETag` and `Cache-Control` with the cache's values. However many
    visitors there are, the service gets at most one request per document and freshness period: the app sends
    no request for a backend that no list has, and takes a status from the list. No answer holds data of the
    account. `?region=` tells apart backends of one name. The app authenticates nobody; that is left to the
    host app.

    Args:
        client: the client; by default that of the host app's `lifespan`.
        pace: how events are sent; by default `Pace()`.
        refresh: whether `?refresh=true` makes the client ask the service.
        updated_before: whether visitors may ask for old calibrations, with `?updated_before=` and an instant.
        calibration_ids: the variants that visitors may ask for, with `?calibration_id=`.
    """
    return Mountable(
        api_routes(VisitorCache(), Hubs(pace or Pace()), refresh, updated_before, calibration_ids), client
    )


def _list_document(backends: BackendList) -> dict[str, Any]:
    return {
        "devices": [listed(backend) for backend in backends],
        "errors": [problem_of(error) for error in backends.errors],
    }


def api_routes(
    cache: VisitorCache,
    hubs: Hubs,
    refresh: bool = False,
    updated_before: bool = False,
    calibration_ids: Collection[str] = (),
) -> list[Route]:
    """Return the app's routes."""
    asked = _Parameters(refresh, updated_before, frozenset(calibration_ids))

    async def backends(request: Request) -> Response:
        asked.refuse(request)
        found = await cache.list(own_client(request))
        return _answer(request, found, encoded_once(found.value, lambda: _list_document(found.value)))

    async def entry(request: Request) -> Fetched[Backend]:
        name, region = request.path_params["id"], request.query_params.get("region")
        return await cache.backend(own_client(request), name, region)

    async def backend(request: Request) -> Response:
        asked.refuse(request)
        found = await entry(request)
        return _answer(request, found, encoded(found.value))

    async def status(request: Request) -> Response:
        asked.refuse(request)
        found = await entry(request)
        return _answer(request, found, encoded(status_of(found.value)))

    def documents(resource: Resource) -> Any:
        async def one(request: Request) -> Response:
            how = asked.of(request, resource)
            backend = (await entry(request)).value
            found = await cache.document(own_client(request), resource, backend, **how)
            return _answer(request, found, encoded(found.value))

        return one

    async def openapi(request: Request) -> Response:
        base = request.scope.get("root_path", "")
        contract = document(base, refresh, updated_before, sorted(asked.calibration_ids))
        return _answer(request, None, encoded(contract))

    return [
        Route("/backends", backends),
        Route("/backends/{id}", backend),
        Route("/backends/{id}/properties", documents("properties")),
        Route("/backends/{id}/configuration", documents("configuration")),
        Route("/backends/{id}/status", status),
        Route("/events", hubs.events),
        Route("/openapi.json", openapi),
    ]


class _Parameters:
    """The query parameters that visitors may use."""

    def __init__(self, refresh: bool, updated_before: bool, calibration_ids: frozenset[str]) -> None:
        self._refresh = refresh
        self._updated_before = updated_before
        self.calibration_ids = calibration_ids

    def of(self, request: Request, resource: Resource) -> dict[str, Any]:
        """Return a request's parameters as arguments of `VisitorCache.document`.

        Raises:
            HTTPException: visitors may not use a parameter, or its value is malformed.
        """
        query = request.query_params
        how: dict[str, Any] = {}
        if "refresh" in query:
            if not self._refresh:
                raise _refused("refresh")
            how["refresh"] = query["refresh"] in ("", "1", "true")
        if "updated_before" in query:
            if not self._updated_before or resource != "properties":
                raise _refused("updated_before")
            how["updated_before"] = _instant(query["updated_before"])
        if "calibration_id" in query:
            if query["calibration_id"] not in self.calibration_ids:
                raise _refused("calibration_id")
            how["calibration_id"] = query["calibration_id"]
        return how

    def refuse(self, request: Request) -> None:
        """Refuse a request that has any of the parameters.

        Raises:
            HTTPException: the request has one.
        """
        for name in ("refresh", "updated_before", "calibration_id"):
            if name in request.query_params:
                raise _refused(name)


def _refused(name: str) -> HTTPException:
    return HTTPException(HTTPStatus.BAD_REQUEST, f"{name} cannot be asked for here")


def _instant(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "updated_before has to be an instant with an offset")
    return when


def _answer(request: Request, found: Fetched[Any] | None, content: Encoded) -> Response:
    """Return a JSON response with the headers of its age, or 304 where the visitor has the same content."""
    headers = {"ETag": content.etag, "X-Content-Type-Options": "nosniff"}
    if found is None:
        headers["Cache-Control"] = "private, max-age=3600"
    else:
        # Like Age, max-age is counted from the service's own answer: RFC 9111, sections 4.2.1 and 5.1.
        headers["Age"] = str(int(found.age))
        fresh = f"max-age={int(found.age + found.fresh_for)}" if found.fresh_for >= 1 else "no-cache"
        headers["Cache-Control"] = f"private, {fresh}"
    if has_tag(request.headers.get("If-None-Match", ""), content.etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    headers["Content-Type"] = "application/json"
    return SlicedResponse((content.body,), HTTPStatus.OK, headers)
