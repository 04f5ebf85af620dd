"""The journal: the requests to an emulator as lines of JSON, without secrets, for `replay`."""

import logging
import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

import msgspec

from ...surface.wire import split_target
from ..surface.log import LoggedRequest

logger = logging.getLogger("qrbackends.emulator")

_DECODER = msgspec.json.Decoder(LoggedRequest)
_PARAMETER = re.compile(r"(?<=[?&])([^=&]*)(?:=[^&]*)?")
_KNOWN = ("fields", "calibration_id", "updated_before", "include_mocks", "limit")
_OWNER = re.compile(r":a/[^:]*:[^:]*::$")
_NOBODY = f":a/{'0' * 32}:00000000-0000-0000-0000-000000000000::"
MALFORMED = "malformed"
"""Stands for a CRN that is none."""


def journal_line(request: LoggedRequest, crns: Collection[str]) -> bytes:
    """Return a request as a line: without credentials, and without unknown parameters.

    Args:
        request: the request.
        crns: the CRNs that may be written; of others, account and instance are replaced, as they may be real.
    """
    crn = request.crn
    if crn is not None and crn not in crns:
        known = crn.startswith("crn:") and crn.isascii() and _OWNER.search(crn)
        crn = _OWNER.sub(_NOBODY, crn) if known else MALFORMED
    _, path, query = split_target(request.path_qs)  # of a proxy's client, it may have a user and a password
    if query:
        path += _PARAMETER.sub(lambda m: m[0] if m[1] in _KNOWN else "removed", f"?{query}")
    version, tag, since = map(_text, (request.version, request.if_none_match, request.if_modified_since))
    shown = replace(
        request, crn=crn, path_qs=path, version=version, if_none_match=tag, if_modified_since=since
    )
    return msgspec.json.encode(shown) + b"\n"


def _text(header: str | None) -> str | None:
    """Return a header with U+FFFD for bytes that are not UTF-8, which JSON cannot have."""
    return None if header is None else header.encode(errors="surrogateescape").decode(errors="replace")


class JournalFile:
    """A file that gets a line for each request.

    Args:
        path: its path; an earlier content is replaced.
        crns: the CRNs that may be written.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path | str, crns: Collection[str]) -> None:
        self._crns = frozenset(crns)
        self._file = Path(path).open("wb", buffering=0)  # noqa: SIM115  # closed by `close`

    def write(self, request: LoggedRequest) -> None:
        """Add a request; when that fails, it is told once, and no more are added."""
        if self._file.closed:
            return
        try:
            self._file.write(journal_line(request, self._crns))
        except OSError as error:
            logger.warning("the journal ends here: %s", error)
            self.close()

    def close(self) -> None:
        """Close it."""
        self._file.close()


def read_journal(lines: Iterable[bytes], name: str = "journal") -> list[LoggedRequest]:
    """Return the requests of a journal in the order of their arrival.

    Args:
        lines: its lines.
        name: its name, for messages.

    Raises:
        ValueError: a line is not a request; the message names it.
    """
    requests = []
    for number, line in enumerate(lines, 1):
        try:
            requests.append(_DECODER.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"{name}, line {number}: {error}") from None
    return sorted(requests, key=lambda request: request.number)
