"""Closing before a fork what no child process may inherit.

SQLite's connections must not be carried into a child, not even to be closed there. So what uses one is told
before each fork, and again after it, in the parent and in the child.
"""

import os
import threading
from functools import partial
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """What closes what it has open before the process forks, and opens it again when it is next used."""

    def hold(self) -> None:
        """Wait for the operation that runs, close what is open, and begin no other one until `let_go`."""
        ...

    def let_go(self, *, child: bool) -> None:
        """Go on after a fork; a child needs a thread of its own."""
        ...


_forking = threading.Lock()
_known: WeakSet[Forkable] = WeakSet()
_held: list[Forkable] = []


def close_before_forks(one: Forkable) -> None:
    """Hold it before each fork from now on, for as long as it is referred to."""
    with _forking:
        _known.add(one)


def _before_fork() -> None:
    _forking.acquire()
    for one in tuple(_known):
        one.hold()
        _held.append(one)


def _after_fork(*, child: bool = False) -> None:
    for one in _held:
        one.let_go(child=child)
    _held.clear()
    _forking.release()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=partial(_after_fork, child=True)
    )
