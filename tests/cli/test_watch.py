"""`qrbackends watch`."""

import asyncio
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from rich.console import Console

from qrbackends import Backend, BackendFilter, Change, Forbidden
from qrbackends.cli.columns import columns_called, csv_text
from qrbackends.cli.tables import Table
from qrbackends.cli.watch import Board, _echo_line, _echo_object
from qrbackends.cli.watched import WATCHED, Known
from qrbackends.models import DeviceStatus

COMMAND = (sys.executable, "-W", "error", "-m", "qrbackends", "watch", "--emulator", "synthetic")
ALL = BackendFilter()
WHEN = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)


CRN = (
    "crn:v1:bluemix:public:quantum-computing:eu-de:a/0123456789abcdef:8510c9ad-0000-4000-8000-000000000000::"
)


def entry(name: str, queue: int = 0, status: str = "online", reason: str | None = None) -> Backend:
    return Backend(name, DeviceStatus(status, reason), queue, qubits=27, region="eu-de", instance=CRN)


def change(kind: str, before: Backend | None = None, after: Backend | None = None, **more: object) -> Change:
    one = after or before
    name = one.name if one else None
    return Change(kind, WHEN, name, "eu-de", CRN, before, after, **more)  # type: ignore[arg-type]


CHANGES = [
    (change("present", None, entry("a", 1234)), "a (eu-de): present, online, 1,234 jobs"),
    (change("appeared", None, entry("a")), "a (eu-de): appeared, online, 0 jobs"),
    (change("disappeared", entry("a")), "a (eu-de): disappeared"),
    (change("queue", entry("a", 3), entry("a", 14)), "a (eu-de): queue 3 to 14"),
    (
        change("status", entry("a"), entry("a", status="paused", reason="in\x1b[2J side")),
        "a (eu-de): online to paused (in\\x1b[2J side)",
    ),
    (
        change("recalibrated", None, entry("a"), calibrated_at=WHEN),
        "a (eu-de): recalibrated at 2026-01-01T12:00:30Z",
    ),
    (
        change("failed", error=Forbidden("no", 403).about(region="eu-de")),
        "eu-de, instance 8510c9ad: fails: no",
    ),
    (change("recovered"), "eu-de, instance 8510c9ad: answers again"),
]


@pytest.mark.parametrize(("what", "line"), CHANGES, ids=[one.kind for one, _ in CHANGES])
def test_each_change_has_a_line_and_an_object(
    capsys: pytest.CaptureFixture[str], what: Change, line: str
) -> None:
    _echo_line(what)
    assert capsys.readouterr().out == f"2026-01-01T12:00:30Z {line}\n"
    _echo_object(what)
    shown = json.loads(capsys.readouterr().out)
    assert shown["kind"] == what.kind
    assert shown["backend"] == what.backend
    assert (shown["after"] or {}).get("queue_length") == (what.after and what.after.queue_length)
    assert shown["error"] == (str(what.error) if what.error else None)


async def these(changes: Iterable[Change]) -> AsyncIterator[Change]:
    for one in changes:
        yield one


