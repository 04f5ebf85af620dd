"""What type checkers see: a program that uses all that is public, and the type of each public name."""

import importlib
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import qrbackends

ROOT = Path(__file__).parents[1]
PACKAGE = Path(qrbackends.__file__).parents[1]
PROGRAM = Path(__file__).parent / "typed" / "use.py"


def public_modules() -> list[str]:
    """Return the modules that say what is public in them, without those of the command line."""
    found = [one.name for one in pkgutil.walk_packages(qrbackends.__path__, "qrbackends.")]
    inner = ("qrbackends.cli", "qrbackends.__main__", "qrbackends.analysis.arrow")
    public = [one for one in found if not one.startswith(inner)]
    return ["qrbackends", *(one for one in public if hasattr(importlib.import_module(one), "__all__"))]


def checked(*arguments: str, cwd: Path) -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, f"{outcome.stdout}\n{outcome.stderr}"


def test_the_program_uses_every_name_of_the_package() -> None:
    used = set(re.findall(r"\bqr\.(\w+)", PROGRAM.read_text(encoding="utf-8")))
    assert sorted(set(qrbackends.__all__) - used) == []


@pytest.mark.long
def test_mypy_finds_nothing_in_it() -> None:
    pytest.importorskip("mypy")
    config = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "\nstrict = true\n" in config.partition("[tool.mypy]")[2]
    checked("mypy", str(PROGRAM), cwd=ROOT)  # what an earlier run has kept serves this one, too


def test_pyright_finds_nothing_in_it_and_knows_each_public_name(tmp_path: Path) -> None:
    pytest.importorskip("pyright")
    (tmp_path / "use.py").write_text(PROGRAM.read_text(encoding="utf-8"), encoding="utf-8")
    names = [
        f"from {module} import {name} as name_{number}_{name}\n"
        for number, module in enumerate(public_modules())
        for name in importlib.import_module(module).__all__
        if not name.startswith("__")
    ]
    assert len(names) > 150
    exported = ", ".join(f'"{line.split()[-1]}"' for line in names)
    (tmp_path / "names.py").write_text("".join([*names, f"__all__ = [{exported}]\n"]), encoding="utf-8")
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(PACKAGE)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    checked("pyright", "--pythonpath", sys.executable, "-p", str(tmp_path), cwd=tmp_path)
