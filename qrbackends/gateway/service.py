"""The Backends API, answered from the caches of a source."""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from ..accounts.account import Instance
from ..accounts.scope import Scope
from ..cache.entry import Entry
from ..errors import InvalidRequest, QRBackendsError
from ..protocol.headers import EMULATED
from ..protocol.requests import API_VERSION, Request
from ..surface.routes import classified, parameters_of, version_of
from ..surface.wire import Call, Errors
from ..transport.body import Wire
from ..transport.retry import RetryPolicy
from .callers import Caller, Source
from .documents import KeptDocument, statuses_in
from .relay import is_plain
from .replies import Reply, at_once, cache_status, from_entry, of_error, told_of
from .upstream import Upstream, VersionCache
from .versions import VersionsPage

_WITH_OBJECTS: Final = "2025-01-01"  # the version from which on lists have more than names
_ONCE: Final = RetryPolicy(attempts=1)
_NOTHING: Final = Wire(b"")
_LIST: Final = Request("backends")
_TAKES: Final = {
    "backends": ("fields", "include_mocks"),
    "configuration": ("calibration_id",),
    "properties": ("calibration_id", "updated_before"),
}


class Repeatable(Struct, frozen=True):
    """A call for a list or a document that can be answered again without being read again.

    Attributes:
        caller: who asks; nothing of the credential is kept.
        cached: the cache for the version of the API that was asked for.
        instance: the instance.
        scope: its scope.
        request: the request.
        takes_gzip: whether the caller accepts gzip.
        condition: the `If-None-Match` header; empty for none.
    """

    caller: Caller
    cached: VersionCache
    instance: Instance
    scope: Scope
    request: Request
    takes_gzip: bool
    condition: str

    def again(self) -> Entry | None:
        """Return the entry that answers it now; None if the call has to be read."""
        if not self.caller.asks_again(self.instance):
            return None
        try:
            entry = self.cached.cache.look(self.request, self.scope)
        except QRBackendsError:  # a 404 a moment ago
            return None
        # Last, as a call that has to be read is counted where it is read.
        return entry if entry is not None and self.caller.may_send() else None

    def at_once(self, entry: Entry) -> Reply | None:
        """Return the reply with an entry's bytes as they are kept, or None."""
        now = self.caller.upstream.memory.clock()
        return at_once(entry, now, _freshness(entry, now), self.takes_gzip, self.condition)


def _freshness(entry: Entry, now: float) -> str:
    return "hit" if now < entry.fresh_until else "stale"


