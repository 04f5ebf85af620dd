"""Every fault, at every endpoint, once and for ever: what a caller gets, in one table."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from qrbackends import (
    BadRequest,
    BodyDamaged,
    BodyTooLarge,
    CachePolicy,
    Client,
    Conflict,
    ConnectionLost,
    DecodeError,
    Forbidden,
    Limits,
    Locked,
    NotFound,
    QRBackendsError,
    RateLimited,
    ReadTimeout,
    RedirectRefused,
    Request,
    ResponseError,
    RetryPolicy,
    ServerError,
    ServiceUnavailable,
    TransportError,
    Unauthorized,
)
from qrbackends.emulator import (
    Action,
    Bomb,
    Delay,
    Drip,
    Emulator,
    Endless,
    Garbage,
    Hold,
    Redirect,
    Reset,
    Status,
    SyntheticFleet,
    Truncate,
)

from ..profiles import some_of
from ..waiting import until

pytestmark = pytest.mark.anyio

ATTEMPTS = 3
BODY = 4 << 20  # bytes: more than any answer of this fleet
NEVER = CachePolicy(
    backends=0, configuration=0, properties=0, defaults=0, negative=0, history=0, stale_if_error=0
)
RESOURCES = ("backends", "configuration", "properties", "status", "defaults")


class Cell(NamedTuple):
    """A fault, what is raised while it lasts, and whether the request is sent again."""

    action: Action
    error: type[QRBackendsError]
    again: bool


TABLE = {
    "400": Cell(Status(400), BadRequest, False),
    "401": Cell(Status(401), Unauthorized, True),  # once, with a new token
    "403": Cell(Status(403), Forbidden, False),
    "404": Cell(Status(404), NotFound, False),
    "409": Cell(Status(409), Conflict, False),
    "418": Cell(Status(418), ResponseError, False),
    "423": Cell(Status(423), Locked, False),
    "429": Cell(Status(429), RateLimited, True),
    "429, wait 0 s": Cell(Status(429, {"Retry-After": "0"}), RateLimited, True),
    "429, wait for ever": Cell(Status(429, {"Retry-After": "9" * 40}), RateLimited, False),
    "500": Cell(Status(500), ServerError, True),
    "501": Cell(Status(501), ServerError, False),
    "502 of a gateway": Cell(Status(502, body="<html>bad gateway</html>"), ServerError, True),
    "503": Cell(Status(503), ServiceUnavailable, True),
    "503, wait 0 s": Cell(Status(503, {"Retry-After": "0"}), ServiceUnavailable, True),
    "504": Cell(Status(504), ServerError, True),
    "520": Cell(Status(520, body="<html>unknown error</html>"), ServerError, True),
    "522": Cell(Status(522, body="<html>connection timed out</html>"), ServerError, True),
    "524": Cell(Status(524), ServerError, True),
    "reset": Cell(Reset(), ConnectionLost, True),
    "cut": Cell(Truncate(), BodyDamaged, True),
    "gzip without its end": Cell(Truncate(gzip=True), BodyDamaged, True),
    "HTML": Cell(Garbage(b"<html>maintenance</html>"), DecodeError, True),
    "nothing": Cell(Garbage(b""), DecodeError, True),
    "not UTF-8": Cell(Garbage(b'{"x": "\xff"}'), DecodeError, True),
    "NaN": Cell(Garbage(b'{"length_queue": NaN}'), DecodeError, False),  # so the service wrote it
    "half of a document": Cell(Garbage(b'{"devices": [{"name"'), DecodeError, True),
    "another shape": Cell(Garbage(b"[]"), DecodeError, False),
    "too deep": Cell(Garbage(b"[" * 100_000 + b"]" * 100_000), DecodeError, False),
    "not gzip": Cell(Status(200, {"Content-Encoding": "gzip"}, b"plain"), BodyDamaged, True),
    "brotli, unasked": Cell(Status(200, {"Content-Encoding": "br"}, b"\x0b\x02\x80"), BodyDamaged, True),
    "zstd, unasked": Cell(Status(200, {"Content-Encoding": "zstd"}, b"\x28\xb5\x2f\xfd"), BodyDamaged, True),
    "bomb": Cell(Bomb(2 * BODY), BodyTooLarge, False),
    "without end": Cell(Endless(), BodyTooLarge, False),
    "redirect": Cell(Redirect("http://127.0.0.1:1/elsewhere"), RedirectRefused, False),
    "a flood of headers": Cell(Status(200, {"X-Flood": "x" * 100_000}, b"{}"), TransportError, True),
    "silence": Cell(Hold(), ReadTimeout, True),
    "headers byte by byte": Cell(Drip(0.02, head=True), ReadTimeout, True),
    "a body byte by byte": Cell(Drip(0.02), ReadTimeout, True),
}


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    """One small backend, whose queue stands still."""
    fleet = SyntheticFleet({"alpha": 5})
    async with Emulator(fleet, regions=["us-east"], clock=lambda: 1.8e9) as running:
        yield running


def client_of(emulator: Emulator, action: Action) -> Client:
    waits = isinstance(action, (Hold, Drip))
    return Client(
        emulator.account(),
        retry=RetryPolicy(attempts=ATTEMPTS, base=0.0),
        limits=Limits(
            body=BODY,
            read=0.15 if waits else 30.0,
            rate=10_000.0,
            connect=0.3 if waits else 5.0,
            failures=10**9,
        ),
        cache=NEVER,
    )


def requests(emulator: Emulator) -> list[Request]:
    name = emulator.backends()[0]
    return [Request(resource, None if resource == "backends" else name) for resource in RESOURCES]  # type: ignore[arg-type]


async def answer(client: Client, request: Request) -> Any:
    """Return what does not change of an answer, or the class of the error, where the service has none."""
    try:
        value = (await client.fetch(request)).value
    except NotFound:
        return NotFound
    if request.resource == "backends":
        return [(backend.name, backend.qubits, backend.region, backend.instance) for backend in value]
    if request.resource == "status":
        return (value.operational, value.message, value.backend_version)
    return value


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) if os.path.exists("/proc/self/fd") else 0  # noqa: PTH110


@pytest.mark.parametrize("fault", some_of(TABLE, 12))
async def test_a_fault_that_passes_is_overcome(emulator: Emulator, fault: str) -> None:
    action, expected, again = TABLE[fault]
    for request in requests(emulator):
        if fault == "a body byte by byte" and request.resource == "defaults":
            continue  # two bytes are soon there
        async with client_of(emulator, action) as client:
            right = await answer(client, request)
            emulator.reset_log()
            struck = emulator.fault(action, resource=request.resource, times=1)
            if again:
                assert await answer(client, request) == right
            else:
                with pytest.raises(expected) as caught:
                    await client.fetch(request)
                assert caught.value.attempts == 1
            assert struck.hits == 1
            assert emulator.count(request.resource) == 1 + again, "sent once more"
            struck.release()


@pytest.mark.parametrize("fault", some_of(TABLE, 15))
async def test_a_fault_that_stays_is_told(emulator: Emulator, fault: str) -> None:
    action, expected, again = TABLE[fault]
    gc.collect()
    tasks, files = len(asyncio.all_tasks()), descriptors()
    for request in requests(emulator):
        if fault == "a body byte by byte" and request.resource == "defaults":
            continue  # two bytes are soon there
        async with client_of(emulator, action) as client:
            struck = emulator.fault(action, resource=request.resource, times=None)
            with pytest.raises(QRBackendsError) as caught:
                await client.fetch(request)
            error = caught.value
            sent = 1 if not again else 2 if fault == "401" else ATTEMPTS
            assert type(error) is expected, error
            assert error.attempts == sent
            assert struck.hits == sent, "as many requests reached the service as the error says"
            assert len(error.history) == sent
            assert (error.region, error.backend) == ("us-east", request.backend)
            emulator.clear_faults()
    gc.collect()
    await until(lambda: len(asyncio.all_tasks()) <= tasks + 1)
    await until(lambda: descriptors() <= files + 1)


async def test_a_delay_within_the_limits_is_no_fault(emulator: Emulator) -> None:
    async with client_of(emulator, Delay(0.0)) as client:
        for request in requests(emulator):
            emulator.fault(Delay(0.01), resource=request.resource)
            await answer(client, request)
            assert emulator.count(request.resource) == 1


def test_the_table_has_at_least_24_faults() -> None:
    assert len(TABLE) >= 24
