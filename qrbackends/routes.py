"""Which instance has which backend."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
from msgspec.structs import replace

from .account import Account, Instance
from .api import Request
from .errors import AccountError, InstanceUnavailable, NotFound, QRBackendsError
from .flight import Flights
from .models import Backend, BackendList, BackendsResponse

Fetch = Callable[[Request, Instance], Awaitable[Any]]


class Routes:
    """The last known list of each instance, however old, and who asks for a new one.

    Args:
        account: whose instances, in order of preference.
        fetch: asks one instance.
    """

    def __init__(self, account: Account, fetch: Fetch) -> None:
        if not account.instances:
            raise AccountError("the account names no instance: give Account(instances=[Instance(crn=…)])")
        self._instances = tuple(account.instances)
        self._fetch = fetch
        self._known: dict[str, frozenset[str]] = {}  # by CRN
        self._flights: Flights[BackendList] = Flights()

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
        answers: list[BackendsResponse | QRBackendsError | None] = [None] * len(asked)

        async def ask(place: int) -> None:
            try:
                answers[place] = await self._fetch(request, asked[place])
            except QRBackendsError as error:
                answers[place] = error

        async with anyio.create_task_group() as group:
            for place in range(len(asked)):
                group.start_soon(ask, place)
        return self._merged(asked, answers)

    async def find(self, backend_id: str) -> Instance:
        """Return the first instance, in the account's order, that lists the backend.

        The lists are asked for when the backend is in none that is known.

        Raises:
            NotFound: no instance lists it.
            InstanceUnavailable: no instance that could be listed has it, but not all could be.
        """
        if len(self._instances) == 1:
            return self._instances[0]  # the service itself says whether it has it
        found = self._lookup(backend_id)
        if found is not None:
            return found
        listed = await self._flights.join("lists", lambda: self.list(Request("backends")))
        found = self._lookup(backend_id)
        if found is not None:
            return found
        if listed.errors:
            regions = ", ".join(error.region or "?" for error in listed.errors)
            raise InstanceUnavailable(
                f"an instance could not be listed ({regions}); whether it has this backend is not known",
                listed.errors,
            ).about(backend=backend_id)
        raise NotFound("no instance of the account lists this backend", 404).about(backend=backend_id)

    async def aclose(self) -> None:
        """Stop asking."""
        await self._flights.aclose()

    def _lookup(self, backend_id: str) -> Instance | None:
        for instance in self._instances:
            if backend_id in self._known.get(instance.crn, ()):
                return instance
        return None

    def _merged(
        self, asked: Sequence[Instance], answers: Sequence[BackendsResponse | QRBackendsError | None]
    ) -> BackendList:
        backends: list[Backend] = []
        errors: list[QRBackendsError] = []
        for instance, answer in zip(asked, answers, strict=True):
            if isinstance(answer, BackendsResponse):
                self._known[instance.crn] = frozenset(device.name for device in answer.devices)
                backends += (
                    replace(device, region=instance.region, instance=instance.crn)
                    for device in answer.devices
                )
            elif answer is not None:
                errors.append(answer)
        if len(errors) == len(asked):
            raise _common(errors)
        return BackendList(backends, errors)


def _common(errors: Sequence[QRBackendsError]) -> QRBackendsError:
    """Return what to raise when every instance failed: their common error, or that all are unavailable."""
    if len({type(error) for error in errors}) == 1:
        return errors[0]
    return InstanceUnavailable(
        "no instance could be listed: " + "; ".join(str(error) for error in errors), errors
    )
