"""Requests that no browser sends, to stand-alone servers: refused, without an error or a traceback."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Message

from qrbackends import Client, Monitor, Secret
from qrbackends.web import (
    CLIENT,
    Guard,
    MetricsApp,
    ServerLimits,
    api_app,
    board_app,
    json_response,
    problem_middleware,
)
from qrbackends.web.connections import Connections

from .serving import served

pytestmark = pytest.mark.anyio

TOKEN = "a token of sixteen characters or more"
LONG = "x" * 100_000

REQUESTS = {
    "websocket": "GET /events HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "h2c": "GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "http2": "PRI * HTTP/2.0\r\n\r\nSM\r\n",
    "trace": "TRACE / HTTP/1.1\r\nHost: localhost\r\n",
    "connect": "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n",
    "connect here": "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n",
    "options": "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n",
    "method with NUL": "GET\0 / HTTP/1.1\r\nHost: localhost\r\n",
    "unknown method": "BREW / HTTP/1.1\r\nHost: localhost\r\n",
    "long method": f"{LONG} / HTTP/1.1\r\nHost: localhost\r\n",
    "absolute form": "GET http://evil.example/nowhere HTTP/1.1\r\nHost: localhost\r\n",
    "absolute form, odd": "GET http://[evil/nowhere HTTP/1.1\r\nHost: localhost\r\n",
    "no slash": "GET nowhere HTTP/1.1\r\nHost: localhost\r\n",
    "two slashes": "GET //evil.example/%2e%2e HTTP/1.1\r\nHost: localhost\r\n",
    "two slashes at the end": "GET //evil.example// HTTP/1.1\r\nHost: localhost\r\n",
    "NUL": "GET /static/%00 HTTP/1.1\r\nHost: localhost\r\n",
    "NUL in a name": "GET /backends/us-east/%00 HTTP/1.1\r\nHost: localhost\r\n",
    "NUL in the API": "GET /api/backends/%00/properties HTTP/1.1\r\nHost: localhost\r\n",
    "dots": "GET /static/%2e%2e/%2e%2e/pages.py HTTP/1.1\r\nHost: localhost\r\n",
    "plain dots": "GET /static/../../pages.py HTTP/1.1\r\nHost: localhost\r\n",
    "backslashes": "GET /static/..%5c..%5cpages.py HTTP/1.1\r\nHost: localhost\r\n",
    "no UTF-8": "GET /backends/us-east/%ff%fe HTTP/1.1\r\nHost: localhost\r\n",
    "surrogate": "GET /backends/us-east/%ed%a0%80 HTTP/1.1\r\nHost: localhost\r\n",
    "bare percent": "GET /backends/%/%zz HTTP/1.1\r\nHost: localhost\r\n",
    "bytes": "GET /backends/\xff\xfe HTTP/1.1\r\nHost: localhost\r\n",
    "line breaks": "GET /backends/us-east/%0d%0aSet-Cookie:%20a=b/ HTTP/1.1\r\nHost: localhost\r\n",
    "long path": f"GET /static/{LONG} HTTP/1.1\r\nHost: localhost\r\n",
    "rather long path": f"GET /backends/us-east/{LONG[:30_000]} HTTP/1.1\r\nHost: localhost\r\n",
    "long query": f"GET /nowhere?{LONG[:30_000]} HTTP/1.1\r\nHost: localhost\r\n",
    "login with slashes": "GET //login HTTP/1.1\r\nHost: localhost\r\n",
    "no Host": "GET / HTTP/1.1\r\n",
    "empty Host": "GET / HTTP/1.1\r\nHost:\r\n",
    "two Hosts": "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n",
    "half a bracket": "GET / HTTP/1.1\r\nHost: [localhost\r\n",
    "other half": "GET / HTTP/1.1\r\nHost: localhost]\r\n",
    "name in brackets": "GET / HTTP/1.1\r\nHost: [localhost]\r\n",
    "zone": "GET / HTTP/1.1\r\nHost: [::1%25evil]\r\n",
    "huge port": f"GET / HTTP/1.1\r\nHost: localhost:{'9' * 5000}\r\n",
    "port that is none": "GET / HTTP/1.1\r\nHost: localhost:80x\r\n",
    "port of other digits": "GET / HTTP/1.1\r\nHost: localhost:\xb2\r\n",
    "userinfo": "GET / HTTP/1.1\r\nHost: localhost@evil.example\r\n",
    "script as Host": "GET / HTTP/1.1\r\nHost: <script>\r\n",
    "HTTP/1.0": "GET / HTTP/1.0\r\n",
    "HTTP/0.9": "GET /",
    "HTTP/1.9": "GET /nowhere HTTP/1.9\r\nHost: localhost\r\n",
    "two tokens": f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
    "Authorization: Bearer other\r\n",
    "twice the token": f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
    f"Authorization: Bearer {TOKEN}\r\n",
    "ranges": f"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nRange: bytes={'0-1,' * 5000}0-\r\n",
    "two lengths": "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
    "length and chunks": "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
    "Transfer-Encoding: chunked\r\n\r\n0\r\n",
    "negative length": "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n",
    "bad chunk": "POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "bad event id": "HEAD /nowhere HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: \xff-1\r\n",
}


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What is logged, by uvicorn too, which passes nothing on to the root logger."""
    caplog.set_level(logging.WARNING)
    for name in ("uvicorn", "qrbackends"):
        logging.getLogger(name).addHandler(caplog.handler)
    yield caplog
    for name in ("uvicorn", "qrbackends"):
        logging.getLogger(name).removeHandler(caplog.handler)


