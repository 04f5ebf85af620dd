"""Parts of pages that take long to render: rendered once for all visitors, in a worker thread, and kept."""

import asyncio
import os
import threading
from collections.abc import Callable, Hashable, Sized
from functools import cache, partial
from typing import Generic, NamedTuple, TypeVar
from weakref import ref

from cachetools import LRUCache

from ..tasks.daemonthread import DaemonThread
from ..tasks.flight import Flight, Flights

_KEPT = 64 * 2**20  # bytes of all parts that are kept


@cache
def _worker(process: int, name: str) -> DaemonThread:
    """Return a process's worker of this name, such as that for slow or for quick parts.

    Each has one thread, however many visitors wait for however many devices, and a slow part delays no quick
    one. A thread of the parent does not run in a forked process, which gets its own.
    """
    return DaemonThread(f"qrbackends-{name}-page")


P = TypeVar("P", bound=Sized)


class _Kept(NamedTuple, Generic[P]):
    sources: tuple[ref[object], ...]
    part: P

    def shows(self, sources: tuple[object, ...]) -> bool:
        return all(known() is one for known, one in zip(self.sources, sources, strict=True))


class Renderings(Generic[P]):
    """Renders parts of pages, and keeps each as long as what it shows is the same objects.

    A part is HTML, or something that has a length in bytes.

    Args:
        patience: seconds that a visitor waits for a part.
        worker: the name of the worker that renders all of them; by default one of two, as parts are slow.
    """

    def __init__(self, patience: float = 10.0, worker: str | None = None) -> None:
        self._patience = patience
        self._name = worker
        self._flights: Flights[P] = Flights()
        self._kept: LRUCache[Hashable, _Kept[P]] = LRUCache(_KEPT, getsizeof=lambda kept: len(kept.part))
        self._lock = threading.Lock()  # of `_kept`

    async def part(
        self,
        key: Hashable,
        sources: tuple[object, ...],
        render: Callable[[], P],
        *,
        slow: bool = False,
    ) -> P:
        """Return a part of a page; all who wait for it share one rendering.

        Args:
            key: identifies the part; of each, the newest rendering is kept.
            sources: the documents that it shows, as many for each key. They are compared by identity, and
                not kept alive.
            render: renders it, in a worker thread.
            slow: whether rendering may take seconds.

        Raises:
            Timeout: it took longer than a visitor should wait. The rendering that had begun goes on, and is
                kept for the next visitor.
        """
        if (known := self._known(key, sources)) is not None:
            return known
        loop = asyncio.get_running_loop()
        name = self._name or ("slow" if slow else "quick")

        async def work(_: Flight[P]) -> P:
            keeping = partial(self._rendered, key, sources, render)
            return await loop.run_in_executor(_worker(os.getpid(), name), keeping)

        shared = (key, *map(id, sources))
        return await self._flights.join(shared, work, loop.time() + self._patience)

    def _known(self, key: Hashable, sources: tuple[object, ...]) -> P | None:
        with self._lock:
            kept = self._kept.get(key)
        return kept.part if kept is not None and kept.shows(sources) else None

    def _rendered(self, key: Hashable, sources: tuple[object, ...], render: Callable[[], P]) -> P:
        # Visitors who left may have begun the same, and it is done now that this one has the thread.
        if (known := self._known(key, sources)) is not None:
            return known
        part = render()
        kept = _Kept(tuple(map(ref, sources)), part)
        with self._lock:
            if len(part) <= _KEPT:
                self._kept[key] = kept
        return part
