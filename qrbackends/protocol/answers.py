"""Answers decoded to structs; error answers become exceptions. No I/O."""

import html
import re
from codecs import getincrementaldecoder
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import msgspec

from ..errors import (
    BadRequest,
    Conflict,
    DecodeError,
    Forbidden,
    Locked,
    NotFound,
    RateLimited,
    RedirectRefused,
    ResponseError,
    ServerError,
    ServiceUnavailable,
    Unauthorized,
    WrongBackend,
)
from ..messages.suggestions import suggested
from ..models import BackendDefaults
from ..models.lenient import FEW, LEAST_LENGTH, decode_leniently
from ..models.size import UNCOUNTED, check_values, has_long_number
from .headers import retry_after
from .lengths import ERROR_BYTES
from .requests import ANSWER_TYPES, LIST_FIELDS, Request

_WITHDRAWN = "the service has withdrawn pulse-level defaults, and most backends have none"
_MAX_TEXT = 200  # characters of a wrong body that an error shows
_PART = 2**20  # bytes
_MAX_MESSAGE = 1000  # characters of the service's message that an error keeps
_MAX_BODY = 16384  # bytes of a body that an error keeps; the service's own have less than 1 kB
_HEAD = 16384  # bytes of a page that may hold its title


def parse(request: Request, status: int, headers: Mapping[str, str], body: bytes) -> Any:
    """Return the answer to `request` as a `request.type`.

    Args:
        request: the request that was sent.
        status: the HTTP status.
        headers: the answer's headers; a case-insensitive mapping.
        body: the whole body, decompressed.

    Raises:
        ResponseError: the status is not 200; its subclass depends on the status.
        RedirectRefused: the status is a redirect.
        NotFound: also if the properties are empty.
        DecodeError: the body is not UTF-8 JSON, or what is required in it is not of the contract's type; the
            error names the JSON path. Other odd parts are left out, and `left_out` of the answer has them.
    """
    if status != 200:
        raise_for(request, status, headers, body)
    if request.resource == "properties" and _NONE.fullmatch(body):
        problem = "the backend has no properties: the service's answer is empty"
        raise NotFound(problem, 404).about(backend=request.backend)
    value, error = _decoded(request, body)
    if error is not None and error.path != "$" and request.type is not BackendDefaults:
        value, error = _without_odd_parts(request, body)
    if error is not None:
        if error.path != "$":
            error.text = _at(body, error.path)
        # Raised outside `except`, so that the error's context does not hold the body.
        raise error.about(backend=request.backend)
    return value


def _decoded(request: Request, body: bytes) -> tuple[Any, DecodeError | None]:
    """Return the value of a body, or the error for it; only one of the wrong type has a path in it."""
    try:
        if len(body) > UNCOUNTED and request.resource != "defaults":  # nothing of those is decoded yet
            check_values(body)
        if not body.isascii():
            _check_utf8(body)  # msgspec does not check it in unknown fields
        return _DECODERS[request.resource](body), None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return None, _malformed(body) or _mismatch(str(error), body)
    except DecodeError as error:
        return None, error.again()
    except RecursionError:
        return None, _too_deep(body)


def _without_odd_parts(request: Request, body: bytes) -> tuple[Any, DecodeError | None]:
    """Return the value of a body that is well-formed JSON, or the error for a required part that is odd."""
    try:
        return decode_leniently(body, request.type), None
    except DecodeError as error:
        return None, error.again()
    except RecursionError:
        return None, _too_deep(body)


def check_backend(request: Request, value: Any) -> None:
    """Check that a decoded document is that of the backend which `request` asks for.

    Configurations and properties carry a name; lists, status and defaults have none by the contract. A
    service may take a name in any case and answer with its own spelling, so case does not count. No service
    is known to answer under another name: recorded calibrations, too, are listed under the one they carry.

    Raises:
        WrongBackend: the document names another backend.
    """
    name, asked = getattr(value, "backend_name", None), request.backend
    if name is None or asked is None or name.casefold() == asked.casefold():
        return
    shown = printable(name)[:_MAX_TEXT]
    raise WrongBackend(f"the answer is about another backend, {shown!r}").about(backend=asked)


def _too_deep(body: bytes) -> DecodeError:
    return DecodeError("the body is nested too deeply", text=_show(body))


