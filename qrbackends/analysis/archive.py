"""Archives of calibrations: Parquet files that pandas, polars, DuckDB, Spark and Trino read as they are.

An archive is a directory, or a prefix in an object store:

    backend=ibm_boston/month=2026-11/20261117T110502Z-1f0c….parquet   one calibration
    _covered/ibm_boston/1f0c…/20261101T000000Z_20261117T100502Z       a stretch of which nothing is missing

One row per measured value. It needs pyarrow (`pip install "qrbackends[arrow]"`).
"""

import asyncio
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from urllib.parse import quote, unquote

from msgspec import Struct

from ..client import Client
from ..errors import (
    AccountError,
    ClientClosed,
    DecodeError,
    Forbidden,
    NotFound,
    QRBackendsError,
    Unauthorized,
    WrongEventLoop,
)
from ..fleet.history import Gap, checked_range
from ..models import Backend, BackendProperties

try:
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq
    from pyarrow import fs as pafs
except ImportError as error:
    raise ImportError('archives need pyarrow: pip install "qrbackends[arrow]"') from error

if TYPE_CHECKING:
    Dataset: TypeAlias = Any

SCHEMA: Final = pa.schema(
    [
        pa.field("origin", pa.string(), nullable=False),
        pa.field("calibration_id", pa.string(), nullable=False),
        pa.field("calibrated_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("measured_at", pa.timestamp("us", tz="UTC")),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("gate", pa.string()),
        pa.field("qubits", pa.list_(pa.field("item", pa.int32(), nullable=False)), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("unit", pa.string(), nullable=False),
    ]
)
"""The columns of each file; `backend` and `month` are in its path. `kind` is `qubit`, `gate` or `general`."""

_PARTITIONS = pa.schema([pa.field("backend", pa.string()), pa.field("month", pa.string())])
_COVERED = "_covered"
_SETTLED = timedelta(hours=1)  # before a device's newest calibration, after which nothing is added
_AT_ONCE = 4  # backends
_BATCH = 64 * 1024  # rows that an export holds at a time

Span: TypeAlias = tuple[datetime, datetime]


class Progress(NamedTuple):
    """How far a `sync` has come with one backend.

    Attributes:
        backend: its name.
        until: up to where it is done.
        added: calibrations that were new, of this backend and until now.
    """

    backend: str
    until: datetime
    added: int


class Synced(Struct, frozen=True):
    """What a `sync` did.

    Attributes:
        added: calibrations that were new, by backend.
        gaps: stretches that could not be read, by backend; the next `sync` reads them.
        errors: why nothing at all could be read of a backend.
    """

    added: dict[str, int]
    gaps: dict[str, tuple[Gap, ...]]
    errors: dict[str, QRBackendsError]


class Holding(Struct, frozen=True):
    """What an archive holds of one backend.

    Attributes:
        backend: its name.
        calibrations: how many.
        bytes: what their files take.
        first, last: when it was calibrated.
    """

    backend: str
    calibrations: int
    bytes: int
    first: datetime
    last: datetime


class Archive:
    """Calibrations in a directory, or below an fsspec URL such as `s3://bucket/prefix`.

    Any number of processes may write at the same time: what a file holds follows from its name, and files
    appear as a whole. Its methods but `sync` block; `sync` writes in threads.

    Args:
        url: where it is; it need not exist.

    Raises:
        ImportError: the URL needs fsspec, or what fsspec needs for it, and that is not installed.
    """

    def __init__(self, url: str | Path) -> None:
        self._fs, self._root = _file_system(str(url))

    def add(
        self, properties: BackendProperties, *, origin: str = "", calibration_id: str | None = None
    ) -> bool:
        """Add a calibration, and return whether it was new.

        Args:
            properties: the calibration.
            origin: which service it comes from, such as the address of its API.
            calibration_id: the variant of the backend, or None.

        Raises:
            DecodeError: a unit, date or qubit in it is none that is known.
            OSError: it cannot be written.
        """
        backend, at = properties.backend_name, properties.last_update_date.astimezone(UTC)
        folder = f"{self._root}/backend={quote(backend, safe='')}/month={at:%Y-%m}"
        name = f"{_stamp(at)}-{_digest(origin, calibration_id)}.parquet"
        if self._fs.get_file_info(f"{folder}/{name}").type != pafs.FileType.NotFound:
            return False
        table = _table(properties, origin, calibration_id or "")
        self._fs.create_dir(folder, recursive=True)
        draft = f"{folder}/.{name}.{token_hex(4)}"  # readers of the dataset do not see it
        try:
            pq.write_table(table, draft, filesystem=self._fs, compression="zstd")
            self._fs.move(draft, f"{folder}/{name}")
        except BaseException:  # Ctrl-C, too, leaves no draft behind
            with suppress(OSError):
                self._fs.delete_file(draft)
            raise
        return True

    async def sync(
        self,
        client: Client,
        backends: Iterable[str] | None = None,
        *,
        since: datetime,
        until: datetime | None = None,
        calibration_id: str | None = None,
        progress: Callable[[Progress], None] = lambda _: None,
    ) -> Synced:
        """Add every calibration of a stretch of time that is missing, and ask for those only.

        It can be stopped at any moment: what is there is whole, and the next one goes on from it.

        Args:
            client: reads.
            backends: their names; left out, all that the account can see.
            since: where the stretch begins, inclusive.
            until: where it ends, exclusive; left out, now.
            calibration_id: a named variant of the backends.
            progress: told after each window of a history.

        Raises:
            QRBackendsError: the backends could not be listed, or the account cannot be used.
            InvalidRequest: an instant has no time zone, or the range makes no sense.
            OSError: it cannot be written.
        """
        begin, end = checked_range(since, datetime.now(UTC) if until is None else until)
        listed = {backend.name: backend for backend in reversed(await client.backends())}
        names = list(listed) if backends is None else list(dict.fromkeys(backends))
        origins = {one.instance.crn: one.instance.base_url for one in await client.instances()}
        places = asyncio.Semaphore(_AT_ONCE)
        done: dict[str, _Sync] = {}

        async def one(name: str) -> None:
            backend: Backend | None = listed.get(name)
            origin = origins.get(backend.instance or "", "") if backend else ""
            done[name] = _Sync(self, client, name, origin, calibration_id, progress)
            async with places:
                await done[name].run(begin, end)

        try:
            async with asyncio.TaskGroup() as group:
                for name in names:
                    group.create_task(one(name))
        except ExceptionGroup as failed:  # the first one ended the others
            raise failed.exceptions[0] from None
        return Synced(
            {name: done[name].added for name in names},
            {name: tuple(done[name].gaps) for name in names if done[name].gaps},
            {name: error for name in names if (error := done[name].error) is not None},
        )

    def scan(
        self,
        backends: Collection[str] | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        kinds: Collection[str] | None = None,
        names: Collection[str] | None = None,
    ) -> "Dataset":
        """Return a pyarrow dataset of the rows that match, which reads nothing before it is asked to.

        Its columns are those of `SCHEMA`, `backend` and `month`.

        Args:
            backends: of these only; left out, of all.
            since: calibrated then or later.
            until: calibrated before.
            kinds: any of `qubit`, `gate` and `general`.
            names: what was measured, such as `T1` or `gate_error`.
        """
        self._fs.create_dir(self._root, recursive=True)
        whole = ds.dataset(
            self._root,
            schema=pa.unify_schemas([SCHEMA, _PARTITIONS]),
            filesystem=self._fs,
            format="parquet",
            partitioning=ds.partitioning(_PARTITIONS, flavor="hive"),
        )
        wanted = [
            ds.field(column).isin(list(values))
            for column, values in (("backend", backends), ("kind", kinds), ("name", names))
            if values is not None
        ]
        # The month lets files be left out without being opened.
        month, at = ds.field("month"), ds.field("calibrated_at")
        if since is not None:
            wanted += [month >= f"{since.astimezone(UTC):%Y-%m}", at >= since]
        if until is not None:
            wanted += [month <= f"{until.astimezone(UTC):%Y-%m}", at < until]
        for condition in wanted:
            whole = whole.filter(condition)
        return whole

    def info(self) -> tuple[Holding, ...]:
        """Return what there is of each backend, by the names of the files alone."""
        found: dict[str, list[tuple[datetime, int]]] = {}
        for info in self._files(self._root):
            folder, _, name = info.path.rpartition("/")
            backend = folder.rpartition("/")[0].rpartition("/")[2]
            at = _instant(name.partition("-")[0])
            if backend.startswith("backend=") and at is not None:
                found.setdefault(unquote(backend.removeprefix("backend=")), []).append((at, info.size or 0))
        return tuple(
            Holding(name, len(files), sum(size for _, size in files), min(files)[0], max(files)[0])
            for name, files in sorted(found.items())
        )

    def export(self, path: str | Path, **wanted: Any) -> int:
        """Write what `scan(**wanted)` returns into one file, Parquet or CSV by its name; return the rows.

        Raises:
            ValueError: the name ends in neither `.parquet` nor `.csv`.
        """
        import pyarrow.csv as pacsv

        target = Path(path)
        dataset = self.scan(**wanted)
        if target.suffix not in (".parquet", ".csv"):
            raise ValueError("the name of an export has to end in .parquet or .csv")
        schema, plain = dataset.schema, target.suffix == ".csv"
        if plain:  # CSV has no lists
            schema = schema.set(schema.get_field_index("qubits"), pa.field("qubits", pa.string()))
        writer = pacsv.CSVWriter(target, schema) if plain else pq.ParquetWriter(target, schema)
        rows = 0
        with writer:
            for batch in dataset.to_batches(batch_size=_BATCH):
                rows += batch.num_rows
                writer.write_table(pa.Table.from_batches([_flat(batch, schema) if plain else batch]))
        return rows

    # --- what is missing

    def covered(self, backend: str, origin: str, calibration_id: str | None) -> list[Span]:
        """Return the stretches of which nothing is missing, in order, as few as can be."""
        spans = []
        for info in self._files(self._markers(backend, origin, calibration_id)):
            begin, _, end = info.base_name.partition("_")
            since, until = _instant(begin), _instant(end)
            if since is not None and until is not None:
                spans.append((since, until))
        return _joined(spans)

    def cover(self, backend: str, origin: str, calibration_id: str | None, span: Span) -> None:
        """Note that of a stretch nothing is missing."""
        folder = self._markers(backend, origin, calibration_id)
        self._fs.create_dir(folder, recursive=True)
        with self._fs.open_output_stream(f"{folder}/{_stamp(span[0])}_{_stamp(span[1])}"):
            pass

    def _markers(self, backend: str, origin: str, calibration_id: str | None) -> str:
        return f"{self._root}/{_COVERED}/{quote(backend, safe='')}/{_digest(origin, calibration_id)}"

    def _files(self, folder: str) -> list[Any]:
        selector = pafs.FileSelector(folder, recursive=True, allow_not_found=True)
        return [info for info in self._fs.get_file_info(selector) if info.type == pafs.FileType.File]


class _Sync:
    """What is missing of one backend."""

    def __init__(
        self,
        archive: Archive,
        client: Client,
        name: str,
        origin: str,
        calibration_id: str | None,
        progress: Callable[[Progress], None],
    ) -> None:
        self.added = 0
        self.gaps: list[Gap] = []
        self.error: QRBackendsError | None = None
        self._archive = archive
        self._client = client
        self._name = name
        self._place = (name, origin, calibration_id)
        self._progress = progress

    async def run(self, since: datetime, until: datetime) -> None:
        """Add what is missing."""
        covered = await asyncio.to_thread(self._archive.covered, *self._place)
        for span in _missing((since, until), covered):
            try:
                await self._fill(span)
            except NotFound:
                if self._place[1]:  # it is listed, and was never calibrated, or has no such variant
                    return
                self.error = NotFound("no instance lists it", 404).about(backend=self._name)
            except (AccountError, ClientClosed, Forbidden, Unauthorized, WrongEventLoop):
                raise
            except QRBackendsError as error:
                self.error = error

    async def _fill(self, span: Span) -> None:
        _, origin, calibration_id = self._place
        history = self._client.history(self._name, *span, calibration_id=calibration_id)
        async for window in history.windows():
            for one in window.calibrations:
                add = await asyncio.to_thread(
                    self._archive.add, one, origin=origin, calibration_id=calibration_id
                )
                self.added += add
            if window.gap is not None:
                self.gaps.append(window.gap)
            settled = window.until
            if history.newest is not None:
                settled = min(settled, history.newest - _SETTLED)
            begin = window.since if window.gap is None else window.gap.until
            if begin < settled:
                await asyncio.to_thread(self._archive.cover, *self._place, (begin, settled))
            self._progress(Progress(self._name, window.until, self.added))


# --- one calibration


def _table(properties: BackendProperties, origin: str, calibration_id: str) -> Any:
    rows = list(_rows(properties))
    count = len(rows)
    kind, gate, qubits, values = zip(*rows, strict=True) if rows else ((), (), (), ())
    at = properties.last_update_date
    columns = [
        [origin] * count,
        [calibration_id] * count,
        [at] * count,
        [_measured(value) for value in values],
        kind,
        gate,
        qubits,
        [value.name for value in values],
        [value.si for value in values],
        [value.si_unit for value in values],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _rows(properties: BackendProperties) -> Iterator[tuple[str, str | None, tuple[int, ...], Any]]:
    for number, measured in enumerate(properties.qubits):
        for value in measured:
            yield "qubit", None, (number,), value
    for gate in properties.gates:
        on = gate.on
        for value in gate.parameters:
            yield "gate", gate.gate, on, value
    for general in properties.general:
        if not isinstance(general, str):
            yield "general", None, (), general


def _measured(value: Any) -> datetime | None:
    try:
        at: datetime = value.measured_at
    except DecodeError:  # some flags carry no date
        return None
    return at


def _flat(batch: Any, schema: Any) -> Any:
    """Return a batch whose lists of qubits are text: numbers with blanks between them."""
    place = batch.schema.get_field_index("qubits")
    text = [" ".join(map(str, one)) for one in batch.column(place).to_pylist()]
    columns = [pa.array(text) if number == place else column for number, column in enumerate(batch.columns)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


# --- names and spans


def _file_system(url: str) -> tuple[Any, str]:
    if "://" not in url:
        return pafs.LocalFileSystem(), Path(url).absolute().as_posix()
    try:
        import fsspec
    except ImportError as error:
        raise ImportError(f'{url} needs fsspec: pip install "qrbackends[arrow]"') from error
    system, root = fsspec.core.url_to_fs(url)
    return pafs.PyFileSystem(pafs.FSSpecHandler(system)), root.rstrip("/")


def _digest(origin: str, calibration_id: str | None) -> str:
    text = f"{origin}\0{calibration_id or ''}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _stamp(at: datetime) -> str:
    """Return an instant as names have it; whole seconds without a fraction."""
    utc = at.astimezone(UTC)
    return f"{utc:%Y%m%dT%H%M%S}{f'.{utc.microsecond:06}' if utc.microsecond else ''}Z"


def _instant(stamp: str) -> datetime | None:
    try:
        return datetime.fromisoformat(stamp)
    except ValueError:
        return None


def _joined(spans: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for since, until in sorted(spans):
        if joined and since <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], until)
        else:
            joined.append((since, until))
    return joined


def _missing(wanted: Span, covered: Iterable[Span]) -> Iterator[Span]:
    begin, end = wanted
    for since, until in covered:
        if until <= begin or since >= end:
            continue
        if begin < since:
            yield begin, since
        begin = until
    if begin < end:
        yield begin, end


__all__ = ["SCHEMA", "Archive", "Holding", "Progress", "Synced"]
