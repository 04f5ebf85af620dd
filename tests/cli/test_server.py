"""`board` and `exporter`, as the processes that they are."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from qrbackends.emulator import Reset, Status, SyntheticFleet, ThreadedEmulator

from ..profiles import some_of
from .conftest import Run
from .processes import finding

QUICK = ("--emulator", "synthetic", "--port", "0", "--interval", "1")
TOKEN = "QRBACKENDS_WEB_TOKEN"


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "qrbackends", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


def get(url: str, **headers: str) -> tuple[int, str]:
    asked = urllib.request.Request(url, headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_board_says_where_it_is_and_that_it_is_emulated(tmp_path: Path) -> None:
    with running("board", *QUICK, "--archive", str(tmp_path / "none")) as process:
        said = line(process.stdout)
        assert re.fullmatch(r"Emulated fleet \(synthetic\) at http://127\.0\.0\.1:\d+/\n", said)
        assert line(process.stdout) == "Ctrl-C ends it.\n"
        url = said.split(" at ")[1].strip()
        status, text = get(url)
        banner = '<p class="banner emulated" id="emulated" role="note"><strong>Emulated data</strong>'
        assert (status, banner in text) == (200, True)
        assert get(f"{url}api/backends")[0] == 200
        device = get(f"{url}backends/eu-de/synthetic_falcon_27")[1]
        assert "The archive has no calibration of this backend." in device or "still being read" in device
        assert get(url, Host="evil.example")[0] == 421


@pytest.mark.parametrize("number", some_of([signal.SIGTERM, signal.SIGINT]))
def test_open_streams_do_not_keep_it_from_ending(number: signal.Signals) -> None:
    with running("board", *QUICK, "--json") as process:
        url = json.loads(line(process.stdout))["url"]
        with urllib.request.urlopen(f"{url}events", timeout=60) as stream:  # noqa: S310
            assert stream.readline() == b"event: change\n"
            process.send_signal(number)
            assert stream.read() is not None  # to its end
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == "Emulated data (synthetic), not from IBM's service.\n"


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="descriptors have no limit there")
def test_readers_of_events_leave_room_for_other_visitors() -> None:
    board = [sys.executable, "-m", "qrbackends", "board", *QUICK, "--json", "--per-address", "0"]
    few = ["sh", "-c", 'ulimit -n 320; exec "$@"', "board", *board]
    with subprocess.Popen(few, stdout=subprocess.PIPE, text=True) as process, ExitStack() as stack:
        stack.callback(process.kill)
        url = json.loads(line(process.stdout))["url"]
        statuses = Counter[bytes]()
        for _ in range(60):
            reader = stack.enter_context(socket.create_connection(("127.0.0.1", urlsplit(url).port), 30))
            reader.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            statuses[reader.recv(12)] += 1
        assert statuses == {b"HTTP/1.1 200": 48, b"HTTP/1.1 503": 12}
        for _ in range(20):
            assert get(url)[0] == 200


def test_a_new_token_is_shown_once_and_demanded() -> None:
    with running("board", *QUICK, "--with-token") as process:
        url, _, token = line(process.stdout).split(" at ")[1].strip().partition("#token=")
        assert len(token) >= 40
        assert get(url)[0] == 401
        assert get(url, Authorization=f"Bearer {token}")[0] == 200


@pytest.mark.long
def test_a_token_of_ones_own_is_not_shown() -> None:
    secret = "one of my own, sixteen characters"
    with running("board", *QUICK, "--with-token", **{TOKEN: secret}) as process:
        said = line(process.stdout)
        assert "token" not in said
        url = said.split(" at ")[1].strip()
        assert get(url, Authorization="Bearer other")[0] == 401
        assert get(url, Authorization=f"Bearer {secret}")[0] == 200


def test_a_short_token_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "short")
    outcome = run("board", *QUICK, "--with-token")
    assert outcome.code == 2
    assert "16 characters" in outcome.err
    assert "short" not in outcome.err


@pytest.mark.parametrize("command", ["board", "exporter", "emulate"])
def test_a_port_that_is_taken_is_told_in_one_line(command: str, run: Run) -> None:
    fleet = "--fleet" if command == "emulate" else "--emulator"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        outcome = run(command, fleet, "synthetic", "--port", port)
    assert outcome.code == 1
    assert re.search(rf"cannot listen at 127\.0\.0\.1(, port |:){port}: ", outcome.err)
    assert outcome.err.endswith("; --port 0 takes a free port\n")
    assert outcome.err.count("\n") == 1


def test_an_address_that_is_none_is_told(run: Run) -> None:
    outcome = run("board", *QUICK, "--host", "no such host")
    assert outcome.code == 1
    assert "no such host is no address to listen at" in outcome.err


def test_others_can_reach_it_only_where_one_says_so() -> None:
    with running("board", *QUICK, "--host", "0.0.0.0", "--allow-host", "board.test") as process:
        assert "--with-token demands a token" in line(process.stderr)
        port = line(process.stdout).strip().rstrip("/").rpartition(":")[2]
        assert get(f"http://127.0.0.1:{port}/", Host="board.test")[0] == 200
        assert get(f"http://127.0.0.1:{port}/", Host="other.test")[0] == 421


def test_the_exporter_tells_the_fleet_to_prometheus() -> None:
    with running("exporter", *QUICK, "--with-token", "--json") as process:
        shown = json.loads(line(process.stdout))
        bearer = f"Bearer {shown['token']}"
        assert shown["url"].endswith("/metrics")
        assert get(shown["url"])[0] == 401
        names: set[str] = set()
        while "qrbackends_backend_t1_seconds" not in names:
            status, text = get(shown["url"], Authorization=bearer)
            assert status == 200
            families = list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call,unused-ignore]
            names = {family.name for family in families if family.samples}
        assert "qrbackends_requests" in names
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_help_tells_what_they_are_for(run: Run) -> None:
    for command, what in (("board", "page"), ("exporter", "Prometheus")):
        outcome = run(command, "--help")
        assert outcome.code == 0
        assert what in outcome.out
        assert "--emulator" in outcome.out


@pytest.mark.parametrize(
    ("command", "module", "extra"),
    some_of(
        [
            ("board", "starlette", "web"),
            ("exporter", "prometheus_client", "metrics"),
            ("exporter", "starlette", "web"),
            ("mcp --http", "jinja2", "web"),
            ("archive info x", "pyarrow", "arrow"),
            ("plot fleet -o x.png", "matplotlib", "plot"),
        ],
        2,
    ),
)
def test_a_missing_extra_is_named_in_one_line(command: str, module: str, extra: str) -> None:
    emulated = [] if command.startswith("archive") else ["--emulator", "synthetic"]
    arguments = ["qrbackends", *command.split(), *emulated]
    code = f"import sys; sys.modules[{module!r}] = None; sys.argv = {arguments!r}\n"
    code += "from qrbackends.__main__ import main\nmain()\n"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert outcome.returncode == 1
    assert outcome.stderr.startswith("Error: ")
    assert f'pip install "qrbackends[{extra}]"' in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert "internal error" not in outcome.stderr


# --- what they write about failures


@contextmanager
def of_a_service(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], ThreadedEmulator, str]]:
    """Run a server whose service is an emulator elsewhere; yield both, and the server's address."""
    fleet = SyntheticFleet({"alpha_5": 5, "beta_5": 5})
    with ThreadedEmulator(fleet=fleet, regions=("us-east",)) as emulator:
        address = ("--port", "0", "--interval", "1")
        with running(*arguments, *address, **finding(emulator, "us-east")) as process:
            yield process, emulator, line(process.stdout).split(" at ")[1].strip()


