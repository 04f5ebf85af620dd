"""A script: a busy parent that forks again and again. It prints its figures as JSON."""

import asyncio
import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

from qrbackends import Client, FileStore, Limits, RedisStore, RetryPolicy, WrongEventLoop
from qrbackends.analysis.archive import Archive
from qrbackends.emulator import SyntheticFleet, ThreadedEmulator

from ..forking import in_child
from ..redis_server import PATIENT

CHILDREN = 40
NAMES = [f"backend_{n}" for n in range(8)]
LIMITS = Limits(total=60, read=20)


async def asked(client: Client, names: list[str]) -> int:
    """Ask the service for some calibrations at once; return the number of answers."""
    return len(await asyncio.gather(*(client.properties(name, refresh=True) for name in names)))


class Storm:
    """One parent, and what it has: two busy clients, a file, a store in Redis, an archive."""

    def __init__(self, emulator: ThreadedEmulator, folder: Path, url: str) -> None:
        self.emulator = emulator
        self.url = url
        self.file = FileStore(folder / "answers.sqlite", timeout=PATIENT)
        self.archive = Archive(folder / "archive")
        self.inherited: list[Client | RedisStore] = []
        self.answers = 0
        self.wrong: list[str] = []

    async def child(self) -> str:
        """Try what was inherited, throw it away, and do the same by itself."""
        said = ""
        for one in self.inherited:
            try:
                await (one.status(NAMES[0]) if isinstance(one, Client) else one.get("s", "n"))
            except WrongEventLoop as error:
                said = str(error)
        del one
        self.inherited.clear()
        gc.collect()
        async with RedisStore(self.url, timeout=PATIENT) as redis:
            for store in (self.file, redis):
                async with Client(self.emulator.account(), store=store, limits=LIMITS) as client:
                    await asked(client, NAMES[:2])
        await self.file.aclose()
        rows = self.archive.scan().to_table().num_rows
        return "well" if rows and "was forked" in said else f"{rows} rows; {said}"

    async def busy(self, client: Client) -> None:
        while True:
            try:
                self.answers += await asked(client, NAMES)
            except Exception as error:
                self.wrong.append(repr(error))

    async def parent(self) -> None:
        redis = RedisStore(self.url, timeout=PATIENT)
        account, once = self.emulator.account(), RetryPolicy(attempts=1)
        clients = [Client(account, store=store, limits=LIMITS, retry=once) for store in (redis, self.file)]
        self.inherited += [*clients, redis]
        self.archive.add(await clients[0].properties(NAMES[0]))
        tasks = [asyncio.create_task(self.busy(client)) for client in clients]
        for number in range(CHILDREN):
            before = self.answers
            while self.answers == before and not self.wrong:  # noqa: ASYNC110  # it has no event
                await asyncio.sleep(0)
            if number % 2:
                said = in_child(lambda: asyncio.run(self.child()))
            else:  # by another thread, while the loop runs
                said = await asyncio.to_thread(in_child, lambda: asyncio.run(self.child()))
            if said != "well":
                self.wrong.append(said)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for client in clients:
            await client.aclose()
        await redis.aclose()
        await self.file.aclose()


def main(folder: Path, url: str) -> dict[str, Any]:
    with ThreadedEmulator(fleet=SyntheticFleet(dict.fromkeys(NAMES, 5)), regions=["us-east"]) as emulator:
        storm = Storm(emulator, folder, url)
        began = time.monotonic()
        asyncio.run(storm.parent())
        seconds = round(time.monotonic() - began, 1)
    return {"children": CHILDREN, "answers": storm.answers, "seconds": seconds, "wrong": storm.wrong}


if __name__ == "__main__":
    json.dump(main(Path(sys.argv[1]), sys.argv[2]), sys.stdout)
