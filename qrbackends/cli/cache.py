"""`qrbackends cache`: the answers kept between runs."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click

from ..cache.stores.file import FileInfo, FileStore
from ..messages.counts import counted
from ..models.formatting import DASH
from .choices import Group
from .kept import cache_path
from .screen import print_facts
from .text import age, echo, echo_json, whole

T = TypeVar("T")

_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def _ask(path: Path, question: Callable[[FileStore], Awaitable[T]], none: T) -> T:
    """Return the answer of the cache's file, or `none` where there is no file; no file is created."""

    async def ask() -> T:
        async with FileStore(path) as store:
            return await question(store)

    return asyncio.run(ask()) if os.path.lexists(path) else none


@click.group(cls=Group)
def cache() -> None:
    """Show or empty the answers kept between runs.

    They are in one file that only you can read; a command with --no-cache does not use it.
    """


@cache.command()
@_json
def info(as_json: bool) -> None:
    """Show the file, and the number and size of its answers."""
    path = cache_path()
    kept = _ask(path, FileStore.info, FileInfo(str(path)))
    if as_json:
        echo_json(kept)
    elif not kept.file_bytes:
        echo(f"There is no cache yet; it will be {path}.")
    else:
        now = datetime.now(UTC)
        facts = [
            ("file", f"{kept.path} ({_size(kept.file_bytes)})"),
            ("answers", f"{whole(kept.entries)} ({_size(kept.bytes)})"),
            ("first expires", _until(kept.next_expiry, now)),
            ("last expires", _until(kept.last_expiry, now)),
        ]
        print_facts("Answers kept between runs", facts)


@cache.command()
@_json
def clear(as_json: bool) -> None:
    """Remove all answers.

    Programs that are running are not disturbed, and store the answers that they fetch later.
    """
    path = cache_path()
    removed = _ask(path, FileStore.clear, 0)
    if as_json:
        echo_json({"path": str(path), "removed": removed})
    else:
        echo(f"Removed {counted(removed, 'answer')}.")


def _size(count: int) -> str:
    for unit, scale in _UNITS:
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def _until(instant: datetime | None, now: datetime) -> str:
    return DASH if instant is None else f"in {age((instant - now).total_seconds())}"
