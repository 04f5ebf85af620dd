"""The cache against a model of what it promises, in sequences that nobody thought of.

The model is written from the promises and knows nothing of epochs, flights' keys or the memory tier. The
service is a fake whose fetches are held until a rule answers them; time is a number that a rule moves. After
every step the event loop runs until nothing can go on, and what each caller got, what was asked of the
service, what was stopped and what was counted has to be what the model says.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar, cast

import anyio.lowlevel
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from qrbackends.accounts.account import Account, Instance
from qrbackends.accounts.scope import Scope, Scopes
from qrbackends.cache.cache import Cache
from qrbackends.cache.entry import Fetched
from qrbackends.cache.loader import Loader
from qrbackends.cache.memory import Memory
from qrbackends.cache.policy import CachePolicy
from qrbackends.cache.stats import ResourceStats
from qrbackends.errors import (
    AuthenticationFailed,
    BadRequest,
    BodyDamaged,
    ClientClosed,
    Conflict,
    ConnectError,
    DecodeError,
    Forbidden,
    Locked,
    NotFound,
    QRBackendsError,
    RateLimited,
    ReadTimeout,
    ServerError,
    ServiceUnavailable,
    Timeout,
    Unauthorized,
)
from qrbackends.protocol.requests import API_VERSION, Request
from qrbackends.service.origin import Origin, OriginAnswer, decoded
from qrbackends.tasks.deadlines import Calls
from qrbackends.tasks.flight import Flight
from qrbackends.transport.pool import Response, SessionPool

T = TypeVar("T")

TICKS = 25  # of the event loop; the longest way from an answer to its callers takes less than 10

US = Instance("crn:v1:bluemix:public:quantum-computing:us-east:a/1:2::")
EU = Instance("crn:v1:bluemix:public:quantum-computing:eu-de:a/1:3::")
REQUESTS = (
    Request("properties", "ibm_oslo"),
    Request("status", "ibm_oslo"),  # never kept
    Request("properties", "ibm_oslo", calibration_id="ultra"),
    Request("properties", "ibm_oslo", updated_before=datetime(2020, 1, 1, tzinfo=UTC)),
    Request("properties", "ibm_rome"),
    Request("backends"),
)
BODIES = {
    "properties": b'{"backend_name":"ibm_oslo","backend_version":"1","qubits":[],"gates":[],"general":[],'
    b'"last_update_date":"2020-01-01T00:00:00Z"}',
    "status": b'{"length_queue":1}',
    "backends": b'{"devices":[]}',
}

# Binary fractions, as the steps of the clock are: every instant is exact, and boundaries are met.
_SHORT = CachePolicy(
    properties=8, history=32, backends=4, negative=2, stale_while_revalidate=4, stale_if_error=16, jitter=0
)
POLICIES = (
    _SHORT,
    replace(_SHORT, stale_while_revalidate=0),
    replace(_SHORT, stale_if_error=0),
    replace(_SHORT, negative=0, stale_while_revalidate=0, stale_if_error=0),
)
STEPS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
AGES = (-8.0, -4.0, -0.25, 0.0, 2.0, 3.75, 4.0, 8.0, 15.75, 16.0)  # from the end of freshness
MAX_AGES = (None, 0.0, 1.0, 0.5, 8.0, 100.0)  # 0 and 1 are also False and True
PAUSES = (0.0, 0.75, 1.0, 2.0)  # after a failure

OUTAGES: tuple[Callable[[str], QRBackendsError], ...] = (
    ConnectError,
    lambda text: ServerError(text, 500),
    lambda text: ServiceUnavailable(text, 503),
    lambda text: RateLimited(text, 429),
    ReadTimeout,
    BodyDamaged,
    lambda text: DecodeError(text, malformed=True),
)
REFUSALS: tuple[Callable[[str], QRBackendsError], ...] = (
    lambda text: NotFound(text, 404),
    lambda text: BadRequest(text, 400),
    lambda text: Forbidden(text, 403),
    lambda text: Unauthorized(text, 401),
    lambda text: Conflict(text, 409),
    lambda text: Locked(text, 423),
    lambda text: DecodeError(text, path="$.qubits"),
    AuthenticationFailed,
)


class Key(NamedTuple):
    request: Request
    instance: Instance


KEYS = tuple(Key(request, instance) for request in REQUESTS for instance in (US, EU))
MATCHES: tuple[Callable[[Request], bool], ...] = (
    lambda request: request.backend_id == "ibm_oslo",
    lambda request: request.resource == "properties",
    lambda _: True,
)


# --- the fake service


class Held:
    """One request to the service, which waits until the test gives its answer."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.answer: asyncio.Future[OriginAnswer] = asyncio.get_running_loop().create_future()
        self.stopped = False


