"""The cached fleet as visitors may see it: they choose among what is known, and cost the account nothing."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from msgspec.structs import replace

from ..cache.entry import Fetched
from ..client import Client
from ..errors import InstanceUnavailable, NotFound, QRBackendsError
from ..models import Backend, BackendList
from ..protocol.requests import Request, Resource

_PAUSE = 5.0  # seconds for which everybody is told what the last one was told, where nothing is fresh
_KEPT = 4096  # answers of that kind for one client; there are but few documents of each known backend
_LONGEST = 500  # characters of a name that a problem repeats


class _Told(NamedTuple):
    """What a visitor was told, and until when others are told the same."""

    found: Fetched[Any] | QRBackendsError
    at: float
    until: float


class VisitorCache:
    """What visitors get: lists and documents of known backends, out of the client's cache.

    However many of them ask, for whatever, the service is asked once per document and freshness period, and
    where nothing stays fresh, or while it fails, once in 5 seconds.

    Args:
        clock: seconds, of a steady clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: WeakKeyDictionary[Client, dict[tuple[Request, str | None], _Told]] = WeakKeyDictionary()

    async def list(self, client: Client) -> Fetched[BackendList]:
        """Return every backend, those that several instances list once.

        Raises:
            QRBackendsError: nothing is known, and the service cannot be asked.
        """
        return await self._fetch(client, Request("backends"), None)

    async def backend(self, client: Client, name: str) -> Fetched[Backend]:
        """Return a backend's entry in the list.

        Raises:
            NotFound: no list has it; the service was not asked for it.
            InstanceUnavailable: no list that came has it, and not all came.
            QRBackendsError: nothing is known, and the service cannot be asked.
        """
        fleet = await self.list(client)
        for backend in fleet.value:
            if backend.name == name:
                return Fetched(backend, fleet.age, fleet.source, fleet.fresh_for)
        if fleet.value.errors:
            raise InstanceUnavailable("not every list came", fleet.value.errors).about(
                backend=name[:_LONGEST]
            )
        raise NotFound("no list has this backend", 404).about(backend=name[:_LONGEST])

    async def document(
        self,
        client: Client,
        resource: Resource,
        backend: Backend,
        *,
        calibration_id: str | None = None,
        updated_before: datetime | None = None,
        refresh: bool = False,
    ) -> Fetched[Any]:
        """Return a document of a backend that a list has.

        Raises:
            NotFound: it has no such document.
            QRBackendsError: it is not known, and the service cannot be asked.
        """
        request = Request(resource, backend.name, calibration_id, updated_before)
        return await self._fetch(client, request, backend.instance, refresh=refresh)

    async def _fetch(
        self, client: Client, request: Request, instance: str | None, *, refresh: bool = False
    ) -> Fetched[Any]:
        known = self._told.setdefault(client, {})
        told = known.get((request, instance))
        if told is not None and self._clock() < told.until:
            if isinstance(told.found, QRBackendsError):
                raise told.found.again()
            if not refresh:
                return self._aged(told.found, told.at)
        if len(known) >= _KEPT:
            known.clear()
        try:
            found = await client.fetch(request, instance=instance, refresh=refresh)
        except QRBackendsError as error:
            now = self._clock()  # without the traceback, whose frames would be kept with it
            known[request, instance] = _Told(error.again(), now, now + _PAUSE)
            raise
        if isinstance(found.value, BackendList):
            found = replace(found, value=_unique(found.value))
        now, lasting = self._clock(), _lasting(found)
        if lasting:
            known[request, instance] = _Told(found, now, now + lasting)
        else:  # the cache keeps it, within its bounds
            known.pop((request, instance), None)
        return found

    def _aged(self, found: Fetched[Any], at: float) -> Fetched[Any]:
        passed = self._clock() - at
        return replace(found, age=found.age + passed, fresh_for=max(0.0, found.fresh_for - passed))


def _lasting(found: Fetched[Any]) -> float:
    """Return for how many seconds visitors are told the same without asking the cache."""
    if not found.fresh_for:  # it is not kept, or there is nothing better
        return _PAUSE
    if isinstance(found.value, BackendList):  # which is put together anew each time
        return min(found.fresh_for, _PAUSE) if found.value.errors else found.fresh_for
    return 0.0


def _unique(backends: BackendList) -> BackendList:
    """Return a list in which those that several instances list are once."""
    found = {(one.region, one.name): one for one in reversed(backends)}
    return BackendList(reversed(found.values()), backends.errors)
