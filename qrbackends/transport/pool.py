"""The wire: one aiohttp session per region, with limits, deadlines and typed errors."""

import asyncio
import logging
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

import aiohttp
import anyio
from yarl import URL

from ..accounts.account import Account
from ..accounts.secret import Secret
from ..accounts.urls import is_plain_http
from ..errors import (
    AccountError,
    BodyDamaged,
    ClientClosed,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    QRBackendsError,
    ReadTimeout,
    TLSError,
    TransportError,
    WrongEventLoop,
)
from ..protocol.headers import retry_after
from .body import ACCEPT_ENCODING, Body
from .breaker import CircuitBreaker
from .queue import RequestQueue, Slot
from .traffic import RegionStats

logger = logging.getLogger("qrbackends.pool")

_KEEPALIVE = 75.0  # seconds; longer than a polling interval, so that polls reuse their connections
_MOST = 2**60  # of anything: what timers and zlib can still count
_CLOSING = 5.0  # seconds for connections to say goodbye


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call, and one region, may take.

    Args:
        per_region: requests in flight to one region at a time; others wait their turn, which comes soon for
            whoever asks for little.
        total: seconds for a whole call: waiting for its turn, for a token, and for the answer.
        connect: seconds to make a connection.
        read: seconds without a byte from the service, and from the request to the answer's headers.
        rate: bytes per second that an answer has to come with, on average, once it takes longer than `read`.
        body: bytes of an answer, once decompressed.
        failures: failures in a row after which a region is left alone for a while.
        rest: seconds that such a pause may take; the first is 2 s, each next one twice as long.

    Raises:
        ValueError: one of them is not a number greater than zero, not a whole one where it counts, or absurd.
    """

    per_region: int = 32
    total: float = 30.0
    connect: float = 5.0
    read: float = 10.0
    rate: float = 1024.0
    body: int = 64 * 2**20
    failures: int = 5
    rest: float = 30.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            whole = name in ("per_region", "body", "failures")
            if not isinstance(value, int if whole else (int, float)) or not 0 < value <= _MOST:
                kind = "greater than zero, and whole" if whole else "greater than zero"
                raise ValueError(f"{name} has to be {kind}; and no more than {_MOST}")


class CallState(Protocol):
    """What a request has to know of the call that it belongs to."""

    sent: int
    """How many requests the call has sent; the pool counts each one that it sends."""

    @property
    def deadline(self) -> Callable[[], float]:
        """Returns when the call has to end, in the event loop's time, as far as is known now."""
        ...


class Response(NamedTuple):
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Road(NamedTuple):
    """What all requests to one region at one origin share."""

    session: aiohttp.ClientSession
    queue: RequestQueue


