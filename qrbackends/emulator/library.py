"""The documents that a fleet has built, kept as long as there is room."""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from .fleets import Fleet
from .performance import performance_metrics
from .wire import Document

ROOM = 256 << 20  # bytes: all real calibrations, plain and packed, ten times over


class Library:
    """Builds documents once, one at a time and in a worker thread, so that the ports keep answering.

    Args:
        fleet: where the documents come from.
        room: the bytes to keep.
    """

    def __init__(self, fleet: Fleet, room: int = ROOM) -> None:
        self._fleet = fleet
        self._room = room
        self._documents: OrderedDict[Hashable, Document] = OrderedDict()
        self._metrics: dict[str, tuple[Hashable, dict[str, Any]]] = {}
        self._building = asyncio.Lock()

    async def document(self, key: Hashable, packed: bool = False) -> Document:
        """Return the document of a key that the fleet's `find` returned, its gzip form made if asked for."""
        document = self._documents.get(key)
        if document is None or (packed and document.packed is None):
            async with self._building:
                document = self._documents.get(key) or Document(
                    await asyncio.to_thread(self._fleet.build, key)
                )
                self._documents[key] = document
                if packed:
                    await asyncio.to_thread(document.pack)
                self._make_room()
        else:
            self._documents.move_to_end(key)
        return document

    async def metrics(self, name: str, key: Hashable | None) -> dict[str, Any]:
        """Return the performance metrics of a backend whose current calibration has that key."""
        if key is None:
            return {}
        known = self._metrics.get(name)
        if known is None or known[0] != key:
            document = await self.document(key)
            known = key, await asyncio.to_thread(performance_metrics, document.body)
            self._metrics[name] = known
        return known[1]

    def _make_room(self) -> None:
        held = sum(document.size for document in self._documents.values())
        while held > self._room and len(self._documents) > 1:
            _, oldest = self._documents.popitem(last=False)
            held -= oldest.size
