"""Objects that the contract leaves open: read-only all the way down."""

import copy
import json
import pickle
import tracemalloc
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qrbackends.errors import DecodeError
from qrbackends.models import BackendDefaults, JSONObject
from qrbackends.models.json_object import read_only
from qrbackends.protocol.answers import parse
from qrbackends.protocol.requests import Request

DOCUMENT: dict[str, Any] = {
    "text": "a",
    "none": None,
    "flags": [True, False],
    "deep": {"list": [{"x": [1, 2.5, {}]}, []], "empty": {}},
}
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
OBJECTS = st.dictionaries(
    st.text(),
    st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=15),
    max_size=5,
)
KINDS = st.sampled_from([JSONObject, BackendDefaults])
kinds = pytest.mark.parametrize("kind", [JSONObject, BackendDefaults])


def everything(value: Any) -> Iterator[Any]:
    """Yield a value and all that is in it."""
    yield value
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else ()
    for one in inner:
        yield from everything(one)


@given(kind=KINDS, document=OBJECTS)
def test_to_dict_gives_back_what_came(kind: type[JSONObject], document: dict[str, Any]) -> None:
    ours = kind(document)
    assert ours.to_dict() == document
    assert list(ours) == list(document)
    assert len(ours) == len(document)
    # Equal is not enough: true is 1.
    assert json.dumps(ours.to_dict()) == json.dumps(document)


@given(kind=KINDS, document=OBJECTS)
def test_all_that_is_in_it_is_immutable_and_hashable(
    kind: type[JSONObject], document: dict[str, Any]
) -> None:
    ours = kind(document)
    for one in everything(ours):
        assert isinstance(one, (JSONObject, tuple, str, int, float, type(None)))
        hash(one)


@given(kind=KINDS, document=OBJECTS)
def test_equal_objects_are_equal_values(kind: type[JSONObject], document: dict[str, Any]) -> None:
    ours = kind(document)
    turned = kind(dict(reversed(document.items())))
    assert ours == turned
    assert hash(ours) == hash(turned)
    assert ours == kind(ours)
    assert ours != kind({**document, "one more": 1})
    for twin in (copy.copy(ours), copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):  # noqa: S301
        assert type(twin) is kind
        assert twin == ours
        assert twin.to_dict() == document


@given(document=OBJECTS)
def test_defaults_are_what_the_service_sent(document: dict[str, Any]) -> None:
    ours = parse(Request("defaults", "ibm_x"), 200, {}, json.dumps(document).encode())
    assert type(ours) is BackendDefaults
    assert ours.to_dict() == document


@kinds
def test_it_is_a_mapping(kind: type[JSONObject]) -> None:
    ours = kind(DOCUMENT)
    assert isinstance(ours, Mapping)
    assert "deep" in ours
    assert "other" not in ours
    assert ours["deep"]["list"][0]["x"] == (1, 2.5, kind({}))
    assert ours.get("other", 7) == 7
    assert dict(ours)["flags"] == (True, False)
    assert bool(kind({})) is False
    with pytest.raises(KeyError):
        _ = ours["other"]


@kinds
def test_objects_in_it_are_of_the_plain_kind(kind: type[JSONObject]) -> None:
    assert type(kind(DOCUMENT)["deep"]) is JSONObject


@kinds
@pytest.mark.parametrize(
    "change",
    [
        lambda ours: ours.__setitem__("text", 1),
        lambda ours: ours.__delitem__("text"),
        lambda ours: ours.update(text=1),
        lambda ours: ours.pop("text"),
        lambda ours: ours.clear(),
        lambda ours: setattr(ours, "text", 1),
        lambda ours: ours["deep"].update(x=1),
        lambda ours: ours["flags"].append(1),
        lambda ours: ours["deep"]["list"][0]["x"].append(1),
    ],
)
def test_it_cannot_be_changed(kind: type[JSONObject], change: Any) -> None:
    ours = kind(DOCUMENT)
    with pytest.raises((TypeError, AttributeError)):
        change(ours)
    assert ours.to_dict() == DOCUMENT


@kinds
def test_it_has_its_own_copy(kind: type[JSONObject]) -> None:
    source = copy.deepcopy(DOCUMENT)
    ours = kind(source)
    source["deep"]["list"].append("more")
    source["more"] = 1
    given_back = ours.to_dict()
    given_back["deep"]["list"].append("more")
    given_back["flags"].clear()
    assert ours.to_dict() == DOCUMENT


def test_its_repr_shows_kind_and_content() -> None:
    assert repr(JSONObject({"a": [1]})) == "JSONObject({'a': (1,)})"
    assert repr(BackendDefaults({"a": {}})) == "BackendDefaults({'a': JSONObject({})})"


def test_defaults_are_decoded_when_somebody_looks() -> None:
    body = b'{"x":[' + b"{}," * 50_000 + b"{}]}"
    tracemalloc.start()
    try:
        ours = parse(Request("defaults", "ibm_x"), 200, {}, body)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(body)
    finally:
        tracemalloc.stop()
    assert len(ours["x"]) == 50_001
    assert ours["x"] is ours["x"]


@pytest.mark.parametrize("item", [b"{}", b"[]", b'{"a":0}', b"[[[[0]]]]"])
def test_an_object_with_too_many_values_is_not_decoded(item: bytes) -> None:
    body = b'{"x":[' + (item + b",") * (3 * 2**20 // len(item)) + b"0]}"
    ours = parse(Request("defaults", "ibm_x"), 200, {}, body)
    tracemalloc.start()
    try:
        for _ in range(2):
            with pytest.raises(DecodeError, match="an open object of this document holds more than"):
                _ = ours["x"]
        assert tracemalloc.get_traced_memory()[1] < 2 * len(body)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("inner", [b"1e999", b'"\\ud800x', b"1" * 5000, b"[" * 100_000 + b"]" * 100_000])
def test_what_cannot_be_decoded_is_an_error_at_the_latest_when_somebody_looks(inner: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        len(parse(Request("defaults", "ibm_x"), 200, {}, b'{"x":' + inner + b"}"))
    assert caught.value.__context__ is None
    channels = msgspec.Raw(b'{"x":' + inner + b"}")
    with pytest.raises(DecodeError):
        read_only(channels)


@pytest.mark.parametrize("raw", [b"", b"null"])
def test_an_absent_object_is_none(raw: bytes) -> None:
    assert read_only(msgspec.Raw(raw)) is None


def test_an_unread_object_can_be_copied() -> None:
    def pickled(value: Any) -> Any:
        return pickle.loads(pickle.dumps(value))  # noqa: S301

    for copied in (copy.copy, copy.deepcopy, pickled):
        unread = parse(Request("defaults", "ibm_x"), 200, {}, json.dumps(DOCUMENT).encode())
        twin = copied(unread)
        assert type(twin) is BackendDefaults
        assert twin.to_dict() == DOCUMENT
        assert twin == unread


@pytest.mark.parametrize("step", ["_raw", "_found"])
def test_two_threads_may_look_first(step: str) -> None:
    """The other one looks, and has decoded it, right after the first one has read one of the fields."""

    class LookedAt(JSONObject):
        seen = False

        def __getattribute__(self, name: str) -> Any:
            value = super().__getattribute__(name)
            if name == step and not LookedAt.seen:
                LookedAt.seen = True
                assert dict(self) == {"a": 1}
            return value

    assert LookedAt.of(msgspec.Raw(b'{"a":1}'))["a"] == 1
    assert LookedAt.seen
