"""What SIGINT and SIGTERM do to a command that runs until it is told to end."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

_ENDING = [signal.SIGINT, signal.SIGTERM]
if hasattr(signal, "SIGBREAK"):  # Ctrl-Break, the only one that a program on Windows can send to another
    _ENDING.append(signal.SIGBREAK)


@contextmanager
def ended_by_signals() -> Iterator[anyio.CancelScope]:
    """Yield a scope around what runs until a signal; the signal cancels it, and the program goes on after it.

    The first process of a container gets no signal for which it has no handler. The handlers are Python's,
    as Windows' event loop has none of its own.
    """
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as scope:

        def end(*_: object) -> None:
            loop.call_soon_threadsafe(scope.cancel)  # it wakes the loop up

        before = {number: signal.signal(number, end) for number in _ENDING}
        try:
            yield scope
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
