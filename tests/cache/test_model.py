"""The cache against a model of what it promises, in sequences that nobody thought of.

The model is written from the promises and knows nothing of epochs, flights' keys or the memory tier. The
service is a fake below the sender, whose requests are held until a rule answers them; its documents change,
and it may lie about that. Time is a number that a rule moves. After every step the event loop runs until
nothing can go on, and what each caller got, what was asked of the service and under which conditions, what
was stopped and what was counted has to be what the model says.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

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
from msgspec import structs

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
    TransportError,
    Unauthorized,
)
from qrbackends.protocol.requests import Request
from qrbackends.service.origin import Origin, decoded
from qrbackends.service.sender import Sender
from qrbackends.service.tokens import Tokens
from qrbackends.tasks.deadlines import Calls
from qrbackends.transport.pool import Response, SessionPool
from qrbackends.transport.retry import RetryPolicy

from .changing import (
    ACCOUNT,
    SCOPES,
    Change,
    Credentials,
    Document,
    Encoding,
    Held,
    Key,
    Served,
    Service,
    Tag,
    Tags,
    matches,
)

T = TypeVar("T")

TICKS = 25  # of the event loop; the longest way from an answer to its callers takes less than 10

STATUS = Request("status", "ibm_oslo")  # never kept
REQUESTS = (
    Request("properties", "ibm_oslo"),
    STATUS,
    Request("properties", "ibm_oslo", calibration_id="ultra"),
    Request("properties", "ibm_oslo", updated_before=datetime(2020, 1, 1, tzinfo=UTC)),
    Request("properties", "ibm_rome"),
    Request("backends"),
)
# Binary fractions, as the steps of the clock are: every instant is exact, and boundaries are met.
_SHORT = CachePolicy(
    properties=8, history=64, backends=4, negative=2, stale_while_revalidate=4, stale_if_error=16, jitter=0
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


KEYS = tuple(Key(request, scope) for request in REQUESTS for scope in SCOPES)
RESOURCES = ("properties", "status", "backends")
MATCHES: tuple[Callable[[Request], bool], ...] = (
    lambda request: request.backend == "ibm_oslo",
    lambda request: request.resource == "properties",
    lambda _: True,
)

ENCODINGS: tuple[Encoding, ...] = ("", "gzip")
TAGS: tuple[Tags, ...] = ("none", "strong", "weak", "date", "restless", "constant")
CHANGES: tuple[Change, ...] = ("start", "end", "longer", "first", "encoding")
LIES = ("no tag", "the tag", "the weak tag", "another tag")
CONFIRMED = 24  # so many answers in a row may be a 304


# --- the model


@dataclass(eq=False)
class Version:
    """One object that callers get; which one it is, the first of them tells."""

    served: Served
    object: Any = None


@dataclass(eq=False)
class Known:
    """What was answered, and whether the service failed since."""

    value: Version | NotFound
    at: float
    fresh_until: float
    kept_until: float
    failed_at: float | None = None
    unchanged: bool = False
    tag: Tag = None
    confirmed: int = 0
    is_trusted: bool = True  # the service has not shown that its tag says nothing

    def fails(self, now: float, error: QRBackendsError) -> None:
        """Its renewal failed: the next one has no condition, unless something else was the cause."""
        self.failed_at = now
        if not isinstance(error, (RateLimited, ServiceUnavailable, ConnectError)):
            self.confirmed = max(self.confirmed, CONFIRMED)

    @property
    def asked_about(self) -> Tag:
        """The tag to ask about when it is renewed."""
        return self.tag if self.is_trusted and self.confirmed < CONFIRMED else None

    def renewed(self, served: Served, asked: Tag) -> "Known":
        """Return what is known after an answer; its times are still to be filled in."""
        if served.status == 304:
            return replace(self, unchanged=True, tag=served.tag, confirmed=self.confirmed + 1)
        same = isinstance(self.value, Version) and self.value.served[2:4] == served[2:4]
        value = self.value if same else Version(served)
        tells_nothing = is_same(served.tag, self.tag) and (asked is not None or not same)
        trusted = self.is_trusted and not tells_nothing
        return replace(self, value=value, unchanged=same, tag=served.tag, confirmed=0, is_trusted=trusted)


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
    known: Known | None = None
    asked: Tag = None
    sent_again: bool = False

    @property
    def condition(self) -> Tag:
        """The tag that the last request asks about."""
        return None if self.sent_again else self.asked


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
        self.repeated: list[Fetch] = []  # in this step
        self.counts = {name: dict.fromkeys(ResourceStats.__struct_fields__, 0) for name in RESOURCES}
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
                # The last failure says more than that there is no time.
                failed = caller.fetch is not None and caller.fetch.sent_again
                caller.gets = TransportError("") if failed else Timeout("")

    def sends(self, fetch: Fetch) -> None:
        """The request goes out: what is known now decides its conditions."""
        known = self.get(fetch.key)
        if known is not None and isinstance(known.value, Version):
            fetch.known, fetch.asked = known, known.asked_about

    def answer(self, fetch: Fetch, served: Served) -> None:
        if fetch not in self.fetches:
            return  # it was stopped in this step
        if served.status == 304 and not is_same(served.tag, fetch.condition):
            if fetch.sent_again:
                self.fail(fetch, TransportError(""))
            else:  # it is asked again, without conditions
                fetch.sent_again = True
                self.repeated.append(fetch)
            return
        fresh_until = self.now + self.freshness(fetch.key.request)
        grace = max(self.policy.stale_while_revalidate, self.policy.stale_if_error)
        times = self.now, fresh_until, fresh_until + grace
        if fetch.known is None:
            fetch.answer = Known(Version(served), *times, tag=served.tag)
        else:
            renewed = fetch.known.renewed(served, fetch.asked)
            at, fresh_until, kept_until = times
            fetch.answer = replace(
                renewed, at=at, fresh_until=fresh_until, kept_until=kept_until, failed_at=None
            )
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
        outage = isinstance(error, (TransportError, ServerError, RateLimited)) or getattr(
            error, "malformed", False
        )
        if isinstance(error, NotFound):
            if fetch.era == self.eras[fetch.key]:
                until = self.now + self.policy.negative
                self.known[fetch.key] = Known(error, self.now, until, until)
        elif isinstance(error, (Forbidden, Unauthorized)):
            refused = fetch.key.request.backend if isinstance(error, Forbidden) else None
            self.forget(lambda key: key.scope == fetch.key.scope and refused in (None, key.request.backend))
        elif isinstance(error, AuthenticationFailed):
            self.forget(lambda _: True)
        elif not outage:
            self.forget(fetch.key.__eq__)
        known = self.get(fetch.key)
        if outage and known is not None:
            known.fails(self.now, error)
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
            unchanged = source == "origin" and known.unchanged
            fresh_for = max(0.0, known.fresh_until - self.now)
            caller.gets = Fetched(known.value, self.now - known.at, source, fresh_for, unchanged)

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


def is_same(told: Tag, asked: Tag) -> bool:
    """Return whether two validators are the same, be they weak or strong."""
    if told is None or asked is None or told[0] != asked[0]:
        return False
    return told[1].removeprefix("W/") == asked[1].removeprefix("W/")


# --- both, side by side

_key = st.integers(0, 2)
_which = st.integers(0, 7)
_keys = st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True) | st.sampled_from(REQUESTS).map(
    lambda request: [Key(request, scope) for scope in SCOPES]  # whose documents and tags are alike
)
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
        self.service = Service(KEYS)
        self.calls = Calls(30.0, SessionPool())
        self.callers: list[Caller] = []
        self.invalidations: list[tuple[asyncio.Task[int], int]] = []
        self.errors: dict[int, QRBackendsError] = {}  # given to callers; kept, so that no id is used twice
        self.given: dict[int, Any] = {}  # values
        self.failures = 0

    @initialize(
        policy=st.sampled_from(POLICIES),
        keys=_keys,
        encoding=st.sampled_from(ENCODINGS),
        tags=st.sampled_from(TAGS),
        end_calls_first=st.booleans(),
    )
    def begin(
        self, policy: CachePolicy, keys: list[Key], encoding: Encoding, tags: Tags, end_calls_first: bool
    ) -> None:
        self.end_calls_first = end_calls_first
        self.keys = keys
        self.model = Model(policy)
        self.documents = {key: Document(key, encoding, tags) for key in KEYS}
        memory = Memory(clock=lambda: self.model.now)
        sender = Sender(ACCOUNT, cast("SessionPool", self.service), RetryPolicy(attempts=2, base=0))
        origin = Origin(sender, cast("Tokens", Credentials()))
        loader = Loader(origin, policy, memory, lambda: SCOPES, draw=lambda: 1.0)
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
        self.refresh(key)
        self.model.now += max(0.0, self.model.freshness(self.key(key).request) + age)
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
    @rule(which=_which, in_full=st.booleans())
    def answer(self, which: int, in_full: bool) -> None:
        self.service_answers(_one(self.model.fetches, which), in_full)
        self.settle()

    @rule(key=_key, tags=st.sampled_from(TAGS))
    def validators_change(self, key: int, tags: Tags) -> None:
        self.documents[self.key(key)].tags = tags

    @rule(
        key=_key,
        change=st.sampled_from(CHANGES),
        error=st.none() | st.sampled_from(OUTAGES),
        in_full=st.booleans(),
        seconds=st.sampled_from(STEPS),
    )
    def change(
        self,
        key: int,
        change: Change,
        error: Callable[[str], QRBackendsError] | None,
        in_full: bool,
        seconds: float,
    ) -> None:
        """Renew what has not changed, perhaps after a failure, and then what has."""
        self.refresh(key)
        self.model.now += seconds
        if error is not None:
            self.ask_and_fail(key, True, error)
        self.refresh(key, in_full)
        self.model.now += seconds
        self.ask_twice(key)
        self.documents[self.key(key)].change(change)
        self.refresh(key, in_full)
        self.ask_twice(key)

    @rule(key=_key, count=st.sampled_from((1, 2, CONFIRMED, CONFIRMED + 2)), change=st.booleans())
    def renew_often(self, key: int, count: int, change: bool) -> None:
        self.refresh(key)
        if self.model.get(self.key(key)) is None:  # it is never kept
            return
        for _ in range(count):
            self.refresh(key)
        if change:
            self.documents[self.key(key)].change("end")
            self.refresh(key)

    @precondition(lambda self: self.model.fetches)
    @rule(which=_which, lie=st.sampled_from(LIES))
    def lie(self, which: int, lie: str) -> None:
        self.service_lies(_one(self.model.fetches, which), lie)
        self.settle()

    @rule(
        key=_key,
        lie=st.sampled_from(LIES),
        change=st.none() | st.sampled_from(CHANGES),
        tags=st.none() | st.sampled_from(TAGS),
    )
    def refresh_and_lie(self, key: int, lie: str, change: Change | None, tags: Tags | None) -> None:
        self.refresh(key)
        if change is not None:
            self.documents[self.key(key)].change(change)
        if tags is not None:
            self.documents[self.key(key)].tags = tags
        fetch = cast("Fetch", self.caller_asks(key, True).fetch)
        self.settle()
        self.service_lies(fetch, lie)
        self.settle()
        if fetch in self.model.fetches:  # it was not believed
            self.service_answers(fetch)
            self.settle()
        self.refresh(key)
        self.ask_twice(key)

    @rule(
        key=_key,
        by=st.sampled_from(("invalidate", "refresh", "refuse")),
        error=st.sampled_from(REFUSALS),
        change=st.none() | st.sampled_from(CHANGES),
        in_full=st.booleans(),
    )
    def renew_in_vain(
        self,
        key: int,
        by: str,
        error: Callable[[str], QRBackendsError],
        change: Change | None,
        in_full: bool,
    ) -> None:
        """While an entry is renewed it is dropped, or replaced by what was asked later."""
        self.refresh(key)
        asked = self.key(key)
        self.model.now += self.model.freshness(asked.request)
        self.caller_asks(key, False)
        self.settle()
        # The service answers now, and its answer takes long.
        late = [
            (fetch, self.documents[asked].served(_held(fetch).conditions, in_full))
            for fetch in self.model.fetches
            if fetch.key == asked
        ]
        if by == "invalidate":
            self.entries_are_invalidated(asked.request.__eq__)
            self.settle()
        elif by == "refuse":  # what another caller asks, about the backend or the whole instance
            fetch = cast("Fetch", self.asks(Key(STATUS, asked.scope), True).fetch)
            self.settle()
            self.service_fails(fetch, error)
            self.settle()
        else:
            if change is not None:
                self.documents[asked].change(change)
            self.refresh(key)
        for fetch, served in late:
            if fetch in self.model.fetches:
                self.serve(fetch, served)
                self.settle()
        self.ask_twice(key)

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
            self.asks(one.key, one.refresh)
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

    def key(self, index: int) -> Key:
        return self.keys[index % len(self.keys)]

    def refresh(self, key: int, in_full: bool = False) -> None:
        fetch = cast("Fetch", self.caller_asks(key, True).fetch)
        self.settle()
        self.service_answers(fetch, in_full)
        self.settle()

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
        return self.asks(self.key(index), refresh, deadline, max_age)

    def asks(
        self, key: Key, refresh: bool = False, deadline: float | None = None, max_age: float | None = None
    ) -> Caller:
        asking = self.cache.fetch(key.request, key.scope, deadline, refresh=refresh, max_age=max_age)
        caller = Caller(key, refresh, max_age, self.loop.create_task(asking))
        self.callers.append(caller)
        self.model.ask(caller)
        return caller

    def service_answers(self, fetch: Fetch, in_full: bool = False) -> None:
        held = _held(fetch)
        self.serve(fetch, self.documents[fetch.key].served(held.conditions, in_full))

    def service_lies(self, fetch: Fetch, lie: str) -> None:
        """The service says 304, whatever it has."""
        conditions = _held(fetch).conditions
        tag = conditions.get("If-None-Match", '"0"').removeprefix("W/")
        told: Tag = None
        match lie:
            case "the tag" if "If-Modified-Since" in conditions:
                told = "Last-Modified", conditions["If-Modified-Since"]
            case "the tag":
                told = "ETag", tag
            case "the weak tag":
                told = "ETag", f"W/{tag}"
            case "another tag":
                told = "ETag", '"another"'
        self.serve(fetch, Served(304, told))

    def serve(self, fetch: Fetch, served: Served) -> None:
        _held(fetch).answer.set_result(served)
        self.model.answer(fetch, served)

    def service_fails(self, fetch: Fetch, error: Callable[[str], QRBackendsError]) -> None:
        self.failures += 1
        text = f"failure {self.failures}"
        failure = error(text)
        failure.retryable = False
        _held(fetch).answer.set_exception(failure)
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
        for late in (
            self.cache.fetch(*self.keys[0]),
            self.cache.invalidate(lambda _: True),
        ):
            with pytest.raises(ClientClosed):
                self.run(late)
        assert not self.service.new

    # --- whether they agree

    def settle(self, closed: bool = False) -> None:
        self.agree = False
        self.run(_checkpoints())
        for caller in self.callers:  # a broken program is not a wrong one
            if caller.task.done() and not caller.task.cancelled():
                broken = caller.task.exception()
                if broken is not None and not isinstance(broken, QRBackendsError):
                    raise broken
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
        for fetch in (*model.begun, *model.renewals):
            model.sends(fetch)
        new, self.service.new = self.service.new, []
        for fetch in (*model.begun, *model.renewals, *model.repeated):
            held = next((held for held in new if held.key == fetch.key), None)
            if held is not None:
                new.remove(held)
                fetch.held = held
                asked = fetch.condition
                assert matches(asked, held.conditions) if asked else not held.conditions
            else:
                # Whoever left at once may have left before the service was asked.
                assert fetch in model.stopped, f"nobody asks for {fetch.key.request}"
        assert not new, f"nobody should ask for {new[0].key.request}"
        for fetch in model.stopped:
            assert fetch.held is None or fetch.held.stopped, f"{fetch.key.request} goes on for nobody"
        for fetch in (*model.fetches, *model.ended):
            assert not _held(fetch).stopped, f"{fetch.key.request} was stopped"
        for events in (model.begun, model.renewals, model.repeated, model.stopped, model.ended):
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
            assert _without_value(given) == _without_value(promised)
            self.compare_version(caller.key, given.value, promised.value)
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
            request, scope = caller.key
            about = (error.region, error.instance, error.backend)
            assert about == (scope.region, scope.crn, request.backend)

    def compare_version(self, key: Key, given: Any, version: Version) -> None:
        """The first caller gets a new object with the version's content, and all others get the same."""
        if version.object is None:
            assert id(given) not in self.given, "an object of another version"
            assert given == decoded(*key, Response(200, {}, version.served.body)), "another version"
            version.object = self.given[id(given)] = given
        assert given is version.object, "another object than promised"

    def compare_stats(self) -> None:
        stats = self.cache.stats()
        for resource, counts in self.model.counts.items():
            assert getattr(stats, resource) == ResourceStats(**counts), resource
        assert stats.entries == self.model.entries
        assert (stats.bytes > 0) == (stats.entries > 0)
        assert stats.evictions == 0

    def run(self, steps: Coroutine[Any, Any, Any]) -> None:
        self.loop.run_until_complete(steps)


def _without_value(fetched: Fetched[Any]) -> Fetched[Any]:
    """Return what is told beside the value."""
    return structs.replace(fetched, value=None)


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
        CacheMachine, settings=settings(max_examples=20, stateful_step_count=40, report_multiple_bugs=False)
    )


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_cache_does_what_the_model_says_for_long() -> None:
    run_state_machine_as_test(
        CacheMachine, settings=settings(max_examples=1000, stateful_step_count=50, report_multiple_bugs=False)
    )