async def answered(url: str, said: bytes) -> bytes:
    """Send bytes, and return the first line of what comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
    try:
        writer.write(said)
        if b"\r\n\r\n" not in said:
            writer.write_eof()
        return await reader.readline()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def status_of(line: bytes) -> int:
    found = re.match(rb"HTTP/1\.[01] (\d{3}) ", line)
    return int(found[1]) if found else 0


def wrapped(kind: str, client: Client) -> ASGIApp:
    if kind == "exporter":
        exporter = MetricsApp(client, Monitor(client))
        return Connections(Guard(exporter, token=Secret(TOKEN)), ServerLimits())
    if kind == "board":
        return Connections(Guard(board_app(client), token=Secret(TOKEN), login=True), ServerLimits())
    return Guard(
        board_app(client)
    )  # open, and under a uvicorn that knows WebSockets where there is a library


@pytest.fixture(params=["board", "exporter", "open board"])
async def here(request: pytest.FixtureRequest, client: Client) -> AsyncIterator[tuple[str, str]]:
    """The kind of a server, and its address."""
    async with served(wrapped(request.param, client)) as address:
        yield request.param, address


async def test_odd_requests_are_refused_quietly(
    here: tuple[str, str], logged: pytest.LogCaptureFixture
) -> None:
    kind, url = here
    wrong: dict[str, bytes] = {}
    harmless = {"HTTP/0.9"}  # the connection is closed without an answer
    if kind == "open board":
        harmless |= {
            "websocket",
            "line breaks",
        }  # a stream without upgrade; a redirection without line breaks
    for name, said in REQUESTS.items():
        line = await answered(url, said.encode("latin-1") + b"\r\n")
        if not 400 <= status_of(line) < 500 and name not in harmless:
            wrong[name] = line
    assert wrong == {}
    assert [record for record in logged.records if record.levelno >= logging.ERROR or record.exc_info] == []


async def test_the_token_lets_in_whatever_else_is_odd(
    client: Client, logged: pytest.LogCaptureFixture
) -> None:
    bearer = f"Authorization: Bearer {TOKEN}\r\n"
    async with served(wrapped("board", client)) as url:
        for name, said in REQUESTS.items():
            if "Authorization" not in said and "\r\n" in said:
                line = await answered(url, (said + bearer).encode("latin-1") + b"\r\n")
                assert status_of(line) < 500, name
        plain = f"GET /api/openapi.json HTTP/1.0\r\nHost: localhost\r\n{bearer}\r\n"
        assert status_of(await answered(url, plain.encode())) == 200
        upgrade = REQUESTS["websocket"].replace("/events", "/api/openapi.json") + bearer + "\r\n"
        assert status_of(await answered(url, upgrade.encode())) in (200, 400, 403, 426)
    assert [record for record in logged.records if record.levelno >= logging.ERROR or record.exc_info] == []


@pytest.mark.parametrize("kind", ["board", "api", "guard", "exporter"])
async def test_websockets_are_closed_and_lifespans_are_left_alone(kind: str, client: Client) -> None:
    apps: dict[str, ASGIApp] = {
        "board": board_app(client),
        "api": api_app(client),
        "guard": Guard(board_app(client)),
        "exporter": MetricsApp(client, Monitor(client)),
    }
    app = apps[kind]
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        kinds = (
            ["websocket.connect"]
            if scope["type"] == "websocket"
            else ["lifespan.startup", "lifespan.shutdown"]
        )
        return {"type": kinds[min(len(sent), len(kinds) - 1)]}

    scope: dict[str, Any] = {"type": "websocket", "path": "/events", "headers": [], "subprotocols": []}
    await app(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
    sent.clear()
    scope = {"type": "lifespan", "state": {}}
    await app(scope, receive, send)
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


async def test_apps_of_aiohttp_refuse_them_too(client: Client, logged: pytest.LogCaptureFixture) -> None:
    async def status(request: web.Request) -> web.Response:
        return json_response(await request.app[CLIENT].status(request.match_info["name"]))

    app = web.Application(middlewares=[problem_middleware])
    app[CLIENT] = client
    app.router.add_get("/api/backends/{name}/properties", status)
    app.router.add_get("/backends/{region}/{name}", status)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        for name, said in REQUESTS.items():
            line = await answered(f"http://127.0.0.1:{port}", said.encode("latin-1") + b"\r\n")
            assert status_of(line) < 500, name
    finally:
        await runner.cleanup()
    for record in logged.records:
        assert "Unhandled exception" not in record.getMessage()


async def test_heads_have_limits_whatever_else_is_installed(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself uvicorn takes httptools where it is installed, which has no limits."""
    monkeypatch.setattr("uvicorn.protocols.http.auto.AutoHTTPProtocol", asyncio.Protocol)
    async with served(wrapped("board", client)) as url:
        said = f"GET / HTTP/1.1\r\nHost: localhost\r\nX: {LONG}".encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        writer.write(said)
        assert status_of(await asyncio.wait_for(reader.readline(), 30)) == 400
        writer.close()


async def test_metrics_are_only_read(client: Client, logged: pytest.LogCaptureFixture) -> None:
    app = Starlette(routes=[Mount("/mounted", MetricsApp(client, Monitor(client)))])
    async with served(app) as url:
        for said, status in (
            ("GET /mounted/metrics", 200),
            ("HEAD /mounted/metrics", 200),
            ("GET /mounted/healthz", 503),
            ("POST /mounted/metrics", 405),
            ("BREW /mounted/healthz", 405),
        ):
            odd = "Host: [\r\nAccept: application/openmetrics-text; version=none\r\n"
            line = await answered(url, f"{said} HTTP/1.1\r\n{odd}\r\n".encode())
            assert status_of(line) == status, said
    assert [record for record in logged.records if record.levelno >= logging.ERROR or record.exc_info] == []
