"""The control API, asked as from another language."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any, get_args
from urllib.parse import urlsplit

import jsonschema_rs
import msgspec
import pytest

from qrbackends.emulator import Emulator, Hold, SyntheticFleet, ThreadedEmulator
from qrbackends.emulator.steering.operations import AnyOperation
from qrbackends.emulator.surface.actions import Action

from .asking import NOW
from .steered import do, send

FLEET = SyntheticFleet({"a": 5, "b": 5})
HOUR = 3600.0


@pytest.fixture(scope="module")
def running() -> Iterator[ThreadedEmulator]:
    """One for the module."""
    with ThreadedEmulator(fleet=FLEET, regions=["r", "s"], clock=lambda: NOW, control_port=0) as emulator:
        yield emulator


@pytest.fixture
def emulator(running: ThreadedEmulator) -> ThreadedEmulator:
    """The same, as new."""
    assert do(running, "reset").status == 204
    return running


def ask(emulator: ThreadedEmulator, path: str = "/versions", region: str = "r", token: str = "") -> Any:
    """Ask a region; return the answer, with its body as `content`."""
    url = urlsplit(emulator.url(region))
    crn = next(one.crn for one in emulator.instances if one.region == region)
    headers = {"Service-CRN": crn, "IBM-API-Version": "2026-04-15", "Authorization": f"Bearer {token}"}
    with closing(http.client.HTTPConnection(url.netloc, timeout=20)) as connection:
        connection.request("GET", f"{url.path}{path}", headers=headers)
        response = connection.getresponse()
        return response.status, response.read(), response.headers


ACTIONS: list[dict[str, Any]] = [
    {"kind": "status", "status": 503, "headers": {"Retry-After": "1"}, "body": {"why": "no"}},
    {"kind": "status", "status": 502, "body": "<h1>no</h1>"},
    {"kind": "status", "status": 502, "body_base64": "/w=="},
    {"kind": "hold"},
    {"kind": "delay", "seconds": 0.5},
    {"kind": "reset"},
    {"kind": "truncate", "gzip": True, "keep": 0.1},
    {"kind": "garbage", "body": "/w==", "content_type": "text/plain"},
    {"kind": "bomb", "size": 1000},
    {"kind": "redirect", "url": "http://127.0.0.1/", "status": 307},
    {"kind": "drip", "interval": 0.1, "size": 10, "head": True},
    {"kind": "endless"},
    {"kind": "rate_limit", "rate": 5, "burst": 1, "retry_after": None},
    {"kind": "not_modified", "etag": '"x"'},
    {"kind": "with_headers", "headers": {"ETag": "*"}},
]


DEEP = b'{"do":"add_fault","action":{"kind":"status","status":500,"body":{"a":%b}}}' % (
    b"[" * 9999 + b"]" * 9999
)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action["kind"])
def test_every_kind_of_fault_can_be_added_and_is_shown(
    emulator: ThreadedEmulator, action: dict[str, Any]
) -> None:
    place = {"resource": "status", "backend": "a", "region": "s", "times": 7}
    told = do(emulator, "add_fault", action=action, fault="x", **place)
    assert told.status == 200
    (state,) = send(emulator, "GET", "/state").content["faults"]
    assert state == told.content
    assert {name: state[name] for name in place} == place
    assert (state["hits"], state["held"]) == (0, 0)
    assert {**state["action"], **action} == state["action"]
    (fault,) = emulator.faults
    assert msgspec.convert(action, Action) == fault.action


def test_no_kind_of_fault_is_left_out() -> None:
    kinds = {kind.__struct_config__.tag for kind in get_args(Action)}
    assert kinds == {action["kind"] for action in ACTIONS}


def test_bytes_that_are_no_text_are_sent(emulator: ThreadedEmulator) -> None:
    do(emulator, "add_fault", action={"kind": "status", "status": 502, "body_base64": "/w=="})
    assert ask(emulator)[:2] == (502, b"\xff")


def test_a_request_is_held_seen_and_released(emulator: ThreadedEmulator) -> None:
    do(emulator, "add_fault", action={"kind": "hold"}, fault="held")
    url = urlsplit(emulator.url("r"))
    with socket.create_connection((url.hostname, url.port), 20) as waiting:
        waiting.sendall(f"GET /api/v1/versions HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
        told = do(emulator, "await_fault", fault="held")
        assert (told.status, told.content["hits"]) == (200, 1)
        assert do(emulator, "release_fault", fault="held").status == 200
        assert waiting.recv(12) == b"HTTP/1.1 200"
    assert do(emulator, "await_fault", fault="held", timeout=0).status == 200, "it has happened already"
    assert do(emulator, "await_fault", fault="held", hits=2).status == 409
    do(emulator, "add_fault", action={"kind": "hold"}, fault="other")
    late = do(emulator, "await_fault", fault="other", timeout=0)
    assert (late.status, late.content["field"]) == (504, "timeout")


def test_faults_are_removed(emulator: ThreadedEmulator) -> None:
    names = [do(emulator, "add_fault", action={"kind": "hold"}).content["fault"] for _ in range(3)]
    assert do(emulator, "remove_fault", fault=names[0]).status == 204
    gone = do(emulator, "remove_fault", fault=names[0])
    assert (gone.status, gone.content["field"]) == (404, "fault")
    assert [fault.name for fault in emulator.faults] == names[1:]
    assert do(emulator, "add_fault", action={"kind": "hold"}, fault=names[1]).status == 409
    assert do(emulator, "clear_faults").status == 204
    assert emulator.faults == ()


def test_the_clock_is_moved_and_set(emulator: ThreadedEmulator) -> None:
    assert do(emulator, "advance", seconds=HOUR).content == {"now": NOW + HOUR, "rate": 1.0}
    assert ask(emulator)[2]["Date"] == "Thu, 28 May 2026 21:26:40 GMT"
    assert do(emulator, "set_clock", now=0, rate=0).content == {"now": 0.0, "rate": 0.0}
    assert send(emulator, "GET", "/state").content["clock"] == {"now": 0.0, "rate": 0.0}
    assert do(emulator, "advance", seconds=253_402_300_799).status == 200
    too_far = do(emulator, "advance", seconds=1)
    assert (too_far.status, "9999" in too_far.content["detail"]) == (409, True)


def test_backends_are_set_and_recalibrated(emulator: ThreadedEmulator) -> None:
    set_to = {"status": "paused", "reason": "why", "queue_length": 3, "hidden": False, "retired": True}
    assert do(emulator, "set_backend", backend="b", **set_to).status == 204
    backends = send(emulator, "GET", "/state").content["backends"]
    assert [one for one in backends if one["backend"] == "b"] == [{"backend": "b", "region": "s", **set_to}]
    token = emulator.make_token()
    before = json.loads(ask(emulator, "/backends/a/properties", token=token)[1])
    assert do(emulator, "recalibrate", backend="a").status == 204
    after = json.loads(ask(emulator, "/backends/a/properties", token=token)[1])
    assert after["last_update_date"] > before["last_update_date"]
    assert json.loads(ask(emulator, "/backends/b/status", "s", token)[1])["length_queue"] == 3


def test_regions_stop_and_start_and_tokens_expire(emulator: ThreadedEmulator) -> None:
    token = emulator.make_token()
    assert ask(emulator, "/backends", "s", token)[0] == 200
    assert do(emulator, "stop_region", region="s").status == 204
    regions = send(emulator, "GET", "/state").content["regions"]
    assert [(one["region"], one["running"]) for one in regions] == [
        ("r", True),
        ("s", False),
        ("cloud", True),
    ]
    with pytest.raises(ConnectionRefusedError):
        ask(emulator, region="s")
    assert do(emulator, "start_region", region="s").status == 204
    assert ask(emulator, "/backends", "s", token)[0] == 200
    assert do(emulator, "expire_tokens").status == 204
    assert ask(emulator, "/backends", "s", token)[0] == 401


def test_the_journal_has_lines_and_no_secrets(emulator: ThreadedEmulator) -> None:
    token = emulator.make_token()
    ask(emulator, "/backends?fields=wait_time_seconds&apikey=KEY-9", token=token)
    ask(emulator, "/backends/a/status", token=token)
    told = send(emulator, "GET", "/journal")
    assert told.headers["Content-Type"] == "application/jsonl"
    first, second = map(json.loads, told.content.splitlines())
    assert (first["path_qs"], first["status"]) == ("/api/v1/backends?fields=wait_time_seconds&removed", 200)
    assert (second["resource"], second["backend"], second["at"]) == ("status", "a", NOW)
    for secret in (token, "KEY-9", *emulator.api_keys):
        assert secret.encode() not in told.content
    assert send(emulator, "GET", "/state").content["requests"] == 2
    assert do(emulator, "clear_journal").status == 204
    assert send(emulator, "GET", "/journal").content == b""


@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        ({"do": "stop_region"}, "region", "missing required field"),
        ({"do": "stop_region", "region": "r", "hard": True}, "hard", "unknown field"),
        ({"do": "stop_everything"}, "do", "Invalid value 'stop_everything'"),
        ({"do": "stop_region", "region": 5}, "region", "Expected `str`, got `int`"),
        ({"region": "r"}, "do", "missing required field"),
        (
            {"do": "add_fault", "action": {"kind": "dealy"}},
            "action.kind",
            "did you mean 'delay'?",
        ),
        ({"do": "add_fault", "action": {"kind": "delay", "seconds": -1}}, "action.seconds", ">= 0.0"),
        ({"do": "add_fault", "action": {"kind": "hold"}, "times": 0}, "times", "Expected `int` >= 1"),
        (
            {"do": "add_fault", "action": {"kind": "hold"}, "resource": "job"},
            "resource",
            "Invalid enum value",
        ),
        (
            {"do": "add_fault", "action": {"kind": "with_headers", "headers": {"X": "a\r\nB: c"}}},
            "action.headers[...]",
            "matching regex",
        ),
        (
            {"do": "add_fault", "action": {"kind": "with_headers", "headers": {"X y": "a"}}},
            "action.headers",
            "matching regex",
        ),
        ({"do": "set_clock", "rate": -1}, "rate", ">= 0.0"),
        ([], None, "Expected `object`"),
    ],
)
def test_what_is_wrong_is_named(
    emulator: ThreadedEmulator, body: Any, field: str | None, detail: str
) -> None:
    told = send(emulator, "POST", "/do", json.dumps(body))
    assert told.headers["Content-Type"] == "application/problem+json"
    assert (told.status, told.content["status"], told.content["title"]) == (400, 400, "Bad Request")
    assert told.content.get("field") == field
    assert detail in told.content["detail"]
    assert emulator.faults == ()


@pytest.mark.parametrize(
    ("operation", "fields", "field"),
    [
        ("stop_region", {"region": "mars"}, "region"),
        ("set_backend", {"backend": "z"}, "backend"),
        ("recalibrate", {"backend": "z"}, "backend"),
        ("release_fault", {"fault": "z"}, "fault"),
        ("add_fault", {"action": {"kind": "hold"}, "region": "mars"}, "region"),
        ("add_fault", {"action": {"kind": "hold"}, "backend": "z"}, "backend"),
    ],
)
def test_unknown_names_are_named(
    emulator: ThreadedEmulator, operation: str, fields: dict[str, Any], field: str
) -> None:
    told = do(emulator, operation, **fields)
    assert (told.status, told.content["field"]) == (404, field)
    assert emulator.faults == ()


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"do":', b'{"do":"\xff"}', DEEP])
def test_a_body_that_is_no_json(emulator: ThreadedEmulator, body: bytes) -> None:
    told = send(emulator, "POST", "/do", body)
    assert (told.status, "JSON" in told.content["detail"]) == (400, True)
    assert send(emulator, "POST", "/do", b" " * (1 << 20) + b"{}").status == 413


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": None}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Bearer \xff"}, 401),
        ({"Authorization": "Basic {token}"}, 401),
        ({"Authorization": "Bearer {token}x"}, 401),
        ({"Authorization": "bearer {token}"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1:1"}, 421),
        ({"Host": "localhost:{port}"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://127.0.0.1:{port}"}, 403),
        ({"Origin": "http://127.0.0.1:{port}"}, 200),
    ],
)
def test_who_is_let_in(emulator: ThreadedEmulator, headers: dict[str, str | None], status: int) -> None:
    known = {"token": emulator.control_token, "port": urlsplit(emulator.control_url).port}
    sent = {name: value and value.format_map(known) for name, value in headers.items()}
    told = send(emulator, "GET", "/state", **sent)
    assert told.status == status
    assert "Access-Control-Allow-Origin" not in told.headers
    assert send(emulator, "POST", "/do", '{"do":"clear_faults"}', **sent).status == (
        204 if status == 200 else status
    )


def test_addresses_and_methods(emulator: ThreadedEmulator) -> None:
    assert send(emulator, "GET", "/").status == 404
    assert send(emulator, "GET", "http://evil.example/state").status == 421, "as a proxy is asked"
    assert send(emulator, "GET", f"{emulator.control_url}/state").status == 200
    told = send(emulator, "DELETE", "/journal")
    assert (told.status, told.headers["Allow"]) == (405, "GET")


def test_it_describes_itself(emulator: ThreadedEmulator) -> None:
    told = send(emulator, "GET", "/openapi.json", Authorization=None)
    assert told.status == 200
    document = told.content
    assert document["openapi"] == "3.1.0"
    assert document["servers"] == [{"url": emulator.control_url}]
    schemas = document["components"]["schemas"]
    assert schemas["Delay"]["properties"]["seconds"]["minimum"] == 0
    assert schemas["SetBackend"]["properties"]["retired"]["description"].startswith("whether the list")
    operation = document["paths"]["/do"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    valid = jsonschema_rs.validator_for({**operation, "components": document["components"]})
    assert all(valid.is_valid({"do": "add_fault", "action": action}) for action in ACTIONS)
    assert not valid.is_valid({"do": "add_fault", "action": {"kind": "delay", "seconds": -1}})
    assert not valid.is_valid({"do": "stop_region"})
    tags = {one.__struct_config__.tag for one in get_args(AnyOperation)}
    assert set(operation["discriminator"]["mapping"]) == tags


def test_its_state_is_as_it_is_described(emulator: ThreadedEmulator) -> None:
    emulator.fault(Hold())
    document = send(emulator, "GET", "/openapi.json").content
    schema = document["paths"]["/state"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    valid = jsonschema_rs.validator_for({**schema, "components": document["components"]})
    valid.validate(send(emulator, "GET", "/state").content)


def test_without_a_port_there_is_none() -> None:
    with ThreadedEmulator(fleet=FLEET, regions=["r"]) as emulator:
        for name in ("control_url", "control_token"):
            with pytest.raises(RuntimeError, match="no control API"):
                getattr(emulator, name)


@pytest.mark.anyio
async def test_each_run_has_another_token_and_the_port_is_released() -> None:
    emulator = Emulator(FLEET, ["r"], control_port=0)
    tokens = set()
    for _ in range(2):
        async with emulator:
            tokens.add(emulator.control_token)
            port = urlsplit(emulator.control_url).port
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
    assert len(tokens) == 2
    assert min(map(len, tokens)) >= 43
