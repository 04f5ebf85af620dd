"""The five requests of the Backends API as values. No I/O.

A `Request` knows its path, its query and the type of its answer. It is frozen and hashable, so that it can be
a part of a cache key.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias, cast
from urllib.parse import parse_qsl, quote, unquote, urlencode

from msgspec import Struct
from msgspec.structs import force_setattr

from ..errors import InvalidRequest
from ..messages.suggestions import suggested
from ..models import (
    ABackend,
    Backend,
    BackendConfiguration,
    BackendDefaults,
    BackendList,
    BackendProperties,
    BackendsResponse,
    BackendStatus,
    name_of,
)

API_VERSION: Final = "2026-04-15"
"""The `IBM-API-Version` that the official client sends, and whose contract the structs follow."""

LIST_FIELDS: Final = ("wait_time_seconds",)
"""The optional fields of the list that the service is known to have."""

Resource: TypeAlias = Literal["backends", "configuration", "properties", "status", "defaults"]
DocumentResource: TypeAlias = Literal["configuration", "properties", "status", "defaults"]

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    A = TypeVar("A", default=Any)  # a bare `Request` is one whose answer may be of any type
else:
    from typing import TypeVar

    A = TypeVar("A")

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters and lone surrogates
_MAX_ID = 500
_MAX_CALIBRATION_ID = 100


NAMED: Final = ("configuration", "properties")
"""The resources whose documents carry their backend's name."""

ANSWER_TYPES: Final[dict[str, type[Any]]] = {
    "backends": BackendsResponse,
    "configuration": BackendConfiguration,
    "properties": BackendProperties,
    "status": BackendStatus,
    "defaults": BackendDefaults,
}
"""The struct of each resource's answer."""


_UNUSED: Final[dict[str, tuple[str, ...]]] = {
    "backends": ("backend", "calibration_id", "updated_before"),
    "configuration": ("fields", "include_mocks", "updated_before"),
    "properties": ("fields", "include_mocks"),
    "status": ("fields", "include_mocks", "calibration_id", "updated_before"),
    "defaults": ("fields", "include_mocks", "calibration_id", "updated_before"),
}
"""The fields of a `Request` that a resource does not take."""


