"""Takes from this Python what it has not on macOS.

This is no macOS: sockets and files are those of this system, and `select` stands for kqueue.
"""

import os
import select
import selectors
import socket
import time

from .taking import instead, missing

_CLOCKS = {"CLOCK_MONOTONIC", "CLOCK_MONOTONIC_RAW", "CLOCK_PROCESS_CPUTIME_ID", "CLOCK_REALTIME"}
_CLOCKS |= {"CLOCK_THREAD_CPUTIME_ID"}


def take_away() -> None:
    """Take everything away."""
    missing(time, *(name for name in dir(time) if name.startswith("CLOCK_") and name not in _CLOCKS))
    missing(socket, "TCP_USER_TIMEOUT", "TCP_QUICKACK", "TCP_CORK", "TCP_DEFER_ACCEPT", "SO_BINDTODEVICE")
    missing(socket, "SOCK_CLOEXEC", "SOCK_NONBLOCK", "SO_INCOMING_CPU")
    missing(select, "epoll")
    missing(selectors, "EpollSelector")
    instead(selectors, DefaultSelector=selectors.SelectSelector)
    missing(os, "sched_getaffinity", "pipe2", "O_PATH", "O_TMPFILE", "memfd_create", "eventfd", "fdatasync")
    missing(os, "posix_fadvise", "copy_file_range", "splice", "pidfd_open", "getrandom", "setresuid")
