"""`qrbackends mcp --http`: agents over streamable HTTP, and who is not answered."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import pytest
from mcp import Client as Agent
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from yarl import URL

from qrbackends import Client, Limits, Secret
from qrbackends.agents import mcp_app
from qrbackends.emulator import Emulator, Hold
from qrbackends.web import Guard

from ..internals import flights, parts
from ..waiting import until
from ..web.serving import served
from .asking import ask, read, refused

pytestmark = pytest.mark.anyio

TOKEN = "a token of sixteen characters or more"
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "least_busy", "arguments": {}}}
BEARER = {"Authorization": f"Bearer {TOKEN}"}
ACCEPT = {"Accept": "application/json, text/event-stream"}


@asynccontextmanager
async def agent_at(url: str, token: str, mode: str = "auto") -> AsyncIterator[Agent]:
    async with (
        create_mcp_http_client(headers={"Authorization": f"Bearer {token}"}) as http,
        Agent(streamable_http_client(url, http_client=http), mode=mode) as agent,
    ):
        yield agent


@contextmanager
def running() -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Start the command, and yield what it has written about itself."""
    command = ["-W", "error", "-m", "qrbackends", "mcp", "--http", "--port", "0", "--json"]
    with subprocess.Popen(
        [sys.executable, *command, "--emulator", "synthetic"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


async def test_the_command_answers_who_has_its_new_token_and_ends_at_a_signal() -> None:
    with running() as (process, told):
        assert told["url"].startswith("http://127.0.0.1:")
        assert told["url"].endswith("/mcp")
        for mode in ("auto", "legacy"):
            async with agent_at(told["url"], told["token"], mode) as agent:
                assert (await ask(agent, "list_backends"))["total"] == 8
                assert (await refused(agent, "backend_status", backend="nobody"))["error"] == "NotFound"
                assert (await read(agent, "qrbackends://backends"))["emulated"] is True
        async with (
            aiohttp.ClientSession(headers=ACCEPT) as visitor,
            visitor.post(told["url"], json=CALL) as answer,
        ):
            assert answer.status == 401
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
        assert (process.returncode, out, err) == (
            0,
            "",
            "Emulated data (synthetic), not from IBM's service.\n",
        )


@pytest.fixture
async def url(client: Client) -> AsyncIterator[str]:
    """The address of the app behind the same guard as the command's."""
    async with mcp_app(client) as app, served(Guard(app, token=Secret(TOKEN), hosts=["mcp.test"])) as base:
        yield f"{base}/mcp"


@pytest.fixture
async def visitor() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers=ACCEPT) as session:
        yield session


REFUSED: list[tuple[dict[str, str], int]] = [
    ({}, 401),
    ({"Authorization": "Bearer wrong"}, 401),
    ({"Authorization": f"Basic {TOKEN}"}, 401),
    ({"Cookie": f"qrbackends_session={TOKEN}"}, 401),
    (BEARER | {"Host": "evil.example"}, 421),
    (BEARER | {"Host": "localhost.evil.example"}, 421),
    (BEARER | {"Origin": "https://evil.example"}, 403),
    (BEARER | {"Origin": "http://6.6.6.6"}, 403),
    (BEARER | {"Origin": "http://localhost.evil.example"}, 403),
    (BEARER | {"Origin": "null"}, 403),
    (BEARER | {"Origin": "file://"}, 403),
    (BEARER | {"Content-Type": "text/plain"}, 400),
]


@pytest.mark.parametrize(("headers", "status"), REFUSED, ids=range(len(REFUSED)))
async def test_who_is_not_answered(
    url: str, visitor: aiohttp.ClientSession, emulator: Emulator, headers: dict[str, str], status: int
) -> None:
    emulator.reset_log()
    headers = {"Content-Type": "application/json"} | headers
    async with visitor.post(url, data=json.dumps(CALL), headers=headers) as answer:
        assert answer.status == status
        assert TOKEN not in await answer.text()
    assert emulator.count() == 0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "mcp.test"},
        {"Origin": "http://localhost:6274"},
        {"Origin": "http://mcp.test", "Host": "mcp.test"},
    ],
)
async def test_who_is_answered(url: str, visitor: aiohttp.ClientSession, headers: dict[str, str]) -> None:
    async with visitor.post(url, json=CALL, headers=BEARER | headers) as answer:
        assert answer.status == 200
        assert answer.content_type == "application/json"
        assert (await answer.json())["result"]["structuredContent"]["emulated"] is True


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "HEAD"])
async def test_only_messages_are_taken(url: str, visitor: aiohttp.ClientSession, method: str) -> None:
    async with visitor.request(method, url, headers=BEARER) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_what_is_no_number_is_refused(url: str, visitor: aiohttp.ClientSession, number: str) -> None:
    asked = {"name": "calibration_drift", "arguments": {"backend": "synthetic_falcon_27", "hours": "?"}}
    body = json.dumps(CALL | {"params": asked}).replace('"?"', number)
    typed = BEARER | {"Content-Type": "application/json"}
    async with visitor.post(url, data=body, headers=typed) as answer:
        result = (await answer.json())["result"]
    assert result["isError"] is True
    assert "`$.hours`" in result["content"][0]["text"]


async def test_a_call_ends_when_its_agent_leaves(visitor: aiohttp.ClientSession, emulator: Emulator) -> None:
    params = {"name": "list_qubits", "arguments": {"backend": "synthetic_falcon_27"}}
    patient = Limits(read=600, total=600)
    async with (
        Client(emulator.account(), limits=patient) as client,
        mcp_app(client) as app,
        served(app) as base,
    ):
        hold = emulator.fault(Hold(), resource="properties")
        calls = [
            asyncio.ensure_future(visitor.post(f"{base}/mcp", json=CALL | {"params": params}))
            for _ in range(3)
        ]
        await hold.reached()
        under_way = flights(parts(client).cache).under_way
        assert len(under_way) == 1
        for one in calls:
            one.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await until(lambda: not under_way)
        hold.release()


async def test_a_message_that_does_not_come_is_not_waited_for(
    url: str, visitor: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qrbackends.web.bodies.BODY_TIME", 0.01)
    left = asyncio.Event()

    async def halting() -> AsyncIterator[bytes]:
        yield b"{"
        await left.wait()

    typed = BEARER | {"Content-Type": "application/json"}
    async with visitor.post(url, data=halting(), headers=typed) as answer:
        assert answer.status == 408
        left.set()


async def test_a_message_that_is_cut_off_is_no_error_of_the_server(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n"
    where = URL(url)
    for _ in range(5):
        reading, writing = await asyncio.open_connection(where.host, where.port)
        writing.write(f"{head}Authorization: Bearer {TOKEN}\r\n\r\n{{".encode())
        writing.write_eof()
        assert await reading.read() == b""
        writing.close()
        await writing.wait_closed()
    assert caplog.text == ""


async def test_what_is_no_message_is_refused(url: str, visitor: aiohttp.ClientSession) -> None:
    typed = BEARER | {"Content-Type": "application/json"}
    bodies: list[tuple[Any, int]] = [
        (b"x" * 70_000, 413),
        (b"nonsense", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b"", 400),
    ]
    for body, status in bodies:
        async with visitor.post(url, data=body, headers=typed) as answer:
            assert answer.status == status
            assert "Traceback" not in await answer.text()
    async with visitor.post(url.replace("/mcp", "/"), json=CALL, headers=BEARER) as answer:
        assert answer.status == 404
