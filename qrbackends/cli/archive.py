"""`qrbackends archive`: calibrations as Parquet files."""

import asyncio
import errno
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import click

from ..errors import QRBackendsError
from ..messages.counts import counted, noun
from ..messages.suggestions import suggested
from .arguments import backends_argument, calibration_option, range_options
from .choices import Group
from .columns import Column, minute, number
from .options import Source, SourceCommand, source_options
from .past import unknown
from .screen import progress_bar
from .tables import Table, table_options
from .text import echo, echo_json, warn

if TYPE_CHECKING:
    from ..analysis.archive import Synced

_DAYS = 30


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f}"


_COLUMNS: Final[tuple[Column[Any], ...]] = (  # of `Holding`, whose module needs pyarrow
    Column("backend", "backend", attrgetter("backend")),
    number("calibrations", "calibrations", attrgetter("calibrations"), rank=1),
    number("bytes", "MB", attrgetter("bytes"), _megabytes, 10),
    Column("first", "first UTC", attrgetter("first"), minute, 3),
    Column("last", "last UTC", attrgetter("last"), minute, 2),
)


@click.group(cls=Group)
def archive() -> None:
    """Keep calibrations as Parquet files.

    URL is a directory, or any URL that fsspec supports, such as s3://bucket/prefix. The command needs the
    extra `arrow`.
    """


@archive.command(cls=SourceCommand)
@click.argument("url")
@backends_argument
@source_options
@range_options(f"{_DAYS} days before its end")
@calibration_option
def sync(
    source: Source,
    as_json: bool,
    url: str,
    names: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    calibration_id: str | None,
) -> None:
    """Add the calibrations that are missing.

    The command can be stopped at any moment; the next run continues there. Calibrations that cannot be read
    are named on stderr, and read by the next run.
    """
    from ..analysis.archive import Archive, Synced, SyncProgress

    end = until or datetime.now(UTC)
    begin = since or end - timedelta(days=_DAYS)

    async def run() -> Synced:
        with progress_bar("Looking for what is missing") as bar:
            async with source.client() as client:
                count = len(names) or len({one.name for one in await client.backends()})
                bar.begin("Days archived", count * max(1, (end - begin).days))
                done: dict[str, int] = {}

                def report(progress: SyncProgress) -> None:
                    days = (progress.until - begin).days
                    for _ in range(days - done.get(progress.backend, 0)):
                        bar.step()
                    done[progress.backend] = days

                how: dict[str, Any] = {"calibration_id": calibration_id, "progress": report}
                return await Archive(url).sync(client, names or None, since=begin, until=end, **how)

    synced = asyncio.run(run())
    if len(synced.errors) == len(synced.added) and not any(synced.added.values()):
        _raise_last(tuple(synced.errors.values()))
    source.announce()
    added = sum(synced.added.values())
    if as_json:
        echo_json({"added": synced.added, "gaps": {name: len(gaps) for name, gaps in synced.gaps.items()}})
    else:
        are = noun(added, "is", "are")
        echo(f"{counted(added, 'calibration')} of {counted(len(synced.added), 'backend')} {are} new.")
    _warn(synced, begin)


def _warn(synced: "Synced", begin: datetime) -> None:
    """Write on stderr what could not be read, and of which backends the range has nothing."""
    for name, gaps in synced.gaps.items():
        for gap in gaps:
            warn(f"{name}: {unknown(gap)}")
    for error in synced.errors.values():
        warn(str(error))
    for name, newest in synced.newest.items():
        if newest < begin:
            warn(f"{name}: the newest calibration is of {minute(newest)} UTC; --since asks further back")


def _raise_last(errors: Sequence[QRBackendsError]) -> None:
    """Raise the last of some errors, if there is one, and write the others on stderr."""
    for error in errors[:-1]:
        warn(str(error))
    if errors:
        raise errors[-1]


@archive.command()
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout, and nothing else there.")
@table_options(_COLUMNS)
def info(url: str, table: Table[Any]) -> None:
    """Show the number, size and dates of each backend's calibrations."""
    from ..analysis.archive import Archive

    held = Archive(url).info()
    if not held:  # most likely it is mistyped
        raise FileNotFoundError(errno.ENOENT, "there is no archive of calibrations", url)
    count, size = sum(one.calibrations for one in held), sum(one.bytes for one in held)
    note = f"{counted(count, 'calibration')}, {_megabytes(size)} MB."
    table.show(None, "Archived calibrations", held, note, value=lambda rows: rows)


@archive.command()
@click.argument("url")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--backend", "backends", multiple=True, metavar="BACKEND", help="This one only; repeatable.")
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="NAME",
    help="Such as T1 or gate_error; repeatable.",
)
@range_options("the oldest calibration", "after the newest one")
def export(
    url: str,
    file: str,
    backends: tuple[str, ...],
    names: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
) -> None:
    """Write the selected values into one file, .parquet or .csv.

    Where there are none, the exit code is 1, and no file is written.
    """
    from ..analysis.archive import Archive
    from ..analysis.tables import MEASURED

    try:
        rows = Archive(url).export(
            file, backends=backends or None, names=names or None, since=since, until=until
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not rows:
        held = {one.backend for one in Archive(url).info()}
        problem = "no value in the archive is what is wanted, and nothing was written"
        for given, known in ((backends, held), (names, MEASURED)):
            for one in given:
                problem = problem if one in known else suggested(problem, one, known)
        raise click.ClickException(problem)
    echo(f"{counted(rows, 'row')}.")
