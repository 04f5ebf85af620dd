"""The cached fleet as visitors may see it: they choose among what is known, and cost the account nothing."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from msgspec.structs import replace

from ..api import Request, Resource
from ..cache import Fetched
from ..client import Client
from ..errors import NotFound, QRBackendsError
from ..models import Backend, BackendList

_PAUSE = 5.0  # seconds for which a failure is told to all who ask, and the service is not asked again
_FAILURES = 4096  # that are remembered; there are but few documents of each known backend

_Key: TypeAlias = tuple[Client, Request, str | None]


class Fleet:
    """What visitors get: lists and documents of known backends, out of the client's cache.

    However many of them ask, for whatever, the service is asked once per document and freshness period, and
    while it fails once in 5 seconds.

    Args:
        clock: seconds, of a steady clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lists: WeakKeyDictionary[Client, tuple[Fetched[BackendList], float]] = WeakKeyDictionary()
        self._failures: dict[_Key, tuple[QRBackendsError, float]] = {}

    async def list(self, client: Client) -> Fetched[BackendList]:
        """Return every backend, those that several instances list once.

        Raises:
            QRBackendsError: nothing is known, and the service cannot be asked.
        """
        now = self._clock()
        if client in self._lists:
            known, at = self._lists[client]
            passed = now - at
            if passed < known.fresh_for:
                return replace(known, age=known.age + passed, fresh_for=known.fresh_for - passed)
        found: Fetched[BackendList] = await self._fetch(client, Request("backends"), None)
        unique = {(one.region, one.name): one for one in reversed(found.value)}
        found = replace(found, value=BackendList(reversed(unique.values()), found.value.errors))
        self._lists[client] = found, self._clock()
        return found

    async def backend(self, client: Client, name: str) -> Fetched[Backend]:
        """Return a backend's entry in the list.

        Raises:
            NotFound: no list has it; the service was not asked for it.
            QRBackendsError: nothing is known, and the service cannot be asked.
        """
        fleet = await self.list(client)
        for backend in fleet.value:
            if backend.name == name:
                return Fetched(backend, fleet.age, fleet.source, fleet.fresh_for)
        raise NotFound("no list has this backend", 404).about(backend=name[:500])

    async def document(
        self,
        client: Client,
        resource: Resource,
        name: str,
        *,
        calibration_id: str | None = None,
        updated_before: datetime | None = None,
        refresh: bool = False,
    ) -> Fetched[Any]:
        """Return a document of a known backend.

        Raises:
            NotFound: no list has it, or it has no such document.
            QRBackendsError: it is not known, and the service cannot be asked.
        """
        backend = (await self.backend(client, name)).value
        request = Request(resource, name, calibration_id, updated_before)
        return await self._fetch(client, request, backend.instance, refresh=refresh)

    async def _fetch(
        self, client: Client, request: Request, instance: str | None, *, refresh: bool = False
    ) -> Fetched[Any]:
        key = (client, request, instance)
        if key in self._failures:
            error, until = self._failures[key]
            if self._clock() < until:
                raise error.again()
            del self._failures[key]
        try:
            return await client.fetch(request, instance=instance, refresh=refresh)
        except QRBackendsError as error:
            if len(self._failures) >= _FAILURES:
                self._failures.clear()
            # Without the traceback, whose frames would be kept with it.
            self._failures[key] = error.again(), self._clock() + _PAUSE
            raise
