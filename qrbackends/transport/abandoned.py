"""Sessions whose end nobody can wait for: of a pool that was collected, or of a loop that has ended."""

import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol

import aiohttp

from .connector import Connector


class Region(Protocol):
    """A session, and its connector."""

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session."""
        ...

    @property
    def connector(self) -> Connector:
        """Its connector."""
        ...


def collected(regions: Mapping[Any, Region]) -> None:
    """Warn of a pool that was collected unclosed, and close its connections without waiting for their end."""
    unclosed = [region for region in regions.values() if not region.session.closed]
    if unclosed:
        warnings.warn(
            "a Client, or a SessionPool, was never closed: use `async with`, or await its `aclose()`",
            ResourceWarning,
            stacklevel=1,
        )
        close_at_once(unclosed)


def close_at_once(regions: Iterable[Region]) -> None:
    """Close the connections, also those of an event loop that has ended."""
    for region in regions:
        closing = region.session.close()
        with suppress(StopIteration, RuntimeError):  # the loop may have ended
            closing.send(None)  # nothing can be awaited here; the connections are closed before it waits
        closing.close()
        region.connector.close_sockets()
