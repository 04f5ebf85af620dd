"""What is said where an extra is missing, in processes in which its packages cannot be imported."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from qrbackends import __version__
from qrbackends.messages.extras import MODULES, extra_of, install, missing, named, needed_by

from ..profiles import some_of

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
MODULE_OF = {"prometheus-client": "prometheus_client", "qiskit-ibm-runtime": "qiskit_ibm_runtime"}
BLOCKED = {module for modules in MODULES.values() for module in modules} | {"fastapi"}
WITHOUT_CLI = BLOCKED - set(MODULES["cli"])

# Two ways in which packages are kept from being imported; a package that is not installed is like neither.
FINDER = """
import importlib.abc, os, sys
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
BLOCKED = set(os.environ["BLOCKED"].split())
sys.meta_path.insert(0, Blocker())
"""
NONE = """
import os, sys
sys.modules.update(dict.fromkeys(os.environ["BLOCKED"].split()))
"""


def process(code: str, *arguments: str, blocked: set[str]) -> tuple[int, str]:
    """Run code where some packages cannot be imported; return the exit code and what is on stderr."""
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    environment = os.environ | {"BLOCKED": " ".join(blocked)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.returncode, done.stderr


def command_line(*arguments: str, blocked: set[str], way: str = FINDER) -> str:
    """Run a command, and return the one line that it writes."""
    code, err = process(f"{way}\nfrom qrbackends.__main__ import main\nmain()", *arguments, blocked=blocked)
    assert (code, err.count("\n")) == (1, 1), err
    return err


@pytest.mark.parametrize("way", some_of([FINDER, NONE]), ids=["finder", "None"])
@pytest.mark.parametrize(
    ("command", "extras"),
    [
        ("fleet", ["cli"]),
        ("--help", ["cli"]),
        ("board", ["cli", "web"]),
        ("plot map x -o x.png --emulator", ["cli", "graph", "plot", "snapshots"]),
    ],
)
def test_without_the_command_line_all_is_told_at_once(command: str, extras: list[str], way: str) -> None:
    err = command_line(*command.split(), blocked=BLOCKED, way=way)
    assert err == f"Error: the command line needs {named(extras)}: {install(extras)}\n"


def test_without_the_command_line_the_version_is_told() -> None:
    code = f"{FINDER}\nimport sys; sys.stdout = sys.stderr\nfrom qrbackends.__main__ import main\nmain()"
    assert process(code, "--version", blocked=BLOCKED) == (0, f"qrbackends {__version__}\n")


@pytest.mark.parametrize(
    ("command", "extras"),
    some_of(
        [
            ("show x --emulator", ["snapshots"]),
            ("fleet --emulator=snapshots", ["snapshots"]),
            ("emulate", ["snapshots"]),
            ("board --emulator synthetic", ["web"]),
            ("board --emulator", ["snapshots", "web"]),
            ("mcp --emulator synthetic", ["mcp"]),
            ("mcp --http --emulator synthetic", ["mcp", "web"]),
            ("exporter --emulator synthetic", ["metrics", "web"]),
            ("archive info x", ["arrow"]),
            ("archive export x x.csv", ["arrow"]),
            ("archive sync x --emulator", ["arrow", "snapshots"]),
            ("plot map synthetic_falcon_27 -o x.png --emulator synthetic", ["graph", "plot"]),
            ("plot history synthetic_falcon_27 -o x.png --emulator synthetic", ["plot"]),
            ("plot fleet -o x.png --emulator", ["plot", "snapshots"]),
        ],
        2,
    ),
)
def test_a_command_names_all_extras_that_it_needs_at_once(command: str, extras: list[str]) -> None:
    err = command_line(*command.split(), blocked=WITHOUT_CLI)
    said = f"Error: this command needs {named(extras)}: {install(extras)}"
    instead = {"emulate": "--fleet synthetic"}.get(command, "--emulator synthetic")
    assert err in (f"{said}\n", f"{said}; or try {instead}\n")
    assert "qrbackends." not in err


@pytest.mark.long
def test_all_other_commands_need_nothing_more() -> None:
    code = f"""{FINDER}
