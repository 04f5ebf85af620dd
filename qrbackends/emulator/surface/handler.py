"""The HTTP handler of every port: it checks Host, logs, applies faults, and sends the answers."""

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from email.utils import formatdate
from typing import Any, Protocol

import msgspec
from aiohttp import web

from ...accounts.urls import is_loopback
from ...surface.hosts import loopback_name
from ...surface.wire import (
    EMULATED,
    Answer,
    Call,
    Document,
    Errors,
    Refused,
    json_answer,
    merged,
    split_target,
)
from . import actions as kinds
from .actions import Action, gzip_bomb
from .faults import Fault, Faults
from .log import LoggedRequest, RequestLog

HEALTH = "/health"
"""The path at which each port tells that it runs, whoever asks and by whatever name.

Such requests are not logged, and have no faults.
"""

ADDRESSES = "/emulator"
"""The path at which each port tells programs on the same machine the emulator's addresses, key and instances.

Such requests are not logged, and have no faults: they are not part of what is emulated.
"""

_HEALTHY = json_answer({"status": "ok"}, headers={"Cache-Control": "no-store"})
_RST_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 seconds


class Service(Protocol):
    """What answers the requests to a port."""

    @property
    def region(self) -> str:
        """The region's name, or `cloud`."""
        ...

    def classify(self, path: str) -> tuple[str | None, str | None]:
        """Return the resource and the backend that a percent-encoded path names, or None for either."""
        ...

    async def answer(self, call: Call) -> Answer:
        """Return the answer to a call, or raise `Refused` with an error answer."""
        ...


class Handler:
    """A handler for aiohttp's low-level server.

    Args:
        service: answers the requests.
        is_own: returns whether a Host header is one of this port.
        faults: the emulator's faults.
        log: the emulator's log.
        errors: makes error bodies.
        clock: the time in Unix seconds, for the answers' dates.
        addresses: returns what is told at `ADDRESSES`; its argument is the host that the URLs shall have.
    """

    def __init__(
        self,
        service: Service,
        is_own: Callable[[str], bool],
        faults: Faults,
        log: RequestLog,
        errors: Errors,
        clock: Callable[[], float],
        addresses: Callable[[str], Any],
    ) -> None:
        self._service = service
        self._is_own = is_own
        self._faults = faults
        self._log = log
        self._errors = errors
        self._clock = clock
        self._addresses = addresses

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        host, path, query = split_target(request.raw_path)
        if path == HEALTH and request.method in ("GET", "HEAD"):
            return _response(self._signed(_HEALTHY), takes_gzip=False)
        if path == ADDRESSES and request.method == "GET":
            told = self._told(request.remote or "", host or request.headers.get("Host", ""))
            return _response(self._signed(told), takes_gzip=False)
        call = Call(request.method, path, query, request.headers, host or request.headers.get("Host", ""))
        resource, backend = self._service.classify(path)
        number = self._log.arrived(self._record(call, resource, backend, request.raw_path))
        fault = self._faults.take(resource, backend, self._service.region)
        response = None
        try:
            response = await self._respond(request, call, fault)
        except ConnectionError:  # the client left, perhaps while it was held
            pass
        finally:
            self._log.answered(number, None if response is None else response.status)
        # aiohttp needs a response even if the connection is closed; then it is not sent.
        return web.Response() if response is None else response

    def _told(self, peer: str, host: str) -> Answer:
        """Return the emulator's addresses, to programs on this machine that ask by one of its own names.

        No page of another site can do so, even if its name resolves to this machine (DNS rebinding).
        """
        name = loopback_name(host)
        if name is None or not self._is_own(host) or not is_loopback(peer.removeprefix("::ffff:")):
            return self._errors.answer(403, "Only programs on the same machine are told this.")
        return json_answer(self._addresses(name), headers={"Cache-Control": "no-store"})

    def _record(self, call: Call, resource: str | None, backend: str | None, path_qs: str) -> LoggedRequest:
        return LoggedRequest(
            region=self._service.region,
            resource=resource,
            backend=backend,
            method=call.method,
            path_qs=path_qs,
            auth=call.credentials[0],
            crn=call.headers.get("Service-CRN"),
            gzip=call.takes_gzip,
            if_none_match=call.headers.get("If-None-Match"),
            if_modified_since=call.headers.get("If-Modified-Since"),
            version=call.headers.get("IBM-API-Version"),
        )

    async def _respond(
        self, request: web.BaseRequest, call: Call, fault: Fault | None
    ) -> web.StreamResponse | None:
        """Return the response of the fault or the service; None if the connection was closed instead."""
        action = fault.action if fault else None
        if isinstance(action, kinds.Hold) and fault:
            await fault.released()
        elif isinstance(action, kinds.Delay):
            await asyncio.sleep(action.seconds)
        elif (scripted := await self._scripted(action, call)) is not None:
            return _response(self._signed(scripted[0]), scripted[1])
        match action:
            case kinds.Reset():
                _reset(request)
                return None
            case kinds.Endless():
                return await _send_endlessly(request)
        answer = self._signed(await self._answer(request, call))
        match action:
            case kinds.Truncate(gzip, keep):
                return await _send_cut(request, answer, gzip, keep)
            case kinds.Drip(interval, size, head):
                return await _send_slowly(request, answer, interval, size, head)
            case kinds.WithHeaders(headers):
                answer = answer.with_headers(headers)
        return _response(answer, call.takes_gzip)

    def _signed(self, answer: Answer) -> Answer:
        """Return an answer with the emulator's mark and, unless it has one, the date of its clock."""
        date = {"Date": formatdate(self._clock(), usegmt=True)}
        return replace(answer, headers=merged(date, answer.headers) | EMULATED)

    async def _scripted(self, action: Action | None, call: Call) -> tuple[Answer, bool] | None:
        """Return the answer of a fault that gives one, and whether it may be compressed; otherwise None."""
        match action:
            case kinds.Status(status, headers, body, raw):
                return self._error(status, headers, body if raw is None else raw), call.takes_gzip
            case kinds.RateLimit(retry_after=seconds):
                headers = {} if seconds is None else {"Retry-After": str(seconds)}
                return self._error(429, headers, None), call.takes_gzip
            case kinds.NotModified(etag):
                headers = {} if etag is None else {"ETag": etag}
                return Answer(304, Document(b""), headers, content_type=None), False
            case kinds.Redirect(url, status):
                return Answer(status, Document(b""), {"Location": url}), False
            case kinds.Garbage(body, content_type):
                return Answer(200, Document(body), {}, content_type), False
            case kinds.Bomb(size):
                packed = await asyncio.to_thread(gzip_bomb, size)
                return Answer(200, Document(packed), {"Content-Encoding": "gzip"}), False
        return None

    async def _answer(self, request: web.BaseRequest, call: Call) -> Answer:
        if not self._is_own(call.host):
            return self._errors.answer(421, "This server does not answer for that host.")
        try:
            return await self._service.answer(replace(call, body=await request.read()))
        except web.HTTPRequestEntityTooLarge:
            return self._errors.answer(413, "The body is too large.")
        except Refused as refused:
            return refused.answer

    def _error(self, status: int, headers: Mapping[str, str], body: kinds.ErrorBody) -> Answer:
        if body is None:
            return self._errors.answer(status, "A scripted fault of the emulator.", headers=headers)
        if isinstance(body, str):
            return Answer(status, Document(body.encode()), headers, "text/html; charset=utf-8")
        return Answer(
            status, Document(body if isinstance(body, bytes) else msgspec.json.encode(body)), headers
        )


