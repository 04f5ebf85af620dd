"""Gateways on loopback, in front of an emulator, and requests to them as the bytes that they are."""

import gzip
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
from yarl import URL

from qrbackends import Client, RetryPolicy, SessionPool
from qrbackends.accounts.account import Account, Instance
from qrbackends.cache.policy import CachePolicy
from qrbackends.emulator import Emulator
from qrbackends.gateway.app import Gateway
from qrbackends.gateway.keys import Keyring
from qrbackends.gateway.options import CloudAddresses, GatewayOptions
from qrbackends.transport.limits import Limits
from qrbackends.web import ServerLimits
from qrbackends.web.gateway import GatewayServer, forwarding_gateway, own_gateway

VERSION = "2026-04-15"
ONCE = RetryPolicy(attempts=1)
PATIENT = Limits(failures=10**9)


class Got(NamedTuple):
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def plain(self) -> bytes:
        """The body, decompressed."""
        return gzip.decompress(self.body) if self.headers.get("Content-Encoding") == "gzip" else self.body

    @property
    def cache(self) -> str:
        """What `Cache-Status` says."""
        return self.headers.get("Cache-Status", "")


class Asker:
    """Asks a server of the service's language.

    Attributes:
        url: its address.
        authorization: the value of the header of all requests.
        crn: the instance that is asked.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str, authorization: str, crn: str) -> None:
        self.session = session
        self.url = url
        self.authorization = authorization
        self.crn = crn

    async def ask(self, path: str, method: str = "GET", **more: Any) -> Got:
        """Send a request with these headers in place of the usual ones; one that is None is left out."""
        data, headers = more.pop("data", None), {"Accept-Encoding": "gzip", "IBM-API-Version": VERSION}
        headers |= {"Authorization": self.authorization, "Service-CRN": self.crn} | more.pop("headers", {})
        sent = {name: value for name, value in headers.items() if value is not None}
        url = URL(f"{self.url}{path}", encoded=True)
        async with self.session.request(
            method,
            url,
            headers=sent,
            data=data,
            allow_redirects=False,
            skip_auto_headers=("Accept-Encoding", "User-Agent", "Accept"),
            **more,
        ) as answer:
            return Got(answer.status, answer.headers, await answer.read())

    async def backends(self, **more: Any) -> Got:
        """Ask for the list."""
        return await self.ask("/api/v1/backends", **more)

    async def document(self, backend: str, resource: str = "properties", **more: Any) -> Got:
        """Ask for a document."""
        return await self.ask(f"/api/v1/backends/{backend}/{resource}", **more)

    def instead(self, authorization: str | None = None, crn: str | None = None) -> "Asker":
        """Return one with another credential or another instance."""
        return Asker(self.session, self.url, authorization or self.authorization, crn or self.crn)


class Running(NamedTuple):
    """A gateway that runs.

    Attributes:
        url: its address.
        gateway: the gateway.
        asker: asks for the first instance, with the throw-away key's token, or with the emulator's.
        origin: asks the emulator for the same.
        keyring: the keys; of a gateway that passes credentials on, some that nobody asks for.
        emulator: what is behind it.
    """

    url: str
    gateway: Gateway
    asker: Asker
    origin: Asker
    keyring: Keyring
    emulator: Emulator

    def account(self) -> Account:
        """Return an account whose requests go through the gateway."""
        catalog = f"{self.url}/catalog/api/v1"
        instances = [Instance(one.crn, url=f"{self.url}/api/v1") for one in self.emulator.instances]
        key = self.keyring.throw_away
        return Account(
            api_key=key, instances=instances, iam_url=self.url, search_url=self.url, catalog_url=catalog
        )


@asynccontextmanager
async def running(
    emulator: Emulator,
    *,
    keyring: Keyring | None = None,
    forward: bool = False,
    policy: CachePolicy | None = None,
    options: GatewayOptions | None = None,
    limits: ServerLimits | None = None,
    tls: Any = None,
    region: str = "us-east",
    **more: Any,
) -> AsyncIterator[Running]:
    """Run a gateway in front of an emulator; `more` is for `Gateway` or the client."""
    keyring, policy = keyring or Keyring(emulated=True), policy or CachePolicy(jitter=0)
    options, server = options or GatewayOptions(), GatewayServer(limits or ServerLimits(), 5)
    about = {"log": more.pop("log", None), "answering": server.answering, "heard": server.heard}
    crn = next(one.crn for one in emulator.instances if one.region == region)
    async with AsyncExitStack() as stack:
        if forward:
            pool = await stack.enter_async_context(SessionPool(PATIENT))
            endpoints = {region: emulator.url(region) for region in emulator.regions}
            cloud = CloudAddresses(emulator.iam_url, emulator.search_url, emulator.catalog_url)
            settings = {"pool": pool, "policy": policy, "retry": ONCE, **more}
            made = forwarding_gateway(settings, endpoints, cloud, options, **about)
        else:
            account = more.pop("account", None) or emulator.account()
            client = await stack.enter_async_context(
                Client(account, cache=policy, retry=ONCE, limits=PATIENT, **more)
            )
            made = own_gateway(client, keyring, options, **about)
        await stack.enter_async_context(made)
        url = await stack.enter_async_context(server.running(made, tls=tls))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())
        )
        granted = None if keyring.throw_away is None else keyring.exchange(keyring.throw_away)
        token = emulator.make_token() if forward or granted is None else granted["access_token"]
        asker = Asker(session, url, f"Bearer {token}", crn)
        origin_url = emulator.url(region).removesuffix("/api/v1")
        origin = Asker(session, origin_url, f"Bearer {emulator.make_token()}", crn)
        yield Running(url, made, asker, origin, keyring, emulator)