class Request(Struct, Generic[A], frozen=True, dict=True, cache_hash=True):
    """One request to the Backends API.

    `Request.properties("ibm_boston")`, and the like for each resource, also say what type the answer has.
    Requests are equal if they ask for the same: instants are converted to UTC, and `fields` is sorted.

    Args:
        resource: the kind of document.
        backend: the backend's name, or its entry in the list, of which only the name counts; None for
            `backends` only.
        calibration_id: a named variant of the backend; for `configuration` and `properties`.
        updated_before: an instant: ask for the newest calibration before it; for `properties`.
        fields: the optional fields that the answer shall contain, such as `wait_time_seconds`; for
            `backends`.
        include_mocks: whether to list mock devices, too, which imitate a quantum computer; for `backends`.

    Raises:
        InvalidRequest: an argument is malformed, or the resource does not take it.
    """

    resource: Resource
    backend: str | None = None
    calibration_id: str | None = None
    updated_before: datetime | None = None
    fields: Sequence[str] = ()
    include_mocks: bool = False

    if TYPE_CHECKING:

        def __init__(
            self: "Request[Any]",
            resource: Resource,
            backend: ABackend | None = None,
            calibration_id: str | None = None,
            updated_before: datetime | None = None,
            fields: Sequence[str] = (),
            include_mocks: bool = False,
        ) -> None: ...

    def __post_init__(self) -> None:
        if not isinstance(self.resource, str) or self.resource not in ANSWER_TYPES:
            raise InvalidRequest(unknown_resource(self.resource))
        if self.fields != ():
            force_setattr(self, "fields", _field_names(self.fields))
        for name in _UNUSED[self.resource]:
            if getattr(self, name) not in (None, (), False):
                raise InvalidRequest(f"{self.resource} takes no {name}")
        if not isinstance(self.include_mocks, bool):  # any other value would be a second key of one answer
            raise InvalidRequest("include_mocks has to be True or False")
        if self.resource != "backends":
            force_setattr(self, "backend", checked_name(self.backend))
        if self.calibration_id is not None:
            _check_text("a calibration_id", self.calibration_id, _MAX_CALIBRATION_ID)
        if self.updated_before is not None:
            force_setattr(self, "updated_before", _instant(self.updated_before))

    @staticmethod
    def backends(*, fields: Sequence[str] = (), include_mocks: bool = False) -> "Request[BackendList]":
        """Return the request for the list of backends."""
        return Request("backends", fields=fields, include_mocks=include_mocks)

    @staticmethod
    def configuration(
        backend: ABackend, *, calibration_id: str | None = None
    ) -> "Request[BackendConfiguration]":
        """Return the request for a backend's configuration."""
        return Request("configuration", backend, calibration_id)

    @staticmethod
    def properties(
        backend: ABackend, *, calibration_id: str | None = None, updated_before: datetime | None = None
    ) -> "Request[BackendProperties]":
        """Return the request for a backend's calibrated properties."""
        return Request("properties", backend, calibration_id, updated_before)

    @staticmethod
    def status(backend: ABackend) -> "Request[BackendStatus]":
        """Return the request for a backend's status."""
        return Request("status", backend)

    @staticmethod
    def defaults(backend: ABackend) -> "Request[BackendDefaults]":
        """Return the request for a backend's pulse-level defaults."""
        return Request("defaults", backend)

    @cached_property
    def target(self) -> str:
        """Path and query after the base address, percent-encoded; the backend's name is one segment."""
        if self.backend is None:
            path = "/backends"
        else:
            path = f"/backends/{quote(self.backend, safe='')}/{self.resource}"
        query = self.query
        return f"{path}?{urlencode(query, quote_via=quote)}" if query else path

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the query, not encoded."""
        query = {}
        if self.fields:
            query["fields"] = ",".join(self.fields)
        if self.include_mocks:
            query["include_mocks"] = "True"  # as the official client spells it
        if self.calibration_id is not None:
            query["calibration_id"] = self.calibration_id
        if self.updated_before is not None:
            query["updated_before"] = self.updated_before.isoformat().replace("+00:00", "Z")
        return query

    @property
    def type(self) -> type[Any]:
        """The struct that the service's answer is decoded to; for the list, that of one instance's list."""
        return ANSWER_TYPES[self.resource]


@lru_cache(4096, typed=True)
def cached_request(
    resource: Resource,
    backend: ABackend,
    calibration_id: str | None,
    updated_before: datetime | None,
) -> Request[Any]:
    """Return the `Request` with these arguments, which may be an earlier one.

    To check a name takes as long as a hit in the cache of answers.

    Raises:
        TypeError: an argument cannot be hashed, or is an entry of the list: there are ever new ones of those.
    """
    if isinstance(backend, Backend):
        raise TypeError
    return Request(resource, backend, calibration_id, updated_before)


def unknown_resource(name: object) -> str:
    """Return what is wrong with a name that is none of a resource."""
    return suggested(f"no resource {name!r:.80}; there are {', '.join(ANSWER_TYPES)}", name, ANSWER_TYPES)


def request_of(target: str) -> Request[Any] | None:
    """Return the request that has this `target`, or None if there is none."""
    path, _, query = target.partition("?")
    try:
        parameters = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
        fields = parameters.pop("fields", "")
        before = parameters.pop("updated_before", None)
        calibration_id = parameters.pop("calibration_id", None)
        mocks = parameters.pop("include_mocks", "")
        _, _, *backend = path.split("/")
        request = Request(
            cast("Resource", backend[1] if backend else "backends"),
            unquote(backend[0]) if backend else None,
            calibration_id,
            None if before is None else datetime.fromisoformat(before),
            fields.split(",") if fields else (),
            mocks == "True",
        )
    except (ValueError, IndexError):
        return None
    return request if request.target == target else None


def checked_name(backend: Any) -> str:
    """Return the name of a backend.

    Raises:
        InvalidRequest: it can be no backend's name.
    """
    name = name_of(backend)
    _check_text("a backend's name", name, _MAX_ID)
    if name in (".", ".."):  # URL parsers read even %2e%2e as the parent
        raise InvalidRequest(f"{name!r} cannot be a backend's name")
    return name


def _check_text(what: str, text: str | None, limit: int) -> None:
    if text is None:
        raise InvalidRequest("which backend? give its name")
    if not isinstance(text, str):
        raise InvalidRequest(f"{what} has to be text, not {type(text).__name__}")
    if not 1 <= len(text) <= limit:
        raise InvalidRequest(f"{what} has 1 to {limit} characters, not {len(text)}")
    if not (text.isascii() and text.isprintable()) and _UNPRINTABLE.search(text):
        raise InvalidRequest(f"{what} cannot hold control characters or lone surrogates")


def _instant(when: datetime) -> datetime:
    if not isinstance(when, datetime):
        raise InvalidRequest(f"updated_before has to be a datetime, not {type(when).__name__}")
    if when.utcoffset() is None:
        raise InvalidRequest(
            "updated_before has no time zone; say which instant is meant, "
            "such as datetime.now(UTC) or when.astimezone()"
        )
    try:
        return when.astimezone(UTC)
    except OverflowError:
        raise InvalidRequest("updated_before is out of range") from None


def _field_names(fields: Iterable[str] | None) -> tuple[str, ...]:
    names = () if fields is None else tuple(fields) if isinstance(fields, Iterable) else (fields,)
    well_formed = all(isinstance(name, str) and name.isidentifier() and name.isascii() for name in names)
    if not well_formed or isinstance(fields, str):
        raise InvalidRequest("fields has to be a list of names, such as ['wait_time_seconds']")
    return tuple(sorted(set(names)))
