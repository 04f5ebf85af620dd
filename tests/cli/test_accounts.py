"""`qrbackends accounts`: what it shows, and where it takes a key from."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import Run

KEY = "k3y-Of-The-Realm"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The official client's file in the home directory of the tests."""
    return tmp_path / ".qiskit" / "qiskit-ibm.json"


def give(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Let `content` be what standard input holds."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_an_account_is_saved_listed_chosen_and_deleted(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = run("accounts", "list")
    assert (listed.code, listed.err) == (0, "")
    assert listed.out.startswith("There is no account in ")
    give(monkeypatch, f"{KEY}\r\nanother line".encode())
    saving = ("--instance", "lab-*", "--region", "eu-de", "--plan", "open", "--plan", "flex", "--tag", "x")
    assert run("accounts", "save", "mine", *saving) == (0, "Saved the account mine.\n", "")
    assert json.loads(file.read_text())["mine"] == {
        "channel": "ibm_quantum_platform",
        "instance": "lab-*",
        "plans_preference": ["open", "flex"],
        "private_endpoint": False,
        "region": "eu-de",
        "tags": ["x"],
        "token": KEY,
        "url": "https://cloud.ibm.com",
    }
    give(monkeypatch, f"{KEY}2\n".encode())
    assert run("accounts", "save", "--channel", "ibm_cloud", "--default").out == (
        "Saved the account default-ibm-cloud.\n"
    )
    rows = json.loads(run("accounts", "list", "--json").out)
    assert [(row["name"], row["is_default"]) for row in rows] == [
        ("mine", False),
        ("default-ibm-cloud", True),
    ]
    assert run("accounts", "use", "mine") == (0, "The default account is mine now.\n", "")
    shown = run("accounts", "list").out
    assert shown.split("\n")[0] == "Accounts"
    assert "mine" in shown
    assert "*" in shown.split("mine")[1].split("\n")[0]
    assert run("accounts", "delete", "mine") == (0, "Deleted the account mine.\n", "")
    assert list(json.loads(file.read_text())) == ["default-ibm-cloud"]


def test_a_saved_account_can_be_in_another_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    other = tmp_path / "other.json"
    give(monkeypatch, KEY.encode())
    assert run("accounts", "save", "a", "--account-file", str(other)).code == 0
    assert not file.exists()
    assert "a" in run("accounts", "list", "--account-file", str(other)).out
    assert run("accounts", "use", "a", "--account-file", str(other)).code == 0
    assert run("accounts", "delete", "a", "--account-file", str(other)).code == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "there is no API key on standard input"),
        (b"\n" + KEY.encode(), "there is no API key on standard input"),
        (b"k" * 5000, "too long for an API key"),
        (KEY.encode() + b"\xff\n", "printable ASCII"),
        (f"{KEY}\x1b[2J".encode(), "printable ASCII"),
        (b"short", "8 characters or more"),
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, said: str
) -> None:
    give(monkeypatch, content)
    code, out, err = run("accounts", "save")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert said in err
    assert KEY not in err
    assert not file.exists()


def test_without_standard_input_there_is_no_key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert run("accounts", "save").err == "Error: there is no API key on standard input\n"


def test_no_option_takes_a_key(run: Run) -> None:
    told = run("accounts", "save", "--help").out
    assert "key" not in " ".join(word for word in told.lower().split() if word.startswith("--"))
    assert "token" not in told.lower()


def test_failures_are_one_line(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ("use", "delete"):
        code, out, err = run("accounts", command, "nobody")
        assert (code, out) == (1, "")
        assert "no account 'nobody'; it has: none" in err
    file.parent.mkdir()
    file.write_text(json.dumps({"a": {"token": KEY}}))
    give(monkeypatch, KEY.encode())
    code, out, err = run("accounts", "save", "a")
    assert (code, out) == (1, "")
    assert "has an account 'a' already" in err
    file.write_text(KEY)
    assert run("accounts", "list") == (
        1,
        "",
        f"Error: {file} is not a JSON object of saved accounts\n".replace(
            str(file), "~/.qiskit/qiskit-ibm.json"
        ),
    )


def test_the_list_says_that_the_environment_comes_first(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.parent.mkdir()
    file.write_text(json.dumps({"a": {"token": KEY}, "odd": [KEY]}))
    assert "QISKIT_IBM_TOKEN" not in run("accounts", "list").out
    monkeypatch.setenv("QISKIT_IBM_TOKEN", KEY)
    told = run("accounts", "list").out
    assert "QISKIT_IBM_TOKEN is set" in told
    assert "odd" in told
    assert KEY not in told


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
def test_a_key_that_is_typed_at_a_terminal_is_not_echoed(file: Path) -> None:
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()

    def own_terminal() -> None:
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    command = [sys.executable, "-m", "qrbackends", "accounts", "save", "mine"]
    everything: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    environ = {**os.environ, "HOME": str(file.parent.parent)}
    written = b""
    with subprocess.Popen(
        command,
        **everything,
        env=environ,
        start_new_session=True,
        preexec_fn=own_terminal,
    ) as process:
        os.close(theirs)
        try:
            while b"API key" not in written:
                written += os.read(ours, 4096)
            os.write(ours, f"{KEY}\n".encode())
            while data := os.read(ours, 4096):
                written += data
        except OSError:  # the other end was closed
            pass
        assert process.wait(60) == 0
    os.close(ours)
    assert KEY.encode() not in written
    assert b"Saved the account mine." in written
    assert json.loads(file.read_text())["mine"]["token"] == KEY
