"""Answers as the gateway keeps them: the service's bytes, checked and named, and not decoded."""

import hashlib
from typing import Any, Final

import msgspec

from ..accounts.scope import Scope
from ..errors import DecodeError
from ..models import BackendsResponse
from ..protocol.answers import check_backend, is_json, raise_for
from ..protocol.headers import EMULATED
from ..protocol.requests import NAMED, Request
from ..transport.pool import Response

_ENTRY: Final = 1400  # bytes of an entry in memory without its body, the value included
_STATUSES: Final = 6  # bytes that the statuses from a list take for each byte of the list, at most
_TAG = 24  # hexadecimal digits


class KeptDocument:
    """What is known of an answer without decoding it.

    Attributes:
        etag: the gateway's entity tag, a weak one, as the bytes may be compressed in more than one way.
        length: the bytes of the plain body.
        emulated: whether an emulator sent it.
        backend_version: of a configuration, the version that it names; otherwise None.
        is_list: whether it is the list of backends.
        statuses: of a list, each backend's status as the list has it, once that was asked for.
    """

    __slots__ = ("backend_version", "emulated", "etag", "is_list", "length", "statuses")

    def __init__(
        self, body: bytes, emulated: bool, backend_version: str | None = None, is_list: bool = False
    ) -> None:
        self.etag = f'W/"{hashlib.sha256(body).hexdigest()[:_TAG]}"'
        self.length = len(body)
        self.emulated = emulated
        self.backend_version = backend_version
        self.is_list = is_list
        self.statuses: dict[str, dict[str, Any]] | None = None


class _Named(msgspec.Struct):
    backend_name: str | None = None
    backend_version: str | None = None


_named = msgspec.json.Decoder(_Named)


def read(request: Request, _: Scope, response: Response) -> KeptDocument:
    """Return what is kept of an answer.

    Raises:
        QRBackendsError: the status is not 200, the body is not well-formed JSON, or it names another backend.
    """
    body = response.body
    if response.status != 200:
        raise_for(request, response.status, response.headers, body)
    if not is_json(body):
        damaged = DecodeError("the body is no JSON: it was damaged", malformed=True)
        raise damaged.about(backend=request.backend)
    named = _name_in(body) if request.resource in NAMED else _Named()
    check_backend(request, named)
    is_list = request.resource == "backends"
    return KeptDocument(body, EMULATED in response.headers, named.backend_version, is_list)


def kept_size(body: bytes, value: KeptDocument, wire: bytes) -> int:
    """Return the bytes that an entry takes in memory; of a list, with the statuses that are made of it."""
    return _ENTRY + len(wire) + (_STATUSES * len(body) if value.is_list else 0)


def _name_in(body: bytes) -> _Named:
    try:
        return _named.decode(body)
    except (msgspec.DecodeError, RecursionError):  # of another shape than the contract's; it is passed on
        return _Named()


_STATES: Final = {"online": (True, "active"), "paused": (True, "internal")}


def statuses_in(body: bytes, emulated: bool) -> dict[str, dict[str, Any]]:
    """Return, by the name of each backend in a list, the status document that follows from the list.

    It has no `backend_version`, which lists do not have. The words are those of the service's own documents.

    Raises:
        msgspec.DecodeError: it is no list of objects, such as one of bare names.
    """
    made: dict[str, dict[str, Any]] = {}
    for device in msgspec.json.decode(body, type=BackendsResponse).devices:
        state, word = _STATES.get(device.status.name, (False, "maintenance"))
        why = "" if device.status.reason in (None, "available") else device.status.reason
        made[device.name] = {
            "state": state,
            "status": word,
            "message": ": ".join(filter(None, ("emulated" if emulated else "", why))),
            "length_queue": max(0, device.queue_length),
        }
    return made
