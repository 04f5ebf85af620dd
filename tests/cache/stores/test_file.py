"""The store in a file: real files, and real processes that share them."""

# ruff: noqa: ASYNC240  # local files, and nothing else to do meanwhile

import asyncio
import errno
import logging
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from qrbackends.accounts.account import Instance
from qrbackends.accounts.scope import Scope
from qrbackends.cache.stores.base import LeasingStore, Store
from qrbackends.cache.stores.file import FileInfo, FileStore
from qrbackends.cache.stores.seal import Stored
from qrbackends.cache.stores.sealed import Shared
from qrbackends.testing import StoreClock, StoreContract
from qrbackends.transport.body import Wire

from ...internals import execute, operations_waiting
from ...waiting import until

pytestmark = pytest.mark.anyio

BESIDE = ("-wal", "-shm", "-journal")

# What each of several processes does: it puts a name of its own and the name that all put, and reads that.
WRITING = """
import asyncio, sys
from qrbackends.cache.stores.file import FileStore

path, owner, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])

async def write():
    for number in range(rounds):
        async with FileStore(path, timeout=60) as store:
            assert await store.put("s", f"{owner}-{number}", owner.encode(), 600)
            assert await store.put("s", "common", owner.encode() * 100_000, 600)
            common = await store.get("s", "common")
            assert common == common[:1] * 100_000, "one process's value, and whole"
            await store.delete("s", [f"{owner}-{number - 1}"])

asyncio.run(write())
"""

