"""Keeping documents of named backends fresh ahead of time."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import partial
from typing import Final

import anyio
import msgspec

from ..accounts.scope import Scope
from ..errors import QRBackendsError
from ..models import BackendsResponse
from ..protocol.requests import API_VERSION, DocumentResource, Request
from ..tasks.fanout import answers
from .own import OwnAccount
from .upstream import VersionCache

logger = logging.getLogger("qrbackends.gateway")

_AHEAD: Final = 0.2  # of a document's freshness: so long before its end it is renewed
_PAUSE: Final = 5.0  # seconds between two looks
_AT_ONCE: Final = 8  # documents
_LARGEST: Final = 2**26  # bytes of a list
_LIST: Final = Request("backends")
_KINDS: Final[tuple[DocumentResource, ...]] = ("configuration", "properties")


class Warmer:
    """Renews the list, the configurations and the properties of some backends before they are stale.

    Callers of these never wait for the service. The documents are those of the newest version of the API that
    this package knows, and of each version that callers ask for.

    Args:
        source: the gateway's own account.
        names: the backends' names, or globs such as `ibm_*`.
    """

    def __init__(self, source: OwnAccount, names: Sequence[str]) -> None:
        self._source = source
        self._names = tuple(names)
        self.warmed = False
        """Whether all documents were asked for once."""

    async def run(self) -> None:
        """Renew until the task is cancelled."""
        while True:
            try:
                await self.renew()
            except QRBackendsError as error:
                logger.info("the instances cannot be looked up: %s", error)
            self.warmed = True
            await anyio.sleep(_PAUSE)

    async def renew(self) -> None:
        """Ask for each document that is not in memory, or is not fresh for long any more.

        Raises:
            QRBackendsError: the instances cannot be looked up.
        """
        upstream = self._source.upstream
        for instance in await self._source.instances():
            for version in {API_VERSION, *upstream.versions}:
                cached = upstream.of(version)
                scope = cached.scope(instance)
                ask = partial(self._ask, cached, scope)
                await ask(_LIST)
                entry = upstream.memory.get((scope.id, _LIST))
                names = [] if entry is None or entry.wire is None else _names_in(entry.wire.plain(_LARGEST))
                wanted = [name for name in names if any(fnmatchcase(name, glob) for glob in self._names)]
                documents = [Request(kind, name) for name in wanted for kind in _KINDS]
                await answers(documents, ask, _AT_ONCE)

    async def _ask(self, cached: VersionCache, scope: Scope, request: Request) -> None:
        """Ask for a document unless it stays fresh until well after the next look."""
        upstream = self._source.upstream
        fresh = upstream.policy.freshness(request)
        oldest = max(0.0, fresh - max(_PAUSE, _AHEAD * fresh))
        entry, now = upstream.memory.get((scope.id, request)), upstream.memory.clock()
        if entry is not None and now - entry.stored_at < oldest:
            return
        with suppress(QRBackendsError):  # which is noted where requests are sent
            await cached.cache.ask(request, scope, max_age=oldest)


def _names_in(body: bytes) -> list[str]:
    try:
        return [one.name for one in msgspec.json.decode(body, type=BackendsResponse).devices]
    except (msgspec.DecodeError, QRBackendsError, RecursionError):
        pass
    try:  # a version of bare names
        found = msgspec.json.decode(body, type=dict[str, list[str]])
    except msgspec.DecodeError:
        return []
    return found.get("devices", [])
