"""A service whose documents change, in the place of the pool: it holds requests until a test answers them."""

import asyncio
import gzip
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from typing import Any, Literal, NamedTuple, TypeAlias

from multidict import CIMultiDict

from qrbackends.accounts.account import Account, Instance
from qrbackends.accounts.scope import Scope, Scopes
from qrbackends.accounts.secret import Secret
from qrbackends.protocol.requests import API_VERSION, Request
from qrbackends.tasks.flight import Deadline
from qrbackends.transport import body as bodies
from qrbackends.transport.body import Wire
from qrbackends.transport.pool import CallState, Response

US = Instance("crn:v1:bluemix:public:quantum-computing:us-east:a/1:2::")
EU = Instance("crn:v1:bluemix:public:quantum-computing:eu-de:a/1:3::")
ACCOUNT = Account(token="secret", instances=[US, EU])
_OURS = Scopes(ACCOUNT, API_VERSION)
_OTHERS = Scopes(Account(token="of somebody else", instances=[US]), API_VERSION)
SCOPES = (_OURS.of(US), _OURS.of(EU), _OTHERS.of(US))

Encoding = Literal["", "gzip"]
Tags = Literal["none", "strong", "weak", "date", "restless", "constant"]
Change = Literal["start", "end", "longer", "first", "encoding"]
Tag: TypeAlias = tuple[str, str] | None
"""The header of a validator, and its value."""

_LIMIT = 2**20
_NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
_PADDING = "x" * 600  # a body that is worth compressing for memory
_TEXTS = {
    "properties": f'{{{{"padding":"{_PADDING}",'
    '"backend_version":"{start}","backend_name":"{name}","qubits":[],"gates":[],'
    '"last_update_date":"2020-01-01T00:00:00Z",'
    '"general":[{{"date":"2020-01-01T00:00:00Z","name":"{scope}","unit":"GHz","value":{end}}}]}}',
    "status": '{{"state":true,"message":"{start}{scope}","length_queue":{end}}}',
    "backends": '{{"devices":[{{"name":"{start}{scope}","status":{{"name":"online"}},'
    '"queue_length":{end}}}]}}',
}


class Key(NamedTuple):
    request: Request
    scope: Scope


class Served(NamedTuple):
    """An answer of the service."""

    status: int
    tag: Tag
    encoding: Encoding = ""
    body: bytes = b""
    packed_at: int = 0

    def received(self, known: Wire | None) -> Response:
        """Return what the pool makes of it."""
        sent = self.body
        headers = {"Date": format_datetime(_NOW, usegmt=True), **dict([self.tag] if self.tag else [])}
        if self.encoding:
            sent = gzip.compress(sent, mtime=self.packed_at)
            headers["Content-Encoding"] = self.encoding
        body = bodies.Body(self.encoding, _LIMIT, known if self.status == 200 else None)
        for part in (sent[:50], sent[50:]):
            body.feed(part)
        plain = body.finish()
        return Response(self.status, CIMultiDict(headers), plain, body.wire)


class Document:
    """What the service has for one key: like that of another key, but for a character; tags are equal."""

    def __init__(self, key: Key, encoding: Encoding, tags: Tags) -> None:
        self.key = key
        self.encoding: Encoding = encoding
        self.tags: Tags = tags
        self.start = self.end = self.blanks = 0
        self._answers = 0

    def change(self, change: Change) -> None:
        """Change a character or the length, go back to the first version, or be sent otherwise."""
        match change:
            case "start":
                self.start = (self.start + 1) % 10
            case "end":
                self.end = (self.end + 1) % 10
            case "longer":
                self.blanks += 1
            case "first":
                self.start = self.end = self.blanks = 0
            case "encoding":
                self.encoding = "" if self.encoding else "gzip"

    def served(self, conditions: Mapping[str, str], in_full: bool) -> Served:
        """Return the answer to a request: 304 if its condition holds, unless it is answered in full."""
        self._answers += 1
        request, scope = self.key
        name, number = request.backend or "", SCOPES.index(scope)
        text = _TEXTS[request.resource].format(name=name, scope=number, start=self.start, end=self.end)
        tag = self._tag()
        if tag is not None and not in_full and matches(tag, conditions):
            return Served(304, tag)
        # A server that compresses each answer anew puts the time into it.
        return Served(200, tag, self.encoding, text.encode() + b" " * self.blanks, self._answers)

    def _tag(self) -> Tag:
        version = self.start * 10 + self.end + self.blanks * 100
        match self.tags:
            case "none":
                return None
            case "strong":  # the form that is compressed is another one
                return "ETag", f'"{version}-{self.encoding}"'
            case "weak":
                return "ETag", f'W/"{version}"'
            case "date":
                return "Last-Modified", _date(version)
            case "restless":
                return "ETag", f'"{self._answers}"'
            case "constant":
                return "ETag", '"0-"'


@cache
def _date(version: int) -> str:
    return format_datetime(_NOW - timedelta(days=1, seconds=-version), usegmt=True)


def matches(tag: Tag, conditions: Mapping[str, str]) -> bool:
    """Return whether an answer with this tag is the one that the conditions ask about."""
    if tag is None:
        return False
    name, value = tag
    asked = conditions.get("If-None-Match" if name == "ETag" else "If-Modified-Since")
    return asked is not None and asked.removeprefix("W/") == value.removeprefix("W/")


class Held:
    """One request to the service, which waits until the test gives its answer."""

    def __init__(self, key: Key, headers: Mapping[str, str]) -> None:
        self.key = key
        self.conditions = {name: value for name, value in headers.items() if name.startswith("If-")}
        self.answer: asyncio.Future[Served] = asyncio.get_running_loop().create_future()
        self.stopped = False


class Service:
    """Takes requests and holds them."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self.new: list[Held] = []
        self._keys = {(key.scope.id, key.scope.base_url + key.request.target): key for key in keys}

    async def exchange(
        self,
        _method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        tenant: str,
        call: CallState,
        known: Wire | None,
        **_rest: Any,
    ) -> Response:
        call.sent += 1
        held = Held(self._keys[tenant, url], headers)
        self.new.append(held)
        try:
            served = await held.answer
        except asyncio.CancelledError:
            held.stopped = True
            raise
        return served.received(known)

    def retire_connections(self, region: str, url: str) -> None:
        """There are none."""


class Credentials:
    """A token which is always the same."""

    async def authorization(self, until: Deadline) -> Secret:
        return Secret("Bearer token")

    def reject(self, authorization: Secret) -> bool:
        return False
