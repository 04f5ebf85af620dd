"""The reading of one answer's data, through the client and its cache."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from ..cache.entry import Fetched
from ..cache.policy import is_settled
from ..client import Client
from ..errors import NotFound, QRBackendsError
from ..models import Backend, BackendConfiguration, BackendList, BackendProperties, BackendStatus
from ..protocol.requests import Request

_LIST = Request("backends")
_MOST_ERRORS = 3
_PATIENCE = 2.0  # seconds for a list that tells nothing but whether the data is emulated


class Reading:
    """Reads what one answer needs, and notes the age and the origin of it.

    Args:
        client: the client.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.emulated: bool | None = None
        """Whether an emulator answers, and not IBM's service; None as long as no list is known."""
        self._age: float | None = None
        self._stale = False
        self._errors: tuple[str, ...] = ()

    async def fetch(self, request: Request, **options: Any) -> Fetched[Any]:
        """Return the answer to a request, as `Client.fetch` does."""
        found = await self.client.fetch(request, **options)
        age = 0.0 if is_settled(request, datetime.now(UTC)) else found.age  # what cannot change gets no older
        self._age = max(self._age or 0.0, age)
        self._stale = self._stale or found.source == "stale"
        if isinstance(found.value, BackendList):
            self.emulated = found.value.emulated
            self._errors = _some(found.value.errors)
        return found

    async def backends(self) -> BackendList:
        """Return the list of backends."""
        backends: BackendList = (await self.fetch(_LIST)).value
        return backends

    async def entry(self, backend_id: str) -> Backend | None:
        """Return a backend's entry in the list; None if there is none, or no list."""
        try:
            return next((one for one in await self.backends() if one.name == backend_id), None)
        except QRBackendsError as error:
            self._errors = (str(error),)
            return None

    async def configuration(self, backend_id: str) -> BackendConfiguration:
        """Return a backend's configuration."""
        configuration: BackendConfiguration = (await self.fetch(Request("configuration", backend_id))).value
        return configuration

    async def properties(self, backend_id: str, **options: Any) -> BackendProperties:
        """Return a backend's newest calibration, or that of the options of a `Request`."""
        properties: BackendProperties = (await self.fetch(Request("properties", backend_id, **options))).value
        return properties

    async def properties_if_any(self, backend_id: str) -> BackendProperties | None:
        """Return a backend's newest calibration; None if it has none, as simulators."""
        try:
            return await self.properties(backend_id)
        except NotFound:
            return None

    async def status(self, backend_id: str) -> BackendStatus:
        """Return a backend's status."""
        status: BackendStatus = (await self.fetch(Request("status", backend_id))).value
        return status

    async def find_origin(self) -> None:
        """Find out whether an emulator answers, if no list was read that says so."""
        if self.emulated is None:
            with suppress(QRBackendsError):
                self.emulated = (await self.client.fetch(_LIST, timeout=_PATIENCE)).value.emulated

    def facts(self) -> dict[str, Any]:
        """Return what there is to tell of what was read, as fields of `Answer`."""
        age = None if self._age is None else round(self._age, 1)
        return {"emulated": self.emulated, "age_seconds": age, "stale": self._stale, "errors": self._errors}


def _some(errors: Sequence[QRBackendsError]) -> tuple[str, ...]:
    """Return a few of the errors as texts, and how many more there are."""
    more = len(errors) - _MOST_ERRORS
    return (*map(str, errors[:_MOST_ERRORS]), *([f"and {more} more"] if more > 0 else []))
