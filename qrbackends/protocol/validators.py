"""Validators: what the service names a version of an answer by, to ask later whether it is still the same.

The rules follow RFC 9110, sections 8.8 (validators), 13.1 (conditions) and 15.4.5 (304).
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from multidict import istr

from .headers import DATE, http_date

_ETAG, _LAST_MODIFIED = istr("ETag"), istr("Last-Modified")  # found faster than a `str`
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')
_TAGS = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\U0010ffff]*")')  # in a condition; a tag may contain commas
_LONGEST = 256  # characters of a tag; a longer one may be anything
_DATE = re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", re.ASCII)
_SETTLED = 60.0
"""Seconds by which an answer has to be younger than its `Last-Modified`, which counts whole seconds: until
then another change may follow under the same date (RFC 7232, section 2.2.2)."""


class Validators(NamedTuple):
    """The validators of one answer, as the service wrote them; empty where there is none.

    Attributes:
        etag: the `ETag`, weak or strong.
        last_modified: the `Last-Modified`.
    """

    etag: str = ""
    last_modified: str = ""

    def well_formed(self) -> "Validators":
        """Return those that are well-formed; only these may be sent back."""
        is_tag = len(self.etag) <= _LONGEST and _TAG.fullmatch(self.etag)
        is_date = _DATE.fullmatch(self.last_modified)
        return Validators(self.etag if is_tag else "", self.last_modified if is_date else "")

    def conditions(self) -> dict[str, str]:
        """Return the headers that ask for the answer only if it is not the same any more.

        A tag is the better validator, so the date is sent only where there is no tag (RFC 9110, section
        13.1.3: servers ignore it otherwise).
        """
        if self.etag:
            return {"If-None-Match": self.etag}
        return {"If-Modified-Since": self.last_modified} if self.last_modified else {}

    def confirm(self, asked: "Validators") -> bool:
        """Return whether a 304 with these validators is about the answer that was asked about.

        A 304 has no body that would show whose it is; so it has to repeat the validator, as the RFC demands
        of a tag. Tags are compared as `If-None-Match` does: weak or strong does not count.
        """
        if asked.etag:
            return self.etag.removeprefix("W/") == asked.etag.removeprefix("W/")
        return asked.last_modified != "" and self.last_modified == asked.last_modified


NONE: Final = Validators()


def validators_of(headers: Mapping[str, str]) -> Validators:
    """Return an answer's validators; one that is malformed, or may stand for two answers, is empty.

    Args:
        headers: the answer's headers; a case-insensitive mapping.
    """
    if _ETAG not in headers and _LAST_MODIFIED not in headers:
        return NONE
    found = Validators(headers.get(_ETAG, "").strip(), headers.get(_LAST_MODIFIED, "").strip())
    found = found.well_formed()
    if found.etag or not found.last_modified:
        return Validators(found.etag) if found.etag else NONE
    since, now = http_date(found.last_modified), http_date(headers.get(DATE, ""))
    if since is None or now is None or (now - since).total_seconds() < _SETTLED:
        return NONE
    return found


def names_tag(condition: str, tag: str) -> bool:
    """Return whether an If-None-Match names a tag, by the weak comparison; a malformed one names none."""
    if condition.strip() == "*":
        return True
    is_list = not _TAGS.sub("", condition).strip(" \t,")
    return is_list and tag.removeprefix("W/") in _TAGS.findall(condition)
