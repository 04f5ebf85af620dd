"""The reading of one answer's data, through the client and its cache."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

from ..cache.entry import Fetched
from ..cache.policy import is_settled
from ..client import Client
from ..errors import NotFound, QRBackendsError, UnknownBackend
from ..models import Backend, BackendConfiguration, BackendList, BackendProperties, BackendStatus
from ..protocol.requests import Request

A = TypeVar("A")

_LIST = Request.backends()
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
        """Whether an emulator sent any of it, and not IBM's service; None as long as nothing was read."""
        self._age: float | None = None
        self._stale = False
        self._errors: tuple[str, ...] = ()

    async def fetch(self, request: Request[A], **options: Any) -> Fetched[A]:
        """Return the answer to a request, as `Client.fetch` does."""
        found = await self.client.fetch(request, **options)
        age = 0.0 if is_settled(request, datetime.now(UTC)) else found.age  # what cannot change gets no older
        self._age = max(self._age or 0.0, age)
        self._stale = self._stale or found.source == "stale"
        document: Any = found.value
        self.emulated = self.emulated or document.emulated
        if isinstance(document, BackendList):
            self._errors = _some(document.errors)
        return found

    async def backends(self) -> BackendList:
        """Return the list of backends."""
        return (await self.fetch(_LIST)).value

    async def entry(self, backend_id: str) -> Backend | None:
        """Return a backend's entry in the list; None if there is none, or no list."""
        try:
            return (await self.backends())[backend_id]
        except UnknownBackend:
            return None
        except QRBackendsError as error:
            self._errors = (str(error),)
            return None

    async def configuration(self, backend_id: str) -> BackendConfiguration:
        """Return a backend's configuration."""
        return (await self.fetch(Request.configuration(backend_id))).value

    async def properties(self, backend_id: str, **options: Any) -> BackendProperties:
        """Return a backend's newest calibration, or that of the options of a `Request`."""
        return (await self.fetch(Request.properties(backend_id, **options))).value

    async def properties_if_any(self, backend_id: str) -> BackendProperties | None:
        """Return a backend's newest calibration; None if it has none, as simulators."""
        try:
            return await self.properties(backend_id)
        except NotFound:
            return None

    async def status(self, backend_id: str) -> BackendStatus:
        """Return a backend's status."""
        return (await self.fetch(Request.status(backend_id))).value

    async def find_origin(self) -> None:
        """Find out whether an emulator answers, if nothing was read that says so: for an error."""
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
