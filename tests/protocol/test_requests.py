"""Requests as values, and answers as structs or errors: no network anywhere."""

import copy
import json
import math
import pickle
import pprint
import traceback
import tracemalloc
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from qrbackends import errors
from qrbackends.accounts.secret import Secret
from qrbackends.errors import (
    DecodeError,
    InvalidRequest,
    RedirectRefused,
    ResponseError,
    ServerError,
)
from qrbackends.models import (
    BackendConfiguration,
    BackendDefaults,
    BackendProperties,
    BackendsResponse,
    BackendStatus,
)
from qrbackends.protocol import requests as api
from qrbackends.protocol.answers import page_title, parse
from qrbackends.protocol.headers import headers, retry_after
from qrbackends.protocol.requests import API_VERSION, Request, request_of

from ..odd import odd_places

TYPES = {
    "backends": BackendsResponse,
    "configuration": BackendConfiguration,
    "properties": BackendProperties,
    "status": BackendStatus,
    "defaults": BackendDefaults,
}
REQUESTS = {
    name: Request(name, None if name == "backends" else "ibm_x")  # type: ignore[arg-type]
    for name in TYPES
}
STATUS = REQUESTS["status"]
NDUV = {"date": "2026-04-17T12:19:24+02:00", "name": "T1", "unit": "us", "value": 100.5}
VALID: dict[str, Any] = {
    "backends": {
        "devices": [
            {
                "name": "ibm_x",
                "status": {"name": "online"},
                "queue_length": 3,
                "processor_type": {"family": "Heron", "revision": 2},
                "clops": {"type": "hardware", "value": 250000},
                "performance_metrics": {"two_q_error_best": {"value": 0.001, "gate": "cz", "qubits": [0, 1]}},
                "wait_time_seconds": {"average": 1, "p50": 2, "p95": 3},
            }
        ]
    },
    "configuration": {
        "backend_name": "ibm_x",
        "backend_version": "1.2.3",
        "n_qubits": 2,
        "basis_gates": ["cz", "sx"],
        "gates": [{"name": "cz", "parameters": [], "qasm_def": "gate cz", "coupling_map": [[0, 1]]}],
        "online_date": "2026-04-17T12:19:24+02:00",
        "dt": 4.0,
        "u_channel_lo": [[{"q": 0, "scale": [1.0, 0.0]}]],
        "channels": {"d0": {"operates": {"qubits": [0]}}},
        "hamiltonian": {"vars": {"wq0": 31.1}},
    },
    "properties": {
        "backend_name": "ibm_x",
        "backend_version": "1.2.3",
        "last_update_date": "2026-04-17T12:19:24Z",
        "qubits": [[NDUV], []],
        "gates": [{"gate": "cz", "qubits": [0, "1"], "parameters": [NDUV | {"name": "gate_error"}]}],
        "general": [NDUV, "text"],
        "general_qlists": [{"name": "lf_4", "qubits": [0, 1]}],
    },
    "status": {
        "state": True,
        "status": "active",
        "message": "",
        "length_queue": 3,
        "backend_version": "1.2.3",
    },
    "defaults": {"pulse_library": [{"name": "a", "samples": [[0.1, 0.2]]}], "buffer": 10},
}
NOON = datetime(2026, 4, 17, 12, tzinfo=UTC)
EAST = timezone(timedelta(hours=5, minutes=45))


# --- what a request is


@pytest.mark.parametrize(
    ("request_", "target", "query"),
    [
        (Request("backends"), "/backends", {}),
        (
            Request("backends", fields=("wait_time_seconds",)),
            "/backends?fields=wait_time_seconds",
            {"fields": "wait_time_seconds"},
        ),
        (Request("backends", fields=("b", "a", "b")), "/backends?fields=a%2Cb", {"fields": "a,b"}),
        (Request("configuration", "ibm_x"), "/backends/ibm_x/configuration", {}),
        (
            Request("configuration", "ibm_x", "extra gates&c=1"),
            "/backends/ibm_x/configuration?calibration_id=extra%20gates%26c%3D1",
            {"calibration_id": "extra gates&c=1"},
        ),
        (Request("properties", "ibm_x"), "/backends/ibm_x/properties", {}),
        (
            Request("properties", "ibm_x", "v+1", NOON),
            "/backends/ibm_x/properties?calibration_id=v%2B1&updated_before=2026-04-17T12%3A00%3A00Z",
            {"calibration_id": "v+1", "updated_before": "2026-04-17T12:00:00Z"},
        ),
        (Request("status", "ibm_x"), "/backends/ibm_x/status", {}),
        (Request("defaults", "ibm_x"), "/backends/ibm_x/defaults", {}),
    ],
)
def test_path_and_query(request_: Request, target: str, query: dict[str, str]) -> None:
    assert request_.target == target
    assert request_.query == query
    assert dict(parse_qsl(urlsplit(target).query, strict_parsing=bool(query))) == query
    assert dict(URL(f"https://x.test/api/v1{target}", encoded=True).query) == query


