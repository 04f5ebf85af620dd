"""The OpenAPI description of the control API, made from the structs that it takes and sends."""

from typing import Any

import msgspec

from .operations import AnyOperation
from .schemas import with_descriptions
from .states import EmulatorState

_TYPES = (AnyOperation, EmulatorState)
_PROBLEM = {
    "description": "Problem details (RFC 9457); `field` names the field that is wrong.",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "required": ["title", "status", "detail"],
                "properties": {
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "field": {"type": "string"},
                },
            }
        }
    },
}


def description(url: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of a control API at `url`."""
    (operation, state), schemas = msgspec.json.schema_components(
        _TYPES, ref_template="#/components/schemas/{name}"
    )
    results = {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("FaultState", "ClockState")]}
    done = {
        "200": _described("The fault or the clock, for operations that return one.", results),
        "204": {"description": "It is done."},
        **{str(status): _PROBLEM for status in (400, 401, 403, 404, 409, 413, 421, 504)},
    }
    refused = {str(status): _PROBLEM for status in (401, 403, 421)}
    lines = {"description": "One JSON object on each line.", "content": {"application/jsonl": {}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Control API of the emulator of qrbackends", "version": "1"},
        "servers": [{"url": url}],
        "security": [{"token": []}],
        "paths": {
            "/do": {
                "post": {
                    "operationId": "do",
                    "summary": "Do something to the emulator.",
                    "requestBody": {
                        "required": True,
                        "content": {"application/json": {"schema": operation}},
                    },
                    "responses": done,
                }
            },
            "/state": {
                "get": {
                    "operationId": "state",
                    "summary": "Return the clock, regions, backends and faults.",
                    "responses": {"200": _described("The state.", state), **refused},
                }
            },
            "/journal": {
                "get": {
                    "operationId": "journal",
                    "summary": "Return the requests to the emulator in the order of arrival.",
                    "responses": {"200": lines, **refused},
                }
            },
            "/openapi.json": {
                "get": {
                    "operationId": "openapi",
                    "summary": "Return this description.",
                    "security": [],
                    "responses": {"200": {"description": "It.", "content": {"application/json": {}}}},
                }
            },
        },
        "components": {
            "schemas": with_descriptions(schemas),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _described(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}
