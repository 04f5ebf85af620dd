"""Servers that mean harm: whatever they send, a caller gets an answer or a typed error, and keeps memory."""

import asyncio
import gzip
import ssl
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qrbackends import (
    Account,
    AccountError,
    BodyTooLarge,
    CachePolicy,
    Client,
    ConnectError,
    ConnectTimeout,
    Instance,
    InvalidRequest,
    Limits,
    NotFound,
    QRBackendsError,
    RedirectRefused,
    Request,
    RetryPolicy,
    Timeout,
    TLSError,
    TransportError,
)
from qrbackends.emulator import Bomb, Emulator, Endless, Garbage, Redirect, Status
from qrbackends.tasks.deadlines import Calls
from qrbackends.transport.pool import Response, SessionPool

from .certificates import Authority
from .profiles import some_of
from .protocol.test_requests import IDS
from .transport.test_pool import CALL, HEADERS, get, ok, pool, server

pytestmark = pytest.mark.anyio

CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/account:guid::"
RESOURCES = ("backends", "configuration", "properties", "status", "defaults")
NEVER = CachePolicy(backends=0, configuration=0, properties=0, defaults=0, negative=0, stale_if_error=0)
HUNDRED_THOUSAND = 100_000

Writer = asyncio.StreamWriter
Handler = Callable[[asyncio.StreamReader, Writer], Awaitable[None]]


def asked(resource: str) -> Request:
    return Request(resource, None if resource == "backends" else "ibm_x")  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _no_exceptions_from_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy", "NETRC"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    async with Emulator(regions=["us-east"]) as running:
        yield running


# --- bodies


def deflated(body: bytes) -> bytes:
    return zlib.compress(body, 9)


def raw_deflated(body: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", deflated), ("deflate", raw_deflated)]
)
async def test_a_bomb_off_the_wire_takes_no_more_memory_than_the_limit(
    encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    bomb = ok(pack(bytes(64 << 20)), f"Content-Encoding: {encoding}")
    async with server(bomb) as (url, _), pool(Limits(body=100_000)) as p:
        with pytest.raises(BodyTooLarge, match="100000"):
            await measured(partial(get, p, url), at_most=2 << 20)


async def test_a_bomb_behind_many_small_members_is_a_bomb() -> None:
    body = gzip.compress(b" " * 1000) * 200
    async with server(ok(body, "Content-Encoding: gzip")) as (url, _), pool(Limits(body=100_000)) as p:
        with pytest.raises(BodyTooLarge):
            await get(p, url)


async def measured(work: Callable[[], Awaitable[Any]], at_most: int) -> None:
    """Await `work`, of which the memory at its highest is bounded, server and all."""
    tracemalloc.start()
    try:
        await work()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < at_most


@pytest.mark.parametrize("resource", RESOURCES)
async def test_a_body_without_end_takes_no_more_memory_than_the_limit(
    emulator: Emulator, resource: str
) -> None:
    emulator.fault(Endless(), resource=resource, times=None)
    async with Client(emulator.account(), limits=Limits(body=1 << 20)) as client:
        with pytest.raises(BodyTooLarge):
            await measured(partial(client.fetch, asked(resource)), at_most=8 << 20)


async def test_iam_cannot_fill_the_memory_either(emulator: Emulator) -> None:
    for action in (Endless(), Bomb(64 << 20)):
        emulator.clear_faults()
        emulator.fault(action, resource="token", times=None)
        async with Client(emulator.account(), limits=Limits(body=1 << 20)) as client:
            with pytest.raises(BodyTooLarge):
                await measured(client.backends, at_most=8 << 20)


@asynccontextmanager
async def flood(head: bytes, piece: bytes) -> AsyncIterator[str]:
    """A server that begins with `head` and repeats `piece` for ever."""

    async def pour(reader: asyncio.StreamReader, writer: Writer) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await anyio.lowlevel.checkpoint()

    async with server(handler=pour) as (url, _):
        yield url


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
GZIPPED = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
MANY = 1000


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"".join(b"X-%d: y\r\n" % n for n in range(MANY))),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * MANY),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y" * 10_000),
        (b"HTTP/1.1 200 OK\r\nX", b"y" * 10_000),
        (b"HTTP/1.1 200 ", b"y" * 10_000),
        (b"", b"\r\n" * MANY),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * MANY),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * MANY),
        (CHUNKED, b"1\r\n \r\n" * MANY),
        (CHUNKED + b"1;", b"y" * 10_000),
        (CHUNKED + b"0\r\n", b"X: y\r\n" * MANY),
        (CHUNKED + b"0\r\nX: ", b"y" * 10_000),
        (CHUNKED, b"0" * 10_000),
        (GZIPPED, gzip.compress(b"", 9) * MANY),
        (GZIPPED + gzip.compress(b"")[:10], b"\x00\x00\x00\xff\xff" * MANY),
    ],
    ids=[
        "headers",
        "one header again and again",
        "a header's value",
        "a header's name",
        "a reason",
        "empty lines",
        "100",
        "103",
        "chunks",
        "a chunk's extension",
        "trailers",
        "a trailer",
        "a chunk's size",
        "members of gzip",
        "blocks of nothing",
    ],
)
async def test_a_flood_ends_in_a_typed_error_and_takes_no_memory(head: bytes, piece: bytes) -> None:
    limits = Limits(total=0.3, connect=0.1, read=0.1, body=1 << 20)
    async with flood(head, piece) as url, pool(limits) as p:
        with pytest.raises(TransportError):
            await measured(partial(get, p, url), at_most=16 << 20)


