"""A script: stores that were used before a fork. It prints what became of them as JSON."""

import asyncio
import gc
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from redis import Redis

from qrbackends import FileStore, RedisStore

from ...forking import in_child
from ...redis_server import PATIENT
from ...waiting import until


def file(folder: Path) -> dict[str, str]:
    """A file that is used before, in the child, and after; the child closes its own."""
    found: dict[str, str] = {}
    loop = asyncio.new_event_loop()
    unused = FileStore(folder / "unused.sqlite", timeout=PATIENT)
    store = FileStore(folder / "used.sqlite", timeout=PATIENT)
    closed = FileStore(folder / "closed.sqlite", timeout=PATIENT)

    async def use(one: FileStore, name: str) -> str:
        before = await one.get("s", "parent")
        await one.put("s", name, name.encode(), 60)
        return f"{before!r}, {await one.get('s', name)!r}"

    async def close(one: FileStore) -> str:
        said = await use(one, "closing")
        await one.aclose()
        return said

    loop.run_until_complete(use(store, "parent"))
    loop.run_until_complete(close(closed))
    found["unused"] = in_child(lambda: asyncio.run(close(unused)), leave=True)
    found["used"] = in_child(lambda: asyncio.run(close(store)), leave=True)
    found["closed"] = in_child(lambda: asyncio.run(use(closed, "child")))

    async def busy() -> str:
        """Fork while operations wait for the store's thread; no sooner done, they are waited for."""
        waiting = [asyncio.create_task(store.put("s", f"n{n}", bytes(100_000), 60)) for n in range(20)]
        await asyncio.sleep(0)
        said = in_child(lambda: asyncio.run(close(store)), leave=True)
        return f"{said}, {sum(await asyncio.gather(*waiting))}"

    # A loop of its own: a child that leaves has collected the other one, and so ended its way to wake up.
    found["busy"] = asyncio.run(busy())
    found["parent"] = asyncio.run(close(store))
    return found


def redis(url: str) -> dict[str, Any]:
    """A store with a connection that is idle, and one that listens."""
    found: dict[str, Any] = {}
    kept = {"store": RedisStore(url, timeout=PATIENT)}
    unused = RedisStore(url, timeout=PATIENT)
    watching = Redis.from_url(url)

    def connections() -> int:
        count: int = watching.info("stats")["total_connections_received"]
        return count

    async def get() -> str:
        return repr(await kept["store"].get("s", "n"))

    async def get_unused() -> str:
        async with unused:
            return repr(await unused.get("s", "n"))

    async def throw_away() -> str:
        kept.clear()
        gc.collect()
        return "thrown away"

    async def main() -> None:
        store = kept["store"]
        await store.put("s", "n", b"value", 60)
        await store.acquire("s", "n", "owner", PATIENT)
        waiting = asyncio.create_task(store.wait("s", "n", PATIENT))
        await until(lambda: watching.pubsub_numsub(channel)[0][1] > 0)
        await asyncio.gather(
            get(), get(), get()
        )  # so that there are idle connections enough for what follows
        before = connections()
        calls: dict[str, Callable[[], Awaitable[str]]] = {"used": get, "unused": get_unused}
        for name, call in calls.items():
            found[name] = in_child(lambda call=call: asyncio.run(call()))  # type: ignore[misc]
        del store
        found["thrown away"] = in_child(lambda: asyncio.run(throw_away()))
        await kept["store"].release("s", "n", "owner")
        await asyncio.wait_for(waiting, PATIENT)
        found["parent"] = await get()
        found["connections"] = connections() - before - 1  # that of `unused`
        await kept["store"].aclose()

    channel = "qrbackends:2:{s}:l:n"
    asyncio.run(main())
    watching.close()
    return found


if __name__ == "__main__":
    json.dump({"file": file(Path(sys.argv[1])), "redis": redis(sys.argv[2])}, sys.stdout)
