"""Many workers on few cores ask for the same cold keys at once: how many requests reach the service."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

import msgspec
from msgspec import Struct

from qrbackends import Client, RedisStore, Request

from .service import Service

CALLERS = 20


class Task(Struct):
    """What a worker has to know."""

    service: Service
    redis: str
    keys: list[str]


class Outcome(Struct):
    """What a worker's callers got: how many keys this worker asked the service for, and the worst call."""

    requests: int
    worst: float


def compete(service: Service, redis: str, keys: Sequence[str], workers: int) -> str:
    """Let some workers ask, each with 20 callers, and return a line that says what it took."""
    command = [sys.executable, "-m", "benchmarks.shared_workers"]
    task = msgspec.json.encode(Task(service, redis, list(keys))) + b"\n"
    with ExitStack() as stack:
        pipes = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            for _ in range(workers)
        ]
        for process in pipes:
            _say(process, task)
        for process in pipes:
            _hear(process)  # it is ready
        for process in pipes:
            _say(process, b"go\n")
        outcomes = [msgspec.json.decode(_hear(process), type=Outcome) for process in pipes]
    requests, worst = sum(one.requests for one in outcomes), max(one.worst for one in outcomes)
    return f"  {workers:2} workers: {requests} requests for {len(keys)} cold keys, worst call {worst:.1f} s"


def _say(process: subprocess.Popen[bytes], said: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(said)
    process.stdin.flush()


def _hear(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


async def work() -> None:
    """Be a worker."""
    task = msgspec.json.decode(sys.stdin.readline(), type=Task)
    asked: set[str] = set()
    worst = 0.0

    async def call(client: Client, start: int) -> None:
        nonlocal worst
        for key in task.keys[start:] + task.keys[:start]:
            began = time.perf_counter()
            given = await client.fetch(Request("properties", key))
            worst = max(worst, time.perf_counter() - began)
            if given.source == "origin":
                asked.add(key)

    async with RedisStore(task.redis) as store, Client(task.service.account(), store=store) as client:
        await client.backends()
        print(flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        step = max(1, len(task.keys) // CALLERS)
        await asyncio.gather(*(call(client, number * step % len(task.keys)) for number in range(CALLERS)))
    print(msgspec.json.encode(Outcome(len(asked), worst)).decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(work())
