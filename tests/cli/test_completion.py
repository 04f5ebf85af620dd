"""`qrbackends completion`: in real shells, and by the protocol that their code uses."""

import fcntl
import json
import os
import pty
import select
import shutil
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from qrbackends.cli import run as run_command
from qrbackends.emulator import Emulator, Status

from .conftest import Run
from .processes import command, own_environment

FALCON = "synthetic_falcon_27"
Complete = Callable[..., list[str]]


@pytest.fixture
def known(run_on: Run, service: Emulator) -> Emulator:
    """The service, whose lists an earlier command has kept."""
    assert run_on("backends").code == 0
    service.reset_log()
    return service


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Complete:
    """Return what bash would be told for a line that ends in its last argument."""

    def offered(*words: str, **environment: str) -> list[str]:
        line = {"COMP_WORDS": " ".join(("qrbackends", *words)), "COMP_CWORD": str(len(words))}
        capsys.readouterr()
        with monkeypatch.context() as patch:
            for name, value in (line | {"_QRBACKENDS_COMPLETE": "bash_complete"} | environment).items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                run_command(())
        out, err = capsys.readouterr()
        assert (ended.value.code, err) == (0, "")
        return [item.partition(",")[2] for item in out.splitlines() if item]

    return offered


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A directory with the command."""
    shim = tmp_path / "bin" / "qrbackends"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -W error -m qrbackends "$@"\n')
    shim.chmod(0o755)
    return shim.parent


def typed(*shell: str, setup: str, line: str, until: str, path: Path) -> str:
    """Type a line and a TAB into an interactive shell, and return what it shows until `until` is there."""
    terminal, theirs = pty.openpty()
    process = subprocess.Popen(
        shell,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=own_environment(PATH=f"{path}:{os.environ['PATH']}", TERM="dumb", PS1="ready> "),
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # the terminal is the shell's own
    )
    os.close(theirs)
    seen = ""

    def read_until(text: str) -> None:
        nonlocal seen
        while text not in seen:
            ready, _, _ = select.select([terminal], [], [], 60)
            assert ready, seen
            seen += os.read(terminal, 65536).decode(errors="replace")

    try:
        read_until("ready> ")
        os.write(terminal, f"{setup}; echo set''up\n".encode())
        read_until("setup\r\n")
        seen = seen.partition("setup\r\n")[2]
        read_until("ready> ")
        seen = ""
        os.write(terminal, f"{line}\t".encode())
        read_until(until)
        return seen
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


SHELLS = {
    "bash": (("bash", "--norc", "-i"), 'eval "$(qrbackends completion bash)"'),
    "zsh": (
        ("zsh", "-f", "-i"),
        'autoload -Uz compinit; compinit -D -u; eval "$(qrbackends completion zsh)"; PS1="ready> "',
    ),
}


@pytest.mark.parametrize("shell", [pytest.param(name, marks=needs(name)) for name in SHELLS])
def test_a_shell_completes_the_name_of_a_backend(known: Emulator, path: Path, shell: str) -> None:
    program, setup = SHELLS[shell]
    seen = typed(*program, setup=setup, line="qrbackends show synthetic_fal", until=FALCON, path=path)
    assert FALCON in seen
    assert known.count() == 0, "no request is sent"


@needs("fish")
def test_fish_completes_the_name_of_a_backend(known: Emulator, path: Path) -> None:
    script = command("completion", "fish").out
    asked = f"{script}\ncomplete -C 'qrbackends show synthetic_fal'; complete -C 'qrbackends lea'"
    found = subprocess.run(
        [str(shutil.which("fish")), "--no-config", "-c", asked],
        capture_output=True,
        text=True,
        env=own_environment(PATH=f"{path}:{os.environ['PATH']}"),
        timeout=100,
        check=True,
    )
    assert [line.split("\t")[0] for line in found.stdout.splitlines()] == [FALCON, "least-busy"]
    assert known.count() == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_code_needs_no_shell_to_be_printed(shell: str) -> None:
    found = command("completion", shell, PATH="/nowhere")
    assert (found.code, found.err) == (0, "")
    assert f"_QRBACKENDS_COMPLETE={shell}_complete" in found.out


def test_another_shell_is_wrong_usage(run: Run) -> None:
    code, out, err = run("completion", "csh")
    assert (code, out) == (2, "")
    assert "'bash', 'zsh', 'fish'" in err


def test_names_come_from_the_lists_of_the_account_that_is_meant(
    known: Emulator, complete: Complete, tmp_path: Path
) -> None:
    assert complete("show", "") == sorted(known.backends())
    assert complete("watch", FALCON, "synthetic_eag") == ["synthetic_eagle_127"]
    assert complete("plot", "map", "synthetic_fal") == [FALCON]
    assert complete("show", "", QISKIT_IBM_TOKEN="the-key-of-somebody-else") == []
    saved = {
        "lab": {"token": known.api_keys[0]},
        "other": {"token": "some-other-key"},
        "$(evil)": {"token": "x"},
    }
    file = tmp_path / "accounts.json"
    file.write_text(json.dumps(saved))
    assert complete("show", "--account-file", str(file), "--account", "") == ["lab", "other"]
    for account, names in (("lab", [FALCON]), ("other", [])):
        how = ("--account-file", str(file), "--account", account)
        assert complete("show", *how, "synthetic_fal") == names
    assert known.count() == 0


def test_names_are_known_long_after_the_list_was_fresh(
    run_on: Run, known: Emulator, complete: Complete
) -> None:
    known.fault(Status(503), times=None)
    assert run_on("cache", "info").code == 0, "which removes what has expired"
    assert complete("status", "synthetic_fal") == [FALCON]
    assert run_on("cache", "clear").code == 0
    assert complete("status", "synthetic_fal") == []


def test_nothing_is_made_or_told_where_nothing_is_known(complete: Complete, tmp_path: Path) -> None:
    assert complete("show", "") == [], "no account"
    assert complete("show", "", QISKIT_IBM_TOKEN="some-api-key") == [], "no cache"
    assert not (tmp_path / "cache").exists()
    (tmp_path / "cache" / "qrbackends").mkdir(parents=True)
    (tmp_path / "cache" / "qrbackends" / "answers.sqlite").write_text("no cache")
    assert complete("show", "", QISKIT_IBM_TOKEN="some-api-key") == []
    assert complete("show", "", "--emulator", "http://127.0.0.1:9", "") == [], "to ask it would be a request"


def test_what_a_shell_could_take_for_more_than_a_name_is_not_offered(
    run_on: Run, service: Emulator, complete: Complete
) -> None:
    status = {"name": "online"}
    names = ["plain", "$(touch evil)", "a b", "x;y", "`id`", "a\nplain,b", "*", "ibm_ü", "~root", "-rf"]
    devices = [{"name": name, "status": status, "queue_length": 0} for name in names]
    service.fault(Status(200, body={"devices": devices}), resource="backends", times=None)
    assert run_on("backends").code == 0
    assert complete("show", "") == ["plain"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("least",), ["least-busy"]),
        (("rank", "two_qubit_error_"), ["two_qubit_error_best", "two_qubit_error_layered"]),
        (
            ("fleet", "--sort", "t"),
            [
                "t1_median_s",
                "t2_median_s",
                "two_qubit_error_median",
                "two_qubit_gate",
                "two_qubit_error_layered",
            ],
        ),
        (("fleet", "--columns", "name,qu"), ["name,queue_length", "name,qubits"]),
        (("fleet", "--emulator", "syn"), ["synthetic"]),
        (("show", "--emulator", "synthetic", "synthetic_fal"), [FALCON]),
        (("fleet", "--max-two-qubit-error-"), ["--max-two-qubit-error-layered"]),
        (("completion", ""), ["bash", "zsh", "fish"]),
    ],
)
def test_everything_else_that_can_be_completed_is(
    complete: Complete, words: tuple[str, ...], offered: list[str]
) -> None:
    assert [*complete(*words)] == offered
