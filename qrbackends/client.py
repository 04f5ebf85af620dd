"""The object that people hold."""

import os
import warnings
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

import anyio
from msgspec import Struct

from .account import Account, Instance
from .api import API_VERSION, Request
from .auth import Tokens
from .errors import QRBackendsError
from .models import BackendConfiguration, BackendDefaults, BackendList, BackendProperties, BackendStatus
from .origin import Origin
from .pool import Limits, SessionPool
from .routes import Routes
from .saved import load_account

T = TypeVar("T")


class Fetched(Struct, Generic[T], frozen=True):
    """An answer, and where it came from.

    Attributes:
        value: the answer.
        age: seconds since the service gave it.
        source: `origin` for the service itself.
    """

    value: T
    age: float
    source: Literal["origin"]


class Client:
    """Reads the backends of an account's instances, over all their regions at once.

    Every method raises `QRBackendsError`; `errors.py` draws the tree. A backend is looked up in its
    instance by the lists, which are fetched once; `instance=` (an `Instance` or a CRN of the account)
    picks one where several have it, and otherwise the first in the account's order is asked.

    Args:
        account: credentials and instances.
        limits: what a call and a region may take.
        allow_http: whether credentials may go over plain http to hosts other than this machine.
        api_version: the `IBM-API-Version` to ask for, a date.

    Raises:
        AccountError: the account names no instance.
    """

    def __init__(
        self,
        account: Account,
        *,
        limits: Limits | None = None,
        allow_http: bool = False,
        api_version: str = API_VERSION,
    ) -> None:
        if not account.verify:
            warnings.warn("TLS certificates are not verified for this account", stacklevel=2)
        self._pool = SessionPool(limits, allow_http=allow_http)
        self._tokens = Tokens(account, self._pool)
        self._origin = Origin(account, self._pool, self._tokens, api_version)
        self._routes = Routes(account, self._origin.fetch)

    @classmethod
    def from_account(
        cls,
        name: str | None = None,
        path: str | os.PathLike[str] | None = None,
        *,
        limits: Limits | None = None,
        allow_http: bool = False,
        api_version: str = API_VERSION,
    ) -> Self:
        """Return a client for a saved account, or for the one in the environment.

        Args:
            name: a saved account's name. Left out, `QISKIT_IBM_TOKEN` and `QISKIT_IBM_INSTANCE` are
                used where they are set (unless `path` is given), then the file's default account.
            path: the file of saved accounts; left out, the official client's `~/.qiskit/qiskit-ibm.json`.
            limits: as for `Client`.
            allow_http: as for `Client`.
            api_version: as for `Client`.

        Raises:
            AccountError: there is no such account, or it is incomplete.
        """
        account = load_account(name, path)
        return cls(account, limits=limits, allow_http=allow_http, api_version=api_version)

    async def backends(
        self, *, fields: Sequence[str] = (), instance: Instance | str | None = None
    ) -> BackendList:
        """Return every backend of every instance, asked concurrently.

        An instance that cannot be listed does not hide the others' backends: it is in `.errors`. Only if
        none can be listed is an error raised.

        Args:
            fields: optional fields to send; the service knows `wait_time_seconds`.
            instance: ask this one only.
        """
        listed: BackendList = await self._value(Request("backends", fields=fields), instance)
        return listed

    async def configuration(
        self, backend_id: str, *, calibration_id: str | None = None, instance: Instance | str | None = None
    ) -> BackendConfiguration:
        """Return what a backend can do: gates, couplings, limits and timing.

        Args:
            backend_id: the backend's name.
            calibration_id: a named variant of the backend.
            instance: ask this one.
        """
        request = Request("configuration", backend_id, calibration_id)
        configuration: BackendConfiguration = await self._value(request, instance)
        return configuration

    async def properties(
        self,
        backend_id: str,
        *,
        calibration_id: str | None = None,
        updated_before: datetime | None = None,
        instance: Instance | str | None = None,
    ) -> BackendProperties:
        """Return a backend's calibrated properties: the newest, or the newest before an instant.

        Args:
            backend_id: the backend's name.
            calibration_id: a named variant of the backend.
            updated_before: an instant, with a time zone.
            instance: ask this one.
        """
        request = Request("properties", backend_id, calibration_id, updated_before)
        properties: BackendProperties = await self._value(request, instance)
        return properties

    async def status(self, backend_id: str, *, instance: Instance | str | None = None) -> BackendStatus:
        """Return whether a backend is operational now, and how many jobs wait for it."""
        status: BackendStatus = await self._value(Request("status", backend_id), instance)
        return status

    async def defaults(self, backend_id: str, *, instance: Instance | str | None = None) -> BackendDefaults:
        """Return a backend's pulse-level defaults; most backends have none any more (`NotFound`)."""
        defaults: BackendDefaults = await self._value(Request("defaults", backend_id), instance)
        return defaults

    async def fetch(self, request: Request, *, instance: Instance | str | None = None) -> Fetched[Any]:
        """Return the answer to any request, with its age and source.

        The value is a `request.type`; for the list, a `BackendList` over all instances.
        """
        own = None if instance is None else self._routes.named(instance)
        if request.resource == "backends":
            return Fetched(await self._routes.list(request, own), 0.0, "origin")
        deadline = self._pool.deadline()
        if own is None:
            backend_id = request.backend_id or ""
            own = self._routes.known(backend_id) or await self._find(backend_id, deadline)
        return Fetched(await self._origin.fetch(request, own, deadline), 0.0, "origin")

    async def _find(self, backend_id: str, deadline: float) -> Instance:
        now = anyio.current_time()
        try:
            with self._pool.call(deadline):
                # Half of the time at most: the rest is for the question itself.
                return await self._routes.find(backend_id, now + (deadline - now) / 2)
        except QRBackendsError as error:
            error.about(backend=backend_id)
            raise

    async def _value(self, request: Request, instance: Instance | str | None) -> Any:
        return (await self.fetch(request, instance=instance)).value

    async def aclose(self) -> None:
        """Close every connection; calls that are under way end with `ClientClosed`.

        Raises:
            WrongEventLoop: the client belongs to another event loop.
        """
        self._pool.check_loop()
        async with AsyncExitStack() as stack:  # the later ones are closed even if this is cancelled
            stack.push_async_callback(self._pool.aclose)
            stack.push_async_callback(self._tokens.aclose)
            stack.push_async_callback(self._routes.aclose)

    async def __aenter__(self) -> Self:
        self._pool.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
