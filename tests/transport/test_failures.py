"""A server that breaks TLS is told from one that is not there, and is asked once."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from qrbackends import Account, Client, ConnectError, Instance, RetryPolicy, TLSError

from ..certificates import Authority
from .test_connector import copy

pytestmark = pytest.mark.anyio

CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/account:guid::"
Writer = asyncio.StreamWriter
Serve = Callable[[asyncio.StreamReader, Writer, Authority], Awaitable[None]]


async def closing(reader: asyncio.StreamReader, writer: Writer, authority: Authority) -> None:
    """Close before anything was read, so that the client gets a reset."""


async def ending(reader: asyncio.StreamReader, writer: Writer, authority: Authority) -> None:
    await reader.read(65536)


async def silent_end(reader: asyncio.StreamReader, writer: Writer, authority: Authority) -> None:
    await reader.read(65536)
    writer.write(b"\x16\x03\x03\x00\x50\x02\x00")  # the first bytes of a ServerHello


async def garbage(reader: asyncio.StreamReader, writer: Writer, authority: Authority) -> None:
    await reader.read(65536)
    writer.write(bytes(100))
    await reader.read()


async def plain_http(reader: asyncio.StreamReader, writer: Writer, authority: Authority) -> None:
    await reader.read(65536)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await reader.read()


async def greeting(reader: asyncio.StreamReader, writer: Writer, authority: Authority) -> None:
    writer.write(b"220 smtp.invalid ESMTP\r\n")
    await reader.read()


def context(authority: Authority) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(authority.server)
    return made


async def old_version(reader: asyncio.StreamReader, writer: Writer, authority: Authority) -> None:
    old = context(authority)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    await refuse(reader, writer, old)


async def mutual(reader: asyncio.StreamReader, writer: Writer, authority: Authority) -> None:
    """Want a certificate; in TLS 1.3 the client learns that once it has sent its request."""
    strict = context(authority)
    strict.verify_mode = ssl.CERT_REQUIRED
    strict.load_verify_locations(authority.ca)
    await refuse(reader, writer, strict)


async def refuse(reader: asyncio.StreamReader, writer: Writer, context: ssl.SSLContext) -> None:
    """Refuse the handshake by an alert, which asyncio's servers do not send."""
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(received, sent, server_side=True)
    with suppress(ssl.SSLError):
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                writer.write(sent.read())
                received.write(await reader.read(65536))
    writer.write(sent.read())
    await reader.read()


SERVERS: dict[str, Serve] = {
    "closes": closing,
    "closes after the hello": ending,
    "closes in its hello": silent_end,
    "sends garbage": garbage,
    "speaks HTTP": plain_http,
    "greets": greeting,
    "has an old version": old_version,
    "wants a certificate": mutual,
}


@asynccontextmanager
async def running(serve: Serve, authority: Authority) -> AsyncIterator[tuple[str, list[Writer]]]:
    """Yield the server's address, and the connections that were opened."""
    opened: list[Writer] = []

    async def accept(reader: asyncio.StreamReader, writer: Writer) -> None:
        opened.append(writer)
        with suppress(OSError):
            await serve(reader, writer, authority)
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as listening:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}", opened


@asynccontextmanager
async def tunnel() -> AsyncIterator[str]:
    """A proxy that connects to wherever it is asked to; yields its address."""

    async def connect(reader: asyncio.StreamReader, writer: Writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        there, back = await asyncio.open_connection(*head.split()[1].decode().split(":"))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(copy(reader, back), copy(there, writer))

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("way", ["straight", "through a proxy", "as a proxy"])
@pytest.mark.parametrize("fault", SERVERS)
async def test_a_server_that_breaks_tls_is_asked_once(authority: Authority, fault: str, way: str) -> None:
    trusting = ssl.create_default_context(cafile=authority.ca)
    trusting.minimum_version = ssl.TLSVersion.TLSv1_3
    async with running(SERVERS[fault], authority) as (address, opened), tunnel() as proxy:
        account = Account(
            token="a-marked-token",
            instances=[Instance(crn=CRN, url=f"https://{address}/api/v1")],
            verify=trusting,
            proxies={"straight": {}, "through a proxy": {"https": proxy}}.get(
                way, {"https": f"https://{address}"}
            ),
        )
        async with Client(account, retry=RetryPolicy(base=0.0)) as client:
            with pytest.raises(TLSError, match="TLS failed") as caught:
                await client.backends()
        assert (caught.value.attempts, len(opened)) == (1, 1)
        assert caught.value.__cause__ is caught.value.__context__ is None


async def greeted(reader: asyncio.StreamReader, writer: Writer, authority: Authority) -> None:
    """Show a certificate for this machine, until the client leaves."""
    await shown(reader, writer, authority.server)


async def a_stranger(reader: asyncio.StreamReader, writer: Writer, authority: Authority) -> None:
    await shown(reader, writer, authority.stranger)


async def shown(reader: asyncio.StreamReader, writer: Writer, certificate: Path) -> None:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate)
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = made.wrap_bio(received, sent, server_side=True)
    while arrived := await reader.read(65536):
        received.write(arrived)
        with suppress(ssl.SSLError):
            tls.do_handshake()
        writer.write(sent.read())


@pytest.mark.parametrize(
    ("serve", "trusts", "reason"),
    [
        (greeted, False, "the server's certificate was not accepted: unable to get local issuer certificate"),
        (a_stranger, True, "the server's certificate was not accepted: IP address mismatch, certificate is"),
        (plain_http, True, "TLS failed: wrong version number"),
        (old_version, True, "TLS failed: tlsv1 alert protocol version"),
    ],
)
async def test_the_reason_of_a_failure_is_told(
    authority: Authority, serve: Serve, trusts: bool, reason: str
) -> None:
    verify = ssl.create_default_context(cafile=authority.ca if trusts else None)
    verify.minimum_version = ssl.TLSVersion.TLSv1_3
    async with running(serve, authority) as (address, _):
        instance = Instance(crn=CRN, url=f"https://{address}/api/v1")
        account = Account(token="a-marked-token", instances=[instance], verify=verify)
        async with Client(account) as client:
            with pytest.raises(TLSError) as caught:
                await client.backends()
    assert reason in caught.value.message
    assert str(caught.value).startswith(f"[us-east]: the region's host {address}: TLS failed: ")
    assert ("SSL_CERT_FILE or Account(verify=…)" in caught.value.message) is not trusts


async def test_a_proxy_that_is_not_there_is_named_without_its_password(authority: Authority) -> None:
    async with running(closing, authority) as (address, _):
        pass
    account = Account(
        token="a-marked-token",
        instances=[Instance(crn=CRN, url="https://nowhere.invalid/api/v1")],
        proxies={"https": f"http://user:a-marked-password@{address}"},
    )
    async with Client(account, retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(ConnectError, match=f"no connection to the proxy {address}: ") as caught:
            await client.backends()
    assert "a-marked-password" not in str(caught.value)
