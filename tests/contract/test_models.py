"""The models against all that the corrected contract allows, and against every real document."""

import json
import random
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, TypeAlias

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import inspect as types

from qrbackends.errors import DecodeError, NotFound, ResponseError
from qrbackends.models import JSONObject
from qrbackends.protocol.answers import parse
from qrbackends.protocol.requests import Request

from ..odd import odd_places
from ..profiles import some_of
from . import LONG, RESPONSES, corrected, validator
from .snapshots import SCHEMA, Kind, documents, paths
from .strategies import instances

Steps: TypeAlias = tuple[str | int, ...]

CORRECTED = corrected()
REQUESTS = {
    "BackendsResponse": Request("backends"),
    "BackendConfigurationResponse": Request("configuration", "ibm_x"),
    "BackendPropertiesResponse": Request("properties", "ibm_x"),
    "BackendStatusResponse": Request("status", "ibm_x"),
    "BackendDefaultsResponse": Request("defaults", "ibm_x"),
}
GENERATED = {name: instances(name, CORRECTED) for name in (*RESPONSES, "ErrorResponse")}
REAL: list[tuple[Kind, str]] = [(kind, name) for kind in SCHEMA for name in paths(kind)]
# The same documents with all the ways of writing them that decoders can trip over.
SPELLINGS = st.sampled_from(
    [
        {"separators": (",", ":"), "ensure_ascii": False},
        {"separators": (", ", ": "), "ensure_ascii": True},
        {"separators": (" ,\r\n", "\t: "), "indent": 1},
    ]
)
# One value of each JSON type.
OTHERS: tuple[Any, ...] = (True, 7, 0.5, "text", [], {})


def examples(few: int, many: int) -> pytest.MarkDecorator:
    """Return a mark that runs a test with few examples, and with many under `-m long`."""
    return pytest.mark.parametrize(
        "count", [pytest.param(few, id=str(few)), pytest.param(many, id=str(many), marks=LONG)]
    )


def checked(count: int) -> settings:
    """Return the settings for a search through `count` examples."""
    # Not shrunk: errors name the path that matters, and shrinking documents of 60 fields takes minutes.
    return settings(
        max_examples=count,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )


def answer(schema_name: str, body: bytes) -> Any:
    """Return what the project makes of a body."""
    return parse(REQUESTS[schema_name], 200, {}, body)


def encode(model: Any) -> bytes:
    """Return a model as JSON."""
    return msgspec.json.encode(model.to_dict() if isinstance(model, JSONObject) else model)


def known(value: Any, kind: types.Type) -> Any:
    """Return a JSON value without nulls and the fields that the type `kind` does not know, dates parsed."""
    if isinstance(kind, types.UnionType):
        kind = next(one for one in kind.types if takes(one, value))
    if isinstance(kind, types.StructType):
        fields = {field.encode_name: field.type for field in kind.fields}
        members = ((key, element) for key, element in value.items() if key in fields and element is not None)
        return {key: known(element, fields[key]) for key, element in members}
    if isinstance(kind, types.VarTupleType):
        return [known(element, kind.item_type) for element in value]
    return datetime.fromisoformat(value) if isinstance(kind, types.DateTimeType) else value


def takes(kind: types.Type, value: Any) -> bool:
    """Return whether `kind`, an alternative of a union, is one for `value`."""
    if isinstance(kind, types.StructType | types.RawType):
        return isinstance(value, dict)
    if isinstance(kind, types.VarTupleType | types.TupleType):
        return isinstance(value, list)
    if isinstance(kind, types.StrType | types.DateTimeType):
        return isinstance(value, str)
    if isinstance(kind, types.BoolType):
        return isinstance(value, bool)
    return isinstance(kind, types.IntType | types.FloatType) and isinstance(value, int | float)


def check_round_trip(schema_name: str, document: Any, body: bytes) -> None:
    """Assert that a valid document decodes, and encodes to all that the model knows of it."""
    model = answer(schema_name, body)
    kind = types.type_info(REQUESTS[schema_name].type)
    again = encode(model)
    assert known(json.loads(again), kind) == known(document, kind)
    assert encode(answer(schema_name, again)) == again