class SessionPool:
    """Sessions by region and origin, each opened when it is first needed.

    A client has one of its own unless it is given one, which many clients may share. It belongs to the event
    loop in which it is first used, and may be closed in another task than it was opened in.

    Args:
        limits: what a call and a region may take.
        allow_http: whether credentials may go over plain http to hosts other than this machine.
        trust_env: whether accounts without proxies of their own use those of the environment:
            `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in either case. A .netrc file is never read.
    """

    def __init__(
        self, limits: Limits | None = None, *, allow_http: bool = False, trust_env: bool = False
    ) -> None:
        self._limits = limits or Limits()
        self._allow_http = allow_http
        self._trust_env = trust_env
        self._patience = self._limits.connect + self._limits.read  # for an answer's headers
        self._roads: dict[tuple[str, str], _Road] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closed = False
        """Whether it is closed: nothing is sent any more."""

    @property
    def limits(self) -> Limits:
        """What a call and a region may take."""
        return self._limits

    async def exchange(
        self,
        method: Literal["GET", "POST"],
        url: str,
        headers: Mapping[str, str],
        *,
        region: str,
        account: Account,
        call: CallState,
        tenant: Hashable = None,
        data: Secret | None = None,
    ) -> Response:
        """Send one request and return the whole answer, whatever its status.

        Args:
            method: the HTTP method.
            url: the address, already percent-encoded.
            headers: all headers that matter.
            region: the region whose limits hold, or `iam` and the like for the cloud's own services.
            account: whose proxies and TLS settings hold.
            call: the call that it belongs to. What cannot be sent before its deadline is refused at once;
                the deadline itself is not waited for.
            tenant: whom a 429 of the service is about.
            data: the body to send; a secret, as the only one that is sent holds the API key.

        Raises:
            TransportError: no complete answer came.
            AccountError: the address is plain http outside this machine.
            ClientClosed: the pool is closed.
            WrongEventLoop: the pool belongs to another event loop.
        """
        self.check()
        target = URL(url, encoded=True)
        session, queue = self._road(region, target)
        about = target.raw_path_qs if method == "GET" else None
        proxy = None if target.scheme == "http" else self._proxy(account, target)
        async with Slot(queue, tenant, call.deadline, about, call.sent > 0) as slot:
            if self.closed:  # while this one waited for its slot
                raise ClientClosed("the client is closed")
            call.sent += 1
            patience = asyncio.timeout(self._patience)
            failure: QRBackendsError
            try:
                async with (
                    patience,
                    session.request(
                        method,
                        target,
                        headers=headers,
                        data=None if data is None else data.reveal().encode(),
                        allow_redirects=False,
                        proxy=proxy,
                        ssl=account.verify,
                    ) as response,
                ):
                    patience.reschedule(None)  # from here on the body's own limits hold
                    answer = Response(response.status, response.headers, await self._read(response))
                logger.debug("%s %s: %d, %d bytes", method, target, answer.status, len(answer.body))
                queue.answered(slot, answer.status, retry_after(answer.headers))
                return answer
            except TransportError as error:  # our own timeouts are OSErrors, too
                failure = error
            except UnicodeError:
                failure = ConnectError("no connection: no host can have the name in this address")
            except (aiohttp.ClientError, OSError) as error:
                late = patience.expired()
                failure = (
                    ReadTimeout("the answer's headers did not come in time")
                    if late
                    else self._translated(error)
                )
            queue.failed(slot, failure, own=_is_own(failure, proxy))
        # Raised out here: aiohttp's errors hold the request's headers, and with them the token.
        raise failure

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        clock = asyncio.get_running_loop().time
        received, began = 0, clock()
        body = Body(response.headers.get("Content-Encoding", ""), self._limits.body)
        async for chunk in response.content.iter_any():
            body.feed(chunk)
            received += len(chunk)
            passed = clock() - began
            if passed > self._limits.read and received < passed * self._limits.rate:
                raise ReadTimeout(f"the answer comes with less than {self._limits.rate:g} bytes per second")
        return body.finish()

    def stats(self) -> tuple[RegionStats, ...]:
        """Return what was sent to each region until now, in the order in which they were first asked."""
        return tuple(road.queue.stats() for road in self._roads.values())

    async def aclose(self) -> None:
        """Close every connection; who still waits for an answer gets `ClientClosed`.

        Raises:
            WrongEventLoop: the pool belongs to another event loop.
        """
        self.check_loop()
        self.closed = True
        roads, self._roads = self._roads, {}
        for road in roads.values():
            road.queue.close()
        # Tasks of their own, so that each is closed even if whoever closes the pool is cancelled.
        closing = [asyncio.create_task(road.session.close()) for road in roads.values()]
        if closing:
            with anyio.CancelScope(shield=True):
                await asyncio.wait(closing, timeout=_CLOSING)

    async def __aenter__(self) -> Self:
        self.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def check(self) -> None:
        """Raise `ClientClosed` if the pool is closed, and `WrongEventLoop` if it belongs to another one."""
        if self.closed:
            raise ClientClosed("the client is closed")
        if asyncio.get_running_loop() is not self._loop:
            self.check_loop()

    def check_loop(self) -> None:
        """Raise `WrongEventLoop` if the pool belongs to another event loop than the one that runs."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise WrongEventLoop(
                "the client belongs to the event loop in which it was first used; make one for each loop"
            )

    def _road(self, name: str, url: URL) -> _Road:
        origin = f"{url.scheme}://{url.raw_authority}"
        road = self._roads.get((name, origin))
        if road is None:
            if not self._allow_http and is_plain_http(origin):
                raise AccountError(
                    f"{origin} is plain http to another machine, where credentials would be sent in the "
                    "clear; use https, or say allow_http=True"
                )
            road = self._roads[name, origin] = self._open(name)
        return road

    def _open(self, name: str) -> _Road:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),  # tenants share the session
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self._limits.connect, sock_read=self._limits.read
            ),
            auto_decompress=False,
            headers={"Accept-Encoding": ACCEPT_ENCODING},
            trust_env=False,
        )
        # What is sent again is decided and counted in one place, which is not here; aiohttp has no public
        # name for this, and its own test client sets it, too.
        session._retry_connection = False
        circuit = CircuitBreaker(name, self._limits.failures, self._limits.rest)
        return _Road(session, RequestQueue(name, self._limits.per_region, circuit))

    def _proxy(self, account: Account, url: URL) -> str | None:
        """Return the proxy for an https address, the account's or the environment's, as requests does.

        Plain http, and with it everything on this machine, never goes through one.
        """
        proxies: Mapping[str, str] = account.proxies
        if not proxies and self._trust_env:
            proxies = getproxies_environment()
            if proxy_bypass_environment(url.host or "", proxies):
                return None
        candidates = (f"https://{url.host}", "https", f"all://{url.host}", "all")
        return next((proxies[key] for key in candidates if key in proxies), None)

    def _translated(self, error: Exception) -> QRBackendsError:
        """Return our error for aiohttp's; of its text only what the operating system said is kept."""
        if self.closed:
            return ClientClosed("the client was closed during the call")
        match error:
            case aiohttp.ConnectionTimeoutError():
                return ConnectTimeout(f"no connection within {self._limits.connect:g} s")
            case aiohttp.SocketTimeoutError():
                return ReadTimeout(f"no byte for {self._limits.read:g} s")
            case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
                return TLSError("TLS failed: the server's certificate or protocol was not accepted")
            case aiohttp.ClientHttpProxyError():
                return ConnectError(f"the proxy refused the connection (HTTP {error.status})")
            case aiohttp.ClientConnectorError():
                return ConnectError(f"no connection: {error.os_error.strerror or 'unknown host'}")
            case aiohttp.ClientPayloadError():
                return BodyDamaged("the body was cut short or is damaged")
            case aiohttp.ClientConnectionError() | OSError():
                return ConnectionLost("the connection was lost before the answer came")
            case aiohttp.ClientResponseError():
                return TransportError("the answer is not HTTP as it should be")
        return TransportError(f"the request failed: {type(error).__name__}")


def _is_own(failure: QRBackendsError, proxy: str | None) -> bool:
    """Return whether it is a matter of the account's own settings, and says nothing of the region."""
    to_connect = isinstance(failure, (ConnectError, ConnectTimeout))
    return isinstance(failure, TLSError) or (to_connect and proxy is not None)
