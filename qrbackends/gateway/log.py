"""The access log: one line of JSON for each request, and no secret in any."""

import asyncio
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Final

import msgspec

logger = logging.getLogger("qrbackends.gateway")

_LONGEST: Final = 500  # characters of a path
_FLUSHED: Final = 0.5  # seconds after which lines are in the file at the latest


class Access(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request.

    Attributes:
        at: when it arrived, an RFC 3339 date and time.
        method: the HTTP method.
        path: the path as it was sent, cut after 500 characters; without the query, which may hold anything.
        status: the status of the answer.
        seconds: from the arrival to the answer.
        size: the bytes of the answer's body, as far as they are known.
        peer: the address that asked.
        caller: the name of the caller's key; of a forwarded credential, a random one.
        cache: how the cache answered; empty where it was not asked.
        age: seconds since the service gave the answer.
    """

    at: str
    method: str
    path: str
    status: int
    seconds: float
    size: int = 0
    peer: str = ""
    caller: str = ""
    cache: str = ""
    age: float | None = None


class AccessLog:
    """Writes the lines to a file, or to standard output; another program may rotate the file by copying it.

    Lines that cannot be written, as to a full disk, are lost, and requests are answered all the same.

    Args:
        path: the file, to which is appended; it is made readable for this user only. `-` is standard output.
        now: returns the current time.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._flush: asyncio.TimerHandle | None = None
        self._lines = bytearray()
        self._fails = False
        if str(path) == "-":
            self._file = FileIO(os.dup(1), "wb")
        else:
            opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            self._file = FileIO(opened, "ab")

    def time(self) -> str:
        """Return the current time as the lines have it."""
        return self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def write(self, access: Access) -> None:
        """Write a line; it is in the file within half a second."""
        self._lines += msgspec.json.encode(access) + b"\n"
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(_FLUSHED, self._flushed)

    def _flushed(self) -> None:
        self._flush = None
        lines, self._lines = self._lines, bytearray()
        try:
            while lines:
                del lines[: self._file.write(lines)]
        except OSError as error:
            if not self._fails:
                logger.warning("the access log cannot be written, and lines are lost: %s", error.strerror)
            self._fails = True
        else:
            self._fails = False

    def close(self) -> None:
        """Write all lines, and close the file."""
        if self._flush is not None:
            self._flush.cancel()
            self._flushed()
        self._file.close()


def shown(path: str) -> str:
    """Return a path as the log has it."""
    return "".join(char if char.isprintable() else "?" for char in path[:_LONGEST])
