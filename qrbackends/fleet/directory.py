"""The backend directory: which instance lists which backend."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import takewhile
from typing import Any, TypeAlias

import anyio

from ..accounts.account import Account, AnInstance, Instance
from ..accounts.scope import Scope, Scopes
from ..cache.entry import Fetched
from ..errors import (
    AccountError,
    InstanceUnavailable,
    NotFound,
    QRBackendsError,
    Timeout,
)
from ..messages.suggestions import add, instead, suggest
from ..models import BackendList, BackendsResponse
from ..models.formatting import visible
from ..protocol.requests import Request
from ..service.discovery import Discovery
from ..service.instances import ServiceInstance
from ..tasks.deadlines import halfway
from ..tasks.fanout import answers
from ..tasks.flight import Flight, Flights
from ..transport.failures import located
from ..transport.retry import RetryPolicy
from .merged_lists import MergedLists
from .unlisted import Ask, UnlistedBackends, unanswered

_List: TypeAlias = Fetched[BackendsResponse]
_Lists: TypeAlias = Flights[_List]

_LIST = Request("backends")
_AT_ONCE = 256  # instances that are asked at a time
_API = "/api/v1"
_LONGEST_NAME = 512  # characters, as of a CRN


class Directory:
    """The names of the backends in each instance's last list, and the fetches of new lists.

    The names of a list are used however old it is; a backend that no list has makes the directory ask anew,
    first for the lists, then each instance for the backend itself.

    Args:
        account: the account; its instances are in order of preference.
        scopes: makes the scopes of the account's instances.
        fetch: asks one instance.
        discovery: looks up the instances of an account that names none.
    """

    def __init__(
        self, account: Account, scopes: Scopes, fetch: Ask, discovery: Discovery | None = None
    ) -> None:
        self._scopes = scopes
        self._fetch = fetch
        self._discovery = None if account.instances else discovery
        self._discovered: Sequence[ServiceInstance] = ()
        self._known = {instance.crn: scopes.of(instance) for instance in account.instances}
        # The names of the backends, by the CRN of the instance; empty if its list was asked for in vain.
        self._names: dict[str, frozenset[str]] = {}
        self._unlisted = UnlistedBackends(fetch)
        self._routes: dict[str | None, Scope] | None = None  # by the backend's name; None after a change
        self._only: Scope | None = None  # the account's only instance
        self._flights: _Lists = Flights()
        self._lists: dict[str, asyncio.Task[_List]] = {}  # fetches, by CRN
        self._merged_lists = MergedLists()

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """The scopes of the account's instances that are known now, in order of preference."""
        return tuple(self._known.values())

    def has(self, crn: str) -> bool:
        """Return whether an instance is one of the account's that are known now."""
        return crn in self._known

    def explain(self, error: NotFound, scope: Scope) -> None:
        """Add to the error about a backend that an instance does not have what the last lists tell.

        That is which other instance lists it or, if every list was read, the names that are most like its
        own; and if no list of the instance was read, that its address is not like those of IBM's service. No
        request is sent.
        """
        name = error.backend
        if not self._names.get(scope.crn) and not scope.base_url.endswith(_API):
            add(
                error,
                f"the instance's address is {scope.base_url}, and those of IBM's service end with {_API}",
            )
        if name is None or name in self._names.get(scope.crn, ()):
            return
        for other in self.scopes:
            if name in self._names.get(other.crn, ()):
                add(error, f"the instance {self._name(other)} lists it")
                return
        if all(map(self._names.get, self._known)):  # the names are empty where a list was asked for in vain
            suggest(error, frozenset[str]().union(*self._names.values()))

    async def instances(
        self, deadline: float | None = None, *, refresh: bool = False
    ) -> tuple[Instance, ...]:
        """Return the account's instances; if the account names none, look them up first.

        Args:
            deadline: the caller's deadline, in the event loop's time; None for the default.
            refresh: whether to look them up although they are known.

        Raises:
            QRBackendsError: the instances cannot be looked up.
        """
        if self._discovery is not None:
            self._adopt(await self._discovery.instances(deadline, refresh=refresh))
        return tuple(scope.instance for scope in self._known.values())

    async def instance(self, which: AnInstance, deadline: float | None = None) -> Instance:
        """Return one of the account's instances; for None the first in the account's order.

        Raises:
            AccountError: `which` is not one of the account's.
            QRBackendsError: the instances cannot be looked up.
        """
        found = await self.instances(deadline)
        return found[0] if which is None else self._named(which).instance

    def route(self, request: Request, instance: AnInstance = None) -> Scope | None:
        """Return the scope of the instance to ask for a backend; None if lists have to be fetched first.

        It is `instance`, if given; otherwise the first instance in the account's order whose last list has
        the backend, once the lists of the earlier ones in its region were asked for, too. An account's only
        instance is returned whether it lists the backend or not.

        Raises:
            AccountError: `instance` is not one of the account's.
        """
        if self._discovery is not None:
            found = self._discovery.known()
            if not found:
                return None
            self._adopt(found)
        if instance is not None:
            return self._named(instance)
        if self._routes is None:
            self._routes = self._new_routes()
            self._only = self.scopes[0] if len(self._known) == 1 else None
        return self._routes.get(request.backend) or self._only

    async def find(self, request: Request, instance: AnInstance, until: float) -> Scope:
        """Return the scope of the instance to ask for a backend; look up instances and lists if necessary.

        Args:
            request: names the backend.
            instance: the instance to ask; None for the first in the account's order that lists the backend.
            until: the caller's deadline, in the event loop's time.

        Raises:
            NotFound: no instance lists it.
            InstanceUnavailable: no listed instance has it, and some instances could not be listed.
        """
        try:
            await self.instances(until)
            # Lists get at most half of the time; the rest is for the request itself.
            return self.route(request, instance) or await self._listing(request.backend or "", halfway(until))
        except QRBackendsError as error:
            error.about(backend=request.backend)
            raise

    async def fetch(self, request: Request, instance: AnInstance, until: float, **how: Any) -> Fetched[Any]:
        """Return the answer about a backend that has no `route` yet; look up instances and lists.

        A backend that no list has, such as a retired one, is asked for itself: in the instance that answered
        last; without an answer, in every instance in the account's order.

        Args:
            request: names the backend.
            instance: the instance to ask, or None.
            until: the caller's deadline, in the event loop's time.
            how: the options of `Cache.fetch`.

        Raises:
            NotFound: no instance lists it, and none has an answer about it.
            InstanceUnavailable: no instance has an answer, and some could not be asked.
        """
        tried: dict[Scope, QRBackendsError] = {}
        last = self._unlisted.last(request)
        if last is not None and last in self.scopes and instance is None:
            found = await self._unlisted.first_answer(request, (last,), halfway(until), tried, how)
            if found is not None:
                return found
        try:
            scope = await self.find(request, instance, until)
        except (NotFound, InstanceUnavailable) as absence:
            others = [scope for scope in self.scopes if scope not in tried]
            found = await self._unlisted.first_answer(request, others, until, tried, how)
            if found is None:
                raise unanswered(absence, tried) from None
            return found
        return await self._fetch(request, scope, until, **how)

    async def list(
        self,
        request: Request,
        instance: AnInstance = None,
        deadline: float | None = None,
        *,
        refresh: bool = False,
        max_age: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Fetched[BackendList]:
        """Ask all instances, or the one given, concurrently, and return their backends.

        Age, source and freshness are those of the oldest list. Mocks are left out unless they are asked for.
        As long as a caller holds the last list, and nothing has changed, the same object is returned.

        Raises:
            QRBackendsError: no instance could be listed.
        """
        await self.instances(deadline)
        asked = self.scopes if instance is None else (self._named(instance),)

        async def ask(scope: Scope) -> Fetched[BackendsResponse] | QRBackendsError:
            how = {"refresh": refresh, "max_age": max_age, "retry": retry}
            try:
                return await self._ask(request, scope, deadline=deadline, **how)
            except QRBackendsError as error:
                return error

        listings = await answers(asked, ask, _AT_ONCE)
        return self._merged_lists.merged(request, [scope.crn for scope in asked], listings)

    async def aclose(self) -> None:
        """Cancel the fetches of lists."""
        await self._flights.aclose()

    def _named(self, instance: Instance | str) -> Scope:
        """Return the scope of the account's instance with this CRN; or with this name, after a look-up."""
        crn = instance.crn if isinstance(instance, Instance) else instance
        if crn in self._known:
            return self._known[crn]
        for found in self._discovered:
            if found.name == crn:
                return self._known[found.instance.crn]
        if self._discovered:
            there = instead(crn, map(self._name, self.scopes))
        else:
            listed = ", ".join(map(self._name, self.scopes)) or "none"
            there = f"there are {listed}; names are known only where an account looks its instances up"
        unknown = AccountError(f"{crn!r:.200} is none of the account's instances; {there:.2000}")
        unknown.final = False  # it may have been one until the last look-up; calls for others go well
        raise unknown

    def _name(self, scope: Scope) -> str:
        """Return the name of an instance that was looked up, and the CRN of another one."""
        names = {found.instance.crn: found.name for found in self._discovered}
        return visible(names.get(scope.crn) or scope.crn, _LONGEST_NAME)

    def _adopt(self, found: Sequence[ServiceInstance]) -> None:
        """Replace the known instances by those that were looked up."""
        if found is not self._discovered:
            self._discovered = found
            self._known = {one.instance.crn: self._scopes.of(one.instance) for one in found}
            self._names = {crn: names for crn, names in self._names.items() if crn in self._known}
            self._routes = None

    def _new_routes(self) -> dict[str | None, Scope]:
        """Return the first instance in the account's order that lists a backend, by the backend's name."""
        routes: dict[str | None, Scope] = {}
        unread: set[str] = set()  # regions of lists that were never asked for: they may come first
        for scope in self.scopes:
            names = self._names.get(scope.crn)
            if names is None:
                unread.add(scope.region)
            elif scope.region not in unread:
                for name in names:
                    routes.setdefault(name, scope)
        return routes

    async def _listing(self, backend: str, until: float) -> Scope:
        """Ask all instances for their lists, and return the first, in the account's order, with the backend.

        A backend is in one region: once a list has it, no other region's is waited for. Callers share the
        lists that are under way. A list that takes longer than `until` is not waited for.
        """
        scopes = self.scopes  # kept, as a look-up may replace them meanwhile
        tasks = self._begin_lists()
        pending = {tasks[scope.crn] for scope in scopes}
        with anyio.CancelScope(deadline=until):
            while pending:
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for scope in scopes:
                    before = _before(scopes, scope)
                    if _lists(self._flights, tasks[scope.crn], backend) and all(
                        tasks[one.crn].done() for one in before
                    ):
                        return scope
        for scope in scopes:
            self._note(scope, self._names.get(scope.crn, frozenset()))  # so that nobody waits for it again
        listing = [scope for scope in scopes if _lists(self._flights, tasks[scope.crn], backend)]
        if listing:
            return listing[0]
        known = frozenset[str]().union(*self._names.values())
        raise _absence(self._flights, backend, [(scope, tasks[scope.crn]) for scope in scopes], known)

    def _begin_lists(self) -> dict[str, asyncio.Task[_List]]:
        """Return each instance's list that is under way, or was fetched since the slowest one began."""
        self._forget_lists()
        for scope in self.scopes:
            task = self._lists.get(scope.crn)
            if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
                work = partial(self._list_in_background, scope)
                task = self._lists[scope.crn] = self._flights.begin(scope.crn, work)
                task.add_done_callback(self._forget_lists)
        return dict(self._lists)

    def _forget_lists(self, _: object = None) -> None:
        if all(task.done() for task in self._lists.values()):
            self._lists = {}  # the cache keeps the lists; the tasks are not needed any more

    async def _list_in_background(self, scope: Scope, _: Flight[Any]) -> Fetched[BackendsResponse]:
        return await self._ask(_LIST, scope)

    async def _ask(self, request: Request, scope: Scope, **how: Any) -> Fetched[BackendsResponse]:
        try:
            listed: Fetched[BackendsResponse] = await self._fetch(request, scope, **how)
        except QRBackendsError:
            self._note(scope, self._names.get(scope.crn, frozenset()))
            raise
        # Not every list has the mocks: where one is known from must not depend on which was read last.
        self._note(scope, listed.value.names)
        return listed

    def _note(self, scope: Scope, names: frozenset[str]) -> None:
        known = self._names.get(scope.crn)
        # Sets are not compared where they are the same object, as those of a list that has not changed.
        if scope.crn in self._known and names is not known and names != known:
            self._names[scope.crn] = names
            self._routes = None


def _before(scopes: Sequence[Scope], scope: Scope) -> Iterator[Scope]:
    """Return the instances of the same region that come before this one."""
    earlier = takewhile(lambda one: one is not scope, scopes)
    return (one for one in earlier if one.region == scope.region)


def _lists(flights: _Lists, task: asyncio.Task[_List], backend: str) -> bool:
    """Return whether an instance's list has arrived and contains the backend.

    Raises:
        QRBackendsError: the fetch failed with a final error, such as a refused key.
    """
    if not task.done():
        return False
    try:
        return backend in flights.outcome(task).value.names
    except QRBackendsError as error:
        if error.final:
            raise
        return False


def _absence(
    flights: _Lists,
    backend: str,
    asked: Sequence[tuple[Scope, asyncio.Task[_List]]],
    known: Collection[str],
) -> QRBackendsError:
    """Return `NotFound` for a backend that no list has, or `InstanceUnavailable` if a list is missing."""
    errors: list[QRBackendsError] = []
    for scope, task in asked:
        try:
            if not task.done():
                late = Timeout("its list takes too long").about(region=scope.region)
                raise located(late, scope.region, scope.base_url)
            listed = flights.outcome(task)
            if listed.source == "stale":  # the backend may have been added since
                raise QRBackendsError(f"its list is {listed.age:.0f} s old").about(region=scope.region)
        except QRBackendsError as error:
            errors.append(error)
    if not errors:
        absent = NotFound("no instance of the account lists this backend", 404).about(backend=backend)
        suggest(absent, known)
        return absent
    # No name is suggested: the right one may be in a list that is missing.
    problem = "whether an instance that could not be listed has this backend is not known: "
    problem += "; ".join(map(str, errors))
    return InstanceUnavailable(problem, errors).about(backend=backend)
