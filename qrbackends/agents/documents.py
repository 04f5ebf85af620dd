"""Documents as resources: a URI names a document, or a part of one, and is answered with a bounded piece.

A URI is such as `qrbackends://backends/ibm_boston/properties?updated_before=2026-04-01T00:00:00Z`. `part`
leads into the document, as in `part=gates/12`; `offset` is the number of entries, or of characters of a text,
to skip.
"""

import json
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple, cast
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec
from anyio import to_thread

from ..errors import InvalidRequest, NotFound
from ..protocol.requests import Request, Resource
from ..web.encoding import encode
from .bounds import as_text, fitting, tidy
from .reading import Reading

LIST: Final = "qrbackends://backends"
"""The URI of the list of backends, with which all others begin."""

MOST: Final = 16_000
"""The bytes of a piece on the wire."""

_LONGEST_URI: Final = 2_000  # characters
_FRAME: Final = 5_000  # bytes of MCP's own and of what is told of a piece: two URIs are among them
_SMALL: Final = 2_000  # bytes of an entry that is shown within another one; a larger one has its own piece
_TEXT: Final = 1_000  # characters of a text in a piece


class Place(NamedTuple):
    """What a URI names.

    Attributes:
        request: asks for the document.
        part: the keys that lead from the document to the part.
        offset: how many entries or characters to skip.
    """

    request: Request
    part: tuple[str, ...] = ()
    offset: int = 0

    @property
    def uri(self) -> str | None:
        """The URI; None if it would be too long."""
        query = self.request.query
        if self.part:
            query["part"] = "/".join(quote(key, safe="") for key in self.part)
        if self.offset:
            query["offset"] = str(self.offset)
        path = self.request.target.partition("?")[0].removeprefix("/backends")
        uri = f"{LIST}{path}?{urlencode(query, quote_via=quote)}" if query else LIST + path
        return uri if len(uri) <= _LONGEST_URI else None


def place_of(uri: str) -> Place:
    """Return what a URI names.

    Raises:
        InvalidRequest: it names nothing that there is.
    """
    unknown = InvalidRequest(f"there is no resource {uri!r:.200}; the resource templates say which there are")
    if len(uri) > _LONGEST_URI:
        raise unknown
    try:
        scheme, host, path, query, _ = urlsplit(uri)
        # A plus is one, as in the offset of a date: only forms of web pages write a space so.
        named = dict(parse_qsl(query.replace("+", "%2B"), strict_parsing=bool(query)))
        part, offset = named.pop("part", ""), int(named.pop("offset", "0"))
        before = named.pop("updated_before", None)
        when = None if before is None else datetime.fromisoformat(before)
        _, *steps = path.rstrip("/").split("/")
        backend_id, resource = map(unquote, steps) if steps else (None, "backends")
    except ValueError:
        raise unknown from None
    variant = named.pop("calibration_id", None)
    if named or f"{scheme}://{host}" != LIST or not 0 <= offset < 2**31:
        raise unknown
    keys = tuple(map(unquote, part.split("/"))) if part else ()
    return Place(Request(cast("Resource", resource), backend_id, variant, when), keys, offset)


async def read(reading: Reading, uri: str) -> str:
    """Return a piece of a document as JSON, with its age and origin.

    Raises:
        InvalidRequest: the URI names nothing that there is.
        QRBackendsError: the document cannot be read.
    """
    place = place_of(uri)
    fetched = await reading.fetch(place.request)
    return await to_thread.run_sync(_told, place, fetched.value, reading.facts())


def _told(place: Place, document: Any, facts: dict[str, Any]) -> str:
    value = msgspec.json.decode(encode(document))
    for key in place.part:
        value = _entry(place, value, key)
    shown, following = _piece(place, value)
    told = {**facts, "next": following and following.uri}
    return as_text(tidy(told, _LONGEST_URI) | {"value": tidy(shown, _TEXT)})


def _entry(place: Place, value: Any, key: str) -> Any:
    """Return an entry of an array or object.

    Raises:
        NotFound: there is no such entry.
    """
    try:
        return value[int(key)] if isinstance(value, list) and key.isdecimal() else value[key]
    except (LookupError, TypeError, ValueError):
        raise NotFound(f"the document has no part {'/'.join(place.part)!r:.200}", 404) from None


def _piece(place: Place, value: Any) -> tuple[Any, Place | None]:
    """Return as much of a value as there is room for, and the place of the next piece, or None."""
    if isinstance(value, str):
        end = place.offset + _TEXT
        return value[place.offset : end], None if end >= len(value) else place._replace(offset=end)
    if not isinstance(value, (dict, list)):
        return value, None
    found = value.items() if isinstance(value, dict) else enumerate(value)
    rest = ((key, _shown(place, str(key), one)) for key, one in islice(found, place.offset, None))
    entries = list(islice(rest, 1))  # one at least, so that reading on comes to an end
    entries += fitting(rest, MOST - _FRAME - sum(map(_size, entries)), _size)
    end = place.offset + len(entries)
    shown = dict(entries) if isinstance(value, dict) else [one for _, one in entries]
    return shown, None if end >= len(value) else place._replace(offset=end)


def _shown(place: Place, key: str, value: Any) -> Any:
    """Return an entry; of a large one how many entries or characters it has, and where to read them."""
    if _size(value) <= _SMALL:
        return value
    return {"length": len(value), "read": place._replace(part=(*place.part, key), offset=0).uri}


def _size(value: Any) -> int:
    """Return the most bytes that a value takes in a text of a message."""
    return len(json.dumps(as_text(value))) + 1
