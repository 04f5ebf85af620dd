"""A hit in the memory of no process, but in the Redis that all share; and many workers with cold keys."""

import asyncio
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from cashews import Cache

from qrbackends import BackendProperties, CachePolicy, Client, Request
from qrbackends.cache.stores.redis import RedisStore

from .hit import DEVICE, timed
from .measure import Table, per_call
from .service import service
from .shared_workers import CALLERS, compete


@contextmanager
def redis() -> Iterator[str]:
    """Run a Redis, and yield its address."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("this benchmark needs redis-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if "Ready to accept connections" in line:
                break
        try:
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.communicate()


def run(rounds: int) -> list[Table | str]:
    """Measure; return the table of hits, and what many workers cost."""
    return [hits(rounds), herds((8, 16, 32, 64), 68) if rounds > 10 else herds((2,), 4)]


def herds(workers: tuple[int, ...], keys: int) -> str:
    """Let more and more workers ask for the same keys at once, each time with an empty Redis."""
    lines = [f"shared: cold keys, {CALLERS} callers in each worker"]
    for count in workers:
        with redis() as address, service("snapshots") as there:
            names = [name for _, name in there.names][:keys]
            lines.append(compete(there, address, names, count))
    return "\n".join(lines)


def hits(rounds: int) -> Table:
    """Measure a hit in Redis."""
    loop = asyncio.new_event_loop()
    with redis() as address, service("snapshots") as there:
        store = RedisStore(address)
        # A memory that keeps nothing: each call asks Redis, as a worker's first one does.
        client = Client(there.account(), store=store, cache=CachePolicy(max_bytes=0))
        alone = Client(there.account(), cache=CachePolicy(max_bytes=0))
        cache = Cache()
        cache.setup(address)

        async def ours() -> BackendProperties:
            return await client.properties(DEVICE)

        async def origin() -> BackendProperties:
            return await alone.properties(DEVICE)

        async def with_cashews() -> BackendProperties:
            body: bytes = await cache.get(DEVICE)
            return msgspec.json.decode(body, type=BackendProperties)

        async def prepare() -> None:
            found = await ours()
            await origin()
            await cache.set(DEVICE, msgspec.json.encode(found), expire=300)
            assert (await with_cashews()).qubits == (await ours()).qubits
            assert client.stats().properties.misses == 2
            assert (await client.fetch(Request("properties", DEVICE))).source == "shared"

        loop.run_until_complete(prepare())
        contestants = {
            "qrbackends, from Redis": timed(loop, ours),
            "qrbackends, from the service": timed(loop, origin),
            "cashews, decoded": timed(loop, with_cashews),
        }
        timings = per_call(contestants, min(rounds, 20), 20)
        for close in (client.aclose, alone.aclose, store.aclose, cache.close):
            loop.run_until_complete(close())
    loop.close()
    return Table("shared: a hit in Redis", timings)
