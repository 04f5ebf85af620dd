"""A private Redis or Valkey, on this machine only, that can be killed, stopped and started again."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENT = 30.0  # seconds for one operation of a store: a slow machine is no failure


def program() -> str:
    """Return what to run; a machine without it skips the test, and continuous integration fails it."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        reason = "neither redis-server nor valkey-server is on PATH"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def has_tls(server: str) -> bool:
    """Whether a server was built with TLS."""
    said = subprocess.run(
        [server, "--tls-port", "1", "--port", "0"], capture_output=True, timeout=60, check=False
    )
    return b"No tls-cert-file" in said.stdout


class RedisServer:
    """A server that keeps nothing on disk.

    Attributes:
        url: its Unix socket, as a URL; the same for all of its lives.
        address: its TCP host and port, for URLs with a password.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.program = program()
        self.folder = folder
        self.options = options
        self.port = free_port()
        self.url = f"unix://{folder / 'socket'}"
        self.address = f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return when it answers."""
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "unixsocket": str(self.folder / "socket"),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
        }
        command = [self.program, *(part for key, value in settings.items() for part in (f"--{key}", value))]
        self.process = subprocess.Popen(
            [*command, *self.options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self.process.stdout is not None
        log = b""
        for line in self.process.stdout:
            log += line
            if b"eady to accept connections" in line and (b" at /" in line or b" unix" in line):  # by version
                return
        self.kill()
        pytest.fail(f"redis-server did not start: {log.decode()}")

    def kill(self) -> None:
        """Kill it, as a machine that loses its power does."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def freeze(self) -> None:
        """Let it stay connected, but answer nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again."""
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def running(*options: str) -> Iterator[RedisServer]:
    """Run a server; `options` are those of redis-server's command line."""
    # Not pytest's own folder: the name of a socket has to be short.
    with tempfile.TemporaryDirectory(prefix="qrb-") as folder:
        server = RedisServer(Path(folder), *options)
        server.start()
        try:
            yield server
        finally:
            server.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