LOCKING = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
db.execute("DELETE FROM answers")
print(True, flush=True)
sys.stdin.read()
"""

Start = Callable[..., subprocess.Popen[str]]

INSTANCE = Instance("crn:v1:bluemix:public:quantum-computing:us-east:a/1:2::")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "answers.sqlite"


@pytest.fixture
def clock() -> StoreClock:
    return StoreClock()


@pytest.fixture
async def store(path: Path, clock: StoreClock) -> AsyncIterator[FileStore]:
    async with FileStore(path, clock=clock, timeout=30) as opened:
        yield opened


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process of some code, and end it at the end if it still runs."""
    started: list[subprocess.Popen[str]] = []

    def starts(code: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        started.append(subprocess.Popen(command, text=True, **pipes))
        return started[-1]

    yield starts
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def careless() -> Iterator[None]:
    """A umask that takes no rights away."""
    before = os.umask(0)
    yield
    os.umask(before)


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


async def refused(store: FileStore) -> OSError:
    """Return why a store cannot be used."""
    with pytest.raises(OSError) as raised:  # noqa: PT011
        await store.get("s", "n")
    assert raised.value.filename == str(store.path)
    return raised.value


# --- values


class TestFileStore(StoreContract):
    @pytest.fixture
    def make_store(self, path: Path, store_clock: StoreClock) -> Callable[[], FileStore]:
        return lambda: FileStore(path, clock=store_clock, timeout=30)

    @pytest.fixture
    def spoil(self, path: Path) -> Callable[[str, str], Awaitable[None]]:
        async def spoil(scope: str, name: str) -> None:
            with closing(sqlite3.connect(path)) as db, db:
                db.execute("UPDATE answers SET value = 'text' WHERE scope = ? AND name = ?", (scope, name))

        return spoil


def test_it_is_a_store(path: Path) -> None:
    store: Store = FileStore(path)
    assert store.timeout == 1.0
    assert not isinstance(store, LeasingStore)


async def test_a_relative_path_is_meant_where_one_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with FileStore("a b?#%.sqlite") as store:
        monkeypatch.chdir("/")
        assert await store.put("s", "n", b"v", 60)
    assert (tmp_path / "a b?#%.sqlite").exists()


async def test_a_delete_reaches_a_put_that_was_called_before(store: FileStore, start: Start) -> None:
    await store.open()
    process = start(LOCKING, store.path)
    assert said(process) == "True\n"
    async with anyio.create_task_group() as group:
        group.start_soon(store.put, "s", "n", b"v", 60)
        group.start_soon(store.delete, "s", ["n"])
        await until(lambda: operations_waiting(store) == 1)  # the put waits for the lock
        process.kill()
        process.wait()
    assert await store.get("s", "n") is None


async def test_what_has_ended_is_removed(path: Path, clock: StoreClock) -> None:
    def rows() -> int:
        with closing(sqlite3.connect(path)) as db:
            (count,) = db.execute("SELECT count(*) FROM answers").fetchone()
            assert isinstance(count, int)
            return count

    async with FileStore(path, clock=clock) as store:
        for name in ("n", "m"):
            assert await store.put("s", name, b"v", 60)
        assert rows() == 2
        clock.now += 60
        assert await store.names("s") == []
        assert await store.put("s", "o", b"v", 60)
        assert rows() == 1
    clock.now += 60
    async with FileStore(path, clock=clock) as store:
        await store.open()
        assert rows() == 0


async def test_names_are_found_by_a_pattern_in_all_scopes(store: FileStore, clock: StoreClock) -> None:
    for scope, name in (("s", "a?x=1"), ("t", "a?x=2"), ("t", "A?x=3"), ("s", "ab"), ("s", "a?damaged")):
        assert await store.put(scope, name, f"{scope} {name}".encode(), 60)
    assert await store.put("s", "a?short", b"v", 30)
    with closing(sqlite3.connect(store.path)) as db, db:
        db.execute("UPDATE answers SET value = 'text' WHERE name = 'a?damaged'")
    clock.now += 30
    found = await store.find("a[?]*")
    assert sorted(found) == [("s", "a?x=1", b"s a?x=1"), ("t", "a?x=2", b"t a?x=2")]
    clock.now += 30
    assert await store.find("*") == []


async def test_what_makes_no_sense_is_not_the_files_trouble(store: FileStore) -> None:
    assert await store.put("s", "n", b"v", 60)
    with pytest.raises(sqlite3.IntegrityError):
        await store.put("s", "n", b"new", float("nan"))
    assert await store.get("s", "n") == b"v", "and nothing of it was done"


# --- how much


async def test_beyond_the_limit_what_ends_soonest_goes(path: Path, clock: StoreClock) -> None:
    async with FileStore(path, max_bytes=100, clock=clock) as store:
        for name, ttl in (("long", 300), ("short", 100), ("middle", 200)):
            assert await store.put("s", name, b"x" * 30, ttl)
        assert await store.put("s", "new", b"x" * 20, 1)
        assert sorted(await store.names("s")) == ["long", "middle", "new"], "what is new is wanted"
        assert await store.put("s", "middle", b"x" * 50, 200)
        assert sorted(await store.names("s")) == ["long", "middle", "new"], "the old one makes room"
        assert await store.put("s", "all", b"x" * 100, 1)
        assert await store.names("s") == ["all"]


async def test_a_value_beyond_the_limit_is_not_kept(path: Path) -> None:
    async with FileStore(path, max_bytes=100) as store:
        assert await store.put("s", "other", b"v", 60)
        assert not await store.put("s", "n", b"x" * 101, 60)
        assert await store.get("s", "n") is None
        assert await store.get("s", "other") == b"v"


async def test_info_and_clear(store: FileStore, clock: StoreClock) -> None:
    before = await store.info()
    assert (before.entries, before.bytes, before.next_expiry, before.last_expiry) == (0, 0, None, None)
    assert await store.put("s", "n", b"x" * 50_000, 60)
    assert await store.put("t", "m", b"x" * 50_000, float("inf"))
    assert await store.put("s", "gone", b"x" * 50_000, 30)
    clock.now += 30
    info = await store.info()
    assert info == FileInfo(
        str(store.path),
        2,
        100_000,
        sum(file.stat().st_size for file in store.path.parent.iterdir()),
        datetime.fromtimestamp(clock.now + 30, UTC),
        datetime.max.replace(tzinfo=UTC),
    )
    assert await store.clear() == 2
    assert await store.clear() == 0
    after = await store.info()
    assert (after.entries, after.bytes) == (0, 0)
    assert after.file_bytes < 100_000


async def test_clear_does_not_need_to_shrink_the_file(store: FileStore, clock: StoreClock) -> None:
    assert await store.put("s", "n", b"x" * 50_000, 60)
    with closing(sqlite3.connect(store.path)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM answers").fetchone() == (1,)
        async with FileStore(store.path, clock=clock, timeout=0.02) as another:
            assert await another.clear() == 1
    assert await store.get("s", "n") is None


# --- several processes


async def test_many_processes_write_at_once(start: Start, path: Path) -> None:
    processes, rounds = 8, 6
    started = [start(WRITING, path, owner, rounds) for owner in range(processes)]
    for process in started:
        _, err = process.communicate()
        assert (process.returncode, err) == (0, "")
    async with FileStore(path) as store:
        kept = {name: await store.get("s", name) for name in await store.names("s")}
    common = kept.pop("common")
    assert common is not None
    assert common == common[:1] * 100_000
    assert kept == {f"{owner}-{rounds - 1}": b"%d" % owner for owner in range(processes)}


async def test_a_process_that_is_killed_while_it_writes_leaves_the_file_whole(
    start: Start, store: FileStore, clock: StoreClock
) -> None:
    assert await store.put("s", "n", b"v", 60)
    process = start(LOCKING, store.path)
    assert said(process) == "True\n"
    assert await store.get("s", "n") == b"v", "readers do not wait for a writer"
    async with FileStore(store.path, clock=clock, timeout=0.02) as impatient:
        with pytest.raises(TimeoutError, match="another process keeps the cache locked"):
            await impatient.put("s", "m", b"v", 60)
    process.kill()
    process.wait()
    assert await store.put("s", "m", b"v", 60)
    assert await store.get("s", "n") == b"v"


async def test_many_stores_of_one_process_share_a_file(path: Path) -> None:
    async def put(number: int) -> None:
        async with FileStore(path, timeout=60) as store:
            assert await store.put("s", str(number), b"v", 60)

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(put, number)
    async with FileStore(path) as store:
        assert sorted(await store.names("s")) == [str(number) for number in range(8)]


# --- who may read it


@pytest.mark.usefixtures("careless")
async def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "made" / "too" / "answers.sqlite"
    async with FileStore(path) as store:
        assert await store.put("s", "n", b"v", 60)
        files = sorted(file.name for file in path.parent.iterdir())
        assert files == ["answers.sqlite", "answers.sqlite-shm", "answers.sqlite-wal"]
        assert {rights(file) for file in path.parent.iterdir()} == {0o600}
        assert rights(path.parent) == rights(path.parent.parent) == 0o700
    assert rights(path) == 0o600


@pytest.mark.usefixtures("careless")
async def test_nobody_else_can_read_its_journal(path: Path) -> None:
    async with FileStore(path) as store:
        assert await execute(store, "PRAGMA journal_mode = DELETE")
        await execute(store, "BEGIN IMMEDIATE")
        await execute(store, "DELETE FROM answers")
        await execute(store, "CREATE TABLE more (a)")
        assert rights(Path(f"{path}-journal")) == 0o600
        await execute(store, "ROLLBACK")


async def test_the_strictest_umask_is_none_for_us(path: Path) -> None:
    path.parent.mkdir()
    before = os.umask(0o777)
    try:
        async with FileStore(path) as store:
            await store.open()
    finally:
        os.umask(before)
    assert rights(path) == 0o600


async def test_what_others_could_read_is_tightened(path: Path) -> None:
    async with FileStore(path) as store:
        assert await store.put("s", "n", b"v", 60)
        path.chmod(0o644)
        async with FileStore(path) as another:
            for end in ("-wal", "-shm"):
                Path(f"{path}{end}").chmod(0o666)
            assert await another.get("s", "n") == b"v"
            assert {rights(file) for file in path.parent.iterdir()} == {0o600}


@pytest.mark.parametrize("end", ["", *BESIDE])
async def test_a_symbolic_link_is_refused(path: Path, tmp_path: Path, end: str) -> None:
    async with FileStore(path) as store:
        await store.open()
    link = Path(f"{path}{end}")
    target = tmp_path / "target"
    if not end:
        path.rename(target)
    link.symlink_to(target)
    before = target.read_bytes() if target.exists() else None
    async with FileStore(path) as store:
        with pytest.raises(OSError, match="a symbolic link is not used as a cache") as raised:
            await store.open()
    assert (raised.value.errno, raised.value.filename) == (errno.ELOOP, str(link))
    assert before == (target.read_bytes() if target.exists() else None)


async def test_what_belongs_to_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FileStore(path) as store:
        await store.open()
    path.chmod(0o666)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    async with FileStore(path) as store:
        error = await refused(store)
    assert isinstance(error, PermissionError)
    assert "belongs to another user" in str(error)
    assert rights(path) == 0o666


# --- files that are not ours, and broken ones


@pytest.mark.parametrize("content", [b"x", b"xy", b"not a database\n" * 1000, bytes(4096)])
async def test_any_other_file_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    path.chmod(0o644)
    async with FileStore(path) as store:
        for _ in range(2):
            error = await refused(store)
            assert str(error) == f"[Errno 22] not a cache of qrbackends; left as it is: '{path}'"
    assert path.read_bytes() == content
    assert rights(path) == 0o644
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("mode", ["delete", "wal"])
async def test_any_other_database_is_refused_and_left_as_it_is(path: Path, mode: str) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        assert db.execute(f"PRAGMA journal_mode = {mode}").fetchall() == [(mode,)]
        db.execute("CREATE TABLE answers (mine)")
        db.execute("INSERT INTO answers VALUES ('precious')")
    content = path.read_bytes()
    path.chmod(0o644)
    async with FileStore(path) as store:
        assert "not a cache of qrbackends" in str(await refused(store))
    assert path.read_bytes() == content
    assert rights(path) == 0o644
    assert [file.name for file in path.parent.iterdir()] == [path.name]


async def test_what_is_no_file_is_refused(path: Path, tmp_path: Path) -> None:
    path.mkdir(parents=True)
    async with FileStore(path) as store:
        assert "not a file" in str(await refused(store))
    below = tmp_path / "file"
    below.touch()
    async with FileStore(below / "answers.sqlite") as store:
        assert isinstance(await refused(store), NotADirectoryError)


async def test_an_empty_file_is_nobodys(path: Path) -> None:
    path.parent.mkdir()
    path.touch(0o644)
    async with FileStore(path) as store:
        assert await store.put("s", "n", b"v", 60)
    assert rights(path) == 0o600


async def test_a_cache_of_an_older_version_is_made_anew(path: Path) -> None:
    async with FileStore(path) as store:
        assert await store.put("s", "n", b"v", 60)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("ALTER TABLE answers RENAME COLUMN value TO body")
        db.execute("CREATE TABLE leases (scope, name, owner)")
        db.execute('CREATE TABLE "odd "" name" (number INTEGER PRIMARY KEY AUTOINCREMENT)')
        db.execute("PRAGMA user_version = 1")
    async with FileStore(path) as store:
        assert await store.names("s") == []
        assert await store.put("s", "n", b"new", 60)
    async with FileStore(path) as store:
        assert await store.get("s", "n") == b"new"
    with closing(sqlite3.connect(path)) as db:
        tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    assert [name for (name,) in tables if not name.startswith("sqlite_")] == ["answers"]


async def test_a_cache_of_a_newer_version_is_refused_and_left_as_it_is(path: Path) -> None:
    async with FileStore(path) as store:
        assert await store.put("s", "n", b"v", 60)
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("ALTER TABLE answers RENAME COLUMN value TO body")
            db.execute("PRAGMA user_version = 99")
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        content = path.read_bytes()
        await refused(store)  # whose connection is older than the change
        assert refused_as_newer(await refused(store))
    async with FileStore(path) as store:
        assert refused_as_newer(await refused(store))
    assert path.read_bytes() == content


def refused_as_newer(error: OSError) -> bool:
    return (error.errno, error.strerror) == (errno.EINVAL, "the cache of a newer qrbackends; left as it is")


async def test_a_damaged_file_is_told(path: Path) -> None:
    async with FileStore(path) as store:
        assert await store.put("s", "n", b"v" * 100_000, 60)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    async with FileStore(path) as store:
        error = await refused(store)
    assert str(error) == f"[Errno 5] the cache is damaged; remove it: '{path}'"
    assert path.read_bytes()[:16] == content[:16]


async def test_a_full_disk_is_told_and_changes_nothing(store: FileStore) -> None:
    assert await store.put("s", "n", b"old", 60)
    await execute(store, "PRAGMA max_page_count = 20")
    with pytest.raises(OSError, match="no room is left for the cache") as raised:
        await store.put("s", "n", b"x" * 1_000_000, 60)
    assert raised.value.errno == errno.ENOSPC
    assert await store.get("s", "n") == b"old"
    assert await store.put("s", "n", b"new", 60)


async def test_any_other_trouble_is_told(store: FileStore) -> None:
    await store.open()
    with closing(sqlite3.connect(store.path)) as db, db:
        db.execute("DROP TABLE answers")
    error = await refused(store)
    assert (error.errno, "no such table: answers" in str(error)) == (errno.EIO, True)


async def test_a_file_system_without_a_log_will_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain(sqlite3.Connection):
        def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
            if "WAL" in sql:
                raise sqlite3.OperationalError("locking protocol")
            return super().execute(sql, *arguments)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, factory=Plain, **options))
    async with FileStore(path) as store:
        assert await store.put("s", "n", b"v", 60)
        assert await store.get("s", "n") == b"v"
        assert [file.name for file in path.parent.iterdir()] == [path.name]


