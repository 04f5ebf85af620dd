"""The gateway: what the official client gains by it, its speed beside nginx's, and the start of many jobs."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median
from typing import Any, NamedTuple

from . import official
from .gateways import Server, constant, gateway, nginx, token
from .measure import Table, summarized
from .serve import read_wrk, wrk_command
from .service import Service, service

VERSION = "2026-04-15"
_PROCESSES = 500
_AT_ONCE = 32  # of them that run at a time: a machine has so many cores, and no more
_CONNECTIONS = 16

_JOB = """\
import os, urllib.request
for kind in ("configuration", "properties"):
    asked = urllib.request.Request(f"{os.environ['URL']}/backends/{os.environ['NAME']}/{kind}")
    asked.add_header("Authorization", os.environ["BEARER"])
    asked.add_header("Service-CRN", os.environ["CRN"])
    with urllib.request.urlopen(asked) as answer:
        assert len(answer.read()) > 1000
"""


def run(rounds: int) -> Iterator[Table | str]:
    """Measure, and yield tables."""
    repeats = 3 if rounds > 10 else 1
    for latency in (0.0, 0.1):
        yield from of_official(latency, repeats)
    yield from of_load(5 if rounds > 10 else 1, repeats)
    yield of_jobs(_PROCESSES if rounds > 10 else 20)


# --- the official client


class Spent(NamedTuple):
    """Seconds of one step of the official client: all of them, and those in which it waited for answers."""

    all: list[float]
    waiting: list[float]


def of_official(latency: float, repeats: int) -> Iterator[Table]:
    """Measure `backends()`, and the properties of all, alone, and through a cold and a warm gateway."""
    steps = {"backends()": dict[str, Spent](), "properties of all": dict[str, Spent]()}

    def measure(name: str, there: Service) -> None:
        client = official.make(there)
        found: list[Any] = []
        with waited() as seconds:
            for step, spent in steps.items():
                began, before = time.perf_counter(), seconds[0]
                found = client.backends() if step == "backends()" else [one.properties() for one in found]
                assert len(found) == 68
                of = spent.setdefault(name, Spent([], []))
                of.all.append(time.perf_counter() - began)
                of.waiting.append(seconds[0] - before)

    with service("snapshots", latency) as there:
        for _ in range(repeats):
            with gateway(there) as (_, through):
                measure("through a cold gateway", through)
                measure("through a warm gateway", through)
            measure("alone", there)
    names = ("through a warm gateway", "through a cold gateway", "alone")
    for step, spent in steps.items():
        for what, place in (("", 0), (", waiting for answers only", 1)):
            timings = {name: summarized(spent[name][place]) for name in names}
            about = f"{step}{what}, 68 backends, {latency * 1e3:.0f} ms to the service"
            yield Table(f"gateway: official client, {about}", timings)


@contextmanager
def waited() -> Iterator[list[float]]:
    """Yield a list with the seconds for which `requests` waited for answers and read them, inside."""
    from requests.adapters import HTTPAdapter

    adapter: Any = HTTPAdapter
    seconds = [0.0]
    send = adapter.send

    def timed(self: Any, request: Any, **how: Any) -> Any:
        began = time.perf_counter()
        try:
            answer = send(self, request, **how)
            answer.content  # noqa: B018  # which is read here, and not later
            return answer
        finally:
            seconds[0] += time.perf_counter() - began

    adapter.send = timed
    try:
        yield seconds
    finally:
        adapter.send = send


# --- wrk


def of_load(seconds: int, repeats: int) -> Iterator[Table]:
    """Measure a large compressed document and the list: ours, nginx and a constant, in turn."""
    with service("snapshots") as there, gateway(there) as (ours, through):
        region, name = largest(there)
        headers = {"Authorization": f"Bearer {token(through)}", "Service-CRN": there.crn(region)}
        headers |= {"IBM-API-Version": VERSION, "Accept-Encoding": "gzip"}
        for path in (f"/api/v1/backends/{name}/properties", "/api/v1/backends"):
            body = fetched(f"{ours.url}{path}", headers)
            # What is measured is nginx's cache and not its origin: it asks ours, and only once.
            with nginx(ours.url) as peer, constant(body) as floor:
                servers = {"ours": ours, "nginx proxy_cache": peer, "aiohttp.web, a constant": floor}
                yield loaded(path.rpartition("/")[2], len(body), servers, path, headers, seconds, repeats)


def loaded(
    what: str,
    size: int,
    servers: dict[str, Server | None],
    path: str,
    headers: dict[str, str],
    seconds: int,
    repeats: int,
) -> Table:
    """Return a table of the CPU of each server per answer."""
    there = {name: server for name, server in servers.items() if server is not None}
    costs: dict[str, list[float]] = {name: [] for name in there}
    rates: dict[str, list[float]] = {name: [] for name in there}
    for number in range(repeats + 1):  # the first time warms up
        for name, server in there.items():
            fetched(f"{server.url}{path}", headers)
            before = server.cpu()
            load = wrk(f"{server.url}{path}", headers, seconds)
            if number:
                costs[name].append((server.cpu() - before) / load[0])
                rates[name].append(load[1])
    timings = {name: summarized(cost) for name, cost in costs.items()}
    said = ", ".join(f"{name} {median(found):,.0f}/s" for name, found in rates.items())
    missing = "" if servers["nginx proxy_cache"] else "; nginx is not installed"
    memory = f"ours has {there['ours'].memory():.0f} MB"
    title = f"gateway: CPU of the server per answer, {what}, {size:,} bytes, {_CONNECTIONS} connections"
    return Table(title, timings, f"{said}; {memory}{missing}")


def wrk(url: str, headers: dict[str, str], seconds: int) -> tuple[int, float]:
    """Return how many answers wrk got, and how many per second."""
    *command, address = wrk_command(url, _CONNECTIONS, seconds)
    sent = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    done = subprocess.run([*command, *sent, address], capture_output=True, text=True, check=True)
    load = read_wrk(done.stdout)
    if load.errors:
        raise SystemExit(f"{load.errors} requests failed at {url}")
    return load.requests, load.rate


def largest(there: Service) -> tuple[str, str]:
    """Return the region and the name of a device of 156 qubits."""
    name = "ibm_boston"
    return next(region for region, names in there.backends.items() if name in names), name


def fetched(url: str, headers: dict[str, str]) -> bytes:
    """Return the body of an answer as it came."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:  # noqa: S310
        body: bytes = answer.read()
        return body


