"""Archives of calibrations: tables of Delta Lake, which pandas, polars, DuckDB, Dask, Spark and Trino read.

An archive is a directory, or below a URL of an object store, with one row for each measured value (see
`SCHEMA`). It needs deltalake and pyarrow (`pip install "qrbackends[arrow]"`).
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import and_, attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

from ..client import Client
from ..errors import ArchiveError, InvalidRequest
from ..fleet.history import checked_instant, checked_range
from ..messages.suggestions import suggested
from ..models import ABackend, BackendProperties, name_of
from .archive_coverage import Series
from .archive_import import import_files
from .archive_info import Holding, Storage, holdings, storage
from .archive_location import Location
from .archive_rows import SCHEMA, csv_batch
from .archive_store import ArchiveStore, Compacted
from .archive_sync import Synced, SyncProgress, sync
from .arrow import pa, pa_csv, pa_dataset, pa_parquet
from .tables import MEASURED

if TYPE_CHECKING:
    Dataset: TypeAlias = Any

_KINDS = ("qubit", "gate", "general")
_SPELLED = {name.casefold(): name for name in MEASURED}
_DAY = timedelta(days=1)


class Archive:
    """Calibrations in a directory, or below a URL such as `s3://bucket/prefix`.

    What only reads creates nothing: an archive that does not exist is empty. Any number of processes may
    write at the same time, and each method sees what others have written before. All methods block, except
    `sync`, which writes in threads.

    Args:
        url: where the archive is; it need not exist, but a bucket has to. Keys and settings of a store come
            from the environment, such as `AWS_ACCESS_KEY_ID` and `AWS_ENDPOINT_URL`.

    Raises:
        InvalidRequest: no archive can be at such a URL.
    """

    def __init__(self, url: str | Path) -> None:
        self._store = ArchiveStore(str(url))

    def add(
        self, properties: BackendProperties, *, origin: str = "", calibration_id: str | None = None
    ) -> bool:
        """Add a calibration; return False if the archive has it already, or if it has no value.

        Many are added much sooner by `sync`, which adds several at a time.

        Args:
            properties: the calibration.
            origin: which service it comes from, such as the address of its API.
            calibration_id: the variant of the backend, or None.

        Raises:
            DecodeError: a unit is not known.
            InvalidRequest: the backend's name is too long.
            ArchiveError: it cannot be written.
        """
        series = Series(properties.backend_name, origin, calibration_id or "")
        return self._store.add(series, [properties]) > 0

    async def sync(
        self,
        client: Client,
        backends: Iterable[ABackend] | None = None,
        *,
        since: datetime,
        until: datetime | None = None,
        calibration_id: str | None = None,
        progress: Callable[[SyncProgress], None] = lambda _: None,
    ) -> Synced:
        """Add every calibration of an interval that is missing; only these are asked for.

        It can be stopped at any moment, and the next `sync` goes on from there. Several at once divide the
        work. At its end, the months that it has added to are compacted where they have too many files.

        Args:
            client: reads the calibrations.
            backends: their names, or their entries in the list; left out, all that the account can see.
            since: where the interval begins, inclusive.
            until: where it ends, exclusive; left out, now.
            calibration_id: a named variant of the backends.
            progress: called after each window of a history.

        Raises:
            QRBackendsError: the backends could not be listed, or the account cannot be used.
            InvalidRequest: an instant has no time zone, or the interval is empty.
            ArchiveError: the archive cannot be read or written.
        """
        interval = checked_range(since, datetime.now(UTC) if until is None else until)
        return await sync(self._store, client, backends, interval, calibration_id, progress)

    def scan(
        self,
        backends: Collection[ABackend] | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        kinds: Collection[str] | None = None,
        names: Collection[str] | None = None,
    ) -> "Dataset":
        """Return a pyarrow dataset of the rows that match; it reads no row until it is asked to.

        It has the rows that the archive has now, whatever is written later, and the columns of `SCHEMA`.

        Args:
            backends: rows of these backends only, by name; left out, of all.
            since: calibrated at this instant or later.
            until: calibrated before this instant.
            kinds: any of `qubit`, `gate` and `general`.
            names: what was measured, such as `T1` or `gate_error`; `t1` is `T1`, too.

        Raises:
            InvalidRequest: there is no such kind, or an instant has no time zone.
            ArchiveError: the archive cannot be read.
        """
        rows, where = self._selected(backends, since, until, kinds, names)
        return rows if where is None else rows.filter(where)

    def batches(self, columns: Sequence[str] | None = None, **wanted: Any) -> Iterator[Any]:
        """Yield the rows that `scan(**wanted)` returns as record batches of pyarrow.

        The memory that it takes does not grow with the number of rows. Batches may be empty.

        Args:
            columns: these only; left out, all.

        Raises:
            ArchiveError: the archive cannot be read.
        """
        rows, where = self._selected(**wanted)
        return self._store.read(rows, None if columns is None else [*columns], where)

    def files(
        self,
        backends: Collection[ABackend] | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[str]:
        """Return the Parquet files with the rows that match, for readers that know no tables of Delta Lake.

        They may have other rows, too. `compact` deletes them at the earliest a day after they were replaced.

        Args:
            backends: of these backends only, by name; left out, of all.
            since: with calibrations of this instant or later.
            until: with calibrations before this instant.

        Raises:
            InvalidRequest: an instant has no time zone.
            ArchiveError: the archive cannot be read.
        """
        since = since and checked_instant("since", since)
        until = until and checked_instant("until", until)
        version = self._store.opened()
        chosen = None if backends is None else {name_of(one) for one in backends}
        return sorted(
            self._store.file_url(one.path)
            for one in ([] if version is None else version.files())
            if (chosen is None or one.partition[0] in chosen)
            and (since is None or one.last >= since)
            and (until is None or one.first < until)
        )

    def check(self) -> None:
        """Raise an error if there is no calibration, as where the name of the archive is mistyped.

        Raises:
            ArchiveError: there is none, or the archive cannot be read.
        """
        version = self._store.opened()
        if version is None or not version.files():
            raise ArchiveError(f"{self._store.url}: there is no archive of calibrations")

    def info(self) -> tuple[Holding, ...]:
        """Return what the archive holds of each backend, sorted by name.

        Raises:
            ArchiveError: the archive cannot be read.
        """
        version = self._store.opened()
        return () if version is None else holdings(self._store, version)

    def storage(self) -> Storage:
        """Return how the archive is kept, and what `compact` would save.

        Raises:
            ArchiveError: the archive cannot be read.
        """
        version = self._store.opened()
        return Storage(0, 0, 0, 0, 0) if version is None else storage(self._store, version)

    def backends(self) -> dict[str, datetime]:
        """Return when the newest calibration of each backend was done, by name; no file is opened.

        Raises:
            ArchiveError: the archive cannot be read.
        """
        version = self._store.opened()
        files = [] if version is None else sorted(version.files(), key=attrgetter("partition", "last"))
        return {one.partition[0]: one.last for one in files}

    def names(self) -> list[str]:
        """Return what was measured, such as `T1` and `gate_error`, sorted; all rows are looked at.

        Raises:
            ArchiveError: the archive cannot be read.
        """
        version = self._store.opened()
        if version is None:
            return []
        batches = self._store.read(version.dataset(texts=["name"]), ["name"])
        return sorted({name for batch in batches for name in batch.column(0).unique().to_pylist()})

    def compact(self, *, keep: timedelta = _DAY) -> Compacted:
        """Make one sorted file of those of each backend's month, and delete files that nobody needs any more.

        Readers and writers go on meanwhile, and no row changes.

        Args:
            keep: how long a file is kept that was replaced, for readers that began before, and one that a
                writer has not committed yet, at most 7 days. It is rounded up to hours. 0 is safe only where
                nobody else reads or writes.

        Raises:
            InvalidRequest: `keep` is negative, or longer than that.
            ArchiveError: the archive cannot be read or written.
        """
        return self._store.compact(keep)

    def import_files(self, url: str | Path) -> dict[str, int]:
        """Add the calibrations of an archive that an earlier version wrote, a file for each.

        Returns the number of those that were missing, by backend. It can be stopped and started again.

        Args:
            url: where the old archive is; it is left as it is.

        Raises:
            ArchiveError: one of both cannot be read or written, or there are no such files.
        """
        return import_files(Location(str(url)), self._store)

    def export(self, path: str | Path, **wanted: Any) -> int:
        """Write the rows that `scan(**wanted)` returns into one file, and return their number.

        A name that ends in `.parquet` gives a Parquet file, `.csv` a CSV file. Where there are no rows, no
        file is written. The memory that it takes does not grow with the number of rows. If it fails, what had
        that name before is left as it was.

        Raises:
            ValueError: the name ends in neither `.parquet` nor `.csv`.
            OSError: the file cannot be written.
            ArchiveError: the archive cannot be read, or there is none.
        """
        target = Path(path)
        if target.suffix not in (".parquet", ".csv"):
            raise ValueError("the name of an export has to end in .parquet or .csv")
        self.check()
        rows, draft = 0, target.with_name(f".{uuid4().hex}{target.suffix}")
        with ExitStack() as stack:
            stack.callback(draft.unlink, missing_ok=True)
            writer: Any = None
            for batch in self.batches(**wanted):
                if not batch.num_rows:
                    continue
                written = csv_batch(batch) if target.suffix == ".csv" else batch
                writer = writer or stack.enter_context(_writer(draft, written.schema))
                rows += batch.num_rows
                writer.write_table(pa.Table.from_batches([written]))
            if writer is not None:
                writer.close()
                draft.replace(target.resolve())
        return rows

    def _selected(
        self,
        backends: Collection[ABackend] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        kinds: Collection[str] | None = None,
        names: Collection[str] | None = None,
    ) -> tuple[Any, Any]:
        """Return a dataset of all rows, and the condition of those that are meant; None for all of them."""
        for kind in kinds or ():
            if kind not in _KINDS:
                problem = f"no kind {kind!r:.40}; there are {', '.join(_KINDS)}"
                raise InvalidRequest(suggested(problem, kind, _KINDS))
        since = since and checked_instant("since", since)
        until = until and checked_instant("until", until)
        version = self._store.opened()
        rows = pa_dataset.dataset(SCHEMA.empty_table()) if version is None else version.dataset()
        chosen = None if backends is None else [name_of(one) for one in backends]
        spelled = None if names is None else [_SPELLED.get(one.casefold(), one) for one in names]
        conditions = [
            pa_dataset.field(column).isin(list(values))
            for column, values in (("backend", chosen), ("kind", kinds), ("name", spelled))
            if values is not None
        ]
        # The conditions on the month leave out files without opening them.
        month, at = pa_dataset.field("month"), pa_dataset.field("calibrated_at")
        if since is not None:
            conditions += [month >= f"{since:%Y-%m}", at >= since]
        if until is not None:
            conditions += [month <= f"{until:%Y-%m}", at < until]
        return rows, reduce(and_, conditions) if conditions else None


def _writer(target: Path, schema: Any) -> Any:
    if target.suffix == ".csv":
        return pa_csv.CSVWriter(target, schema)
    return pa_parquet.ParquetWriter(target, schema, compression="zstd")


__all__ = ["SCHEMA", "Archive", "Compacted", "Holding", "Storage", "SyncProgress", "Synced"]
