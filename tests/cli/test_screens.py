"""Every command with a table on terminals of 60, 80, 120 and 200 columns, with and without colour."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..profiles import some_of
from .processes import emulating, on_screen

# One process runs all of them, one after the other: to start Python takes longer than a command.
DRIVER = """
import json, sys
from qrbackends.cli import run
for command in json.loads(sys.argv[1]):
    print("===", " ".join(command[:2]), flush=True)
    print("--- exit", run(command), flush=True)
"""

NAME = "synthetic_falcon_27"
COMMANDS = [
    ["fleet"],
    ["fleet", "--columns", "name,instance,reason"],
    ["backends", "--wait-times"],
    ["rank", "two_qubit_error_best"],
    ["least-busy"],
    ["instances"],
    ["versions"],
    ["show", NAME],
    ["properties", NAME],
    ["configuration", NAME],
    ["qubits", NAME, "5"],
    ["history", NAME, "--every", "1d"],
    ["drift", NAME],
    ["stability", NAME, "--every", "1d"],
]
CRN = f"crn:v1:bluemix:public:quantum-computing:eu-de:a/{'0123456789abcdef' * 2}:{'1' * 36}::"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of an emulator in a process of its own."""
    with emulating("--fleet", "synthetic") as told:
        yield told["iam_url"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a saved account."""
    (tmp_path / ".qiskit").mkdir()
    saved = {"lab": {"token": "some-api-key", "instance": CRN, "tags": ["one", "two"]}}
    (tmp_path / ".qiskit" / "qiskit-ibm.json").write_text(json.dumps(saved))
    return tmp_path


COLOUR: dict[str, str] = {}
PLAIN = {"NO_COLOR": "1"}
SCREENS = [(width, colours) for width in (80, 60, 120, 200) for colours in (PLAIN, COLOUR)]


@pytest.mark.parametrize(("width", "environment"), some_of(SCREENS))
def test_screens(url: str, home: Path, width: int, environment: dict[str, str]) -> None:
    commands = [[*one, "--emulator", url] for one in COMMANDS] + [["accounts", "list"]]
    program = (sys.executable, "-W", "error", "-c", DRIVER, json.dumps(commands))
    seen = on_screen(width, *program, environment={"HOME": str(home), **environment})
    assert (seen.code, seen.err) == (0, "")
    lines = seen.lines
    assert lines.count("--- exit 0") == len(commands)
    assert max(len(line) for line in lines if "crn:v1:" not in line) <= width
    assert ("\x1b[32m" in seen.text) is (not environment), "what works is green"
    assert ("\x1b[31m" in seen.text) is (not environment), "what does not is red"
    if environment:
        assert "\x1b" not in seen.text
    parts = dict(part.split("\n", 1) for part in "\n".join(lines).split("=== ")[1:])
    assert parts["accounts list"].count(CRN) == 1, "it is copied whole"
    for name in ("instances --emulator", "fleet --columns"):
        assert re.search(r"crn:v1:bluemix:public:quantum-computing:eu-de:a/\w+:[\w-]+::", parts[name])
        assert "Not shown for lack of room: CRN" not in parts[name]
    for name in ("fleet --emulator", "backends --wait-times", "rank two_qubit_error_best"):
        header = next(line for line in parts[name].splitlines() if line.startswith("backend "))
        assert {"backend", "queue"} <= {*header.split()}
        assert ("wait p95 s" if name == "backends --wait-times" else "2q err") in header
        assert ("T1 µs" in header) <= ("2q err" in header)
        assert "2q best" in header or name != "rank two_qubit_error_best"
    if width == 200:
        assert "Not shown" not in "".join(lines)
