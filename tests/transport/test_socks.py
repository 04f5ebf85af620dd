"""Connections through SOCKS proxies: which are used, what is told of them, and that they are guarded."""

import asyncio
import ssl
import sys
from urllib.parse import urlsplit

import pytest

pytest.importorskip("aiohttp_socks", reason="the extra `socks` is not installed")

from qrbackends import (
    Account,
    AccountError,
    Client,
    ConnectError,
    ConnectTimeout,
    Instance,
    Limits,
    RetryPolicy,
    SessionPool,
    TLSError,
    TransportError,
)

from ..certificates import Authority
from ..socks_server import SocksServer
from ..waiting import until
from .test_connector import CLOSING, LATE, Server, check_guard, server_context, told
from .test_pool import pool

pytestmark = pytest.mark.anyio


def through(server: Server, authority: Authority, proxy: str) -> Server:
    """Let requests to the server go through a proxy; its address has a name."""
    verify = ssl.create_default_context(cafile=authority.ca)
    server.account = Account(token="a-marked-token", verify=verify, proxies={"https": proxy})
    server.url = server.url.replace("127.0.0.1", "localhost")
    return server


@pytest.mark.parametrize(
    ("scheme", "asked"),
    [("socks5h", ["localhost"]), ("socks5", None), ("socks4a", ["localhost"]), ("socks4", ["127.0.0.1"])],
)
async def test_a_request_goes_through_the_proxy_which_looks_names_up_or_not(
    authority: Authority, scheme: str, asked: list[str] | None
) -> None:
    async with Server().running(server_context(authority)) as server, SocksServer().running() as proxy:
        through(server, authority, proxy.url(scheme))
        async with pool() as p:
            for path in ("/first", "/again"):
                assert await told(p, server, path) == path.encode()
        assert proxy.asked == asked or (asked is None and proxy.asked[0] in ("127.0.0.1", "::1"))
        assert len(server.writers) == 1, "the connection is reused"