def _defaults(body: bytes) -> BackendDefaults:
    _undecoded.decode(body)
    if has_long_number(body):
        raise msgspec.ValidationError("Number out of range")
    return BackendDefaults.of(msgspec.Raw(body))


class _Undecoded(msgspec.Struct):
    """A JSON object whose fields are not decoded."""


_NONE = re.compile(rb"\s*(null|\{\s*\})\s*")  # the properties of a device that has none
_any_object = msgspec.json.Decoder(dict[str, Any])
_undecoded = msgspec.json.Decoder(_Undecoded)

_DECODERS: Final[dict[str, Callable[[bytes], Any]]] = {
    name: _defaults if type_ is BackendDefaults else msgspec.json.Decoder(type_).decode
    for name, type_ in ANSWER_TYPES.items()
}


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


def raise_for(request: Request, status: int, headers: Mapping[str, str], body: bytes) -> NoReturn:
    """Raise the error for an answer with another status than 200; the arguments are those of `parse`."""
    if 300 <= status < 400:
        raise RedirectRefused(
            f"the service answered with a redirect ({status}), which is not followed: credentials would "
            "go with it; check the instance's address"
        ).about(backend=request.backend)
    sent = json_object(body)
    listed = sent.get("errors")
    first = listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], dict) else {}
    message = _text(first, "message") or _text(sent, "title") or _text(sent, "message") or page_title(body)
    own = bool(sent)  # any field may be missing; what may be a refusal is taken for one
    by = "" if own or status != 403 else " from a firewall or gateway in front of the service"
    message = f"HTTP {status}{by}: {message or 'the service gave no reason'}"
    error = error_for(status, message, headers, own=own)
    error.body = body if len(body) <= _MAX_BODY else b""
    error.content_type = headers.get("Content-Type", "")[:_MAX_TEXT]
    error.title = _text(sent, "title")
    error.code = _text(first, "code")
    error.solution = _text(first, "solution")
    error.more_info = _text(first, "more_info")
    error.trace = _text(sent, "trace")
    error.correlation_id = _text(sent, "correlation_id")
    if isinstance(error, NotFound) and (hint := _what_may_be_missing(request)):
        error.message = f"{error.message.rstrip('.')}; {hint}"
    if isinstance(error, BadRequest):
        for field in set(request.fields) - set(LIST_FIELDS):
            error.message = suggested(error.message, field, LIST_FIELDS)
    raise error.about(backend=request.backend)


def _what_may_be_missing(request: Request) -> str:
    """Return what a 404 may be about, other than the backend's name."""
    if request.resource == "defaults":
        return _WITHDRAWN
    parts = []
    if request.calibration_id is not None:
        parts.append(f"the variant {request.calibration_id!r}")
    if request.updated_before is not None:
        parts.append(f"a calibration before {request.updated_before:%Y-%m-%dT%H:%M:%SZ}")
    return f"asked for {' and '.join(parts)}" if parts else ""


def error_for(status: int, message: str, headers: Mapping[str, str], *, own: bool = True) -> ResponseError:
    """Return an error of the class for `status`, with the seconds of `Retry-After`.

    Args:
        status: the HTTP status.
        message: the error's message.
        headers: the answer's headers.
        own: whether the body is a JSON object, as the service's are. Any other 403 is of a firewall or
            gateway in front of it, and an outage.
    """
    error_type = _ERRORS.get(status, ServerError if 500 <= status < 600 else ResponseError)
    error = error_type(message, status)
    error.retry_after = retry_after(headers)
    if isinstance(error, Forbidden):
        error.outage = not own
    return error


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in an error's body, or an empty one: gateways send HTML or anything else.

    Of a body that is too long, or was cut, it holds what was received completely.
    """
    for read in (bytes, _completed):
        try:
            return _any_object.decode(read(body[:ERROR_BYTES]))
        except (ValueError, RecursionError):
            pass
    return {}


def page_title(body: bytes) -> str | None:
    """Return the title of an HTML page, fit for a terminal; None if the body has none."""
    head = body[:_HEAD]
    lower = head.lower()
    tag = lower.find(b"<title")
    begin = lower.find(b">", tag) + 1
    end = lower.find(b"</title", begin)
    if min(tag, begin - 1, end) < 0:
        return None
    text = html.unescape(head[begin:end][:_MAX_MESSAGE].decode("utf-8", "replace"))
    return " ".join(printable(text).split())[:_MAX_TEXT] or None


def _completed(body: bytes) -> bytes:
    """Return the values that a cut body has whole, as well-formed JSON."""
    closing = bytearray()
    end = depth = 0
    for found in _TOKENS.finditer(body):
        token = found[0]
        if token in (b"{", b"["):
            closing += _CLOSING[token]
        elif token == b",":
            end, depth = found.start(), len(closing)
        elif token in (b"}", b"]") and closing:
            closing.pop()
            end, depth = found.end(), len(closing)
    return body[:end] + closing[:depth][::-1]


# An unfinished string is one token, too.
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{},]', re.DOTALL)
_CLOSING: Final = {b"{": b"}", b"[": b"]"}


def _text(sent: dict[str, Any], name: str) -> str | None:
    """Return a field of an error's body as text; None if it is missing, or neither text nor a number."""
    value = sent.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    return printable(value)


