"""The pool: one aiohttp session per region, with limits, deadlines and typed errors."""

import asyncio
import logging
import weakref
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import lru_cache
from types import TracebackType
from typing import Any, Literal, NamedTuple, Protocol, Self
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

import aiohttp
import anyio
from aiohttp.hdrs import HOST
from aiohttp.typedefs import LooseHeaders
from msgspec import Struct
from multidict import CIMultiDict, istr
from yarl import URL

from ..accounts.account import Account
from ..accounts.secret import Secret
from ..accounts.urls import checked_proxy, is_plain_http, is_socks
from ..errors import (
    AccountError,
    BodyTooLarge,
    ClientClosed,
    ConnectError,
    QRBackendsError,
    ReadTimeout,
    TransportError,
)
from ..messages.extras import install
from ..protocol.headers import USER_AGENT, retry_after
from ..protocol.lengths import ERROR_BYTES
from ..tasks.loops import LoopBound
from ..tasks.misuse import AsyncContext
from .abandoned import close_at_once, collected
from .body import ACCEPT_ENCODING, Body, Wire
from .breaker import CircuitBreaker
from .connector import Connector
from .failures import is_own, located, translated, whose
from .limits import Limits
from .queue import RequestQueue, Slot
from .traffic import RegionStats

logger = logging.getLogger("qrbackends.pool")

_KEEPALIVE = 75.0  # seconds; longer than a polling interval, so that polls reuse their connections
_CLOSING = 5.0  # seconds that connections have to shut down
_ENCODING = istr("Content-Encoding")  # found faster than a `str`
_COMMON_HEADERS = {
    istr("Accept"): "application/json",
    istr("Accept-Encoding"): ACCEPT_ENCODING,
    istr("User-Agent"): USER_AGENT,
}


class CallState(Protocol):
    """The part of a call's state that the pool needs for one of its requests."""

    sent: int
    """How many requests the call has sent; the pool counts each one that it sends."""

    @property
    def deadline(self) -> Callable[[], float]:
        """A function that returns when the call has to end, in the event loop's time, as it is known now."""
        ...


