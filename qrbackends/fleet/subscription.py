"""One consumer of a watcher's polls."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from ..accounts.account import Instance
from ..messages.counts import counted
from ..messages.suggestions import suggested
from .changes import FleetState

logger = logging.getLogger("qrbackends.watch")

_MOST_NAMED = 10

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
        self._checked = names is None  # whether all names were looked for in complete lists

    def wants(self, name: str) -> bool:
        """Return whether a backend of this name is watched."""
        return self.names is None or name in self.names

    def check_names(self, state: FleetState, instances: Sequence[str]) -> None:
        """Log a warning for each watched backend that no list has, once, when all lists have come.

        It is no error, as a new device may be waited for.

        Args:
            state: what is known of the fleet.
            instances: the CRNs of the account's instances.
        """
        if self._checked:
            return
        crns = set(instances if self.only is None else (self.only,))
        if not crns <= state.instances or not crns.isdisjoint(state.failing):
            return
        listed = {name for crn, name in (*state.backends, *state.odd) if crn in crns}
        if "" in listed:  # an entry that cannot be read, nor its name
            return
        self._checked = True
        missing = sorted((self.names or frozenset()) - listed)
        if len(missing) > _MOST_NAMED:  # to look for the nearest names of very many would hold up the loop
            count = counted(len(missing), "name")
            logger.warning("no list has %s, which are watched; the first of them follow", count)
        for name in missing[:_MOST_NAMED]:
            logger.warning("%s", suggested(f"no list has {name!r:.80}, which is watched", name, listed))
