"""Which instance has which backend."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from itertools import chain, takewhile
from math import inf
from typing import Any

import anyio

from ..accounts.account import Account, Instance
from ..cache.cache import Fetched
from ..errors import (
    AccountError,
    ClientClosed,
    InstanceUnavailable,
    NotFound,
    QRBackendsError,
    Timeout,
    WrongEventLoop,
)
from ..models import BackendList, BackendsResponse
from ..protocol.requests import Request
from ..service.discovery import ServiceInstance
from ..tasks.flight import Flights, outcome

Fetch = Callable[..., Awaitable[Fetched[BackendsResponse]]]
"""`Cache.fetch`, or what stands in for it: request, instance, deadline, `refresh=` and `max_age=`."""

Discover = Callable[[float | None], Awaitable[Sequence[ServiceInstance]]]
"""`Discovery.instances`."""

_LIST = Request("backends")


class Routes:
    """The last known list of each instance, however old, and who asks for a new one.

    Args:
        account: whose instances, in order of preference.
        fetch: asks one instance.
        discover: looks up the instances of an account that names none.
        moved: called when a backend may have to be asked for elsewhere than before.
    """

    def __init__(
        self,
        account: Account,
        fetch: Fetch,
        discover: Discover | None = None,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self._instances = tuple(account.instances)
        self._discover = discover if not account.instances else None
        self._found: Sequence[ServiceInstance] = ()
        self._fetch = fetch
        self._moved = moved
        self._known: dict[str, frozenset[str]] = {}  # by CRN
        self._flights: Flights[Fetched[BackendsResponse]] = Flights()
        self._lists: dict[str, asyncio.Task[Fetched[BackendsResponse]]] = {}  # by CRN

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The instances, as far as they are known: in order of preference."""
        return self._instances

    async def ready(self, deadline: float | None = None) -> None:
        """Know the instances; those of an account that names none are looked up first.

        Raises:
            QRBackendsError: they cannot be.
        """
        if self._discover is None:
            return
        found = await self._discover(deadline)
        if found is not self._found:
            self._found = found
            self._instances = tuple(one.instance for one in found)
            self._moved()

    def named(self, instance: Instance | str) -> Instance:
        """Return the account's instance of this CRN, or of this name where they were looked up.

        Raises:
            AccountError: it is none of the account's.
        """
        crn = instance.crn if isinstance(instance, Instance) else instance
        for own in self._instances:
            if own.crn == crn:
                return own
        for known in self._found:
            if known.name == crn:
                return known.instance
        raise AccountError(f"{crn!r:.200} is none of the account's instances")

    async def list(
        self,
        request: Request,
        instance: Instance | None = None,
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
        asked = self._instances if instance is None else (instance,)
        answers: dict[str, Fetched[BackendsResponse] | QRBackendsError] = {}

        async def ask(one: Instance) -> None:
            try:
                answers[one.crn] = await self._ask(request, one, deadline, refresh, max_age)
            except QRBackendsError as error:
                answers[one.crn] = error

        async with anyio.create_task_group() as group:
            for one in asked:
                group.start_soon(ask, one)
        return _merged([answers[one.crn] for one in asked])

    def known(self, backend_id: str) -> Instance | None:
        """Return the first instance whose last known list has the backend, or None.

        An account's only instance is taken at once: the service itself says whether it has the backend.
        """
        if len(self._instances) == 1:
            return self._instances[0]
        for instance in self._instances:
            if backend_id in self._known.get(instance.crn, ()):
                return instance
        return None

    async def find(self, backend_id: str, until: float = inf) -> Instance:
        """Ask all instances for their lists, and return the first, in the account's order, with the backend.

        A backend is in one region: once a list has it, no other region's is waited for. Callers share the
        lists that are under way. One that takes too long stands in nobody's way for longer than `until`, in
        the event loop's time.

        Raises:
            NotFound: no instance lists it.
            InstanceUnavailable: no instance that could be listed has it, but not all could be.
        """
        instances = self._instances  # which may be others in a moment
        tasks = self._round()
        pending = {tasks[instance.crn] for instance in instances}
        with anyio.CancelScope(deadline=until):
            while pending:
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                listing = [one for one in instances if _lists(tasks[one.crn], backend_id)]
                for instance in listing:
                    if all(tasks[one.crn].done() for one in _before(instances, instance)):
                        return instance
        listing = [one for one in instances if _lists(tasks[one.crn], backend_id)]
        if listing:
            return listing[0]
        raise _absence(backend_id, [(one, tasks[one.crn]) for one in instances])

    async def aclose(self) -> None:
        """Stop asking."""
        await self._flights.aclose()

    def _round(self) -> dict[str, asyncio.Task[Fetched[BackendsResponse]]]:
        """Return each instance's list that is under way, or was fetched since the slowest one began."""
        if all(task.done() for task in self._lists.values()):
            self._lists = {}
        for one in self._instances:
            task = self._lists.get(one.crn)
            if task is None or _failed(task):
                task = self._lists[one.crn] = self._flights.begin(one.crn, partial(self._ask, _LIST, one))
                task.add_done_callback(self._landed)
        return dict(self._lists)

    def _landed(self, _: object) -> None:
        if all(task.done() for task in self._lists.values()):
            self._lists = {}  # whole lists are the cache's to keep

    async def _ask(
        self,
        request: Request,
        instance: Instance,
        deadline: float | None = None,
        refresh: bool = False,
        max_age: float | None = None,
    ) -> Fetched[BackendsResponse]:
        listed = await self._fetch(request, instance, deadline, refresh=refresh, max_age=max_age)
        known = frozenset(device.name for device in listed.value.devices)
        if known != self._known.get(instance.crn):
            self._known[instance.crn] = known
            self._moved()
        return listed


def _before(instances: Sequence[Instance], instance: Instance) -> Iterator[Instance]:
    """Yield the instances of the same region that go before this one."""
    earlier = takewhile(lambda one: one is not instance, instances)
    return (one for one in earlier if one.region == instance.region)


def _lists(task: asyncio.Task[Fetched[BackendsResponse]], backend_id: str) -> bool:
    """Return whether an instance's list has come and has the backend.

    Raises:
        QRBackendsError: it failed for a reason that is the account's or the client's.
    """
    if not task.done():
        return False
    try:
        return any(device.name == backend_id for device in outcome(task).value.devices)
    except (AccountError, ClientClosed, WrongEventLoop):
        raise
    except QRBackendsError:
        return False


def _absence(
    backend_id: str, asked: Sequence[tuple[Instance, asyncio.Task[Fetched[BackendsResponse]]]]
) -> QRBackendsError:
    """Return the error for a backend that no list has: not found, or perhaps in a list that did not come."""
    errors: list[QRBackendsError] = []
    for instance, task in asked:
        try:
            if not task.done():
                raise Timeout("its list takes too long").about(region=instance.region)
            listed = outcome(task)
            if listed.source == "stale":  # it may have come since
                raise QRBackendsError(f"its list is {listed.age:.0f} s old").about(region=instance.region)
        except QRBackendsError as error:
            errors.append(error)
    if not errors:
        return NotFound("no instance of the account lists this backend", 404).about(backend=backend_id)
    return InstanceUnavailable(
        "whether an instance that could not be listed has this backend is not known: "
        + "; ".join(map(str, errors)),
        errors,
    ).about(backend=backend_id)


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _merged(answers: Sequence[Fetched[BackendsResponse] | QRBackendsError]) -> Fetched[BackendList]:
    errors = [answer for answer in answers if isinstance(answer, QRBackendsError)]
    listed = [answer for answer in answers if not isinstance(answer, QRBackendsError)]
    if not listed:
        raise _common(errors)
    oldest = max(listed, key=lambda answer: answer.age)
    backends = chain.from_iterable(answer.value.devices for answer in listed)
    return Fetched(BackendList(backends, errors), oldest.age, oldest.source, oldest.fresh_for)


def _common(errors: Sequence[QRBackendsError]) -> QRBackendsError:
    """Return what to raise when every instance failed: their common error, or that all are unavailable."""
    if len({type(error) for error in errors}) == 1:
        return errors[0]
    return InstanceUnavailable(
        "no instance could be listed: " + "; ".join(str(error) for error in errors), errors
    )
