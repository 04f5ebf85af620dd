"""The five requests of the Backends API as values, and their answers as structs or errors. No I/O.

A `Request` says *what is asked*: it knows its path, its query and the type of its answer, and it is frozen
and hashable, so that the same value can say what is cached. `parse` turns an answer's status, headers and
body into the struct, or raises what went wrong.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, Final, Literal, NoReturn, TypeAlias, cast
from urllib.parse import parse_qsl, quote, unquote, urlencode

import msgspec
from msgspec import Struct
from msgspec.structs import force_setattr

from .._version import __version__
from ..accounts.account import Secret
from ..errors import (
    BadRequest,
    Conflict,
    DecodeError,
    Forbidden,
    InvalidRequest,
    Locked,
    NotFound,
    RateLimited,
    RedirectRefused,
    ResponseError,
    ServerError,
    ServiceUnavailable,
    Unauthorized,
)
from ..models import (
    BackendConfiguration,
    BackendDefaults,
    BackendProperties,
    BackendsResponse,
    BackendStatus,
)

API_VERSION: Final = "2026-04-15"
"""The `IBM-API-Version` that the official client sends, and that these structs were written against."""

USER_AGENT: Final = f"qrbackends/{__version__}"

Resource: TypeAlias = Literal["backends", "configuration", "properties", "status", "defaults"]

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters and lone surrogates
_MAX_ID = 500
_MAX_CALIBRATION_ID = 100
_MAX_TEXT = 200  # how much of an offending body an error shows
_MAX_RETRY_AFTER = 86400.0  # seconds
_MAX_SAID = 1000  # how much of the service's own words an error keeps


class Request(Struct, frozen=True, dict=True):
    """One question to the Backends API. Equal questions are equal values, however they are spelled.

    Args:
        resource: what is asked for.
        backend_id: the backend's name; absent for `backends` only.
        calibration_id: a named variant of the backend; for `configuration` and `properties`.
        updated_before: an instant; the newest calibration before it is asked for; for `properties`.
        fields: optional fields to send; for `backends`: `wait_time_seconds`. Kept as a sorted tuple.

    Raises:
        InvalidRequest: an argument is malformed, or is not one of this resource's.
    """

    resource: Resource
    backend_id: str | None = None
    calibration_id: str | None = None
    updated_before: datetime | None = None
    fields: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.resource, str) or self.resource not in _TYPES:
            raise InvalidRequest(f"no resource {self.resource!r:.80}; there are {', '.join(_TYPES)}")
        if self.fields != ():
            force_setattr(self, "fields", _field_names(self.fields))
        if self.resource == "backends":
            self._refuse("backend_id")
        else:
            _check_id(self.backend_id)
            self._refuse("fields")
        if self.resource not in ("configuration", "properties"):
            self._refuse("calibration_id")
        if self.resource != "properties":
            self._refuse("updated_before")
        if self.calibration_id is not None:
            _check_text("a calibration_id", self.calibration_id, _MAX_CALIBRATION_ID)
        if self.updated_before is not None:
            force_setattr(self, "updated_before", _instant(self.updated_before))

    def _refuse(self, name: str) -> None:
        if getattr(self, name) not in (None, ()):
            raise InvalidRequest(f"{self.resource} takes no {name}")

    @cached_property
    def target(self) -> str:
        """Path and query below the base address, percent-encoded; the id is one segment of it."""
        if self.backend_id is None:
            path = "/backends"
        else:
            path = f"/backends/{quote(self.backend_id, safe='')}/{self.resource}"
        query = urlencode(self.query, quote_via=quote)
        return f"{path}?{query}" if query else path

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, not encoded."""
        query = {}
        if self.fields:
            query["fields"] = ",".join(self.fields)
        if self.calibration_id is not None:
            query["calibration_id"] = self.calibration_id
        if self.updated_before is not None:
            query["updated_before"] = self.updated_before.isoformat().replace("+00:00", "Z")
        return query

    @property
    def type(self) -> type[Any]:
        """The type of the answer."""
        return _TYPES[self.resource]