def unknown_fields(schema: Any, kind: types.Type, at: str = "$") -> Iterator[str]:
    """Yield the fields that the contract's schema names and the model's type does not have."""
    if "$ref" in schema:
        schema = CORRECTED["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for part in (*schema.get("allOf", ()), *schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from unknown_fields(part, kind, at)
    shapes = kind.types if isinstance(kind, types.UnionType) else (kind,)
    for shape in shapes:
        if isinstance(shape, types.VarTupleType):
            yield from unknown_fields(schema.get("items", {}), shape.item_type, f"{at}[]")
        if isinstance(shape, types.StructType):
            fields = {field.encode_name: field.type for field in shape.fields}
            for name, value in schema.get("properties", {}).items():
                if name in fields:
                    yield from unknown_fields(value, fields[name], f"{at}.{name}")
                else:
                    yield f"{at}.{name}"


@pytest.mark.parametrize("schema_name", [name for name in RESPONSES if name != "BackendDefaultsResponse"])
def test_the_models_know_every_field(schema_name: str) -> None:
    kind = types.type_info(REQUESTS[schema_name].type)
    schema = CORRECTED["components"]["schemas"][schema_name]
    assert list(unknown_fields(schema, kind)) == []


@pytest.mark.parametrize("schema_name", RESPONSES)
@examples(20, 1000)
def test_whatever_the_contract_allows_decodes_and_encodes(schema_name: str, count: int) -> None:
    @checked(count)
    @given(GENERATED[schema_name], SPELLINGS)
    def check(document: Any, spelling: dict[str, Any]) -> None:
        check_round_trip(schema_name, document, json.dumps(document, **spelling).encode())

    check()


@pytest.mark.parametrize(("kind", "name"), some_of(REAL, 30))
def test_every_snapshot_decodes_and_encodes(kind: Kind, name: str) -> None:
    check_round_trip(SCHEMA[kind], documents(kind)[name], paths(kind)[name].read_bytes())


# --- values of a wrong type


def steps_in(value: Any, at: Steps = ()) -> Iterator[Steps]:
    """Yield where each value of a document is, the document itself first."""
    yield at
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for step, element in members:
        yield from steps_in(element, (*at, step))


def value_at(document: Any, at: Steps) -> Any:
    """Return the value at a place of a document."""
    for step in at:
        document = document[step]
    return document


def changed(document: Any, at: Steps, *new: Any) -> Any:
    """Return `document` with the value at `at` replaced by `new`, or taken out where there is no `new`."""
    if not at:
        return new[0]
    copy: Any = dict(document) if isinstance(document, dict) else list(document)
    if len(at) == 1 and not new:
        del copy[at[0]]
    else:
        copy[at[0]] = changed(document[at[0]], at[1:], *new)
    return copy


def json_type(value: Any) -> str:
    """Return a value's JSON type, with integers apart from other numbers."""
    return {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}.get(
        type(value), "object" if isinstance(value, dict) else "null"
    )


def json_path(at: Steps) -> str:
    """Return a place as errors write it."""
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in at)


def types_only(node: Any) -> Any:
    """Return a schema without all that does not concern types: the limits that models need not check."""
    limits = {"enum", "format", "pattern", "required", "uniqueItems", "additionalProperties"}
    if isinstance(node, list):
        return [types_only(element) for element in node]
    if not isinstance(node, dict):
        return node
    # A field can be called like a keyword; its value is a schema then, and no keyword's is.
    return {
        key: types_only(value)
        for key, value in node.items()
        if isinstance(value, dict) or not (key in limits or key[:3] in ("min", "max"))
    }


# The list says that this is an integer, the configuration says that it can be text; one struct is both.
LENIENT = {"$.devices[].clops.value"}

STRICT = {name: validator(name, CORRECTED) for name in RESPONSES}
LOOSE = {name: validator(name, types_only(CORRECTED)) for name in RESPONSES}


def check_change(schema_name: str, document: Any, at: Steps, new: Any) -> None:
    """Assert that the models take a changed value if its type is allowed, and else tell where it is."""
    wrong = changed(document, at, new)
    if (schema_name, wrong) == ("BackendPropertiesResponse", {}):  # which means that there are none
        with pytest.raises(NotFound):
            answer(schema_name, b"{}")
        return
    places = odd_places(REQUESTS[schema_name], json.dumps(wrong).encode())
    if places:
        assert not STRICT[schema_name].is_valid(wrong), f"the contract allows {new!r} at {json_path(at)}"
        assert places == (json_path(at),)
    else:
        lenient = re.sub(r"\[\d+\]", "[]", json_path(at)) in LENIENT
        valid = lenient or LOOSE[schema_name].is_valid(wrong)
        assert valid, f"the contract has no {json_type(new)} at {json_path(at)}"


def check_null(schema_name: str, document: Any, at: Steps) -> None:
    """Assert that null is the same as absent for a field, and wrong in a list if the contract says so."""
    body = json.dumps(changed(document, at, None)).encode()
    if isinstance(at[-1], int):
        check_change(schema_name, document, at, None)
        return
    absent = json.dumps(changed(document, at)).encode()
    request = REQUESTS[schema_name]
    if places := odd_places(request, absent):
        assert places == (json_path(at[:-1]),)
        assert odd_places(request, body) == (json_path(at),)
    elif at == ("length_queue",):  # which may be absent, but not null
        assert odd_places(request, body) == (json_path(at),)
    else:
        assert odd_places(request, body) == ()
        model, nulled = answer(schema_name, absent), answer(schema_name, body)
        # Objects that are kept as they are keep their nulls.
        same = without_nulls(json.loads(encode(nulled)))
        assert same == without_nulls(json.loads(encode(model)))


