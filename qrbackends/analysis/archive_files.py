"""The files of an archive: their names, writing them as a whole, and noting which intervals are complete.

    backend=ibm_boston/month=2026-11/20261117T110502Z-1f0c….parquet   one calibration
    _covered/ibm_boston/1f0c…/20261101T000000Z_20261117T100502Z       an interval without missing calibrations

The hexadecimal digits stand for origin and variant of a calibration.
"""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from ..messages.extras import missing_extra
from ..models import BackendProperties
from .archive_rows import table_of
from .arrow import pa_dataset, pa_fs, pa_parquet
from .intervals import Interval, joined

_BACKEND = "backend="
_COVERED = "_covered"


class Series(NamedTuple):
    """Which calibrations belong together.

    Attributes:
        backend: the backend's name.
        origin: which service they come from, such as the address of its API.
        calibration_id: the variant of the backend, or None.
    """

    backend: str
    origin: str
    calibration_id: str | None


class CalibrationFile(NamedTuple):
    """What the name of a calibration's file says.

    Attributes:
        backend: the backend's name.
        calibrated_at: when it was calibrated.
        bytes: the file's size.
    """

    backend: str
    calibrated_at: datetime
    bytes: int


class ArchiveFiles:
    """The files in a directory, or below an fsspec URL.

    Several processes may write at once: a name follows from the content, and a file appears as a whole.

    Args:
        url: where they are; it need not exist.

    Raises:
        ImportError: the URL needs fsspec, or what fsspec needs for it, and that is not installed.

    Attributes:
        system: the pyarrow file system.
        root: the path in it.
    """

    def __init__(self, url: str) -> None:
        self.system, self.root = _file_system(url)

    def add(self, properties: BackendProperties, origin: str, calibration_id: str | None) -> bool:
        """Write a calibration, unless its file exists; return whether it was written.

        Raises:
            DecodeError: a unit is not known.
            OSError: it cannot be written.
        """
        at = properties.last_update_date.astimezone(UTC)
        folder = f"{self.root}/{_BACKEND}{quote(properties.backend_name, safe='')}/month={at:%Y-%m}"
        name = f"{_stamp(at)}-{_digest(origin, calibration_id)}.parquet"
        if self.system.get_file_info(f"{folder}/{name}").type != pa_fs.FileType.NotFound:
            return False
        table = table_of(properties, origin, calibration_id or "")
        self.system.create_dir(folder, recursive=True)
        draft = f"{folder}/.{name}.{token_hex(4)}"  # a dataset leaves out files whose names begin with a dot
        try:
            pa_parquet.write_table(table, draft, filesystem=self.system, compression="zstd")
            self.system.move(draft, f"{folder}/{name}")
        except BaseException:  # Ctrl-C, too, leaves no draft behind
            with suppress(OSError):
                self.system.delete_file(draft)
            raise
        return True

    def calibrations(self) -> Iterator[CalibrationFile]:
        """Yield what the names of all calibrations' files say, in no certain order; no file is opened."""
        for info in self._below(self.root):
            folder, _, name = info.path.rpartition("/")
            backend = folder.rpartition("/")[0].rpartition("/")[2]
            at = _instant(name.partition("-")[0])
            if backend.startswith(_BACKEND) and at is not None:
                yield CalibrationFile(unquote(backend.removeprefix(_BACKEND)), at, info.size or 0)

    def dataset(self, columns: Any, partitioning: Any) -> Any:
        """Return a pyarrow dataset of all calibrations; an empty one if the archive does not exist."""
        if self.system.get_file_info(self.root).type == pa_fs.FileType.NotFound:
            return pa_dataset.dataset(columns.empty_table())
        return pa_dataset.dataset(
            self.root, schema=columns, filesystem=self.system, format="parquet", partitioning=partitioning
        )

    def covered(self, series: Series) -> list[Interval]:
        """Return the intervals in which no calibration of the series is missing, as `joined` does."""
        intervals = []
        for info in self._below(self._markers(series)):
            begin, _, end = info.base_name.partition("_")
            since, until = _instant(begin), _instant(end)
            if since is not None and until is not None:
                intervals.append((since, until))
        return joined(intervals)

    def cover(self, series: Series, interval: Interval) -> None:
        """Note that no calibration of the series is missing in an interval.

        Raises:
            OSError: it cannot be written.
        """
        folder = self._markers(series)
        self.system.create_dir(folder, recursive=True)
        with self.system.open_output_stream(f"{folder}/{_stamp(interval[0])}_{_stamp(interval[1])}"):
            pass  # the name says everything

    def _markers(self, series: Series) -> str:
        variant = _digest(series.origin, series.calibration_id)
        return f"{self.root}/{_COVERED}/{quote(series.backend, safe='')}/{variant}"

    def _below(self, folder: str) -> list[Any]:
        selector = pa_fs.FileSelector(folder, recursive=True, allow_not_found=True)
        return [info for info in self.system.get_file_info(selector) if info.type == pa_fs.FileType.File]


def _file_system(url: str) -> tuple[Any, str]:
    if "://" not in url:
        return pa_fs.LocalFileSystem(), Path(url).absolute().as_posix()
    try:
        import fsspec
    except ImportError as error:
        raise missing_extra(f"{url} needs fsspec", "arrow", "fsspec") from error
    system, root = fsspec.core.url_to_fs(url)
    return pa_fs.PyFileSystem(pa_fs.FSSpecHandler(system)), root.rstrip("/")


def _digest(origin: str, calibration_id: str | None) -> str:
    text = f"{origin}\0{calibration_id or ''}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _stamp(at: datetime) -> str:
    """Return an instant as the names have it: in UTC, to the microsecond if it has a fraction."""
    utc = at.astimezone(UTC)
    return f"{utc:%Y%m%dT%H%M%S}{f'.{utc.microsecond:06}' if utc.microsecond else ''}Z"


def _instant(stamp: str) -> datetime | None:
    try:
        return datetime.fromisoformat(stamp)
    except ValueError:
        return None
