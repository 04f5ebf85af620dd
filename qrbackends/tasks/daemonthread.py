"""A thread for work that may hang, which then does not hold up the end of the process."""

import atexit
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_PARTING: Final = 2.0  # seconds


class DaemonThread(Executor):
    """Runs functions in one thread, one after the other.

    A process that ends waits for the thread of a `ThreadPoolExecutor`, however long that takes. For this one
    it waits two seconds, as a thread that runs until the very end may crash the process. Functions that have
    not begun by then do not begin any more.

    Args:
        name: the thread's name.
    """

    def __init__(self, name: str) -> None:
        self._work: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._working = Lock()
        Thread(target=self._run, name=name, daemon=True).start()
        atexit.register(self._working.acquire, timeout=_PARTING)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function as soon as the thread is free, and return the future of its result."""
        future: Future[T] = Future()
        self._work.put((future, partial(fn, *args, **kwargs)))
        return future

    def _run(self) -> None:
        while True:
            self._do(*self._work.get())  # without a variable, which would keep the last result alive

    def _do(self, future: Future[Any], work: Callable[[], Any]) -> None:
        with self._working:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = work()
            except BaseException as error:  # SystemExit, too: the thread has others to serve
                future.set_exception(error)
                del future, work  # which the error's traceback leads to
            else:
                future.set_result(result)