def without_nulls(value: Any) -> Any:
    """Return a JSON value with all nulls out of its objects."""
    if isinstance(value, dict):
        return {key: without_nulls(element) for key, element in value.items() if element is not None}
    return [without_nulls(element) for element in value] if isinstance(value, list) else value


def check_wrong_types(schema_name: str, document: Any, at: Steps) -> None:
    """Check one value of a valid document against all other JSON types."""
    value = value_at(document, at)
    for new in OTHERS:
        # Every integer is a number too.
        if json_type(new) != json_type(value) and (json_type(value), json_type(new)) != ("number", "integer"):
            check_change(schema_name, document, at, new)
    if value is not None and at:
        check_null(schema_name, document, at)


@pytest.mark.parametrize("schema_name", some_of(RESPONSES, 2))
@examples(10, 300)
def test_a_wrong_type_is_named_by_its_path(schema_name: str, count: int) -> None:
    @checked(count)
    @given(GENERATED[schema_name])
    def check(document: Any) -> None:
        # One place of each kind: elements of a list are alike.
        places = {re.sub(r"\[\d+\]", "[]", json_path(at)): at for at in steps_in(document)}
        for at in places.values():
            check_wrong_types(schema_name, document, at)

    check()


@examples(1, 40)
@pytest.mark.parametrize(("kind", "name"), some_of(REAL, 20))
def test_a_wrong_type_in_a_snapshot_is_named_by_its_path(kind: Kind, name: str, count: int) -> None:
    document = documents(kind)[name]
    places = list(steps_in(document))
    for at in random.Random(name).sample(places, count):
        check_wrong_types(SCHEMA[kind], document, at)


@pytest.mark.parametrize("name", ["region", "instance"])
def test_what_the_client_fills_in_is_not_read_from_the_wire(name: str) -> None:
    device = {"name": "ibm_x", "status": {"name": "online"}, "queue_length": 0, name: {"id": 1}}
    body = json.dumps({"devices": [device]}).encode()
    assert getattr(answer("BackendsResponse", body).devices[0], name) is None


def test_the_checks_tell_right_from_wrong() -> None:
    name = "BackendStatusResponse"
    with pytest.raises(AssertionError, match=r"length_queue.*state"):
        # What is wrong is somewhere else.
        check_change(name, {"length_queue": "text", "state": True}, ("state",), 7)
    assert LOOSE[name].is_valid({"length_queue": -1, "more": 1})
    assert not LOOSE[name].is_valid({"length_queue": 0.5})


# --- damaged bodies


def check_truncated(schema_name: str, body: bytes, length: int) -> None:
    """Assert that the beginning of a body is refused as damaged, and nothing else is raised."""
    with pytest.raises(DecodeError) as caught:
        answer(schema_name, body[:length])
    assert caught.value.malformed


@pytest.mark.parametrize("schema_name", some_of(RESPONSES, 2))
@examples(10, 300)
def test_a_truncated_body_is_a_decode_error(schema_name: str, count: int) -> None:
    @checked(count)
    @given(GENERATED[schema_name], SPELLINGS)
    def check(document: Any, spelling: dict[str, Any]) -> None:
        body = json.dumps(document, **spelling).encode()
        for length in range(len(body)):
            check_truncated(schema_name, body, length)

    check()


@examples(2, 300)
@pytest.mark.parametrize(("kind", "name"), REAL)
def test_a_truncated_snapshot_is_a_decode_error(kind: Kind, name: str, count: int) -> None:
    body = paths(kind)[name].read_bytes().rstrip()
    for length in random.Random(name).sample(range(len(body)), count):
        check_truncated(SCHEMA[kind], body, length)


@pytest.mark.parametrize("schema_name", some_of(RESPONSES, 2))
@examples(30, 1500)
def test_a_garbled_body_is_a_decode_error_or_an_answer(schema_name: str, count: int) -> None:
    @checked(count)
    @given(GENERATED[schema_name], st.binary(max_size=6), st.data())
    def check(document: Any, garbage: bytes, data: st.DataObject) -> None:
        body = json.dumps(document, ensure_ascii=False).encode()
        start = data.draw(st.integers(0, len(body)))
        try:
            answer(schema_name, body[:start] + garbage + body[start + len(garbage) :])
        except DecodeError as error:
            assert error.path.startswith("$")  # noqa: PT017

    check()


# --- error answers


@pytest.mark.parametrize("status", [400, 401, 403, 404])
@examples(30, 1000)
def test_an_error_answer_keeps_what_the_service_said(status: int, count: int) -> None:
    @checked(count)
    @given(GENERATED["ErrorResponse"])
    def check(document: Any) -> None:
        with pytest.raises(ResponseError) as caught:
            parse(REQUESTS["BackendStatusResponse"], status, {}, json.dumps(document).encode())
        errors = document.get("errors") or [{}]
        first = errors[0]
        said = {**first, "title": document.get("title"), "trace": document.get("trace")}
        for name in ("code", "solution", "more_info", "title", "trace"):
            assert (getattr(caught.value, name) is None) == (said.get(name) is None), name
        assert caught.value.status == status

    check()
