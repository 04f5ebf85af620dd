"""The OpenAPI document of the JSON API, made from the structs that it sends."""

from collections.abc import Sequence
from typing import Any

import msgspec

from .._version import __version__
from ..models import BackendProperties, BackendStatus
from .encoding import Listed
from .event_data import Event, FullState
from .problems import MEDIA_TYPE, Problem

# Parts of a configuration have no schema here; the contract of the service describes them.
_CONFIGURATION = {
    "type": "object",
    "description": "As GET /backends/{id}/configuration of IBM's Backends API sends it.",
    "externalDocs": {"url": "https://quantum.cloud.ibm.com/docs/api/qiskit-runtime-rest/tags/backends"},
}
_TYPES = (Listed, BackendStatus, BackendProperties, Problem, Event, FullState)


def document(
    base: str, refresh: bool, updated_before: bool, calibration_ids: Sequence[str]
) -> dict[str, Any]:
    """Return an app's OpenAPI 3.1 document, without the parameters that visitors may not use."""
    refs, components = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    schemas = dict(zip(_TYPES, refs, strict=True))
    extra = []
    if refresh:
        extra.append(_parameter("refresh", {"type": "boolean"}, "Ask the service, whatever is known."))
    if calibration_ids:
        extra.append(_parameter("calibration_id", {"enum": list(calibration_ids)}, "A variant."))
    before = _parameter(
        "updated_before", {"type": "string", "format": "date-time"}, "The newest before then."
    )
    listing = {
        "type": "object",
        "required": ["devices", "errors"],
        "properties": {
            "devices": {"type": "array", "items": schemas[Listed]},
            "errors": {"type": "array", "items": schemas[Problem]},
        },
    }
    name = [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
        _parameter(
            "region", {"type": "string"}, "Where several regions have one of this name, which; - for none."
        ),
    ]
    properties = [*name, *extra, *([before] if updated_before else [])]
    return {
        "openapi": "3.1.0",
        "info": {"title": "The cached fleet", "version": __version__},
        "servers": [{"url": base or "/"}],
        "paths": {
            "/backends": _path("Every backend.", listing, schemas[Problem], []),
            "/backends/{id}": _path("A backend's entry.", schemas[Listed], schemas[Problem], name),
            "/backends/{id}/status": _path(
                "Its status, taken from the list.", schemas[BackendStatus], schemas[Problem], name
            ),
            "/backends/{id}/configuration": _path(
                "What it can do.", _CONFIGURATION, schemas[Problem], [*name, *extra]
            ),
            "/backends/{id}/properties": _path(
                "Its calibration.", schemas[BackendProperties], schemas[Problem], properties
            ),
            "/events": {
                "get": {
                    "summary": "What changes: `state` events hold a FullState, `change` ones an Event.",
                    "parameters": [_parameter("Last-Event-ID", {"type": "string"}, "Go on.", "header")],
                    "responses": {
                        "200": {
                            "description": "Server-sent events, until the reader leaves.",
                            "content": {"text/event-stream": {"schema": {"type": "string"}}},
                        }
                    },
                }
            },
        },
        "components": {"schemas": components},
    }


def _path(
    summary: str, schema: dict[str, Any], problem: dict[str, Any], parameters: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "get": {
            "summary": summary,
            "parameters": list(parameters),
            "responses": {
                "200": {"description": "It.", "content": {"application/json": {"schema": schema}}},
                "304": {"description": "The visitor has the same content."},
                "default": {"description": "A problem.", "content": {MEDIA_TYPE: {"schema": problem}}},
            },
        }
    }


def _parameter(name: str, schema: dict[str, Any], description: str, where: str = "query") -> dict[str, Any]:
    return {"name": name, "in": where, "description": description, "schema": schema}
