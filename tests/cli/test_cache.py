"""`qrbackends cache`, and what commands keep between runs."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qrbackends.accounts.scope import Scopes
from qrbackends.cache.stores.file import FileInfo, FileStore
from qrbackends.cache.stores.seal import seal, unseal
from qrbackends.cli import kept
from qrbackends.emulator import Emulator, Status
from qrbackends.protocol.requests import API_VERSION

from .conftest import Run
from .test_documents import FALCON, facts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "qrbackends" / "answers.sqlite"


def keep(path: Path, **values: bytes) -> None:
    """Put values into a cache; the later ones expire later."""

    async def put() -> None:
        async with FileStore(path) as store:
            for place, (name, value) in enumerate(values.items(), 1):
                assert await store.put("s", name, value, 10_000 * place)

    asyncio.run(put())


def test_it_is_where_the_system_keeps_caches(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kept.cache_path() == path
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert tmp_path in kept.cache_path().parents


def test_without_a_cache(run: Run, path: Path) -> None:
    assert run("cache", "info") == (0, f"There is no cache yet; it will be {path}.\n", "")
    assert run("cache", "clear") == (0, "Removed 0 answers.\n", "")
    code, out, err = run("cache", "info", "--json")
    assert (code, json.loads(out), err) == (
        0,
        {
            "path": str(path),
            "entries": 0,
            "bytes": 0,
            "file_bytes": 0,
            "next_expiry": None,
            "last_expiry": None,
        },
        "",
    )
    code, out, err = run("cache", "clear", "--json")
    assert (code, json.loads(out), err) == (0, {"path": str(path), "removed": 0}, "")
    assert not path.exists(), "to ask makes no file"


def test_info(run_on: Run, path: Path) -> None:
    keep(path, first=b"x" * 1_500_000, second=b"y")
    code, out, err = run_on("cache", "info")
    assert (code, err) == (0, "")
    assert out.startswith("Answers kept between runs\n")
    shown = facts(out)
    assert shown["file"].startswith(f"{path} (")
    assert shown["answers"] == "2 (1.5 MB)"
    assert shown["first expires"] == "in 2 h"
    assert shown["last expires"] == "in 5 h"
    shown = json.loads(run_on("cache", "info", "--json").out)
    assert (shown["entries"], shown["bytes"]) == (2, 1_500_001)
    assert shown["file_bytes"] > 1_500_000
    assert shown["next_expiry"].endswith("Z")


def test_clear(run_on: Run, path: Path) -> None:
    keep(path, first=b"x", second=b"y")
    assert run_on("cache", "clear") == (0, "Removed 2 answers.\n", "")
    shown = facts(run_on("cache", "info").out)
    assert (shown["answers"], shown["first expires"]) == ("0 (0 B)", "–")
    keep(path, one=b"x")
    assert run_on("cache", "clear") == (0, "Removed 1 answer.\n", "")
    keep(path, one=b"x")
    assert json.loads(run_on("cache", "clear", "--json").out) == {"path": str(path), "removed": 1}


@pytest.mark.parametrize("command", ["info", "clear"])
def test_a_file_that_is_no_cache_is_told_and_left(run_on: Run, path: Path, command: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    code, out, err = run_on("cache", command)
    assert (code, out, err) == (1, "", f"Error: {path}: not a cache of qrbackends; left as it is\n")
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2.5e9, "2.5 GB")]
)
def test_sizes(run_on: Run, path: Path, monkeypatch: pytest.MonkeyPatch, count: float, shown: str) -> None:
    async def large(_: FileStore) -> FileInfo:
        return FileInfo(str(path), entries=1, bytes=int(count), file_bytes=1)

    keep(path, one=b"x")
    monkeypatch.setattr(FileStore, "info", large)
    assert facts(run_on("cache", "info").out)["answers"] == f"1 ({shown})"


def test_the_next_run_has_the_answers_of_the_last(run_on: Run, service: Emulator, path: Path) -> None:
    first = run_on("configuration", FALCON, "--json")
    assert service.count("configuration") == 1
    assert run_on("configuration", FALCON, "--json") == first
    assert service.count("configuration") == 1
    assert json.loads(run_on("cache", "info", "--json").out)["entries"] > 0


def test_another_process_has_them_too(run_on: Run, service: Emulator, path: Path) -> None:
    run_on("fleet")
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "qrbackends", "cache", "clear", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["removed"] >= 8


def test_without_the_cache_nothing_is_read_or_written(run_on: Run, service: Emulator, path: Path) -> None:
    assert run_on("configuration", FALCON, "--no-cache").code == 0
    assert not path.exists()
    run_on("configuration", FALCON)
    content = path.read_bytes()
    asked = service.count("configuration")
    assert run_on("configuration", FALCON, "--no-cache").code == 0
    assert service.count("configuration") == asked + 1
    assert path.read_bytes() == content


def test_emulated_answers_are_not_kept(run_on: Run, path: Path) -> None:
    assert run_on("backends", "--emulator", "synthetic").code == 0
    assert run_on("backends", "--emulator", "synthetic", "--no-cache").code == 0
    assert not path.exists()


def test_a_cache_that_cannot_be_used_stops_nothing(run_on: Run, service: Emulator, path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    code, out, err = run_on("backends", "--json")
    assert (code, len(json.loads(out)["devices"])) == (0, 8)
    assert err == (
        f"Warning: {path}: not a cache of qrbackends; left as it is; no answers are kept between runs\n"
    )
    path.unlink()
    path.symlink_to(path.parent / "elsewhere")
    code, _, err = run_on("backends")
    assert (code, err.count("\n")) == (0, 1)
    assert "a symbolic link is not used as a cache" in err
    assert not path.exists()


def test_a_cache_that_fails_later_stops_nothing(
    run_on: Run, service: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> bytes | None:
        raise OSError("gone")

    monkeypatch.setattr(FileStore, "get", fail)
    code, out, err = run_on("backends")
    assert (code, out.count("synthetic_"), err) == (0, 8, "")


async def age_lists(path: Path, service: Emulator, seconds: float) -> int:
    """Let the lists that are kept have been answered so long ago, and return how many there are."""
    key = Scopes(service.account(), API_VERSION).key
    async with kept.KeptAnswers(path) as store:
        lists = await store.lists()
        for scope, name, value in lists:
            stored = unseal(key, scope, name, value, time.time())
            assert stored is not None
            older = seal(key, scope, name, stored, time.time() - seconds)
            assert await store.put(scope, name, older, 1.0)
    return len(lists)


def test_no_answer_is_shown_once_it_is_not_fresh(run_on: Run, service: Emulator, path: Path) -> None:
    assert run_on("backends").code == 0
    service.fault(Status(503), resource="backends", times=None)
    assert run_on("backends").code == 0, "it is kept, and fresh"
    assert asyncio.run(age_lists(path, service, 3600)) == 2, "lists are kept for longer than they are used"
    code, out, err = run_on("backends")
    assert (code, out) == (1, "")
    assert "503" in err
    service.clear_faults()
    assert run_on("backends").code == 0


def test_without_a_place_for_a_cache(run_on: Run, service: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: str) -> Path:
        raise RuntimeError("no home directory")

    monkeypatch.setattr("platformdirs.user_cache_path", nobody)
    assert run_on("cache", "info") == (1, "", "Error: no place for a cache: no home directory\n")
    code, out, err = run_on("backends")
    assert (code, "synthetic" in out) == (0, True)
    assert err == "Warning: no place for a cache: no home directory; no answers are kept between runs\n"
