"""A store in one file, for the command line and scripts: answers outlive the process that asked."""

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from msgspec import Struct

from ...tasks.loops import running_loop
from .forks import close_before_forks
from .private_files import check, created, make_directory, make_private

T = TypeVar("T")

_APPLICATION = 0x71726273  # "qrbs", in the header of the file
_SCHEMA = 3
_TABLES = (
    """CREATE TABLE answers (
        scope TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, size INTEGER NOT NULL,
        expires REAL NOT NULL, PRIMARY KEY (scope, name))""",
    "CREATE INDEX answers_by_expiry ON answers (expires, size)",
)
_EVICT = """DELETE FROM answers WHERE rowid IN (
    SELECT rowid FROM (
        SELECT rowid, sum(size) OVER (ORDER BY expires DESC, rowid DESC ROWS UNBOUNDED PRECEDING) AS kept
        FROM answers)
    WHERE kept > ?)"""
_BESIDE = ("-journal", "-wal", "-shm")  # SQLite's own files, named after the database
_TROUBLE = {  # SQLite's code: the errno and the text of the OSError
    sqlite3.SQLITE_BUSY: (errno.ETIMEDOUT, "another process keeps the cache locked"),
    sqlite3.SQLITE_FULL: (errno.ENOSPC, "no room is left for the cache"),
    sqlite3.SQLITE_READONLY: (errno.EROFS, "the cache cannot be written"),
    sqlite3.SQLITE_NOTADB: (errno.EINVAL, "not a cache of qrbackends; left as it is"),
    sqlite3.SQLITE_CORRUPT: (errno.EIO, "the cache is damaged; remove it"),
}


class FileInfo(Struct, frozen=True):
    """How much a store's file holds.

    Attributes:
        path: the file.
        entries: number of answers in it that have not expired.
        bytes: their size.
        file_bytes: size of the file and of the files that SQLite keeps beside it, in bytes.
        next_expiry: when the first of these answers expires; None if there are none.
        last_expiry: when the last of them expires; None if there are none.
    """

    path: str
    entries: int = 0
    bytes: int = 0
    file_bytes: int = 0
    next_expiry: datetime | None = None
    last_expiry: datetime | None = None