def request_of(target: str) -> Request | None:
    """Return the request whose `target` this is, or None where it is none's."""
    path, _, query = target.partition("?")
    try:
        parameters = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
        fields = parameters.pop("fields", "")
        before = parameters.pop("updated_before", None)
        calibration_id = parameters.pop("calibration_id", None)
        _, _, *backend = path.split("/")
        request = Request(
            cast("Resource", backend[1] if backend else "backends"),
            unquote(backend[0]) if backend else None,
            calibration_id,
            None if before is None else datetime.fromisoformat(before),
            fields.split(",") if fields else (),
        )
    except (ValueError, IndexError):
        return None
    return request if request.target == target else None


class Headers(dict[str, str]):
    """Headers whose repr, which debuggers and crash reports print, does not show the credential."""

    def __repr__(self) -> str:
        return repr({name: "***" if name == "Authorization" else self[name] for name in self})


def headers(authorization: Secret, crn: str, api_version: str = API_VERSION) -> Headers:
    """Return the headers of a call; `authorization` is the whole value, scheme included."""
    return Headers(
        {
            "Authorization": authorization.reveal(),
            "Service-CRN": crn,
            "IBM-API-Version": api_version,
            "Accept": "application/json",
            "User-Agent": USER_AGENT,
        }
    )


def parse(request: Request, status: int, headers: Mapping[str, str], body: bytes) -> Any:
    """Return the answer to `request` as its struct: `request.type`.

    Args:
        request: what was asked.
        status: the HTTP status.
        headers: the answer's headers; a case-insensitive mapping.
        body: the whole body, decompressed.

    Raises:
        ResponseError: the status is not 200; of the class that belongs to it.
        RedirectRefused: the status is a redirect.
        DecodeError: the body is not UTF-8 JSON, or not of the contract's type; it names the JSON path.
    """
    if status != 200:
        _raise_for(request, status, headers, body)
    try:
        # msgspec skips the text of unknown fields without looking at it.
        if not body.isascii():
            body.decode()
        return _DECODERS[request.resource](body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        problem = _malformed(body) or _misfit(str(error), body)
    except RecursionError:
        problem = DecodeError("the body is nested too deeply", text=_show(body))
    # Raised out here, so that no cause or context of it holds the body.
    raise problem.about(backend=request.backend_id)


def _defaults(body: bytes) -> BackendDefaults:
    return BackendDefaults(_any_object.decode(body))


_any_object = msgspec.json.Decoder(dict[str, Any])

_TYPES: Final[dict[str, type[Any]]] = {
    "backends": BackendsResponse,
    "configuration": BackendConfiguration,
    "properties": BackendProperties,
    "status": BackendStatus,
    "defaults": BackendDefaults,
}

_DECODERS: Final[dict[str, Callable[[bytes], Any]]] = {
    name: _defaults if type_ is BackendDefaults else msgspec.json.Decoder(type_).decode
    for name, type_ in _TYPES.items()
}


def _check_id(backend_id: str | None) -> None:
    if backend_id is None:
        raise InvalidRequest("which backend? give its name")
    _check_text("a backend's name", backend_id, _MAX_ID)
    if backend_id in (".", ".."):
        # Percent-encoding does not help: URL parsers take %2e%2e for a step up.
        raise InvalidRequest(f"{backend_id!r} cannot be a backend's name")


def _check_text(what: str, text: str, limit: int) -> None:
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


# --- answers other than 200


_ERRORS: Final[dict[int, type[ResponseError]]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    423: Locked,
    429: RateLimited,
    503: ServiceUnavailable,
}


def _raise_for(request: Request, status: int, headers: Mapping[str, str], body: bytes) -> NoReturn:
    if 300 <= status < 400:
        raise RedirectRefused(
            f"the service answered with a redirect ({status}), which is not followed: credentials would "
            "go with it; check the instance's address"
        ).about(backend=request.backend_id)
    sent = _object(body)
    listed = sent.get("errors")
    first = listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], dict) else {}
    message = _text(first, "message") or _text(sent, "title") or "the service gave no reason"
    error = error_for(status, f"HTTP {status}: {message}", headers)
    error.title = _text(sent, "title")
    error.code = _text(first, "code")
    error.solution = _text(first, "solution")
    error.more_info = _text(first, "more_info")
    error.trace = _text(sent, "trace")
    error.correlation_id = _text(sent, "correlation_id")
    raise error.about(backend=request.backend_id)


