"""Files that only one user may read and write, in directories where others may plant files of their own."""

import errno
import os
import stat
import threading
from pathlib import Path

_FILE, _DIRECTORY = 0o600, 0o700  # modes
_creating = threading.Lock()


def make_directory(path: Path) -> None:
    """Make a directory and those above it if they are missing, for this user only."""
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    for directory in reversed(missing):
        directory.mkdir(_DIRECTORY, exist_ok=True)


def created(path: Path) -> bool:
    """Make an empty file that only this user can read; return False if there is a file already."""
    with _creating:  # POSIX: closing a file ends all locks of this process on it, another store's too
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, _FILE)
        except FileExistsError:  # also for a symbolic link without a target
            return False
        try:
            if hasattr(os, "fchmod"):  # by its descriptor: its name may be another file's by now
                os.fchmod(descriptor, _FILE)  # a umask may have taken too much
        finally:
            os.close(descriptor)
        return True


def check(path: Path) -> None:
    """Raise an OSError for a file that another user may have put there."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, "a symbolic link is not used as a cache", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a file; not used as a cache", str(path))
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "belongs to another user; not used as a cache", str(path))


def make_private(path: Path) -> None:
    """Let only this user read and write a file, if there is one.

    A symbolic link, which may have been planted after `check`, is not followed.

    Raises:
        OSError: it is a symbolic link, or this system cannot change the file without following one.
    """
    try:
        if stat.S_IMODE(path.lstat().st_mode) != _FILE:
            # Not by a descriptor: opening and closing the file would end SQLite's locks on it.
            path.chmod(_FILE, follow_symlinks=False)
    except FileNotFoundError:
        return
    except NotImplementedError:  # Linux says so for a symbolic link; Windows for any file, and has no modes
        if hasattr(os, "geteuid"):
            message = "cannot be kept from other users; not used as a cache"
            raise PermissionError(errno.EPERM, message, str(path)) from None