@pytest.mark.parametrize(
    ("head", "piece", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * MANY, TransportError),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y" * 10_000, TransportError),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * MANY, TransportError),
        (b"HTTP/1.1 407 Who\r\n\r\n", b"y" * 10_000, ConnectError),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"y" * 10_000, TLSError),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"\x16\x03\x03\x00\x01\x02", TransportError),
    ],
    ids=["headers", "a header's value", "103", "a refusal", "no TLS", "pieces of a ServerHello"],
)
async def test_a_flood_of_a_proxy_ends_so_too(
    head: bytes, piece: bytes, expected: type[TransportError]
) -> None:
    limits = Limits(total=0.3, connect=0.1, read=0.1, body=1 << 20)
    async with flood(head, piece) as url, pool(limits) as p:
        account = Account(token="a-marked-token", proxies={"https": url})

        async def ask() -> None:
            with Calls(p.limits.total, p).call():
                await p.exchange(
                    "GET", "https://service.invalid", HEADERS, region="here", account=account, call=CALL
                )

        with pytest.raises(expected):
            await measured(ask, at_most=16 << 20)


async def test_a_handshake_byte_by_byte_ends_in_time() -> None:
    async with flood(b"\x16\x03\x03\xff\xff\x02\x00", b"\x00") as url, pool(Limits(connect=0.1)) as p:
        with pytest.raises((ConnectTimeout, TLSError)):
            await get(p, url.replace("http:", "https:"))


async def test_pieces_that_hold_nothing_do_not_keep_a_call_alive() -> None:
    """Bytes that arrive, and of which nothing reaches the body, are no progress for ever."""

    async def drip(reader: asyncio.StreamReader, writer: Writer) -> None:
        writer.write(CHUNKED + b"1;")
        while not writer.is_closing():
            writer.write(b"y")
            await writer.drain()
            await anyio.lowlevel.checkpoint()

    async with server(handler=drip) as (url, _), pool(Limits(total=0.2, read=0.05)) as p:
        with pytest.raises(Timeout):
            await get(p, url)


HEADS = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            [
                b"HTTP/1.1 200 OK\r\n",
                b"HTTP/1.0 200\r\n",
                b"HTTP/1.1 999 \xff\r\n",
                b"HTTP/1.1 100 C\r\n\r\n",
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
                b"HTTP/1.1 204 No\r\n",
                b"HTTP/1.1 302 F\r\nLocation: http://\xff[\r\n",
                b"HTTP/1.1 429 X\r\nRetry-After: \xff\r\n",
                b"HTTP/2 200\r\n",
                b"Content-Length: 5\r\n",
                b"Content-Length: -1\r\n",
                b"Content-Length: 99999999999999999999999\r\n",
                b"Content-Length: 5, 5\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"Transfer-Encoding: gzip, chunked\r\n",
                b"Content-Encoding: gzip\r\n",
                b"Content-Encoding: \xff\r\n",
                b"Content-Encoding: deflate\r\n",
                b"Set-Cookie: a=b; Domain=\xff; Expires=never\r\n",
                b"Set-Cookie: \x80\r\n",
                b"Content-Type: \xff; charset=\xfe\r\n",
                b"Connection: upgrade\r\n",
                b"Link: <\xff>; rel=x\r\n",
                b": empty\r\n",
                b"X : y\r\n",
                b" folded\r\n",
                b"\r\n",
                b"5\r\nabcde\r\n",
                b"0\r\n\r\n",
                b"zz\r\n",
                b"\x00",
            ]
        ),
        max_size=8,
    ).map(b"".join),
)


