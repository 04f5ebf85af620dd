"""Scrubbing: what identifies an account is removed from whole bodies, so that they can be given away. No I/O.

`redaction` is for texts of errors and logs. A body may have megabytes, and has to stay as it is elsewhere.
"""

import html
import json
import re
from array import array
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment

from ..accounts.account import Account
from ..accounts.secret import LEAST_SEARCHED, Secret
from ..accounts.urls import is_loopback
from .instances import ServiceInstance
from .redaction import redacted

_HIDDEN = b"***"
_ACCOUNT_ID = b"0" * 32
_HOST = b"private.invalid"
_PUBLIC = ".cloud.ibm.com"  # hosts that everybody knows, but for private endpoints

_DEEPEST = 3  # JSON in a text in JSON, and an address in that

# In JSON, in addresses and in the pages of gateways; a surrogate pair is one escape.
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|%[0-9a-fA-F]{2}"
    rb"|&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-z]{2,4});",
    re.DOTALL,
)
_CRN = re.compile(rb'crn:v1(?::[^:"\s]*){4}:(?P<account>a/[^:"\s]*)(?::(?P<guid>[^:"\s]+))?')
_OTHERS = (
    (re.compile(rb"(?<![\w-])eyJ[\w-]{8,}(?:\.[\w-]+){1,2}"), _HIDDEN),  # a bearer token
    (re.compile(rb"(?:IBMid|iam-ServiceId|iam-Profile)-[\w-]+"), _HIDDEN),
    (re.compile(rb"(?<![\w-])(?i:private)\.(?:[\w-]+\.)+[A-Za-z]{2,}"), _HOST),
)


class _Span(NamedTuple):
    """What is replaced: from `start` to before `end`."""

    start: int
    end: int
    by: bytes


class Scrubber:
    """Replaces credentials, CRNs, account ids, GUIDs and names of instances, and private hosts in bodies.

    They are found as they are, percent-encoded, with the escapes of JSON and HTML, and credentials in base64,
    too; hosts, account ids and GUIDs in upper and lower case. What has fewer than 8 characters is not
    searched for: it occurs in words by chance. Names of instances that are so short are found as whole words,
    but not in calibrations, where they could be names of gates.

    Args:
        account: its credentials, addresses and proxies are removed.
        instances: its instances, with their names.
        backends: names of devices, which stay even if an instance has the same name.
    """

    def __init__(
        self, account: Account, instances: Sequence[ServiceInstance], backends: Iterable[str] = ()
    ) -> None:
        self._needles: dict[bytes, bytes] = {}
        self._caseless: dict[bytes, bytes] = {}  # in lower case
        self._secrets: set[str] = set()
        self._words: list[tuple[re.Pattern[bytes], bytes]] = []
        self._short_words: list[tuple[re.Pattern[bytes], bytes]] = []
        for secret in (account.api_key, account.token, account.identity):
            if isinstance(secret, Secret):
                self.add_secret(secret.reveal())
        taken = set(backends)
        for number, one in enumerate(instances, 1):
            self._add_instance(number, one, taken)
        for text in _private_texts(account, instances):
            self._add_caseless(text, _HOST)

    def add_secret(self, secret: str) -> None:
        """Remove a credential, too, such as a bearer token."""
        if secret in self._secrets or len(secret) < LEAST_SEARCHED:
            return
        self._secrets.add(secret)
        for part in (secret, *secret.split(".")):  # each part of a bearer token tells something
            for form in _forms(part.encode()):
                self._add(form, _HIDDEN)

    def scrubbed(self, body: bytes, *, calibration: bool = False, error: bool = False) -> bytes:
        """Return a body without what identifies the account; all other bytes are as they were.

        Args:
            body: the body.
            calibration: whether it is a configuration or a calibration, in which short words are names.
            error: whether it is an error's, which may quote a part of a credential.
        """
        patterns = self._words if calibration else self._words + self._short_words
        spans: list[_Span] = []
        for view, places in _views(body):
            found = [*self._found(view)]
            found += [_Span(*one.span(), by) for word, by in patterns for one in word.finditer(view)]
            spans += [_Span(places[start], places[end], by) for start, end, by in found]
        body = _replaced(body, spans)
        if error:
            text = body.decode("utf-8", "surrogateescape")
            for secret in self._secrets:
                text = redacted(text, secret)
            body = text.encode("utf-8", "surrogateescape")
        return body

    def _found(self, view: bytes) -> Iterator[_Span]:
        for text, needles in ((view, self._needles), (view.lower(), self._caseless)):
            for needle, by in needles.items():
                at = text.find(needle)
                while at >= 0:
                    yield _Span(at, at + len(needle), by)
                    at = text.find(needle, at + 1)
        for crn in _CRN.finditer(view):
            yield _Span(*crn.span("account"), b"a/" + _ACCOUNT_ID)
            if crn["guid"]:
                yield _Span(*crn.span("guid"), _guid(0))
        for pattern, by in _OTHERS:
            for found in pattern.finditer(view):
                yield _Span(*found.span(), by)

    def _add(self, text: bytes, by: bytes) -> None:
        if len(text) >= LEAST_SEARCHED:
            self._needles[text] = by

    def _add_caseless(self, text: bytes, by: bytes) -> None:
        if len(text) >= LEAST_SEARCHED:
            self._caseless[text.lower()] = by

    def _add_instance(self, number: int, one: ServiceInstance, backends: set[str]) -> None:
        parts = one.instance.crn.split(":")
        account, guid = parts[6].removeprefix("a/"), parts[7]
        self._add_caseless(account.encode(), _ACCOUNT_ID)
        self._add_caseless(guid.encode(), _guid(number))
        self._add_caseless(guid.replace("-", "").encode(), _guid(number).replace(b"-", b""))
        name, by = one.name.encode("utf-8", "surrogatepass"), b"instance-%d" % number
        if not name or one.name in backends:
            return
        if len(name) >= LEAST_SEARCHED and not any(one.name in backend for backend in backends):
            self._add(name, by)
            self._add(name.replace(b" ", b"+"), by)  # in the query of an address
            return
        word = rb"(?<!\w)%b(?!\w)" % re.escape(name)
        if len(name) >= LEAST_SEARCHED:
            self._words.append((re.compile(word), by))
        else:
            self._short_words.append((re.compile(word + rb'(?!"\s*:)'), by))  # the name of no field


