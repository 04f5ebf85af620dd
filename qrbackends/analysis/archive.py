"""Archives of calibrations: Parquet files that pandas, polars, DuckDB, Spark and Trino read as they are.

An archive is a directory, or a prefix in an object store, with one file for each calibration (see
`archive_files`) and one row for each measured value (see `SCHEMA`). It needs pyarrow
(`pip install "qrbackends[arrow]"`).
"""

import errno
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

from ..client import Client
from ..errors import InvalidRequest
from ..fleet.history import checked_range
from ..messages.suggestions import suggested
from ..models import ABackend, BackendProperties, name_of
from .archive_files import ArchiveFiles
from .archive_rows import SCHEMA, csv_batch, csv_schema
from .archive_sync import Synced, SyncProgress, sync
from .arrow import pa, pa_csv, pa_dataset, pa_parquet

if TYPE_CHECKING:
    Dataset: TypeAlias = Any

_PARTITIONS = pa.schema([pa.field("backend", pa.string()), pa.field("month", pa.string())])
_COLUMNS = pa.unify_schemas([SCHEMA, _PARTITIONS])
_KINDS = ("qubit", "gate", "general")
_BATCH = 64 * 1024  # rows that an export holds at a time


class Holding(Struct, frozen=True):
    """What an archive holds of one backend.

    Attributes:
        backend: its name.
        calibrations: number of its calibrations.
        bytes: size of their files.
        first, last: when the oldest and the newest of them was done.
    """

    backend: str
    calibrations: int
    bytes: int
    first: datetime
    last: datetime


class Archive:
    """Calibrations in a directory, or below an fsspec URL such as `s3://bucket/prefix`.

    What only reads creates nothing: an archive that does not exist is empty. Any number of processes may
    write at the same time. All methods block, except `sync`, which writes in threads.

    Args:
        url: where the archive is; it need not exist.

    Raises:
        ImportError: the URL needs fsspec, or what fsspec needs for it, and that is not installed.
    """

    def __init__(self, url: str | Path) -> None:
        self._files = ArchiveFiles(str(url))

    def add(
        self, properties: BackendProperties, *, origin: str = "", calibration_id: str | None = None
    ) -> bool:
        """Add a calibration; return False if the archive has it already.

        Args:
            properties: the calibration.
            origin: which service it comes from, such as the address of its API.
            calibration_id: the variant of the backend, or None.

        Raises:
            DecodeError: a unit is not known.
            OSError: it cannot be written.
        """
        return self._files.add(properties, origin, calibration_id)

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

        It can be stopped at any moment: every file is whole, and the next `sync` goes on from there.

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
            OSError: a file cannot be written.
        """
        interval = checked_range(since, datetime.now(UTC) if until is None else until)
        return await sync(self._files, client, backends, interval, calibration_id, progress)

    def scan(
        self,
        backends: Collection[ABackend] | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        kinds: Collection[str] | None = None,
        names: Collection[str] | None = None,
    ) -> "Dataset":
        """Return a pyarrow dataset of the rows that match; it reads nothing until it is asked to.

        Its columns are those of `SCHEMA`, `backend` and `month`.

        Args:
            backends: rows of these backends only, by name; left out, of all.
            since: calibrated at this instant or later.
            until: calibrated before this instant.
            kinds: any of `qubit`, `gate` and `general`.
            names: what was measured, such as `T1` or `gate_error`.

        Raises:
            InvalidRequest: there is no such kind.
        """
        for kind in kinds or ():
            if kind not in _KINDS:
                problem = f"no kind {kind!r:.40}; there are {', '.join(_KINDS)}"
                raise InvalidRequest(suggested(problem, kind, _KINDS))
        rows = self._files.dataset(_COLUMNS, pa_dataset.partitioning(_PARTITIONS, flavor="hive"))
        chosen = None if backends is None else [name_of(one) for one in backends]
        conditions = [
            pa_dataset.field(column).isin(list(values))
            for column, values in (("backend", chosen), ("kind", kinds), ("name", names))
            if values is not None
        ]
        # The conditions on the month leave out files without opening them.
        month, at = pa_dataset.field("month"), pa_dataset.field("calibrated_at")
        if since is not None:
            conditions += [month >= f"{since.astimezone(UTC):%Y-%m}", at >= since]
        if until is not None:
            conditions += [month <= f"{until.astimezone(UTC):%Y-%m}", at < until]
        for condition in conditions:
            rows = rows.filter(condition)
        return rows

    def info(self) -> tuple[Holding, ...]:
        """Return what the archive holds of each backend, sorted by name; it lists files and opens none."""
        found: dict[str, list[tuple[datetime, int]]] = {}
        for backend, at, size in self._files.calibrations():
            found.setdefault(backend, []).append((at, size))
        return tuple(
            Holding(name, len(files), sum(size for _, size in files), min(files)[0], max(files)[0])
            for name, files in sorted(found.items())
        )

    def export(self, path: str | Path, **wanted: Any) -> int:
        """Write the rows that `scan(**wanted)` returns into one file, and return their number.

        A name that ends in `.parquet` gives a Parquet file, `.csv` a CSV file. Where there are no rows, no
        file is written.

        Raises:
            ValueError: the name ends in neither `.parquet` nor `.csv`.
            OSError: the file cannot be written, or the archive has no calibrations at all.
        """
        target = Path(path)
        if target.suffix not in (".parquet", ".csv"):
            raise ValueError("the name of an export has to end in .parquet or .csv")
        if next(self._files.calibrations(), None) is None:  # most likely its name is mistyped
            raise FileNotFoundError(errno.ENOENT, "there is no archive of calibrations", self._files.root)
        dataset = self.scan(**wanted)
        rows = 0
        with ExitStack() as stack:
            writer: Any = None
            for batch in dataset.to_batches(batch_size=_BATCH):
                if not batch.num_rows:
                    continue
                if writer is None:
                    writer = stack.enter_context(_writer(target, dataset.schema))
                rows += batch.num_rows
                written = csv_batch(batch) if target.suffix == ".csv" else batch
                writer.write_table(pa.Table.from_batches([written]))
        return rows


def _writer(target: Path, schema: Any) -> Any:
    if target.suffix == ".csv":
        return pa_csv.CSVWriter(target, csv_schema(schema))
    return pa_parquet.ParquetWriter(target, schema)


__all__ = ["SCHEMA", "Archive", "Holding", "SyncProgress", "Synced"]
