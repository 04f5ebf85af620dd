"""The command line, run in this process."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from anyio.from_thread import start_blocking_portal

from qrbackends.accounts.account import Account
from qrbackends.cli import options
from qrbackends.cli import run as run_command
from qrbackends.emulator import Emulator


class Outcome(NamedTuple):
    """The exit code of a command, and what it wrote."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody's home and cache, and nobody's screen."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("COLUMNS", "TERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run_on(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with what earlier ones kept: `run_on("fleet", "--json")`."""

    def runs(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = run_command(arguments)
        return Outcome(code, *capsys.readouterr())

    return runs


@pytest.fixture
def run(run_on: Run, tmp_path: Path) -> Run:
    """Run a command as if it were the first one: nothing is kept from earlier ones."""

    def runs(*arguments: str) -> Outcome:
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        return run_on(*arguments)

    return runs


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[Emulator]:
    """An emulator in another thread, which is to the command line what the service is."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Emulator(control_port=0)) as running,
    ):
        yield running


@pytest.fixture
def service(elsewhere: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """Let `elsewhere` be IBM's service, with an account in the environment; faults are over at the end."""
    monkeypatch.setenv("QISKIT_IBM_TOKEN", elsewhere.api_keys[0])
    monkeypatch.setattr(options, "load_account", lambda *_, **__: elsewhere.account())
    monkeypatch.setattr(Account, "emulated", False)
    elsewhere.reset_log()
    yield elsewhere
    elsewhere.clear_faults()