def _guid(number: int) -> bytes:
    return b"00000000-0000-0000-0000-%012d" % number


def _private_texts(account: Account, instances: Iterable[ServiceInstance]) -> Iterator[bytes]:
    """Yield the hosts that not everybody knows, and users and passwords of proxies.

    Where the account names no proxies, they are those of the environment.
    """
    urls = [account.iam, account.search_url, account.catalog_url, account.search.cloud_url]
    urls += account.search.endpoints.values()
    urls += (account.proxies or getproxies_environment()).values()
    urls += [one.instance.base_url for one in instances]
    for url in urls:
        try:
            parts = urlsplit(url if "://" in url else f"//{url}")
        except ValueError:  # in the environment may be anything
            continue
        host = parts.hostname or ""
        known = f".{host}".endswith(_PUBLIC) and not host.startswith("private.")
        if not known and not is_loopback(host):
            yield host.encode()
        for text in (parts.username, parts.password):
            yield unquote(text or "").encode()


def _forms(secret: bytes) -> Iterator[bytes]:
    """Yield a secret as it is, and what of its base64 does not depend on the bytes before and after it."""
    yield secret
    for before in range(3):
        packed = b64encode(b"\0" * before + secret)
        if (before + len(secret)) % 3:
            packed = packed.rstrip(b"=")[:-1]
        packed = packed[(0, 2, 3)[before] :]
        yield packed
        yield packed.translate(bytes.maketrans(b"+/", b"-_"))


def _views(body: bytes) -> Iterator[tuple[bytes, Sequence[int]]]:
    """Yield a body as it is, without NUL and escapes, and without the escapes in that, if there are any.

    With each, for each of its bytes and the end, the place in the body.
    """
    places: Sequence[int] = range(len(body) + 1)
    yield body, places
    view = body
    if b"\0" in body:  # such as of ASCII in UTF-16 and UTF-32
        places = array("Q", (at for at, byte in enumerate(body) if byte))
        places.append(len(body))
        view = body.translate(None, b"\0")
        yield view, places
    for _ in range(_DEEPEST):
        if not any(mark in view for mark in (b"\\", b"%", b"&")):
            return
        plain, moved, at = bytearray(), array("Q"), 0
        for escape in _ESCAPE.finditer(view):
            plain += view[at : escape.start()]
            moved.extend(places[at : escape.start()])
            meant = _meant(escape[0])
            plain += meant
            moved.extend([places[escape.start()]] * len(meant))
            at = escape.end()
        plain += view[at:]
        moved.extend(places[at:])
        view, places = bytes(plain), moved
        yield view, places


def _meant(escape: bytes) -> bytes:
    """Return the character that an escape stands for, in UTF-8; an unknown escape as it is."""
    if escape.startswith(b"%"):
        return bytes.fromhex(escape[1:].decode())
    if escape.startswith(b"&"):
        return html.unescape(escape.decode()).encode()
    try:
        text: str = json.loads(b'"%b"' % escape)
    except ValueError:
        return escape
    return text.encode("utf-8", "surrogatepass")


def _replaced(body: bytes, spans: Iterable[_Span]) -> bytes:
    """Return a body in which spans are replaced; of spans that overlap, by what the first one says."""
    parts: list[bytes] = []
    at = 0
    for start, end, by in sorted(spans, key=lambda span: (span.start, -span.end)):
        if start >= at:
            parts += (body[at:start], by)
        at = max(at, end)
    parts.append(body[at:])
    return b"".join(parts)
