"""Takes from this Python what it has not on Windows; what runs afterwards in the process has to do without.

What the standard library itself needs is imported before. This is no Windows: its files and sockets behave in
some ways as there, but are those of this system.
"""

import asyncio
import builtins
import io
import os
import select
import selectors
import signal
import socket
import stat
import subprocess  # noqa: F401  # before what it needs is gone
import sys
import threading
import time
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from .taking import instead, missing

_RESOLUTION = 0.015625  # seconds, of the clocks
_FORBIDDEN = set('<>:"|?*')  # in names of files


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise NotImplementedError


def _modules() -> None:
    for name in ("fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "syslog", "uvloop"):
        sys.modules[name] = None  # type: ignore[assignment]


def _processes() -> None:
    missing(os, "fork", "forkpty", "register_at_fork", "posix_spawn", "killpg", "getpgid", "setsid", "wait3")
    missing(os, "sched_getaffinity", "sysconf", "getloadavg", "uname", "nice", "pipe2", "mkfifo", "statvfs")
    missing(os, "getuid", "geteuid", "getgid", "getegid", "getgroups", "umask")


def _signals() -> None:
    kept = {"SIGINT", "SIGTERM", "SIGABRT", "SIGFPE", "SIGILL", "SIGSEGV"}
    stand_in = signal.SIGUSR1
    names = [name for name in dir(signal) if name.startswith("SIG") and name[3] != "_"]
    missing(signal, *(name for name in names if name not in kept))
    missing(signal, "pthread_sigmask", "pthread_kill", "sigwait", "pause", "alarm", "setitimer")
    instead(signal, SIGBREAK=stand_in)


def _event_loop() -> None:
    """Let the loop have what a proactor has."""
    loop: Any = asyncio.SelectorEventLoop
    made = loop.__init__

    def make(self: Any, *arguments: Any) -> None:
        made(self, *arguments)
        if threading.current_thread() is threading.main_thread():  # as a proactor does
            signal.set_wakeup_fd(self._csock.fileno())

    instead(loop, __init__=make, add_signal_handler=_refuse, remove_signal_handler=_refuse)
    instead(loop, add_reader=_refuse, add_writer=_refuse)  # the loop itself uses `_add_reader`
    instead(loop, create_unix_connection=_refuse, create_unix_server=_refuse)
    missing(select, "poll", "epoll", "kqueue")
    missing(selectors, "EpollSelector", "PollSelector")
    instead(selectors, DefaultSelector=selectors.SelectSelector)


def _sockets() -> None:
    pair, local = socket.socketpair, socket.AF_UNIX
    exclusive, shared = -5, socket.SO_REUSEPORT
    missing(socket, "AF_UNIX", "SO_REUSEPORT", "SO_BINDTODEVICE", "SOCK_CLOEXEC", "SOCK_NONBLOCK")
    missing(socket, "TCP_USER_TIMEOUT", "TCP_INFO", "TCP_QUICKACK", "TCP_CORK", "TCP_DEFER_ACCEPT")
    missing(socket, "MSG_NOSIGNAL", "MSG_DONTWAIT")
    set_option, bound = socket.socket.setsockopt, socket.socket.bind

    def setsockopt(self: socket.socket, level: int, option: int, *value: Any) -> None:
        """Let two sockets that say SO_REUSEADDR have one port, as there."""
        if (level, option) == (socket.SOL_SOCKET, exclusive):
            return
        if (level, option) == (socket.SOL_SOCKET, socket.SO_REUSEADDR):
            set_option(self, level, shared, *value)
        set_option(self, level, option, *value)

    def bind(self: socket.socket, address: Any) -> None:
        """Let a port be taken again while its old connections end, as there."""
        set_option(self, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound(self, address)

    instead(socket, socketpair=lambda *_: pair(local), SO_EXCLUSIVEADDRUSE=exclusive)
    instead(socket.socket, setsockopt=setsockopt, bind=bind)


def _clocks() -> None:
    def coarse(clock: Any, step: Any) -> Any:
        return lambda: clock() // step * step

    info = time.get_clock_info
    step = int(_RESOLUTION * 1e9)
    instead(
        time,
        monotonic=coarse(time.monotonic, _RESOLUTION),
        time=coarse(time.time, _RESOLUTION),
        monotonic_ns=coarse(time.monotonic_ns, step),
        time_ns=coarse(time.time_ns, step),
        get_clock_info=lambda name: SimpleNamespace(**vars(info(name)) | {"resolution": _RESOLUTION}),
    )
    missing(time, "clock_gettime", "clock_gettime_ns", "clock_getres", "clock_settime", "tzset")
    missing(time, *(name for name in dir(time) if name.startswith("CLOCK_")))


def _owners_and_modes() -> None:
    """Let files have neither owner nor mode, except that they can be read-only."""
    missing(os, "fchmod", "fchown", "chown", "lchown")

    def bare(status: os.stat_result) -> os.stat_result:
        mode = status.st_mode
        bits = 0o777 if stat.S_ISDIR(mode) else 0o666 if mode & stat.S_IWUSR else 0o444
        times = {name: getattr(status, name) for name in dir(status) if name.endswith(("time", "time_ns"))}
        values = (stat.S_IFMT(mode) | bits, *status[1:4], 0, 0, *status[6:])
        return os.stat_result(values, times)

    change = os.chmod

    def chmod(path: Any, mode: int, *, follow_symlinks: bool = True) -> None:
        if not follow_symlinks:
            raise NotImplementedError("chmod: follow_symlinks unavailable on this platform")
        change(path, 0o600 if mode & stat.S_IWUSR else 0o400)

    for name in ("stat", "lstat", "fstat"):
        found = getattr(os, name)
        instead(os, **{name: lambda *a, _found=found, **options: bare(_found(*a, **options))})
    instead(os, chmod=chmod)


def _names() -> None:
    """Refuse to open directories, and names that there cannot be."""
    missing(os, "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_DIRECTORY", "O_NOCTTY", "O_SYNC", "O_DSYNC")
    missing(os, "pread", "pwrite", "fdatasync", "posix_fadvise", "sendfile", "copy_file_range", "lockf")
    os_open, io_open = os.open, io.open

    def checked(path: Any) -> None:
        if isinstance(path, str | os.PathLike) and _FORBIDDEN & set(Path(path).name):
            raise OSError(22, "Invalid argument", str(path))

    def low(path: Any, *arguments: Any, **options: Any) -> int:
        checked(path)
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied", str(path))
        return os_open(path, *arguments, **options)

    def high(path: Any, *arguments: Any, **options: Any) -> Any:
        checked(path)
        return io_open(path, *arguments, **options)

    instead(os, open=low, O_BINARY=0)
    instead(io, open=high)
    instead(builtins, open=high)


def _open_files() -> None:
    """Let no file be removed or replaced that this process has open, SQLite's included."""
    status = os.lstat

    def is_open(path: Any) -> bool:
        with suppress(OSError):
            wanted = status(path)
            for one in Path("/proc/self/fd").iterdir() if stat.S_ISREG(wanted.st_mode) else ():
                with suppress(OSError):
                    if os.path.samestat(one.stat(), wanted):
                        return True
        return False

    def guarded(function: Any) -> Any:
        def call(*paths: Any, **options: Any) -> Any:
            for path in paths:
                if is_open(path):
                    raise PermissionError(13, "it is being used by another process", str(path))
            return function(*paths, **options)

        return call

    instead(os, **{name: guarded(getattr(os, name)) for name in ("unlink", "remove", "rename", "replace")})


def take_away() -> None:
    """Take everything away."""
    import_module("platformdirs.unix")  # it takes this system for what it is
    # A file that is opened without an encoding would have that of the system.
    warnings.filterwarnings("error", category=EncodingWarning, module="qrbackends")
    for take in (_modules, _processes, _signals, _event_loop, _sockets, _clocks):
        take()
    for take in (_open_files, _owners_and_modes, _names):
        take()
