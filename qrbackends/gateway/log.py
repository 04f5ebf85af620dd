"""The access log: one line of JSON for each request, and no secret in any."""

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

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

    Args:
        path: the file, to which is appended; it is made readable for this user only. `-` is standard output.
        now: returns the current time.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._flush: asyncio.TimerHandle | None = None
        if str(path) == "-":
            self._file: BinaryIO = os.fdopen(os.dup(1), "wb")
        else:
            opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            self._file = os.fdopen(opened, "ab")

    def time(self) -> str:
        """Return the current time as the lines have it."""
        return self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def write(self, access: Access) -> None:
        """Write a line; it is in the file within half a second."""
        self._file.write(msgspec.json.encode(access) + b"\n")
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(_FLUSHED, self._flushed)

    def _flushed(self) -> None:
        self._flush = None
        self._file.flush()

    def close(self) -> None:
        """Write all lines, and close the file."""
        if self._flush is not None:
            self._flush.cancel()
        self._file.close()


def shown(path: str) -> str:
    """Return a path as the log has it."""
    return "".join(char if char.isprintable() else "?" for char in path[:_LONGEST])