class BackendsGateway:
    """Answers the requests to the Backends API of all regions.

    Args:
        source: whose credential is used, and who may ask.
        errors: makes error answers.
        versions: the service's list of versions.
        status_age: seconds for which a list may be the answer to the status of its backends; 0 asks the
            service for each status.
        limit: the most bytes of an answer, decompressed.
    """

    def __init__(
        self,
        source: Source,
        errors: Errors,
        versions: VersionsPage,
        *,
        status_age: float,
        limit: int,
    ) -> None:
        self._source = source
        self._errors = errors
        self._versions = versions
        self._status_age = status_age
        self._limit = limit

    async def versions(self, call: Call) -> Reply:
        """Return the reply to a request for the service's versions, which needs no credential."""
        try:
            return await self._versions.reply(call)
        except QRBackendsError as error:
            return of_error(error, self._errors, own=self._source.own)

    async def reply(self, call: Call, caller: Caller) -> tuple[Reply, "Repeatable | None"]:
        """Return the reply to a call for a list or a document, and what answers the same call again.

        Raises:
            Refused: the call is not well-formed, or the caller may not use the instance.
        """
        version = version_of(call, self._errors)
        request = self._request(call)
        known = True
        try:
            instance = await caller.instance(call.headers.get("Service-CRN", ""))
            cached = caller.upstream.of(version)
            if request.resource == "status" and self._status_age:
                listed = await self._from_list(caller.upstream, version, request, instance)
                if listed is not None:
                    return listed, None
            scope = cached.scope(instance)
            condition = call.headers.get("If-None-Match", "")
            same = Repeatable(caller, cached, instance, scope, request, call.takes_gzip, condition)
            entry = cached.cache.look(request, scope)
            if entry is not None:
                reply = same.at_once(entry)
                return (reply, same) if reply else (await self._reply(entry, None, same), None)
            known = False
            collapsed = cached.cache.is_fetching(request, scope)
            retry = _retry(caller.upstream, scope, request)
            found = await cached.cache.ask(request, scope, retry=retry)
            return await self._reply(found.entry, told_of(found.source, collapsed), same), None
        except QRBackendsError as error:
            caller.failed(error)
            return of_error(error, self._errors, own=self._source.own, known=known), None

    async def _reply(self, entry: Entry, told: str | None, call: "Repeatable") -> Reply:
        now = call.caller.upstream.memory.clock()
        told = told or _freshness(entry, now)
        return await from_entry(entry, now, told, call.takes_gzip, call.condition, self._limit)

    def _request(self, call: Call) -> Request:
        """Return the request that a call is for; parameters that the resource does not take are ignored."""
        try:
            request = _request_of(call.path, call.query)
            if request is not None:
                return request
            resource, name = classified(call.path)
            given = parameters_of(call, self._errors)
            taken = {key: given[key] for key in _TAKES.get(resource or "", ()) if given.get(key)}
            return _made(resource, name, taken)
        except InvalidRequest as error:
            raise self._errors.refuse(400, error.message) from None

    async def _from_list(
        self, upstream: Upstream, version: str, request: Request, instance: Instance
    ) -> Reply | None:
        """Return a backend's status as a list has it that is young enough, or None where none can be had."""
        # Lists of old versions, and of none, are of bare names; a status is the same in all versions.
        cached = upstream.of(version if version >= _WITH_OBJECTS else API_VERSION)
        scope = cached.scope(instance)
        entry = cached.cache.look(_LIST, scope, max_age=self._status_age)
        if entry is None:
            try:
                retry = _retry(upstream, scope, _LIST)
                asked = cached.cache.ask(_LIST, scope, max_age=self._status_age, retry=retry)
                entry = (await asked).entry
            except QRBackendsError as error:
                # While the service is down an older list will do, whose age is told.
                entry = cached.cache.look(_LIST, scope) if error.outage else None
                if entry is None:  # the status itself is asked for, and its failure is told
                    return None
        listed: KeptDocument = entry.value
        if listed.statuses is None:
            try:
                listed.statuses = statuses_in((entry.wire or _NOTHING).plain(self._limit), listed.emulated)
            except (msgspec.DecodeError, QRBackendsError, RecursionError):
                listed.statuses = {}  # a list of bare names, or of what nobody knows
        status = listed.statuses.get(request.backend or "")
        if status is None:
            return None
        body = msgspec.json.encode(status | _version_in(upstream, version, request, instance))
        age = max(0.0, upstream.memory.clock() - entry.stored_at)
        headers = {
            "Content-Type": "application/json",
            "Age": str(int(age)),
            "Cache-Control": "private, no-cache",
            "Cache-Status": cache_status("list", ttl=int(self._status_age - age)),
            "Vary": "Accept-Encoding",
        }
        if listed.emulated:
            headers[EMULATED] = "qrbackends"
        return Reply(200, headers, body, "list", age)


def _retry(upstream: Upstream, scope: Scope, request: Request) -> RetryPolicy | None:
    """Return how often a failed request is sent again: not at all where an old answer is at hand."""
    entry = upstream.memory.get((scope.id, request))
    return None if entry is None or entry.negative else _ONCE


def _version_in(upstream: Upstream, version: str, request: Request, instance: Instance) -> dict[str, Any]:
    """Return the backend's version, if its configuration is in memory; a list does not have it."""
    scope = upstream.of(version).scope(instance)
    entry = upstream.memory.get((scope.id, _configuration(request.backend)))
    document = None if entry is None or entry.negative else entry.value
    named = document.backend_version if isinstance(document, KeptDocument) else None
    return {} if named is None else {"backend_version": named}


@lru_cache(4096)
def _configuration(backend: str | None) -> Request:
    return Request("configuration", backend)


@lru_cache(4096)
def _request_of(path: str, query: str) -> Request | None:
    """Return the request of a path without a query; None where the query has to be looked at.

    Raises:
        InvalidRequest: the id cannot be one, or hides a slash, which a server on the way may decode.
    """
    if not is_plain(path):
        raise InvalidRequest("The path is not well-formed.")
    resource, name = classified(path)
    return None if query else _made(resource, name, {})


def _made(resource: str | None, name: str | None, given: Mapping[str, str]) -> Request:
    """Return the request with these parameters.

    Raises:
        InvalidRequest: one of them is malformed.
    """
    before = given.get("updated_before")
    known: Any = resource
    return Request(
        known,
        name,
        given.get("calibration_id"),
        None if before is None else _instant(before),
        tuple(given["fields"].split(",")) if "fields" in given else (),
        given.get("include_mocks", "").lower() == "true",
    )


def _instant(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise InvalidRequest("updated_before has to be an RFC 3339 date-time.")
    return when