async def test_what_could_not_be_opened_is_tried_again(path: Path) -> None:
    path.mkdir(parents=True)
    async with FileStore(path) as store:
        await refused(store)
        path.rmdir()
        assert await store.put("s", "n", b"v", 60)


# --- the end, and cancellation


async def test_closing_twice_and_using_it_then(path: Path) -> None:
    store = FileStore(path)
    assert await store.put("s", "n", b"v", 60)
    await store.aclose()
    await store.aclose()
    assert [file.name for file in path.parent.iterdir()] == [path.name], "the log is folded in"
    error = await refused(store)
    assert (error.errno, error.strerror) == (errno.EBADF, "the store is closed")
    with pytest.raises(OSError, match="the store is closed"):
        await store.put("s", "n", b"v", 60)


async def test_closing_what_was_never_used_makes_no_file(path: Path) -> None:
    async with FileStore(path):
        pass
    assert not path.parent.exists()


async def test_who_is_cancelled_leaves_it_usable(store: FileStore, start: Start) -> None:
    assert await store.put("s", "n", b"v", 60)
    process = start(LOCKING, store.path)
    assert said(process) == "True\n"
    async with anyio.create_task_group() as group:
        group.start_soon(store.put, "s", "m", b"begun", 600)
        group.start_soon(store.put, "s", "n", b"not begun", 600)
        group.start_soon(store.delete, "s", ["n"])
        await until(lambda: operations_waiting(store) == 2)  # the first one is being done
        group.cancel_scope.cancel()
    process.kill()
    process.wait()
    assert await store.get("s", "n") == b"v"
    assert await store.get("s", "m") in (None, b"begun")
    assert await store.put("s", "n", b"new", 60)


