"""Which instance has which backend."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from itertools import chain, takewhile
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
from ..models import BackendList, BackendsResponse
from ..protocol.requests import Request
from ..service.discovery import Discovery, ServiceInstance
from ..tasks.fanout import answers
from ..tasks.flight import Flight, Flights, outcome

Fetch: TypeAlias = Callable[..., Awaitable[Fetched[BackendsResponse]]]
"""Asks one instance: takes the request and its scope, and `deadline=`, `refresh=` and `max_age=`."""

_LIST = Request("backends")
_AT_ONCE = 256  # instances that are asked for their lists at a time


class Directory:
    """The names in the last known list of each instance, however old, and who asks for a new list.

    Args:
        account: whose instances, in order of preference.
        scopes: the account's scopes.
        fetch: asks one instance.
        discovery: looks up the instances of an account that names none.
    """

    def __init__(
        self, account: Account, scopes: Scopes, fetch: Fetch, discovery: Discovery | None = None
    ) -> None:
        self._scopes = scopes
        self._fetch = fetch
        self._discovery = None if account.instances else discovery
        self._discovered: Sequence[ServiceInstance] = ()
        self._known = {instance.crn: scopes.of(instance) for instance in account.instances}
        self._names: dict[str, frozenset[str]] = {}  # of backends, by the CRN of the instance
        self._routes: dict[str | None, Scope] = {}  # by the backend's name
        self._only: Scope | None = None  # the account's only instance
        self._flights: Flights[Fetched[BackendsResponse]] = Flights()
        self._lists: dict[str, asyncio.Task[Fetched[BackendsResponse]]] = {}  # under way, by CRN
        self._draw_routes()

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """The scopes of the account's instances, as far as they are known: in order of preference."""
        return tuple(self._known.values())

    async def instances(self, deadline: float | None = None) -> tuple[Instance, ...]:
        """Return the account's instances; those of an account that names none are looked up first.

        Raises:
            QRBackendsError: they cannot be looked up.
        """
        if self._discovery is not None:
            self._adopt(await self._discovery.instances(deadline))
        return tuple(scope.instance for scope in self._known.values())

    def route(self, request: Request, instance: AnInstance = None) -> Scope | None:
        """Return whom to ask for a backend; None where that is not known without asking.

        It is the instance that is named, or else the first in the account's order whose last known list has
        the backend. An account's only instance is taken at once: the service itself says whether it has it.

        Raises:
            AccountError: `instance` is none of the account's.
        """
        if self._discovery is not None:
            found = self._discovery.known()
            if not found:
                return None
            self._adopt(found)
        if instance is not None:
            return self._named(instance)
        return self._routes.get(request.backend_id) or self._only

    async def find(self, request: Request, instance: AnInstance, until: float) -> Scope:
        """Return whom to ask for a backend, looking up the instances and their lists where need be.

        Args:
            request: names the backend.
            instance: the one to ask; left out, the first in the account's order that lists the backend.
            until: when to give up, in the event loop's time.

        Raises:
            NotFound: no instance lists it.
            InstanceUnavailable: no instance that could be listed has it, but not all could be.
        """
        try:
            await self.instances(until)
            # Half of the time at most: the rest is for the question itself.
            now = anyio.current_time()
            half = now + (until - now) / 2
            return self.route(request, instance) or await self._listing(request.backend_id or "", half)
        except QRBackendsError as error:
            error.about(backend=request.backend_id)
            raise

    async def list(
        self,
        request: Request,
        instance: AnInstance = None,
        deadline: float | None = None,
        *,
        refresh: bool = False,
        max_age: float | None = None,
    ) -> Fetched[BackendList]:
        """Ask all instances, or the one given, at once, and return their backends.

        Age, source and freshness are those of the oldest part.

        Raises:
            QRBackendsError: not one of them could be listed.
        """
        await self.instances(deadline)
        asked = self.scopes if instance is None else (self._named(instance),)

        async def ask(scope: Scope) -> Fetched[BackendsResponse] | QRBackendsError:
            try:
                return await self._ask(request, scope, deadline=deadline, refresh=refresh, max_age=max_age)
            except QRBackendsError as error:
                return error

        return _merged(await answers(asked, ask, _AT_ONCE))

    async def aclose(self) -> None:
        """Stop asking."""
        await self._flights.aclose()

    def _named(self, instance: Instance | str) -> Scope:
        """Return the account's instance of this CRN, or of this name where they were looked up."""
        crn = instance.crn if isinstance(instance, Instance) else instance
        if crn in self._known:
            return self._known[crn]
        for found in self._discovered:
            if found.name == crn:
                return self._scopes.of(found.instance)
        raise AccountError(f"{crn!r:.200} is none of the account's instances")

    def _adopt(self, found: Sequence[ServiceInstance]) -> None:
        """Take the instances that were looked up."""
        if found is not self._discovered:
            self._discovered = found
            self._known = {one.instance.crn: self._scopes.of(one.instance) for one in found}
            self._draw_routes()

    def _draw_routes(self) -> None:
        self._routes = {
            name: scope for scope in reversed(self.scopes) for name in self._names.get(scope.crn, ())
        }
        self._only = self.scopes[0] if len(self._known) == 1 else None

    async def _listing(self, backend_id: str, until: float) -> Scope:
        """Ask all instances for their lists, and return the first, in the account's order, with the backend.

        A backend is in one region: once a list has it, no other region's is waited for. Callers share the
        lists that are under way. A list that takes longer than `until` is not waited for.
        """
        scopes = self.scopes  # which may be others in a moment
        tasks = self._begin_lists()
        pending = {tasks[scope.crn] for scope in scopes}
        with anyio.CancelScope(deadline=until):
            while pending:
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for scope in scopes:
                    before = _before(scopes, scope)
                    if _lists(tasks[scope.crn], backend_id) and all(tasks[one.crn].done() for one in before):
                        return scope
        listing = [scope for scope in scopes if _lists(tasks[scope.crn], backend_id)]
        if listing:
            return listing[0]
        raise _absence(backend_id, [(scope, tasks[scope.crn]) for scope in scopes])

    def _begin_lists(self) -> dict[str, asyncio.Task[Fetched[BackendsResponse]]]:
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
            self._lists = {}  # whole lists are the cache's to keep

    async def _list_in_background(self, scope: Scope, _: Flight[Any]) -> Fetched[BackendsResponse]:
        return await self._ask(_LIST, scope)

    async def _ask(self, request: Request, scope: Scope, **how: Any) -> Fetched[BackendsResponse]:
        listed = await self._fetch(request, scope, **how)
        names = frozenset(device.name for device in listed.value.devices)
        if names != self._names.get(scope.crn):
            self._names[scope.crn] = names
            self._draw_routes()
        return listed


