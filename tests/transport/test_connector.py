"""No answer of nobody: what arrives while no request is in flight is never the answer to the next one."""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random

import anyio
import anyio.lowlevel
import pytest
from anyio.from_thread import start_blocking_portal

from qrbackends import Account, Limits, SessionPool, TransportError
from qrbackends.tasks.deadlines import Calls

from ..certificates import Authority
from ..waiting import until
from .test_pool import ACCOUNT, CALL, HEADERS, get, ok, pool
from .test_pool import server as serving

pytestmark = pytest.mark.anyio

LATE = ok(b"of nobody")
CLOSING = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def plain(path: bytes) -> bytes:
    return ok(path)


def chunked(path: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(path), path)


@dataclass
class Server:
    """Answers each request with its own path, and then does what it should not.

    Attributes:
        answer: returns the answer to a path.
        joined: what it sends unasked in the segment of the first answer.
        split: whether only the head of the first answer is sent, and `rest` remains.
        rest: the first answer without its head.
        account: the account whose proxies and TLS settings are used.
        url: its address.
        writers: the connections that were opened, in order.
        ended: how many of them the client has closed.
    """

    answer: Callable[[bytes], bytes] = plain
    joined: bytes = b""
    split: bool = False
    rest: bytes = b""
    account: Account = ACCOUNT
    url: str = ""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    ended: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                answer = self.answer(head.split()[1]) + self.joined
                self.joined = b""
                if self.split:
                    self.split = False
                    begin, end, self.rest = answer.partition(b"\r\n\r\n")
                    answer = begin + end
                writer.write(answer)
        except (OSError, asyncio.IncompleteReadError):
            self.ended += 1
        finally:
            writer.close()

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["Server"]:
        async with await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=tls) as listening:
            port = listening.sockets[0].getsockname()[1]
            self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
            yield self


async def told(p: SessionPool, server: Server, path: str) -> bytes:
    """Return the body of the answer to a path."""
    with Calls(p.limits.total, p).call():
        return (
            await p.exchange(
                "GET", f"{server.url}{path}", HEADERS, region="here", account=server.account, call=CALL
            )
        ).body


UNASKED = {
    "an answer": LATE,
    "a 408": CLOSING,
    "half of an answer's head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "one byte": b"H",
    "an empty line": b"\r\n",
    "a 100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "a 101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    "what is not HTTP": b"\x00\x01",
}


@pytest.mark.parametrize("unasked", UNASKED)
async def test_what_comes_while_idle_is_nobodys_answer(unasked: str) -> None:
    async with Server().running() as server, pool() as p:
        assert await told(p, server, "/first") == b"/first"
        server.writers[0].write(UNASKED[unasked])
        await until(lambda: server.ended == 1)  # at once, not when the next request comes
        assert await told(p, server, "/second") == b"/second"
        assert len(server.writers) == 2


@pytest.mark.parametrize("unasked", UNASKED)
async def test_what_the_event_loop_has_not_read_yet_is_nobodys_answer(unasked: str) -> None:
    """The bytes are in the system's buffer when the next request comes."""
    async with Server().running() as server, pool() as p:
        assert await told(p, server, "/first") == b"/first"
        server.writers[0].write(UNASKED[unasked])
        assert await told(p, server, "/second") == b"/second"
        assert len(server.writers) == 2


@pytest.mark.parametrize("answer", [plain, chunked])
@pytest.mark.parametrize("unasked", UNASKED)
async def test_what_comes_in_the_segment_of_an_answer_is_nobodys(
    unasked: str, answer: Callable[[bytes], bytes]
) -> None:
    async with Server(answer, joined=UNASKED[unasked]).running() as server, pool() as p:
        # llhttp refuses the whole segment for bytes that cannot begin an answer.
        with suppress(TransportError):
            assert await told(p, server, "/first") == b"/first"
        assert await told(p, server, "/second") == b"/second"