def error_for(status: int, message: str, headers: Mapping[str, str]) -> ResponseError:
    """Return the error of the class that belongs to `status`, with what `Retry-After` says."""
    error_type = _ERRORS.get(status, ServerError if 500 <= status < 600 else ResponseError)
    error = error_type(message, status)
    error.retry_after = retry_after(headers)
    return error


def _object(body: bytes) -> dict[str, Any]:
    """Return the object in an error's body, or an empty one: gateways send HTML, or anything else."""
    try:
        return _any_object.decode(body)
    except (ValueError, RecursionError):
        return {}


def _text(sent: dict[str, Any], name: str) -> str | None:
    """Return a text of an error's body, or None if it is missing or no text."""
    value = sent.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    return printable(value)


def printable(said: str) -> str:
    """Return somebody else's words, fit for terminals and logs: at most 1,000 characters, none that acts."""
    return "".join(char if char.isprintable() else " " for char in said[:_MAX_SAID])


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, or None where there is none to be read.

    Both forms of RFC 9110, section 10.2.3, are known: seconds, and an HTTP date, which is counted from
    the answer's own `Date` where it has one, as the two clocks may differ. More than a day is taken for a
    day.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdecimal():
        return min(float(value), _MAX_RETRY_AFTER)
    until = http_date(value)
    if until is None:
        return None
    since = http_date(headers.get("Date", "")) or datetime.now(UTC)
    return min(max(0.0, (until - since).total_seconds()), _MAX_RETRY_AFTER)


def http_date(text: str) -> datetime | None:
    """Return the instant of an HTTP date, or None where it is none."""
    try:
        when = parsedate_to_datetime(text)
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError):
        return None


# --- bodies that do not decode


def is_json(body: bytes) -> bool:
    """Return whether a body is JSON at all; one that is not was damaged on its way."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except ValueError:
        return False
    except RecursionError:
        pass
    return True


def _malformed(body: bytes) -> DecodeError | None:
    """Return the error of a body that is not JSON at all; None if it is, and has the wrong shape only."""
    try:
        body.decode()
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        problem = str(error)
    except UnicodeDecodeError:
        problem = "it is not UTF-8"
    except RecursionError:
        return None
    else:
        return None
    return DecodeError(f"the body is damaged: {problem}", text=_show(body), malformed=True)


def _misfit(problem: str, body: bytes) -> DecodeError:
    what, _, path = problem.partition(" - at ")
    path = path.strip("`") or "$"
    what, _, field = what.partition(" in ")  # from our own check of open objects
    path = f"{path}.{field}" if field else path
    return DecodeError(f"{what} at {path}", path=path, text=_at(body, path))


def _at(body: bytes, path: str) -> str:
    """Return the text of the value at a JSON path, at most 200 characters of it; empty if not found."""
    value: Any = body
    try:
        for step in _steps(path):
            if isinstance(step, int):
                value = msgspec.json.decode(value, type=list[msgspec.Raw])[step]
            else:
                value = msgspec.json.decode(value, type=dict[str, msgspec.Raw])[step]
        return _show(bytes(value))
    except (ValueError, LookupError, RecursionError):
        return ""


def _steps(path: str) -> list[str | int]:
    """Split msgspec's JSON path, such as `$.qubits[3][0].value`; `[...]`, any key, ends the search."""
    steps: list[str | int] = []
    for part in path.removeprefix("$").removeprefix(".").replace("[", ".[").split("."):
        if part.startswith("[") and part.endswith("]"):
            steps.append(int(part[1:-1]))
        elif part:
            steps.append(part)
    return steps


def _show(body: bytes) -> str:
    return body[: 4 * _MAX_TEXT].decode("utf-8", "replace")[:_MAX_TEXT]
