"""The loader: fetches answers from the shared tier or the service, and removes them from both tiers."""

import random
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import anyio
from msgspec import Struct
from msgspec.structs import replace

from ..accounts.scope import Scope
from ..errors import NotFound, QRBackendsError
from ..protocol.headers import EMULATED, http_date
from ..protocol.requests import Request, request_of
from ..protocol.validators import NONE
from ..service.origin import Origin, OriginAnswer
from ..tasks.flight import Flight
from ..tasks.loops import off_loop
from ..transport.pool import Response
from ..transport.retry import RetryPolicy
from .decision import SERVE, Loss, after_outage, confirmations, loss, on_question, validators_to_send
from .entry import Entry, Found
from .footprint import retained_size
from .memory import Epoch, Key, Memory
from .policy import CachePolicy, is_settled
from .stores.seal import Stored
from .stores.sealed import LEASE, Lease, Shared

_LEADERS = 2  # after so many other workers have fetched without an answer for us, we ask the service
_WAITS = 3  # so often do we wait for other workers, each time for `LEASE` at most
RETRY_AFTER: Final = 1.0
"""Seconds between a failed fetch and the next one, while an old answer is used."""

_WORTH_PACKING = 60.0
"""Seconds of freshness from which on a body that came plain is compressed for memory."""

_NEGATIVE_SIZE = 4096  # bytes that a `NotFound` and its texts take


class Question(Struct, frozen=True, gc=False):
    """A request together with what the caller wants of its answer.

    Attributes:
        request: the request.
        scope: the instance to ask, and the credential to use.
        key: the cache key of the answer.
        refresh: whether to ask the service in any case.
        oldest: the time, by the memory's clock, before which the answer is too old; None for any age.
        kept: whether memory keeps the answer.
        retry: which failed requests are sent again, and when; None as the client says.
    """

    request: Request
    scope: Scope
    key: Key
    refresh: bool = False
    oldest: float | None = None
    kept: bool = True
    retry: RetryPolicy | None = None

    def names_its_backend(self, request: Request) -> bool:
        """Return whether another request is about the same backend."""
        return request.backend == self.request.backend

    def name(self, error: QRBackendsError) -> None:
        """Fill in the region, instance and backend of an error."""
        error.about(region=self.scope.region, instance=self.scope.crn, backend=self.request.backend)


