"""What the command line says where something is mistyped or missing, or is not there."""

import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest

from qrbackends.cli import cli
from qrbackends.cli.choices import Choice, Group
from qrbackends.emulator import Emulator, Status
from qrbackends.messages.counts import counted

from .conftest import Run
from .processes import command

SYNTHETIC = ("--emulator", "synthetic")
FALCON = "synthetic_falcon_27"


def told(err: str) -> str:
    """Return the line that is the error itself, else the last one."""
    assert "Traceback" not in err
    lines = err.splitlines()
    return next((line for line in lines if line.startswith("Error: ")), lines[-1])


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
    outcome = command(*arguments)
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
        (("plot", "history", FALCON, "--name", "redout", "-o", "x.png"), 2, "mean readout_error?"),
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
    for asked in (("fleet", "--account", "wrok"), ("accounts", "use", "wrok")):
        outcome = run(*asked, "--account-file", str(file))
        assert (outcome.code, outcome.out) == (1, "")
        assert f"{file} has no account 'wrok'; it has: work; did you mean work?" in told(outcome.err)


def test_a_backend_of_an_instance_that_was_left_out_is_found_there(run: Run, service: Emulator) -> None:
    name = service.backends("us-east")[0]
    outcome = run("status", name, "--region", "eu-de")
    assert outcome.code == 1
    assert "; the instance emulated-us-east-1 lists it (code" in told(outcome.err)


@pytest.mark.long
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


@pytest.mark.long
def test_where_a_backend_is_elsewhere_its_instance_is_named_and_no_other_name(
    run: Run, service: Emulator
) -> None:
    name = service.backends("eu-de")[0]
    for narrowed in (("--region", "us-east"), ("--instance", service.instances[0].crn)):
        outcome = run("status", name, *narrowed)
        assert outcome.code == 1
        assert "; the instance emulated-eu-de-1 lists it (code" in told(outcome.err)
        assert "did you mean" not in outcome.err
    service.fault(Status(500), resource="backends", region="us-east", times=None)
    outcome = run("show", f"{name}x")
    assert outcome.code == 1
    assert "could not be listed" in told(outcome.err)
    assert "did you mean" not in outcome.err, "the list that is missing may have it"


def test_an_emulators_key_is_not_sent_to_ibm() -> None:
    environment = {"QISKIT_IBM_TOKEN": "emulated-0123456789", "IAM_URL": "http://127.0.0.1:9"}
    outcome = command("fleet", **environment)
    assert (outcome.code, outcome.out) == (1, "")
    assert "would be used at quantum.cloud.ibm.com, which does not know it: give --emulator" in outcome.err
    assert "--emulator http://127.0.0.1:9, the address" in outcome.err


def commands(group: click.Group = cli) -> Iterator[click.Command]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield command
        if isinstance(command, click.Group):
            yield from commands(command)


def test_every_group_and_every_choice_says_which_name_is_like_it() -> None:
    for one in commands():
        assert not isinstance(one, click.Group) or isinstance(one, Group)
        for parameter in one.params:
            assert not isinstance(parameter.type, click.Choice) or isinstance(parameter.type, Choice)


# --- accounts


def test_without_an_account_it_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / ".qiskit" / "qiskit-ibm.json"
    for arguments, said in (
        ((), f"QISKIT_IBM_TOKEN is not set, and there is no file {file}"),
        (("--account", "work"), f"the account 'work' was looked for in {file}"),
    ):
        outcome = command("fleet", *arguments)
        assert (outcome.code, outcome.out, outcome.err.count("\n")) == (1, "", 1)
        for part in (said, "QISKIT_IBM_INSTANCE is optional", "--emulator"):
            assert part in outcome.err


# --- what is not there


def test_defaults_are_withdrawn(service: Emulator, run: Run) -> None:
    missing = command("defaults", "synthetic_heron_133", *SYNTHETIC)
    assert (missing.code, missing.out) == (1, "")
    assert "the service has withdrawn pulse-level defaults, and most backends have none" in told(missing.err)
    empty = run("defaults", "synthetic_eagle_127")
    assert (empty.code, empty.err) == (0, "")
    assert "It has withdrawn pulse-level defaults." in empty.out


