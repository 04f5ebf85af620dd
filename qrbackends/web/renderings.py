"""Parts of pages that take long to render: rendered once for all visitors, in a worker thread, and kept."""

import asyncio
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple
from weakref import ref

from cachetools import LRUCache
from markupsafe import Markup

from ..tasks.flight import Flight, Flights

_KEPT = 64 * 2**20  # characters of all parts that are kept

# One thread each, however many visitors wait for however many devices, and a slow part delays no quick one.
_QUICK: Final = ThreadPoolExecutor(1, "qrbackends-quick-page")
_SLOW: Final = ThreadPoolExecutor(1, "qrbackends-slow-page")


class _Kept(NamedTuple):
    version: Hashable
    sources: tuple[ref[object], ...]
    part: Markup

    def holds(self, version: Hashable, sources: tuple[object, ...]) -> bool:
        known = (one() for one in self.sources)
        return self.version == version and all(a is b for a, b in zip(known, sources, strict=True))


class Renderings:
    """Renders parts of pages, and keeps each as long as what it shows is the same objects.

    Args:
        patience: seconds that a visitor waits for a part.
    """

    def __init__(self, patience: float = 10.0) -> None:
        self._patience = patience
        self._flights: Flights[Markup] = Flights()
        self._kept: LRUCache[Hashable, _Kept] = LRUCache(_KEPT, getsizeof=lambda kept: len(kept.part))
        self._lock = threading.Lock()  # of `_kept`

    async def part(
        self,
        key: Hashable,
        sources: tuple[object, ...],
        render: Callable[[], Markup],
        *,
        version: Hashable = None,
        slow: bool = False,
    ) -> Markup:
        """Return a part of a page; all who wait for it share one rendering.

        Args:
            key: identifies the part; of each, the newest rendering is kept.
            sources: the documents that it shows, as many for each key. They are compared by identity, and
                not kept alive.
            render: renders it, in a worker thread.
            version: what else has to be equal for the part to be the same.
            slow: whether rendering may take seconds.

        Raises:
            Timeout: it took longer than a visitor should wait. The rendering that had begun goes on, and is
                kept for the next visitor.
        """
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and kept.holds(version, sources):
            return kept.part
        loop = asyncio.get_running_loop()

        async def work(_: Flight[Markup]) -> Markup:
            keeping = partial(self._rendered, key, sources, render, version)
            return await loop.run_in_executor(_SLOW if slow else _QUICK, keeping)

        shared = (key, version, *map(id, sources))
        return await self._flights.join(shared, work, loop.time() + self._patience)

    def _rendered(
        self, key: Hashable, sources: tuple[object, ...], render: Callable[[], Markup], version: Hashable
    ) -> Markup:
        part = render()
        kept = _Kept(version, tuple(map(ref, sources)), part)
        with self._lock:
            if len(part) <= _KEPT:
                self._kept[key] = kept
        return part
