"""One client's cache: answers from memory at once; otherwise one request for all concurrent callers."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, get_args

from msgspec import Struct
from msgspec.structs import asdict, replace

from ..accounts.scope import Scope
from ..errors import QRBackendsError, Timeout
from ..protocol.requests import Request, Resource
from ..tasks.deadlines import Calls
from ..tasks.flight import Flights
from ..transport.retry import RetryPolicy
from .decision import ASK, FAIL, SERVE, SERVE_AND_RENEW, is_enough, on_failure, on_question
from .entry import Entry, Fetched, Found, Source
from .loader import RETRY_AFTER, Loader, Question
from .memory import Epoch, Key, Memory
from .policy import CachePolicy
from .stats import CacheStats, ResourceStats
from .stores.sealed import Shared
from .tracing import traced

logger = logging.getLogger("qrbackends.cache")

_RENEWALS = 32  # in the background at a time; further entries are renewed when they are next asked for


class _Counts(Struct):
    """`ResourceStats` while it is being counted."""

    hits: int = 0
    misses: int = 0
    coalesced: int = 0
    stale: int = 0
    refreshes: int = 0
    failures: int = 0


class Cache:
    """The cache of one client: memory first, then the shared tier, then the service.

    Args:
        calls: the client's calls.
        policy: how long answers may be used.
        memory: the memory tier.
        loader: fetches answers from the shared tier or the service into memory.
        shared: the shared tier, for statistics; None if there is none.
    """

    def __init__(
        self,
        calls: Calls,
        policy: CachePolicy,
        memory: Memory,
        loader: Loader,
        shared: Shared | None = None,
    ) -> None:
        self._calls = calls
        self._policy = policy
        self._memory = memory
        self._clock = memory.clock
        self._loader = loader
        self._shared = shared
        self._flights: Flights[Found] = Flights()
        self._renewals: dict[Key, asyncio.Task[Found]] = {}
        self._failing: set[str] = set()  # ids of scopes whose last renewal failed
        self._counts = {resource: _Counts() for resource in get_args(Resource)}

    def look(
        self, request: Request, scope: Scope, refresh: bool = False, max_age: float | None = None
    ) -> Entry | None:
        """Return the entry in memory, or None if the caller has to `ask`. Nothing is awaited.

        A stale entry may be returned; it is then renewed in the background.

        Raises:
            NotFound: the service answered with a 404 a moment ago.
        """
        now = self._clock()
        entry = self._memory.get((scope.id, request), now)
        if entry is None:
            return None
        oldest = None if max_age is None else now - max_age
        action = on_question(entry, now, self._policy, refresh, oldest)
        counts = self._counts[request.resource]
        if action is SERVE:
            counts.hits += 1
            return entry
        if action is ASK:
            return None
        if action is FAIL:
            counts.hits += 1
            raise entry.value.again()
        counts.stale += 1
        if action is SERVE_AND_RENEW:
            self._renew(Question(request, scope, (scope.id, request)))
        return entry

    def ask(
        self,
        request: Request,
        scope: Scope,
        deadline: float | None = None,
        *,
        refresh: bool = False,
        max_age: float | None = None,
        kept: bool = True,
        retry: RetryPolicy | None = None,
    ) -> Coroutine[Any, Any, Found]:
        """Ask the shared tier or the service; if both fail, the answer is an old one that is allowed.

        Concurrent callers with equal requests share one fetch.

        Args:
            request: the request.
            scope: the instance to ask, and the credential to use.
            deadline: the caller's deadline, in the event loop's time; None for the default.
            refresh: whether to ask the service in any case.
            max_age: the largest age of the answer in seconds, counted from when the service gave it. It
                replaces the policy, during an outage, too.
            kept: whether memory keeps the answer; answers that are needed once take no room from others.
            retry: which failed requests are sent again, and when, if this call begins the fetch; None as the
                client says.

        Raises:
            QRBackendsError: when awaited: there is neither a new answer nor an old one that is allowed; each
                caller gets an instance of their own.
        """
        oldest = None if max_age is None else self._clock() - max_age
        question = Question(request, scope, (scope.id, request), refresh, oldest, kept, retry)
        answer = self._answer(question, self._calls.deadline() if deadline is None else deadline)
        return traced(answer, request.resource, scope.region, request.backend)

    def is_fetching(self, request: Request, scope: Scope) -> bool:
        """Return whether a fetch is under way that a caller who asks now shares."""
        epoch, flights = self._memory.epoch((scope.id, request)), self._flights.under_way
        return (epoch, False) in flights or (epoch, True) in flights

    async def fetch(
        self,
        request: Request,
        scope: Scope,
        deadline: float | None = None,
        *,
        refresh: bool = False,
        max_age: float | None = None,
        kept: bool = True,
        retry: RetryPolicy | None = None,
    ) -> Fetched[Any]:
        """Return the answer of memory, the shared tier or the service, with its age and source.

        The arguments are those of `ask`.

        Raises:
            QRBackendsError: there is neither a new answer nor an old one that is allowed.
        """
        self._calls.check()
        entry = self.look(request, scope, refresh, max_age)
        source: Source | None = None
        unchanged = False
        if entry is None:
            asked = self.ask(
                request, scope, deadline, refresh=refresh, max_age=max_age, kept=kept, retry=retry
            )
            found = await asked
            entry, source, unchanged = found.entry, found.source, found.unchanged
        now = self._clock()
        age, fresh_for = now - entry.stored_at, entry.fresh_until - now
        if source is None:
            source = "memory" if fresh_for > 0.0 or max_age is not None else "stale"
        return Fetched(entry.value, max(0.0, age), source, max(0.0, fresh_for), unchanged)

    async def invalidate(self, matches: Callable[[Request], bool]) -> int:
        """Remove the answers to matching requests from memory and the shared tier.

        Matching answers that are being fetched now are not kept, and later callers do not get them.

        Returns:
            The number of entries that were removed from memory.
        """
        self._calls.check()
        return await self._loader.remove_all(matches)

    def stats(self) -> CacheStats:
        """Return the counts until now."""
        per_resource = {
            resource: ResourceStats(**asdict(counts)) for resource, counts in self._counts.items()
        }
        return CacheStats(
            **per_resource,
            bytes=self._memory.bytes,
            entries=len(self._memory),
            evictions=self._memory.evictions,
            store=None if self._shared is None else self._shared.stats(),
        )

    async def aclose(self) -> None:
        """Cancel all fetches; their callers get `ClientClosed`."""
        await self._flights.aclose()
        if self._shared is not None:
            await self._shared.aclose()

    async def _answer(self, question: Question, until: float) -> Found:
        """Join a flight, or begin one, until an answer is young enough for the question."""
        counts, under_way = self._counts[question.request.resource], self._flights.under_way
        waited = False
        try:
            while True:
                epoch = self._memory.epoch(question.key)
                refreshing = under_way.get((epoch, True))
                if question.refresh and (refreshing is None or refreshing.answered):
                    if (epoch, False) in under_way:  # its answer is kept no longer: this one is in its place
                        question = replace(question, kept=True)
                    epoch = self._memory.new_epoch(question.key)  # answers to earlier requests are not kept
                    refreshing = None
                flight = refreshing or under_way.get((epoch, False))
                if flight is None:
                    counts.misses += not waited
                    work = partial(self._loader.load, question, epoch)
                    key = epoch, question.refresh  # others join a refresh
                    # Stores use timeouts, which belong to the task in which they begin.
                    join = self._flights.lead if self._shared is None else self._flights.join
                    return await join(key, work, until)
                counts.coalesced += not waited
                waited = True
                found = await self._flights.result(flight, until)
                if question.kept:
                    self._keep(epoch, found.entry)
                if is_enough(found, self._clock(), self._policy, oldest=question.oldest):
                    return found
        except QRBackendsError as error:
            question.name(error)
            return self._fallback(question, error)

    def _keep(self, epoch: Epoch, entry: Entry) -> None:
        """Keep an answer whose fetch was begun by a caller who does not keep it."""
        known = self._memory.get(epoch.key)
        newer = known is None or (known is not entry and known.stored_at <= entry.stored_at)
        if newer and entry.fresh_until > entry.stored_at:
            self._memory.put(epoch, entry)

    def _fallback(self, question: Question, error: QRBackendsError) -> Found:
        """Return the entry to use after a failed fetch, or raise the fetch's error."""
        entry, now = self._memory.get(question.key), self._clock()
        insists = question.refresh or question.oldest is not None
        action = on_failure(entry, now, self._policy, error, insists=insists)
        if entry is None or action is FAIL:
            raise error from None
        if action is SERVE:
            return Found(entry, "memory")
        entry.retry_at = now + RETRY_AFTER
        self._counts[question.request.resource].stale += 1
        return Found(entry, "stale")

    # --- renewals in the background

    def _renew(self, question: Question) -> None:
        key = question.key
        known = self._renewals.get(key)
        if (known is not None and not known.done()) or len(self._renewals) >= _RENEWALS:
            return
        epoch = self._memory.epoch(key)
        work = partial(self._loader.load, question, epoch)
        refreshing = (epoch, True) in self._flights.under_way
        task = self._flights.begin((epoch, refreshing), work, self._calls.deadline())
        self._renewals[key] = task
        self._counts[question.request.resource].refreshes += 1
        task.add_done_callback(partial(self._renewed, question))

    def _renewed(self, question: Question, task: asyncio.Task[Found]) -> None:
        if self._renewals.get(question.key) is task:  # otherwise another one has begun since
            del self._renewals[question.key]
        error = Timeout("it took too long") if task.cancelled() else task.exception()
        if isinstance(error, QRBackendsError):
            question.name(error)
        scope = question.scope
        if error is None:
            self._failing.discard(scope.id)
        elif not self._flights.closed:
            self._counts[question.request.resource].failures += 1
            level = logging.DEBUG if scope.id in self._failing else logging.WARNING  # once per outage
            self._failing.add(scope.id)
            logger.log(level, "an answer could not be renewed: %s", error)