def rest_of(process: subprocess.Popen[str]) -> str:
    """End a server, and return what it has written on stderr and nobody has read."""
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    return err


STAMP = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@pytest.mark.parametrize("command", some_of(["board", "exporter"]))
def test_a_failure_is_told_once_when_it_begins_and_once_when_it_ends(command: str) -> None:
    with of_a_service(command) as (process, emulator, url):
        asked = get(url)[0]
        assert asked == 200
        fault = emulator.fault(Status(502), resource="backends", times=None)
        begin = line(process.stderr)
        assert re.fullmatch(
            rf"{STAMP} the list of us-east cannot be read: \[us-east\]: HTTP 502: .*\n", begin
        )
        fault.wait_reached(fault.hits + 6, timeout=60)  # it goes on to fail
        emulator.remove_fault(fault.name)
        end = line(process.stderr)
        assert re.fullmatch(rf"{STAMP} the list of us-east can be read again, after \d+ s\n", end)
        assert rest_of(process) == ""


@pytest.mark.long
def test_a_calibration_that_every_backend_refuses_is_told() -> None:
    with of_a_service("board") as (process, emulator, url):
        emulator.fault(Status(403), resource="properties", times=None)
        assert get(url)[0] == 200
        assert re.fullmatch(
            rf"{STAMP} calibrations of us-east cannot be read: \w+_5 \[us-east\]: HTTP 403: .*\n",
            line(process.stderr),
        )
        assert rest_of(process) == ""


def test_a_refused_key_is_told_and_not_shown() -> None:
    with of_a_service("exporter") as (process, emulator, _):
        emulator.fault(Status(400), resource="token", times=None)
        emulator.expire_tokens()
        told = line(process.stderr)
        assert "the fleet cannot be read: IAM refused the API key" in told
        assert emulator.api_keys[0] not in told
        assert rest_of(process) == ""


@pytest.mark.long
def test_verbose_tells_of_retries_and_circuits() -> None:
    with of_a_service("exporter", "--verbose") as (process, emulator, _):
        emulator.fault(Reset(), resource="backends", times=None)
        seen = ""
        while not all(said in seen for said in ("attempt 2 comes in", "keeps failing", "cannot be read")):
            seen += line(process.stderr)
        emulator.clear_faults()
        while "can be read again" not in seen:
            seen += line(process.stderr)
        assert "answers again" in seen
        assert emulator.api_keys[0] not in seen
        rest_of(process)
