"""Requests that are passed on as they are: bodies of any size, in both directions, without buffering."""

import asyncio
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

import aiohttp
from aiohttp import HttpVersion11, web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from ..accounts.account import Account
from ..accounts.secret import Secret
from ..errors import ConnectError, QRBackendsError, ReadTimeout, Unauthorized
from ..surface.wire import Errors
from ..transport.failures import translated
from ..transport.pool import SessionPool
from .bodies import Upload, too_late
from .failures import Failures
from .replies import SERVER, Reply, cache_status, of_error

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
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""The methods that are passed on. TRACE would show the gateway's credential, and CONNECT be a tunnel."""

_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
# What aiohttp reads in a header, and does not send: bytes that are not UTF-8, and control characters.
_LOST = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_ODD = re.compile(r"[/\\\x00-\x1f\x7f]")  # decoded, in a segment


def is_plain(path: str) -> bool:
    """Return whether every server reads a percent-encoded path alike.

    There are no empty segments and none of dots, and no segment hides a slash, a backslash or a control
    character; so what is allowed here is what the service is asked for.
    """
    if not _PATH.fullmatch(path) or "//" in path:
        return False
    return not any(_is_odd(unquote(unquote(segment))) for segment in path.split("/")[1:])


def with_query(url: str, query: str) -> str:
    """Return an address with a query, if there is one; both are percent-encoded."""
    return f"{url}?{query}" if query else url


def _is_odd(segment: str) -> bool:
    return segment in (".", "..") or _ODD.search(segment) is not None


class Relay:
    """Passes requests on, and streams the answers back.

    Args:
        account: the account whose proxies and TLS settings are used.
        pool: tells by which proxy an address is asked.
        errors: makes error answers.
        failures: the log of failures.
        own: whether the credential that the service gets is the gateway's own.
    """

    def __init__(
        self, account: Account, pool: SessionPool, errors: Errors, failures: Failures, *, own: bool
    ) -> None:
        self._account = account
        self._pool = pool
        self._errors = errors
        self._failures = failures
        self._own = own
        self._session: aiohttp.ClientSession | None = None

    async def reply(
        self,
        request: web.BaseRequest,
        url: str,
        region: str,
        authorization: Secret | None,
        *,
        crn: str | None = None,
        rejected: Callable[[Secret], bool] | None = None,
        body: bytes | None = None,
    ) -> Reply | web.StreamResponse:
        """Send a request to an address, and return its answer, which has been streamed, or what failed.

        Args:
            request: the request.
            url: the address, percent-encoded.
            region: what the log of failures calls the service at the address.
            authorization: the value of the `Authorization` header; None for none.
            crn: the instance that the caller may use; None for an address that has none.
            rejected: called with the authorization after a 401; returns whether the caller gets it not.
            body: the request's body, if it has been read; or else it is read while it is sent.

        Raises:
            Refused: the body does not come, or a header cannot be passed on as it is.
        """
        for name, value in passed_on(request.headers).items():
            if _LOST.search(value):
                why = f"The header {name} is not UTF-8, and cannot be passed on as it is."
                raise self._errors.refuse(400, why)
        upload = Upload(request, _SILENCE)
        try:
            return await self._passed_on(request, url, authorization, crn, rejected, body, upload)
        except QRBackendsError as error:
            if upload.is_awaited and isinstance(error, ReadTimeout):
                raise too_late(self._errors) from None
            self._failures.note(region, error)
            return of_error(error, self._errors, own=self._own)

    async def _passed_on(
        self,
        request: web.BaseRequest,
        url: str,
        authorization: Secret | None,
        crn: str | None,
        rejected: Callable[[Secret], bool] | None,
        body: bytes | None,
        upload: Upload,
    ) -> web.StreamResponse:
        """Return the answer that was streamed.

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
        streamed = upload.chunks() if body is None and request.can_read_body else None
        failure: QRBackendsError
        try:
            async with upload.sending():
                answer = await session.request(
                    request.method,
                    target,
                    headers=sent,
                    data=streamed or body,
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
                return await _streamed(request, answer)
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


async def _streamed(request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Send an answer on as it comes; a body that is cut short ends the caller's connection, too."""
    kept = passed_on(answer.headers).items()
    headers = CIMultiDict((name, value) for name, value in kept if not _LOST.search(value))
    headers["Cache-Status"] = cache_status("bypass")
    headers.update(SERVER)
    reason = _LOST.sub("", answer.reason or "")
    response = web.StreamResponse(status=answer.status, reason=reason, headers=headers)
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
