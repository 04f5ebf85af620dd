"""One client's calls: each with a deadline, and all of them over when the client is closed."""

from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Protocol, TypeAlias

import anyio

from ..errors import ClientClosed, InvalidRequest, Timeout, WrongEventLoop

Seconds: TypeAlias = float | None
"""A number of seconds; None for the usual one."""


class Closable(Protocol):
    """What calls go through."""

    @property
    def closed(self) -> bool:
        """Whether nothing can go through it any more."""
        ...


class Calls:
    """The calls of one client.

    Args:
        total: seconds that a call may take unless it says otherwise.
        way: what the calls go through; once it is closed, there are no more.
    """

    def __init__(self, total: float, way: Closable) -> None:
        self._total = total
        self._way = way
        self._loop: AbstractEventLoop | None = None
        self._scopes: set[anyio.CancelScope] = set()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether there are no more calls."""
        return self._closed or self._way.closed

    def deadline(self, timeout: Seconds = None) -> float:
        """Return when a call that begins now has to end, in the event loop's time.

        Args:
            timeout: seconds that it may take; left out, the usual time.

        Raises:
            InvalidRequest: it is no number greater than zero.
        """
        if timeout is None:
            return get_running_loop().time() + self._total
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
            raise InvalidRequest("timeout has to be a number of seconds greater than zero")
        return anyio.current_time() + (
            timeout if timeout < 1e300 else inf
        )  # integers may be larger than floats

    @contextmanager
    def call(self, deadline: float | None = None) -> Iterator[None]:
        """Bound what runs inside by a deadline, and end it when the client is closed.

        Args:
            deadline: in the event loop's time; left out, the usual time from now.

        Raises:
            Timeout: the deadline passed.
            ClientClosed: the client is closed, or was meanwhile.
            WrongEventLoop: the client belongs to another event loop.
        """
        self.check()
        began = anyio.current_time()
        until = began + self._total if deadline is None else deadline
        with anyio.CancelScope(deadline=until) as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)
        if scope.cancelled_caught:
            if self.closed:
                raise ClientClosed("the client was closed during the call")
            raise Timeout(f"no answer within {max(0.0, until - began):.3g} s")

    def check(self) -> None:
        """Raise `ClientClosed` if the client is closed, and `WrongEventLoop` in another loop than its own."""
        if self._closed or self._way.closed:
            raise ClientClosed("the client is closed")
        if get_running_loop() is not self._loop:
            self.check_loop()

    def check_loop(self) -> None:
        """Raise `WrongEventLoop` in another event loop than the one in which the first call was made."""
        loop = get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise WrongEventLoop(
                "the client belongs to the event loop in which it was first used; make one for each loop"
            )

    def end(self) -> None:
        """End all calls, whose callers get `ClientClosed`, and let no other begin."""
        self._closed = True
        for scope in tuple(self._scopes):
            scope.cancel()
