"""Answers that are small off the wire and large in memory: what each resource's worst takes, with figures.

`pytest -m long -s tests/attacks/test_small_answers.py` prints, for each attack, the bytes on the wire and
after decompression, the most bytes that were allocated, their ratio, the seconds, and the longest time for
which the event loop stood still.
"""

import asyncio
import gzip
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from qrbackends import Account, BackendDefaults, Client, Instance, Limits, QRBackendsError, RetryPolicy
from qrbackends.accounts.account import InstanceSearch
from qrbackends.emulator import Emulator
from qrbackends.models.size import UNCOUNTED
from qrbackends.protocol.lengths import MOST_BYTES

from ..models.shapes import REQUESTS, dense, repeated
from ..models.test_size import peak_of
from ..transport.test_pool import server

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(1800)]

MIB = 2**20
DOCUMENT = 64 * MIB
TIMES, FREE = 16, 130 * MIB  # an attack may allocate so many times its body, or so much if that is more
WORST = 3  # elements of each resource
ITEMS = (b"{}", b"[]", b"0", b'"a"', b'{"a":0}', b"[[[[[[[[0]]]]]]]]")
PER_VALUE = 12  # bytes of a long body to a value

Shape = tuple[bytes, bytes, bytes]


def worst(resource: str) -> list[Shape]:
    """Return head, element and tail of the bodies that take the most memory for their bytes and values."""
    found = [(head, element, tail) for name, _, head, element, tail in dense() if name == resource]
    bodies = [repeated(head, element, tail, 20_000) for head, element, tail in found]
    peaks = [peak_of(resource, body) for body in bodies]
    per_value = [peak / body.count(b",") for peak, body in zip(peaks, bodies, strict=True)]
    largest = [
        number
        for figures in (peaks, per_value)
        for number in sorted(range(len(found)), key=figures.__getitem__)[-WORST:]
    ]
    return list({found[number][1]: found[number] for number in largest}.values())


def padded(head: bytes, element: bytes, tail: bytes, size: int, *, nested: bool) -> bytes:
    """Return a body with as many values as its length allows, the rest of which is one long text."""
    each = 1 + sum(map(element.count, (b",", b"[", b"{") if nested else (b",",)))
    most = UNCOUNTED // 2 if nested else max(UNCOUNTED // 2, size // PER_VALUE)
    count = min(most // each - 100, size // (len(element) + 1) - 1000)
    part = b",".join([element] * count)
    return b'{"padding":"%s",' % (b"x" * max(0, size - len(part) - 1000)) + head[1:] + part + tail


def bodies(resource: str) -> Iterator[tuple[str, int, bytes]]:
    """Yield the name, status and body of each attack on a resource."""
    most = MOST_BYTES.get(resource, DOCUMENT) - 1000
    shapes: list[Shape]
    match resource:
        case "token":
            shapes = [(b'{"access_token":"a","expires_in":3600,"x":[', item, b"]}") for item in ITEMS]
        case "search":
            shapes = [(b'{"items":[', item, b"]}") for item in ITEMS]
            shapes += [(b'{"items":[{"crn":"x","doc":{"extensions":[', item, b"]}}]}") for item in ITEMS]
        case "catalog":
            shapes = [(b'{"metadata":{"x":[', item, b"]}}") for item in ITEMS]
        case _:
            shapes = worst(resource)
    for shape in shapes:
        shown = shape[1].decode()[:30]
        yield f"dense {shown}", 200, repeated(*shape, most)
        if most > UNCOUNTED:
            yield f"padded {shown}", 200, padded(*shape, most, nested=resource == "defaults")
            yield f"1 MiB {shown}", 200, repeated(*shape, UNCOUNTED - 1000)
    yield "one integer", 200, b'{"length_queue":' + b"1" * most + b"}"
    yield "integers", 200, b'{"x":[' + b",".join([b"1" * 4300] * (most // 4301)) + b"]}"
    yield "one text", 200, b'{"x":"' + "\U0001f680".encode() + b"a" * (most - 100) + b'"}'
    yield "keys", 200, b"{" + b",".join(b'"%d":0' % number for number in range(most // 13)) + b"}"
    yield "deep", 200, b'{"x":' * (most // 5)
    yield "error {}", 500, b'{"errors":[' + b"{}," * (most // 3) + b"{}]}"
    yield "error []", 503, b'{"x":' + b"[" * most


@asynccontextmanager
async def answering(status: int, packed: bytes) -> AsyncIterator[str]:
    """Serve the same answer, compressed, to every request; yield the address."""
    head = f"HTTP/1.1 {status} X\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            writer.write(head.encode() + packed)
            await writer.drain()
        writer.close()

    async with server(handler=answer) as (url, _):
        yield url


def account_at(url: str, emulator: Emulator, resource: str) -> Account:
    """Return an account for which the server at an address is what answers for a resource."""
    if resource == "token":
        return replace(emulator.account(), iam_url=url)
    if resource == "search":
        return replace(emulator.account(search=InstanceSearch()), search_url=url)
    if resource == "catalog":
        return replace(emulator.account(search=InstanceSearch()), catalog_url=url)
    return replace(emulator.account(), instances=[Instance(emulator.instances[0].crn, url=url)])


async def use(account: Account, resource: str) -> str:
    """Ask for a resource with a client of its own, and look at what came; return the outcome."""
    limits = Limits(total=120.0, read=60.0)
    async with Client(account, limits=limits, retry=RetryPolicy(attempts=1)) as client:
        try:
            if resource in ("token", "search", "catalog"):
                await client.instances()
                await client.backends()
            else:
                found = await client.fetch(REQUESTS[resource], instance=account.instances[0])
                if isinstance(found.value, BackendDefaults):
                    len(found.value)
        except QRBackendsError as error:
            return f"{type(error).__name__}: {error.message:.60}"
    return "a value"


async def longest_pause(work: Awaitable[str]) -> float:
    """Return the longest time in seconds for which the event loop stood still while something was done."""
    longest = 0.0

    async def look() -> None:
        nonlocal longest
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - began)

    looking = asyncio.create_task(look())
    await asyncio.sleep(0)
    await work
    await asyncio.sleep(0.002)
    looking.cancel()
    return longest


@pytest.fixture(scope="module")
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(regions=["us-east"]) as running:
        yield running


@pytest.mark.parametrize("resource", [*REQUESTS, "token", "search", "catalog"])
async def test_no_small_answer_becomes_a_large_one(emulator: Emulator, resource: str) -> None:
    print(f"\n{resource:36} {'wire':>10} {'body':>11} {'peak':>12} {'x':>5} {'s':>6} {'pause':>6}")
    for name, status, body in bodies(resource):
        packed = gzip.compress(body, 6)
        async with answering(status, packed) as url:
            account = account_at(url, emulator, resource)
            began = time.perf_counter()
            pause = await longest_pause(use(account, resource))
            seconds = time.perf_counter() - began
            tracemalloc.start()
            try:
                outcome = await use(account, resource)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
        print(
            f"  {name:34} {len(packed):10,} {len(body):11,} {peak:12,} {peak / len(body):5.1f} "
            f"{seconds:6.2f} {pause:6.2f} {outcome}"
        )
        assert peak < max(TIMES * len(body), FREE), name