@pytest.mark.parametrize(("resource", "type_"), TYPES.items())
def test_the_type_of_the_answer(resource: str, type_: type[Any]) -> None:
    assert REQUESTS[resource].type is type_
    assert isinstance(parse(REQUESTS[resource], 200, {}, json.dumps(VALID[resource]).encode()), type_)


def test_the_headers_of_a_call() -> None:
    sent = headers(Secret("Bearer abc"), "crn:v1:x")
    assert sent == {
        "Authorization": "Bearer abc",
        "Service-CRN": "crn:v1:x",
        "IBM-API-Version": "2026-04-15",
    }
    assert API_VERSION == "2026-04-15"
    assert headers(Secret("apikey k"), "crn:v1:x", "2025-01-01")["IBM-API-Version"] == "2025-01-01"


def test_the_headers_do_not_show_the_credential() -> None:
    sent = headers(Secret("Bearer hunter2"), "crn:v1:x")
    shown = f"{sent} {sent!r} {[sent]} {pprint.pformat(sent)}"
    assert "hunter2" not in shown
    assert "crn:v1:x" in shown


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Request("status", "a"), Request("status", "a", None, None, ())),
        (Request("properties", "a", updated_before=NOON), Request("properties", "a", None, NOON)),
        (
            Request("properties", "a", None, NOON),
            Request("properties", "a", None, NOON.astimezone(EAST)),
        ),
        (Request("backends", fields=("a", "b")), Request("backends", fields=("b", "a", "a"))),
        (Request("backends", fields=("a",)), Request("backends", fields=["a"])),
        (Request("backends"), Request("backends", fields=[])),
        (Request("backends", fields=("a",)), Request("backends", fields=iter("a"))),  # type: ignore[arg-type]
    ],
)
def test_the_same_question_is_the_same_value(one: Request, other: Request) -> None:
    assert one == other
    assert hash(one) == hash(other)
    assert one.target == other.target


@pytest.mark.parametrize("resource", TYPES)
@pytest.mark.parametrize("nothing", [None, (), [], frozenset()])
def test_no_fields_are_no_fields(resource: str, nothing: Any) -> None:
    request = REQUESTS[resource]
    assert Request(request.resource, request.backend, fields=nothing) == request


def test_different_questions_are_different_values() -> None:
    questions = [
        *(Request(name, "a") for name in ("configuration", "properties", "status", "defaults")),
        Request("status", "A"),
        Request("status", "a "),
        Request("status", "\u00e9"),
        Request("status", "e\u0301"),
        Request("configuration", "a", "b"),
        Request("properties", "a", "b"),
        Request("properties", "a", None, NOON),
        Request("properties", "a", None, NOON + timedelta(microseconds=1)),
        Request("properties", "a", "b", NOON),
        Request("backends"),
        Request("backends", fields=("a",)),
        Request("backends", fields=("a", "b")),
    ]
    assert len(set(questions)) == len(questions)
    assert len({question.target for question in questions}) == len(questions)


def test_a_request_is_frozen_and_travels() -> None:
    request = Request("properties", "a", "b", NOON.astimezone(EAST))
    target = request.target
    for twin in (copy.copy(request), copy.deepcopy(request), pickle.loads(pickle.dumps(request))):  # noqa: S301
        assert twin == request
        assert twin.target == target
    with pytest.raises(AttributeError):
        request.backend = "other"  # type: ignore[misc]
    changed = msgspec.structs.replace(request, backend="c")
    assert changed.target == target.replace("/a/", "/c/")