def drawn(
    changes: Iterable[Change],
    width: int = 100,
    height: int = 40,
    detail: bool = False,
    wanted: BackendFilter = ALL,
) -> str:
    """Return the last thing that a board draws."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    table = Table(WATCHED, sort=columns_called(WATCHED, "name")[0])
    board = Board(console, "Fleet", table if detail else table.without({"recalibrated_at"}), Known(wanted))
    asyncio.run(board.show(these(changes)))
    with console.capture() as capture:
        console.print(board)
    return capture.get()


def test_a_board_shows_what_there_is_now() -> None:
    states = [entry("b", 7), entry("b", 9), entry("b", 9, "paused", "maintenance")]
    screen = drawn(
        [
            change("present", None, entry("a", 2)),
            change("present", None, states[0]),
            change("present", None, entry("gone")),
            change("queue", states[0], states[1]),
            change("status", states[1], states[2]),
            change("disappeared", entry("gone")),
            change("failed", error=Forbidden("no access", 403)),
        ]
    )
    rows = [line.split() for line in screen.splitlines()]
    assert rows[1] == ["backend", "region", "status", "queue", "by", "qubits", "changed", "reason"]
    assert rows[3] == ["a", "eu-de", "online", "2", "27", "–", "–"]
    assert rows[4][:4] == ["b", "eu-de", "paused", "9"]
    assert rows[4][-1] == "maintenance"
    assert "gone" not in screen
    assert "1 online, 1 paused; 11 jobs waiting. Failing: no access." in screen


def test_a_board_shows_by_how_many_jobs_a_queue_changed_and_forgets_who_recovered() -> None:
    screen = drawn(
        [
            change("present", None, entry("a", 2000)),
            change("failed", error=Forbidden("no access", 403)),
            change("recovered"),
            change("queue", entry("a", 2000), entry("a", 3)),
            change("recalibrated", None, entry("a", 3), calibrated_at=WHEN),
        ],
        detail=True,
    )
    assert "-1,997" in screen
    assert "Failing" not in screen
    row = screen.splitlines()[3]
    assert len(re.findall(r"\d\d:\d\d:30", row)) == 2, "changed, and recalibrated"


def test_what_passes_the_filters_no_longer_is_told_and_leaves() -> None:
    known = Known(BackendFilter(online=True))
    paused = entry("b", 3, "paused")
    told = [
        change("present", None, entry("a", 2)),
        change("present", None, paused),
        change("status", paused, entry("b", 3)),
        change("status", entry("a", 2), entry("a", 2, "offline")),
        change("queue", entry("a", 2, "offline"), entry("a", 9, "offline")),
        change("failed", error=Forbidden("no access", 403)),
        change("disappeared", entry("b", 3)),
    ]
    assert [known.wants(one) for one in told] == [True, False, True, True, False, True, True]
    for one in told[:-1]:
        if known.wants(one):
            known.take(one)
    assert [row.change.backend for row in known.rows.values()] == ["b"]
    row = known.take(told[-1])
    assert (row.entry, known.rows) == (None, {})
    cells = {one.name: csv_text(one.value(row)) for one in WATCHED}
    assert (cells["kind"], cells["name"], cells["status"], cells["queue_length"]) == (
        "disappeared",
        "b",
        "",
        "",
    )
    failed = {one.name: csv_text(one.value(known.take(told[-2]))) for one in WATCHED}
    assert (failed["name"], failed["region"], failed["error"]) == ("", "eu-de", "no access")


def test_of_more_than_fit_a_board_shows_those_that_changed_last() -> None:
    changes = [change("present", None, entry(f"backend_{number:04}")) for number in range(5000)]
    changes.append(change("queue", entry("backend_4321"), entry("backend_4321", 9)))
    screen = drawn(changes, height=12)
    assert len(screen.splitlines()) <= 12
    assert "backend_4321" in screen
    assert "4,996 more than fit" in " ".join(screen.split())
    assert "No backend yet" in drawn([])


def run_until(enough: bytes, *options: str, width: int = 0, **environment: str) -> tuple[bytes, bytes, int]:
    """Run it, on a terminal of `width` columns or piped, until it has shown `enough`; then press Ctrl-C."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    own |= {"TERM": "xterm-256color"} | environment
    ours, theirs = pty.openpty() if width else os.pipe()
    if width:
        termios.tcsetwinsize(theirs, (30, width))
    process = subprocess.Popen(
        [*COMMAND, "--interval", "1", *options],
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=own,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    os.close(theirs)
    seen = b""
    with suppress(OSError):
        while enough not in seen and (chunk := os.read(ours, 65536)):
            seen += chunk
        process.send_signal(signal.SIGINT)
        while chunk := os.read(ours, 65536):
            seen += chunk
    os.close(ours)
    _, err = process.communicate()
    return seen, err.strip(), process.returncode


@pytest.mark.parametrize(
    ("width", "environment"),
    [
        (80, {}),
        pytest.param(200, {"NO_COLOR": "1"}, marks=pytest.mark.long),
        pytest.param(80, {"NO_COLOR": "1"}, marks=pytest.mark.long),
        pytest.param(200, {}, marks=pytest.mark.long),
    ],
)
def test_on_a_terminal_it_redraws_in_place(width: int, environment: dict[str, str]) -> None:
    seen, err, code = run_until(b"\x1b[1A\x1b[2K", width=width, **environment)
    assert (code, err) == (130, b"")
    assert b"Emulated fleet, asked every 1 s" in seen
    assert (b"\x1b[32monline" in seen) is (not environment)
    assert (b"reason" in seen) == (width == 200) or b"Not shown for lack of room" in seen
    assert seen.count(b"\x1b[?25l") == seen.count(b"\x1b[?25h") == 1, "the cursor is back"


@pytest.mark.long
def test_on_a_dumb_terminal_it_writes_lines() -> None:
    seen, err, code = run_until(b"jobs\r\n", width=80, TERM="dumb")
    assert (code, err) == (130, b"")
    assert b"\x1b" not in seen
    assert b": present, " in seen


def test_piped_it_writes_lines_and_with_json_objects() -> None:
    seen, err, code = run_until(b" jobs\n")
    assert (code, err) == (130, b"")
    assert seen.startswith(b"Emulated fleet")
    seen, err, code = run_until(b"}\n", "--json", "synthetic_falcon_27", "nowhere")
    assert code == 130
    assert err.decode().splitlines() == [
        "Emulated data (synthetic), not from IBM's service.",
        "Warning: no instance lists nowhere now; it is shown when one does",
    ]
    first = json.loads(seen.splitlines()[0])
    assert (first["kind"], first["backend"]) == ("present", "synthetic_falcon_27")
    assert first["after"]["status"]["name"] == "paused"