class Service:
    """Takes requests and holds them."""

    def __init__(self) -> None:
        self.new: list[Held] = []

    async def ask(self, request: Request, scope: Scope, flight: Flight[Any]) -> OriginAnswer:
        held = Held(Key(request, scope.instance))
        self.new.append(held)
        try:
            return await held.answer
        except asyncio.CancelledError:
            held.stopped = True
            raise


# --- the model


@dataclass(eq=False)
class Known:
    """What was answered, and whether the service failed since."""

    value: Any  # or the NotFound
    at: float
    fresh_until: float
    kept_until: float
    failed_at: float | None = None


@dataclass(eq=False)
class Fetch:
    """A request that is under way, and who waits for it."""

    key: Key
    refresh: bool
    era: int
    callers: list["Caller"] = field(default_factory=list)
    in_background: bool = False
    held: Held | None = None
    answer: Known | None = None


@dataclass(eq=False)
class Caller:
    """Somebody who asks, and what they have to get, once it is known."""

    key: Key
    refresh: bool
    max_age: float | None
    task: asyncio.Task[Fetched[Any]]
    fetch: Fetch | None = None
    gets: Fetched[Any] | QRBackendsError | asyncio.CancelledError | None = None


class Model:
    """What is promised.

    An era of a key ends when it is invalidated, and when a refresh begins. Only what was asked in the
    present era is joined and kept.
    """

    def __init__(self, policy: CachePolicy) -> None:
        self.policy = policy
        self.now = 1000.0
        self.fetches: list[Fetch] = []
        self.begun: list[Fetch] = []  # in this step
        self.renewals: list[Fetch] = []  # begun in this step, in the background: after all others
        self.stopped: list[Fetch] = []  # in this step
        self.ended: list[Fetch] = []  # in this step
        self.counts = {name: dict.fromkeys(ResourceStats.__struct_fields__, 0) for name in BODIES}
        self.known: dict[Key, Known] = {}
        self.eras = dict.fromkeys(KEYS, 0)
        self.renewed: dict[Key, Fetch] = {}

    @property
    def entries(self) -> int:
        return sum(self.get(key) is not None for key in KEYS)

    def ask(self, caller: Caller) -> None:
        known = None if caller.refresh else self.get(caller.key)
        if caller.max_age is not None and not (known and self.is_young(known, caller.max_age)):
            self.wait(caller)
        elif known is not None and (caller.max_age is not None or self.now < known.fresh_until):
            self.count(caller.key, "hits")
            self.give(caller, known, "memory")
        elif known is not None and self.is_given_at_once(known):
            self.count(caller.key, "stale")
            self.give(caller, known, "stale")
            self.renew(caller.key, known)
        else:
            self.wait(caller)

    def leave(self, caller: Caller) -> None:
        """The caller is cancelled."""
        caller.gets = asyncio.CancelledError()
        self.drop(caller)

    def give_up(self, caller: Caller) -> None:
        """The caller has no time to wait for anything."""
        if caller.gets is None:
            self.drop(caller)
            known = self.instead_of_error(caller)
            if known is not None:
                known.failed_at = self.now
                self.give_instead(caller, known)
            else:
                caller.gets = Timeout("")

    def answer(self, fetch: Fetch, value: Any) -> None:
        if fetch not in self.fetches:
            return  # it was stopped in this step
        fresh_until = self.now + self.freshness(fetch.key.request)
        grace = max(self.policy.stale_while_revalidate, self.policy.stale_if_error)
        fetch.answer = Known(value, self.now, fresh_until, fresh_until + grace)
        if fetch.era == self.eras[fetch.key] and self.freshness(fetch.key.request):
            self.known[fetch.key] = fetch.answer
        self.end(fetch)
        self.ended.append(fetch)
        for caller in fetch.callers:
            self.give(caller, fetch.answer, "origin")

    def fail(self, fetch: Fetch, error: QRBackendsError) -> None:
        self.end(fetch)
        if fetch.in_background:
            self.count(fetch.key, "failures")
        outage = isinstance(
            error, (ConnectError, ServerError, RateLimited, ReadTimeout, BodyDamaged)
        ) or getattr(error, "malformed", False)
        if isinstance(error, NotFound):
            if fetch.era == self.eras[fetch.key]:
                until = self.now + self.policy.negative
                self.known[fetch.key] = Known(error, self.now, until, until)
        elif isinstance(error, (Forbidden, Unauthorized)):
            refused = fetch.key.request.backend_id if isinstance(error, Forbidden) else None
            self.forget(
                lambda key: key.instance == fetch.key.instance and refused in (None, key.request.backend_id)
            )
        elif isinstance(error, AuthenticationFailed):
            self.forget(lambda _: True)
        elif not outage:
            self.forget(fetch.key.__eq__)
        known = self.get(fetch.key)
        if outage and known is not None:
            known.failed_at = self.now
        for caller in fetch.callers:
            known = self.instead_of_error(caller) if outage else None
            if known is not None:
                self.give_instead(caller, known)
            else:
                caller.gets = error

    def invalidate(self, matches: Callable[[Request], bool]) -> int:
        return self.forget(lambda key: matches(key.request))

    def close(self) -> None:
        for fetch in tuple(self.fetches):
            self.end(fetch)
            self.stopped.append(fetch)
            for caller in fetch.callers:
                caller.gets = ClientClosed("")

    def freshness(self, request: Request) -> float:
        if request.updated_before is not None:
            return self.policy.history
        return {
            "properties": self.policy.properties,
            "status": self.policy.status,
            "backends": self.policy.backends,
        }[request.resource]

    def get(self, key: Key) -> Known | None:
        known = self.known.get(key)
        return known if known is not None and self.now < known.kept_until else None

    def is_young(self, known: Known, max_age: float) -> bool:
        return self.now - known.at <= max_age and not isinstance(known.value, NotFound)

    def is_given_at_once(self, known: Known) -> bool:
        if isinstance(known.value, NotFound):
            return False
        age = self.now - known.fresh_until
        return age < self.policy.stale_while_revalidate or (
            known.failed_at is not None
            and self.now < known.failed_at + 61  # a pause of 1 s, and a minute
            and age < self.policy.stale_if_error
        )

    def instead_of_error(self, caller: Caller) -> Known | None:
        insists = caller.refresh or caller.max_age is not None
        known = None if insists else self.get(caller.key)
        if known is None or isinstance(known.value, NotFound):
            return None
        return known if self.now < known.fresh_until + self.policy.stale_if_error else None

    def give_instead(self, caller: Caller, known: Known) -> None:
        # Another asked later, and was answered earlier.
        if self.now < known.fresh_until:
            self.give(caller, known, "memory")
        else:
            self.count(caller.key, "stale")
            self.give(caller, known, "stale")

    def give(self, caller: Caller, known: Known, source: Any) -> None:
        if isinstance(known.value, NotFound):
            caller.gets = known.value
        else:
            caller.gets = Fetched(known.value, self.now - known.at, source)

    def renew(self, key: Key, known: Known) -> None:
        if key in self.renewed or (known.failed_at is not None and self.now < known.failed_at + 1.0):
            return
        self.count(key, "refreshes")
        fetch = self.joinable(key, refresh=False)
        if fetch is None:
            fetch = Fetch(key, False, self.eras[key])
            self.fetches.append(fetch)
            self.renewals.append(fetch)
        fetch.in_background = True
        self.renewed[key] = fetch

    def wait(self, caller: Caller) -> None:
        fetch = self.joinable(caller.key, caller.refresh)
        if fetch is None:
            self.count(caller.key, "misses")
            self.eras[caller.key] += caller.refresh
            fetch = Fetch(caller.key, caller.refresh, self.eras[caller.key])
            self.fetches.append(fetch)
            self.begun.append(fetch)
        else:
            self.count(caller.key, "coalesced")
        if fetch.answer is not None:
            self.give(caller, fetch.answer, "origin")
        caller.fetch = fetch
        fetch.callers.append(caller)

    def joinable(self, key: Key, refresh: bool) -> Fetch | None:
        """Return what is under way for the key; or, unless it is for a refresh, was answered just now."""
        for fetch in self.fetches if refresh else [*self.fetches, *self.ended]:
            if fetch.key == key and fetch.era == self.eras[key] and (fetch.refresh or not refresh):
                return fetch
        return None

    def drop(self, caller: Caller) -> None:
        fetch = cast("Fetch", caller.fetch)
        fetch.callers.remove(caller)
        if not fetch.callers and not fetch.in_background and fetch in self.fetches:
            self.end(fetch)
            self.stopped.append(fetch)

    def end(self, fetch: Fetch) -> None:
        self.fetches.remove(fetch)
        if self.renewed.get(fetch.key) is fetch:
            del self.renewed[fetch.key]

    def forget(self, matches: Callable[[Key], bool]) -> int:
        gone = [key for key in KEYS if matches(key)]
        count = sum(self.get(key) is not None for key in gone)
        for key in gone:
            self.known.pop(key, None)
            self.eras[key] += 1
        return count

    def count(self, key: Key, name: str) -> None:
        self.counts[key.request.resource][name] += 1


