"""Exit codes, and messages on stderr."""

import subprocess
import sys
from collections.abc import Callable

import click
import pytest

from qrbackends import Client, QRBackendsError, __main__, __version__
from qrbackends.cli import cli

from .conftest import Run


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"qrbackends {__version__}\n", "")


def test_help_names_every_command(run: Run) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for command in ("fleet", "backends", "configuration", "properties", "status", "defaults", "emulate"):
        assert f"\n  {command} " in out
        assert "..." not in out.partition("Commands:")[2], "a description is cut off"
        assert run(command, "-h").code == 0
    assert "Exit codes" in out
    assert "QRBACKENDS_DEBUG" in out


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("bogus",),
        ("fleet", "--bogus"),
        ("fleet", "--sort", "beauty"),
        ("fleet", "--min-qubits", "-1"),
        ("fleet", "--emulator=real"),
        ("fleet", "--emulator", "--account", "x"),
        ("fleet", "--instance", "crn:v1"),
        ("fleet", "--account-file", "/nowhere/at/all"),
        ("status",),
        ("status", "a", "b"),
        ("status", "..", "--emulator", "synthetic"),
        ("status", "", "--emulator", "synthetic"),
        ("status", "x", "--calibration-id", "y"),
        ("properties", "x", "--updated-before", "soon"),
        ("emulate", "--port", "65536"),
        ("emulate", "--port", "65535"),
        ("emulate", "--fleet", "/nowhere/at/all"),
        ("emulate", "--regions", "us-east,,eu-de"),
        ("emulate", "--regions", "us-east,cloud"),
        ("emulate", "--regions", "us-east,us-east"),
    ],
    ids=" ".join,
)
def test_wrong_usage(run: Run, arguments: tuple[str, ...]) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    # The reason comes before how the command is used; without a command, there is help.
    assert err.startswith("Error: " if arguments else "Usage: ")


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (QRBackendsError("two\nlines \x1b[31m"), "Error: two lines \N{REPLACEMENT CHARACTER}[31m"),
        (OSError(28, "No space left on device"), "Error: No space left on device"),
        (OSError(28, "No space left on device", "/dev/full"), "Error: /dev/full: No space left on device"),
        (FileNotFoundError("/x holds nothing"), "Error: /x holds nothing"),
    ],
)
def test_a_failure_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, raised: Exception, message: str
) -> None:
    monkeypatch.setattr(Client, "status", _raising(raised))
    assert run("status", "x", "--emulator", "synthetic") == (1, "", f"{message}\n")


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_is_130(run: Run, monkeypatch: pytest.MonkeyPatch, raised: BaseException) -> None:
    monkeypatch.setattr(Client, "status", _raising(raised))
    code, out, err = run("status", "x", "--emulator", "synthetic")
    assert (code, out, err.strip()) == (130, "", "")


def test_an_internal_error_is_one_line_and_a_traceback_for_those_who_ask(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Client, "status", _raising(ZeroDivisionError("surprise")))
    code, out, err = run("status", "x", "--emulator", "synthetic")
    assert (code, out) == (1, "")
    assert err == (
        "Error: internal error, please report it (ZeroDivisionError: surprise); "
        "QRBACKENDS_DEBUG=1 shows where\n"
    )
    monkeypatch.setenv("QRBACKENDS_DEBUG", "1")
    assert "Traceback (most recent call last)" in run("status", "x", "--emulator", "synthetic").err


def test_a_command_may_return_a_code(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "main", lambda *_, **__: 7)
    assert run() == (7, "", "")


def test_an_early_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("qrbackends.cli.run", interrupted)
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 130


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_as_a_module() -> None:
    command = [sys.executable, "-m", "qrbackends", "--version"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, f"qrbackends {__version__}\n", "")


def _raising(error: BaseException) -> Callable[..., object]:
    async def method(*_: object, **__: object) -> object:
        raise error

    return method
