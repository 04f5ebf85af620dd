"""One consumer of a watcher's polls."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from ..accounts.account import Instance

Only: TypeAlias = Callable[[], Awaitable[Instance]] | None
"""Looks up the instance whose list alone is watched; None for the lists of all instances."""


class Subscription:
    """One consumer of a watcher's polls.

    Attributes:
        interval: seconds between two reports to the consumer.
        names: the backends that the consumer watches, or None for all.
        detail: whether the consumer wants new calibrations.
        only: the CRN of the instance whose list the consumer watches, or None for all.
        changed: set when the fleet's state may have changed.
        end: the error that ended the subscription, or None.
    """

    def __init__(self, interval: float, names: frozenset[str] | None, detail: bool, only: str | None) -> None:
        self.interval = interval
        self.names = names
        self.detail = detail
        self.only = only
        self.changed = asyncio.Event()
        self.end: Exception | None = None
        self.polled = -math.inf  # when the poll began that was reported last
        self.not_before = -math.inf  # earlier polls did not ask for its list
        self.calibrations = 0  # rounds of calibrations that were reported

    def wants(self, name: str) -> bool:
        """Return whether a backend of this name is watched."""
        return self.names is None or name in self.names
