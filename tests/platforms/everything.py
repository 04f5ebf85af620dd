"""What people do first, in one process that lacks what another system has not; a line of JSON for each part.

python everything.py windows|macos FOLDER REDIS_URL
"""

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
importlib.import_module(f"platforms.{sys.argv[1]}").take_away()  # before anything of the package is imported

import asyncio  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import threading  # noqa: E402
import traceback  # noqa: E402
import urllib.request  # noqa: E402
from collections.abc import Callable  # noqa: E402
from contextlib import redirect_stderr, redirect_stdout  # noqa: E402
from functools import partial  # noqa: E402
from typing import Any  # noqa: E402

# Windows runs the handler of Ctrl-C in a thread of its own.
send = signal.raise_signal if sys.argv[1] == "windows" else partial(os.kill, os.getpid())
FOLDER, REDIS = Path(sys.argv[2]), sys.argv[3]
for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
    os.environ[name] = str(FOLDER)

from qrbackends import CachePolicy, Client  # noqa: E402
from qrbackends.cache.stores.base import Store  # noqa: E402
from qrbackends.cache.stores.file import FileStore  # noqa: E402
from qrbackends.cache.stores.redis import RedisStore  # noqa: E402
from qrbackends.cli import run  # noqa: E402
from qrbackends.emulator import Emulator, Status, ThreadedEmulator  # noqa: E402


async def quick_start() -> Any:
    async with Emulator() as emulator, Client(emulator.account()) as client:
        fleet = await client.backends()
        found = await asyncio.gather(*(client.properties(one.name) for one in fleet))
        emulator.fault(Status(503), resource="status", times=1)
        await client.status(fleet[0].name)
        await emulator.stop_region("eu-de")
        partly = await client.backends(refresh=True)
        await emulator.start_region("eu-de")
        again = await client.backends(refresh=True)
        return len(fleet), len(found), [one.region for one in partly.errors], len(again)


async def ages() -> Any:
    """Let answers grow old by a clock that stands still for 16 ms at a time."""
    policy = CachePolicy(properties=0.05, stale_while_revalidate=0)
    async with Emulator() as emulator, Client(emulator.account(), cache=policy) as client:
        name = emulator.backends()[0]
        for _ in range(3):
            await client.properties(name)
        asked = emulator.count("properties")
        await asyncio.sleep(0.1)
        await client.properties(name)
        return asked, emulator.count("properties")


async def served_from(store: Store, emulator: Emulator) -> int:
    """Return how many requests a second client makes, which shares a store with the first."""
    name = emulator.backends()[0]
    async with Client(emulator.account(), store=store) as client:
        await client.properties(name)
    emulator.reset_log()
    async with Client(emulator.account(), store=store) as client:
        await client.properties(name)
    return emulator.count("properties")


async def file_store() -> Any:
    async with Emulator() as emulator:
        async with FileStore(FOLDER / "new" / "answers.sqlite") as store:
            asked = await served_from(store, emulator)
            kept = (await store.info()).entries > 0
        async with FileStore(FOLDER / "new" / "answers.sqlite") as store:
            return asked, kept, await store.clear() > 0


async def redis_store() -> Any:
    async with Emulator() as emulator, RedisStore(REDIS) as store:
        return await served_from(store, emulator)


def command(
    *arguments: str, until: Callable[[str], object] | None = None, told: int = signal.SIGINT, lines: int = 1
) -> Any:
    """Run a command; where it runs until it is told, look at what it wrote, and raise a signal elsewhere."""
    out, err = io.TextIOWrapper(io.BytesIO(), "cp1252", write_through=True), io.StringIO()
    seen: list[object] = []
    ended = threading.Event()

    def watch() -> None:
        assert until is not None
        pause = threading.Event()
        while not ended.is_set() and (line := out.buffer.getvalue()).count(b"\n") < lines:
            pause.wait(0.02)
        try:
            seen.append(until(line.decode()))
        except Exception as error:
            seen.append(repr(error))
        if not ended.is_set():
            send(told)

    with redirect_stdout(out), redirect_stderr(err):
        watching = threading.Thread(target=watch, daemon=True)
        if until is not None:
            watching.start()
        code = run(arguments)
        ended.set()
        if until is not None:
            watching.join()
    text = out.buffer.getvalue().decode("cp1252")
    return {"code": code, "seen": seen, "lines": len(text.splitlines()), "err": err.getvalue()}


def fetched(url: str) -> int:
    with urllib.request.urlopen(url) as answer:  # noqa: S310
        return int(answer.status)


def emulate(told: int) -> Any:
    def health(line: str) -> int:
        return fetched(json.loads(line)["iam_url"] + "/health")

    return command("emulate", "--fleet", "synthetic", "--json", until=health, told=told)


def taken() -> Any:
    """Ask for a port that another emulator listens at."""
    with ThreadedEmulator() as emulator:
        port = emulator.iam_url.rpartition(":")[2]
        options = ("--fleet", "synthetic", "--regions", "us-east", "--port", port)
        return command("emulate", *options, until=lambda _: None)["code"]


def board() -> Any:
    def page(line: str) -> int:
        return fetched(json.loads(line)["url"])

    return command("board", "--emulator", "synthetic", "--port", "0", "--json", until=page)


def watch() -> Any:
    return command("watch", "--emulator", "synthetic", until=lambda _: None, lines=3)


def accounts() -> Any:
    os.environ["QISKIT_IBM_TOKEN"] = ""
    file = str(FOLDER / "accounts.json")
    codes = []
    for name in ("one", "two", "one"):
        sys.stdin = io.TextIOWrapper(io.BytesIO(b"emulated-key"), "cp1252")
        codes.append(command("accounts", "save", name, "--account-file", file, "--overwrite"))
    return codes, command("accounts", "list", "--account-file", file)


PARTS: dict[str, Callable[[], Any]] = {
    "quick start": lambda: asyncio.run(quick_start()),
    "ages": lambda: asyncio.run(ages()),
    "FileStore": lambda: asyncio.run(file_store()),
    "RedisStore": lambda: asyncio.run(redis_store()),
    "emulate, SIGINT": lambda: emulate(signal.SIGINT),
    "emulate, SIGTERM": lambda: emulate(signal.SIGTERM),
    "emulate, Ctrl-Break": lambda: emulate(getattr(signal, "SIGBREAK", signal.SIGTERM)),
    "a port that is taken": taken,
    "board": board,
    "watch": watch,
    "fleet": lambda: command("fleet", "--emulator", "synthetic"),
    "accounts": accounts,
}

for name, part in PARTS.items():
    try:
        result = part()
    except BaseException:
        result = traceback.format_exc()
    sys.stdout.write(json.dumps([name, result]) + "\n")
