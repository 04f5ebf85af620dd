"""Hypothesis strategies made from the schemas of the contract.

`instances("BackendsResponse", corrected())` generates whatever that schema allows: optional fields there
or not, unknown fields, nulls where they are allowed, numbers at their limits, odd text.
"""

from datetime import datetime
from typing import Any, TypeAlias

from hypothesis import strategies as st

from . import json_schema

Schema: TypeAlias = dict[str, Any]

# Beyond this, JSON numbers differ between implementations.
_SAFE = 2**53 - 1
# Lists are kept this much longer than they must be, and free text this long.
_MORE_ITEMS = 2
_MOST_CHARACTERS = 12

# Line and control characters stay out of patterned text: regular expressions differ on them. The text
# without a pattern has them all but surrogates, which UTF-8 cannot hold.
_PLAIN = st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp"))
_TEXT = st.text(st.characters(codec="utf-8"), max_size=_MOST_CHARACTERS)

ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-_SAFE, _SAFE)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXT, inner, max_size=2),
    max_leaves=4,
)
"""Any JSON value, a small one."""


def instances(schema_name: str, document: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for the instances of one of the document's schemas."""
    schemas = {name: json_schema(schema) for name, schema in document["components"]["schemas"].items()}
    return _Compiler(schemas).compile(schemas[schema_name])


class _Compiler:
    def __init__(self, schemas: dict[str, Schema]) -> None:
        self.schemas = schemas

    def compile(self, schema: Schema) -> st.SearchStrategy[Any]:
        schema = self.flat(schema)
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        if "anyOf" in schema or "oneOf" in schema:
            # The contract's alternatives under `oneOf` are of different types, so that no two hold at once.
            return st.one_of(*(self.compile(part) for part in schema.get("anyOf") or schema["oneOf"]))
        kind = schema.get("type")
        return ANYTHING if kind is None else getattr(self, kind)(schema)

    def flat(self, schema: Schema) -> Schema:
        """Return `schema` without `$ref` and `allOf`: all that has to hold, in one object."""
        if "$ref" in schema:
            return self.flat(self.schemas[schema["$ref"].rpartition("/")[2]])
        result = {key: value for key, value in schema.items() if key != "allOf"}
        for part in map(self.flat, schema.get("allOf", ())):
            for key, value in part.items():
                if key == "properties":
                    value = result.get(key, {}) | value
                elif key == "required":
                    value = result.get(key, []) + value
                elif key != "description" and result.get(key, value) != value:
                    raise NotImplementedError(f"allOf with two of {key}")
                result[key] = value
        return result

    def null(self, schema: Schema) -> st.SearchStrategy[None]:
        return st.none()

    def boolean(self, schema: Schema) -> st.SearchStrategy[bool]:
        return st.booleans()

    def integer(self, schema: Schema) -> st.SearchStrategy[int]:
        return st.integers(schema.get("minimum", -_SAFE), schema.get("maximum", _SAFE))

    def number(self, schema: Schema) -> st.SearchStrategy[float]:
        floats = st.floats(
            schema.get("minimum"), schema.get("maximum"), allow_nan=False, allow_infinity=False
        )
        return self.integer(schema) | floats

    def string(self, schema: Schema) -> st.SearchStrategy[str]:
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        if schema.get("format") == "date-time":
            return _dates().filter(lambda text: least <= len(text) <= (most or len(text)))
        if "pattern" not in schema:
            text = st.text(st.characters(codec="utf-8"), min_size=least, max_size=least + _MOST_CHARACTERS)
            return text if most is None else text.map(lambda text: text[:most])
        matches = st.from_regex(schema["pattern"], fullmatch=True, alphabet=_PLAIN)
        return matches.filter(lambda text: least <= len(text) <= (most or len(text)))

    def array(self, schema: Schema) -> st.SearchStrategy[list[Any]]:
        least = schema.get("minItems", 0)
        most = min(schema.get("maxItems", least + _MORE_ITEMS), least + _MORE_ITEMS)
        items = self.compile(schema.get("items", {}))
        unique_by = repr if schema.get("uniqueItems") else None
        return st.lists(items, min_size=least, max_size=most, unique_by=unique_by)

    def object(self, schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
        fields = {name: self.compile(value) for name, value in schema.get("properties", {}).items()}
        required = {name: fields.pop(name, ANYTHING) for name in schema.get("required", ())}
        known = st.fixed_dictionaries(required, optional=fields)
        more = schema.get("additionalProperties", True)
        if more is False:
            return known
        names = _TEXT.filter(lambda name: name not in schema.get("properties", {}))
        values = ANYTHING if more is True else self.compile(more)
        extra = st.dictionaries(names, values, max_size=2)
        # What is required without being described can be drawn twice: the known one counts.
        return st.builds(lambda extra, known: extra | known, extra, known)


def _dates() -> st.SearchStrategy[str]:
    """Dates as the contract and the snapshots write them: in UTC or with an offset, to the s, ms or µs."""
    # The clocks of the service are set: neither the year 1 nor leap seconds.
    instants = st.datetimes(
        min_value=datetime(2000, 1, 1),
        max_value=datetime(2099, 12, 31),
    )
    hours = st.integers(-12, 14).map(lambda hours: f"{hours:+03d}:00")
    zones = st.just("Z") | hours | st.sampled_from(["+05:30", "-03:30", "-00:00"])
    precisions = st.sampled_from(["seconds", "milliseconds", "microseconds"])
    return st.builds(
        lambda when, timespec, zone: when.isoformat("T", timespec) + zone, instants, precisions, zones
    )