async def test_closing_is_done_even_if_it_is_cancelled(path: Path) -> None:
    threads = set(threading.enumerate())
    store = FileStore(path)
    assert await store.put("s", "n", b"v", 60)
    log = Path(f"{path}-wal")
    assert log.exists()
    with anyio.move_on_after(0):
        await store.aclose()
    await until(lambda: set(threading.enumerate()) <= threads)
    assert not log.exists(), "SQLite removes it when the last connection is closed"


async def test_who_is_cancelled_after_the_end_was_asked_for(store: FileStore, start: Start) -> None:
    await store.open()
    process = start(LOCKING, store.path)
    assert said(process) == "True\n"
    putting = asyncio.create_task(store.put("s", "n", b"v", 60))
    await anyio.wait_all_tasks_blocked()  # it has asked the store's thread
    await until(lambda: operations_waiting(store) == 0)  # which is at it
    async with anyio.create_task_group() as group:
        group.start_soon(store.aclose)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(OSError, match="the store is closed"):
            await store.get("s", "n")
        putting.cancel()
        await asyncio.wait([putting])
        process.kill()
    assert putting.cancelled()


# --- behind `Shared`

SCOPE = Scope("ab" * 32, INSTANCE, b"key")
NAME = "/backends"


async def stored(shared: Shared) -> bytes | None:
    found = await shared.get(SCOPE, NAME)
    return None if found is None else found.wire.plain(2**20)


