"""`qrbackends mcp` as the process that a host starts: what it writes, and how it ends."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from qrbackends.messages.extras import install

COMMAND = ("-W", "error", "-m", "qrbackends", "mcp", "--emulator", "synthetic")
MARK = "Emulated data (synthetic), not from IBM's service.\n"
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "host", "version": "1"},
    },
}


@contextmanager
def hosted(*arguments: str, **how: Any) -> Iterator[subprocess.Popen[str]]:
    """Start the command as a host does."""
    command = [sys.executable, *(arguments or COMMAND)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes | how) as process:
        try:
            yield process
        finally:
            process.kill()


def send(process: subprocess.Popen[str], message: Any) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()


def received(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def greet(process: subprocess.Popen[str]) -> None:
    """Wait until it answers."""
    send(process, HELLO)
    assert received(process)["result"]["serverInfo"]["name"] == "qrbackends"
    send(process, {"jsonrpc": "2.0", "method": "notifications/initialized"})


def call(process: subprocess.Popen[str], number: int, tool: str, **arguments: Any) -> Any:
    params = {"name": tool, "arguments": arguments}
    send(process, {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
    answer = received(process)
    assert answer["id"] == number
    return answer["result"]


# A tool that also prints, as some library may do one day.
STRAY = """
import os, sys, qrbackends.agents.tools.backends as tools
row = tools._row
tools._row = lambda *of: (print("stray"), os.system("echo stray"), row(*of))[2]
sys.argv = ["qrbackends", "mcp", "--emulator", "synthetic"]
from qrbackends.__main__ import main
main()
"""


def test_it_ends_with_its_input_and_writes_nothing_but_the_protocol() -> None:
    with hosted("-W", "error", "-c", STRAY) as process:
        assert process.stdin is not None
        process.stdin.write("\n\x1b[2Jno message\n[]\n{}\n" + "[" * 10_000 + "\n")
        greet(process)
        assert call(process, 2, "least_busy")["structuredContent"]["emulated"] is True
        assert call(process, 3, "nothing")["isError"] is True
        out, err = process.communicate()
    assert (process.returncode, out) == (0, "")
    assert err.startswith(MARK)
    assert err.count("stray") == 2
    assert "\x1b" not in err


def test_it_ends_at_a_signal_though_its_input_stays_open() -> None:
    with hosted() as process:
        greet(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stdout is not None
        assert process.stderr is not None
        assert (process.stdout.read(), process.stderr.read()) == ("", MARK)


@pytest.mark.long
def test_ctrl_c_at_a_terminal_ends_it_and_it_says_what_it_is_for() -> None:
    ours, theirs = pty.openpty()
    try:
        with hosted(stdin=theirs) as process:
            assert process.stderr is not None
            assert process.stderr.readline() == MARK
            assert process.stderr.readline().startswith("A host that speaks MCP starts this command")
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.long
def test_a_host_that_is_gone_is_no_failure() -> None:
    with hosted() as process:
        greet(process)
        assert process.stdout is not None
        process.stdout.close()
        send(process, {"jsonrpc": "2.0", "id": 2, "method": "ping"})
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == MARK


@pytest.mark.parametrize("stream", ["0", "1"])
def test_without_a_host_it_says_so(stream: str) -> None:
    closed = f"import os, sys; os.close({stream}); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    command = [sys.executable, "-c", closed, "-m", "qrbackends", "mcp", "--emulator", "synthetic"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.splitlines()[-1] == "Error: a host has to connect standard input and standard output"


@pytest.mark.long
@pytest.mark.parametrize("missing", ["mcp", "mcp_types"])  # the latter of version 1
def test_a_missing_extra_is_named_in_one_line(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['qrbackends', *{COMMAND[4:]!r}]\n"
    code += "from qrbackends.__main__ import main\nmain()\n"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    needed = {
        "mcp": "this command needs the extra mcp",
        "mcp_types": "qrbackends.agents.mcp_server needs mcp, version 2 or newer",
    }
    assert ran.stderr == f"Error: {needed[missing]}: {install(['mcp'])}\n"
