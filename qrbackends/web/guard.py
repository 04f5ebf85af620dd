"""Access to a stand-alone server: checks of the Host header, and of a token where one is demanded."""

import hashlib
import hmac
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from ..accounts.secret import Secret
from ..accounts.urls import is_loopback
from .bodies import BodyRefused, read_body
from .pages import page
from .problems import problem
from .responses import ProblemResponse

COOKIE = "qrbackends_session"
LOGIN = "/login"
_OPEN = "/static/"  # the package's own files, which are public
# The address of IPv6 in brackets, and without a zone, which is another machine's (RFC 3986, section 3.2.2).
_HOST = re.compile(r"(?:(?P<name>[^:\[\]]+)|\[(?P<v6>[0-9a-f:.]+)\])(?::[0-9]{0,5})?")
_MAX_FORM = 4096  # bytes
_SESSION = b"qrbackends/session/v1"


class Guard:
    """An ASGI app that wraps another one and checks each request.

    The Host header has to be an address, `localhost` or one of `hosts`. So no web page can read the server
    through a name of its own that it points to this machine (DNS rebinding). A request that a web page sends,
    which its Origin header tells, has to come from a page of this machine or of the host that is asked; the
    log-in page's form, which is nothing without the token, may come without that.

    Args:
        app: the wrapped app.
        token: the token that requests need as `Authorization: Bearer`, or that the log-in page exchanges for
            a cookie, which no script can read and no other site can send; None allows all requests.
        hosts: the names that are allowed as Host.
        login: whether there is a log-in page; it needs the board's files.
    """

    def __init__(
        self, app: ASGIApp, *, token: Secret | None = None, hosts: Collection[str] = (), login: bool = False
    ) -> None:
        self._app = app
        self._token = token
        self._hosts = frozenset(host.lower() for host in hosts)
        self._login = login and token is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the app, or answer it with an error or the log-in page."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
            return
        request = Request(scope, receive)
        if not self._is_known(request.headers.getlist("Host")):
            answer: Response | None = _refused(
                HTTPStatus.MISDIRECTED_REQUEST, "This server does not go by this name."
            )
        elif len(request.headers.getlist("Authorization")) > 1:  # a proxy may have checked the other one
            answer = _refused(HTTPStatus.BAD_REQUEST, "There is more than one Authorization header.")
        elif self._login and scope["path"] == LOGIN:
            answer = await self._logged_in(request)
        elif not self._is_near(request.headers.get("Origin"), request.headers["Host"]):
            answer = _refused(HTTPStatus.FORBIDDEN, "This server answers no pages of other hosts.")
        else:
            answer = self._refusal(request)
        await (answer or self._app)(scope, receive, send)

    def _is_known(self, hosts: Sequence[str]) -> bool:
        found = _HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
        if found is None:
            return False
        if found["name"] == "localhost" or found["name"] in self._hosts:
            return True
        with suppress(ValueError):
            return bool(IPv6Address(found["v6"]) if found["v6"] else IPv4Address(found["name"]))
        return False

    def _is_near(self, origin: str | None, host: str) -> bool:
        """Return whether no page sent a request, or one of this machine or of the host that is asked."""
        if origin is None:
            return True
        scheme, _, address = origin.lower().partition("://")
        page, asked = _HOST.fullmatch(address), _HOST.fullmatch(host.lower())
        if scheme not in ("http", "https") or page is None or asked is None:
            return False
        name = page["name"] or page["v6"]
        return is_loopback(name) or name in self._hosts or name == (asked["name"] or asked["v6"])

    def _refusal(self, request: Request) -> Response | None:
        if self._token is None or self._has_shown_it(request, self._token):
            return None
        if self._login and request.scope["path"].startswith(_OPEN):
            return None
        if self._login and "text/html" in request.headers.get("Accept", ""):
            return page("login.html", request, status=HTTPStatus.UNAUTHORIZED)
        answer = ProblemResponse(problem(HTTPStatus.UNAUTHORIZED, "Show the token."))
        answer.headers["WWW-Authenticate"] = 'Bearer realm="qrbackends"'
        return answer

    def _has_shown_it(self, request: Request, token: Secret) -> bool:
        kind, _, shown = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and _same(shown.strip(), token.reveal()):
            return True
        return _same(request.cookies.get(COOKIE, ""), _session(token))

    async def _logged_in(self, request: Request) -> Response:
        """Exchange the token for a cookie; the token cannot be computed from the cookie."""
        if request.method != "POST" or self._token is None:
            return page("login.html", request)
        try:
            body = await read_body(request, _MAX_FORM)
        except BodyRefused as error:
            return error.response
        shown = parse_qs(body.decode("latin-1")).get("token", [""])[0]
        if not _same(shown.strip(), self._token.reveal()):
            return page("login.html", request, status=HTTPStatus.UNAUTHORIZED, refused=True)
        answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
        answer.set_cookie(
            COOKIE,
            _session(self._token),
            httponly=True,
            samesite="strict",
            secure=request.scope["scheme"] == "https",
        )
        return answer


def _refused(status: HTTPStatus, detail: str) -> ProblemResponse:
    return ProblemResponse(problem(status, detail))


def _session(token: Secret) -> str:
    return hmac.digest(token.reveal().encode(), _SESSION, hashlib.sha256).hex()


def _same(shown: str, wanted: str) -> bool:
    return hmac.compare_digest(shown.encode(), wanted.encode())
