"""The command line as a process of its own: signals, pipes, screens."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, Any
from urllib.parse import urlsplit

import pytest

from ..profiles import some_of
from .processes import STRICT, own_environment

DEV = (sys.executable, "-X", "dev", "-W", "error", "-m", "qrbackends")
SYNTHETIC = ("--emulator", "synthetic", "--region", "eu-de")

# The emulator holds every status, and says on stderr when it does. SIGINT is ignored in what a shell starts
# in the background, tests included, so that it is put right first.
HELD = """
import asyncio, os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
import qrbackends.emulator as package
class Held(package.Emulator):
    async def __aenter__(self):
        await super().__aenter__()
        fault = self.fault(package.Hold(), resource=os.environ["HELD"], times=None)
        async def tell():
            await fault.reached()
            os.write(2, b"held\\n")
        self.telling = asyncio.create_task(tell())
        return self
package.Emulator = Held
from qrbackends.__main__ import main
main()
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process, and end it at the end if it still runs."""
    started: list[subprocess.Popen[str]] = []

    def starts(*command: str, **options: Any) -> subprocess.Popen[str]:
        environment = own_environment(**options.pop("env", {}))
        settings: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        process = subprocess.Popen(command, text=True, env=environment, **settings)
        started.append(process)
        return process

    yield starts
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@pytest.mark.parametrize("asked", some_of([signal.SIGINT, signal.SIGTERM]))
def test_emulate_ends_normally_when_told(start: Start, asked: signal.Signals) -> None:
    process = start(*DEV, "emulate", "--fleet", "synthetic", "--json")
    shown = json.loads(_output(process).readline())
    assert set(shown["regions"]) == {"us-east", "eu-de"}
    process.send_signal(asked)
    out, err = process.communicate()
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(
    ("resource", "command"), [("status", ("status", "synthetic_falcon_27")), ("properties", ("fleet",))]
)
def test_ctrl_c_leaves_cleanly(start: Start, resource: str, command: tuple[str, ...]) -> None:
    process = start(sys.executable, "-W", "error", "-c", HELD, *command, *SYNTHETIC, env={"HELD": resource})
    assert process.stderr is not None
    assert process.stderr.readline() == "held\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out, err.strip()) == (130, "", "")


# A Ctrl-C that comes while a module is imported: NAME is interrupted.
INTERRUPTED = """
import importlib.abc, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Interrupter(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == os.environ["NAME"]:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupter())
from qrbackends.__main__ import main
main()
"""


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["click", "aiohttp", "qrbackends.cli", "qrbackends.cli.fleet", "aiohttp.web"]
)
def test_ctrl_c_during_an_import_leaves_cleanly(start: Start, name: str) -> None:
    command = (sys.executable, "-W", "error", "-c", INTERRUPTED, "fleet", *SYNTHETIC)
    process = start(*command, env={"NAME": name})
    out, err = process.communicate()
    assert (process.returncode, out, err.strip()) == (130, "", "")


@pytest.mark.parametrize(
    "sent",
    some_of(
        [
            b"GET / HTTP/9.9\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS begins so
        ]
    ),
)
def test_nonsense_at_a_port_of_emulate_is_not_told_to_its_user(start: Start, sent: bytes) -> None:
    process = start(*DEV, "emulate", "--fleet", "synthetic", "--json")
    shown = json.loads(_output(process).readline())
    host, port = urlsplit(shown["iam_url"]).netloc.split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(sent)
        assert connection.recv(100).startswith(b"HTTP/1.0 400 ")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, err) == (0, "")


def test_fleet_as_a_process(start: Start) -> None:
    process = start(*DEV, "fleet", "--json", *SYNTHETIC)
    out, err = process.communicate()
    assert (process.returncode, len(json.loads(out)), err.count("\n")) == (0, 4, 1)


@pytest.mark.parametrize("options", [(), pytest.param(("--json",), marks=pytest.mark.long)])
def test_no_stdout_at_all(start: Start, options: tuple[str, ...]) -> None:
    command = (*STRICT, "status", "synthetic_falcon_27", *SYNTHETIC, *options)
    closed = "import os, sys; os.close(1); os.execv(sys.executable, sys.argv[1:])"
    process = start(sys.executable, "-c", closed, *command)
    _, err = process.communicate()
    announced = "Emulated data (synthetic), not from IBM's service.\n" if options else ""
    assert (process.returncode, err) == (0, announced)


@pytest.mark.parametrize("options", [(), pytest.param(("--json",), marks=pytest.mark.long)])
def test_a_reader_that_leaves_ends_it_quietly(start: Start, options: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = start(*STRICT, "backends", *SYNTHETIC, *options, stdout=writing)
    os.close(writing)
    _, err = process.communicate()
    assert process.returncode == 1
    assert err in ("", "Emulated data (synthetic), not from IBM's service.\n")


def test_a_full_disk_is_one_line(start: Start) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        process = start(*STRICT, "backends", *SYNTHETIC, "--json", stdout=full)
    _, err = process.communicate()
    assert process.returncode == 1
    assert err.splitlines()[-1] == "Error: No space left on device"


@pytest.mark.long
def test_ascii_only(start: Start) -> None:
    process = start(*STRICT, "fleet", *SYNTHETIC, env={"PYTHONIOENCODING": "ascii"})
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "T1 us" in out
    assert out.isascii()


def test_a_terminal_of_80_columns(start: Start) -> None:
    out, err = _on_a_terminal(start, 80, {}, "fleet", *SYNTHETIC)
    lines = out.replace("\r", "").splitlines()
    assert "\x1b[32monline" in out
    assert "\x1b[31moffline" in out
    assert max(len(_plain(line)) for line in lines) <= 80
    assert "Not shown for lack of room: region" in " ".join(_plain(out).split())
    assert err == "", "progress is for a terminal"


@pytest.mark.long
@pytest.mark.parametrize("environment", some_of([{"NO_COLOR": "1"}, {"TERM": "dumb"}]))
def test_a_terminal_without_colours(start: Start, environment: dict[str, str]) -> None:
    out, _ = _on_a_terminal(start, 200, environment, "fleet", *SYNTHETIC)
    assert "\x1b" not in out
    assert "processor" in out


@pytest.mark.long
def test_progress_is_shown_on_a_terminal(start: Start) -> None:
    _, err = _on_a_terminal(start, 80, {}, "fleet", *SYNTHETIC, "--json", watched="stderr")
    assert "Listing backends" in err
    assert err.count("\x1b[?25h") == 1, "the cursor is back"


def _on_a_terminal(
    start: Start, width: int, environment: dict[str, str], *command: str, watched: str = "stdout"
) -> tuple[str, str]:
    """Run with stdout or stderr on a terminal; return stdout and stderr."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, width))
    environment = {"TERM": "xterm-256color"} | environment
    process = start(*STRICT, *command, env=environment, stdin=theirs, **{watched: theirs})
    os.close(theirs)
    seen = b""
    with suppress(OSError):  # Linux says EIO when the other side is closed
        while chunk := os.read(ours, 65536):
            seen += chunk
    os.close(ours)
    out, err = process.communicate()
    assert process.returncode == 0, err
    return (seen.decode(), err) if watched == "stdout" else (out, seen.decode())


def _plain(line: str) -> str:
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"):
        line = line.replace(code, "")
    return line


def _output(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout
