"""Web apps with four workers and one Redis, beside the same app with a constant answer; by wrk."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from . import apps
from .measure import Table, Timing
from .service import Service, service
from .shared import redis

DEVICE = "ibm_hanoi"  # 27 qubits: what larger ones would measure is how fast bytes are copied
KINDS = ("fastapi", "starlette", "aiohttp")
_READY = 60.0  # seconds


class Load(NamedTuple):
    """What wrk measured.

    Attributes:
        requests: how many were answered.
        errors: how many were not, or not with 200.
        rate: answers per second.
        median: seconds that an answer took.
        worst: seconds that 1 % of them took longer than.
    """

    requests: int
    errors: int
    rate: float
    median: float
    worst: float


@contextmanager
def workers(kind: str, count: int, there: Service, store: str) -> Iterator[tuple[str, list[int]]]:
    """Run an app with some workers; yield its address, and the processes that were started.

    Args:
        kind: one of `KINDS`.
        count: how many workers.
        there: where the service is.
        store: the URL of the Redis.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if kind == "aiohttp":
        commands = [[sys.executable, "-m", "benchmarks.apps", str(port)]] * count
    else:
        uvicorn = [sys.executable, "-m", "uvicorn", f"benchmarks.apps:{kind}_app", "--factory"]
        quiet = ["--log-level", "warning", "--no-access-log"]
        commands = [[*uvicorn, "--port", str(port), "--workers", str(count), *quiet]]
    known = {apps.SERVICE: msgspec.json.encode(there).decode(), apps.REDIS: store}
    started = [subprocess.Popen(command, env=os.environ | known) for command in commands]
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url)
        yield url, [one.pid for one in started]
    finally:
        for one in started:
            one.send_signal(signal.SIGTERM)
        for one in started:
            one.wait(_READY)


def _wait(url: str) -> None:
    until = time.monotonic() + _READY
    while True:
        try:
            with urllib.request.urlopen(f"{url}/constant/nowhere"):  # noqa: S310
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def wrk_command(url: str, connections: int, seconds: float) -> list[str]:
    """Return how wrk is called."""
    program = shutil.which("wrk")
    if program is None:
        raise SystemExit("this benchmark needs wrk")
    return [program, "-t2", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", "--latency", url]


def read_wrk(text: str) -> Load:
    """Return what wrk printed."""
    requests = re.search(r"(\d+) requests in", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if requests is None or rate is None:
        raise SystemExit(f"wrk failed: {text}")
    broken = sum(map(int, re.findall(r"\d+", " ".join(re.findall(r"Socket errors:.*", text)))))
    wrong = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", text)))
    scales = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
    found = re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", text)
    latency = {part: float(number) * scales[unit] for part, number, unit in found}
    return Load(int(requests[1]), broken + wrong, float(rate[1]), latency["50"], latency["99"])


def run(rounds: int) -> list[Table]:
    """Measure, and return a table for each framework."""
    seconds = 3 if rounds > 10 else 1
    tables = []
    with redis() as store, service("snapshots") as there:
        for kind in KINDS:
            with workers(kind, 4, there, store) as (url, _):
                found: dict[str, Load] = {}
                for _ in range(2):  # the first time warms up
                    for what in ("properties", "constant"):
                        command = wrk_command(f"{url}/{what}/{DEVICE}", 200, seconds)
                        done = subprocess.run(command, capture_output=True, text=True, check=True)
                        found[what] = read_wrk(done.stdout)
            timings = {
                f"{kind}, {what}": Timing(1 / load.rate, load.median, load.worst)
                for what, load in found.items()
            }
            title = "serve: time per answer [latency: median, 99 %], 4 workers, 200 connections"
            tables.append(Table(title, timings, _note(found)))
    return tables


def _note(found: dict[str, Load]) -> str:
    ours, constant = found["properties"], found["constant"]
    return (
        f"{ours.rate:,.0f} answers/s beside {constant.rate:,.0f}; "
        f"{ours.requests + constant.requests:,} answers, {ours.errors + constant.errors} errors"
    )