async def test_whoever_asks_fetches_and_nobody_waits(store: FileStore, path: Path, clock: StoreClock) -> None:
    async with FileStore(path, clock=clock) as another:
        one, other = Shared(store, 100), Shared(another, 100)
        first, second, third = [await shared.lead(SCOPE, NAME) for shared in (one, one, other)]
        assert first is not None
        assert second is not None
        assert third is not None
        assert not await one.wait(SCOPE, NAME)
        assert not await other.wait(SCOPE, NAME)
        for lease, body in ((third, b"3"), (first, b"1"), (second, b"2")):
            await lease.put(Stored(Wire(body)), 60)
            lease.release()
            assert await stored(other) == body, "the last answer is kept"
        assert (one.stats().writes, other.stats().writes) == (2, 1)


@pytest.mark.parametrize("size", [1, 200_000])
async def test_an_answer_that_was_asked_for_before_a_delete_is_not_stored(
    store: FileStore, size: int
) -> None:
    shared = Shared(store, 2**20)
    older = await shared.lead(SCOPE, NAME)
    elsewhere = await shared.lead(SCOPE, "/other")
    assert older is not None
    assert elsewhere is not None
    assert set(await shared.names(SCOPE)) == {NAME, "/other"}, "an invalidation has to find it"
    assert await shared.names(Scope("cd" * 32, INSTANCE, b"key")) == []
    assert await shared.renew(SCOPE, NAME, older.owner)
    await shared.delete(SCOPE, [NAME])
    newer = await shared.lead(SCOPE, NAME)
    assert newer is not None
    assert not await shared.renew(SCOPE, NAME, older.owner)
    await older.put(Stored(Wire(b"o" * size)), 60)
    older.release()
    assert await stored(shared) is None
    await newer.put(Stored(Wire(b"n" * size)), 60)
    await older.put(Stored(Wire(b"o" * size)), 60)
    assert await stored(shared) == b"n" * size
    await elsewhere.put(Stored(Wire(b"e")), 60)
    assert sorted(await shared.names(SCOPE)) == [NAME, "/other"]
    assert shared.stats().writes == 2


