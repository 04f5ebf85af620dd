"""Several documents of every backend at once, streamed as they come."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from itertools import product
from typing import Any, TypeAlias, cast, get_args

from msgspec import Struct

from ..cache.entry import Fetch
from ..errors import InvalidRequest, QRBackendsError
from ..models import Backend, BackendList
from ..protocol.requests import Request, Resource
from ..tasks.fanout import as_answered, awaited

Progress: TypeAlias = Callable[[int, int], None]
"""Called after each item with the number of finished items and the number of all."""

Where: TypeAlias = Callable[[Backend], bool | Awaitable[bool]]

_RESOURCES = tuple(name for name in get_args(Resource) if name != "backends")


class SnapshotItem(Struct, frozen=True):
    """One document of one backend, or why there is none.

    Attributes:
        backend: its entry in the list.
        resource: which document, such as `properties`.
        value: the document; None where it failed.
        error: why it failed, or None.
    """

    backend: Backend
    resource: Resource
    value: Any = None
    error: QRBackendsError | None = None


class Snapshot:
    """Documents of every backend, over all regions at once; an async iterable of `SnapshotItem`.

    What fails is an item like the others. No more is asked than is taken: at most `width` requests per region
    are under way or wait to be taken, so that memory stays the same however many backends there are. Each
    request's deadline begins when it is one of these. Whoever iterates once more asks anew.

    Attributes:
        errors: one for each instance that could not be listed, once the list has come.

    Args:
        fetch: answers requests, as `Client.fetch` does.
        resources: which documents.
        where: a test of the list's entries, plain or async; left out, all of them.
        progress: called after each item.
        width: see above.

    Raises:
        InvalidRequest: one of the resources is no document of a backend, or there are none.
    """

    def __init__(
        self,
        fetch: Fetch,
        resources: Iterable[Resource],
        where: Where | None = None,
        progress: Progress | None = None,
        *,
        width: int = 32,
    ) -> None:
        names = (resources,) if isinstance(resources, str) else tuple(dict.fromkeys(resources))
        if not names or not set(names) <= set(_RESOURCES):
            raise InvalidRequest(f"resources have to be some of: {', '.join(_RESOURCES)}")
        self.errors: tuple[QRBackendsError, ...] = ()
        self._fetch = fetch
        self._resources = cast("tuple[Resource, ...]", names)
        self._where = where
        self._progress = progress
        self._width = width

    def __aiter__(self) -> AsyncGenerator[SnapshotItem, None]:
        return self._items()

    async def collect(self) -> dict[str, dict[str, SnapshotItem]]:
        """Return all items, by backend and resource. Of two backends of one name, the last is kept."""
        found: dict[str, dict[str, SnapshotItem]] = defaultdict(dict)
        async for item in self:
            found[item.backend.name][item.resource] = item
        return dict(found)

    async def _items(self) -> AsyncGenerator[SnapshotItem, None]:
        listed: BackendList = (await self._fetch(Request("backends"))).value
        self.errors = listed.errors
        regions = await self._by_region(listed)
        total = sum(map(len, regions)) * len(self._resources)
        groups = [product(backends, self._resources) for backends in regions]
        done = 0
        async with aclosing(as_answered(groups, self._item, self._width)) as answered:
            async for _, item in answered:
                done += 1
                if self._progress is not None:
                    self._progress(done, total)
                yield item

    async def _by_region(self, listed: Iterable[Backend]) -> list[list[Backend]]:
        regions: dict[str | None, list[Backend]] = defaultdict(list)
        for backend in listed:
            if self._where is None or await awaited(self._where(backend)):
                regions[backend.region].append(backend)
        return list(regions.values())

    async def _item(self, question: tuple[Backend, Resource]) -> SnapshotItem:
        backend, resource = question
        try:
            fetched = await self._fetch(Request(resource, backend.name), instance=backend.instance)
        except QRBackendsError as error:
            return SnapshotItem(backend, resource, error=error)
        return SnapshotItem(backend, resource, fetched.value)
