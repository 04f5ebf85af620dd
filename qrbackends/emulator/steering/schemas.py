"""JSON schemas of structs, whose docstrings become the descriptions of types and fields."""

import re
from typing import Any

_ATTRIBUTE = re.compile(r"^ {8}(\w+): (.*(?:\n {12,}.*)*)", re.MULTILINE)
_RAW = {"raw": "body_base64"}  # fields that have another name in JSON


def with_descriptions(schemas: dict[str, Any]) -> dict[str, Any]:
    """Return schemas of msgspec with what the docstrings say of each field at the field."""
    for schema in schemas.values():
        summary, _, attributes = schema.get("description", "").partition("\n\n    Attributes:\n")
        if summary:
            schema["description"] = _one_line(summary)
        for name, text in _ATTRIBUTE.findall(attributes):
            field = schema["properties"].get(_RAW.get(name, name))
            if field is not None:
                field["description"] = _one_line(text)
    return schemas


def _one_line(text: str) -> str:
    return " ".join(text.split())
