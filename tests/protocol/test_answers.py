"""Whose document an answer is."""

from datetime import UTC, datetime

import msgspec
import pytest

from qrbackends import BackendConfiguration, BackendStatus, BadRequest, NotFound, Request, WrongBackend
from qrbackends.protocol.answers import check_backend, parse

REQUEST = Request("configuration", "ibm_asked")


def named(name: str) -> bytes:
    return msgspec.json.encode(
        {"backend_name": name, "backend_version": "1", "n_qubits": 1, "basis_gates": [], "gates": []}
    )


@pytest.mark.parametrize("name", ["ibm_asked", "IBM_Asked"])
def test_a_document_of_the_backend_asked_for_is_taken(name: str) -> None:
    value = parse(REQUEST, 200, {}, named(name))
    assert isinstance(value, BackendConfiguration)
    check_backend(REQUEST, value)


@pytest.mark.parametrize("name", ["ibm_other", "", "ibm_asked ", "ibm_aske", "x" * 10_000, "a\x1b[2J\n"])
def test_a_document_of_another_backend_is_refused(name: str) -> None:
    with pytest.raises(WrongBackend) as caught:
        check_backend(REQUEST, parse(REQUEST, 200, {}, named(name)))
    assert caught.value.backend == "ibm_asked"
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_a_document_without_a_name_is_taken() -> None:
    check_backend(Request("status", "ibm_asked"), BackendStatus(0))


def test_a_400_asks_only_after_fields_that_may_be_misspelled() -> None:
    for field, said in (
        ("wait_time", "HTTP 400: no such field; did you mean wait_time_seconds?"),
        ("wait_time_seconds", "HTTP 400: no such field"),
        ("colour", "HTTP 400: no such field"),
    ):
        with pytest.raises(BadRequest) as raised:
            parse(Request("backends", fields=[field]), 400, {}, b'{"title": "no such field"}')
        assert raised.value.message == said


def test_a_404_says_what_was_asked_for_beside_the_name() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    for request, said in (
        (Request("configuration", "a", "extra"), "HTTP 404: nothing here; asked for the variant 'extra'"),
        (
            Request("properties", "a", "b", at),
            "HTTP 404: nothing here; asked for the variant 'b' and a calibration before 2026-01-02T03:04:05Z",
        ),
        (Request("status", "a"), "HTTP 404: nothing here."),
    ):
        with pytest.raises(NotFound) as raised:
            parse(request, 404, {}, b'{"title": "nothing here."}')
        assert raised.value.message == said