class FileStore:
    """A `Store` in an SQLite database that the processes of one user on one machine share.

    Processes share answers, not fetches: two that ask for an unknown answer at once both fetch it. After
    `delete` or `clear`, a client refuses the answers of its own fetches that began before, which is good
    enough for a file; another process may still write an answer whose fetch began before.

    A process that forks first lets the operation end that runs, and closes the file; parent and child open it
    again when they next use it.

    Only its user can read the file. A thread of the store's own opens it at the first use. The file is
    never deleted; a file at this path that is not a store's, or that a newer version of this package made, is
    refused and left as it is; one of an older version is emptied. Every method raises an OSError if the file
    cannot be used.

    Args:
        path: the file; it and its directory are made if they are missing. It must not be on a network file
            system: SQLite's write-ahead log does not work there.
        max_bytes: bytes of values that are kept; beyond that, the values that expire soonest are deleted.
        clock: Unix seconds, as in the other processes.
        timeout: seconds that an operation may take; at most half of it is spent waiting for other
            processes.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int = 256 * 2**20,
        clock: Callable[[], float] = time.time,
        timeout: float = 1.0,
    ) -> None:
        self.path = Path(path).absolute()
        self.max_bytes = max_bytes
        self.timeout = timeout
        self._files = (self.path, *(self.path.with_name(self.path.name + end) for end in _BESIDE))
        self._clock = clock
        self._worker = _worker()
        self._using = threading.Lock()  # held during an operation, and while the process forks
        self._connection: sqlite3.Connection | None = None  # the worker's
        self._opened: tuple[int, int] | None = None
        self._closed = False
        close_before_forks(self)

    async def open(self) -> None:
        """Open the file now, to learn at once whether it can be used."""
        await self._do(lambda _: None)

    async def get(self, scope: str, name: str) -> bytes | None:
        """Return the value, or None if there is none."""
        found = await self._do(
            lambda db: db.execute(
                "SELECT value FROM answers WHERE scope = ? AND name = ? AND expires > ? "
                "AND typeof(value) = 'blob'",
                (scope, name, self._clock()),
            ).fetchall()
        )
        value = found[0][0] if found else None
        return value if isinstance(value, bytes) else None

    async def put(self, scope: str, name: str, value: bytes, ttl: float) -> bool:
        """Store a value for `ttl` seconds, in place of an older one; return whether it was stored.

        A value of more than `max_bytes` is not stored; an older one stays.
        """

        def store(db: sqlite3.Connection) -> None:
            with _transaction(db):
                now = self._clock()
                _drop_expired(db, now)
                db.execute("DELETE FROM answers WHERE scope = ? AND name = ?", (scope, name))
                _evict(db, self.max_bytes - len(value))
                db.execute(
                    "INSERT INTO answers (scope, name, value, size, expires) VALUES (?, ?, ?, ?, ?)",
                    (scope, name, value, len(value), now + ttl),
                )

        if len(value) > self.max_bytes:
            return False
        await self._do(store)
        return True

    async def names(self, scope: str) -> Sequence[str]:
        """Return the names that have a value."""

        def find(db: sqlite3.Connection) -> list[str]:
            found = db.execute(
                "SELECT name FROM answers WHERE scope = ? AND expires > ?", (scope, self._clock())
            )
            return [name for (name,) in found.fetchall()]

        return await self._do(find)

    async def find(self, glob: str) -> Sequence[tuple[str, str, bytes]]:
        """Return scope, name and value of all names that match a pattern of SQLite's GLOB, in all scopes."""
        return await self._do(
            lambda db: db.execute(
                "SELECT scope, name, value FROM answers WHERE name GLOB ? AND expires > ? "
                "AND typeof(value) = 'blob'",
                (glob, self._clock()),
            ).fetchall()
        )

    async def delete(self, scope: str, names: Iterable[str]) -> None:
        """Delete the values of these names, also those of a `put` that was called on this object before."""
        places = [(scope, name) for name in names]

        def drop(db: sqlite3.Connection) -> None:
            with _transaction(db):
                db.executemany("DELETE FROM answers WHERE scope = ? AND name = ?", places)

        await self._do(drop)

    async def info(self) -> FileInfo:
        """Return how much the file holds now."""

        def count(db: sqlite3.Connection) -> FileInfo:
            ((entries, size, first, last),) = db.execute(
                "SELECT count(*), CAST(coalesce(sum(size), 0) AS INTEGER), min(expires), max(expires) "
                "FROM answers WHERE expires > ?",
                (self._clock(),),
            ).fetchall()
            return FileInfo(
                str(self.path), entries, size, self._file_bytes(), _instant(first), _instant(last)
            )

        return await self._do(count)

    async def clear(self) -> int:
        """Delete all answers of all scopes and shrink the file; return how many answers were deleted."""

        def empty(db: sqlite3.Connection) -> int:
            with _transaction(db):
                _drop_expired(db, self._clock())
                removed = db.execute("DELETE FROM answers").rowcount
            with suppress(sqlite3.OperationalError):  # another process uses it: it shrinks another time
                db.execute("VACUUM")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return removed

        return await self._do(empty)

    async def aclose(self) -> None:
        """Close the file when the operations called before are done; later ones fail. It may be repeated."""
        loop = running_loop()
        if self._closed:
            return
        self._closed = True
        # A cancellation ends the waiting below, and not the closing itself.
        self._worker.submit(self._disconnect)
        closed = loop.run_in_executor(self._worker, lambda: None)
        self._worker.shutdown(wait=False)
        await closed

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run an operation in the worker thread. If cancelled, it is done completely or not at all."""
        if self._closed:
            raise OSError(errno.EBADF, "the store is closed", str(self.path))
        return await running_loop().run_in_executor(self._worker, self._work, work)

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._using:
            return self._connected(work)

    def _connected(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is not None and self._identity() != self._opened:
                self._disconnect()  # another process has removed or replaced the file
            if self._connection is None:
                self._connection = self._connect()
                self._opened = self._identity()
            return work(self._connection)
        except sqlite3.DatabaseError as error:
            trouble = self._trouble(error)
            if trouble is None:
                raise
            if trouble.errno != errno.ETIMEDOUT:  # it may be repaired, or removed, before the next time
                self._disconnect()
            raise trouble from error

    def _identity(self) -> tuple[int, int] | None:
        """Return device and inode number of the file; None if there is no file."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _trouble(self, error: sqlite3.DatabaseError) -> OSError | None:
        """Return the error to raise if the file cannot be used; None if only this operation was wrong."""
        if not isinstance(error, sqlite3.OperationalError) and type(error) is not sqlite3.DatabaseError:
            return None
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the rest is detail
        number, said = _TROUBLE.get(code, (errno.EIO, f"the cache cannot be used: {error}"))
        return OSError(number, said, str(self.path))

    def _connect(self) -> sqlite3.Connection:
        make_directory(self.path.parent)
        if not created(self.path):
            for file in self._files:
                check(file)
        # mode=rw: SQLite would make the file for everybody to read.
        db = sqlite3.connect(
            f"{self.path.as_uri()}?mode=rw",
            uri=True,
            timeout=self.timeout / 2,
            isolation_level=None,
            check_same_thread=False,  # a thread that forks closes it
        )
        try:
            if not self._is_ours(db):
                raise OSError(*_TROUBLE[sqlite3.SQLITE_NOTADB], str(self.path))
            if _number(db, "user_version") > _SCHEMA:  # two programs would empty it for each other
                raise OSError(errno.EINVAL, "the cache of a newer qrbackends; left as it is", str(self.path))
            for file in self._files:  # only now, as it is known to be a store's
                make_private(file)
            self._prepare(db)
        except BaseException:  # whatever stops it: nobody else has the connection, to close it
            db.close()
            raise
        return db

    def _is_ours(self, db: sqlite3.Connection) -> bool:
        if _number(db, "page_count"):
            return _number(db, "application_id") == _APPLICATION
        return self.path.stat().st_size != 1  # SQLite takes a file of one byte for an empty one

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last answers, not the file
        with _transaction(db):
            if _number(db, "user_version") != _SCHEMA:
                _make_tables(db)
            _drop_expired(db, self._clock())
        # With a write-ahead log, readers and a writer work at once, and no write waits for the disk. The
        # file keeps this mode. If it cannot be set now, the store works without it.
        with suppress(sqlite3.OperationalError):
            db.execute("PRAGMA journal_mode = WAL").fetchall()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def hold(self) -> None:
        """Wait for the operation that runs, close the file, and begin no other one until `let_go`."""
        self._using.acquire()
        with suppress(sqlite3.Error):
            self._disconnect()

    def let_go(self, *, child: bool) -> None:
        """Go on after a fork; a child needs a thread of its own."""
        if child:
            self._worker = _worker()
        self._using.release()

    def _file_bytes(self) -> int:
        total = 0
        for file in self._files:
            with suppress(FileNotFoundError):
                total += file.stat().st_size
        return total


