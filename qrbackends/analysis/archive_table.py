"""Tables of Delta Lake in an archive: which files there are, adding some, and replacing many by one.

A table is its log: a file counts from the moment that a commit names it, and a commit is one conditional
write. Files are written by pyarrow first, so whoever is killed leaves at most files that no commit names.
Each commit names what it is about; of two that are about the same at once, one fails, reads anew and tries
again.
"""

import json
import math
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote, unquote
from uuid import uuid4

from ..errors import ArchiveError
from .archive_location import Location
from .arrow import (
    AddAction,
    CommitFailedError,
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    RemoveAction,
    Schema,
    TableNotFoundError,
    Transaction,
    pa,
    pa_dataset,
    pa_fs,
    pa_parquet,
    pc,
)

R = TypeVar("R")

ROW_GROUP: Final = 128 * 1024  # rows, of which a reader skips those without what it looks for
LONGEST_KEPT: Final = timedelta(days=7)
_HOUR: Final = timedelta(hours=1)
_KEPT: Final = timedelta(days=1)
_MOST_DEAD: Final = 64  # files that no version needs, before a sync deletes them
_TRIES: Final = 100  # commits of others that may come before one of ours
_STALE: Final = 60.0  # seconds
_HOOKS: Final = PostCommitHookProperties(
    cleanup_expired_logs=False
)  # that would list the log for each commit
_SETTINGS: Final = {
    "delta.checkpointInterval": "20",
    # So long, a vacuum knows when a file was replaced.
    "delta.deletedFileRetentionDuration": f"interval {LONGEST_KEPT.days} days",
    "delta.logRetentionDuration": "interval 1 days",
}


class DataFile(NamedTuple):
    """A file that a table's log names.

    Attributes:
        path: its path below the table.
        partition: the values of the table's partition columns.
        rows: number of its rows.
        bytes: its size.
        first, last: the least and the greatest instant.
    """

    path: str
    partition: tuple[str, ...]
    rows: int
    bytes: int
    first: datetime
    last: datetime


class Version:
    """A table as it was when it was opened; it does not change when others write.

    Args:
        delta: the table.
        place: where it is.
        partitions: the names of its partition columns.
        instant: the name of the column by which files are left out without opening them.
    """

    def __init__(self, delta: Any, place: Location, partitions: tuple[str, ...], instant: str) -> None:
        self.delta = delta
        self.system = place.file_system()
        self._place = place
        self._partitions = partitions
        self._instant = instant

    def dataset(self, texts: Iterable[str] = ()) -> Any:
        """Return a pyarrow dataset, which knows from the log what is in which file.

        Args:
            texts: the columns of text that are read as dictionaries, which takes less time and memory.

        Raises:
            ArchiveError: others made the table one that cannot be read, such as one with deletion vectors.
        """
        options = pa_dataset.ParquetReadOptions(dictionary_columns=texts)
        with self._place.explained():
            return self.delta.to_pyarrow_dataset(filesystem=self.system, parquet_read_options=options)

    def files(self) -> list[DataFile]:
        """Return what the log says of the files."""
        found = pa.table(self.delta.get_add_actions(flatten=True)).to_pylist()
        return [
            DataFile(
                unquote(one["path"]),
                tuple(one[f"partition.{name}"] for name in self._partitions),
                one["num_records"],
                one["size_bytes"],
                one[f"min.{self._instant}"],
                one[f"max.{self._instant}"],
            )
            for one in found
        ]


