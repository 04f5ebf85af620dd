"""The cached fleet for visitors of web apps, whose requests must not use up the account's rate limit."""

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
from ..models.backend import is_of_entry
from ..protocol.requests import Request, Resource

_PAUSE = 5.0  # seconds for which an answer without freshness, or an error, is repeated to all visitors
_KEPT = 4096  # repeated answers for one client; each known backend has only a few documents
_LONGEST = 500  # characters of an unknown backend's name that an error repeats


class _Answer(NamedTuple):
    """An answer or error, and how long it is given.

    Attributes:
        found: the answer or error.
        at: the time of it.
        until: the time until which other visitors get the same.
        listed: the list of which the answer holds each backend once.
    """

    found: Fetched[Any] | QRBackendsError
    at: float
    until: float
    listed: BackendList | None = None


class VisitorCache:
    """Gives visitors the lists and documents of listed backends from the client's cache.

    However many visitors there are, the service gets one request per document and freshness period, or one in
    5 seconds where an answer has no freshness or the service fails.

    Args:
        clock: returns the seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: WeakKeyDictionary[Client, dict[tuple[Request, str | None], _Answer]] = (
            WeakKeyDictionary()
        )

    async def list(self, client: Client) -> Fetched[BackendList]:
        """Return every backend; one that several instances list is returned once.

        Raises:
            QRBackendsError: no list is cached, and the service cannot be asked.
        """
        return await self._fetch(client, Request("backends"), None)

    async def backend(self, client: Client, name: str, region: str | None = None) -> Fetched[Backend]:
        """Return a backend's entry in the list.

        Args:
            client: the client.
            name: the backend's name.
            region: its region, `-` for one without; None for the first region that lists it.

        Raises:
            DecodeError: its entry in the list cannot be read.
            NotFound: no list has it; no request is sent for it.
            InstanceUnavailable: no list has it, and some instances could not be listed.
            QRBackendsError: no list is cached, and the service cannot be asked.
        """
        fleet = await self.list(client)
        for backend in fleet.value:
            if backend.name == name and region in (None, backend.region or "-"):
                return Fetched(backend, fleet.age, fleet.source, fleet.fresh_for)
        silent = [error for error in fleet.value.errors if not is_of_entry(error)]
        for error in fleet.value.errors:
            if error.backend == name and error not in silent:
                raise error.again()
        if silent:
            raise InstanceUnavailable("not every list came", silent).about(backend=name[:_LONGEST])
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
            NotFound: the backend has no such document.
            QRBackendsError: the document is not cached, and the service cannot be asked.
        """
        request = Request(resource, backend.name, calibration_id, updated_before)
        return await self._fetch(client, request, backend.instance, refresh=refresh)

    async def _fetch(
        self, client: Client, request: Request, instance: str | None, *, refresh: bool = False
    ) -> Fetched[Any]:
        known = self._answers.setdefault(client, {})
        last = known.get((request, instance))
        if last is not None and self._clock() < last.until:
            if isinstance(last.found, QRBackendsError):
                raise last.found.again()
            if not refresh:
                return self._aged(last.found, last.at)
        if len(known) >= _KEPT:
            known.clear()
        try:
            found = await client.fetch(request, instance=instance, refresh=refresh)
        except QRBackendsError as error:
            now = self._clock()  # again() has no traceback, which would keep its frames in memory
            known[request, instance] = _Answer(error.again(), now, now + _PAUSE)
            raise
        listed = found.value if isinstance(found.value, BackendList) else None
        if listed is not None:
            found = replace(found, value=_unique(listed, last))
        now, lasting = self._clock(), _lasting(found)
        if lasting:
            known[request, instance] = _Answer(found, now, now + lasting, listed)
        else:  # the cache keeps the answer, within its limit of memory
            known.pop((request, instance), None)
        return found

    def _aged(self, found: Fetched[Any], at: float) -> Fetched[Any]:
        passed = self._clock() - at
        return replace(found, age=found.age + passed, fresh_for=max(0.0, found.fresh_for - passed))


def _unique(listed: BackendList, last: _Answer | None) -> BackendList:
    """Return each backend once: the same object as last time if the list is, so that it is encoded once."""
    if last is not None and last.listed is listed and isinstance(last.found, Fetched):
        unique: BackendList = last.found.value
        return unique
    return listed.unique()


def _lasting(found: Fetched[Any]) -> float:
    """Return the seconds for which visitors get this answer without a look into the cache."""
    if not found.fresh_for:  # it is not cached, or it is stale
        return _PAUSE
    if isinstance(found.value, BackendList):  # the client merges the lists anew at each call
        return min(found.fresh_for, _PAUSE) if found.value.errors else found.fresh_for
    return 0.0