def _worker() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "qrbackends-file-store")


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Lock out other writers, and do all of the statements or none."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _drop_expired(db: sqlite3.Connection, now: float) -> None:
    db.execute("DELETE FROM answers WHERE expires <= ?", (now,))


def _evict(db: sqlite3.Connection, room: int) -> None:
    """Delete the values that expire soonest, until at most `room` bytes are left."""
    ((size,),) = db.execute("SELECT coalesce(sum(size), 0) FROM answers").fetchall()
    if size > room:
        db.execute(_EVICT, (room,))


def _make_tables(db: sqlite3.Connection) -> None:
    """Make empty tables in place of those of another version: a cache needs no migration."""
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        if not name.startswith("sqlite_"):
            db.execute('DROP TABLE "{}"'.format(name.replace('"', '""')))
    for table in _TABLES:
        db.execute(table)
    db.execute(f"PRAGMA application_id = {_APPLICATION}")
    db.execute(f"PRAGMA user_version = {_SCHEMA}")


def _number(db: sqlite3.Connection, pragma: str) -> int:
    ((number,),) = db.execute(f"PRAGMA {pragma}").fetchall()
    return int(number)


def _instant(seconds: float | None) -> datetime | None:
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):  # beyond the year 9999: never
        return datetime.max.replace(tzinfo=UTC)