class ArchiveTable:
    """A table; it need not exist, and the first commit creates it. Its methods may be called in any thread.

    Args:
        location: where the archive is.
        schema: the columns of its rows.
        instant: the name of the column by which files are left out without opening them.
        partitions: the names of those columns by which files are kept apart.
        folder: the path below the archive.
    """

    def __init__(
        self,
        location: Location,
        schema: Any,
        instant: str,
        partitions: tuple[str, ...] = (),
        folder: str = "",
    ) -> None:
        self._location = location
        self._schema = schema
        self._columns = _columns(Schema.from_arrow(schema))
        self._instant = instant
        self._partitions = partitions
        self._place = location.below(folder)
        self._lock = Lock()
        self._newest: Version | None = None  # that commits start from
        self._used = 0.0  # when it was used last

    def opened(self) -> Version | None:
        """Return the table as it is now; None if there is none.

        Raises:
            ArchiveError: the store failed, or there is something else.
        """
        with self._location.explained():
            try:
                delta = DeltaTable(self._place.uri, storage_options=self._place.options())
            except TableNotFoundError:
                self._refuse_older()
                return None
            if not self._columns.items() <= _columns(delta.schema()).items():
                raise ArchiveError(f"{self._location.url}: there is a Delta table of something else")
            return Version(delta, self._place, self._partitions, self._instant)

    def refreshed(self) -> Version | None:
        """Return the table as it is now, None if there is none; this asks the store for what is new only.

        It goes on to the next version at the next call of a method of this object.
        """
        with self._lock, self._location.explained():
            if self._newest is None:
                self._newest = self.opened()
            else:
                self._newest.delta.update_incremental()
            self._used = time.monotonic()
            return self._newest

    def commit(self, about: str | None, change: Callable[[Version], "Change[R]"]) -> R:
        """Carry out a change of the table as it is now, and return its result.

        Args:
            about: what it is about: of two changes with the same text, the second is computed from what the
                first has left, whichever process makes them. None: it may be carried out in any case.
            change: computes the change from a version; it is called again after another process was faster.

        Raises:
            ArchiveError: the store failed, or other processes were faster each time.
        """
        with self._lock, self._location.explained():
            for _ in range(_TRIES):
                version = self._start()
                actions, result = change(version)
                if not actions:
                    return result
                try:
                    self._commit(version, about, actions)
                except CommitFailedError:
                    version.delta.update_incremental()
                    if self._discarded(version, actions):
                        continue
                self._used = (
                    -math.inf
                )  # the version does not have this commit yet, and would be refused as old
                return result
        raise ArchiveError(f"{self._location.url}: too many others write at once, and nothing was added")

    def written(
        self, version: Version, tables: Iterable[Any], values: tuple[str, ...], *, is_new: bool
    ) -> Any:
        """Write a file, and return the action that adds it.

        Args:
            version: the table.
            tables: the rows, sorted as the file is to be; they have the partition columns, too.
            values: those of the partition columns.
            is_new: whether these rows were not in the table before.
        """
        partition = dict(zip(self._partitions, values, strict=True))
        folders = [f"{name}={quote(value, safe='')}" for name, value in partition.items()]
        path = "/".join([*folders, f"{uuid4().hex}.parquet"])
        body = pa.BufferOutputStream()
        writer, count, ends = None, 0, []
        for table in tables:
            writer = writer or pa_parquet.ParquetWriter(
                body, table.schema, compression="zstd", store_schema=False
            )
            writer.write_table(table, row_group_size=ROW_GROUP)
            count += table.num_rows
            ends.append(pc.min_max(table[self._instant]).as_py())
        if writer is not None:
            writer.close()
        buffer = body.getvalue()
        if folders and self._location.is_local:
            version.system.create_dir("/".join(folders), recursive=True)
        with version.system.open_output_stream(path) as stream:
            stream.write(buffer)
        if not self._location.is_local and version.system.get_file_info(path).size != buffer.size:
            raise ArchiveError(
                f"{self._location.url}: the store keeps another file than it was sent, as those do that take "
                "checksums for content: set AWS_REQUEST_CHECKSUM_CALCULATION=when_required"
            )
        first, last = (
            pick(one[end] for one in ends).isoformat() for pick, end in ((min, "min"), (max, "max"))
        )
        known = {"numRecords": count, "nullCount": {self._instant: 0}}
        known |= {"minValues": {self._instant: first}, "maxValues": {self._instant: last}}
        return AddAction(path, buffer.size, partition, _now(), is_new, json.dumps(known))

    def vacuum(self, keep: timedelta) -> int:
        """Delete files that no version of the last time has, and return their number.

        Those that killed writers have left are deleted, too, and the log of all but the last day.

        Args:
            keep: how old a version may be that somebody still reads; so long, writers may take to commit. It
                is rounded up to hours.
        """
        return self._vacuum(keep, 0)

    def clean(self) -> None:
        """Do so, with a day to keep, if there are many such files: otherwise it is not worth its requests."""
        self._vacuum(_KEPT, _MOST_DEAD)

    def _vacuum(self, keep: timedelta, at_least: int) -> int:
        version = self.refreshed()
        if version is None:
            return 0
        # In full: the log forgets files after a while, such as between two syncs that are far apart.
        how = {"retention_hours": -(-keep // _HOUR), "enforce_retention_duration": False, "full": True}
        with self._lock, self._location.explained():
            if at_least and len(version.delta.vacuum(dry_run=True, **how)) < at_least:
                return 0
            found = version.delta.vacuum(dry_run=False, **how)
            version.delta.create_checkpoint()
            version.delta.cleanup_metadata()
            return len(set(found))

    def removed(self, file: DataFile) -> Any:
        """Return the action that removes a file whose rows another file has."""
        return RemoveAction(
            file.path, False, _now(), file.bytes, dict(zip(self._partitions, file.partition, strict=True))
        )

    def _refuse_older(self) -> None:
        """Raise an error if there is an archive as it was before archives were tables."""
        there = self._place.file_system().get_file_info(pa_fs.FileSelector("", allow_not_found=True))
        if any(one.base_name.startswith("backend=") for one in there):
            raise ArchiveError(
                f"{self._location.url}: it was written by an earlier version, a file per calibration; "
                "`qrbackends archive import` copies it into a new archive"
            )

    def _start(self) -> Version:
        """Return a version to commit from; create the table if there is none.

        It need not be the newest: a commit that is about the same as one of others since then fails.
        """
        now = time.monotonic()
        if self._newest is not None:
            if now - self._used > _STALE:  # files of long ago may be deleted
                self._newest.delta.update_incremental()
            self._used = now
            return self._newest
        while (version := self.opened()) is None:
            with suppress(CommitFailedError):  # another process was faster
                DeltaTable.create(
                    self._place.uri,
                    self._schema,
                    mode="ignore",
                    partition_by=[*self._partitions],
                    configuration=_SETTINGS | {"delta.dataSkippingStatsColumns": self._instant},
                    storage_options=self._place.options(),
                )
        self._newest, self._used = version, now
        return version

    def _commit(self, version: Version, about: str | None, actions: list[Any]) -> None:
        transactions = [] if about is None else [Transaction(about, version.delta.version() + 1)]
        version.delta.create_write_transaction(
            actions,
            "append",
            version.delta.schema(),
            [*self._partitions],
            commit_properties=CommitProperties(
                app_transactions=transactions or None, max_commit_retries=_TRIES
            ),
            post_commithook_properties=_HOOKS,
        )

    def _discarded(self, version: Version, actions: list[Any]) -> bool:
        """Delete the files of a commit that failed; return False if it has not.

        A store may have carried it out, and its answer was lost: what then refuses it is the commit itself.
        """
        added = {one.path for one in actions if isinstance(one, AddAction)}
        if added & {one.path for one in version.files()}:
            return False
        for path in added:
            with suppress(OSError):
                version.system.delete_file(path)
        return True


def _columns(schema: Any) -> dict[str, Any]:
    """Return the types of a table's columns by their names."""
    return {field.name: field.type for field in schema.fields}


def _now() -> int:
    """Return the Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


Change: TypeAlias = tuple[list[Any], R]
"""The actions of a commit, and what the change returns; without actions nothing is committed."""
