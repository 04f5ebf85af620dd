"""Files of this user's own that are replaced as a whole, so that no reader sees half of one."""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

FLAGS: int = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
"""How such a file is opened, with flags of POSIX and of Windows: a symbolic link is not followed."""

_PATIENCE = 5.0  # seconds to wait for another program that changes the file
_PAUSE = 0.02  # seconds between two looks


@contextmanager
def replacing(path: Path, refusal: type[Exception]) -> Iterator[tuple[BinaryIO, bool]]:
    """Yield a new file, and whether there is an old one; the new one takes its place after the block.

    A file with the name of this one and `.lock` at its end is created, which is both the lock and the new
    file: no second program can create it, and it takes the place of the old one by being renamed. A block
    that writes nothing leaves the old file as it is. A new file can be read and written by this user only;
    an old one's owner and permissions are kept. The directory is made, for this user only.

    Args:
        path: the file.
        refusal: the error that is raised, with a message that says what to do.

    Raises:
        refusal: the file is a symbolic link or something else, is read-only or cannot be replaced; or another
            program has been changing it for 5 s, or was ended while it did.
    """
    lock = path.parent / f"{path.name}.lock"
    try:
        path.parent.mkdir(0o700, parents=True, exist_ok=True)
        with _locked(path, lock, refusal) as new:
            status = _own_status(path, refusal)
            yield new, status is not None
            if not new.tell():
                new.close()
                lock.unlink()
                return
            if status is not None:
                _keep_owner_and_mode(new, status)
            new.flush()
            os.fsync(new.fileno())
            new.close()  # Windows does not rename an open file
            lock.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise refusal(f"{path} cannot be changed: {error.strerror or error}") from None


@contextmanager
def _locked(path: Path, lock: Path, refusal: type[Exception]) -> Iterator[BinaryIO]:
    """Create the lock and yield it; remove it unless it was renamed, which closes it."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | FLAGS, 0o600)
            break
        except FileExistsError:
            if time.monotonic() >= until:
                raise refusal(
                    f"another program is changing {path}; if there is none, remove {lock.name} beside it"
                ) from None
            time.sleep(_PAUSE)
    with os.fdopen(descriptor, "wb") as new:
        try:
            yield new
        except BaseException:  # an interrupt, too: a lock that stays keeps everybody out
            lock.unlink(missing_ok=True)  # it was not renamed, so it is ours
            raise


def _own_status(path: Path, refusal: type[Exception]) -> os.stat_result | None:
    """Return the status of a regular file that may be written, or None if there is no file."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(status.st_mode):
        raise refusal(f"{path} is a symbolic link, which is not followed: name the file that it leads to")
    if not stat.S_ISREG(status.st_mode):
        raise refusal(f"{path} is not a file")
    if not os.access(path, os.W_OK):
        raise refusal(f"{path} is read-only")
    return status


def _keep_owner_and_mode(new: BinaryIO, status: os.stat_result) -> None:
    if hasattr(os, "fchown"):  # not on Windows
        own = os.fstat(new.fileno())
        if (own.st_uid, own.st_gid) != (status.st_uid, status.st_gid):
            os.fchown(new.fileno(), status.st_uid, status.st_gid)
        os.fchmod(new.fileno(), stat.S_IMODE(status.st_mode))


def _sync_directory(directory: Path) -> None:
    """Let the renaming outlive a loss of power, where the system can."""
    with suppress(OSError):  # Windows opens no directory
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