# --- both, side by side

_key = st.integers(0, 2)
_which = st.integers(0, 7)
_RACES = (  # what happens at one moment, in this order
    ("ask", "ask"),
    ("ask", "answer"),
    ("answer", "ask"),
    ("cancel", "answer"),
    ("answer", "cancel"),
    ("ask", "cancel"),
    ("invalidate", "answer"),
    ("answer", "invalidate"),
    ("invalidate", "ask"),
    ("ask", "invalidate"),
)


class CacheMachine(RuleBasedStateMachine):
    """Takes the same steps with the cache and with the model."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.loop.set_debug(False)  # it would note the stack of a million callbacks, of which none is slow
        self.agree = False
        self.service = Service()
        self.calls = Calls(30.0, SessionPool())
        self.scopes = Scopes(Account(token="secret", instances=[US, EU]), API_VERSION)
        self.callers: list[Caller] = []
        self.invalidations: list[tuple[asyncio.Task[int], int]] = []
        self.errors: dict[int, QRBackendsError] = {}  # given to callers; kept, so that no id is used twice
        self.failures = 0

    @initialize(
        policy=st.sampled_from(POLICIES),
        keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True),
        end_calls_first=st.booleans(),
    )
    def begin(self, policy: CachePolicy, keys: list[Key], end_calls_first: bool) -> None:
        self.end_calls_first = end_calls_first
        self.keys = keys
        self.model = Model(policy)
        memory = Memory(clock=lambda: self.model.now)
        scopes = [self.scopes.of(US), self.scopes.of(EU)]
        loader = Loader(cast("Origin", self.service), policy, memory, lambda: scopes, draw=lambda: 1.0)
        self.cache = Cache(self.calls, policy, memory, loader)
        self.agree = True

    # --- the rules

    @rule(key=_key, refresh=st.booleans(), count=st.integers(1, 3))
    def ask(self, key: int, refresh: bool, count: int) -> None:
        for _ in range(count):
            self.caller_asks(key, refresh)
        self.settle()

    @rule(keys=st.lists(_key, min_size=1, max_size=3))
    def ask_without_insisting(self, keys: list[int]) -> None:
        for key in keys:
            self.caller_asks(key, False)
        self.settle()

    @rule(keys=st.lists(_key, min_size=1, max_size=3), ages=st.lists(st.sampled_from(MAX_AGES), min_size=3))
    def ask_for_something_young(self, keys: list[int], ages: list[float | None]) -> None:
        for key, max_age in zip(keys, ages, strict=False):
            self.caller_asks(key, False, max_age=max_age)
        self.settle()

    @rule(key=_key, refresh=st.booleans())
    def ask_without_time(self, key: int, refresh: bool) -> None:
        self.model.give_up(self.caller_asks(key, refresh, deadline=0.0))
        self.settle()

    @rule(
        key=_key,
        age=st.sampled_from(AGES),
        error=st.none() | st.sampled_from(OUTAGES),
        pause=st.sampled_from(PAUSES),
    )
    def know(
        self, key: int, age: float, error: Callable[[str], QRBackendsError] | None, pause: float
    ) -> None:
        """Have an answer which is not fresh any more for so long, and ask."""
        caller = self.caller_asks(key, True)
        self.settle()
        self.service_answers(cast("Fetch", caller.fetch))
        self.settle()
        self.model.now += max(0.0, self.model.freshness(caller.key.request) + age)
        if error is not None:
            self.ask_and_fail(key, False, error)
            self.model.now += pause
        self.ask_twice(key)

    @rule(
        key=_key,
        refresh=st.booleans(),
        error=st.sampled_from(OUTAGES + REFUSALS),
        pause=st.sampled_from(PAUSES),
    )
    def try_in_vain(
        self, key: int, refresh: bool, error: Callable[[str], QRBackendsError], pause: float
    ) -> None:
        """Ask, let all that is under way for this key fail, and ask again."""
        self.ask_and_fail(key, refresh, error)
        self.model.now += pause
        self.ask_twice(key)

    @precondition(lambda self: self.model.fetches)
    @rule(which=_which)
    def answer(self, which: int) -> None:
        self.service_answers(_one(self.model.fetches, which))
        self.settle()

    @precondition(lambda self: self.model.fetches)
    @rule(which=_which, error=st.sampled_from(OUTAGES))
    def fail(self, which: int, error: Callable[[str], QRBackendsError]) -> None:
        self.service_fails(_one(self.model.fetches, which), error)
        self.settle()

    @precondition(lambda self: self.model.fetches)
    @rule(which=_which, error=st.sampled_from(REFUSALS))
    def refuse(self, which: int, error: Callable[[str], QRBackendsError]) -> None:
        self.service_fails(_one(self.model.fetches, which), error)
        self.settle()

    @precondition(lambda self: self.model.fetches or self.model.entries)
    @rule(seconds=st.sampled_from(STEPS))
    def time_passes(self, seconds: float) -> None:
        self.model.now += seconds
        self.settle()

    @precondition(lambda self: self.model.fetches or self.model.entries)
    @rule(matches=st.sampled_from(MATCHES))
    def invalidate(self, matches: Callable[[Request], bool]) -> None:
        self.entries_are_invalidated(matches)
        self.settle()

    @precondition(lambda self: self.callers)
    @rule(which=_which, all_of_the_key=st.booleans(), another_asks=st.booleans())
    def cancel(self, which: int, all_of_the_key: bool, another_asks: bool) -> None:
        one = _one(self.callers, which)
        for caller in self.callers:
            if caller is one or (all_of_the_key and caller.key == one.key):
                self.caller_is_cancelled(caller)
        if another_asks:  # at the same moment
            self.caller_asks(self.keys.index(one.key), one.refresh)
        self.settle()

    @rule(
        race=st.sampled_from(_RACES),
        key=_key,
        refresh=st.booleans(),
        insist=st.booleans(),
        which=_which,
        matches=st.sampled_from(MATCHES),
    )
    def race(
        self,
        race: tuple[str, str],
        key: int,
        refresh: bool,
        insist: bool,
        which: int,
        matches: Callable[[Request], bool],
    ) -> None:
        fetches, callers = tuple(self.model.fetches), tuple(self.callers)
        for event, insists in zip(race, (refresh, insist), strict=True):
            if event == "ask":
                self.caller_asks(key, insists)
            elif event == "invalidate":
                self.entries_are_invalidated(matches)
            elif event == "answer" and fetches:
                self.service_answers(_one(fetches, which))
            elif event == "cancel" and callers:
                self.caller_is_cancelled(_one(callers, which))
        self.settle()

    def teardown(self) -> None:
        try:
            if self.agree:
                self.close()
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.run(_checkpoints())
            self.loop.close()

    # --- a few steps of which there are many

    def ask_and_fail(self, key: int, refresh: bool, error: Callable[[str], QRBackendsError]) -> None:
        asked = self.caller_asks(key, refresh).key
        self.settle()
        for fetch in [fetch for fetch in self.model.fetches if fetch.key == asked]:
            self.service_fails(fetch, error)
            self.settle()

    def ask_twice(self, key: int) -> None:
        for _ in range(2):
            self.caller_asks(key, False)
        self.settle()

    # --- one event, for both

    def caller_asks(
        self, index: int, refresh: bool, deadline: float | None = None, max_age: float | None = None
    ) -> Caller:
        key = self.keys[index % len(self.keys)]
        scope = self.scopes.of(key.instance)
        asking = self.cache.fetch(key.request, scope, deadline, refresh=refresh, max_age=max_age)
        caller = Caller(key, refresh, max_age, self.loop.create_task(asking))
        self.callers.append(caller)
        self.model.ask(caller)
        return caller

    def service_answers(self, fetch: Fetch) -> None:
        request, instance = fetch.key
        body = BODIES[request.resource].replace(b"ibm_oslo", (request.backend_id or "").encode())
        # A new object, so that it can be traced.
        value = decoded(request, self.scopes.of(instance), Response(200, {}, body))
        _held(fetch).answer.set_result(OriginAnswer(value, body, ""))
        self.model.answer(fetch, value)

    def service_fails(self, fetch: Fetch, error: Callable[[str], QRBackendsError]) -> None:
        self.failures += 1
        text = f"failure {self.failures}"
        _held(fetch).answer.set_exception(error(text))
        self.model.fail(fetch, error(text))

    def caller_is_cancelled(self, caller: Caller) -> None:
        caller.task.cancel()
        self.model.leave(caller)

    def entries_are_invalidated(self, matches: Callable[[Request], bool]) -> None:
        task = self.loop.create_task(self.cache.invalidate(matches))
        self.invalidations.append((task, self.model.invalidate(matches)))

    def close(self) -> None:
        async def close() -> None:
            if self.end_calls_first:
                self.calls.end()
            await self.cache.aclose()
            self.calls.end()

        closing = self.loop.create_task(close())
        self.model.close()
        self.settle(closed=True)
        assert closing.done()
        closing.result()
        assert not self.callers
        assert not asyncio.all_tasks(self.loop)
        request, instance = self.keys[0]
        for late in (
            self.cache.fetch(request, self.scopes.of(instance)),
            self.cache.invalidate(lambda _: True),
        ):
            with pytest.raises(ClientClosed):
                self.run(late)
        assert not self.service.new

    # --- whether they agree

    def settle(self, closed: bool = False) -> None:
        self.agree = False
        self.run(_checkpoints())
        self.compare_requests()
        self.compare_callers()
        for task, count in self.invalidations:
            assert task.result() == count
        self.invalidations.clear()
        self.compare_stats()
        self.agree = not closed

    def compare_requests(self) -> None:
        """Exactly what the model says was begun, and exactly what it says was stopped."""
        model = self.model
        new, self.service.new = self.service.new, []
        for fetch in (*model.begun, *model.renewals):
            held = next((held for held in new if held.key == fetch.key), None)
            if held is not None:
                new.remove(held)
                fetch.held = held
            else:
                # Whoever left at once may have left before the service was asked.
                assert fetch in model.stopped, f"nobody asks for {fetch.key.request}"
        assert not new, f"nobody should ask for {new[0].key.request}"
        for fetch in model.stopped:
            assert fetch.held is None or fetch.held.stopped, f"{fetch.key.request} goes on for nobody"
        for fetch in (*model.fetches, *model.ended):
            assert not _held(fetch).stopped, f"{fetch.key.request} was stopped"
        for events in (model.begun, model.renewals, model.stopped, model.ended):
            events.clear()

    def compare_callers(self) -> None:
        waiting = []
        for caller in self.callers:
            if caller.gets is None:
                assert not caller.task.done(), f"not to be answered yet: {caller.task}"
                waiting.append(caller)
            else:
                assert caller.task.done(), f"waits, instead of {caller.gets!r}"
                self.compare(caller)
        self.callers = waiting

    def compare(self, caller: Caller) -> None:
        promised = caller.gets
        if isinstance(promised, asyncio.CancelledError):
            assert caller.task.cancelled()
            return
        error = caller.task.exception()
        if isinstance(promised, Fetched):
            assert error is None, f"{error!r} instead of {promised}"
            given = caller.task.result()
            assert (given.source, given.age) == (promised.source, promised.age)
            assert given.value is promised.value, "another answer than promised"
            return
        assert promised is not None
        assert error is not None, f"{caller.task.result()} instead of {promised!r}"
        assert type(error) is type(promised)
        assert isinstance(error, QRBackendsError)
        assert id(error) not in self.errors, "two callers got the same error"
        self.errors[id(error)] = error
        if promised.message:
            assert error.message == promised.message
        if not isinstance(error, ClientClosed):
            request, instance = caller.key
            about = (error.region, error.instance, error.backend)
            assert about == (instance.region, instance.crn, request.backend_id)

    def compare_stats(self) -> None:
        stats = self.cache.stats()
        for resource, counts in self.model.counts.items():
            assert getattr(stats, resource) == ResourceStats(**counts), resource
        assert stats.entries == self.model.entries
        assert (stats.bytes > 0) == (stats.entries > 0)
        assert stats.evictions == 0

    def run(self, steps: Coroutine[Any, Any, Any]) -> None:
        self.loop.run_until_complete(steps)


async def _checkpoints() -> None:
    for _ in range(TICKS):
        await anyio.lowlevel.checkpoint()


def _one(things: Sequence[T], which: int) -> T:
    return things[which % len(things)]


def _held(fetch: Fetch) -> Held:
    assert fetch.held is not None
    return fetch.held


def test_the_cache_does_what_the_model_says() -> None:
    run_state_machine_as_test(
        CacheMachine, settings=settings(max_examples=120, stateful_step_count=40, report_multiple_bugs=False)
    )


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_cache_does_what_the_model_says_for_long() -> None:
    run_state_machine_as_test(
        CacheMachine, settings=settings(max_examples=1000, stateful_step_count=50, report_multiple_bugs=False)
    )
