"""`qrbackends archive`: calibrations in tables of Delta Lake."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import click

from ..errors import QRBackendsError
from ..messages.counts import counted, noun
from ..messages.suggestions import instead, suggested
from ..models.formatting import DASH
from .arguments import backends_argument, calibration_option, range_options, step_of
from .choices import Group
from .columns import Column, minute, number
from .options import Source, SourceCommand, source_options
from .past import unknown
from .screen import progress_bar
from .tables import Table, table_options
from .text import echo, echo_json, warn

if TYPE_CHECKING:
    from ..analysis.archive import Archive, Holding, Storage, Synced

_DAYS = 30


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f}"


def _unread_hours(one: "Holding") -> float:
    return sum((until - since).total_seconds() for since, until in one.unread) / 3600


def _unread(one: "Holding") -> str:
    """Return the first stretch of time that was not read, and how many more there are."""
    if not one.unread:
        return DASH
    since, until = one.unread[0]
    more = f", {len(one.unread) - 1} more" if len(one.unread) > 1 else ""
    return f"{minute(since)} to {minute(until)}{more}"


_COLUMNS: Final[tuple[Column[Any], ...]] = (  # of `Holding`, whose module needs pyarrow
    Column("backend", "backend", attrgetter("backend")),
    number("calibrations", "calibrations", attrgetter("calibrations"), rank=1),
    number("rows", "rows", attrgetter("rows"), rank=11),
    number("files", "files", attrgetter("files"), rank=12),
    number("bytes", "MB", attrgetter("bytes"), _megabytes, 10),
    Column("first", "first UTC", attrgetter("first"), minute, 3),
    Column("last", "last UTC", attrgetter("last"), minute, 2),
    Column("unread_hours", "not read UTC", _unread_hours, rank=4, cell=_unread),
)


@click.group(cls=Group)
def archive() -> None:
    """Keep calibrations in Delta tables.

    URL is a directory, or a place in an object store, such as s3://bucket/prefix; keys and settings of a
    store come from the environment, such as AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL. The command needs the
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
    """Show what there is of each backend.

    It also says what a compaction would save. A stretch of time was not read if no sync has come to its end:
    there may be calibrations that are missing.
    """
    from ..analysis.archive import Archive

    kept = Archive(url)
    kept.check()
    held = kept.info()
    note = " ".join(_summary(held, kept.storage()))
    table.show(None, "Archived calibrations", held, note, value=lambda rows: rows)


def _summary(held: "Sequence[Holding]", kept: "Storage") -> Iterator[str]:
    """Yield what there is in all, and what a compaction would save if it would save anything."""
    calibrations, rows = sum(one.calibrations for one in held), sum(one.rows for one in held)
    size = f"{counted(kept.files, 'file')}, {_megabytes(kept.bytes)} MB"
    yield f"{counted(calibrations, 'calibration')}, {counted(rows, 'row')} in {size}."
    if kept.files > kept.fewest:
        yield f"`archive compact` would leave {counted(kept.fewest, 'file')}."
    if kept.dead_files:
        dead = f"{counted(kept.dead_files, 'file')} of {_megabytes(kept.dead_bytes)} MB"
        are = noun(kept.dead_files, "is", "are")
        yield f"Besides, {dead} {are} kept for readers; a compaction deletes them after a day."


@archive.command()
@click.argument("url")
@click.option(
    "--keep",
    type=step_of,
    default="1d",
    show_default=True,
    metavar="SPAN",
    help="How long files are kept that were replaced, as 6h, at most 7d: others may still use them.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout, and nothing else there.")
def compact(url: str, keep: timedelta, as_json: bool) -> None:
    """Make one sorted file of each backend's month.

    Files that nobody needs are deleted. Others may read and write meanwhile. A sync compacts the months that
    it adds to by itself.
    """
    from ..analysis.archive import Archive

    kept = Archive(url)
    kept.check()
    done = kept.compact(keep=keep)
    if as_json:
        echo_json(done._asdict())
    else:
        are = noun(done.replaced, "was", "were")
        echo(f"{counted(done.replaced, 'file')} {are} replaced by fewer ones, and {done.deleted:,} deleted.")


@archive.command("import")
@click.argument("old")
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout, and nothing else there.")
def import_files(old: str, url: str, as_json: bool) -> None:
    """Copy an archive of an earlier version.

    That had a file per calibration. OLD is left as it is. The command can be stopped at any moment; the next
    run continues there.
    """
    from ..analysis.archive import Archive

    added = Archive(url).import_files(old)
    if as_json:
        echo_json({"added": added})
    else:
        echo(f"{counted(sum(added.values()), 'calibration')} of {counted(len(added), 'backend')} are new.")


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

    kept = Archive(url)
    problem = "no value in the archive is what is wanted, and nothing was written"
    try:
        rows = kept.export(
            file, backends=backends or None, names=_spelled(names, kept) or None, since=since, until=until
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not rows:
        for one in backends:
            problem = suggested(problem, one, kept.backends())
        raise click.ClickException(problem)
    echo(f"{counted(rows, 'row')}.")


def _spelled(names: Sequence[str], kept: "Archive") -> list[str]:
    """Return names of values as the archive has them, such as `T1` for `t1`.

    Only for a name that no service is known to have, all values of the archive are looked at.
    """
    from ..analysis.tables import MEASURED

    known = {one.casefold(): one for one in MEASURED}
    if any(one.casefold() not in known for one in names):
        kept.check()
        known = {one.casefold(): one for one in kept.names()}
    for one in names:
        if one.casefold() not in known:
            raise click.UsageError(
                f"no value in the archive is called {one!r}; {instead(one, known.values())}"
            )
    return [known[one.casefold()] for one in names]
