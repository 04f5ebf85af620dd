"""Which instance has which backend."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import anyio
from msgspec.structs import replace

from .account import Account, Instance
from .api import Request
from .errors import (
    AccountError,
    ClientClosed,
    InstanceUnavailable,
    NotFound,
    QRBackendsError,
    Timeout,
    WrongEventLoop,
)
from .flight import Flights, outcome
from .models import Backend, BackendList, BackendsResponse

Fetch = Callable[[Request, Instance], Awaitable[Any]]

_LIST = Request("backends")


class Routes:
    """The last known list of each instance, however old, and who asks for a new one.

    Args:
        account: whose instances, in order of preference.
        fetch: asks one instance.
    """

    def __init__(self, account: Account, fetch: Fetch) -> None:
        if not account.instances:
            raise AccountError(
                "the account names no instance: give Account(instances=[Instance(crn=…)]), "
                "or set QISKIT_IBM_INSTANCE to a CRN"
            )
        self._instances = tuple(account.instances)
        self._fetch = fetch
        self._known: dict[str, frozenset[str]] = {}  # by CRN
        self._flights: Flights[BackendsResponse] = Flights()
        self._lists: dict[str, asyncio.Task[BackendsResponse]] = {}  # by CRN

    def named(self, instance: Instance | str) -> Instance:
        """Return the account's instance of this CRN.

        Raises:
            AccountError: it is none of the account's.
        """
        crn = instance.crn if isinstance(instance, Instance) else instance
        for own in self._instances:
            if own.crn == crn:
                return own
        raise AccountError(f"{crn!r:.200} is none of the account's instances")

    async def list(self, request: Request, instance: Instance | None = None) -> BackendList:
        """Ask all instances, or the one given, at once, and return their backends.

        Raises:
            QRBackendsError: not one of them could be listed.
        """
        asked = self._instances if instance is None else (instance,)
        answers: dict[str, BackendsResponse | QRBackendsError] = {}

        async def ask(one: Instance) -> None:
            try:
                answers[one.crn] = await self._ask(request, one)
            except QRBackendsError as error:
                answers[one.crn] = error

        async with anyio.create_task_group() as group:
            for one in asked:
                group.start_soon(ask, one)
        return _merged([(one, answers[one.crn]) for one in asked])

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

    async def find(self, backend_id: str, until: float = float("inf")) -> Instance:
        """Ask all instances for their lists, and return the first, in the account's order, with the backend.

        Callers share the lists that are under way. One that takes too long stands in nobody's way for
        longer than `until`, in the event loop's time.

        Raises:
            NotFound: no instance lists it.
            InstanceUnavailable: no instance that could be listed has it, but not all could be.
        """
        round_of_lists = self._round()
        errors: list[QRBackendsError] = []
        for instance in self._instances:
            task = round_of_lists[instance.crn]
            with anyio.CancelScope(deadline=until):
                await asyncio.wait((task,))
            try:
                if not task.done():
                    raise Timeout("its list takes too long").about(region=instance.region)
                listed = outcome(task)
            except (AccountError, ClientClosed, WrongEventLoop):
                raise
            except QRBackendsError as error:
                errors.append(error)
            else:
                if any(device.name == backend_id for device in listed.devices):
                    return instance
        if errors:
            raise InstanceUnavailable(
                "whether an instance that could not be listed has this backend is not known: "
                + "; ".join(map(str, errors)),
                errors,
            ).about(backend=backend_id)
        raise NotFound("no instance of the account lists this backend", 404).about(backend=backend_id)

    async def aclose(self) -> None:
        """Stop asking."""
        await self._flights.aclose()

    def _round(self) -> dict[str, asyncio.Task[BackendsResponse]]:
        """Return each instance's list that is under way, or was fetched since the slowest one began."""
        if all(task.done() for task in self._lists.values()):
            self._lists = {}
        for one in self._instances:
            task = self._lists.get(one.crn)
            if task is None or _failed(task):
                self._lists[one.crn] = self._flights.begin(one.crn, partial(self._ask, _LIST, one))
        return dict(self._lists)

    async def _ask(self, request: Request, instance: Instance) -> BackendsResponse:
        listed: BackendsResponse = await self._fetch(request, instance)
        self._known[instance.crn] = frozenset(device.name for device in listed.devices)
        return listed


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _merged(answers: Sequence[tuple[Instance, BackendsResponse | QRBackendsError]]) -> BackendList:
    backends: list[Backend] = []
    errors: list[QRBackendsError] = []
    for instance, answer in answers:
        if isinstance(answer, QRBackendsError):
            errors.append(answer)
        else:
            backends += (
                replace(device, region=instance.region, instance=instance.crn) for device in answer.devices
            )
    if len(errors) == len(answers):
        raise _common(errors)
    return BackendList(backends, errors)


def _common(errors: Sequence[QRBackendsError]) -> QRBackendsError:
    """Return what to raise when every instance failed: their common error, or that all are unavailable."""
    if len({type(error) for error in errors}) == 1:
        return errors[0]
    return InstanceUnavailable(
        "no instance could be listed: " + "; ".join(str(error) for error in errors), errors
    )