@pytest.mark.parametrize("answer", [plain, chunked])
async def test_what_comes_in_the_segment_of_a_bodys_end_is_nobodys(
    answer: Callable[[bytes], bytes],
) -> None:
    """The head has been read before, so that the connection is idle once the body is."""
    async with Server(answer, joined=LATE, split=True).running() as server, pool() as p:
        first = asyncio.create_task(told(p, server, "/first"))
        await until(lambda: bool(server.rest))
        await anyio.wait_all_tasks_blocked()
        server.writers[0].write(server.rest)
        assert await first == b"/first"
        assert await told(p, server, "/second") == b"/second"
        assert len(server.writers) == 2


@pytest.mark.parametrize("chunks", [20_000, 40_000])
async def test_what_comes_behind_an_answer_of_many_chunks_is_nobodys(chunks: int) -> None:
    """aiohttp stops reading at so many chunks, and reads the rest of the segment once they are taken."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    first = head + b"1\r\nx\r\n" * chunks + b"0\r\n\r\n"
    answers = iter([first + LATE])
    async with Server(lambda path: next(answers, ok(path))).running() as server, pool() as p:
        assert await told(p, server, "/first") == b"x" * chunks
        assert await told(p, server, "/second") == b"/second"
        assert len(server.writers) == 2


@pytest.mark.parametrize("status", [204, 304])
async def test_a_body_where_none_may_be_is_nobodys_answer(status: int) -> None:
    head = b"HTTP/1.1 %d No Body\r\nContent-Length: %d\r\n\r\n" % (status, len(LATE))
    async with Server(lambda path: head if path == b"/first" else ok(path)).running() as server, pool() as p:
        assert (await get(p, f"{server.url}/first")).status == status
        server.writers[0].write(LATE)
        assert await told(p, server, "/second") == b"/second"
        assert len(server.writers) == 2


async def test_an_idle_connection_cannot_be_filled() -> None:
    """Answers without end, of which aiohttp would keep each."""
    async with Server().running() as server, pool() as p:
        assert await told(p, server, "/first") == b"/first"
        with anyio.fail_after(30):
            while not server.ended:
                server.writers[0].write(LATE * 100)
                await anyio.lowlevel.checkpoint()
        assert await told(p, server, "/second") == b"/second"


async def test_a_connection_that_is_not_said_to_be_idle_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What an aiohttp would do that calls nobody when an answer has ended."""
    monkeypatch.setattr("aiohttp.connector.Connection.add_callback", lambda connection, callback: None)
    async with Server().running() as server, pool() as p:
        assert await told(p, server, "/first") == b"/first"
        assert await told(p, server, "/second") == b"/second"
        assert len(server.writers) == 2


async def test_without_poll_select_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qrbackends.transport.connector._poll", None)
    async with Server().running() as server, pool() as p:
        assert await told(p, server, "/first") == b"/first"
        assert await told(p, server, "/second") == b"/second"
        assert len(server.writers) == 1
        server.writers[0].write(LATE)
        assert await told(p, server, "/third") == b"/third"
        assert len(server.writers) == 2


@pytest.mark.parametrize("rounds", [25, pytest.param(2500, marks=pytest.mark.long)])
async def test_among_many_callers_nobody_gets_what_is_not_theirs(rounds: int) -> None:
    """After each round, some of the idle connections get something, and the loop has read it or not."""
    random = Random(0)
    answer = random.choice((plain, chunked))
    async with Server(answer).running() as server, pool(Limits(failures=10**9)) as p:
        for number in range(rounds):
            server.joined = random.choice((LATE, CLOSING, b"\r\n", b""))
            paths = [f"/{number}/{caller}" for caller in range(8)]
            bodies = await asyncio.gather(*(told(p, server, path) for path in paths))
            assert bodies == [path.encode() for path in paths]
            for writer in random.sample(server.writers[-8:], 2):
                writer.write(random.choice(list(UNASKED.values())))
            if random.random() < 0.5:
                await anyio.lowlevel.checkpoint()
                await anyio.lowlevel.checkpoint()
    assert len(server.writers) > rounds


# --- TLS, tunnels and other loops


