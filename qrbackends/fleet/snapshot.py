"""Snapshots: several documents of every backend, fetched concurrently and yielded as they arrive."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from itertools import product
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, cast, get_args, overload

from ..cache.entry import Fetch
from ..errors import InvalidRequest, QRBackendsError
from ..messages.suggestions import suggested
from ..models import (
    Backend,
    BackendConfiguration,
    BackendDefaults,
    BackendList,
    BackendProperties,
    BackendStatus,
    unique,
)
from ..models.shown import Shown
from ..protocol.requests import DocumentResource, Request
from ..tasks.fanout import as_answered, awaited
from ..tasks.misuse import AsyncIteration
from .checks import check_callable, check_where
from .ranking import BackendTest

Progress: TypeAlias = Callable[[int, int], None]
"""Called after each item with the number of finished items and the number of all."""

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    R = TypeVar("R", default=Any)  # a bare `SnapshotItem` is one whose document may be of any type
    D = TypeVar("D", default=Any)
else:
    from typing import TypeVar

    R, D = TypeVar("R"), TypeVar("D")

_RESOURCES = get_args(DocumentResource)


class SnapshotItem(Shown, Generic[R, D], frozen=True):
    """One document of one backend, or the error of its request.

    Type checkers know the document's type once `resource` was compared.

    Attributes:
        backend: the backend's entry in the list.
        resource: the kind of document, such as `properties`.
        value: the document; None if the request failed.
        error: the error of the request, or None.
    """

    backend: Backend
    resource: R
    value: D | None = None
    error: QRBackendsError | None = None


ConfigurationItem: TypeAlias = SnapshotItem[Literal["configuration"], BackendConfiguration]
PropertiesItem: TypeAlias = SnapshotItem[Literal["properties"], BackendProperties]
StatusItem: TypeAlias = SnapshotItem[Literal["status"], BackendStatus]
DefaultsItem: TypeAlias = SnapshotItem[Literal["defaults"], BackendDefaults]
AnySnapshotItem: TypeAlias = ConfigurationItem | PropertiesItem | StatusItem | DefaultsItem
"""What a snapshot yields; which of them an item is, its `resource` tells."""


class SnapshotItems(dict[DocumentResource, AnySnapshotItem]):
    """The items of one backend, by resource."""

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, resource: Literal["configuration"], /) -> ConfigurationItem: ...
        @overload
        def __getitem__(self, resource: Literal["properties"], /) -> PropertiesItem: ...
        @overload
        def __getitem__(self, resource: Literal["status"], /) -> StatusItem: ...
        @overload
        def __getitem__(self, resource: Literal["defaults"], /) -> DefaultsItem: ...
        def __getitem__(self, resource: DocumentResource, /) -> AnySnapshotItem: ...


class Snapshot(AsyncIteration):
    """Documents of every backend, from all regions concurrently; an async iterable of `SnapshotItem`.

    A backend that several instances list is asked for once, in the first of them that `where` takes. A
    request that fails gives an item with its error. In each region, at most `width` requests are in flight or
    have an answer that was not yielded yet, so that memory does not grow with the number of backends. The
    deadline of a request begins when it is asked, not with the iteration. A second iteration asks again.

    Attributes:
        errors: one error for each instance that could not be listed; empty before the list has arrived.

    Args:
        fetch: answers requests, as `Client.fetch` does.
        resources: the kinds of documents.
        where: a test of the list's entries, plain or async; None for all backends.
        progress: called after each item.
        include_mocks: whether documents of mock devices are wanted, too.
        width: how many requests of one region are asked at a time.

    Raises:
        InvalidRequest: `resources` is empty, or names something that is not a document of a backend; or
            `where` or `progress` is no function.
    """

    read_by = "`async for item in client.snapshot(…)`, or by `await client.snapshot(…).collect()`"

    def __init__(
        self,
        fetch: Fetch,
        resources: Iterable[DocumentResource],
        where: BackendTest | None = None,
        progress: Progress | None = None,
        *,
        include_mocks: bool = False,
        width: int = 32,
    ) -> None:
        many = not isinstance(resources, str) and isinstance(resources, Iterable)
        names = tuple(resources) if many else (resources,)
        if not names or not all(name in _RESOURCES for name in names):
            problem = f"resources have to be some of: {', '.join(_RESOURCES)}"
            wrong = next((name for name in names if name not in _RESOURCES), "")
            raise InvalidRequest(suggested(problem, wrong, _RESOURCES))
        self.errors: tuple[QRBackendsError, ...] = ()
        self._fetch = fetch
        check_where(where)
        if progress is not None:
            check_callable("progress", progress, "lambda done, total: print(done, total)")
        self._resources = cast("tuple[DocumentResource, ...]", tuple(dict.fromkeys(names)))
        self._where = where
        self._progress = progress
        self._list = Request("backends", include_mocks=include_mocks)
        self._width = width

    def __aiter__(self) -> AsyncGenerator[AnySnapshotItem, None]:
        return self._items()

    async def collect(self) -> dict[str, SnapshotItems]:
        """Return all items, by the backend's name and the resource; of two equal names, the last one wins."""
        found: dict[str, SnapshotItems] = defaultdict(SnapshotItems)
        async for item in self:
            found[item.backend.name][item.resource] = item
        return dict(found)

    async def _items(self) -> AsyncGenerator[AnySnapshotItem, None]:
        listed: BackendList = (await self._fetch(self._list)).value
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
        where, regions = self._where, defaultdict[str | None, list[Backend]](list)
        for backend in unique([one for one in listed if where is None or await awaited(where(one))]):
            regions[backend.region].append(backend)
        return list(regions.values())

    async def _item(self, question: tuple[Backend, DocumentResource]) -> SnapshotItem:
        backend, resource = question
        try:
            fetched = await self._fetch(Request(resource, backend.name), instance=backend.instance)
        except QRBackendsError as error:
            return SnapshotItem(backend, resource, error=error)
        return SnapshotItem(backend, resource, fetched.value)
