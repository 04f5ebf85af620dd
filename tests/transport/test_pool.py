"""The wire: bounded, typed, and never a credential where it does not belong."""

import asyncio
import gzip
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import aiohttp
import anyio
import anyio.lowlevel
import pytest

from qrbackends import (
    Account,
    AccountError,
    BodyDamaged,
    BodyTooLarge,
    ClientClosed,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    Limits,
    QRBackendsError,
    ReadTimeout,
    Timeout,
    TLSError,
    TransportError,
    WrongEventLoop,
)
from qrbackends._version import __version__
from qrbackends.protocol.lengths import ERROR_BYTES
from qrbackends.tasks.deadlines import Calls
from qrbackends.transport.pool import Response, SessionPool
from qrbackends.transport.retry import RetryPolicy, RetryState

from ..internals import pool_regions
from ..waiting import until

pytestmark = pytest.mark.anyio

ACCOUNT = Account(token="a-marked-token")
HEADERS = {"Authorization": "Bearer a-marked-token"}

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(*answers: bytes, handler: Handler | None = None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that gives each connection one raw answer; yields its address and the heads that it got."""
    heads: list[bytes] = []
    left = list(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            if handler is not None:
                await handler(reader, writer)
            else:
                writer.write(left.pop(0))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", heads


@asynccontextmanager
async def pool(limits: Limits | None = None, *, allow_http: bool = False) -> AsyncIterator[SessionPool]:
    opened = SessionPool(limits, allow_http=allow_http)
    try:
        yield opened
    finally:
        await opened.aclose()


def ok(body: bytes, *headers: str) -> bytes:
    head = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


CALL = RetryState(RetryPolicy(), 0.0, lambda: inf)


async def get(pool: SessionPool, url: str) -> Response:
    with Calls(pool.limits.total, pool).call():
        return await pool.exchange("GET", url, HEADERS, region="here", account=ACCOUNT, call=CALL)


async def test_an_answer_comes_whole_whatever_its_status() -> None:
    async with (
        server(b"HTTP/1.1 418 Teapot\r\nX-A: b\r\nContent-Length: 2\r\n\r\nno") as (url, heads),
        pool() as p,
    ):
        answer = await get(p, f"{url}/a%2Fb?c=%20d")
    assert (answer.status, answer.headers["x-a"], answer.body) == (418, "b", b"no")
    assert heads[0].startswith(b"GET /a%2Fb?c=%20d HTTP/1.1\r\n")


async def test_the_headers_that_all_requests_have() -> None:
    async with server(ok(b"{}")) as (url, heads), pool() as p:
        await get(p, url)
    lines = heads[0].decode().strip().split("\r\n")[1:]
    common = {
        "Host": url.removeprefix("http://"),
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",  # only what can be checked
        "User-Agent": f"qrbackends/{__version__}",
    }
    assert dict(line.split(": ", 1) for line in lines) == common | HEADERS
    assert len(lines) == len(common | HEADERS)
    assert lines[0].startswith("Host: ")


async def test_a_compressed_body_is_decompressed() -> None:
    async with server(ok(gzip.compress(b"body"), "Content-Encoding: gzip")) as (url, _), pool() as p:
        assert (await get(p, url)).body == b"body"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", BodyDamaged),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", BodyDamaged),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n", TransportError),
        (ok(gzip.compress(b"body")[:-3], "Content-Encoding: gzip"), BodyDamaged),
        (ok(b"not gzip", "Content-Encoding: gzip"), BodyDamaged),
        (ok(b"x", "Content-Encoding: br"), BodyDamaged),
        (ok(bytes(1001)), BodyTooLarge),
        (ok(gzip.compress(bytes(1_000_000)), "Content-Encoding: gzip"), BodyTooLarge),
        (b"", ConnectionLost),
        (b"SSH-2.0-OpenSSH_9.2\r\n", TransportError),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", TransportError),
    ],
    ids=range(11),  # a gzip header holds the time, and no test is named by the clock
)
async def test_a_broken_answer_is_a_typed_error(answer: bytes, expected: type[QRBackendsError]) -> None:
    async with server(answer, answer) as (url, _), pool(Limits(body=1000)) as p:
        with pytest.raises(expected) as caught:
            await get(p, url)
    error: QRBackendsError = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None, "aiohttp's error would hold the token"
    assert "a-marked-token" not in f"{error!r} {error} {error.__dict__}"


async def test_no_server_is_a_connect_error() -> None:
    async with server() as (url, _):
        pass
    async with pool() as p:
        with pytest.raises(ConnectError, match="no connection"):
            await get(p, url)


async def test_an_unknown_host_is_a_connect_error() -> None:
    async with pool() as p:
        with pytest.raises(ConnectError):
            await get(p, "https://nowhere.invalid")


async def test_redirects_are_not_followed() -> None:
    async with server(ok(b"{}")) as (other, seen):
        redirect = f"HTTP/1.1 302 Found\r\nLocation: {other}/\r\nContent-Length: 0\r\n\r\n".encode()
        async with server(redirect) as (url, _), pool() as p:
            assert (await get(p, url)).status == 302
    assert seen == []


async def test_cookies_are_neither_kept_nor_sent() -> None:
    first = ok(b"{}", "Set-Cookie: a=b\r\nConnection: close")
    async with server(first, ok(b"{}")) as (url, heads), pool() as p:
        await get(p, url)
        await get(p, url)
    assert b"cookie" not in heads[-1].lower()


async def test_silence_ends_at_the_read_timeout() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with server(handler=silent) as (url, _), pool(Limits(read=0.01)) as p:
        with pytest.raises(ReadTimeout, match=r"no byte for 0\.01 s"):
            await get(p, url)


async def test_a_call_ends_at_its_deadline() -> None:
    async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await anyio.lowlevel.checkpoint()

    async with server(handler=dripping) as (url, _), pool(Limits(total=0.05, body=1 << 40)) as p:
        with pytest.raises(Timeout, match=r"no answer within 0\.05 s"):
            await get(p, url)


async def test_no_more_requests_than_the_limit_are_in_flight() -> None:
    running = most = 0
    reached = asyncio.Event()
    gate = asyncio.Event()

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            reached.set()
        await gate.wait()
        running -= 1
        writer.write(ok(b"{}", "Connection: close"))

    async with server(handler=counting) as (url, _), pool(Limits(per_region=3)) as p:
        calls = [asyncio.create_task(get(p, url)) for _ in range(12)]
        await reached.wait()
        await anyio.wait_all_tasks_blocked()
        gate.set()
        await asyncio.gather(*calls)
    assert most == 3


async def test_each_region_has_a_limit_of_its_own_even_behind_one_address() -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/slow" in heads[-1]:
            await reader.read()
        writer.write(ok(b"{}"))

    async with server(handler=hold) as (url, heads), pool(Limits(per_region=1)) as p:
        slow = asyncio.create_task(get(p, f"{url}/slow"))
        await until(lambda: bool(heads))
        with Calls(p.limits.total, p).call():
            there = await p.exchange(
                "GET", f"{url}/quick", HEADERS, region="there", account=ACCOUNT, call=CALL
            )
        assert there.body == b"{}"
        slow.cancel()


async def test_connections_are_reused() -> None:
    connections = 0

    async def keep_alive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            writer.write(ok(b"{}"))
            await reader.readuntil(b"\r\n\r\n")

    async with server(handler=keep_alive) as (url, _), pool() as p:
        for _ in range(5):
            await get(p, url)
    assert connections == 1


@pytest.mark.parametrize("url", ["http://example.invalid", "http://10.0.0.1", "http://127.0.0.1.invalid:80"])
async def test_plain_http_to_another_machine_is_refused_before_any_io(url: str) -> None:
    async with pool() as p:
        with pytest.raises(AccountError, match="allow_http=True"):
            await get(p, url)
    async with pool(Limits(connect=0.001, total=0.01), allow_http=True) as p:
        with pytest.raises(TransportError):
            await get(p, "http://example.invalid")


async def test_proxies_carry_https_and_nothing_else() -> None:
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    async with server(refusal) as (proxy, heads), server(ok(b"{}")) as (url, _), pool() as p:
        account = Account(token="a-marked-token", proxies={"https": proxy, "http": proxy})
        with Calls(p.limits.total, p).call():
            assert (
                await p.exchange("GET", url, HEADERS, region="here", account=account, call=CALL)
            ).status == 200
        assert heads == [], "this machine is never reached through a proxy"
        with (
            pytest.raises(ConnectError, match=r"the proxy refused the connection \(HTTP 403\)"),
            Calls(p.limits.total, p).call(),
        ):
            await p.exchange(
                "GET", "https://service.invalid", HEADERS, region="here", account=account, call=CALL
            )
    assert heads[0].startswith(b"CONNECT service.invalid:443 ")
    assert b"marked" not in heads[0]


async def test_a_proxy_for_one_host_goes_first() -> None:
    refusal = b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n"
    async with server(refusal) as (mine, heads), server(refusal) as (others, unused), pool() as p:
        account = Account(token="t", proxies={"https": others, "https://service.invalid": mine})
        with pytest.raises(ConnectError), Calls(p.limits.total, p).call():
            await p.exchange(
                "GET", "https://service.invalid", HEADERS, region="here", account=account, call=CALL
            )
    assert (len(heads), unused) == (1, [])


async def test_closing_ends_every_call_promptly() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with server(handler=silent) as (url, heads):
        p = SessionPool(Limits(per_region=5))
        calls = [asyncio.create_task(get(p, url)) for _ in range(20)]
        await until(lambda: len(heads) == 5)
        await p.aclose()
        for call in calls:
            with pytest.raises(ClientClosed):
                await call
    with pytest.raises(ClientClosed):
        await get(p, url)
    await p.aclose()


async def test_one_that_gets_its_place_while_the_pool_closes_gets_client_closed() -> None:
    async with server(ok(b"{}", "Connection: close"), *[ok(b"{}")] * 20) as (url, _):
        p = SessionPool(Limits(per_region=1))
        calls = [asyncio.create_task(get(p, url)) for _ in range(20)]
        calls[0].add_done_callback(lambda _: closing.append(asyncio.create_task(p.aclose())))
        closing: list[asyncio.Task[None]] = []
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        await closing[0]
    assert {type(outcome) for outcome in outcomes[1:]} <= {Response, ClientClosed}
    assert type(outcomes[-1]) is ClientClosed


async def test_every_session_is_closed_however_often_the_closing_is_cancelled() -> None:
    async with server(ok(b"{}")) as (one, _), server(ok(b"{}")) as (other, _):
        p = SessionPool()
        await get(p, one)
        await get(p, other)
        sessions = [region.session for region in pool_regions(p).values()]
        closing = asyncio.create_task(p.aclose())
        await anyio.lowlevel.checkpoint()
        closing.cancel()
        await asyncio.wait((closing,))
        await until(lambda: all(session.closed for session in sessions))
        assert len(sessions) == 2


async def test_a_cancelled_caller_frees_its_place() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/slow" in heads[-1]:
            await reader.read()
        writer.write(ok(b"{}"))

    async with server(handler=silent) as (url, heads), pool(Limits(per_region=1)) as p:
        slow = asyncio.create_task(get(p, f"{url}/slow"))
        await until(lambda: bool(heads))
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        assert (await get(p, f"{url}/quick")).body == b"{}"


async def test_another_event_loop_is_refused() -> None:
    async with server(ok(b"{}")) as (url, _), pool() as p:
        await get(p, url)
        outcome: list[type[BaseException]] = []

        def elsewhere() -> None:
            for call in (get(p, url), p.aclose()):
                try:
                    asyncio.run(call)
                except QRBackendsError as error:
                    outcome.append(type(error))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.to_thread(thread.join)
    assert outcome == [WrongEventLoop, WrongEventLoop]


def test_limits_that_count_have_to_be_whole() -> None:
    with pytest.raises(ValueError, match="per_region has to be a whole number greater than zero, and not"):
        Limits(per_region=2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="total has to be a number greater than zero, and not"):
        Limits(total="soon")  # type: ignore[arg-type]


def test_a_limit_of_a_wrong_type_is_told_its_type() -> None:
    with pytest.raises(ValueError, match=r"^total has to be a number greater than zero, and not '20'$"):
        Limits(total="20")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^body has to be no more than 2\*\*60, and not 1"):
        Limits(body=2**60 + 1)
    with pytest.raises(
        ValueError, match=r"^failures has to be a whole number greater than zero, and not True$"
    ):
        Limits(failures=True)


@pytest.mark.parametrize("field", ["per_region", "total", "connect", "read", "body"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 10**400])
def test_limits_have_to_be_positive(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{field} has to be (a (whole )?number greater|no more)"):
        Limits(**{field: value})  # type: ignore[arg-type]


async def test_what_breaks_because_of_the_closing_is_the_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    p = SessionPool()

    async def broken(*_: Any, **__: Any) -> None:
        await p.aclose()
        raise ConnectionResetError

    monkeypatch.setattr(aiohttp.ClientSession, "request", broken)
    with pytest.raises(QRBackendsError) as caught:
        await get(p, "http://127.0.0.1:1")
    assert type(caught.value) is ClientClosed


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (aiohttp.ConnectionTimeoutError(), ConnectTimeout),
        (aiohttp.SocketTimeoutError(), ReadTimeout),
        (aiohttp.ClientConnectorCertificateError(None, ssl.CertificateError()), TLSError),  # type: ignore[arg-type]
        (aiohttp.ClientPayloadError(), BodyDamaged),
        (aiohttp.ServerDisconnectedError(), ConnectionLost),
        (ConnectionResetError(), ConnectionLost),
        (aiohttp.InvalidURL("x"), TransportError),
    ],
)
async def test_every_error_of_aiohttp_has_its_place(
    monkeypatch: pytest.MonkeyPatch, theirs: Exception, ours: type[QRBackendsError]
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise theirs

    monkeypatch.setattr(aiohttp.ClientSession, "request", failing)
    async with pool() as p:
        with pytest.raises(QRBackendsError) as caught:
            await get(p, "http://127.0.0.1:1")
    assert type(caught.value) is ours


ERROR_HEAD = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n%s\r\n"


async def test_of_an_error_only_the_beginning_is_read() -> None:
    closed = asyncio.Event()

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ERROR_HEAD % b"")
        try:
            while True:  # until the client closes the connection
                writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
                await writer.drain()
        finally:
            closed.set()

    async with server(handler=pour) as (url, _), pool() as p:
        answer = await get(p, url)
        assert (answer.status, answer.headers["retry-after"]) == (503, "7")
        assert answer.body == b"x" * ERROR_BYTES
        with anyio.fail_after(30):
            await closed.wait()


@pytest.mark.parametrize("limit", [10_000, ERROR_BYTES, 1 << 20])
async def test_an_error_s_bomb_is_an_error(limit: int) -> None:
    packed = gzip.compress(bytes(4 << 20))
    head = ERROR_HEAD % b"Content-Encoding: gzip\r\n"
    bomb = b"%s%x\r\n%s\r\n0\r\n\r\n" % (head, len(packed), packed)
    async with server(bomb) as (url, _), pool(Limits(body=limit)) as p:
        answer = await get(p, url)
        assert (answer.status, answer.body) == (503, bytes(min(limit, ERROR_BYTES)))


@pytest.mark.parametrize(("most", "limit"), [(1000, 1 << 20), (1 << 20, 1000), (None, 1000)])
async def test_the_lower_limit_holds(most: int | None, limit: int) -> None:
    answers = (ok(bytes(length), "Connection: close") for length in (1000, 1001))
    async with server(*answers) as (url, _), pool(Limits(body=limit)) as p:

        async def ask() -> Response:
            return await p.exchange("GET", url, HEADERS, region="here", account=ACCOUNT, call=CALL, most=most)

        assert len((await ask()).body) == 1000
        with pytest.raises(BodyTooLarge, match="1000 bytes"):
            await ask()