def _before(scopes: Sequence[Scope], scope: Scope) -> Iterator[Scope]:
    """Yield the instances of the same region that go before this one."""
    earlier = takewhile(lambda one: one is not scope, scopes)
    return (one for one in earlier if one.region == scope.region)


def _lists(task: asyncio.Task[Fetched[BackendsResponse]], backend_id: str) -> bool:
    """Return whether an instance's list has come and has the backend.

    Raises:
        QRBackendsError: it failed for a reason that is the account's or the client's.
    """
    if not task.done():
        return False
    try:
        return any(device.name == backend_id for device in outcome(task).value.devices)
    except QRBackendsError as error:
        if error.final:
            raise
        return False


def _absence(
    backend_id: str, asked: Sequence[tuple[Scope, asyncio.Task[Fetched[BackendsResponse]]]]
) -> QRBackendsError:
    """Return the error for a backend that no list has: not found, or perhaps in a list that did not come."""
    errors: list[QRBackendsError] = []
    for scope, task in asked:
        try:
            if not task.done():
                raise Timeout("its list takes too long").about(region=scope.region)
            listed = outcome(task)
            if listed.source == "stale":  # it may have come since
                raise QRBackendsError(f"its list is {listed.age:.0f} s old").about(region=scope.region)
        except QRBackendsError as error:
            errors.append(error)
    if not errors:
        return NotFound("no instance of the account lists this backend", 404).about(backend=backend_id)
    return InstanceUnavailable(
        "whether an instance that could not be listed has this backend is not known: "
        + "; ".join(map(str, errors)),
        errors,
    ).about(backend=backend_id)


def _merged(listings: Sequence[Fetched[BackendsResponse] | QRBackendsError]) -> Fetched[BackendList]:
    errors = [one for one in listings if isinstance(one, QRBackendsError)]
    listed = [one for one in listings if not isinstance(one, QRBackendsError)]
    if not listed:
        raise _common(errors)
    oldest = max(listed, key=lambda one: one.age)
    backends = chain.from_iterable(one.value.devices for one in listed)
    return Fetched(BackendList(backends, errors), oldest.age, oldest.source, oldest.fresh_for)


def _common(errors: Sequence[QRBackendsError]) -> QRBackendsError:
    """Return what to raise when every instance failed: their common error, or that all are unavailable."""
    if len({type(error) for error in errors}) == 1:
        return errors[0]
    return InstanceUnavailable(
        "no instance could be listed: " + "; ".join(str(error) for error in errors), errors
    )