async def test_user_and_password_are_the_proxys_and_are_not_shown(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    wanted = SocksServer(user=("us:er", "p@ss/hunter2"))
    async with Server().running(server_context(authority)) as server, wanted.running() as proxy, pool() as p:
        through(server, authority, proxy.url(user="us%3Aer:p%40ss%2Fhunter2"))
        assert await told(p, server, "/first") == b"/first"
        assert proxy.users == [("us:er", "p@ss/hunter2")]
        through(server, authority, proxy.url(user="us%3Aer:hunter3"))
        with pytest.raises(ConnectError, match="the SOCKS proxy refused the connection") as caught:
            await told(p, server, "/second")
        assert caught.value.__context__ is caught.value.__cause__ is None
        shown = f"{caught.value!r} {caplog.text} {server.account!r} {p.stats()}"
        assert "hunter" not in shown


async def test_each_account_of_a_pool_goes_through_its_own_proxy(authority: Authority) -> None:
    async with (
        Server().running(server_context(authority)) as server,
        SocksServer().running() as one,
        SocksServer().running() as other,
        pool(Limits(failures=2)) as p,
    ):
        for proxy in (one.url(), other.url(), None, "http://127.0.0.1:1", one.url("socks5")):
            through(server, authority, proxy or one.url())
            if proxy is None:
                server.account = Account(token="a-marked-token", verify=server.account.verify)
            if proxy == "http://127.0.0.1:1":
                with pytest.raises(ConnectError):
                    await told(p, server, "/path")
            else:
                assert await told(p, server, "/path") == b"/path"
        assert (len(one.asked), len(other.asked), len(server.writers)) == (2, 1, 4)
        assert [stats.requests for stats in p.stats()] == [5], "they share the region's queue and its limits"


FAULTS = [
    ("refuse", ConnectError, "the SOCKS proxy refused the connection"),
    ("cut", ConnectError, "SOCKS proxy"),
    ("silent", ConnectTimeout, "no connection"),
    ("mute", ConnectTimeout, "no connection"),
    ("down", ConnectError, "no connection to the SOCKS proxy"),
    ("no name", ConnectError, "no connection"),
]


@pytest.mark.parametrize(("fault", "error", "said"), FAULTS, ids=[fault for fault, *_ in FAULTS])
async def test_what_a_proxy_fails_in_is_told_as_the_proxys_and_is_not_the_regions_fault(
    authority: Authority, fault: str, error: type[TransportError], said: str
) -> None:
    limits = Limits(failures=1, connect=0.2 if fault in ("silent", "mute") else 5.0)
    async with (
        Server().running(server_context(authority)) as server,
        SocksServer(fault=fault).running() as proxy,
        pool(limits) as p,
    ):
        url = {"down": "socks5h://127.0.0.1:1", "no name": "socks5h://no.such.invalid:1080"}
        through(server, authority, url.get(fault, proxy.url()))
        for _ in range(2):  # the circuit breaker stays closed
            with pytest.raises(error, match=said) as caught:
                await told(p, server, "/first")
            assert urlsplit(url.get(fault, proxy.url())).netloc in caught.value.message
            assert caught.value.__context__ is caught.value.__cause__ is None
            assert caught.value.outage
            assert caught.value.retryable
        server.account = Account(token="a-marked-token", verify=server.account.verify)
        assert await told(p, server, "/straight") == b"/straight"


async def test_a_request_that_is_cancelled_within_tls_ends_and_is_not_counted_any_more(
    authority: Authority,
) -> None:
    """The proxy's library closes such a connection, and waits for its end, which asyncio does not tell."""
    async with (
        Server().running(server_context(authority)) as server,
        SocksServer(fault="mute").running() as proxy,
        pool(Limits(per_region=1, connect=100, read=100, total=100)) as p,
    ):
        through(server, authority, proxy.url())

        async def cancel(number: int) -> None:
            request = asyncio.create_task(told(p, server, "/first"))
            await until(lambda: proxy.begun == number)
            request.cancel()
            await asyncio.wait([request], timeout=30)
            assert request.cancelled()
            await until(lambda: proxy.ended == number)

        await cancel(1)
        await cancel(2)
        server.account = Account(token="a-marked-token", verify=server.account.verify)
        assert await told(p, server, "/straight") == b"/straight", "the only slot is free"


async def test_a_host_name_that_is_too_long_for_socks_is_no_error_of_ours(authority: Authority) -> None:
    async with SocksServer().running() as proxy, pool() as p:
        account = Account(token="a-marked-token", proxies={"https": proxy.url()})
        server = Server(account=account, url=f"https://{'.'.join(['a' * 60] * 5)}")
        with pytest.raises(ConnectError):
            await told(p, server, "/first")


async def test_tls_is_the_servers_and_is_verified_through_the_proxy(authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.stranger)
    async with Server().running(context) as server, SocksServer().running() as proxy, pool() as p:
        through(server, authority, proxy.url())
        with pytest.raises(TLSError):
            await told(p, server, "/first")


async def test_this_machine_over_plain_http_is_never_reached_through_it() -> None:
    async with Server().running() as server, SocksServer().running() as proxy, pool() as p:
        server.account = Account(token="a-marked-token", proxies={"http": proxy.url(), "all": proxy.url()})
        assert await told(p, server, "/first") == b"/first"
        assert proxy.asked == []


async def test_the_environments_socks_proxy_is_used_where_it_is_asked_for(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Server().running(server_context(authority)) as server, SocksServer().running() as proxy:
        through(server, authority, proxy.url())
        server.account = Account(token="a-marked-token", verify=server.account.verify)
        monkeypatch.setenv("ALL_PROXY", proxy.url())
        async with SessionPool(trust_env=True) as p:
            assert await told(p, server, "/first") == b"/first"
        assert proxy.asked == ["localhost"]
        monkeypatch.setenv("ALL_PROXY", "socks://user:hunter2@127.0.0.1:1")
        async with SessionPool(trust_env=True) as p:
            with pytest.raises(AccountError, match="socks5h://HOST:PORT") as caught:
                await told(p, server, "/first")
            assert "hunter2" not in str(caught.value)


async def test_a_client_reads_backends_through_it(authority: Authority) -> None:
    crn = "crn:v1:bluemix:public:quantum-computing:us-east:a/A:G::"
    body = b'{"devices": []}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n" + body
    async with (
        Server(lambda _: answer).running(server_context(authority)) as server,
        SocksServer().running() as proxy,
    ):
        account = Account(
            token="a-marked-token",
            instances=[Instance(crn, url=f"{server.url}/api/v1")],
            verify=ssl.create_default_context(cafile=authority.ca),
            proxies={"https": proxy.url()},
        )
        async with Client(account, retry=RetryPolicy(attempts=1)) as client:
            assert len(await client.backends()) == 0
        assert proxy.asked == ["127.0.0.1"]


async def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp_socks", None)
    monkeypatch.delitem(sys.modules, "qrbackends.transport.socks", raising=False)
    account = Account(token="a-marked-token", proxies={"https": "socks5://user:hunter2@127.0.0.1:1"})
    server = Server(account=account, url="https://localhost:1")
    async with pool() as p:
        with pytest.raises(AccountError, match=r'pip install "qrbackends\[socks\]"') as caught:
            await told(p, server, "/first")
    assert "hunter2" not in str(caught.value)


# --- guarded as all others are


@pytest.mark.parametrize("unasked", [LATE, CLOSING, b"\r\n"], ids=["an answer", "a 408", "an empty line"])
async def test_what_comes_unasked_is_nobodys_answer(authority: Authority, unasked: bytes) -> None:
    async with Server().running(server_context(authority)) as server, SocksServer().running() as proxy:
        through(server, authority, proxy.url())
        async with pool() as p:
            await check_guard(p, server, unasked)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop")
def test_it_is_so_in_uvloop(authority: Authority) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def check() -> None:
        async with Server().running(server_context(authority)) as server, SocksServer().running() as proxy:
            through(server, authority, proxy.url())
            async with pool() as p:
                await check_guard(p, server, LATE)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(check())
