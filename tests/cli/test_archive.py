"""`archive` and `plot`, against the emulator."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars
import pytest
from matplotlib.image import imread

from qrbackends.emulator import Emulator, Status

from ..profiles import some_of
from .conftest import Run

HOURS = 6
ROOT = Path(__file__).parents[2]


def range_of(hours: int = HOURS) -> tuple[str, ...]:
    now = datetime.now(UTC)
    return ("--since", (now - timedelta(hours=hours)).isoformat(), "--until", now.isoformat())


def test_an_archive_is_filled_shown_and_exported(run: Run, service: Emulator, tmp_path: Path) -> None:
    url, name = str(tmp_path / "calibrations"), "synthetic_falcon_27"
    outcome = run("archive", "sync", url, name, *range_of())
    assert outcome.code == 0
    assert outcome.out == f"{HOURS} calibrations of 1 backend are new.\n"
    again = run("archive", "sync", url, name, *range_of(), "--json")
    assert json.loads(again.out)["added"][name] <= 1
    shown = run("archive", "info", url)
    assert re.search(rf"{name}\s+[67]\s", shown.out)
    (held,) = json.loads(run("archive", "info", url, "--json").out)
    assert held["backend"] == name
    file = tmp_path / "t1.csv"
    outcome = run("archive", "export", url, str(file), "--name", "T1", "--backend", name)
    assert outcome.out == f"{held['calibrations'] * 27:,} rows.\n"
    assert polars.read_csv(file)["value"].len() == held["calibrations"] * 27


def test_what_cannot_be_read_is_told(run: Run, service: Emulator, tmp_path: Path) -> None:
    sync = ("archive", "sync", str(tmp_path / "a"))
    outcome = run(*sync, "nowhere", "synthetic_falcon_27", *range_of())
    assert outcome.code == 0
    assert "Warning: nowhere" in outcome.err
    service.fault(Status(404), resource="properties", times=None)
    outcome = run(*sync, "nowhere", "anywhere", *range_of(), "--json")
    assert (outcome.code, outcome.out) == (1, "")
    assert [line.split(": ")[:2] for line in outcome.err.splitlines()] == [
        ["Warning", "nowhere"],
        ["Error", "anywhere"],
    ]


def test_a_wrong_name_of_an_export_is_wrong_usage(run: Run, tmp_path: Path) -> None:
    outcome = run("archive", "export", str(tmp_path), str(tmp_path / "all.xlsx"))
    assert outcome.code == 2
    assert ".parquet or .csv" in outcome.err


@pytest.mark.parametrize("kind", some_of(["png", "svg", "pdf"]))
def test_a_device_is_drawn_and_says_that_it_is_emulated(kind: str, run: Run, tmp_path: Path) -> None:
    file = tmp_path / f"map.{kind}"
    outcome = run("plot", "map", "synthetic_falcon_27", "--emulator", "synthetic", "-o", str(file))
    assert outcome.code == 0
    assert "Emulated data" in outcome.err
    head = file.read_bytes()
    assert head.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind])


def test_where_there_is_no_archive_every_command_says_the_same(run: Run, tmp_path: Path) -> None:
    url, file = str(tmp_path / "mistyped" / "archive"), str(tmp_path / "all.csv")
    for command in (
        ("archive", "info", url),
        ("archive", "info", url, "--json"),
        ("archive", "compact", url),
        ("archive", "export", url, file),
        ("archive", "export", url, file, "--name", "nothing"),
        ("stability", "ibm_boston", "--archive", url),
        ("stability", "ibm_boston", "--archive", url, "--since", "7d", "--json"),
    ):
        outcome = run(*command)
        assert (outcome.code, outcome.out) == (1, "")
        assert " ".join(outcome.err.split()) == f"Error: {url}: there is no archive of calibrations"
        assert list(tmp_path.iterdir()) == []


def test_history_and_fleet_are_drawn(run: Run, tmp_path: Path) -> None:
    for arguments in (
        (
            "history",
            "synthetic_falcon_27",
            "--name",
            "readout_error",
            "--qubit",
            "3",
            *range_of(),
            "--every",
            "1",
        ),
        ("fleet",),
    ):
        file = tmp_path / f"{arguments[0]}.png"
        outcome = run("plot", *arguments, "--emulator", "synthetic", "-o", str(file), "--json")
        assert outcome.code == 0, outcome.err
        assert json.loads(outcome.out) == {"file": str(file)}
        assert file.stat().st_size > 5000


def test_a_picture_of_another_kind_is_wrong_usage(run: Run, tmp_path: Path) -> None:
    outcome = run("plot", "fleet", "--emulator", "synthetic", "-o", str(tmp_path / "fleet.bmp"))
    assert outcome.code == 2
    assert ".png, .svg, .pdf" in outcome.err


COMMANDS = [
    line.split()[1:]
    for line in (ROOT / "docs" / "plots.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("qrbackends plot ")
]


@pytest.mark.parametrize("command", some_of(COMMANDS), ids=[command[1] for command in COMMANDS])
def test_the_pictures_of_the_page_are_what_its_commands_draw(
    command: list[str], run: Run, tmp_path: Path
) -> None:
    known = imread(ROOT / command[-1])
    drawn = tmp_path / "drawn.png"
    assert run(*command[:-1], str(drawn)).code == 0
    found = imread(drawn)
    assert found.shape == known.shape
    assert abs(found - known).mean() < 0.02  # of the range from black to white
