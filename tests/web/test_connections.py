"""Connections of stand-alone servers that say nothing, take nothing, or are too many."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from qrbackends.web import ServerLimits
from qrbackends.web.connections import Connections, network_of

from ..waiting import until
from .serving import served

pytestmark = pytest.mark.anyio

LARGE = b"x" * 2**24  # more than the kernel's buffers hold
GET = b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def hello(_: Request) -> Response:
    return PlainTextResponse("hello")


async def large(_: Request) -> Response:
    return Response(LARGE)


async def echo(request: Request) -> Response:
    return Response(await request.body())


APP = Starlette(
    routes=[Route("/", hello), Route("/large", large), Route("/echo", echo, methods=["POST"])],
)


class Here:
    """A server with limits, a clock, and visitors who are no browsers."""

    def __init__(self, connections: Connections, url: str) -> None:
        self.connections = connections
        self.url = url
        self.now = 1000.0
        self._writers: list[asyncio.StreamWriter] = []

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and the server look at it once a second, as it does by itself."""
        for _ in range(round(seconds)):
            self.now += 1.0
            self.connections.sweep()

    async def visitor(
        self, said: bytes = b"", address: str = "127.0.0.1"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect from an address of this machine, and say something."""
        before = len(self.connections.open) + self.connections.dropped.total()
        port = urlsplit(self.url).port
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0), limit=1024)
        self._writers.append(writer)
        writer.write(said)
        await until(lambda: len(self.connections.open) + self.connections.dropped.total() > before)
        return reader, writer

    async def leave(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        await until(lambda: not self.connections.open)


@asynccontextmanager
async def serving(**limits: float) -> AsyncIterator[Here]:
    connections = Connections(APP, ServerLimits(**limits), lambda: here.now)  # type: ignore[arg-type]
    here = Here(connections, "")
    async with served(connections) as here.url:
        yield here
        await here.leave()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Read to the end, and return that there is one."""
    try:
        while await reader.read(2**16):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize("said", [b"", b"GE", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: "])
async def test_who_sends_no_whole_head_is_dropped(said: bytes) -> None:
    async with serving(head=10) as here:
        reader, _ = await here.visitor(said)
        here.pass_time(9)
        assert here.connections.dropped == {}
        here.pass_time(2)
        assert await is_closed(reader)
        assert here.connections.dropped == {"said nothing": 1}
        assert here.connections.open == {}


async def test_a_head_that_comes_byte_by_byte_does_not_have_longer() -> None:
    async with serving(head=10) as here:
        reader, writer = await here.visitor(b"GET / HTTP/1.1\r\n")
        for _ in range(11):
            writer.write(b"x")
            await writer.drain()
            here.pass_time(1)
        assert await is_closed(reader)
        assert here.connections.dropped == {"said nothing": 1}


async def test_after_an_answer_the_next_head_has_its_time() -> None:
    async with serving(head=10) as here:
        reader, writer = await here.visitor()
        for _ in range(3):
            here.pass_time(8)
            writer.write(GET % b"")
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
            await until(lambda: not any(one.requests for one in here.connections.open.values()))
        here.pass_time(11)
        assert await is_closed(reader)


async def test_a_request_that_is_being_answered_is_not_silence() -> None:
    async with serving(head=10) as here:
        reader, writer = await here.visitor(
            b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nab"
        )
        await until(lambda: any(one.requests for one in here.connections.open.values()))
        here.pass_time(60)
        writer.write(b"cd")
        assert (await reader.readuntil(b"abcd")).startswith(b"HTTP/1.1 200")


async def test_who_takes_nothing_is_dropped_and_who_takes_slowly_is_not() -> None:
    async with serving(taking=10) as here:
        silent, _ = await here.visitor(GET % b"large")
        slow, _ = await here.visitor(GET % b"large", "127.0.0.2")
        await until(lambda: all(one.unsent for one in here.connections.open.values()))
        here.pass_time(6)
        taken = await slow.readexactly(len(LARGE) // 2)
        await until(lambda: min(one.stuck(here.now) for one in here.connections.open.values()) == 0)
        here.pass_time(6)
        assert here.connections.dropped == {"took nothing": 1}
        taken += await slow.readexactly(len(LARGE) // 2)
        assert taken.endswith(b"xx")
        assert await is_closed(silent)


async def test_one_address_has_only_so_many(web: aiohttp.ClientSession) -> None:
    async with serving(per_address=3) as here:
        for _ in range(3):
            await here.visitor()
        refused, _ = await here.visitor()
        assert (await refused.read()).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert here.connections.dropped == {"too many from one address": 1}
        reader, _ = await here.visitor(GET % b"", "127.0.0.2")
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        await here.leave()
        async with web.get(here.url, headers={"Connection": "close"}) as answer:
            assert answer.status == 200


async def test_behind_a_proxy_one_address_has_as_many_as_there_are() -> None:
    async with serving(per_address=0, connections=40) as here:
        for _ in range(40):
            await here.visitor()
        assert len(here.connections.open) == 40
        assert here.connections.dropped == {}


@pytest.mark.parametrize("said", [b"GET / HT", GET % b"large"])
async def test_a_crowd_without_a_word_or_an_ear_locks_nobody_out(
    said: bytes, web: aiohttp.ClientSession
) -> None:
    async with serving(connections=8, per_address=100) as here:
        for number in range(16):
            await here.visitor(said)
            if said.endswith(b"\n"):
                await until(lambda: all(one.unsent for one in here.connections.open.values()))
            here.now += 1.0
            if number % 8 == 7:
                async with web.get(here.url, headers={"Connection": "close"}) as answer:
                    assert await answer.text() == "hello"
            assert len(here.connections.open) <= 8
        assert set(here.connections.dropped) == {"in the way of new ones"}


async def test_where_all_places_are_in_use_a_new_visitor_is_told() -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n"
    async with serving(connections=2) as here:
        for _ in range(2):
            await here.visitor(head)
        await until(lambda: all(one.requests for one in here.connections.open.values()))
        refused, _ = await here.visitor(head)
        assert b"Retry-After: 10" in await refused.read()
        assert here.connections.dropped == {"too many": 1}


async def test_the_log_has_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "qrbackends.web")
    async with serving(per_address=1) as here:
        await here.visitor()
        for _ in range(3):
            await here.visitor()
        here.pass_time(2)
        await here.visitor()
        here.pass_time(5)
        assert [one.getMessage() for one in caplog.records] == [
            "connections were dropped: too many from one address: 3; 1 are open"
        ]
        here.pass_time(60)
        assert "said nothing: 1, too many from one address: 1; 0 are open" in caplog.records[-1].getMessage()
        assert len(caplog.records) == 2


def test_who_has_one_address_has_a_whole_network_of_them() -> None:
    assert network_of("192.0.2.7") == "192.0.2.7"
    assert network_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2::1") != network_of("2001:db8:1:3::1")
    assert network_of("fe80::1%lo") == network_of("fe80::2%lo")
    assert network_of("no address") == "no address"