def _response(answer: Answer, takes_gzip: bool) -> web.Response:
    body, headers = answer.encoded(takes_gzip)
    return web.Response(status=answer.status, body=body, headers=headers)


async def _send_cut(
    request: web.BaseRequest, answer: Answer, gzip: bool, keep: float
) -> web.StreamResponse | None:
    """Send a part of the body; return the response, or None if it ends with a closed connection."""
    if gzip:
        packed = answer.document.pack()
        cut = packed[: min(int(len(packed) * keep), len(packed) - 1)]
        headers = {"Content-Encoding": "gzip", **answer.headers}
        return _response(Answer(answer.status, Document(cut), headers, answer.content_type), False)
    body, headers = answer.encoded(False)
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: min(int(len(body) * keep), len(body) - 1)])
    if request.transport is not None:
        request.transport.close()  # after sending what is buffered
    return None


async def _send_slowly(
    request: web.BaseRequest, answer: Answer, interval: float, size: int, head: bool
) -> web.StreamResponse | None:
    """Send an answer in small pieces; return the response, or None if the connection is closed."""
    body, headers = answer.encoded(False)
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.content_length = len(body)
    if head:
        lines = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
        pieces = _pieces(f"HTTP/1.1 {answer.status} OK\r\n{lines}\r\n".encode() + body, size)
    else:
        await response.prepare(request)
        pieces = _pieces(body, size)
    for piece in pieces:
        transport = request.transport
        if transport is None or transport.is_closing():
            return None
        if head:
            transport.write(piece)
        else:
            await response.write(piece)
        await asyncio.sleep(interval)
    if head and request.transport is not None:
        request.transport.close()
    return None if head else response


def _pieces(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


async def _send_endlessly(request: web.BaseRequest) -> web.StreamResponse | None:
    """Send blanks until the client closes the connection; return None."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", **EMULATED})
    await response.prepare(request)
    try:
        while request.transport is not None and not request.transport.is_closing():
            await response.write(b" " * 65536)
    except ConnectionError:
        pass
    return None


def _reset(request: web.BaseRequest) -> None:
    """Close the connection with a TCP reset."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        transport.abort()