async def test_a_delete_while_an_answer_is_sealed_refuses_it(store: FileStore) -> None:
    shared = Shared(store, 2**20)
    lease = await shared.lead(SCOPE, NAME)
    assert lease is not None
    async with anyio.create_task_group() as group:
        group.start_soon(lease.put, Stored(Wire(b"x" * 500_000)), 60)  # sealed in a thread
        group.start_soon(shared.delete, SCOPE, [NAME])
    assert await stored(shared) is None


async def test_a_refresh_refuses_the_answers_asked_for_before(store: FileStore) -> None:
    shared = Shared(store, 100)
    older = await shared.lead(SCOPE, NAME)
    newer = await shared.lead(SCOPE, NAME, force=True)
    assert older is not None
    assert newer is not None
    await newer.put(Stored(Wire(b"newer")), 60)
    await older.put(Stored(Wire(b"older")), 60)
    assert await stored(shared) == b"newer"


async def test_a_released_lease_stores_nothing(store: FileStore) -> None:
    shared = Shared(store, 100)
    lease = await shared.lead(SCOPE, NAME)
    assert lease is not None
    lease.release()
    await lease.put(Stored(Wire(b"late")), 60)
    assert await stored(shared) is None
    assert not await shared.names(SCOPE)


async def test_shared_goes_on_without_a_file_that_cannot_be_used(path: Path) -> None:
    path.mkdir(parents=True)
    async with FileStore(path) as store:
        shared = Shared(store, 10_000)
        assert await stored(shared) is None
        assert shared.stats().errors == 1