@pytest.mark.long
def test_a_history_without_calibrations_says_of_when_the_newest_is(tmp_path: Path) -> None:
    file = tmp_path / "history.png"
    asked = ("plot", "history", "ibm_boston", "--emulator", "snapshots", "-o", str(file))
    outcome = command(*asked, "--since", "7d")
    assert (outcome.code, outcome.out, file.exists()) == (1, "", False)
    assert "; the newest one is of 2026-04-17 10:19 UTC: --since 2026-04-10T10:19:24Z asks further back" in (
        told(outcome.err)
    )
    again = command(*asked)
    assert (again.code, again.out, file.exists()) == (0, f"{file} is drawn.\n", True)


@pytest.mark.usefixtures("service")
def test_a_port_in_use_is_told_with_a_way_to_a_free_one(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        outcome = run("exporter", "--port", str(taken.getsockname()[1]))
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("Error: cannot listen at 127.0.0.1")
    assert outcome.err.endswith("Address already in use; --port 0 takes a free port\n")


def test_an_archive_of_nothing_fails_and_creates_nothing(run: Run, service: Emulator, tmp_path: Path) -> None:
    url, file = tmp_path / "archive", tmp_path / "values.csv"
    for asked in (("info", str(url)), ("export", str(url), str(file))):
        outcome = command("archive", *asked)
        assert (outcome.code, outcome.out, list(tmp_path.glob("*"))) == (1, "", [])
    now = datetime.now(UTC)
    since = ("--since", (now - timedelta(hours=1)).isoformat(), "--until", now.isoformat())
    assert run("archive", "sync", str(url), FALCON, *since).out == "1 calibration of 1 backend is new.\n"
    for options, said in (
        (("--name", "gate_eror"), "did you mean gate_error?"),
        (("--backend", "falcon"), f"did you mean {FALCON}?"),
        (("--until", "2020-01-01T00:00:00Z"), "nothing was written"),
    ):
        outcome = run("archive", "export", str(url), str(file), *options)
        assert (outcome.code, outcome.out, file.exists()) == (2 if "--name" in options else 1, "", False)
        assert said in told(outcome.err)
    assert "1 calibration, " in run("archive", "info", str(url)).out
    assert run("archive", "export", str(url), str(file), "--name", "t1").out == "27 rows.\n"
    old = ("--since", "2020-01-01T00:00:00Z", "--until", "2020-01-02T00:00:00Z")
    nothing = run("archive", "sync", str(url), FALCON, *old)
    assert nothing.out == "0 calibrations of 1 backend are new.\n"


@pytest.mark.long
def test_what_is_too_old_to_be_synced_is_told(tmp_path: Path) -> None:
    outcome = command("archive", "sync", str(tmp_path / "archive"), "ibm_boston", "--emulator", "snapshots")
    assert (outcome.code, outcome.out) == (0, "0 calibrations of 1 backend are new.\n")
    assert "ibm_boston: the newest calibration is of 2026-04-17 10:19 UTC; --since asks further back" in (
        outcome.err
    )


def test_one_thing_is_no_plural(run: Run) -> None:
    assert (
        run("fleet", *SYNTHETIC, "--name", FALCON).out.splitlines()[-1].startswith("1 backend in 1 region, ")
    )
    largest = run("least-busy", *SYNTHETIC, "--min-qubits", "1000")
    assert (largest.code, largest.out) == (1, "")
    assert re.search(
        r"none of the account's \d+ backends is what is wanted; the largest has \d+ qubits", largest.err
    )
    assert (counted(1, "entry", "entries"), counted(2, "entry", "entries")) == ("1 entry", "2 entries")
    assert (counted(1, "job"), counted(0, "job"), counted(1234, "job")) == ("1 job", "0 jobs", "1,234 jobs")


# --- offline


def test_a_service_that_cannot_be_reached_is_one_line_that_names_it() -> None:
    crn = "crn:v1:bluemix:public:quantum-computing:eu-de:a/account:guid::"
    addresses = dict.fromkeys(("IAM_URL", "GLOBAL_SEARCH_URL", "GLOBAL_CATALOG_URL"), "http://127.0.0.1:1")
    for instance in ({}, {"QISKIT_IBM_INSTANCE": crn}):
        environment = {"QISKIT_IBM_TOKEN": "0123456789abcdef", **addresses, **instance}
        outcome = command("show", "ibm_boston", **environment)
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
