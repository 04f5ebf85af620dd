"""Commands as processes of their own, on pipes and on terminals of any width."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any, NamedTuple

from qrbackends.emulator import Emulator, ThreadedEmulator

from .conftest import Outcome

STRICT = (sys.executable, "-W", "error", "-m", "qrbackends")

_CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def own_environment(**more: str) -> dict[str, str]:
    """Return the environment of the tests; pytest's own settings of Python are not those of a command."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | more


def finding(emulator: Emulator | ThreadedEmulator, region: str) -> dict[str, str]:
    """Return the environment by which a program finds an emulator elsewhere, as if it were the service."""
    return {
        "IAM_URL": emulator.iam_url,
        "GLOBAL_SEARCH_URL": emulator.search_url,
        "GLOBAL_CATALOG_URL": emulator.catalog_url,
        "QISKIT_IBM_URL": emulator.url(region).replace("/api", "/experimental/../api"),  # docs/clients.md
        "QISKIT_IBM_TOKEN": emulator.api_keys[0],
    }


def command(*arguments: str, **environment: str) -> Outcome:
    """Run a command, and return what it wrote."""
    process = subprocess.run(
        [*STRICT, *arguments],
        capture_output=True,
        text=True,
        env=own_environment(**environment),
        stdin=subprocess.DEVNULL,
        timeout=100,
        check=False,
    )
    return Outcome(process.returncode, process.stdout, process.stderr)


class Screen(NamedTuple):
    """What a terminal got, what was written on stderr, and the exit code."""

    code: int
    text: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines, without colours."""
        return _CODES.sub("", self.text).replace("\r", "").splitlines()


def on_screen(width: int, *program: str, environment: Mapping[str, str] | None = None) -> Screen:
    """Run a program whose stdout is a terminal of this width."""
    with started_on_screen(width, *program, environment=environment) as (process, read):
        seen = ""
        while chunk := read():
            seen += chunk
        return Screen(process.wait(60), seen, error_of(process))


def error_of(process: subprocess.Popen[bytes]) -> str:
    """Return what a process that has ended has written on stderr."""
    assert process.stderr is not None
    return process.stderr.read().decode()


@contextmanager
def started_on_screen(
    width: int, *program: str, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
    """Start a program on a terminal, and yield it and a function that reads on; it is killed at the end."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, width))
    process = subprocess.Popen(
        program,
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=own_environment(TERM="xterm-256color") | dict(environment or {}),
        # A shell's background jobs ignore it, and so would the program.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    os.close(theirs)

    def read() -> str:
        with suppress(OSError):  # Linux says EIO when the other side is closed
            return os.read(ours, 65536).decode(errors="replace")
        return ""

    try:
        yield process, read
    finally:
        process.kill()
        process.communicate()
        os.close(ours)


def read_until(read: Callable[[], str], text: str) -> str:
    """Read on until a text is there, and return what was read."""
    seen = ""
    while text not in seen:
        chunk = read()
        assert chunk, f"it ended after {seen}"
        seen += chunk
    return seen


@contextmanager
def emulating(*options: str) -> Iterator[dict[str, Any]]:
    """Run `qrbackends emulate`, and yield what it prints as JSON."""
    process = subprocess.Popen(
        [*STRICT, "emulate", "--json", *options], stdout=subprocess.PIPE, text=True, env=own_environment()
    )
    try:
        yield json.loads(line_of(process))
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def line_of(process: subprocess.Popen[str]) -> str:
    """Return the next line that a process writes."""
    stream: IO[str] | None = process.stdout
    assert stream is not None
    return stream.readline()
