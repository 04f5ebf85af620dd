"""What the command line says where something is mistyped or missing, or is not there."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from qrbackends.cli import cli
from qrbackends.cli.choices import Choice, Group
from qrbackends.emulator import Emulator, Status

from .conftest import Outcome, Run

SYNTHETIC = ("--emulator", "synthetic")
FALCON = "synthetic_falcon_27"


def process(*arguments: str, **environment: str) -> Outcome:
    """Run a command as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "qrbackends", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def told(err: str) -> str:
    """Return the last line: the error itself."""
    assert "Traceback" not in err
    return err.rstrip("\n").rpartition("\n")[2]


# --- did you mean


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("flet",), 2, "No such command 'flet'; did you mean fleet?"),
        (("list",), 2, "No such command 'list'; did you mean fleet, backends or accounts list?"),
        (("fleet", "--emulator", "snapshot"), 2, "did you mean snapshots?"),
        (("show", "falcon", *SYNTHETIC), 1, f"lists this backend; did you mean {FALCON}?"),
        (("fleet", *SYNTHETIC, "--region", "us-eats"), 1, "did you mean us-east?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_misspelled_name_is_answered_with_the_nearest(
    arguments: tuple[str, ...], code: int, said: str
) -> None:
    outcome = process(*arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert said in told(outcome.err)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("login",), 2, "did you mean accounts save?"),
        (("cache", "claer"), 2, "did you mean clear?"),
        (("plot", "nothing"), 2, "there are fleet, history, map"),
        (("fleet", "--emulatr"), 2, "--emulator"),
        (("fleet", *SYNTHETIC, "--sort", "quee"), 2, "did you mean queue?"),
        (("show", "--emulator", "Syntetic", FALCON), 2, "did you mean synthetic?"),
        (("emulate", "--fleet", "snapshot"), 2, "did you mean snapshots?"),
        (("plot", "history", FALCON, "--name", "T1", "-o", "x.png"), 2, "did you mean t1?"),
        (("status", "synthetic-falcon", *SYNTHETIC), 1, f"did you mean {FALCON}?"),
        (("properties", "SYNTHETIC_FALCON_27", *SYNTHETIC), 1, f"did you mean {FALCON}?"),
        (("fleet", *SYNTHETIC, "--instance", "emulated-us-east"), 1, "did you mean emulated-us-east-1?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_siblings(run: Run, arguments: tuple[str, ...], code: int, said: str) -> None:
    outcome = run(*arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert said in told(outcome.err)


def test_nothing_that_is_no_name_is_taken_for_a_fleet(run: Run) -> None:
    assert run("status", "--emulator=synthetic", FALCON).code == 0
    assert FALCON in run("status", "--emulator", FALCON).err, "a backend of another fleet"


def test_an_account_that_is_not_in_the_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "accounts.json"
    file.write_text('{"work": {"token": "0123456789abcdef", "channel": "ibm_quantum_platform"}}')
    for command in (("fleet", "--account", "wrok"), ("accounts", "use", "wrok")):
        outcome = run(*command, "--account-file", str(file))
        assert (outcome.code, outcome.out) == (1, "")
        assert f"{file} has no account 'wrok'; it has: work; did you mean work?" in told(outcome.err)


def test_an_account_with_one_instance_is_told_the_names_in_its_list(run: Run, service: Emulator) -> None:
    name = service.backends("eu-de")[0]
    outcome = run("status", name[:-1], "--region", "eu-de")
    assert outcome.code == 1
    assert f"; did you mean {name}? (code" in told(outcome.err)
    assert outcome.err.count("did you mean") == 1
    service.fault(Status(500), resource="backends", times=None)
    outcome = run("status", name[:-1], "--region", "eu-de")
    assert outcome.code == 1
    assert "HTTP 404" in told(outcome.err), "the error is that of the question"


def commands(group: click.Group = cli) -> Iterator[click.Command]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield command
        if isinstance(command, click.Group):
            yield from commands(command)


def test_every_group_and_every_choice_says_which_name_is_like_it() -> None:
    for command in commands():
        assert not isinstance(command, click.Group) or isinstance(command, Group)
        for parameter in command.params:
            assert not isinstance(parameter.type, click.Choice) or isinstance(parameter.type, Choice)


# --- accounts


def test_without_an_account_it_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / ".qiskit" / "qiskit-ibm.json"
    for arguments, said in (
        ((), f"QISKIT_IBM_TOKEN is not set, and there is no file {file}"),
        (("--account", "work"), f"the account 'work' was looked for in {file}"),
    ):
        outcome = process("fleet", *arguments)
        assert (outcome.code, outcome.out, outcome.err.count("\n")) == (1, "", 1)
        for part in (said, "QISKIT_IBM_INSTANCE is optional", "--emulator"):
            assert part in outcome.err


# --- offline


def test_a_service_that_cannot_be_reached_is_one_line_that_names_it() -> None:
    crn = "crn:v1:bluemix:public:quantum-computing:eu-de:a/account:guid::"
    addresses = dict.fromkeys(("IAM_URL", "GLOBAL_SEARCH_URL", "GLOBAL_CATALOG_URL"), "http://127.0.0.1:1")
    for instance in ({}, {"QISKIT_IBM_INSTANCE": crn}):
        environment = {"QISKIT_IBM_TOKEN": "0123456789abcdef", **addresses, **instance}
        outcome = process("show", "ibm_boston", **environment)
        assert (outcome.code, outcome.out, outcome.err.count("\n")) == (1, "", 1)
        assert "IAM's host 127.0.0.1:1: no connection: " in outcome.err
        assert "closed" not in outcome.err


def test_show_tells_of_a_list_that_failed_only_if_the_rest_did_not(run: Run, service: Emulator) -> None:
    service.fault(Status(403), resource="backends", times=None)
    name = service.backends("eu-de")[0]
    found = run("show", name, "--region", "eu-de")
    assert (found.code, found.err.count("\n")) == (0, 1)
    assert found.err.startswith("Warning: [eu-de]: HTTP 403")
    service.fault(Status(403), resource="configuration", times=None)
    failed = run("show", name, "--region", "eu-de")
    assert (failed.code, failed.out, failed.err.count("\n")) == (1, "", 1)
    assert failed.err.startswith(f"Error: {name} [eu-de]: HTTP 403")
