"""The file in which commands keep answers between runs."""

import errno
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import platformdirs

from ..cache.stores.file import FileStore
from .text import warn

_LISTS: Final = "/backends"
_LISTS_KEPT: Final = 30 * 86400.0  # seconds; names are completed out of lists that are too old for all else


class KeptAnswers(FileStore):
    """The file that keeps answers between runs; lists stay in it for longer than they are used."""

    async def put(self, scope: str, name: str, value: bytes, ttl: float) -> bool:
        """Store a value, as `FileStore.put` does."""
        is_list = name.partition("?")[0] == _LISTS
        return await super().put(scope, name, value, _LISTS_KEPT if is_list else ttl)

    async def lists(self) -> Sequence[tuple[str, str, bytes]]:
        """Return scope, name and value of every list."""
        return [*await self.find(_LISTS), *await self.find(f"{_LISTS}[?]*")]


def cache_path() -> Path:
    """Return the path of the file that keeps answers between runs."""
    try:
        return platformdirs.user_cache_path("qrbackends") / "answers.sqlite"
    except RuntimeError as error:
        raise OSError(errno.ENOENT, f"no place for a cache: {error}") from None


async def open_kept(stack: AsyncExitStack) -> FileStore | None:
    """Open the file that keeps answers between runs; where that fails, warn and go on without it."""
    try:
        store = await stack.enter_async_context(KeptAnswers(cache_path()))
        await store.open()
    except OSError as error:
        about = f"{error.filename}: " if error.filename else ""
        warn(f"{about}{error.strerror or error}; no answers are kept between runs")
        return None
    return store