@pytest.mark.parametrize(
    ("when", "text"),
    [
        (NOON, "2026-04-17T12:00:00Z"),
        (NOON.astimezone(EAST), "2026-04-17T12:00:00Z"),
        (NOON.replace(microsecond=5), "2026-04-17T12:00:00.000005Z"),
        (datetime(2026, 1, 1, tzinfo=EAST), "2025-12-31T18:15:00Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
    ],
)
def test_updated_before_is_sent_as_rfc_3339_in_utc(when: datetime, text: str) -> None:
    assert Request("properties", "a", None, when).query == {"updated_before": text}


@given(st.datetimes(timezones=st.timezones()))
def test_updated_before_is_the_same_instant(when: datetime) -> None:
    try:
        sent = Request("properties", "a", None, when).query["updated_before"]
    except InvalidRequest as error:
        assert "range" in str(error)  # noqa: PT017
        return
    assert sent.endswith("Z")
    assert datetime.fromisoformat(sent) == when.astimezone(UTC)


# --- ids

NASTY_IDS = [
    "a/b",
    "a?b",
    "a#b",
    "a%2fb",
    "%2e%2e",
    "%2E",
    "...",
    ".hidden",
    "../x",
    "a/../b",
    "a\\b",
    "..\\..",
    "a b",
    "a+b",
    "a;b",
    "a&b=c",
    "a:b@c",
    "//evil.com",
    "\u00e9",
    "e\u0301",
    "\U0001f680",
    "\u2025",
    "\uff0e\uff0e",
    "\u2028",
    "\u202e",
    "\ue000",
    "\U0010ffff",
    "~a",
    "[::1]",
    "{}",
    "a" * 500,
    "\U0001f680" * 500,
]
IDS = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=500),
    st.text(alphabet="./%2eE\\?#", min_size=1, max_size=8),
).filter(lambda text: text not in (".", ".."))


def check_one_segment(backend: str) -> None:
    """Assert that an id is one segment of the path, whatever is in it."""
    target = Request("status", backend).target
    base = "https://x.test/api/v1"
    url = URL(base + target, encoded=True)
    for path in (url.raw_path, urlsplit(base + target).path):
        *above, segment, resource = path.split("/")
        assert (above, resource) == (["", "api", "v1", "backends"], "status")
        assert unquote(segment, errors="strict") == backend
        assert segment.isascii()
    assert (url.host, url.query_string, url.fragment) == ("x.test", "", "")


@pytest.mark.parametrize("backend", NASTY_IDS)
def test_a_nasty_id_is_one_segment(backend: str) -> None:
    check_one_segment(backend)


@given(IDS)
def test_any_id_is_one_segment(backend: str) -> None:
    check_one_segment(backend)


@given(IDS.filter(lambda text: len(text) <= 100))
def test_any_calibration_id_is_one_parameter(calibration_id: str) -> None:
    request = Request("properties", "a", calibration_id, NOON)
    pairs = parse_qsl(urlsplit(request.target).query, strict_parsing=True, keep_blank_values=True)
    assert pairs == [("calibration_id", calibration_id), ("updated_before", "2026-04-17T12:00:00Z")]
    assert list(URL(f"https://x.test{request.target}", encoded=True).query.items()) == pairs


BAD_TEXTS = [
    "",
    "a\nb",
    "a\r\nHost: evil.com",
    "\t",
    "\x00",
    "a\x1b[2J",
    "\x7f",
    "\x80",
    "\x9f",
    "\ud800",
    "a\udfff",
    7,
    b"ibm_x",
    ["ibm_x"],
]


@pytest.mark.parametrize("backend", [*BAD_TEXTS, None, ".", "..", "a" * 501])
@pytest.mark.parametrize("resource", ["configuration", "properties", "status", "defaults"])
def test_an_id_that_cannot_be_one_is_refused(resource: Any, backend: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Request(resource, backend)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("calibration_id", [*BAD_TEXTS, "a" * 101])
@pytest.mark.parametrize("resource", ["configuration", "properties"])
def test_a_calibration_id_that_cannot_be_one_is_refused(resource: Any, calibration_id: Any) -> None:
    with pytest.raises(InvalidRequest, match="calibration_id"):
        Request(resource, "a", calibration_id)


@pytest.mark.parametrize("resource", ["", "Status", "jobs", "../status", None, 7, [], "x" * 1000, "a\nb"])
def test_there_are_five_resources(resource: Any) -> None:
    with pytest.raises(InvalidRequest, match="configuration, properties, status, defaults") as caught:
        Request(resource, "a")
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("resource", "name", "value"),
    [
        ("backends", "backend", "a"),
        ("backends", "backend", ""),
        ("backends", "calibration_id", "a"),
        ("backends", "updated_before", NOON),
        ("configuration", "updated_before", NOON),
        ("configuration", "fields", ("a",)),
        ("properties", "fields", ("a",)),
        ("status", "calibration_id", "a"),
        ("status", "calibration_id", ""),
        ("status", "updated_before", NOON),
        ("status", "fields", ("a",)),
        ("defaults", "calibration_id", "a"),
        ("defaults", "updated_before", NOON),
        ("defaults", "fields", ("a",)),
    ],
)
def test_what_is_not_this_resource_s_is_refused(resource: Any, name: str, value: Any) -> None:
    given_ = {} if resource == "backends" else {"backend": "a"}
    with pytest.raises(InvalidRequest, match=f"{resource} takes no {name}"):
        Request(resource, **(given_ | {name: value}))


