"""Crowds before the door of a stand-alone server: an honest visitor still comes in."""

import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import anyio
import pytest

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc"),
]

CROWD = 1100
DESCRIPTORS = 1024  # what most systems give a process
TOKEN = {"QRBACKENDS_WEB_TOKEN": "sixteen characters or more"}


@contextmanager
def board(*options: str) -> Iterator[tuple[str, int]]:
    """Run a guarded board with as many descriptors as usual, and yield its address and process id."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    command = [
        "-m",
        "qrbackends",
        "board",
        "--emulator",
        "synthetic",
        "--port",
        "0",
        "--json",
        "--with-token",
    ]
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))  # which the process inherits
    process = subprocess.Popen(
        [sys.executable, *command, *options], stdout=subprocess.PIPE, text=True, env=os.environ | TOKEN
    )
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * CROWD)), hard))  # for the crowd
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"], process.pid
    finally:
        process.kill()
        process.communicate()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def descriptors(pid: int) -> int:
    """Return how many descriptors a process uses."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def honest(url: str) -> float:
    """Load the page with the token, and return the seconds that it took."""
    began = time.perf_counter()
    bearer = {"Authorization": f"Bearer {TOKEN['QRBACKENDS_WEB_TOKEN']}"}
    async with aiohttp.ClientSession() as web, web.get(url, headers=bearer) as answer:
        assert answer.status == 200
        assert "Quantum computers" in await answer.text()
    return time.perf_counter() - began


HEAD = "Host: localhost\r\nAuthorization: Bearer sixteen characters or more\r\n\r\n"


@pytest.mark.parametrize("number_of_addresses", [1, 20])
@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("half request lines", b"GET / HT"),
        ("readers that never read", f"GET /static/board.js HTTP/1.1\r\n{HEAD}".encode() * 400),
    ],
)
async def test_a_crowd_locks_nobody_out(what: str, said: bytes, number_of_addresses: int) -> None:
    options = ["--per-address", "0"] if number_of_addresses == 1 else []
    with board(*options) as (url, pid), ExitStack() as stack:
        await honest(url)
        worst, most = 0.0, 0
        loop = asyncio.get_running_loop()
        crowd = [stack.enter_context(socket.socket()) for _ in range(CROWD)]

        async def come(number: int) -> None:
            one = crowd[number]
            one.setblocking(False)
            one.bind((f"127.0.1.{1 + number % number_of_addresses}", 0))
            with suppress(ConnectionError):
                await loop.sock_connect(one, ("127.0.0.1", urlsplit(url).port))
                await loop.sock_sendall(one, said)

        coming = [asyncio.create_task(come(number)) for number in range(CROWD)]
        visits = 0
        while visits < 50:
            worst = max(worst, await honest(url))
            most = max(most, descriptors(pid))
            visits += 1
        for one in coming:
            one.cancel()  # some cannot even send all of their requests
        with anyio.fail_after(60):
            while descriptors(pid) > 100:  # noqa: ASYNC110  # of another process
                await asyncio.sleep(0.1)
        print(
            f"\n{CROWD} {what} from {number_of_addresses} addresses: an honest visitor waited for "
            f"{worst * 1000:.0f} ms at most in {visits} visits; {DESCRIPTORS - most} descriptors were left"
        )
        assert most < DESCRIPTORS