# --- jobs


def of_jobs(processes: int) -> str:
    """Return what it costs when many processes start at once and read the same two documents."""
    lines = [
        f"gateway: {processes} processes that read one configuration and properties, {_AT_ONCE} at a time"
    ]
    with service("snapshots", 0.1) as there, gateway(there) as (ours, through):
        region, name = largest(there)
        for what, place in (("alone", there), ("through a cold gateway", through)):
            before, began = ours.cpu(), time.perf_counter()
            start_jobs(place, region, name, processes)
            passed, used = time.perf_counter() - began, ours.cpu() - before
            asked = 2 * processes if place is there else requests_of(ours)
            cpu = "" if place is there else f", {used:.2f} s of the gateway's CPU"
            lines.append(f"  {what:<24} {passed:6.1f} s, {asked} documents asked of the service{cpu}")
    return "\n".join(lines)


def start_jobs(there: Service, region: str, name: str, processes: int) -> None:
    """Run the processes."""
    known = {"URL": there.urls[region], "NAME": name, "CRN": there.crn(region)}
    known["BEARER"] = f"Bearer {token(there)}"

    def job(_: int) -> None:
        subprocess.run([sys.executable, "-S", "-c", _JOB], env=os.environ | known, check=True)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(job, range(processes)))


def requests_of(ours: Server) -> int:
    """Return how many documents a gateway has asked for, by its metrics."""
    with urllib.request.urlopen(f"{ours.url}/metrics") as answer:  # noqa: S310
        lines = answer.read().decode().splitlines()
    of_regions = (line for line in lines if line.startswith("qrbackends_requests_total{") and "-" in line)
    return int(sum(float(line.rpartition(" ")[2]) for line in of_regions))
