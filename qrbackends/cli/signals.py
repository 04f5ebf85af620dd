"""What SIGINT and SIGTERM do to a command that runs until it is told to end."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import anyio

_ENDING = [signal.SIGINT, signal.SIGTERM]
if hasattr(signal, "SIGBREAK"):  # Ctrl-Break, the only one that a program on Windows can send to another
    _ENDING.append(signal.SIGBREAK)


@contextmanager
def ended_by_signals() -> Iterator[anyio.CancelScope]:
    """Yield a scope around what runs until a signal; the signal cancels it, and the program goes on after it.

    The first process of a container gets no signal for which it has no handler.
    """
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as scope:
        before = {number: signal.getsignal(number) for number in _ENDING}
        for number in _ENDING:
            try:
                loop.add_signal_handler(number, scope.cancel)
            except NotImplementedError:  # on Windows, whose event loop wakes up for Python's own handlers
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(scope.cancel))
        try:
            yield scope
        finally:
            for number, handler in before.items():
                with suppress(NotImplementedError):
                    loop.remove_signal_handler(number)
                signal.signal(number, handler)
