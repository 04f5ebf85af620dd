"""Compaction: few sorted files instead of many small ones, without a change of what readers see.

The files of a backend's month become one, sorted by what was measured, where, and when. Between two syncs of
a month that goes on, there are two at most: the sorted one, and one with what came since.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from .archive_rows import SCHEMA
from .archive_table import ArchiveTable, Change, DataFile, Version
from .arrow import pa, pa_dataset, pc

_SMALL: Final = 1 / 8  # of the rows of the largest file: the others are joined without it
_SORTED: Final = (
    3_000_000  # rows that are sorted in memory at a time, some 500 MB; a month of 156 qubits hourly
)
_BATCH: Final = 64 * 1024
_TEXTS: Final = [field.name for field in SCHEMA if field.type == pa.string()]


def partitions(files: Iterable[DataFile]) -> dict[tuple[str, ...], list[DataFile]]:
    """Return the files by backend and month, sorted, those of each in order of time."""
    ordered = sorted(files, key=attrgetter("partition", "first", "path"))
    return {key: list(group) for key, group in groupby(ordered, key=attrgetter("partition"))}


def compact(table: ArchiveTable, partition: tuple[str, ...], *, is_over: bool) -> int:
    """Make few files of those of a backend's month, and return how many were replaced.

    Args:
        table: the archive's table.
        partition: the backend and the month.
        is_over: whether to make one of all of them; otherwise the largest is left alone as long as the others
            are small.
    """

    def change(version: Version) -> Change[int]:
        files = partitions(version.files()).get(partition, [])
        chosen = files if is_over else _chosen(files)
        if len(chosen) < 2:
            return [], 0
        added = table.written(version, _sorted(version, chosen), partition, is_new=False)
        return [added, *map(table.removed, chosen)], len(chosen)

    return table.commit(f"compact {'/'.join(partition)}", change)


def _chosen(files: list[DataFile]) -> list[DataFile]:
    """Return the files to make one of: all, or those beside the largest if they are small."""
    if len(files) < 2:
        return []
    largest = max(files, key=attrgetter("rows"))
    others = [one for one in files if one is not largest]
    return others if sum(one.rows for one in others) < _SMALL * largest.rows else files


def _sorted(version: Version, files: list[DataFile]) -> Iterator[Any]:
    """Yield the rows of files, sorted, in one table or, if they are too many for the memory, in several."""
    form = pa_dataset.ParquetFileFormat(read_options=pa_dataset.ParquetReadOptions(dictionary_columns=_TEXTS))
    fields = [
        field.with_type(pa.dictionary(pa.int32(), pa.string())) if field.name in _TEXTS else field
        for field in SCHEMA
    ]
    rows = pa_dataset.dataset(
        [one.path for one in files], schema=pa.schema(fields), filesystem=version.system, format=form
    )
    batches: list[Any] = []
    for batch in rows.to_batches(batch_size=_BATCH, batch_readahead=2, fragment_readahead=1):
        batches.append(batch)
        if sum(one.num_rows for one in batches) >= _SORTED:
            yield in_order(pa.Table.from_batches(batches))
            batches = []
    if batches:
        yield in_order(pa.Table.from_batches(batches))


def in_order(rows: Any) -> Any:
    """Return rows sorted by what was measured, on which qubits, and when."""
    on = pc.list_slice(rows["qubits"], 0, 2, return_fixed_size_list=True)
    keys = {
        "name": _codes(rows["name"]),
        "gate": _codes(rows["gate"]),
        "first": pc.list_element(on, 0),
        "second": pc.list_element(on, 1),
        "at": rows["calibrated_at"],
    }
    order = pc.sort_indices(pa.table(keys), sort_keys=[(name, "ascending") for name in keys])
    return rows.take(order)


def _codes(texts: Any) -> Any:
    """Return a number for each text, the same for the same ones: numbers are sorted sooner."""
    if not pa.types.is_dictionary(texts.type):
        texts = texts.dictionary_encode()
    return pa.chunked_array([chunk.indices for chunk in texts.unify_dictionaries().chunks], pa.int32())
