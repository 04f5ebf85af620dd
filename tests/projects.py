"""Projects of their own, as users of this package have them, whose tests pytest runs in another process."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOOP = ("-o", "asyncio_default_fixture_loop_scope=function")  # without it, pytest-asyncio warns
ABSENT = ("cacheprovider", "schemathesis", "hypothesispytest", "xdist", "cov")  # plugins of our own tests


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder; a warning is an error."""
    absent = [f"-pno:{plugin}" for plugin in ABSENT]
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", *absent, *options]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)


def environment() -> dict[str, str]:
    """Return the variables of a process that imports the package beside these tests."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    return own | {"PYTHONPATH": str(ROOT)}


def files_of(page: str) -> dict[str, str]:
    """Return the files that a page of the documentation shows, by the name in their first line."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    files = re.findall(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(files) == text.count("\n```") // 2, "each block is a file"
    return dict(files)
