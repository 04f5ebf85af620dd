"""What decoding allocates, against the length of the body: the types bound it, and a count of the values."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qrbackends.errors import DecodeError
from qrbackends.models import BackendDefaults
from qrbackends.models.size import UNCOUNTED, check_open_values, check_values, has_long_number
from qrbackends.protocol.answers import parse

from .shapes import REQUESTS, dense, repeated

TYPED, OPEN = 24, 70  # bytes in memory per byte of JSON, for documents that are too short to be counted

CONFIGURATION = {
    "backend_name": "a",
    "backend_version": "1",
    "n_qubits": 5,
    "basis_gates": [],
    "gates": [],
}


def peak_of(resource: str, body: bytes) -> int:
    """Return the most bytes that decoding and looking takes."""
    tracemalloc.start()
    try:
        value = parse(REQUESTS[resource], 200, {}, body)
        if isinstance(value, BackendDefaults):
            len(value)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def configuration(**fields: Any) -> bytes:
    return json.dumps(CONFIGURATION | fields).encode()


@pytest.mark.parametrize("resource", sorted(REQUESTS))
def test_no_array_of_any_answer_takes_much_more_than_its_json(resource: str) -> None:
    for name, place, head, element, tail in dense():
        if name == resource:
            body = repeated(head, element, tail, 12_000)
            most = OPEN if name == "defaults" else TYPED
            assert peak_of(resource, body) < most * len(body) + 20_000, (place, element)


@pytest.mark.parametrize("element", [b"[]", b"[0]", b"[0,0]"])
def test_a_large_body_with_too_many_values_is_not_decoded(element: bytes) -> None:
    body = repeated(b'{"coupling_map":[', element, b"]}", 9 * UNCOUNTED // 4)
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="holds more values than") as caught:
            parse(REQUESTS["configuration"], 200, {}, body)
        assert tracemalloc.get_traced_memory()[1] < UNCOUNTED
    finally:
        tracemalloc.stop()
    assert (caught.value.path, caught.value.text, caught.value.backend) == ("$", "", "ibm_x")
    assert not caught.value.malformed


def test_a_device_of_thousands_of_qubits_is_no_such_body() -> None:
    pairs = [[qubit, qubit + 1] for qubit in range(90_000)]
    assert len(body := configuration(n_qubits=90_001, coupling_map=pairs)) > UNCOUNTED
    assert len(parse(REQUESTS["configuration"], 200, {}, body).coupling_map) == 90_000


def test_a_text_may_hold_any_number_of_commas_that_its_length_allows() -> None:
    body = configuration(description=("x" * 20 + ",") * 100_000)
    assert parse(REQUESTS["configuration"], 200, {}, body).n_qubits == 5


@settings(max_examples=20)
@given(st.lists(st.sampled_from([b",", b"[", b"{", b"x" * 5, b"x" * 50]), min_size=1, max_size=5))
def test_what_is_counted_is_bounded_by_the_length(parts: list[bytes]) -> None:
    element = b"".join(parts)
    body = element * (2 * UNCOUNTED // len(element))
    nested = body.count(b",") + body.count(b"[") + body.count(b"{")
    for check, count in ((check_values, body.count(b",")), (check_open_values, nested)):
        if count > UNCOUNTED // 2:
            with pytest.raises(DecodeError):
                check(body)
        else:
            check(body)
        check(body[:UNCOUNTED])


def test_a_long_document_may_hold_more_values_but_an_open_object_may_not() -> None:
    body = b"0123456789a," * (UNCOUNTED * 4 // 5)
    check_values(body)
    with pytest.raises(DecodeError, match="open object"):
        check_open_values(body)
    with pytest.raises(DecodeError, match=f"{len(body) - 1} bytes"):
        check_values(body[1:])


@pytest.mark.parametrize(("digits", "long"), [(308, False), (309, True), (100_000, True)])
def test_a_long_number_is_found_wherever_it_is(digits: int, long: bool) -> None:
    number = ("1234567890" * (digits // 10 + 1))[:digits]
    for around in ("%s", "[%s]", '{"a": -%s}', "0.%s", "1, %s, 2"):
        assert has_long_number((around % number).encode()) is long
