"""To which event loop, and to which process, an object belongs."""

import os
import socket
from asyncio import AbstractEventLoop, CancelledError, current_task, get_running_loop, to_thread
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, TypeVar
from weakref import WeakSet

from ..errors import WrongEventLoop

T = TypeVar("T")

_ENDED: Final = (
    "the event loop in which the client was first used has ended, as that of each `asyncio.run(…)`: make "
    "all calls in one `asyncio.run(main())`, or keep one loop for them: `with asyncio.Runner() as runner: "
    "runner.run(client.backends())`"
)
_ANOTHER: Final = (
    "the client belongs to the event loop in which it was first used: call it there, from other threads with "
    "`asyncio.run_coroutine_threadsafe(…, loop)`, or make one for each loop"
)
_WORTH_A_THREAD: Final = 64 * 2**10  # bytes: compressing 64 kB takes 0.6 ms


def running_loop() -> AbstractEventLoop:
    """Return the running event loop of asyncio.

    Raises:
        WrongEventLoop: none runs here.
    """
    try:
        return get_running_loop()
    except RuntimeError:
        raise WrongEventLoop(
            "no event loop of asyncio runs here, and qrbackends needs one: use `asyncio.run(…)`, or "
            '`anyio.run(…, backend="asyncio")`; trio cannot run it'
        ) from None


def raise_own_cancellation() -> None:
    """Raise `CancelledError` if the current task is being cancelled.

    Called where a `BaseException` of somebody else's code was caught, which may be a `CancelledError` of its
    own: such a one is a failure of that code, and the task's own cancellation is none.
    """
    task = current_task()
    if task is not None and task.cancelling():
        raise CancelledError from None


async def off_loop(size: int, work: Callable[[], T]) -> T:
    """Return the result of some work on bytes, which is done in a thread if `size` bytes are many."""
    return work() if size < _WORTH_A_THREAD else await to_thread(work)


class LoopBound:
    """An object that belongs to the event loop and to the process in which it is first used.

    It may be made anywhere. If it was not used before its process was forked, each process may use its own
    copy. If it was used, then its connections and tasks are the parent's, and the child cannot use them.
    """

    _loop: AbstractEventLoop | None = None
    _forked = False

    def check_loop(self) -> None:
        """Raise `WrongEventLoop` in another event loop or process than that of the first use."""
        loop = running_loop()
        if self._forked:
            raise WrongEventLoop(
                "this process was forked after the client, pool or store was first used: its connections are "
                "the parent's; make one in each process, or use it only after the fork"
            )
        if self._loop is None:
            self._loop = loop
            _bound.add(self)
        elif self._loop is not loop:
            raise WrongEventLoop(_ENDED if self._loop.is_closed() else _ANOTHER)

    def has_ended(self) -> bool:
        """Return whether the event loop of the first use is closed, and with it all that ran there."""
        return self._loop is not None and self._loop.is_closed()

    def leave_to_parent(self) -> None:
        """Refuse every use from now on; called in a child process for what its parent has used."""
        # With no loop, `check` of a subclass, which compares loops first, comes to `check_loop`.
        self._loop, self._forked = None, True


def let_go(sockets: Iterable[socket.socket]) -> None:
    """Replace a parent's sockets by sockets without a connection, in a child process.

    When the connections are collected here, they are closed. With the parent's sockets, that would write a
    TLS `close_notify` to the peer, and remove them from the event queue of the kernel (epoll), which both
    processes share: the parent would wait for ever.
    """
    for connected in tuple(sockets):
        with suppress(OSError), socket.socket(connected.family) as unconnected:  # it may be closed already
            os.dup2(unconnected.fileno(), connected.fileno(), inheritable=False)


_bound: WeakSet[LoopBound] = WeakSet()


def _in_child() -> None:
    for one in tuple(_bound):  # no other thread runs here yet
        one.leave_to_parent()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_in_child)