from qrbackends.cli import run
source = ["--emulator", "synthetic", "--no-cache"]
name = "synthetic_falcon_27"
for command in (
    ["fleet"], ["show", name], ["least-busy"], ["instances"], ["versions"], ["backends"], ["status", name],
    ["configuration", name], ["properties", name, "--summary"],
):
    assert run([*command, *source]) == 0, command
for command in ("board", "exporter", "emulate", "archive", "plot", "record", "cache", "accounts", "watch"):
    assert run([command, "--help"]) == 0, command
"""
    assert process(code, blocked=WITHOUT_CLI) == (0, "")


@pytest.mark.parametrize(
    ("code", "said"),
    some_of(
        [
            (
                "from qrbackends.web import ClientDep",
                "qrbackends.web.ClientDep needs FastAPI: pip install fastapi",
            ),
            ("from qrbackends.web import Pace", f"qrbackends.web needs the extra web: {install(['web'])}"),
            (
                "from qrbackends.web import MetricsApp",
                f"qrbackends.web needs the extras metrics and web: {install(['metrics', 'web'])}",
            ),
            ("import qrbackends.analysis.plot", f"plots need matplotlib: {install(['plot'])}"),
            ("import qrbackends.analysis.archive", f"archives need pyarrow: {install(['arrow'])}"),
            (
                "import qrbackends.interop.prometheus",
                f"metrics need prometheus-client: {install(['metrics'])}",
            ),
            ("import qrbackends as q; q.RedisStore('redis://x')", f"package redis: {install(['redis'])}"),
            ("from qrbackends.emulator import SnapshotFleet as F; F()", f"wheel: {install(['snapshots'])}"),
        ],
        3,
    ),
)
def test_imports_in_python_say_what_to_install(code: str, said: str) -> None:
    returned, err = process(f"{FINDER}\n{code}", blocked=BLOCKED)
    assert returned == 1
    assert err.rstrip().endswith(said)


def test_the_extras_bring_what_pyproject_says() -> None:
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    users = {name: extras[name] for name in extras if name in MODULES}
    for name, requirements in users.items():
        brought = {Requirement(one).name for one in requirements} - {
            "qrbackends"
        }  # which names another extra
        assert {MODULE_OF.get(one, one.replace("-", "_")) for one in brought} == set(MODULES[name])
    everything = extras["all"][0].partition("[")[2].rstrip("]").split(",")
    assert set(MODULES) == set(everything) - {"speed"}


def test_what_is_there_is_not_missing() -> None:
    assert missing(["cli", "web"]) == []
    assert extra_of(ImportError("x", name="rich.table")) == "cli"
    assert extra_of(ImportError("x", name="numpy")) is None
    assert extra_of(ImportError("x")) is None


@pytest.mark.parametrize(
    ("arguments", "extras"),
    [
        ("", {"cli"}),
        ("fleet --emulator synthetic", {"cli"}),
        ("fleet --emulator ./recorded", {"cli"}),
        ("fleet --emulator http://127.0.0.1:8102", {"cli"}),
        ("fleet --emulator --json", {"cli", "snapshots"}),
        ("--json fleet --emulator", {"cli", "snapshots"}),
        ("emulate --fleet synthetic", {"cli"}),
        ("emulate --fleet=snapshots:current", {"cli", "snapshots"}),
        ("plot history x", {"cli", "plot"}),
        ("board --emulator synthetic", {"cli", "web"}),
        ("board --emulator synthetic --archive=kept", {"arrow", "cli", "web"}),
        ("plot", {"cli", "plot"}),
    ],
)
def test_what_a_command_needs(arguments: str, extras: set[str]) -> None:
    assert needed_by(arguments.split()) == extras