@pytest.mark.parametrize(
    "count", [50, pytest.param(20_000, marks=[pytest.mark.long, pytest.mark.timeout(900)])], ids=str
)
def test_whatever_comes_off_the_wire_is_an_answer_or_one_of_our_errors(count: int) -> None:
    @settings(max_examples=count)
    @given(st.lists(HEADS, min_size=5, max_size=20))
    def check(answers: list[bytes]) -> None:
        asyncio.run(all_of(answers))

    async def all_of(answers: list[bytes]) -> None:
        async with server(*answers) as (url, _), pool(Limits(body=1000, failures=10**9)) as p:
            for outcome in [await outcome_of(p, url) for _ in answers]:
                assert isinstance(outcome, (Response, QRBackendsError)), repr(outcome)

    check()


async def outcome_of(p: SessionPool, url: str) -> Response | Exception:
    try:
        return await get(p, url)
    except Exception as error:
        return error


# --- documents

DEEP = HUNDRED_THOUSAND
DOCUMENTS = {
    "NaN": b'{"length_queue": NaN, "devices": NaN}',
    "infinity": b'{"length_queue": Infinity, "x": -Infinity}',
    "a number without end": b'{"x": 1e999999, "length_queue": ' + b"9" * 10_000 + b"}",
    "a fraction without end": b'{"x": 0.' + b"1" * 100_000 + b"}",
    "the same key twice": b'{"devices": [], "devices": 7, "state": true, "state": 3, "x": 1, "x": 2}',
    "the same key very often": b"{" + b'"devices":[],' * 50_000 + b'"devices":[]}',
    "a lone surrogate": rb'{"status": "\ud800", "message": "\udfff", "x": "\ud800"}',
    "a lone surrogate as key": rb'{"\ud800": 1, "devices": []}',
    "a surrogate in UTF-8": b'{"devices": [], "x": "\xed\xa0\x80"}',
    "UTF-8 that is too long": b'{"devices": [], "x": "\xc0\x80"}',
    "UTF-16": '{"devices": []}'.encode("utf-16"),
    "NUL": b'{"devices": [], "x": "\x00"}',
    "NUL, escaped": rb'{"devices": [], "\u0000": "\u0000"}',
    "a deep array": b"[" * DEEP + b"]" * DEEP,
    "a deep object": b'{"a":' * DEEP + b"0" + b"}" * DEEP,
    "a deep array in an unknown field": b'{"x":' + b"[" * DEEP + b"]" * DEEP + b',"devices":[]}',
    "a deep array in a known field": b'{"devices":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep and not closed": b'{"x":' + b"[" * DEEP,
    "very many fields": b"{" + b",".join(b'"k%d": %d' % (n, n) for n in range(50_000)) + b"}",
}


@pytest.mark.parametrize("document", some_of(DOCUMENTS, 10))
async def test_a_hostile_document_is_an_answer_or_one_of_our_errors(
    emulator: Emulator, document: str
) -> None:
    for status in (200, 400, 503):
        emulator.clear_faults()
        if status == 200:
            emulator.fault(Garbage(DOCUMENTS[document]), times=None, region="us-east")
        else:
            emulator.fault(Status(status, body=DOCUMENTS[document]), times=None, region="us-east")
        for resource in RESOURCES:
            request = asked(resource)
            async with client_of(emulator) as client:
                try:
                    value = (await client.fetch(request)).value
                except QRBackendsError as error:
                    assert str(error).isprintable()  # noqa: PT017
                    repr(error).encode()
                else:
                    assert status == 200
                    repr(value).encode()  # no lone surrogate came through


def client_of(emulator: Emulator, **options: Any) -> Client:
    limits = options.pop("limits", Limits(failures=10**9))
    return Client(
        emulator.account(),
        limits=limits,
        retry=RetryPolicy(attempts=2, base=0.0),
        cache=NEVER,
        **options,
    )


@pytest.mark.parametrize("document", DOCUMENTS)
async def test_iam_is_trusted_no_more(emulator: Emulator, document: str) -> None:
    for status in (200, 400, 503):
        emulator.clear_faults()
        emulator.fault(Status(status, body=DOCUMENTS[document]), resource="token", times=None)
        async with client_of(emulator) as client:
            with pytest.raises(QRBackendsError) as caught:
                await client.backends()
            assert str(caught.value).isprintable()


# --- ids

NASTY = [
    "a/b",
    "a?b=c",
    "a#b",
    "%2e%2e",
    "%2E",
    "...",
    "../x",
    "a\\b",
    "a b",
    "a+b",
    "a&b=c;d",
    "é",
    "⚛🚀",
    "%00",
]


@pytest.mark.parametrize("nasty", NASTY)
async def test_ids_arrive_as_one_segment_and_calibration_ids_as_one_parameter(
    emulator: Emulator, nasty: str
) -> None:
    async with client_of(emulator) as client:
        for method in (client.configuration, client.properties):
            for backend in (nasty, emulator.backends()[0]):
                with pytest.raises(NotFound):
                    await method(backend, calibration_id=nasty)
        for plain in (client.status, client.defaults):
            with pytest.raises(NotFound):
                await plain(nasty)
    sent = quote(nasty, safe="")
    known = quote(emulator.backends()[0], safe="")
    arrived = [one.path_qs for one in emulator.requests if one.resource != "token"]
    assert arrived == [
        f"/api/v1/backends/{sent}/configuration?calibration_id={sent}",
        f"/api/v1/backends/{known}/configuration?calibration_id={sent}",
        f"/api/v1/backends/{sent}/properties?calibration_id={sent}",
        f"/api/v1/backends/{known}/properties?calibration_id={sent}",
        f"/api/v1/backends/{sent}/status",
        f"/api/v1/backends/{sent}/defaults",
    ]


@pytest.mark.parametrize("bad", ["\r", "\n", "\0", "a\r\nHost: evil.invalid", "\x1b[2J", "\x85", "\ud800"])
async def test_what_could_end_a_line_is_refused_before_any_io(emulator: Emulator, bad: str) -> None:
    async with client_of(emulator) as client:
        for call in (
            partial(client.status, bad),
            partial(client.properties, "ibm_x", calibration_id=bad),
            partial(client.configuration, "ibm_x", calibration_id=bad),
            partial(client.backends, fields=[bad]),
        ):
            with pytest.raises(InvalidRequest):
                await call()
    assert emulator.count() == 0


@given(
    IDS,
    IDS.filter(lambda text: len(text) <= 100) | st.none(),
    st.sampled_from(["configuration", "properties"]),
)
def test_a_target_is_fit_for_a_request_line(backend: str, calibration_id: str | None, resource: Any) -> None:
    target = Request(resource, backend, calibration_id).target
    assert target.isascii()
    assert target.isprintable()
    assert not set(target) & set(" #\\")
    path, mark, query = target.partition("?")
    assert path.split("/")[::2] == ["", backend and quote(backend, safe="")]
    assert path.split("/")[1::2] == ["backends", resource]
    assert bool(mark) == (calibration_id is not None)
    assert query.count("=") == bool(mark)
    assert "?" not in query
    assert "&" not in query


# --- redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_nobody_else_gets_a_request_by_a_redirect(emulator: Emulator, status: int) -> None:
    async with server(*[ok(b"{}")] * 10) as (other, seen):
        emulator.fault(Redirect(f"{other}/api/v1/backends", status), region="us-east", times=None)
        async with client_of(emulator) as client:
            for resource in RESOURCES:
                with pytest.raises(RedirectRefused) as caught:
                    await client.fetch(asked(resource))
                assert caught.value.attempts == 1
                assert emulator.count(resource) == 1
        emulator.clear_faults()
        emulator.fault(Redirect(f"{other}/identity/token", status), resource="token", times=None)
        async with client_of(emulator) as client:
            with pytest.raises(AccountError, match=str(status)):
                await client.backends()
    assert seen == []


# --- TLS


class TLSServer:
    """A Backends API with no backends, over TLS.

    Attributes:
        url: its base address.
        connections: how many were opened, whether TLS came about or not.
        heads: the heads of the requests that it got.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.url = ""
        self.connections = 0
        self.heads: list[bytes] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator["TLSServer"]:
        async with await asyncio.start_server(self.serve, "127.0.0.1", 0) as listening:
            self.url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            yield self

    async def serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self.connections += 1
        try:
            await writer.start_tls(self.context)
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(ok(b'{"devices": []}', "Connection: close"))
            await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def tls(certificate: Path, clients: Path | None = None) -> AsyncIterator[TLSServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    async with TLSServer(context).running() as serving:
        yield serving


def at(url: str, **options: Any) -> Account:
    return Account(token="a-marked-token", instances=[Instance(CRN, url=f"{url}/api/v1")], **options)


async def test_an_unknown_authority_is_refused_and_not_tried_again(authority: Authority) -> None:
    async with tls(authority.server) as serving, Client(at(serving.url)) as client:
        with pytest.raises(TLSError) as caught:
            await client.backends()
        assert (serving.connections, serving.heads) == (1, [])
        assert caught.value.attempts == 1
        assert caught.value.__cause__ is caught.value.__context__ is None


async def test_a_certificate_for_another_host_is_refused(authority: Authority) -> None:
    trusting = ssl.create_default_context(cafile=authority.ca)
    async with tls(authority.stranger) as serving, Client(at(serving.url, verify=trusting)) as client:
        with pytest.raises(TLSError):
            await client.backends()
        assert (serving.connections, serving.heads) == (1, [])


async def test_an_authority_of_ones_own_is_accepted(authority: Authority) -> None:
    trusting = ssl.create_default_context(cafile=authority.ca)
    async with tls(authority.server) as serving, Client(at(serving.url, verify=trusting)) as client:
        assert list(await client.backends()) == []
    assert serving.connections == 1
    assert b"Authorization: Bearer a-marked-token" in serving.heads[0]


async def test_two_accounts_of_a_pool_verify_each_by_itself(authority: Authority) -> None:
    """A connection that one account trusts does not serve another that does not."""
    trusting = ssl.create_default_context(cafile=authority.ca)
    async with tls(authority.server) as serving, SessionPool() as shared:
        careless = Client(at(serving.url, verify=trusting), pool=shared)
        careful = Client(at(serving.url), pool=shared)
        assert list(await careless.backends()) == []
        with pytest.raises(TLSError):
            await careful.backends()
        await careless.aclose()
        await careful.aclose()


async def test_a_client_certificate_is_shown_where_it_is_asked_for(authority: Authority) -> None:
    trusting = ssl.create_default_context(cafile=authority.ca)
    async with tls(authority.server, clients=authority.ca) as serving:
        async with Client(at(serving.url, verify=trusting), retry=RetryPolicy(attempts=1)) as client:
            with pytest.raises(ConnectError):
                await client.backends()
        assert serving.heads == []
        trusting.load_cert_chain(authority.client)
        async with Client(at(serving.url, verify=trusting)) as client:
            assert list(await client.backends()) == []
    assert len(serving.heads) == 1


async def test_what_is_not_verified_works_and_is_warned_of(authority: Authority) -> None:
    async with tls(authority.stranger) as serving:
        with pytest.warns(UserWarning, match="TLS certificates are not verified"):
            client = Client(at(serving.url, verify=False))
        async with client:
            assert list(await client.backends()) == []


# --- proxies, .netrc

REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def once(account: Account, **options: Any) -> Client:
    return Client(account, retry=RetryPolicy(attempts=1), **options)


@pytest.mark.parametrize("variable", PROXIES)
async def test_the_environments_proxy_is_used_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    async with server(*[REFUSAL] * 5) as (proxy, heads):
        monkeypatch.setenv(variable, proxy)
        async with once(at("https://service.invalid"), trust_env=True) as client:
            with pytest.raises(ConnectError, match="the proxy refused"):
                await client.backends()
        assert [head.partition(b" HTTP")[0] for head in heads] == [b"CONNECT service.invalid:443"]
        assert b"marked" not in heads[0]
        async with (
            SessionPool(trust_env=True) as shared,
            once(at("https://service.invalid"), pool=shared) as client,
        ):
            with pytest.raises(ConnectError, match="the proxy refused"):
                await client.backends()
        assert len(heads) == 2


@pytest.mark.parametrize("variable", PROXIES)
async def test_the_environments_proxy_is_not_used_by_default(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    async with server(*[REFUSAL] * 5) as (proxy, heads):
        monkeypatch.setenv(variable, proxy)
        async with once(at("https://service.invalid")) as client:
            with pytest.raises(ConnectError, match="no connection"):
                await client.backends()
    assert heads == []


@pytest.mark.parametrize("exception", ["service.invalid", ".invalid", "*", "other, service.invalid"])
async def test_no_proxy_is_honoured(monkeypatch: pytest.MonkeyPatch, exception: str) -> None:
    async with server(*[REFUSAL] * 5) as (proxy, heads):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        monkeypatch.setenv("NO_PROXY", exception)
        async with once(at("https://service.invalid"), trust_env=True) as client:
            with pytest.raises(ConnectError, match="no connection"):
                await client.backends()
        assert heads == []
        monkeypatch.setenv("NO_PROXY", "elsewhere.invalid")
        async with once(at("https://service.invalid"), trust_env=True) as client:
            with pytest.raises(ConnectError, match="the proxy refused"):
                await client.backends()
        assert len(heads) == 1


async def test_an_accounts_own_proxy_goes_before_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server(REFUSAL) as (mine, heads), server(REFUSAL) as (others, unused):
        monkeypatch.setenv("HTTPS_PROXY", others)
        monkeypatch.setenv("NO_PROXY", "*")
        account = at("https://service.invalid", proxies={"https": mine})
        async with once(account, trust_env=True) as client:
            with pytest.raises(ConnectError, match="the proxy refused"):
                await client.backends()
    assert (len(heads), unused) == (1, [])


async def test_a_tunnel_through_the_environments_proxy_ends_at_the_service(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tls(authority.server) as serving:

        async def connect(reader: asyncio.StreamReader, writer: Writer) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", serving.url.rpartition(":")[2])
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            async with anyio.create_task_group() as group:
                group.start_soon(copy, reader, back)
                group.start_soon(copy, there, writer)

        async with server(handler=connect) as (proxy, heads):
            monkeypatch.setenv("HTTPS_PROXY", proxy)
            trusting = ssl.create_default_context(cafile=authority.ca)
            async with once(at(serving.url, verify=trusting), trust_env=True) as client:
                assert list(await client.backends()) == []
            assert heads[0].startswith(b"CONNECT 127.0.0.1:")
            assert b"marked" not in heads[0]
            assert b"Bearer a-marked-token" in serving.heads[0]


async def copy(reader: asyncio.StreamReader, writer: Writer) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@pytest.mark.parametrize(
    "proxy", ["127.0.0.1:1", "http://", "socks5://127.0.0.1:1", "nonsense", "http://[", "http://a:b"]
)
async def test_a_proxy_of_the_environment_that_is_none_is_one_of_our_errors(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    async with once(at("https://service.invalid"), trust_env=True) as client:
        with pytest.raises(QRBackendsError):
            await client.backends()


async def test_this_machine_is_never_reached_through_a_proxy(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server(*[REFUSAL] * 5) as (proxy, heads):
        for variable in ("HTTP_PROXY", "http_proxy", *PROXIES):
            monkeypatch.setenv(variable, proxy)
        async with client_of(emulator, trust_env=True) as client:
            assert len(await client.backends()) > 0
    assert heads == []


@pytest.mark.parametrize("trust_env", [False, True])
async def test_a_netrc_file_is_never_read(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trust_env: bool
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(
        "machine 127.0.0.1 login somebody password netrc-password\n"
        "machine service.invalid login somebody password netrc-password\n"
        "default login somebody password netrc-password\n"
    )
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    async with client_of(emulator, trust_env=trust_env) as client:
        await client.backends()
    assert {request.auth for request in emulator.requests} == {"Bearer", None}
    async with server(ok(b'{"devices": []}'), REFUSAL) as (url, heads):
        async with once(at(url), trust_env=trust_env) as client:
            await client.backends()
        async with once(at("https://service.invalid", proxies={"https": url})) as client:
            with pytest.raises(ConnectError):
                await client.backends()
    assert [b"Basic" in head for head in heads] == [False, False]


# --- cookies


async def test_no_cookie_of_the_service_comes_back(emulator: Emulator) -> None:
    cookie = ok(b'{"devices": []}', "Set-Cookie: a=b; Path=/", "Set-Cookie: c=d", "Connection: close")
    async with server(*[cookie] * 4) as (url, heads), SessionPool() as shared:
        for token in ("one", "other"):
            account = replace(at(url), token=token)
            async with Client(account, pool=shared) as client:
                await client.backends()
                await client.backends(refresh=True)
    assert len(heads) == 4
    assert not any(b"cookie" in head.lower() for head in heads)
