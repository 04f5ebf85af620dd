"""What people do first works without what Windows and macOS have not; see `windows` and `macos`."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..redis_server import RedisServer, running

SCRIPT = Path(__file__).with_name("everything.py")
ROOT = SCRIPT.parents[2]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture(scope="module", params=["windows", "macos"])
def results(
    request: pytest.FixtureRequest, redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Return what each part came to, by the names in the script."""
    folder = tmp_path_factory.mktemp(request.param)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "QISKIT"))}
    # Files without an encoding are an error, and the locale has none of the package's characters.
    own |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "200"}
    own["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-X", "warn_default_encoding", str(SCRIPT)]
    outcome = subprocess.run(
        [*command, request.param, str(folder), f"redis://{redis.address}"],
        env=own,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (outcome.returncode, outcome.stderr) == (0, "")
    return dict(json.loads(line) for line in outcome.stdout.splitlines())


def done(lines: int, *seen: int | None, code: int = 0, err: str = "") -> dict[str, Any]:
    """Return what a command comes to."""
    return {"code": code, "seen": [*seen], "lines": lines, "err": err}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("quick start", [8, 8, ["eu-de"], 4]),
        ("ages", [1, 2]),
        ("FileStore", [0, True, True]),
        ("RedisStore", 0),
        ("emulate, SIGINT", done(1, 200)),
        ("emulate, SIGTERM", done(1, 200)),
        ("emulate, Ctrl-Break", done(1, 200)),
        ("a port that is taken", 1),
        ("board", done(1, 200, err="Emulated data (synthetic), not from IBM's service.\n")),
        ("watch", done(9, None, code=130, err="\n")),
        ("fleet", done(12)),
        ("accounts", [[done(1), done(1), done(1)], done(5)]),
    ],
)
def test_a_part_works(results: dict[str, Any], part: str, expected: Any) -> None:
    assert results[part] == expected