class Response(Struct, frozen=True):
    """A complete answer.

    Attributes:
        status: the HTTP status.
        headers: the headers; a case-insensitive mapping.
        body: the body, decompressed; empty if it is the known one.
        wire: the body as it came; the known one itself, if it is the same body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    wire: Wire = Wire(b"")


class _Request(aiohttp.ClientRequest):
    """A request with the headers that all have; aiohttp would merge them one by one for each request."""

    def update_headers(self, headers: LooseHeaders | None) -> None:
        """Set all headers; `Host` comes first (RFC 9110, section 7.2)."""
        self.headers = made = CIMultiDict({HOST: self.url.host_port_subcomponent or ""})
        made.update(_COMMON_HEADERS)
        made.update(headers or ())

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        """Add nothing: `update_headers` has set them."""


class _Region(NamedTuple):
    """The session, its connector and the queue of all requests to one region at one origin."""

    session: aiohttp.ClientSession
    connector: Connector
    queue: RequestQueue


class SessionPool(LoopBound, AsyncContext):
    """Sessions by region and origin; each is opened when it is first needed.

    Each client makes its own pool unless it is given one; many clients may share one pool. A pool belongs to
    the event loop and the process in which it is first used. It may be closed in another task than the one
    that opened it.

    Args:
        limits: the limits of a call and of a region; by default `Limits()`.
        allow_http: whether credentials may go over plain http to hosts other than this machine.
        trust_env: whether accounts that name no proxies use those of the environment variables `HTTPS_PROXY`,
            `ALL_PROXY` and `NO_PROXY`, in upper or lower case. A .netrc file is never read.
    """

    def __init__(
        self, limits: Limits | None = None, *, allow_http: bool = False, trust_env: bool = False
    ) -> None:
        self._limits = limits or Limits()
        self._allow_http = allow_http
        self._trust_env = trust_env
        self._regions: dict[tuple[str, str, str | None], _Region] = {}  # by region, origin and SOCKS proxy
        self._queues: dict[tuple[str, str], RequestQueue] = {}  # by region and origin; kept after the closing
        # The sessions are kept until the callback has run, at the program's exit at the latest: otherwise
        # aiohttp would warn of each of them, and not say what to do.
        weakref.finalize(self, collected, self._regions)
        self.closed = False
        """Whether the pool is closed; a closed pool sends nothing."""

    @property
    def limits(self) -> Limits:
        """The limits of a call and of a region."""
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
        most: int | None = None,
        known: Wire | None = None,
    ) -> Response:
        """Send one request and return the complete answer, whatever its status.

        Args:
            method: the HTTP method.
            url: the address, percent-encoded.
            headers: the headers of this request, besides those that all have.
            region: the region whose limits apply; `iam`, `search`, `catalog` and `versions` have limits of
                their own.
            account: the account whose proxies and TLS settings are used.
            call: the state of the call that the request belongs to. A request that cannot be sent before the
                call's deadline is refused at once. This method does not end itself at the deadline.
            tenant: the key of the rate limit: a 429 slows down the region's requests with the same key.
            data: the body to POST; a secret, because it may hold the API key.
            most: the most bytes that the answer may have; the limit of all answers holds, too.
            known: the body of an earlier answer; an equal one is not decompressed.

        Raises:
            QRBackendsError: no complete answer arrived, or the request was not sent.
            AccountError: the address is plain http to another machine.
            ClientClosed: the pool is closed.
            WrongEventLoop: the pool belongs to another event loop or process.
        """
        if self.closed or asyncio.get_running_loop() is not self._loop:  # else it has nothing to say
            self.check()
        target, origin = _address(url)
        proxy = None if origin.startswith("http:") else self._proxy(account, target)
        socks = proxy if proxy is not None and is_socks(proxy) else None
        place = region, origin, socks
        session, _, queue = self._regions.get(place) or self._open(place)
        about = url if method == "GET" else None
        slot = Slot(tenant, call.deadline, about, call.sent > 0)
        if not queue.enters_at_once(slot):
            try:
                await queue.enter(slot)
            except QRBackendsError as refusal:
                located(refusal, region, target)
                raise
        try:
            if self.closed:  # it was closed while this request waited for its slot
                raise ClientClosed("the client is closed")
            call.sent += 1
            failure: QRBackendsError
            try:
                response = await session.request(
                    method,
                    target,
                    headers=headers,
                    data=None if data is None else data.reveal().encode(),
                    allow_redirects=False,
                    proxy=None if socks else proxy,
                    ssl=account.verify,
                )
                try:
                    body, wire = await self._read(response, most, known)
                finally:
                    if not response.closed:  # as it is once the body has been read to its end
                        response.release()
                answer = Response(response.status, response.headers, body, wire)
                if logger.isEnabledFor(logging.DEBUG):
                    logger.debug("%s %s: %d, %d bytes", method, target, answer.status, len(wire.data))
                pause = None if answer.status == 200 else retry_after(answer.headers)
                queue.answered(slot, answer.status, pause)
                return answer
            except TransportError as error:  # before OSError: our own timeouts are OSErrors, too
                failure = error.again()
            except UnicodeError:
                failure = ConnectError("no connection: no host can have the name in this address")
            except (aiohttp.ClientError, OSError) as error:
                failure = self._failure(error, target, proxy)
            queue.failed(slot, failure, own=is_own(failure, proxy))
        finally:
            queue.leave(slot)
        # Raised outside `except`, and without an earlier traceback: aiohttp's errors and frames hold the
        # request's headers, among them the token.
        raise located(failure, region, target)

    async def _read(
        self, response: aiohttp.ClientResponse, most: int | None, known: Wire | None
    ) -> tuple[bytes, Wire]:
        """Return the body, decompressed and as it came; of an error's body only the beginning."""
        good, limits = response.status == 200, self._limits
        limit = limits.body if most is None or most > limits.body else most
        if not good:
            limit, known = min(limit, ERROR_BYTES), None
        encoding, content = response.headers.get(_ENCODING, ""), response.content
        body = Body(encoding, limit, known) if encoding or known is not None else None
        chunk = await content.readany()
        if body is None:
            if content.at_eof() and len(chunk) <= limit:
                return chunk, Wire(chunk)  # as most small answers come: whole, plain and new
            body = Body("", limit)
        received, began, clock = 0, None, asyncio.get_running_loop().time
        while True:  # iterating over the chunks would take twice the time for a single one
            try:
                body.feed(chunk)
            except BodyTooLarge:
                if good:
                    raise
                response.close()  # the rest is not read
                return body.begun(), body.wire
            if content.at_eof():
                return body.finish(), body.wire
            now = clock()
            began = now if began is None else began  # small answers end before, and need no clock
            received += len(chunk)
            passed = now - began
            if passed > limits.read and received < passed * limits.rate:
                raise ReadTimeout(f"the answer comes with less than {limits.rate:g} bytes per second")
            chunk = await content.readany()

    def retire_connections(self, region: str, url: str) -> None:
        """Use no open connection of a region again: one brought what is no answer to its request."""
        origin = _address(url)[1]
        for key, opened in self._regions.items():
            if key[:2] == (region, origin):
                opened.connector.retire()

    def stats(self) -> tuple[RegionStats, ...]:
        """Return the counts of the requests to each region, in the order of the first requests.

        Any thread may call it, and it can be called after the closing.
        """
        return tuple(queue.stats() for queue in self._queues.copy().values())

    async def aclose(self) -> None:
        """Close every connection; calls that are in flight end with `ClientClosed`.

        Raises:
            WrongEventLoop: the pool belongs to another process, or to another event loop that still lives.
        """
        has_ended = self.has_ended()
        if not has_ended:
            self.check_loop()
        self.closed = True
        regions = list(self._regions.values())
        self._regions.clear()
        if has_ended:  # no call is in flight
            close_at_once(regions)
            return
        for queue in self._queues.values():
            queue.close()
        # One task for each session, so that all are closed even if this task is cancelled.
        closing = [asyncio.create_task(region.session.close()) for region in regions]
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
        """Raise `ClientClosed` if the pool is closed, `WrongEventLoop` if it cannot be used here."""
        if self.closed:
            raise ClientClosed("the client is closed")
        self.check_loop()

    def leave_to_parent(self) -> None:
        """Refuse every use, and let go of the connections, which the parent goes on using."""
        super().leave_to_parent()
        for region in self._regions.values():
            region.connector.leave_to_parent()
            region.session.detach()

    def _open(self, place: tuple[str, str, str | None]) -> _Region:
        """Open the session for a region's origin and a SOCKS proxy; return it, and the origin's queue.

        Raises:
            AccountError: the address is plain http to another machine, or the extra `socks` is missing.
        """
        name, origin, socks = place
        self._check_encryption(origin)
        connect, read = self._limits.connect, self._limits.read
        options = {"connect": connect, "read": read, "limit": 0, "keepalive_timeout": _KEEPALIVE}
        connector = Connector(**options) if socks is None else _through_socks(socks, options)
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),  # tenants share the session, but no cookies
            timeout=aiohttp.ClientTimeout(total=None),  # `Connector` has timeouts of its own
            auto_decompress=False,
            request_class=_Request,
            trust_env=False,
        )
        # `RetryState` decides and counts what is sent again, so aiohttp must not retry by itself. There is no
        # public name for this switch; aiohttp's own test client sets it, too.
        session._retry_connection = False
        queue = self._queues.get((name, origin))
        if queue is None:
            circuit = CircuitBreaker("it", self._limits.failures, self._limits.rest)
            host = whose(name, URL(origin))
            queue = RequestQueue(name, self._limits.per_region, circuit, host=host)
            self._queues[name, origin] = queue
        region = self._regions[place] = _Region(session, connector, queue)
        return region

    def _check_encryption(self, origin: str) -> None:
        if not self._allow_http and is_plain_http(origin):
            raise AccountError(
                f"{origin} is plain http to another machine, where credentials would be sent in the "
                "clear; use https, or say allow_http=True"
            )

    def proxy(self, account: Account, url: URL) -> str | None:
        """Return the proxy by which an address is asked, or None; for requests that another session sends.

        Raises:
            AccountError: the address is plain http to another machine, or the proxy is of no known kind, or
                one for SOCKS.
        """
        self._check_encryption(f"{url.scheme}://{url.raw_authority}")
        found = None if url.scheme == "http" else self._proxy(account, url)
        if found is not None and is_socks(found):
            raise AccountError("what is only passed on cannot go through a SOCKS proxy")
        return found

    def _proxy(self, account: Account, url: URL) -> str | None:
        """Return the proxy for an https address, or None. The rules are those of the library `requests`.

        The account's proxies come first, then those of the environment. Plain http never uses a proxy.

        Raises:
            AccountError: the environment's proxy is of no known kind.
        """
        proxies: Mapping[str, str] = account.proxies
        if not proxies:
            if not self._trust_env:
                return None
            proxies = getproxies_environment()
            if proxy_bypass_environment(url.host or "", proxies):
                return None
        candidates = (f"https://{url.host}", "https", f"all://{url.host}", "all")
        return next((checked_proxy(key, proxies[key]) for key in candidates if key in proxies), None)

    def _failure(self, error: Exception, url: URL, proxy: str | None) -> QRBackendsError:
        """Return our error for one of aiohttp's."""
        if self.closed:
            return ClientClosed("the client was closed during the call")
        connect, read = self._limits.connect, self._limits.read
        return translated(error, tls=url.scheme == "https", proxy=proxy, connect=connect, read=read)


@lru_cache(1024)
def _address(url: str) -> tuple[URL, str]:
    """Return an address, percent-encoded, as a URL, and its origin; yarl keeps no more than 128."""
    target = URL(url, encoded=True)
    return target, f"{target.scheme}://{target.raw_authority}"


def _through_socks(proxy: str, options: Mapping[str, Any]) -> Connector:
    try:
        from .socks import SocksConnector  # imported here, as few accounts need the extra
    except ImportError:
        raise AccountError(
            f"the account's proxy is a SOCKS proxy, which needs an extra: {install(['socks'])}"
        ) from None
    return SocksConnector(proxy, **options)
