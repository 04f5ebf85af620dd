"""What is known already: freshness, one fetch for all who ask at once, and old answers in bad times."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from contextvars import Context
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar, get_args
from weakref import ref

import anyio
from msgspec import Struct

from ..accounts.account import Account, Instance
from ..accounts.scope import Scope, Scopes
from ..errors import (
    AuthenticationFailed,
    ClientClosed,
    DecodeError,
    Forbidden,
    NotFound,
    QRBackendsError,
    RateLimited,
    ResponseError,
    ServerError,
    Timeout,
    TransportError,
    Unauthorized,
    WrongEventLoop,
)
from ..protocol.headers import http_date
from ..protocol.requests import API_VERSION, Request, Resource, request_of
from ..service.origin import Origin, read
from ..tasks.deadlines import Calls
from ..tasks.flight import Flights, Overdue
from ..transport.retry import Trail
from .footprint import retained_size
from .memory import Entry, Key, Memory, Ticket
from .policy import CachePolicy, is_settled
from .stats import CacheStats, ResourceStats
from .stores.base import Store
from .stores.sealed import LEASE, Lease, Shared
from .tracing import span

T = TypeVar("T")
logger = logging.getLogger("qrbackends.cache")

_RENEWALS = 32  # in the background at a time; what finds no place is renewed at a later question
_PAUSE = 1.0  # seconds before the service is asked anew for what it has just failed to give
_LEADERS = 2  # other workers whose answers are waited for, where they end without one
_WORDINGS = 10_000  # of which it is known where their answers lie
_NEGATIVE_SIZE = 4096  # bytes: an error and its texts

Source = Literal["memory", "shared", "origin", "stale"]

Wording: TypeAlias = tuple[Resource, Hashable, Hashable, Hashable]
"""A question as its caller put it: resource, backend, calibration_id and instance."""


class Fetched(Struct, Generic[T], frozen=True):
    """An answer, and where it came from.

    Attributes:
        value: the answer.
        age: seconds since the service gave it.
        source: `memory`; `shared`, the store that workers share; `origin`, the service itself; or `stale`,
            from memory though it is not fresh any more.
        fresh_for: seconds for which it stays fresh; 0 for what is not, or is never kept.
    """

    value: T
    age: float
    source: Source
    fresh_for: float = 0.0


class _Question(NamedTuple):
    """What is asked, of whom, with whose rights; how old the answer may be, and whether memory keeps it."""

    request: Request
    instance: Instance
    scope: Scope
    ticket: Ticket
    max_age: float | None = None
    kept: bool = True


class _Found(NamedTuple):
    entry: Entry
    source: Source


class _Answered(NamedTuple):
    """What the service answered, and for how long others may have it; None if it is for nobody else."""

    entry: Entry
    body: bytes
    shared_for: float | None


_Way: TypeAlias = tuple[Ticket, bool | float]
"""A flight: of a question, and whether it is a refresh, or how old its answer may be."""


def _now() -> datetime:
    return datetime.now(UTC)


class Cache:
    """One client's view of a memory, of a store where there is one, and of the service behind them.

    Args:
        account: whose rights are used.
        origin: the account's way to the service.
        calls: the client's calls.
        policy: how long answers may be used.
        memory: the memory tier.
        store: the shared tier, or None.
        body_limit: bytes of an answer, once decompressed.
        instances: gives the account's instances as they are known now; left out, those that it names.
        api_version: the version that is asked for.
        now: the time, which decides what is well in the past.
        draw: gives random numbers from 0 to 1.
    """

    def __init__(
        self,
        account: Account,
        origin: Origin,
        calls: Calls,
        policy: CachePolicy,
        memory: Memory,
        store: Store | None = None,
        *,
        body_limit: int,
        instances: Callable[[], Sequence[Instance]] | None = None,
        api_version: str = API_VERSION,
        now: Callable[[], datetime] = _now,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._origin = origin
        self._calls = calls
        self._policy = policy
        self._memory = memory
        self._instances = instances or (lambda: account.instances)
        self._scopes = Scopes(account, api_version)
        # What nobody else could read is not stored.
        self._shared = Shared(store, body_limit) if store is not None and self._scopes.shareable else None
        self._now = now
        self._draw = draw
        self._flights: Flights[_Found] = Flights()
        self._trails: dict[_Way, Trail] = {}  # of the flights
        self._renewals: dict[Key, asyncio.Task[None]] = {}
        self._failing: set[str] = set()  # scopes, while renewals in them fail
        self._counts = {resource: Counter[str]() for resource in get_args(Resource)}
        self._wordings: dict[Wording, tuple[Key, ref[Entry]]] = {}  # what has to leave memory, leaves it

    def recall(self, wording: Wording) -> Any:
        """Return the answer that is fresh and was given to the same words before, or None.

        The shortest way to what is known: nothing is built, checked or looked for that was so before.

        Raises:
            ClientClosed: the client is closed.
            WrongEventLoop: the client belongs to another event loop.
        """
        try:
            known = self._wordings.get(wording)
        except TypeError:  # what cannot be hashed is no question, as will be told
            return None
        if known is None:
            return None
        key, remembered = known
        entry = remembered()
        if entry is None or not entry.kept or self._memory.clock() >= entry.fresh_until:
            del self._wordings[wording]
            return None
        self._calls.check()
        self._memory.used[key] = None
        self._counts[wording[0]]["hits"] += 1
        return entry.value

    def note(self, wording: Wording, request: Request, instance: Instance) -> None:
        """Note where the answer to some words lies, if it is kept."""
        if wording in self._wordings:
            return
        key = (self._scopes.of(instance).id, request)
        entry = self._memory.get(key)
        if entry is not None and not entry.negative:
            if len(self._wordings) >= _WORDINGS:
                self._wordings.clear()
            self._wordings[wording] = key, ref(entry)

    def forget_wordings(self) -> None:
        """Forget where answers lie: another instance may have to be asked from now on."""
        self._wordings.clear()

    async def fetch(
        self,
        request: Request,
        instance: Instance,
        deadline: float | None = None,
        *,
        refresh: bool = False,
        max_age: float | None = None,
        kept: bool = True,
    ) -> Fetched[Any]:
        """Return an instance's answer to `request`.

        Args:
            request: what to ask.
            instance: whom.
            deadline: when to give up, in the event loop's time; left out, the pool's limit from now.
            refresh: ask the service, whatever is known.
            max_age: seconds since the service gave the answer; decides instead of the policy, and in bad
                times, too.
            kept: whether memory keeps the answer; what is wanted once leaves its place to others.

        Raises:
            QRBackendsError: there is no answer, and none that would do; each caller gets an instance of
                their own.
        """
        self._calls.check()
        counts = self._counts[request.resource]
        scope = self._scopes.of(instance)
        key = (scope.id, request)
        entry = None if refresh else self._memory.get(key)
        if entry is not None:
            now = self._memory.clock()
            if _is_good(entry, now, max_age):
                counts["hits"] += 1
                return _given(entry, now, "memory")
            if max_age is None and self._is_good_for_now(entry, now):
                self._renew(_Question(request, instance, scope, self._memory.ticket(key)), entry)
                counts["stale"] += 1
                return _given(entry, now, "stale")
        question = _Question(request, instance, scope, self._ticket(key, refresh), max_age, kept)
        return await self._ask(question, deadline, refresh)

    async def invalidate(self, matches: Callable[[Request], bool]) -> int:
        """Remove what matches from memory and the shared tier.

        What is being fetched for it now is kept nowhere, and whoever asks from now on does not get it.

        Returns:
            How many entries there were in memory.
        """
        self._calls.check()
        return await self._remove([self._scopes.of(instance) for instance in self._instances()], matches)

    def stats(self) -> CacheStats:
        """Return what it did until now."""
        per_resource = {resource: ResourceStats(**counts) for resource, counts in self._counts.items()}
        return CacheStats(
            **per_resource,
            bytes=self._memory.bytes,
            entries=len(self._memory),
            evictions=self._memory.evictions,
            store=None if self._shared is None else self._shared.stats(),
        )

    async def aclose(self) -> None:
        """Stop what is under way; its callers get `ClientClosed`."""
        renewals = tuple(self._renewals.values())
        for task in renewals:
            task.cancel()
        try:
            await self._flights.aclose()
        finally:
            if renewals:
                await asyncio.wait(renewals)

    # --- asking

    async def _ask(self, question: _Question, deadline: float | None, refresh: bool) -> Fetched[Any]:
        """Wait for a flight, one's own or another's; where it fails, an old answer may do."""
        request, instance = question.request, question.instance
        about = {"qrbackends_region": instance.region, "qrbackends_backend": request.backend_id}
        with span(f"qrbackends {request.resource}", **about) as found:
            answer = await self._waited(question, deadline, refresh)
            found["qrbackends.source"] = answer.source
        return answer

    async def _waited(self, question: _Question, deadline: float | None, refresh: bool) -> Fetched[Any]:
        counts = self._counts[question.request.resource]
        flight = self._flight(question, refresh)
        counts["coalesced" if flight in self._flights else "misses"] += 1
        try:
            found = await self._joined(question, flight, deadline, refresh)
        except QRBackendsError as error:
            error.about(
                region=question.instance.region,
                instance=question.instance.crn,
                backend=question.request.backend_id,
            )
            insists = refresh or question.max_age is not None
            entry = None if insists or not _is_outage(error) else self._memory.get(question.ticket.key)
            now = self._memory.clock()
            if entry is None or entry.negative or now >= entry.fresh_until + self._policy.stale_if_error:
                raise error from None
            if now < entry.fresh_until:  # another answer came meanwhile
                return _given(entry, now, "memory")
            entry.retry_at = now + _PAUSE
            counts["stale"] += 1
            return _given(entry, now, "stale")
        return _given(found.entry, self._memory.clock(), found.source)

    def _ticket(self, key: Key, refresh: bool) -> Ticket:
        """Return the ticket to ask with; what was asked before a refresh is not kept over its answer."""
        ticket = self._memory.ticket(key)
        if refresh and (ticket, True) not in self._flights:
            return self._memory.new_ticket(key)
        return ticket

    def _flight(self, question: _Question, refresh: bool) -> _Way:
        """Return the key of the flight to join or begin; whoever does not insist joins a refresh, too."""
        ticket = question.ticket
        if refresh or (ticket, True) in self._flights:
            return (ticket, True)
        return (ticket, False if question.max_age is None else question.max_age)

    async def _joined(
        self, question: _Question, flight: _Way, deadline: float | None, refresh: bool
    ) -> _Found:
        until = self._calls.deadline() if deadline is None else deadline
        if flight not in self._flights:
            self._trails[flight] = self._origin.trail(until)
        trail = self._trails[flight]
        trail.until = max(trail.until, until)  # it is as patient as whoever waits longest for it
        began = asyncio.get_running_loop().time()
        try:
            return await self._flights.join(flight, partial(self._found, question, refresh, trail), until)
        except Overdue:
            error = Timeout(f"no answer within {max(0.0, until - began):.3g} s")
            told = trail.told(error, anyio.current_time()).again()
        finally:
            if flight not in self._flights:
                self._trails.pop(flight, None)
        raise told

    async def _found(self, question: _Question, refresh: bool, trail: Trail) -> _Found:
        """Ask store and service; what a refusal makes worthless is removed."""
        try:
            if self._shared is None or not self._freshness(question.request):
                return _Found((await self._from_origin(question, trail)).entry, "origin")
            return await self._through_store(question, self._shared, refresh, trail)
        except (Unauthorized, Forbidden):
            await self._remove([question.scope], _everything)
            raise
        except AuthenticationFailed:
            await self._remove([self._scopes.of(instance) for instance in self._instances()], _everything)
            raise
        except (ClientClosed, WrongEventLoop):
            raise
        except NotFound:
            await self._drop_stored(question)
            raise
        except QRBackendsError as error:
            if _is_outage(error):
                entry = self._memory.get(question.ticket.key)
                if entry is not None:
                    entry.retry_at = self._memory.clock() + _PAUSE
            elif isinstance(error, (ResponseError, DecodeError)):  # it would hide what the service says now
                self._memory.remove([question.scope.id], question.request.__eq__)
                await self._drop_stored(question)
            raise

    async def _drop_stored(self, question: _Question) -> None:
        if self._shared is not None:
            await self._shared.delete(question.scope, [question.request.target])

    async def _from_origin(self, question: _Question, trail: Trail) -> _Answered:
        # No deadline of its own: each who waits has one, and the last to leave stops it.
        try:
            answer = await self._origin.fetch(question.request, question.instance, trail)
        except NotFound as error:
            now = self._memory.clock()
            until = now + self._policy.negative
            # An instance without a traceback, whose frames would keep the body and the credential.
            self._memory.put(question.ticket, Entry(error.again(), now, until, until, _NEGATIVE_SIZE))
            raise
        request = question.request
        # Whether the past is past is a matter of the service's clock, not of ours.
        date = (None if request.updated_before is None else http_date(answer.date)) or self._now()
        freshness = self._policy.freshness(request, date)
        entry = self._keep(question, answer.value, answer.body, 0.0, freshness)
        shared = request.updated_before is None or is_settled(request, date)
        return _Answered(entry, answer.body, freshness if shared else None)

    async def _through_store(
        self, question: _Question, shared: Shared, refresh: bool, trail: Trail
    ) -> _Found:
        name = question.request.target
        failed = 0
        while True:
            if not refresh and (entry := await self._from_store(question, shared)):
                return _Found(entry, "shared")
            if failed == _LEADERS:
                break
            lease = await shared.lead(question.scope, name, force=refresh)
            if lease is not None:
                return await self._led(question, shared, lease, refresh, trail)
            began = anyio.current_time()
            if not await shared.wait(question.scope, name):
                break
            failed += anyio.current_time() - began < LEASE  # a slow one that lives has not failed
        # Nobody can tell, or those who led had no answer for us: everybody asks, rather than one by one.
        return _Found((await self._from_origin(question, trail)).entry, "origin")

    async def _led(
        self, question: _Question, shared: Shared, lease: Lease, refresh: bool, trail: Trail
    ) -> _Found:
        """Ask for all workers."""
        try:
            # Another worker may have answered between the look and the lease.
            if not refresh and (entry := await self._from_store(question, shared)):
                return _Found(entry, "shared")
            found = await self._from_origin(question, trail)
            if question.ticket.valid and found.shared_for is not None:
                await lease.put(found.body, found.shared_for + self._policy.grace)
            return _Found(found.entry, "origin")
        finally:
            await lease.release()

    async def _from_store(self, question: _Question, shared: Shared) -> Entry | None:
        """Return what the store has, if it is fresh; what is not is kept for bad times."""
        stored = await shared.get(question.scope, question.request.target)
        if stored is None:
            return None
        known = self._memory.get(question.ticket.key)
        if known is not None and known.stored_at >= self._memory.clock() - stored.age:  # it is no news
            good = not known.negative and _is_good(known, self._memory.clock(), question.max_age)
            return known if good else None
        try:
            value = read(question.request, question.instance, 200, {}, stored.body)
        except QRBackendsError:  # written by another version of this package
            return None
        # What is stored about an instant of the past was settled when it was.
        past = question.request.updated_before is not None
        freshness = self._policy.history if past else self._freshness(question.request)
        entry = self._keep(question, value, stored.body, stored.age, freshness)
        return entry if _is_good(entry, self._memory.clock(), question.max_age) else None

    def _keep(self, question: _Question, value: Any, body: bytes, age: float, freshness: float) -> Entry:
        stored_at = self._memory.clock() - age
        fresh_until = stored_at + freshness * (1 - self._policy.jitter * self._draw())
        size = retained_size(question.request.resource, body, value)
        entry = Entry(value, stored_at, fresh_until, fresh_until + self._policy.grace, size)
        if freshness and question.kept:
            self._memory.put(question.ticket, entry)
        return entry

    def _freshness(self, request: Request) -> float:
        return self._policy.freshness(request, self._now())

    async def _remove(self, scopes: list[Scope], matches: Callable[[Request], bool]) -> int:
        removed = self._memory.remove((scope.id for scope in scopes), matches)
        if self._shared is not None:
            for scope in scopes:
                names = await self._shared.names(scope)
                asked = {name: request_of(name) for name in names}
                gone = [name for name, request in asked.items() if request is None or matches(request)]
                await self._shared.delete(scope, gone)
            self._memory.remove([scope.id for scope in scopes], matches)  # read from the store meanwhile
        return removed

    # --- renewing in the background

    def _is_good_for_now(self, entry: Entry, now: float) -> bool:
        """Return whether an answer that is not fresh any more is given at once, and renewed meanwhile."""
        if entry.negative:
            return False
        # While the service fails, nobody but the first waits to learn that it still does.
        failing = entry.retry_at is not None
        grace = self._policy.grace if failing else self._policy.stale_while_revalidate
        return now < entry.fresh_until + grace

    def _renew(self, question: _Question, entry: Entry) -> None:
        key = question.ticket.key
        waiting = entry.retry_at is not None and self._memory.clock() < entry.retry_at
        if waiting or key in self._renewals or len(self._renewals) >= _RENEWALS:
            return
        task = asyncio.get_running_loop().create_task(self._renew_quietly(question), context=Context())
        self._renewals[key] = task
        task.add_done_callback(lambda _: self._renewals.pop(key, None))

    async def _renew_quietly(self, question: _Question) -> None:
        counts = self._counts[question.request.resource]
        scope = question.scope.id
        counts["refreshes"] += 1
        try:
            await self._joined(question, self._flight(question, False), None, refresh=False)
            self._failing.discard(scope)
        except ClientClosed:
            pass
        except QRBackendsError as error:
            counts["failures"] += 1
            level = logging.DEBUG if scope in self._failing else logging.WARNING  # once per outage
            self._failing.add(scope)
            logger.log(level, "an answer could not be renewed: %s", error)


def _given(entry: Entry, now: float, source: Source) -> Fetched[Any]:
    if entry.negative:
        raise entry.value.again()
    fresh_for = max(0.0, entry.fresh_until - now)
    return Fetched(entry.value, max(0.0, now - entry.stored_at), source, fresh_for)


def _is_good(entry: Entry, now: float, max_age: float | None) -> bool:
    """Return whether an answer need not be asked for: it is fresh, or as young as its caller wants it."""
    if max_age is None:
        return now < entry.fresh_until
    return not entry.negative and now - entry.stored_at <= max_age


def _everything(_: Request) -> bool:
    return True


def _is_outage(error: QRBackendsError) -> bool:
    """Return whether the service, or the way to it, failed; what it says of the question is no outage."""
    if isinstance(error, DecodeError):
        return error.malformed
    return isinstance(error, (TransportError, RateLimited, ServerError))