@asynccontextmanager
async def tunnel(server: Server) -> AsyncIterator[str]:
    """A proxy that connects to the server; yields its address."""

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        there, back = await asyncio.open_connection("127.0.0.1", server.url.rpartition(":")[2])
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        async with anyio.create_task_group() as group:
            group.start_soon(copy, reader, back)
            group.start_soon(copy, there, writer)

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.mark.parametrize("unasked", [LATE, CLOSING, b"\r\n"], ids=["an answer", "a 408", "an empty line"])
@pytest.mark.parametrize("proxied", [False, True], ids=["straight", "proxied"])
async def test_it_is_so_over_tls(authority: Authority, proxied: bool, unasked: bytes) -> None:
    trusting = ssl.create_default_context(cafile=authority.ca)
    async with Server().running(server_context(authority)) as server, tunnel(server) as proxy, pool() as p:
        proxies = {"https": proxy} if proxied else {}
        server.account = Account(token="a-marked-token", verify=trusting, proxies=proxies)
        await check_guard(p, server, unasked)


async def check_guard(p: SessionPool, server: Server, unasked: bytes) -> None:
    """Check that what comes unasked, on an idle connection or behind an answer, is nobody's answer."""
    for path in ("/first", "/again"):
        assert await told(p, server, path) == path.encode()
    assert len(server.writers) == 1, "it is reused where nothing came"
    server.writers[0].write(unasked)
    await until(lambda: server.ended == 1)
    assert await told(p, server, "/second") == b"/second"
    server.joined = unasked
    assert await told(p, server, "/third") == b"/third"
    assert await told(p, server, "/fourth") == b"/fourth"
    p.retire_connections("here", server.url)
    connections = len(server.writers)
    assert await told(p, server, "/fifth") == b"/fifth"
    assert len(server.writers) == connections + 1


def server_context(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server)
    return context


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop")
@pytest.mark.parametrize("over_tls", [False, True], ids=["plain", "TLS"])
def test_it_is_so_in_uvloop(authority: Authority, over_tls: bool) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def check(server: Server, send: Callable[[int], None]) -> None:
        async with pool() as p:
            trusting = ssl.create_default_context(cafile=authority.ca)
            server.account = Account(token="a-marked-token", verify=trusting)
            for path in ("/first", "/again"):
                assert await told(p, server, path) == path.encode()
            assert len(server.writers) == 1, "it is reused where nothing came"
            send(0)
            await until(lambda: server.ended == 1)
            assert await told(p, server, "/second") == b"/second"
            send(1)
            assert await told(p, server, "/third") == b"/third"

    context = server_context(authority) if over_tls else None
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Server().running(context)) as server,
    ):
        # It has a loop of its own: uvloop writes later, when the next request may have been sent.
        def send(connection: int) -> None:
            portal.call(server.writers[connection].write, LATE)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(check(server, send))


# --- other protocols

OTHERS = [
    b"SSH-2.0-OpenSSH_9.2",
    b"ICY 200 OK",
    b"RTSP/1.0 200 OK",
    b"ICE/1.0 200 OK",
    b"HTTP/0.9 200 OK",
    b"HTTP/2.0 200 OK",
    b"HTTP/1.2 200 OK",
    b"HTTP/11.1 200 OK",
    b"HTTP/1.1 2000 OK",
    b"http/1.1 200 OK",
    b"PRI * HTTP/2.0",
    b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",  # the first frame of an HTTP/2 server
    b"<html>a body of HTTP/0.9",
    b"\xff",
]


@pytest.mark.parametrize("line", OTHERS, ids=range(len(OTHERS)))
async def test_what_is_not_http_is_refused_and_closed(line: bytes) -> None:
    other = line + b"\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}"
    async with Server(lambda path: other).running() as server, pool() as p:
        with pytest.raises(TransportError, match="HTTP") as caught:
            await told(p, server, "/first")
        assert type(caught.value) is TransportError
        assert caught.value.__cause__ is caught.value.__context__ is None
        await until(lambda: server.ended == 1)


async def test_an_answer_may_come_byte_by_byte() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in ok(b"{}"):
            writer.write(bytes([byte]))
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()

    async with serving(handler=drip) as (url, _), pool() as p:
        assert (await get(p, url)).body == b"{}"
