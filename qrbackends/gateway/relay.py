"""Requests that are passed on as they are: bodies of any size, in both directions, without buffering."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final
from urllib.parse import unquote

import aiohttp
from aiohttp import HttpVersion11, web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from ..accounts.account import Account
from ..accounts.secret import Secret
from ..errors import ConnectError, QRBackendsError, ReadTimeout, Unauthorized
from ..transport.failures import translated
from ..transport.pool import SessionPool
from .replies import cache_status

_CONNECT: Final = 5.0  # seconds
_SILENCE: Final = 300.0  # seconds without a byte of the service; a job's result may take its time
_HOP: Final = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
"""The headers that are about one connection, and are not passed on (RFC 9110, section 7.6.1)."""

# Cookies are the gateway's own affair: of the service's, one caller must not get another's.
_OURS: Final = frozenset(("host", "authorization", "expect", "forwarded", "via", "cookie", "set-cookie"))
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
_ODD = re.compile(r"[/\\\x00-\x1f\x7f]")  # decoded, in a segment


def is_plain(path: str) -> bool:
    """Return whether every server reads a percent-encoded path alike.

    There are no empty segments and none of dots, and no segment hides a slash, a backslash or a control
    character; so what is allowed here is what the service is asked for.
    """
    if not _PATH.fullmatch(path) or "//" in path:
        return False
    return not any(_is_odd(unquote(unquote(segment))) for segment in path.split("/")[1:])


def _is_odd(segment: str) -> bool:
    return segment in (".", "..") or _ODD.search(segment) is not None


class Relay:
    """Passes requests on, and streams the answers back.

    Args:
        account: the account whose proxies and TLS settings are used.
        pool: tells by which proxy an address is asked.
    """

    def __init__(self, account: Account, pool: SessionPool) -> None:
        self._account = account
        self._pool = pool
        self._session: aiohttp.ClientSession | None = None

    async def pass_on(
        self,
        request: web.BaseRequest,
        url: str,
        authorization: Secret | None,
        crn: str | None = None,
        extra: Mapping[str, str] | None = None,
        rejected: Callable[[Secret], bool] | None = None,
    ) -> web.StreamResponse:
        """Send a request to an address, and its answer to the caller.

        Args:
            request: the request; its body is read while it is sent.
            url: the address, percent-encoded.
            authorization: the value of the `Authorization` header; None for none.
            crn: the instance that the caller may use; None for an address that has none.
            extra: further headers of the answer.
            rejected: called with the authorization after a 401; returns whether the caller gets it not.

        Raises:
            Unauthorized: the service answered with a 401 that the caller does not get.
            QRBackendsError: no answer began.
        """
        session, target = self._opened(), URL(url, encoded=True)
        proxy = self._pool.proxy(self._account, target)
        sent = passed_on(request.headers)
        if authorization is not None:
            sent["Authorization"] = authorization.reveal()
        if crn is not None:  # also if the caller's `Connection` names the header, which takes it away
            sent["Service-CRN"] = crn
        failure: QRBackendsError
        try:
            answer = await session.request(
                request.method,
                target,
                headers=sent,
                data=_body(request) if request.can_read_body else None,
                allow_redirects=False,
                ssl=self._account.verify,
                proxy=proxy,
            )
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            failure = self._failure(error, url)
        else:
            try:
                if answer.status == 401 and authorization and rejected and rejected(authorization):
                    raise Unauthorized("the service refused the token", 401)
                return await _streamed(request, answer, extra or {})
            finally:
                answer.close()
        raise failure  # outside `except`: aiohttp's errors hold the headers, among them the token

    async def aclose(self) -> None:
        """Close all connections to the service."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_SILENCE),
                auto_decompress=False,
                trust_env=False,
                skip_auto_headers=("User-Agent", "Accept-Encoding", "Content-Type", "Accept"),
            )
            # A request whose body was read cannot be sent again; no public name switches this off.
            self._session._retry_connection = False
        return self._session

    def _failure(self, error: Exception, url: str) -> QRBackendsError:
        if isinstance(error, ValueError):
            return ConnectError("the request cannot be sent")
        if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
            return ReadTimeout("the service did not answer in time")
        return translated(error, tls=url.startswith("https:"), proxy=None, connect=_CONNECT, read=_SILENCE)


def passed_on(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """Return the headers that are passed on: all but those of the connection, and those set anew."""
    named = {name.strip().lower() for value in headers.getall("Connection", ()) for name in value.split(",")}
    left_out = _HOP | _OURS | named
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in left_out)


async def _body(request: web.BaseRequest) -> AsyncIterator[bytes]:
    expects = request.headers.get("Expect", "").lower() == "100-continue"
    if expects and not isinstance(request, web.Request) and request.transport is not None:  # else aiohttp did
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    async for chunk in request.content.iter_any():
        yield chunk


async def _streamed(
    request: web.BaseRequest, answer: aiohttp.ClientResponse, extra: Mapping[str, str]
) -> web.StreamResponse:
    """Send an answer on as it comes; a body that is cut short ends the caller's connection, too."""
    headers = passed_on(answer.headers)
    headers["Cache-Status"] = cache_status("bypass")
    headers.update(extra)
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    length = answer.headers.get("Content-Length")
    bodiless = request.method == "HEAD" or answer.status in (204, 304)
    if length is None and not bodiless and request.version >= HttpVersion11:
        response.enable_chunked_encoding()
    await response.prepare(request)
    if bodiless:
        return response
    try:
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
    except (TimeoutError, aiohttp.ClientError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()
        return response
    except asyncio.CancelledError:
        if request.transport is not None:
            request.transport.abort()
        raise
    await response.write_eof()
    return response