@pytest.mark.parametrize("opened", [False, True])
async def test_a_process_that_keeps_the_file_locked_holds_up_one_call(
    path: Path, store: FileStore, caplog: pytest.LogCaptureFixture, clock: StoreClock, opened: bool
) -> None:
    """If the file is open already, it can be read meanwhile."""
    caplog.set_level(logging.INFO, "qrbackends.store")
    await share(Shared(store, 10_000, clock))
    async with FileStore(path, timeout=0.2, clock=clock) as impatient:
        if opened:
            await impatient.open()
        shared = Shared(impatient, 10_000, clock)
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("BEGIN EXCLUSIVE")
            assert (await stored(shared) is not None) is opened
            for _ in range(20):
                await share(shared)
            assert shared.errors == 1
            db.execute("ROLLBACK")
        clock.now += 2
        with anyio.fail_after(30):
            while await stored(shared) is None:
                await anyio.lowlevel.checkpoint()
        await share(shared)
        await shared.aclose()
        assert (shared.errors, shared.writes) == (1, 1)
    told = "the shared cache cannot be used (another process keeps the cache locked); going on without it"
    assert caplog.messages == [told, "the shared cache can be used again"]


async def share(shared: Shared) -> None:
    lease = await shared.lead(SCOPE, NAME)
    assert lease is not None
    await lease.put(Stored(Wire(b"body")), 60)
    lease.release()


# Reads and writes through `Shared`, in a directory that cannot be written; root becomes somebody else.
READING = """
import anyio, asyncio, logging, os, sys
from qrbackends.accounts.account import Instance
from qrbackends.accounts.scope import Scope
from qrbackends.cache.stores.file import FileStore
from qrbackends.cache.stores.seal import Stored
from qrbackends.cache.stores.sealed import Shared
from qrbackends.transport.body import Wire

logging.basicConfig(stream=sys.stdout, format="%(message)s")

async def use():
    scope = Scope("ab" * 32, Instance("crn:v1:bluemix:public:quantum-computing:us-east:a/1:2::"), b"key")
    async with FileStore(sys.argv[1]) as store:
        shared = Shared(store, 1000)
        for _ in range(10):
            await shared.get(scope, "/backends")
            lease = await shared.lead(scope, "/backends")
            await lease.put(Stored(Wire(b"body")), 60)
            lease.release()

for name in dir(anyio):  # which is imported piece by piece; another user may not be able to read it
    getattr(anyio, name)
asyncio.run(anyio.sleep(0))
if os.geteuid() == 0:
    os.setuid(65534)
asyncio.run(use())
"""


@pytest.mark.parametrize("there", [False, True])
async def test_a_directory_that_cannot_be_written_is_told_once(start: Start, there: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="qrb-") as folder:  # root's successor may not enter pytest's own
        path = Path(folder) / "answers.sqlite"
        if there:
            async with FileStore(path) as store:
                await share(Shared(store, 1000))
            if os.geteuid() == 0:
                os.chown(path, 65534, 65534)
        Path(folder).chmod(0o555)
        out, err = await asyncio.to_thread(start(READING, path).communicate)
        Path(folder).chmod(0o755)
    problem = "the cache cannot be written" if there else "Permission denied"
    assert (out, err) == (f"the shared cache cannot be used ({problem}); going on without it\n", "")


async def test_a_full_disk_is_told_once_and_what_is_there_is_read(
    store: FileStore, clock: StoreClock, caplog: pytest.LogCaptureFixture
) -> None:
    shared = Shared(store, 10_000, clock)
    await share(shared)
    await execute(store, "PRAGMA query_only = 1")
    for _ in range(5):
        await share(shared)
        clock.now += 2
        with anyio.fail_after(30):
            while await stored(shared) is None:
                await anyio.lowlevel.checkpoint()
    await shared.aclose()
    assert len(caplog.messages) == 1


async def test_a_file_that_is_removed_meanwhile_is_made_anew(path: Path, store: FileStore) -> None:
    assert await store.put("s", "n", b"old", 100)
    for file in path.parent.iterdir():
        file.unlink()
    assert await store.get("s", "n") is None
    assert await store.put("s", "n", b"new", 100)
    assert path.exists()
    assert await store.get("s", "n") == b"new"
