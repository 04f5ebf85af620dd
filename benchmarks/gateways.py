"""Gateways and their peers as processes of their own: ours, nginx's `proxy_cache`, and a constant."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from .service import Service

_READY = 60.0  # seconds
_TICKS = os.sysconf("SC_CLK_TCK")


class Server(NamedTuple):
    """A server that runs.

    Attributes:
        url: its address.
        pids: the processes that answer.
    """

    url: str
    pids: list[int]

    def cpu(self) -> float:
        """Return the seconds of CPU that its processes have used until now."""
        fields = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self.pids)
        return sum(int(one[11]) + int(one[12]) for one in fields) / _TICKS

    def memory(self) -> float:
        """Return the resident memory of its processes in MB."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids)
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def gateway(there: Service, *options: str) -> Iterator[tuple[Server, Service]]:
    """Run ours in front of a service; yield it, and where the service is through it."""
    command = [sys.executable, "-m", "qrbackends", "gateway", "--json", "--port", "0", "--per-address", "0"]
    process = subprocess.Popen(
        [*command, "--emulator", there.iam_url, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        told = msgspec.json.decode(process.stdout.readline())
        through = msgspec.structs.replace(
            there,
            api_key=told["api_key"],
            iam_url=told["iam_url"],
            search_url=told["search_url"],
            catalog_url=told["catalog_url"],
            urls=told["regions"],
        )
        yield Server(told["url"], [process.pid]), through
    finally:
        _end(process)


@contextmanager
def nginx(origin: str) -> Iterator[Server | None]:
    """Run nginx with one worker and `proxy_cache` in front of an address; yield None where it is missing."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as place:
        port = free_port()
        temporary = "\n".join(
            f"{kind}_temp_path {place}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = Path(place) / "nginx.conf"
        config.write_text(f"""\
            worker_processes 1; daemon off; master_process off; pid {place}/pid; error_log {place}/log;
            events {{ worker_connections 1024; }}
            http {{
                access_log off; keepalive_requests 1000000000; {temporary}
                proxy_cache_path {place}/cache keys_zone=kept:10m;
                server {{
                    listen 127.0.0.1:{port};
                    location / {{
                        proxy_pass {origin};
                        proxy_cache kept;
                        proxy_cache_key $request_uri$http_authorization$http_service_crn$http_accept_encoding;
                        proxy_cache_valid 200 1h;
                        proxy_ignore_headers Cache-Control Expires Vary;
                    }}
                }}
            }}
        """)
        process = subprocess.Popen([program, "-p", place, "-c", str(config)], stderr=subprocess.DEVNULL)
        try:
            yield Server(f"http://127.0.0.1:{port}", [process.pid])
        finally:
            _end(process)


@contextmanager
def constant(body: bytes) -> Iterator[Server]:
    """Run a server of aiohttp.web that answers every request with the same compressed body."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.gateways", str(port)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(body)
    process.stdin.close()
    try:
        wait_for(f"http://127.0.0.1:{port}/")
        yield Server(f"http://127.0.0.1:{port}", [process.pid])
    finally:
        _end(process)


def wait_for(url: str) -> None:
    """Return when a server answers."""
    until = time.monotonic() + _READY
    while True:
        try:
            urllib.request.urlopen(url).close()  # noqa: S310
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def token(there: Service) -> str:
    """Return a token of a service's IAM for its key."""
    form = f"grant_type=urn:ibm:params:oauth:grant-type:apikey&apikey={there.api_key}".encode()
    with urllib.request.urlopen(f"{there.iam_url}/identity/token", form) as answer:  # noqa: S310
        granted: dict[str, Any] = json.load(answer)
    return str(granted["access_token"])


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(_READY)
    if process.stdout is not None:
        process.stdout.close()


async def _serve(port: int, body: bytes) -> None:
    from aiohttp import web

    async def answer(_: web.BaseRequest) -> web.Response:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        return web.Response(body=body, headers=headers)

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    await ending.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.stdin.buffer.read()))
