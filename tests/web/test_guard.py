"""Who may talk to a stand-alone server."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from yarl import URL

from qrbackends import Client, Secret
from qrbackends.web import Guard, board_app, bodies

from .serving import served

pytestmark = pytest.mark.anyio

TOKEN = "a token of sixteen characters or more"
HTML = {"Accept": "text/html,application/xhtml+xml"}


async def hello(_: Request) -> Response:
    return PlainTextResponse("hello")


APP = Starlette(routes=[Route("/{path:path}", hello)])


@pytest.fixture
async def guarded() -> AsyncIterator[str]:
    async with served(Guard(APP, token=Secret(TOKEN), login=True)) as url:
        yield url


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8580", 200),
        ("127.0.0.1:8580", 200),
        ("10.1.2.3", 200),
        ("[::1]:8580", 200),
        ("board.example.org", 200),
        ("Board.Example.org:443", 200),
        ("evil.example", 421),
        ("board.example.org.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:80", 421),
        ("", 421),
        ("::1", 421),
        ("[::1", 421),
    ],
)
async def test_it_answers_to_its_names_only(host: str, status: int, web: aiohttp.ClientSession) -> None:
    async with (
        served(Guard(APP, hosts=["board.example.org"])) as url,
        web.get(f"{url}/x", headers={"Host": host}) as answer,
    ):
        assert answer.status == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:3000", 200),
        ("http://127.0.0.1", 200),
        ("https://[::1]:8443", 200),
        ("http://board.example.org", 200),
        ("HTTP://10.1.2.3:8580", 200),  # the host that is asked
        ("http://10.1.2.4:8580", 403),
        ("https://evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("http://evil.example/localhost", 403),
        ("ftp://localhost", 403),
        ("null", 403),
        ("", 403),
    ],
)
async def test_it_answers_no_pages_of_other_hosts(
    origin: str, status: int, web: aiohttp.ClientSession
) -> None:
    headers = {"Host": "10.1.2.3:8580", "Origin": origin}
    async with (
        served(Guard(APP, hosts=["board.example.org"])) as url,
        web.get(f"{url}/x", headers=headers) as answer,
    ):
        assert answer.status == status


async def test_a_form_that_hides_where_it_comes_from_is_taken(
    guarded: str, web: aiohttp.ClientSession
) -> None:
    form, headers = {"token": TOKEN}, {"Origin": "null"}  # as of pages that send no referrer
    async with web.post(f"{guarded}/login", data=form, headers=headers, allow_redirects=False) as answer:
        assert answer.status == 303


async def test_without_the_token_there_is_nothing(guarded: str, web: aiohttp.ClientSession) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": "Bearer é"},
        {"Cookie": f"qrbackends_session={TOKEN}"},
        {"Cookie": "qrbackends_session=; ="},
        {"Cookie": "é=é"},
    ):
        async with web.get(f"{guarded}/events", headers=headers) as answer:
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.content_type == "application/problem+json"
            assert "hello" not in await answer.text()


async def test_with_the_token_there_is_all(guarded: str, web: aiohttp.ClientSession) -> None:
    for kind in ("Bearer", "bearer"):
        async with web.get(f"{guarded}/events", headers={"Authorization": f"{kind} {TOKEN}"}) as answer:
            assert await answer.text() == "hello"


async def test_a_browser_exchanges_the_token_once_for_a_cookie(guarded: str) -> None:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as browser:
        async with browser.get(f"{guarded}/", headers=HTML) as answer:
            assert answer.status == 401
            assert 'type="password"' in await answer.text()
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        async with browser.post(f"{guarded}/login", data={"token": "wrong"}) as answer:
            assert answer.status == 401
            assert "This is not the token" in await answer.text()
        async with browser.post(f"{guarded}/login", data={"token": TOKEN}, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/")
            cookie = answer.headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=strict" in cookie
            assert TOKEN not in cookie
        async with browser.get(f"{guarded}/events") as answer:
            assert await answer.text() == "hello"


async def test_a_form_without_end_is_refused(guarded: str, web: aiohttp.ClientSession) -> None:
    async with web.post(f"{guarded}/login", data=b"token=" + b"x" * 100_000) as answer:
        assert answer.status == 413
    for body in (b"", b"token", b"token=%ff%00", b"\xff" * 100, b"other=" + TOKEN.encode()):
        async with web.post(f"{guarded}/login", data=body) as answer:
            assert answer.status == 401


async def test_the_login_page_gets_its_files_and_nothing_else(
    client: Client, web: aiohttp.ClientSession
) -> None:
    async with served(Guard(board_app(client), token=Secret(TOKEN), login=True)) as url:
        for name in ("login.js", "board.css", "icon.svg"):
            async with web.get(f"{url}/static/{name}") as answer:
                assert answer.status == 200
        for path in (
            "static/../api/backends",
            "static/%2e%2e/api/backends",
            "static/%00",
            "static/.hidden",
            "api/backends",
        ):
            async with web.get(URL(f"{url}/{path}", encoded=True)) as answer:
                assert answer.status in (401, 404)
                assert "devices" not in await answer.text()


async def test_other_kinds_of_connection_are_not_let_in(guarded: str, web: aiohttp.ClientSession) -> None:
    with pytest.raises(aiohttp.ClientError):
        await web.ws_connect(f"{guarded}/ws")


async def test_a_form_that_does_not_come_is_not_waited_for(
    guarded: str, web: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_TIME", 0.01)
    left = asyncio.Event()

    async def halting() -> AsyncIterator[bytes]:
        yield b"token="
        await left.wait()

    async with web.post(f"{guarded}/login", data=halting()) as answer:
        assert answer.status == 408
        left.set()
