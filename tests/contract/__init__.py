"""The contract of the Backends API: as published, and as it has to be read.

`openapi-backends.yml` is the published document, `overlay.yml` what is wrong with it. Everything that
checks the models or the emulator against "the contract" asks here for one or the other.
"""

import copy
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema_rs
import pytest
import yaml

_HERE = Path(__file__).parent
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_VERBS = ("merge", "replace", "drop", "add")

# The name of each answer's schema.
RESPONSES = (
    "BackendsResponse",
    "BackendConfigurationResponse",
    "BackendPropertiesResponse",
    "BackendStatusResponse",
    "BackendDefaultsResponse",
)


# On tests with many examples: they are asked for by name, and may take longer than all others.
LONG = (pytest.mark.long, pytest.mark.timeout(1200))


class OverlayError(ValueError):
    """A patch does not fit the document that it is made for."""


class Patch(NamedTuple):
    """One correction, at one place."""

    name: str
    reason: str
    at: str
    verb: str
    value: Any


@functools.cache
def _load(name: str) -> Any:
    # The C loader reads the same YAML as the safe one, in a tenth of the time.
    return yaml.load((_HERE / name).read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506


def published() -> dict[str, Any]:
    """Return the contract, word for word. The caller may change the result."""
    document: dict[str, Any] = copy.deepcopy(_load("openapi-backends.yml"))
    return document


def patches() -> list[Patch]:
    """Return the overlay's patches, one for each place at which one applies."""
    found = []
    for entry in _load("overlay.yml"):
        (verb,) = (verb for verb in _VERBS if verb in entry)
        places = entry["at"] if isinstance(entry["at"], list) else [entry["at"]]
        found += [Patch(entry["name"], entry["reason"], at, verb, entry[verb]) for at in places]
    return found


def corrected(without: Patch | None = None) -> dict[str, Any]:
    """Return the contract with the overlay applied, all of it or all `without` one patch.

    :raises OverlayError: a patch names a place that does not exist, or changes nothing.
    """
    document = published()
    for patch in patches():
        if patch != without:
            apply(document, patch)
    return document


def apply(document: dict[str, Any], patch: Patch) -> None:
    """Apply one patch to `document`, in place.

    :raises OverlayError: its place does not exist, or it changes nothing.
    """
    *parents, last = (part.replace("~1", "/").replace("~0", "~") for part in patch.at.split("/")[1:])
    targets = list(_walk(document, parents))
    if not targets:
        raise OverlayError(f"{patch.name}: no such place: {patch.at}")
    for target in targets:
        if (last in target) is (patch.verb == "add"):
            state = "there already" if last in target else "absent"
            raise OverlayError(f"{patch.name}: {patch.at} is {state}")
        new = _changed(target.get(last), patch)
        if new == target.get(last):
            raise OverlayError(f"{patch.name}: changes nothing at {patch.at}")
        if new == [] and patch.verb == "drop":
            del target[last]
        else:
            target[last] = new


def _walk(node: Any, parts: list[str]) -> Iterator[dict[str, Any]]:
    """Yield every object that `parts` leads to, `*` standing for any key."""
    if not parts:
        if isinstance(node, dict):
            yield node
        return
    head, *rest = parts
    if isinstance(node, list):
        children = node[int(head) : int(head) + 1] if head.isdigit() else []
    elif isinstance(node, dict):
        children = list(node.values()) if head == "*" else [node[head]] if head in node else []
    else:
        children = []
    for child in children:
        yield from _walk(child, rest)


def _changed(old: Any, patch: Patch) -> Any:
    if patch.verb == "merge":
        return merged(old, patch.value)
    if patch.verb == "drop":
        if missing := [element for element in patch.value if element not in old]:
            raise OverlayError(f"{patch.name}: {missing} not in {patch.at}")
        return [element for element in old if element not in patch.value]
    return copy.deepcopy(patch.value)


def merged(old: Any, new: Any) -> Any:
    """Return `old` with the JSON merge patch `new` applied (RFC 7396)."""
    if not isinstance(new, dict):
        return copy.deepcopy(new)
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in new.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def json_schema(node: Any, *, closed: bool = False) -> Any:
    """Return a schema of OpenAPI 3.0 as one of JSON Schema, draft 4, on which it is built.

    :param closed: refuse every field that the schema does not name, where it does not allow them in words.
    """
    if isinstance(node, list):
        return [json_schema(element, closed=closed) for element in node]
    if not isinstance(node, dict):
        return node
    result = {key: json_schema(value, closed=closed) for key, value in node.items()}
    if closed and node.get("type") == "object" and "properties" in node:
        result.setdefault("additionalProperties", False)
    if result.get("nullable") is True:
        del result["nullable"]
        result = {"anyOf": [{"type": "null"}, result]}
    return result


def validator(
    schema_name: str, document: dict[str, Any], *, closed: bool = False
) -> jsonschema_rs.Draft4Validator:
    """Return a validator of one of the document's schemas.

    `nullable` and `format: date-time` are checked as OpenAPI 3.0 means them, and an integer is written
    without a fraction: 4.0 is none.
    """
    schemas = json_schema(document["components"]["schemas"], closed=closed)
    root = {"$ref": f"#/components/schemas/{schema_name}", "components": {"schemas": schemas}}
    return jsonschema_rs.Draft4Validator(root, validate_formats=True)


def at_server(document: dict[str, Any], base_url: str) -> dict[str, Any]:
    """Return the document with `base_url`, such as `http://127.0.0.1:8101/api`, as its only server."""
    return {**document, "servers": [{"url": base_url}]}
