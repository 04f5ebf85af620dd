"""One client's cache: what memory has is given at once; what it has not is asked once for all who wait."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, get_args

from msgspec import Struct
from msgspec.structs import asdict

from ..accounts.scope import Scope
from ..errors import QRBackendsError, Timeout
from ..protocol.requests import Request, Resource
from ..tasks.deadlines import Calls
from ..tasks.flight import Flights
from .decision import ASK, FAIL, SERVE, SERVE_AND_RENEW, on_failure, on_question
from .entry import Entry, Fetched, Found, Source
from .loader import RETRY_AFTER, Loader, Question
from .memory import Epoch, Key, Memory
from .policy import CachePolicy
from .stats import CacheStats, ResourceStats
from .stores.sealed import Shared
from .tracing import span

logger = logging.getLogger("qrbackends.cache")

_RENEWALS = 32  # in the background at a time; what finds no place is renewed at a later question


class _Counts(Struct):
    """`ResourceStats` while it is being counted."""

    hits: int = 0
    misses: int = 0
    coalesced: int = 0
    stale: int = 0
    refreshes: int = 0
    failures: int = 0


class Cache:
    """Memory, the tier that workers share, and the service behind them, as one client sees them.

    Args:
        calls: the client's calls.
        policy: how long answers may be used.
        memory: the memory tier.
        loader: fills it.
            shared: the tier that workers share, for statistics.
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
        self._loader = loader
        self._shared = shared
        self._flights: Flights[Found] = Flights()
        self._renewals: dict[Key, asyncio.Task[Found]] = {}
        self._failing: set[str] = set()  # scopes, while renewals in them fail
        self._counts = {resource: _Counts() for resource in get_args(Resource)}

    def look(
        self, request: Request, scope: Scope, refresh: bool = False, max_age: float | None = None
    ) -> Entry | None:
        """Return what memory has, or None where a caller has to `ask`. It takes no turn of the event loop.

        An answer that is due is renewed in the background.

        Raises:
            NotFound: the service said so a moment ago.
        """
        now = self._memory.clock()
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

    async def ask(
        self,
        request: Request,
        scope: Scope,
        deadline: float | None = None,
        *,
        refresh: bool = False,
        max_age: float | None = None,
        kept: bool = True,
    ) -> Found:
        """Return the answer of the shared tier or the service; where they fail, an old one that may stand in.

        Callers who ask for the same at once share one request.

        Args:
            request: what to ask.
            scope: whom, and with whose rights.
            deadline: when to give up, in the event loop's time; left out, after the usual time.
            refresh: ask the service in any case.
            max_age: seconds since the service gave the answer; decides instead of the policy, and during
                an outage, too.
            kept: whether memory keeps the answer; one that is wanted only once leaves the room to others.

        Raises:
            QRBackendsError: there is no answer, and none that may stand in; each caller gets an instance of
                their own.
        """
        oldest = None if max_age is None else self._memory.clock() - max_age
        question = Question(request, scope, (scope.id, request), refresh, oldest, kept)
        until = self._calls.deadline() if deadline is None else deadline
        attributes = {"qrbackends_region": scope.region, "qrbackends_backend": request.backend_id}
        with span(f"qrbackends {request.resource}", **attributes) as noted:
            try:
                found = await self._joined(question, until)
            except QRBackendsError as error:
                question.name(error)
                found = self._instead(question, error)
            noted["qrbackends.source"] = found.source
            return found

    async def fetch(
        self,
        request: Request,
        scope: Scope,
        deadline: float | None = None,
        *,
        refresh: bool = False,
        max_age: float | None = None,
        kept: bool = True,
    ) -> Fetched[Any]:
        """Return the answer from wherever it is, with its age and source; the arguments are those of `ask`.

        Raises:
            QRBackendsError: there is no answer, and none that may stand in.
        """
        self._calls.check()
        entry = self.look(request, scope, refresh, max_age)
        now = self._memory.clock()
        source: Source = "memory" if entry and (max_age is not None or now < entry.fresh_until) else "stale"
        if entry is None:
            found = await self.ask(request, scope, deadline, refresh=refresh, max_age=max_age, kept=kept)
            entry, source, now = found.entry, found.source, self._memory.clock()
        age, fresh_for = max(0.0, now - entry.stored_at), max(0.0, entry.fresh_until - now)
        return Fetched(entry.value, age, source, fresh_for)

    async def invalidate(self, matches: Callable[[Request], bool]) -> int:
        """Remove what matches from memory and the shared tier.

        Answers that are being fetched for such questions now are kept nowhere, and whoever asks from now on
        does not get them.

        Returns:
            How many entries there were in memory.
        """
        self._calls.check()
        return await self._loader.remove_all(matches)

    def stats(self) -> CacheStats:
        """Return what it did until now."""
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
        """Stop what is under way; its callers get `ClientClosed`."""
        await self._flights.aclose()

    async def _joined(self, question: Question, until: float) -> Found:
        """Join flights, or begin one, until an answer is young enough."""
        counted, under_way = False, self._flights.under_way
        while True:
            epoch = self._memory.epoch(question.key)
            if question.refresh and (epoch, True) not in under_way:
                epoch = self._memory.new_epoch(question.key)  # what was asked before is not kept over this
            flight = self._flight(epoch, question.refresh)
            if not counted:
                counted = True
                counts = self._counts[question.request.resource]
                if flight in under_way:
                    counts.coalesced += 1
                else:
                    counts.misses += 1
            found = await self._flights.join(flight, partial(self._loader.load, question, epoch), until)
            if question.oldest is None or found.entry.stored_at >= question.oldest:
                return found

    def _flight(self, epoch: Epoch, refresh: bool = False) -> tuple[Epoch, bool]:
        """Return the key of the flight to join or begin: a refresh serves those who do not insist, too."""
        return (epoch, refresh or (epoch, True) in self._flights.under_way)

    def _instead(self, question: Question, error: QRBackendsError) -> Found:
        """Return what stands in for an answer that did not come, or raise why it did not."""
        entry, now = self._memory.get(question.key), self._memory.clock()
        insists = question.refresh or question.oldest is not None
        action = on_failure(entry, now, self._policy, error, insists=insists)
        if entry is None or action is FAIL:
            raise error from None
        if action is SERVE:
            return Found(entry, "memory")
        entry.retry_at = now + RETRY_AFTER
        self._counts[question.request.resource].stale += 1
        return Found(entry, "stale")

    # --- renewing in the background

    def _renew(self, question: Question) -> None:
        key = question.key
        if key in self._renewals or len(self._renewals) >= _RENEWALS:
            return
        epoch = self._memory.epoch(key)
        work = partial(self._loader.load, question, epoch)
        task = self._flights.begin(self._flight(epoch), work, self._calls.deadline())
        self._renewals[key] = task
        self._counts[question.request.resource].refreshes += 1
        task.add_done_callback(partial(self._renewed, question))

    def _renewed(self, question: Question, task: asyncio.Task[Found]) -> None:
        del self._renewals[question.key]
        error = Timeout("it took too long") if task.cancelled() else task.exception()
        scope = question.scope
        if error is None:
            self._failing.discard(scope.id)
        elif not self._flights.closed:
            self._counts[question.request.resource].failures += 1
            level = logging.DEBUG if scope.id in self._failing else logging.WARNING  # once per outage
            self._failing.add(scope.id)
            logger.log(level, "an answer of %s could not be renewed: %s", scope.region, error)
