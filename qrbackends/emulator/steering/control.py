"""The control API: an emulator steered over HTTP from any language."""

import hmac
import secrets
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from msgspec import Struct

from ...surface.wire import split_target
from ..devices.invalid import UnknownName, located
from ..surface.ports import Port
from .control_description import description
from .operations import WORDS, AnyOperation

if TYPE_CHECKING:
    from .steering import Steering

_JSON = "application/json"
_LINES = "application/jsonl"
_OPERATION: msgspec.json.Decoder[AnyOperation] = msgspec.json.Decoder(AnyOperation)


class Problem(Struct, frozen=True, omit_defaults=True):
    """Problem details (RFC 9457).

    Attributes:
        title: the phrase of the HTTP status.
        status: the HTTP status.
        detail: what is wrong.
        field: the path of the field in the request that is wrong, such as `action.seconds`.
    """

    title: str
    status: int
    detail: str
    field: str | None = None


class _Refusal(Exception):
    def __init__(self, status: HTTPStatus, detail: str, field: str | None = None, **headers: str) -> None:
        super().__init__(detail)
        self.problem = Problem(status.phrase, status.value, detail, field or None)
        self.headers = headers


class Control:
    """The control API of an emulator, at a port of its own on loopback.

    It answers requests with its token only, by its own name, and none that a page of another origin sends.

    Args:
        emulator: the emulator.
        number: the port; 0 takes a free one.

    Attributes:
        token: the token, another one each time.
        port: the port.

    Raises:
        OSError: the port is taken; the error names the address.
    """

    def __init__(self, emulator: "Steering", number: int = 0) -> None:
        self.token = secrets.token_urlsafe(32)
        self._emulator = emulator
        self._is_own: Callable[[str], bool]
        self.port = Port("127.0.0.1", number, self._handler)
        self._routes: dict[str, dict[str, Callable[[web.BaseRequest], Awaitable[web.Response]]]] = {
            "/state": {"GET": self._state},
            "/journal": {"GET": self._journal},
            "/do": {"POST": self._do},
            "/openapi.json": {"GET": self._described},
        }

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self.port.netloc}"

    async def start(self) -> None:
        """Answer requests."""
        await self.port.start()

    def _handler(self, is_own: Callable[[str], bool]) -> Callable[[web.BaseRequest], Awaitable[web.Response]]:
        self._is_own = is_own
        return self._answer

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        try:
            self._check(request)
            methods = self._routes.get(request.path)
            if methods is None:
                raise _Refusal(HTTPStatus.NOT_FOUND, f"There are {', '.join(self._routes)}.")
            if request.method not in methods:
                allowed = ", ".join(methods)
                raise _Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"It takes {allowed}.", Allow=allowed)
            return await methods[request.method](request)
        except _Refusal as refusal:
            body = msgspec.json.encode(refusal.problem)
            headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
            return web.Response(status=refusal.problem.status, body=body, headers=headers | refusal.headers)

    def _check(self, request: web.BaseRequest) -> None:
        """Refuse what comes by another name, from another origin, or without the token."""
        host, _, _ = split_target(request.raw_path)
        if not self._is_own(host or request.headers.get("Host", "")):
            raise _Refusal(HTTPStatus.MISDIRECTED_REQUEST, "This server does not go by this name.")
        origin = request.headers.get("Origin")
        if origin is not None and not self._is_own(origin.removeprefix("http://")):
            raise _Refusal(HTTPStatus.FORBIDDEN, "Pages of other origins have no access.")
        if request.path == "/openapi.json":
            return
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = token.strip().encode(errors="surrogateescape")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given, self.token.encode()):
            challenge = {"WWW-Authenticate": "Bearer"}
            raise _Refusal(
                HTTPStatus.UNAUTHORIZED,
                "Send the control API's token as Authorization: Bearer.",
                "Authorization",
                **challenge,
            )

    async def _state(self, request: web.BaseRequest) -> web.Response:
        return _response(msgspec.json.encode(self._emulator.state()))

    async def _journal(self, request: web.BaseRequest) -> web.Response:
        return _response(self._emulator.journal(), _LINES)

    async def _described(self, request: web.BaseRequest) -> web.Response:
        return _response(msgspec.json.encode(description(self.url)))

    async def _do(self, request: web.BaseRequest) -> web.Response:
        try:
            operation = _OPERATION.decode(await request.read())
        except web.HTTPRequestEntityTooLarge:
            raise _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large.") from None
        except msgspec.ValidationError as error:
            path, why = located(error, WORDS)
            raise _Refusal(HTTPStatus.BAD_REQUEST, why, path) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _Refusal(HTTPStatus.BAD_REQUEST, f"The body has to be a JSON object: {error}") from None
        try:
            result = await operation.run(self._emulator)
        except UnknownName as error:
            raise _Refusal(HTTPStatus.NOT_FOUND, str(error), error.field) from None
        except TimeoutError:
            raise _Refusal(HTTPStatus.GATEWAY_TIMEOUT, "It did not happen in time.", "timeout") from None
        except (OSError, RuntimeError, ValueError) as error:
            raise _Refusal(HTTPStatus.CONFLICT, str(error)) from None
        return web.Response(status=204) if result is None else _response(msgspec.json.encode(result))


def _response(body: bytes, content_type: str = _JSON) -> web.Response:
    return web.Response(body=body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})
