"""A cache of the documents that a fleet has built, bounded by their size."""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from ...surface.wire import Document
from ..devices.fleets import Fleet
from ..devices.performance import performance_metrics

ROOM = 256 << 20  # bytes: ten times all real calibrations, plain and compressed


class Library:
    """Builds each document once, one at a time, in a worker thread, so that the ports go on answering.

    Args:
        fleet: builds the documents.
        room: bytes of documents that are kept; beyond that, those used longest ago are dropped.
    """

    def __init__(self, fleet: Fleet, room: int = ROOM) -> None:
        self._fleet = fleet
        self._room = room
        self._documents: OrderedDict[Hashable, Document] = OrderedDict()
        self._metrics: dict[str, tuple[Hashable, dict[str, Any]]] = {}
        self._building = asyncio.Lock()

    async def document(self, key: Hashable, packed: bool = False) -> Document:
        """Return the document for a key that the fleet's `find` returned.

        Args:
            key: the key.
            packed: whether its gzip form is made, too.
        """
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
        """Return the performance metrics of a backend; `key` is that of its current calibration, or None."""
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
