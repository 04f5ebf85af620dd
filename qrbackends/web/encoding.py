"""Documents as JSON; large ones are encoded once. The module needs no web framework."""

import hashlib
from collections.abc import Callable, Mapping
from operator import attrgetter
from threading import Lock
from typing import Any, NamedTuple, TypeAlias
from weakref import ref

import msgspec
from cachetools import LRUCache

from ..models import (
    Backend,
    BackendConfiguration,
    BackendDefaults,
    BackendList,
    BackendProperties,
    BackendStatus,
)
from ..models.backend import Clops, DeviceStatus, PerformanceMetrics, ProcessorType, WaitTime

_MOST_BYTES = 32 * 2**20  # of JSON that is kept
_TAG = 12  # bytes of the digest in an entity tag, enough to make equal tags practically impossible


class Listed(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An entry of the list with the contract's fields, the region, and whether an emulator lists it."""

    name: str
    region: str | None
    status: DeviceStatus
    queue_length: int
    is_simulator: bool | None = None
    qubits: int | None = None
    clops: Clops | None = None
    processor_type: ProcessorType | None = None
    performance_metrics: PerformanceMetrics | None = None
    wait_time_seconds: WaitTime | None = None
    emulated: bool = False


_fields_of = attrgetter(*Listed.__struct_fields__)


def listed(backend: Backend) -> Listed:
    """Return an entry of the list without the CRN of its instance, which holds the account's id."""
    return Listed(*_fields_of(backend))


def status_of(backend: Backend) -> BackendStatus:
    """Return a backend's status, made from its entry in the list; an emulated one says so in `message`."""
    said = ("emulated", backend.status.reason) if backend.emulated else (backend.status.reason,)
    message = ": ".join(filter(None, said)) or None
    return BackendStatus(
        backend.queue_length, state=backend.online, status=backend.status.name, message=message
    )


class Encoded(NamedTuple):
    """JSON and its entity tag, a weak one, as a proxy may compress the body."""

    body: bytes
    etag: str


_Kept: TypeAlias = tuple[ref[Any], Encoded]


def json_cache(most: int) -> LRUCache[int, _Kept]:
    """Return what keeps up to `most` bytes of JSON, by the id of the object."""
    return LRUCache(most, getsizeof=lambda kept: len(kept[1].body))


_known = json_cache(_MOST_BYTES)
_lock = Lock()  # frameworks make responses in threads, too
_encoder = msgspec.json.Encoder(enc_hook=lambda value: _plain(value))


def encode(value: Any) -> bytes:
    """Return JSON for any of this package's documents, or for any value that `msgspec` can encode.

    Configurations and properties are large and immutable: the JSON of those that were used last is kept, up
    to 32 MiB in all. A `Backend`, alone or in a list, is written without the CRN of its instance, which holds
    the account's id.

    Raises:
        TypeError: the value cannot be encoded.
    """
    return encoded(value).body


def encoded(value: Any) -> Encoded:
    """Return a value as JSON with its entity tag; large documents are encoded once."""
    if isinstance(value, Backend):
        return tagged(_encoder.encode(listed(value)))
    if not isinstance(value, _LARGE):
        return tagged(_encoder.encode(value))
    return encoded_once(value, lambda: value)


def encoded_once(value: Any, written: Callable[[], Any]) -> Encoded:
    """Return what `written` makes of a value, as JSON; often used objects are not encoded again."""
    key = id(value)
    with _lock:
        found = _known.get(key)
    if found is not None and found[0]() is value:
        return found[1]
    encoded = tagged(_encoder.encode(written()))
    if len(encoded.body) <= _known.maxsize:
        with _lock:
            _known[key] = ref(value), encoded
    return encoded


def tagged(body: bytes) -> Encoded:
    """Return `body` with its entity tag."""
    return Encoded(body, f'W/"{hashlib.blake2b(body, digest_size=_TAG).hexdigest()}"')


def has_tag(sent: str, etag: str) -> bool:
    """Return whether an `If-None-Match` header names the tag, by RFC 9110's weak comparison (13.1.2)."""
    tags = {tag.strip().removeprefix("W/") for tag in sent.split(",")}
    return "*" in tags or etag.removeprefix("W/") in tags


def _plain(value: Any) -> Any:
    if isinstance(value, BackendDefaults):
        return value.to_dict()
    if isinstance(value, BackendList):
        return [listed(backend) for backend in value]
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be encoded as JSON")


_LARGE = (BackendConfiguration, BackendProperties)