@pytest.mark.parametrize("when", [datetime(2026, 4, 17), date(2026, 4, 17), "2026-04-17", 0, 1e9])
def test_an_instant_that_is_none_is_refused(when: Any) -> None:
    with pytest.raises(InvalidRequest, match="updated_before"):
        Request("properties", "a", None, when)


def test_a_naive_datetime_is_refused_with_advice() -> None:
    with pytest.raises(InvalidRequest, match=r"no time zone.*datetime\.now\(UTC\)"):
        Request("properties", "a", None, datetime(2026, 4, 17))


@pytest.mark.parametrize(
    "when", [datetime.min.replace(tzinfo=EAST), datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))]
)
def test_an_instant_out_of_range_is_refused(when: datetime) -> None:
    with pytest.raises(InvalidRequest, match="out of range"):
        Request("properties", "a", None, when)


@pytest.mark.parametrize(
    "fields",
    ["wait_time_seconds", ("a,b",), ("a b",), ("",), ("\u00e9",), (7,), (7, "a"), ([],), 7, b"a", ("a\n",)],
)
def test_fields_that_are_no_list_of_names_are_refused(fields: Any) -> None:
    with pytest.raises(InvalidRequest, match="fields"):
        Request("backends", fields=fields)


# --- answers other than 200

CLASSES = {
    400: errors.BadRequest,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    423: errors.Locked,
    429: errors.RateLimited,
    503: errors.ServiceUnavailable,
    **dict.fromkeys((500, 501, 502, 504, 507, *range(520, 525), 599), ServerError),
    **dict.fromkeys((100, 201, 202, 204, 206, 402, 405, 406, 410, 412, 418, 422, 499), ResponseError),
}
HTML = b"<!DOCTYPE html><html><head><title>Web server is down</title></head>\x00\xff\xfe</html>"
SAID = {
    "correlation_id": "corr",
    "errors": [
        {"code": "1233", "message": "Locked out.", "solution": "Ask.", "more_info": "https://d.test"},
        {"code": "2", "message": "second"},
    ],
    "status_code": 423,
    "title": "Locked",
    "trace": "trace-id",
}


