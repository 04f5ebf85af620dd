"""Sends the requests of a journal to an emulator again, and compares the statuses of the answers."""

import asyncio
from asyncio import sleep
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp
import msgspec
from yarl import URL

from ..surface.cloud import GRANT, QUERY
from .server import Emulator
from .steering.journal import MALFORMED
from .surface.log import LoggedRequest

_REFUSED = "refused"  # a credential that nobody issued
_TIMEOUT = aiohttp.ClientTimeout(30)


@dataclass(frozen=True, slots=True)
class Difference:
    """A request that was answered in another way than before.

    Attributes:
        request: the request, with the HTTP status of before.
        status: the HTTP status now; None if there was no answer.
    """

    request: LoggedRequest
    status: int | None


async def replay(
    requests: Iterable[LoggedRequest], emulator: Emulator, *, speed: float | None = 1.0
) -> list[Difference]:
    """Send requests again, each when the one before is answered; return those that are answered differently.

    Credentials are the emulator's own, except for requests that were answered with 401, or with 400 by IAM:
    theirs is one that nobody issued. A request of an instance that the emulator does not have is sent for the
    first one of its region, unless it was answered with 403. Searches are sent with the usual query.

    Args:
        requests: the requests, such as from `read_journal`.
        emulator: an emulator that runs in this event loop.
        speed: how much faster than before. The emulator's clock runs at this rate meanwhile. With None there
            is no waiting, and the clock is moved instead.

    Raises:
        ValueError: `speed` is not positive, or a request is for a region that the emulator does not have.
    """
    if speed is not None and speed <= 0:
        raise ValueError("speed has to be positive")
    rate = emulator.clock.rate
    await emulator.set_clock(rate=rate if speed is None else speed)
    try:
        return await _replay(list(requests), emulator, speed)
    finally:
        await emulator.set_clock(rate=rate)


async def _replay(requests: list[LoggedRequest], emulator: Emulator, speed: float | None) -> list[Difference]:
    differences = []
    begin = asyncio.get_running_loop().time()
    connector = aiohttp.TCPConnector(force_close=True)  # one that is kept may have been cut
    async with aiohttp.ClientSession(
        connector=connector, timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        session._retry_connection = False  # no request is sent twice
        for number, request in enumerate(requests):
            if speed is None:
                gap = request.at - requests[number - 1].at if number else 0.0
                await emulator.advance(max(gap, 0.0))
            else:
                due = begin + (request.at - requests[0].at) / speed
                await sleep(due - asyncio.get_running_loop().time())
            status = await _send(session, request, emulator)
            if status != request.status:
                differences.append(Difference(request, status))
    return differences


async def _send(session: aiohttp.ClientSession, request: LoggedRequest, emulator: Emulator) -> int | None:
    root = emulator.url(request.region).removesuffix("/api/v1")
    headers = _headers(request, emulator)
    data = _body(request, emulator)
    try:
        async with session.request(
            request.method,
            URL(f"{root}/{request.path_qs.removeprefix('/')}", encoded=True),  # never another host
            headers=headers,
            data=data,
            allow_redirects=False,
            skip_auto_headers=("Accept-Encoding",),
        ) as response:
            await response.read()
            return response.status
    except (aiohttp.ClientError, TimeoutError, ConnectionError):
        return None


def _headers(request: LoggedRequest, emulator: Emulator) -> Mapping[str, str]:
    """Return the headers of a request, with a credential of the emulator."""
    refused = request.status == HTTPStatus.UNAUTHORIZED
    credential = {
        None: None,
        "Bearer": f"Bearer {_REFUSED if refused else emulator.make_token()}",
        "apikey": f"apikey {_REFUSED if refused else emulator.api_keys[0]}",
    }.get(request.auth)
    crn = request.crn
    if crn not in (None, MALFORMED) and request.status != HTTPStatus.FORBIDDEN:
        here = [one.crn for one in emulator.instances if one.region == request.region and one.usable]
        crn = crn if crn in here or not here else here[0]
    headers = {
        "Authorization": credential,
        "Service-CRN": crn,
        "IBM-API-Version": request.version,
        "Accept-Encoding": "gzip" if request.gzip else "identity",
        "If-None-Match": request.if_none_match,
        "If-Modified-Since": request.if_modified_since,
    }
    return {name: value for name, value in headers.items() if value is not None}


def _body(request: LoggedRequest, emulator: Emulator) -> bytes | dict[str, str] | None:
    match request.resource, request.method:
        case "token", "POST":
            known = request.status != HTTPStatus.BAD_REQUEST
            return {"grant_type": GRANT, "apikey": emulator.api_keys[0] if known else _REFUSED}
        case "search", "POST":
            return msgspec.json.encode({"query": QUERY})
    return None
