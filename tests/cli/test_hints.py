"""What commands say, as the processes that they are, to people who are nearly right."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from qrbackends.emulator import Status, ThreadedEmulator

from ..profiles import some_of
from .processes import STRICT, command, own_environment

FALCON, HERON = "synthetic_falcon_27", "synthetic_heron_133"
SYNTHETIC = ("--emulator", "synthetic")


@pytest.fixture(scope="module")
def running() -> Iterator[ThreadedEmulator]:
    with ThreadedEmulator(backends=[FALCON, HERON]) as emulator:
        yield emulator


@pytest.fixture
def emulator(running: ThreadedEmulator) -> Iterator[ThreadedEmulator]:
    yield running
    running.reset()


def address(emulator: ThreadedEmulator) -> tuple[str, str]:
    return "--emulator", emulator.iam_url


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    some_of(
        [
            (
                ("rank", "two_qubit_eror", *SYNTHETIC),
                2,
                "did you mean two_qubit_error or two_qubit_error_best?",
            ),
            (("fleet", "--columns", "name,quee", *SYNTHETIC), 2, "there is no column 'quee'"),
            (("plot", "history", FALCON, "--name", "read_error", "-o", "x.png"), 2, "mean readout_error?"),
            (("least-busy", "--region", "eu_de", *SYNTHETIC), 1, "did you mean eu-de?"),
            (
                ("rank", "queue", "--instance", "emulated-eu-d-1", *SYNTHETIC),
                1,
                "did you mean emulated-eu-de-1",
            ),
            (("least-busy", "--name", "falcon", *SYNTHETIC), 1, f"matches 'falcon'; did you mean {FALCON}?"),
            (("fleet", "--emulator", "127.0.0.1:8103"), 2, "is no URL; did you mean http://127.0.0.1:8103?"),
            (("--emulator", "fleet"), 2, "as in `qrbackends COMMAND --emulator`"),
            (("plot", "--json", "fleet"), 2, "as in `qrbackends plot COMMAND --json`"),
            (("fleet", "--format", "json"), 2, "No such option '--format'; did you mean --json or --csv?"),
            (("status", "--output", "json", FALCON), 2, "No such option '--output'; did you mean --json?"),
            (("accounts", "add"), 2, "No such command 'add'; did you mean save?"),
            (("fleet", FALCON), 2, f"did you mean --name {FALCON}, or the command `show {FALCON}`?"),
            (
                ("show", FALCON, HERON),
                2,
                f"Unexpected argument '{HERON}': this is about one backend at a time",
            ),
            (
                ("qubits", "5", FALCON),
                2,
                "is not a valid whole number. The backend comes first: `qubits ID 5`.",
            ),
            (("fleet", "--min-qubits", "five"), 2, "'five' is not a valid whole number."),
            (("fleet", "--min-clops", "fast"), 2, "'fast' is not a valid number."),
            (("qubits", FALCON, "500", *SYNTHETIC), 2, f"{FALCON} has 27 qubits, fewer than 500"),
            (("--versoin",), 2, "did you mean --version?"),
        ],
        3,
    ),
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_is_nearly_right_is_answered_with_what_is(
    arguments: tuple[str, ...], code: int, said: str
) -> None:
    outcome = command(*arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert said in outcome.err.splitlines()[0 if code == 2 else -1]


def test_an_account_is_looked_for_by_a_name_that_is_nearly_its_own(tmp_path: Path) -> None:
    file = tmp_path / "accounts.json"
    file.write_text('{"work": {"token": "0123456789abcdef", "channel": "ibm_quantum_platform"}}')
    outcome = command("fleet", "--account", "Wrok", "--account-file", str(file))
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (1, "", 1)
    assert "has no account 'Wrok'; it has: work; did you mean work?" in outcome.err


@pytest.mark.long
@pytest.mark.parametrize("asked", [("fleet",), ("rank", "queue")], ids=" ".join)
def test_a_filter_that_nothing_matches_names_what_is_like_it(
    asked: tuple[str, ...], emulator: ThreadedEmulator
) -> None:
    conditions = ("--name", "synthetic_flacon*", "--name", "*heron*", "--processor", "egale")
    outcome = command(*asked, *address(emulator), *conditions, "--csv")
    assert (outcome.code, outcome.out.count("\n")) == (0, 1)
    *_, name, processor = sorted(outcome.err.splitlines())
    assert name == f"Warning: no backend's name matches 'synthetic_flacon*'; did you mean {FALCON}?"
    assert processor == "Warning: no backend's processor matches 'egale'; there are Falcon, Heron"


@pytest.mark.long
@pytest.mark.parametrize("asked", [("rank", "queue"), ("least-busy",)], ids=" ".join)
def test_what_fractional_gates_could_not_be_looked_for_in_is_told(
    asked: tuple[str, ...], emulator: ThreadedEmulator
) -> None:
    emulator.fault(Status(403), resource="configuration", backend=FALCON, times=None)
    columns = ("--csv", "--columns", "name")
    outcome = command(*asked, *address(emulator), "--fractional-gates", "--any-status", *columns)
    assert (outcome.code, outcome.out) == (0, f"name\n{HERON}\n")
    warning, emulated = outcome.err.splitlines()
    assert emulated.startswith("Emulated")
    assert warning.startswith(f"Warning: a backend is not ranked: {FALCON} [")


@pytest.mark.long
def test_who_listens_at_a_port_that_is_in_use_is_told_how_to_get_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        asked = (
            ("board", *SYNTHETIC),
            ("exporter", *SYNTHETIC),
            ("mcp", "--http", *SYNTHETIC),
            ("emulate", "--fleet", "synthetic"),
        )
        processes = [
            subprocess.Popen(
                [*STRICT, *arguments, "--port", str(port)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=own_environment(),
            )
            for arguments in asked
        ]
        for process in processes:
            out, err = process.communicate(timeout=100)
            assert (process.returncode, out, err.count("\n")) == (1, "", 1)
            assert err.startswith("Error: cannot listen at 127.0.0.1")
            assert err.endswith("Address already in use; --port 0 takes a free port\n")


@pytest.mark.long
def test_one_of_a_thing_is_no_plural(emulator: ThreadedEmulator) -> None:
    emulator.set_backend(FALCON, status="online", queue_length=1)
    shown = command("fleet", *address(emulator), "--name", FALCON)
    assert shown.out.splitlines()[-1].startswith("1 backend in 1 region, 1 online, 1 job waiting.")
    first = command("rank", "queue", *SYNTHETIC, "--any-status", "--limit", "1")
    assert "The first one of 8 is shown; --limit says how many." in " ".join(first.out.split())
    emulator.set_backend(HERON, retired=True)
    only = command("least-busy", *address(emulator), "--min-qubits", "28")
    assert "the account's only backend is not what is wanted; the largest has 27 qubits" in only.err


@pytest.mark.long
def test_of_what_is_not_there_any_more_it_is_said_how_to_ask_further_back(emulator: ThreadedEmulator) -> None:
    emulator.set_backend(HERON, retired=True)
    of_old = ("--updated-before", "2020-01-01")
    shown = command("show", FALCON, *address(emulator), *of_old)
    assert (shown.code, "processor" in shown.out) == (0, True)
    assert f"Warning: {FALCON} [" in shown.err
    assert "asked for a calibration before 2020-01-01T00:00:00Z" in shown.err
    fleet = command("fleet", *address(emulator), *of_old)
    assert (fleet.code, fleet.err) == (0, "Warning: 1 backend has no such calibration\n")
    assert command("fleet", *address(emulator)).err == ""


@pytest.mark.long
def test_an_empty_range_is_told_with_the_newest_calibration() -> None:
    outcome = command("stability", "ibm_boston", "--since", "3d", "--emulator", "snapshots")
    note = "No calibration in this time; the newest one is of 2026-04-17 10:19 UTC"
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1] == f"{note}: --since 2026-04-10T10:19:24Z asks further back."