def refused(
    status: int, body: Any = b"", sent: Mapping[str, str] | None = None, request: Request = STATUS
) -> ResponseError:
    """Return the error for an answer."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(ResponseError) as caught:
        parse(request, status, sent or {}, body)
    return caught.value


@pytest.mark.parametrize("status", CLASSES)
@pytest.mark.parametrize("body", [b"", HTML, b"{}", b"null", b"[]", json.dumps(SAID).encode()])
def test_each_status_has_its_class(status: int, body: bytes) -> None:
    error = refused(status, body)
    assert type(error) is CLASSES[status]
    assert error.status == status
    assert f"HTTP {status}" in str(error)
    assert error.backend == "ibm_x"


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 399])
def test_a_redirect_is_refused(status: int) -> None:
    with pytest.raises(RedirectRefused, match=str(status)) as caught:
        parse(STATUS, status, {"Location": "https://evil.com/hunter2"}, b"{}")
    assert caught.value.backend == "ibm_x"
    assert "hunter2" not in str(caught.value)


def test_an_error_says_what_the_service_said() -> None:
    error = refused(423, SAID)
    assert (error.code, error.solution, error.more_info) == ("1233", "Ask.", "https://d.test")
    assert (error.title, error.trace, error.correlation_id) == ("Locked", "trace-id", "corr")
    assert str(error) == "ibm_x: HTTP 423: Locked out. (code 1233; Ask.; trace trace-id)"


def test_an_error_of_the_list_has_no_backend() -> None:
    assert refused(403, SAID, request=REQUESTS["backends"]).backend is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (SAID | {"errors": []}, "Locked"),
        (SAID | {"errors": [{}]}, "Locked"),
        (SAID | {"errors": [{"message": ""}]}, "Locked"),
        ({"title": "Only a title"}, "Only a title"),
        ({}, "the service gave no reason"),
        ({"message": "Forbidden"}, "Forbidden"),
        (b"<html>no title</html>", "the service gave no reason"),
        (HTML, "Web server is down"),
    ],
)
def test_a_missing_message_is_replaced(body: Any, message: str) -> None:
    assert refused(423, body).message == f"HTTP 423: {message}"


@pytest.mark.parametrize(
    ("page", "title"),
    [
        (b"<TITLE class='a'>\r\n 502\tBad   Gateway </TITLE>", "502 Bad Gateway"),
        (b"<title>a\x1b[2J&amp;&lt;b&gt; &#x202e;c&#27;</title>", "a [2J&<b> c"),
        (b"<title>\xff\xfe</title>", "\ufffd\ufffd"),
        (b"<title>" + b"x" * 5000 + b"</title>", "x" * 200),
        (b"<title>&#" + b"9" * 8000 + b";</title>", "\ufffd"),
        *[(page, None) for page in (b"", b"<title>", b"<title>x", b"<title", b"</title><title", b"title")],
        *[(page, None) for page in (b"<title></title>", b"<title> \0 </title>", b"<title" * 9999)],
        (b" " * 20000 + b"<title>x</title>", None),
    ],
)
def test_a_page_has_a_title(page: bytes, title: str | None) -> None:
    assert page_title(page) == title


@pytest.mark.parametrize(
    ("body", "own"),
    [
        (SAID, True),
        *[({name: SAID[name]}, True) for name in SAID],
        ({"message": "Forbidden"}, True),
        ({}, False),
        *[(body, False) for body in (HTML, b"", b"[]", b"null")],
    ],
)
def test_a_403_that_is_not_the_service_s_own_is_an_outage(body: Any, own: bool) -> None:
    assert refused(403, body).outage == (not own)
    assert ("firewall" in refused(403, body).message) == (not own)
    assert not any(refused(status, body).outage for status in (400, 401, 404, 423))


@pytest.mark.parametrize(
    ("code", "text"), [("1233", "1233"), (1233, "1233"), (0, "0"), (-1, "-1"), (1233.0, "1233"), (1.5, "1.5")]
)
def test_a_code_may_be_text_or_a_number(code: object, text: str) -> None:
    error = refused(400, SAID | {"errors": [{"code": code, "message": "Locked out."}]})
    assert error.message == "HTTP 400: Locked out."
    assert error.code is not None
    assert error.code in (text, f"{text}.0")
    assert error.trace == "trace-id"


WRONG = [None, True, 7, [], ["a"], {"a": 1}]


@pytest.mark.parametrize("field", ["correlation_id", "errors", "status_code", "title", "trace"])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_field_of_a_wrong_type_does_not_hide_the_others(field: str, wrong: object) -> None:
    error = refused(423, SAID | {field: wrong})
    assert type(error) is errors.Locked
    if field != "trace":
        assert error.trace == "trace-id"
    if field != "errors":
        assert error.message == "HTTP 423: Locked out."


@pytest.mark.parametrize("field", ["code", "message", "solution", "more_info"])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_type_in_the_first_error_does_not_hide_the_rest(field: str, wrong: object) -> None:
    first = {"code": "1", "message": "m", "solution": "s", "more_info": "i"}
    error = refused(423, SAID | {"errors": [first | {field: wrong}]})
    assert error.trace == "trace-id"
    if field != "message":
        assert error.message == "HTTP 423: m"
    if field != "solution":
        assert error.solution == "s"


@pytest.mark.parametrize("count", [1, 100, 100_000])
def test_an_error_is_read_as_far_as_it_came(count: int) -> None:
    one = {"code": 1233, "message": "Locked out.", "solution": "Ask."}
    sent = {"trace": "trace-id", "errors": [one, {"more": [{}] * count}], "title": "Locked"}
    error = refused(423, sent)
    assert (error.message, error.code, error.solution) == ("HTTP 423: Locked out.", "1233", "Ask.")
    assert error.trace == "trace-id"


def test_an_error_that_is_cut_anywhere_says_what_came_before() -> None:
    body = json.dumps(SAID | {"more": ["a, b", {"x": '"}],\\'}]}).encode()
    whole = refused(423, body)
    for length in range(len(body)):
        error = refused(423, body[:length])
        assert error.message in (whole.message, "HTTP 423: Locked", "HTTP 423: the service gave no reason")
        for name in ("code", "solution", "trace", "correlation_id"):
            assert getattr(error, name) in (getattr(whole, name), None)
    assert refused(423, body[:-3]).trace == "trace-id"


@pytest.mark.parametrize("item", [b"[", b"{}", b'{"a":0}', b"[[[[[[0]]]]]]", b"1" * 5000, b'"\\', b'"'])
def test_an_error_of_any_length_takes_little_memory(item: bytes) -> None:
    body = b'{"trace":"t","x":[' + b",".join([item] * (4_000_000 // len(item))) + b"]}"
    tracemalloc.start()
    try:
        assert refused(500, body).trace in ("t", None)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\nSet-Cookie: a\u202e\u2028\x00\x9b31m"


def test_hostile_texts_never_reach_a_terminal() -> None:
    one = dict.fromkeys(("code", "message", "solution", "more_info"), HOSTILE)
    error = refused(400, dict.fromkeys(("title", "trace", "correlation_id"), HOSTILE) | {"errors": [one]})
    assert str(error).isprintable()
    for name in ("message", "title", "code", "solution", "more_info", "trace", "correlation_id"):
        assert getattr(error, name).isprintable()


def test_long_texts_are_cut() -> None:
    one = dict.fromkeys(("code", "message", "solution", "more_info"), "x" * 1_000_000)
    error = refused(400, {"errors": [one], "trace": "x" * 1_000_000})
    assert len(str(error)) < 5_000
    assert len(error.more_info or "") <= 1_000


@given(st.text(), st.text(), st.text())
def test_any_text_from_the_service_is_made_printable(message: str, code: str, trace: str) -> None:
    body = json.dumps({"errors": [{"message": message, "code": code}], "trace": trace}).encode()
    assert str(refused(500, body)).isprintable()


# --- Retry-After


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("30", 30.0),
        (" 30 ", 30.0),
        ("007", 7.0),
        ("00000000000030", 30.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2026 07:27:00 GMT", 0.0),
        ("Wednesday, 21-Oct-26 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 09:28:30 +0200", 30.0),
        ("Wed, 21 Oct 2026 07:28:30 -0000", 30.0),
        ("", None),
        ("   ", None),
        ("-1", None),
        ("1.5", None),
        ("1e3", None),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("\u0663\u0660", None),
        ("\u00b2", None),
        ("30s", None),
        ("30, 60", None),
        ("Wed, 21 Oct 99999 07:28:30 GMT", None),
        ("Wed, 99 Oct 2026 07:28:30 GMT", None),
        ("Wed, 21 Oct 2026 07:28:30 +9999", None),
        ("Wed", None),
    ],
)
def test_both_forms_of_retry_after(value: str, seconds: float | None) -> None:
    sent = {"Retry-After": value, "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    assert retry_after(sent) == seconds
    assert refused(429, b"", sent).retry_after == seconds
    assert refused(503, HTML, sent).retry_after == seconds


@pytest.mark.parametrize("sent", [{}, {"Date": "rubbish"}, {"Date": ""}])
def test_a_date_is_counted_from_now_where_the_answer_does_not_date_itself(sent: dict[str, str]) -> None:
    assert retry_after(sent | {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}) == 0.0
    far = retry_after(sent | {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"})
    assert far is not None
    assert far == 86400.0, "an absurd value is taken for a day"


def test_no_header_is_no_advice() -> None:
    assert retry_after({}) is None
    assert "retry" not in str(refused(429))


@given(st.text(), st.none() | st.text())
@example("9" * 5000, None)
@example("Wed, 21 Oct 2026 07:28:30 GMT", "\x00")
@settings(max_examples=500)
def test_absurd_values_are_finite_or_none(value: str, dated: str | None) -> None:
    seconds = retry_after({"Retry-After": value} | ({} if dated is None else {"Date": dated}))
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


@given(st.text(alphabet="0123456789 :+-.,GMTWedOct/", max_size=40))
@settings(max_examples=500)
def test_half_dates_are_finite_or_none(value: str) -> None:
    seconds = retry_after({"Retry-After": value, "Date": "Wed, 21 Oct 2026 07:28:00 GMT"})
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


# --- bodies that do not decode


def undecodable(request: Request, body: bytes) -> DecodeError:
    """Return the error for a body, after checking what is true of all of them."""
    with pytest.raises(DecodeError) as caught:
        parse(request, 200, {}, body)
    error = caught.value
    assert len(error.text) <= 200
    assert error.path.startswith("$")
    assert str(error).isprintable()
    assert error.__cause__ is None
    assert error.__context__ is None
    assert body not in error.args
    assert error.backend == request.backend
    return error


def with_value(resource: str, steps: tuple[str | int, ...], value: object) -> bytes:
    """Return a valid body with one value replaced."""
    document = copy.deepcopy(VALID[resource])
    target = document
    for step in steps[:-1]:
        target = target[step]
    target[steps[-1]] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("resource", "steps", "path"),
    [
        ("backends", ("devices",), "$.devices"),
        ("backends", ("devices", 0), "$.devices[0]"),
        ("backends", ("devices", 0, "queue_length"), "$.devices[0].queue_length"),
        ("backends", ("devices", 0, "status", "name"), "$.devices[0].status.name"),
        ("configuration", ("n_qubits",), "$.n_qubits"),
        ("configuration", ("dt",), "$.dt"),
        ("configuration", ("gates", 0, "coupling_map", 0, 1), "$.gates[0].coupling_map[0][1]"),
        ("configuration", ("u_channel_lo", 0, 0, "scale"), "$.u_channel_lo[0][0].scale"),
        ("configuration", ("online_date",), "$.online_date"),
        ("configuration", ("channels",), "$.channels"),
        ("configuration", ("hamiltonian", "vars"), "$.hamiltonian.vars"),
        ("properties", ("qubits", 0, 0, "value"), "$.qubits[0][0].value"),
        ("properties", ("gates", 0, "qubits", 1), "$.gates[0].qubits[1]"),
        ("properties", ("last_update_date",), "$.last_update_date"),
        ("status", ("length_queue",), "$.length_queue"),
    ],
)
def test_a_wrong_value_is_named_by_its_json_path_and_shown(
    resource: str, steps: tuple[str | int, ...], path: str
) -> None:
    assert odd_places(REQUESTS[resource], with_value(resource, steps, True))[0] == path
    if steps in (("devices",), ("n_qubits",), ("last_update_date",), ("length_queue",)):  # required
        error = undecodable(REQUESTS[resource], with_value(resource, steps, True))
        assert (error.path, error.text, error.malformed) == (path, "true", False)


@pytest.mark.parametrize(
    ("resource", "body"), [("defaults", b"[1]"), ("status", b"7"), ("backends", b"null")]
)
def test_a_body_of_a_wrong_type_is_named_by_its_root(resource: str, body: bytes) -> None:
    error = undecodable(REQUESTS[resource], body)
    assert (error.path, error.text, error.malformed) == ("$", body.decode(), False)


def test_a_missing_field_is_named() -> None:
    error = undecodable(Request("properties", "ibm_x"), b'{"backend_name": "ibm_x"}')
    assert "backend_version" in str(error)
    assert not error.malformed


def test_no_more_than_200_characters_are_shown() -> None:
    error = undecodable(STATUS, with_value("status", ("length_queue",), "\u00e9" * 10_000))
    assert len(error.text) == 200
    body = b'{"length_queue": "' + "\U0001f680".encode() * 10_000 + b'"}'
    assert undecodable(STATUS, body).text == '"' + "\U0001f680" * 199


@pytest.mark.parametrize("resource", TYPES)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        HTML,
        b"{",
        b"nul",
        b'{"length_queue": 3',
        b'{"length_queue": 3}}',
        b'{"length_queue": 3} x',
        b'{"length_queue": NaNo}',
        b"{'length_queue': 3}",
        b'{"length_queue": 3, "x": "\xff"}',
        b'{"length_queue": 3, "x": "\xed\xa0\x80"}',
        b'{"length_queue": 3, "x\xc3": 1}',
        b'\xef\xbb\xbf{"length_queue": 3}',
        '{"length_queue": 3}'.encode("utf-16"),
        b'{"length_queue": 3, "x": "\n"}',
        b'{"length_queue": 3, "x": "\\q"}',
        b"\x00",
        b"\x1f\x8b\x08\x00",
    ],
)
def test_a_body_that_is_no_json_is_malformed(resource: str, body: bytes) -> None:
    assert undecodable(REQUESTS[resource], body).malformed


@pytest.mark.parametrize("resource", TYPES)
@pytest.mark.parametrize("nest", [b"[", b'{"a":', b'{"devices":[', b'{"gates":[{"parameters":['])
def test_a_body_nested_without_end_is_an_error(resource: str, nest: bytes) -> None:
    undecodable(REQUESTS[resource], nest * 100_000)
    whole = {b"[": b"]", b'{"a":': b"}"}.get(nest)
    if whole:
        assert not undecodable(REQUESTS[resource], nest * 50_000 + b"0" + whole * 50_000).malformed


def test_nothing_of_the_body_is_in_the_error_but_its_text() -> None:
    body = b'{"hunter2-%s": "\xff"}' % (b"x" * 1000)
    error = undecodable(STATUS, body)
    assert "hunter2" not in "".join(traceback.format_exception(error))
    error = undecodable(STATUS, b'{"length_queue": "hunter2"}')
    assert "hunter2" not in "".join(traceback.format_exception(error))
    assert error.text == '"hunter2"'


@pytest.mark.parametrize("resource", ["backends", "status", "defaults"])
def test_a_number_without_end_is_an_error(resource: str) -> None:
    body = json.dumps(VALID[resource]).encode()
    wrong = body.replace(b": 3", b": " + b"3" * 5000).replace(b": 10", b": " + b"3" * 5000)
    assert wrong != body
    if resource == "backends":
        assert odd_places(REQUESTS[resource], wrong)
    else:
        undecodable(REQUESTS[resource], wrong)


def test_every_resource_is_tested_here() -> None:
    assert set(TYPES) == set(api.ANSWER_TYPES) == set(VALID)


TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)
INSTANTS = st.datetimes(datetime(1000, 1, 2), datetime(9000, 1, 1), timezones=st.timezones() | st.just(UTC))
QUESTIONS = st.one_of(
    st.builds(lambda fields: ("backends", None, None, None, fields), st.lists(st.sampled_from("abc"))),
    st.builds(
        lambda name, variant, before: ("properties", name, variant, before, ()),
        TEXT.filter(lambda name: name not in (".", "..")),
        st.none() | TEXT,
        st.none() | INSTANTS,
    ),
    st.builds(
        lambda kind, name: (kind, name, None, None, ()),
        st.sampled_from(["configuration", "status", "defaults"]),
        TEXT.filter(lambda name: name not in (".", "..")),
    ),
)


def meaning(question: tuple[Any, ...]) -> tuple[Any, ...]:
    """What is asked, however it is spelled."""
    kind, name, variant, before, fields = question
    return kind, name, variant, before and before.timestamp(), frozenset(fields)


@given(QUESTIONS, QUESTIONS)
def test_two_questions_are_equal_exactly_where_they_mean_the_same(one: Any, other: Any) -> None:
    same = meaning(one) == meaning(other)
    assert (Request(*one) == Request(*other)) is same
    assert (Request(*one).target == Request(*other).target) is same, "nor do they share a place in a store"


@given(QUESTIONS, st.timezones())
def test_the_same_question_is_equal_however_it_is_spelled(question: Any, zone: Any) -> None:
    kind, name, variant, before, fields = question
    try:
        elsewhere = before and before.astimezone(zone)
    except OverflowError:
        elsewhere = before
    again = Request(kind, name, variant, elsewhere, [*fields, *fields][::-1])
    assert again == Request(*question)
    assert hash(again) == hash(Request(*question))
    assert again.target == Request(*question).target


@given(QUESTIONS)
def test_a_target_tells_its_request(question: Any) -> None:
    request = Request(*question)
    assert request_of(request.target) == request


@given(st.text(max_size=60) | st.text("/backends?=&%20propertiesfields", max_size=60))
def test_what_is_no_target_is_none_s(text: str) -> None:
    request = request_of(text)
    assert request is None or request.target == text


@pytest.mark.parametrize(
    "text", ["", "/", "/backends/", "/backends/x", "/backends/x/y", "/backends?a=b", "/x?"]
)
def test_no_request_has_such_a_target(text: str) -> None:
    assert request_of(text) is None