class Loader:
    """Fetches the answers of one client into memory.

    Args:
        origin: asks the service.
        policy: how long answers may be used.
        memory: the memory tier.
        scopes: returns the scopes of the account's instances that are known now.
        shared: the shared tier, or None.
        explain: adds to the error about a backend that an instance does not have what is known of its name.
        now: returns the time, which decides whether an answer about the past is settled.
        draw: returns random numbers from 0 to 1.
        size: returns the bytes that an answer takes in memory, given its body, value and kept bytes.
    """

    def __init__(
        self,
        origin: Origin,
        policy: CachePolicy,
        memory: Memory,
        scopes: Callable[[], Iterable[Scope]],
        shared: Shared | None = None,
        *,
        explain: Callable[[NotFound, Scope], None] = lambda *_: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        draw: Callable[[], float] = random.random,
        size: Callable[[bytes, Any, bytes], int] = retained_size,
    ) -> None:
        self._origin = origin
        self._policy = policy
        self._memory = memory
        self._clock = memory.clock
        self._scopes = scopes
        self._explain = explain
        self._shared = shared
        self._grace = policy.grace
        self._now = now
        self._draw = draw
        self._size = size

    def load(self, question: Question, epoch: Epoch, flight: Flight[Found]) -> Coroutine[Any, Any, Found]:
        """Return, when awaited, the answer of the shared tier or of the service, and keep it in memory.

        Args:
            question: the question.
            epoch: the epoch of its key when it was asked; if it is over, the answer is not kept.
            flight: the flight that runs this method; it holds the latest deadline of its callers.

        Raises:
            QRBackendsError: neither gave an answer.
        """
        if self._shared is not None and self._freshness(question.request):
            return self._load_shared(self._shared, question, epoch, flight)
        return self._from_origin(question, epoch, flight)

    async def remove_all(self, matches: Callable[[Request], bool]) -> int:
        """Remove matching answers of all the account's instances; return how many entries memory had."""
        return await self.remove(self._scopes(), matches)

    async def remove(self, scopes: Iterable[Scope], matches: Callable[[Request], bool]) -> int:
        """Remove matching answers of some instances from both tiers; return how many memory had."""
        emptied = list(scopes)
        ids = [scope.id for scope in emptied]
        removed = self._memory.remove(ids, matches)
        if self._shared is not None:
            for scope in emptied:
                asked = {name: request_of(name) for name in await self._shared.names(scope)}
                gone = [name for name, request in asked.items() if request is None or matches(request)]
                await self._shared.delete(scope, gone)
            self._memory.remove(ids, matches)  # answers that came from the shared tier meanwhile
        return removed

    async def _remove_after(self, question: Question, error: QRBackendsError) -> None:
        """Remove the entries that an error makes invalid; after an outage, note when to ask again."""
        match loss(error, question.request):
            case Loss.ACCOUNT:
                await self.remove_all(_everything)
            case Loss.SCOPE:
                await self.remove([question.scope], _everything)
            case Loss.BACKEND:
                await self.remove([question.scope], question.names_its_backend)
            case Loss.ANSWER | Loss.MEMORY as lost:
                self._memory.remove([question.scope.id], question.request.__eq__)
                if lost is Loss.ANSWER:
                    await self._delete_shared(question)
            case Loss.NOTHING:
                entry = self._memory.get(question.key)
                if entry is not None and error.outage:
                    entry.retry_at = self._clock() + RETRY_AFTER
                    entry.confirmed = after_outage(entry.confirmed, error)

    async def _delete_shared(self, question: Question) -> None:
        if self._shared is not None:
            await self._shared.delete(question.scope, [question.request.target])

    # --- from the service

    async def _from_origin(
        self, question: Question, epoch: Epoch, flight: Flight[Found], lease: Lease | None = None
    ) -> Found:
        """Return the service's answer; put it into memory, and with a lease into the shared tier, too."""
        request = question.request
        past = request.updated_before is not None
        freshness = 0.0 if past else self._policy.freshness(request)
        known = self._known(question) if past or freshness else None
        wire, asked = (None, NONE) if known is None else (known.wire, validators_to_send(known))
        try:
            try:
                answer = await self._origin.ask(request, question.scope, flight, wire, asked, question.retry)
            finally:
                flight.answered = True
        except NotFound as error:
            question.name(error)
            self._explain(error, question.scope)
            now = self._clock()
            until = now + self._policy.negative
            # A copy has no traceback, whose frames would keep the body and the credential alive.
            size = _NEGATIVE_SIZE + len(error.body)
            self._memory.put(epoch, Entry(error.again(), now, until, until, size, negative=True))
            await self._delete_shared(question)
            raise
        except QRBackendsError as error:
            await self._remove_after(question, error)
            raise
        date = None
        if past:  # the service's clock decides whether the answer is settled; ours may be wrong
            date = http_date(answer.date) or self._now()
            freshness = self._policy.freshness(request, date)
        elif not freshness:  # such as a status: nothing is kept of it
            now = self._clock()
            return Found(Entry(answer.value, now, now, now, 0, wire=answer.wire), "origin")
        if freshness >= _WORTH_PACKING and not (answer.unchanged or answer.wire.encoding):
            answer = replace(answer, wire=await off_loop(len(answer.body), answer.wire.packed))
        entry = self._entry(answer, known, freshness, confirmations(known, answer))
        self._keep(question, epoch, entry)
        if lease is not None and (date is None or is_settled(request, date)) and not epoch.over:
            stored = Stored(answer.wire, 0.0, entry.validators, entry.confirmed, entry.value.emulated)
            await lease.put(stored, freshness + self._grace)
        return Found(entry, "origin", answer.unchanged)

    def _known(self, question: Question) -> Entry | None:
        """Return the entry in memory with an answer, fresh or stale."""
        known = self._memory.get(question.key)
        return None if known is None or known.negative else known

    def _entry(
        self, answer: OriginAnswer, known: Entry | None, freshness: float, confirmed: float, age: float = 0.0
    ) -> Entry:
        """Return the entry for an answer; if it is unchanged, with the value that is known."""
        stored_at = self._clock() - age
        fresh_until = stored_at + freshness * (1 - self._policy.jitter * self._draw())
        if known is not None and answer.unchanged:
            value, size = known.value, known.size
        else:
            value = answer.value
            size = self._size(answer.body, value, answer.wire.data)
        return Entry(
            value,
            stored_at,
            fresh_until,
            fresh_until + self._grace,
            size,
            wire=answer.wire,
            validators=answer.validators,
            confirmed=confirmed,
        )

    def _keep(self, question: Question, epoch: Epoch, entry: Entry) -> None:
        if question.kept and entry.fresh_until > entry.stored_at:
            self._memory.put(epoch, entry)

    # --- from the shared tier

    async def _load_shared(
        self, shared: Shared, question: Question, epoch: Epoch, flight: Flight[Found]
    ) -> Found:
        """Return the answer of the shared tier; if it has none, one worker fetches and the others wait."""
        name = question.request.target
        failed = waits = 0
        while True:
            if not question.refresh and (found := await self._from_shared(shared, question, epoch)):
                return found
            if failed == _LEADERS or waits == _WAITS:
                break
            lease = await shared.lead(question.scope, name, force=question.refresh)
            if lease is not None:
                return await self._lead(shared, lease, question, epoch, flight)
            began = anyio.current_time()
            if not await shared.wait(question.scope, name):
                break
            waits += 1
            failed += anyio.current_time() - began < LEASE  # a worker that renews its lease has not failed
        # The store does not work, or other workers' fetches brought no answer for us: all ask concurrently.
        return await self._from_origin(question, epoch, flight)

    async def _lead(
        self, shared: Shared, lease: Lease, question: Question, epoch: Epoch, flight: Flight[Found]
    ) -> Found:
        """Fetch the answer for all workers, and put it into the shared tier."""
        try:
            # Another worker may have stored an answer before this one got the lease.
            if not question.refresh and (found := await self._from_shared(shared, question, epoch)):
                return found
            return await self._from_origin(question, epoch, flight, lease)
        finally:
            lease.release()

    async def _from_shared(self, shared: Shared, question: Question, epoch: Epoch) -> Found | None:
        """Return the stored answer if it is young enough; memory keeps it in any case, for outages."""
        stored = await shared.get(question.scope, question.request.target)
        if stored is None:
            return None
        known = self._known(question)
        if known is not None and known.stored_at >= self._clock() - stored.age:  # not older
            return Found(known, "shared", True) if self._is_good(known, question) else None
        answer = await self._unpacked(question, known, stored, shared.limit)
        if answer is None:  # another version of this package stored it
            return None
        # A stored answer about an instant of the past was settled when it was stored.
        past = question.request.updated_before is not None
        freshness = self._policy.history if past else self._freshness(question.request)
        confirmed = stored.confirmed if known is None else max(stored.confirmed, known.confirmed)
        entry = self._entry(answer, known, freshness, confirmed, stored.age)
        self._keep(question, epoch, entry)
        return Found(entry, "shared", answer.unchanged) if self._is_good(entry, question) else None

    async def _unpacked(
        self, question: Question, known: Entry | None, stored: Stored, limit: int
    ) -> OriginAnswer | None:
        """Return a stored answer; None if it cannot be read."""
        wire, validators = stored.wire, stored.validators
        kept = None if known is None else known.wire
        if kept is not None and kept.is_same(wire):
            return OriginAnswer(None, b"", "", kept, validators, unchanged=True)
        try:
            body, same = await off_loop(len(wire.data), partial(wire.compared, kept, limit))
            if same:  # compressed anew
                return OriginAnswer(None, b"", "", kept or wire, validators, unchanged=True)
            headers = {EMULATED: "yes"} if stored.emulated else {}
            value = self._origin.read(question.request, question.scope, Response(200, headers, body))
        except QRBackendsError:
            return None
        return OriginAnswer(value, body, "", wire, validators)

    def _freshness(self, request: Request) -> float:
        return self._policy.freshness(request, self._now() if request.updated_before else None)

    def _is_good(self, entry: Entry, question: Question) -> bool:
        now = self._clock()
        return on_question(entry, now, self._policy, oldest=question.oldest) is SERVE


def _everything(_: Request) -> bool:
    return True
