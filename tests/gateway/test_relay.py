"""What a gateway passes on: jobs and the like, of any size, as they are."""

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator

import aiohttp
import anyio
import pytest
from aiohttp import web

from qrbackends.accounts.account import Account, Instance
from qrbackends.emulator import Emulator
from qrbackends.gateway import bodies
from qrbackends.gateway.options import GatewayOptions
from qrbackends.gateway.relay import is_plain

from .serving import Running, running

pytestmark = pytest.mark.anyio

PASSING = GatewayOptions(pass_through=True)
TOKEN = "the-gateways-own-token"
PART = 2**16


class Origin:
    """A service with jobs; it keeps what it was sent.

    Attributes:
        url: the base address of its API.
        seen: the requests.
        begun: set when the first part of an upload has arrived.
        go_on: the rest of a download is sent once it is set.
        takes: bodies are read while it is set.
    """

    def __init__(self) -> None:
        self.seen: list[web.BaseRequest] = []
        self.uploaded = hashlib.sha256()
        self.size = 0
        self.begun, self.go_on, self.takes = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.takes.set()
        self.status = 200
        self.url = ""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        self.seen.append(request)
        await self.takes.wait()
        async for chunk in request.content.iter_any():
            self.uploaded.update(chunk)
            self.size += len(chunk)
            self.begun.set()
        if request.path.endswith("/results"):
            response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
            await response.prepare(request)
            await response.write(b"first")
            await self.go_on.wait()
            await response.write(b"last")
            return response
        if request.path.endswith("/large"):
            response = web.StreamResponse(headers={"Content-Length": str(200 * PART)})
            await response.prepare(request)
            for _ in range(200):
                await response.write(b"x" * PART)
            return response
        if request.path.endswith("/cut"):
            response = web.StreamResponse(headers={"Content-Length": "100"})
            await response.prepare(request)
            await response.write(b"half")
            assert request.transport is not None
            request.transport.close()
            return response
        headers = {"Set-Cookie": "a=b", "X-Own": "yes", "Connection": "x-hop", "X-Hop": "1"}
        return web.Response(status=self.status, text="answered", headers=headers)


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    origin = Origin()
    runner = web.ServerRunner(web.Server(origin.answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    origin.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v1"
    yield origin
    origin.go_on.set()
    await runner.cleanup()


def account(emulator: Emulator, origin: Origin) -> Account:
    return Account(token=TOKEN, instances=[Instance(emulator.instances[0].crn, url=origin.url)])


async def test_nothing_else_is_passed_on_by_default(emulator: Emulator, origin: Origin) -> None:
    async with running(emulator, account=account(emulator, origin)) as at:
        for method in ("GET", "POST", "DELETE"):
            got = await at.asker.ask("/api/v1/jobs", method)
            assert (got.status, b"Backends API only" in got.body) == (404, True)
        assert origin.seen == []


async def test_requests_are_passed_on_with_the_gateways_own_credential(
    emulator: Emulator, origin: Origin
) -> None:
    async with running(emulator, account=account(emulator, origin), options=PASSING) as at:
        sent = {"X-Mine": "1", "Cookie": "c=d", "Connection": "x-gone", "X-Gone": "1", "Host": "localhost"}
        got = await at.asker.ask("/api/v1/jobs?limit=3&tags=a%2Cb", "POST", data=b'{"a": 1}', headers=sent)
        assert (got.status, got.body, got.cache) == (200, b"answered", "qrbackends; fwd=bypass")
        assert got.headers["X-Own"] == "yes"
        assert not {"Set-Cookie", "X-Hop"} & set(got.headers)
        (seen,) = origin.seen
        assert (seen.method, seen.raw_path) == ("POST", "/api/v1/jobs?limit=3&tags=a%2Cb")
        assert seen.headers.getall("Authorization") == [f"Bearer {TOKEN}"]
        assert seen.headers["X-Mine"] == "1"
        assert seen.headers["Service-CRN"] == at.asker.crn
        assert not {"Cookie", "X-Gone"} & set(seen.headers)
        assert seen.headers["Host"] == origin.url.split("/")[2]


async def test_no_header_takes_the_instance_away(emulator: Emulator, origin: Origin) -> None:
    async with running(emulator, account=account(emulator, origin), options=PASSING) as at:
        sent = {"Connection": "Service-CRN, Authorization, Host"}
        assert (await at.asker.ask("/api/v1/jobs", headers=sent)).status == 200
        (seen,) = origin.seen
        assert seen.headers.getall("Service-CRN") == [at.asker.crn]
        assert seen.headers.getall("Authorization") == [f"Bearer {TOKEN}"]


async def test_who_may_not_ask_passes_nothing_on(emulator: Emulator, origin: Origin) -> None:
    async with running(emulator, account=account(emulator, origin), options=PASSING) as at:
        stranger = at.asker.instead(authorization="Bearer stolen")
        assert (await stranger.ask("/api/v1/jobs", "POST", data=b"x")).status == 401
        other = at.asker.instead(crn=emulator.instances[1].crn)
        assert (await other.ask("/api/v1/jobs")).status == 403
        assert origin.seen == []


async def test_bodies_stream_in_both_directions(emulator: Emulator, origin: Origin) -> None:
    async with running(emulator, account=account(emulator, origin), options=PASSING) as at:
        more = asyncio.Event()

        async def upload() -> AsyncIterator[bytes]:
            yield b"a" * PART
            await more.wait()
            yield b"b" * PART

        posting = asyncio.create_task(at.asker.ask("/api/v1/jobs", "PUT", data=upload()))
        async with asyncio.timeout(10):
            await origin.begun.wait()  # before the upload has ended
            more.set()
            assert (await posting).status == 200
        assert origin.uploaded.hexdigest() == hashlib.sha256(b"a" * PART + b"b" * PART).hexdigest()
        async with asyncio.timeout(10), at.asker.session.get(*results(at), headers=headers(at)) as answer:
            assert await answer.content.readany() == b"first"  # before the download has ended
            origin.go_on.set()
            assert await answer.content.read() == b"last"


def results(at: Running) -> tuple[str]:
    return (f"{at.url}/api/v1/jobs/1/results",)


def headers(at: Running) -> dict[str, str]:
    return {"Authorization": at.asker.authorization, "Service-CRN": at.asker.crn}


async def test_large_bodies_take_no_memory(emulator: Emulator, origin: Origin) -> None:
    async def upload() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"a" * PART

    async with running(emulator, account=account(emulator, origin), options=PASSING) as at:
        await at.asker.ask("/api/v1/jobs", "POST", data=b"warm")
        tracemalloc.start()
        try:
            assert (await at.asker.ask("/api/v1/jobs", "POST", data=upload())).status == 200
            async with at.asker.session.get(f"{at.url}/api/v1/large", headers=headers(at)) as answer:
                received = 0
                async for chunk in answer.content.iter_any():
                    received += len(chunk)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert received == 200 * PART
        assert origin.size == 4 + 200 * PART
        assert peak < 50 * PART  # all parties are in this process, and 26 MB went through it


async def test_an_upload_that_stops_is_ended(
    emulator: Emulator, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the caller sends no more of it, or the service takes no more."""
    monkeypatch.setattr(bodies, "_SILENCE", 0.05)

    async def upload(size: int) -> AsyncIterator[bytes]:
        yield b"a"
        for _ in range(size):
            yield b"a" * PART
        await origin.go_on.wait()

    async with running(emulator, account=account(emulator, origin), options=PASSING) as at:
        async with asyncio.timeout(10):
            got = await at.asker.ask("/api/v1/jobs", "POST", data=upload(0))
            assert (got.status, got.headers["Connection"]) == (408, "close")
            origin.takes.clear()
            assert (await at.asker.ask("/api/v1/jobs", "POST", data=upload(1000))).status == 504
        origin.takes.set()
        assert (await at.asker.ask("/api/v1/jobs", "POST", data=b"a")).status == 200


async def sent_raw(at: Running, method: bytes, header: bytes = b"X-Own: 1") -> bytes:
    """Return the answer to a request of which no library has a say."""
    async with await anyio.connect_tcp("127.0.0.1", int(at.url.rpartition(":")[2])) as stream:
        lines = [f"{name}: {value}".encode() for name, value in headers(at).items()]
        lines += [b"Host: localhost", header, b"Connection: close", b"", b""]
        await stream.send(b"\r\n".join([method + b" /api/v1/jobs HTTP/1.1", *lines]))
        return b"".join([chunk async for chunk in stream])


async def test_methods_that_would_show_the_credential_or_be_a_tunnel_are_not_passed_on(
    emulator: Emulator, origin: Origin
) -> None:
    async with running(emulator, account=account(emulator, origin), options=PASSING) as at:
        for method in (b"TRACE", b"CONNECT", b"PROPFIND"):
            received = await sent_raw(at, method)
            assert received.startswith(b"HTTP/1.1 405"), received
            assert b"\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n" in received
        assert not origin.seen


async def test_headers_that_would_be_altered_are_not_passed_on(emulator: Emulator, origin: Origin) -> None:
    async with running(emulator, account=account(emulator, origin), options=PASSING) as at:
        got = await at.asker.ask("/api/v1/jobs", headers={"X-Name": "\u00e9"})
        assert (got.status, origin.seen[0].headers["X-Name"]) == (200, "\u00e9")
        received = await sent_raw(at, b"GET", b"X-Name: caf\xe9")
        assert received.startswith(b"HTTP/1.1 400")
        assert b"The header X-Name is not UTF-8" in received
        assert len(origin.seen) == 1


async def test_headers_of_an_answer_that_would_be_altered_are_left_out(emulator: Emulator) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 caf\xe9\1\r\nX-Odd: caf\xe9\r\nX-Odder: a\1b\r\nX-Own: caf\xc3\xa9\r\n"
            b"Content-Length: 2\r\n\r\nok"
        )
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1"
        account = Account(token=TOKEN, instances=[Instance(emulator.instances[0].crn, url=url)])
        async with running(emulator, account=account, options=PASSING) as at:
            got = await at.asker.ask("/api/v1/jobs")
            assert (got.status, got.body, got.headers["X-Own"]) == (200, b"ok", "caf\u00e9")
            assert not {"X-Odd", "X-Odder"} & {*got.headers}


async def test_a_cut_answer_is_cut_for_the_caller(emulator: Emulator, origin: Origin) -> None:
    async with running(emulator, account=account(emulator, origin), options=PASSING) as at:
        with pytest.raises(aiohttp.ClientError):
            await at.asker.ask("/api/v1/jobs/cut")


async def test_a_service_that_is_down_is_told(emulator: Emulator, origin: Origin) -> None:
    gone = Account(
        token=TOKEN, instances=[Instance(emulator.instances[0].crn, url="http://127.0.0.1:1/api/v1")]
    )
    async with running(emulator, account=gone, options=PASSING) as at:
        got = await at.asker.ask("/api/v1/jobs")
        assert (got.status, b"cannot be reached" in got.body) == (502, True)


async def test_a_refusal_of_the_gateways_own_token_is_not_the_callers(
    emulator: Emulator, origin: Origin
) -> None:
    async with running(emulator, account=account(emulator, origin), options=PASSING) as at:
        origin.status = 401
        got = await at.asker.ask("/api/v1/jobs")
        assert (got.status, b"gateway's own account" in got.body) == (502, True)
        origin.status = 403
        assert (await at.asker.ask("/api/v1/jobs")).body == b"answered"


async def test_a_callers_own_credential_is_passed_on(emulator: Emulator) -> None:
    async with running(emulator, forward=True, options=PASSING) as at:
        got = await at.asker.ask("/api/v1/jobs")
        assert (got.status, got.cache) == (200, "qrbackends; fwd=bypass")
        assert emulator.requests[-1].auth == "Bearer"
        assert (await at.asker.instead(authorization="Bearer other").ask("/api/v1/jobs")).status == 401
        grant = f"grant_type=urn:ibm:params:oauth:grant-type:apikey&apikey={emulator.api_keys[0]}"
        form = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": None}
        granted = await at.asker.ask("/identity/token", "POST", data=grant, headers=form)
        assert (granted.status, b"access_token" in granted.plain) == (200, True)
        found = await at.asker.ask(
            "/v3/resources/search?limit=10", "POST", data=b'{"query": "service_name:quantum-computing"}'
        )
        assert emulator.instances[0].crn.encode() in found.plain
        plan = emulator.instances[0].plan.id
        assert (await at.asker.ask(f"/catalog/api/v1/{plan}")).status == 200
        assert (await at.asker.ask("/catalog/api/v1/..%2fx")).status == 404


async def test_the_cloud_is_only_read_with_a_callers_own_credential(emulator: Emulator) -> None:
    async with running(emulator, forward=True) as at:
        before = emulator.count()
        for method, path in (
            ("DELETE", f"/catalog/api/v1/{emulator.instances[0].plan.id}"),
            ("POST", "/catalog/api/v1/x"),
            ("DELETE", "/identity/token"),
            ("PUT", "/v3/resources/search"),
        ):
            assert (await at.asker.ask(path, method)).status == 405
        for body in (b"x" * 2**17, chunks()):
            assert (await at.asker.ask("/identity/token", "POST", data=body)).status == 413
        assert emulator.count() == before


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(3):
        yield b"grant_type=" * 4000


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("/api/v1/jobs", True),
        ("/api/v1/jobs/abc-1_2.3~", True),
        ("/api/v1/jobs/a%20b", True),
        ("/api/v1/jobs/", True),
        ("/api/v1//jobs", False),
        ("/api/v1/./jobs", False),
        ("/api/v1/jobs/..", False),
        ("/api/v1/jobs/%2E%2e", False),
        ("/api/v1/jobs/%252e%252e", False),
        ("/api/v1/a%2Fb", False),
        ("/api/v1/a\\b", False),
        ("/api/v1/a%5Cb", False),
        ("/api/v1/a%0Ab", False),
        ("/api/v1/\u00e9", False),
    ],
)
async def test_paths_that_servers_read_alike(path: str, plain: bool) -> None:
    assert is_plain(path) is plain
