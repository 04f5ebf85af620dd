"""Apps with several workers and one Redis, under load, killed and reloaded; as processes of their own."""

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest
from redis.asyncio import Redis

from benchmarks import apps, serve
from benchmarks.service import service_of
from qrbackends.emulator import Emulator, Hold

from ..profiles import some_of
from ..redis_server import RedisServer
from ..waiting import until

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


def wrk(url: str, connections: int, seconds: int) -> list[str]:
    """Return how wrk is called; a machine without it skips the test, and continuous integration fails it."""
    if shutil.which("wrk") is None:
        if os.environ.get("CI"):
            pytest.fail("wrk is not on PATH")
        pytest.skip("wrk is not on PATH")
    return serve.wrk_command(url, connections, seconds)


async def output(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return out.decode()


@asynccontextmanager
async def workers(kind: str, count: int, emulator: Emulator, store: str) -> AsyncIterator[str]:
    """Run an app, which asks an emulator in this process."""
    running = serve.workers(kind, count, service_of(emulator), store)
    url, _ = await asyncio.to_thread(running.__enter__)
    try:
        yield url
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


async def loaded(
    kind: str, emulator: Emulator, store: str, count: int, connections: int, wanted: int
) -> None:
    name = emulator.backends()[0]
    total = 0
    async with workers(kind, count, emulator, store) as url:
        while total < wanted:
            load = serve.read_wrk(await output(*wrk(f"{url}/properties/{name}", connections, 1)))
            assert load.errors == 0
            total += load.requests
    assert emulator.count("properties", name) == 1, "one request per key and freshness period"
    assert emulator.count("backends") <= len(emulator.instances) * 2


@pytest.mark.parametrize("kind", some_of(serve.KINDS))
async def test_workers_share_one_request(
    kind: str, emulator: Emulator, redis: Redis, server: RedisServer
) -> None:
    await loaded(kind, emulator, server.url, count=2, connections=20, wanted=500)


@pytest.mark.long
@pytest.mark.parametrize("kind", serve.KINDS)
async def test_four_workers_answer_twenty_thousand_requests(
    kind: str, emulator: Emulator, redis: Redis, server: RedisServer
) -> None:
    await loaded(kind, emulator, server.url, count=4, connections=200, wanted=20_000)


def children(pid: int) -> list[int]:
    """Return a supervisor's workers."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(one) for one in listed if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
async def test_a_worker_that_is_killed_leaves_nothing_behind(
    emulator: Emulator, redis: Redis, server: RedisServer
) -> None:
    name = emulator.backends()[0]
    running = serve.workers("starlette", 2, service_of(emulator), server.url)
    url, (supervisor,) = await asyncio.to_thread(running.__enter__)
    try:
        held = emulator.fault(Hold(), resource="properties", backend=name)
        async with aiohttp.ClientSession() as web:
            asking = asyncio.ensure_future(web.get(f"{url}/properties/{name}"))
            await until(lambda: emulator.count("properties", name) == 1)
            for pid in children(supervisor):  # one of them leads, and holds the lease
                os.kill(pid, signal.SIGKILL)
            held.release()
            # The supervisor starts others, which wait for the lease to end, and no longer.
            (answer,) = await asyncio.gather(asking, return_exceptions=True)
            while not isinstance(answer, aiohttp.ClientResponse):
                (answer,) = await asyncio.gather(web.get(f"{url}/properties/{name}"), return_exceptions=True)
            assert answer.status == 200
            answer.close()
        assert emulator.count("properties", name) == 2
        left = [key.decode() if isinstance(key, bytes) else key for key in await redis.keys("*")]
        assert not [key for key in left if ":l:" in key]
        assert all([await redis.ttl(key) > 0 for key in left]), "whatever is left ends by itself"
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


async def answered(web: aiohttp.ClientSession, url: str) -> aiohttp.ClientResponse:
    """Ask until a server that starts listens."""
    while True:
        try:
            return await web.get(url)
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(0)


APP = """
from starlette.applications import Starlette
from starlette.routing import Mount
from qrbackends.web import api_app, board_app, lifespan
from benchmarks.apps import options

app = Starlette(routes=[Mount("/api", api_app()), Mount("/", board_app())], lifespan=lifespan(**options()))
"""


@pytest.mark.long
async def test_a_reload_with_open_streams_shows_no_warning(
    emulator: Emulator, redis: Redis, server: RedisServer, tmp_path: Path
) -> None:
    module = tmp_path / "reloaded_app.py"
    module.write_text(APP)
    known = {
        apps.SERVICE: msgspec.json.encode(service_of(emulator)).decode(),
        apps.REDIS: server.url,
        "PYTHONDEVMODE": "1",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
    }
    command = ["-m", "uvicorn", "reloaded_app:app", "--port", "0", "--reload", "--reload-dir", str(tmp_path)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | known,
        cwd=tmp_path,
    )
    assert process.stderr is not None
    said: list[str] = []

    async def heard(what: str) -> str:
        assert process.stderr is not None
        async for line in process.stderr:
            said.append(line.decode())
            if what in said[-1]:
                return said[-1]
        raise AssertionError(f"it ended without saying {what!r}: {''.join(said)}")

    try:
        address = re.search(r"http://127\.0\.0\.1:\d+", await heard("Uvicorn running on"))
        assert address is not None
        await heard("Application startup complete")
        async with aiohttp.ClientSession() as web:
            stream = await answered(web, f"{address[0]}/api/events")
            assert stream.status == 200
            await stream.content.readuntil(b"\n\n")
            module.write_text(f"{APP}\n")
            os.utime(module, (2e9, 2e9))
            await heard("Application startup complete")
            assert await stream.content.read() is not None  # the old stream has ended
            stream.close()
        process.send_signal(signal.SIGINT)
        await heard("Stopping reloader process")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
    text = "".join(said)
    for bad in ("Warning", "Traceback", "ERROR", "CRITICAL", "Unclosed", "never"):
        assert bad not in text.replace("WARNING:  StatReload detected changes", "")