def printable(text: str) -> str:
    """Return a text of the service, safe for terminals and logs: cut, and without control characters."""
    return "".join(char if char.isprintable() else " " for char in text[:_MAX_MESSAGE])


# --- bodies that do not decode


def is_json(body: bytes) -> bool:
    """Return whether a body is well-formed JSON, but for NaN; otherwise it was damaged in transfer."""
    found = _malformed(body)
    return found is None or not found.malformed


def _check_utf8(body: bytes) -> None:
    """Raise `UnicodeDecodeError` for a body that is not UTF-8; as text it would take 4 times its length."""
    decoder = getincrementaldecoder("utf-8")()
    for start in range(0, len(body), _PART):
        decoder.decode(body[start : start + _PART])
    decoder.decode(b"", final=True)


def _malformed(body: bytes) -> DecodeError | None:
    """Return the error for a body that is not well-formed JSON, or None if the body is well-formed."""
    try:
        _check_utf8(body)
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        problem = str(error)
    except UnicodeDecodeError:
        problem = "it is not UTF-8"
    except RecursionError:
        return None
    else:
        return None
    if literal := _no_number(problem, body):
        return DecodeError(f"the body holds {literal}, which is no number in JSON", text=literal)
    return DecodeError(f"the body is damaged: {problem}", text=_show(body), malformed=True)


def _no_number(problem: str, body: bytes) -> str | None:
    """Return `NaN` or `Infinity` if that is what msgspec's message calls an invalid character, or None."""
    place = _BYTE.search(problem)
    found = None if place is None else _NO_NUMBER.match(body, int(place[1]))
    return None if found is None else found[0].decode()


_BYTE = re.compile(r"invalid character \(byte (\d+)\)")
_NO_NUMBER = re.compile(rb"(NaN|Infinity)(?=[\s,\]}]|$)")


def _mismatch(problem: str, body: bytes) -> DecodeError:
    """Return the error for a body of the wrong type, from msgspec's message, which ends with a JSON path."""
    what, _, path = problem.partition(" - at ")
    path = path.strip("`") or "$"
    what, _, field = what.partition(" in ")  # from our own check in `models.json_object`
    path = f"{path}.{field}" if field else path
    return DecodeError(f"{what} at {path}", path=path, text=_show(body) if path == "$" else "")


def _at(body: bytes, path: str) -> str:
    """Return the text of the value at a JSON path, at most 200 characters of it; empty if not found."""
    value: Any = body
    try:
        for step in _steps(path):
            if isinstance(step, int):
                if bytes(value).count(b",") > max(FEW, memoryview(value).nbytes // LEAST_LENGTH):
                    return ""  # undecoded elements would take too much
                value = msgspec.json.decode(value, type=list[msgspec.Raw])[step]
            else:
                value = msgspec.json.decode(value, type=dict[str, msgspec.Raw])[step]
        return _show(bytes(value))
    except (ValueError, LookupError, RecursionError):
        return ""


def _steps(path: str) -> list[str | int]:
    """Return the steps of msgspec's JSON path, such as `$.qubits[3][0].value`.

    Raises:
        ValueError: a step is `[...]`, which stands for any key of a mapping.
    """
    steps: list[str | int] = []
    for part in path.removeprefix("$").removeprefix(".").replace("[", ".[").split("."):
        if part.startswith("[") and part.endswith("]"):
            steps.append(int(part[1:-1]))
        elif part:
            steps.append(part)
    return steps


def _show(body: bytes) -> str:
    return body[: 4 * _MAX_TEXT].decode("utf-8", "replace")[:_MAX_TEXT]
