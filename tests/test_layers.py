"""A folder imports only from those below it, and importing the package imports its core and nothing else."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import qrbackends

ROOT = Path(qrbackends.__file__).parent

# From the top down; each imports only from those that come after it.
ROOMS = [
    "__main__",
    "cli",
    "testing",
    "agents",
    "pytest_plugin",
    "web",
    "gateway",
    "analysis",
    "interop",
    "__init__",
    "client",
    "assembly",
    "fleet",
    "cache",
    "service",
    "transport",
    "emulator",
    "surface",
    "protocol",
    "tasks",
    "accounts",
    "models",
    "messages",
    "errors",
    "_version",
]


# The same within the emulator, whose own modules are "server" and the like.
PARTS = ["", "steering", "services", "surface", "devices"]


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Return the rooms of this package that a module imports, wherever in it."""
    package = ["qrbackends", *path.relative_to(ROOT).parts[:-1]]
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names = [stem] if stem != "qrbackends" else [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, _, rest = name.partition(".")
            if first == "qrbackends":
                inner = rest.partition(".")[0]
                rooms.add(inner if (ROOT / inner).exists() or (ROOT / f"{inner}.py").exists() else "__init__")
    return rooms


def test_every_module_has_a_room() -> None:
    assert sorted({room(path) for path in modules()}) == sorted(ROOMS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downward(path: Path) -> None:
    own = room(path)
    upward = {other for other in imported_rooms(path) - {own} if ROOMS.index(other) < ROOMS.index(own)}
    assert not upward, f"{own} is below {sorted(upward)} and may not import from there"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "emulator").glob("*/*.py")), ids=lambda path: "/".join(path.parts[-2:])
)
def test_imports_go_downward_in_the_emulator(path: Path) -> None:
    own = PARTS.index(path.parent.name)
    tree = ast.walk(ast.parse(path.read_text()))
    names = {node.module or "" for node in tree if isinstance(node, ast.ImportFrom) and node.level == 2}
    parts = {PARTS.index(name.partition(".")[0]) if name.partition(".")[0] in PARTS else 0 for name in names}
    assert all(part > own for part in parts), f"{path.parent.name} may not import from above it"


def test_few_modules_lie_outside_the_folders() -> None:
    loose = {path.stem for path in ROOT.glob("*.py")} - {"__init__", "__main__", "_version"}
    assert loose == {"assembly", "client", "errors", "pytest_plugin"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 420


FOLDERS = sorted({path.parent for path in modules()} - {ROOT})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_folder_says_what_lives_there(folder: Path) -> None:
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    assert len(said.splitlines()) >= 3
    assert "Start with" in said or "start with" in said


def test_the_package_imports_its_core_and_nothing_else() -> None:
    watched = {
        "click",
        "mcp",
        "numpy",
        "prometheus_client",
        "pyarrow",
        "qiskit",
        "redis",
        "rich",
        "starlette",
    }
    edges = {"qrbackends.cli", "qrbackends.emulator", "qrbackends.testing", "aiohttp.web", "pytest"}
    code = f"import sys; from qrbackends import *; print({watched | edges} & set(sys.modules))"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (outcome.stdout, outcome.stderr) == ("set()\n", "")


def test_the_package_imports_nothing_before_it_is_asked_for() -> None:
    code = "import sys, qrbackends; print({'aiohttp', 'msgspec', 'anyio'} & set(sys.modules))"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (outcome.stdout, outcome.stderr) == ("set()\n", "")


def test_everything_public_is_exported_and_exists() -> None:
    assert len(set(qrbackends.__all__)) == len(qrbackends.__all__)
    assert dir(qrbackends) == sorted(qrbackends.__all__)
    for name in qrbackends.__all__:
        assert hasattr(qrbackends, name)


def test_nothing_else_is_taken_for_public() -> None:
    with pytest.raises(AttributeError, match="'qrbackends' has no attribute 'Clients'"):
        getattr(qrbackends, "Clients")  # noqa: B009
    with pytest.raises(AttributeError):
        getattr(qrbackends, "logger")  # noqa: B009  # several modules have one


def test_what_checkers_see_is_what_there_is() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = [alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted([*seen, "__version__"]) == sorted(qrbackends.__all__)
