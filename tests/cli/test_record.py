"""`qrbackends record`, in this process."""

import json
from pathlib import Path

import pytest

from qrbackends.emulator import Emulator, Status

from .conftest import Run
from .test_emulate import told_at_once

NAME = "synthetic_falcon_27"

__all__ = ["told_at_once"]


@pytest.mark.usefixtures("told_at_once")
def test_it_records_what_the_account_sees_and_emulate_serves_it(
    run: Run, service: Emulator, tmp_path: Path
) -> None:
    directory = tmp_path / "new" / "recording"
    code, out, err = run("record", str(directory))
    assert (code, err) == (0, "")
    assert out.startswith("8 devices, 32 answers, ")
    assert out.endswith(f"\nqrbackends emulate --fleet {directory}\n")
    assert service.count("backends") == 2
    assert service.count("configuration") == service.count("defaults") == 8
    name = service.backends()[0]
    assert json.loads((directory / f"conf_{name}.json").read_bytes())["backend_name"] == name
    shown = json.loads(run("emulate", "--json", "--fleet", str(directory), "--backends", name).out)
    assert (shown["fleet"], shown["backends"]) == (str(directory), 1)
    broken = directory / "recording.json"
    broken.write_text("{}")
    code, _, err = run("emulate", "--fleet", str(directory))
    assert code == 1
    assert err.startswith(f"Error: {directory}: a file is not as it should be: ")


def test_names_of_instances_are_looked_up_and_replaced(run: Run, service: Emulator, tmp_path: Path) -> None:
    name = service.backends("us-east")[0]
    body = {"errors": [{"message": f"{service.instances[0].name} cannot"}]}
    service.fault(Status(400, body=body), resource="status", backend=name, times=None)
    code, _, err = run("record", str(tmp_path / "one"), "--backends", name)
    assert code == 0, err
    assert err.count("\n") == 1, "the error is told"
    written = (tmp_path / "one" / f"400_status_{name}.txt").read_text()
    assert json.loads(written) == {"errors": [{"message": "instance-1 cannot"}]}
    service.fault(Status(400), resource="search", times=None)
    code, _, err = run("record", str(tmp_path / "two"), "--backends", name)
    assert code == 0, err
    assert err.startswith("Warning: the names of the instances are not known, and not replaced: ")


def test_a_directory_with_files_is_written_into_on_request_only(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("Dear")
    arguments = (
        "record",
        str(tmp_path / "mine"),
        "--emulator",
        "synthetic",
        "--backends",
        "synthetic_falcon_27",
    )
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err == f"Error: {tmp_path / 'mine'}: it is not empty; --overwrite writes into it nevertheless\n"
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]
    code, out, err = run(*arguments, "--overwrite", "--json")
    assert code == 0, err
    shown = json.loads(out)
    assert shown == {
        "directory": str(tmp_path / "mine"),
        "backends": [NAME],
        "answers": 4,
        "size": shown["size"],
        "failures": [],
    }
    assert shown["size"] > 10_000
    assert err == "Emulated data (synthetic), not from IBM's service.\n"
    assert (tmp_path / "mine" / "letter.txt").read_text() == "Dear"


def test_a_device_that_nobody_has(run: Run, tmp_path: Path) -> None:
    code, out, err = run(
        "record", str(tmp_path / "x"), "--emulator", "synthetic", "--backends", "synthetic_falcn_27"
    )
    assert (code, out) == (2, "")
    assert f"did you mean {NAME}?" in err
    assert list((tmp_path / "x").iterdir()) == []


@pytest.mark.parametrize("names", ["", " , "])
def test_no_name_is_no_device(run: Run, tmp_path: Path, names: str) -> None:
    code, out, err = run("record", str(tmp_path / "x"), "--emulator", "synthetic", "--backends", names)
    assert (code, out) == (2, "")
    assert "backends names none: give at least one" in err


def test_a_directory_that_cannot_be_made(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, out, err = run("record", str(tmp_path / "file" / "x"), "--emulator", "synthetic")
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: {tmp_path / 'file'}")
