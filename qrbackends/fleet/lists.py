"""The lists of all instances, fetched at each poll; an instance that does not answer delays no other."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from ..cache.entry import Fetch
from ..errors import QRBackendsError, TransportError
from ..models import BackendList
from ..protocol.requests import Request
from ..tasks.flight import stopped


class InstanceLists:
    """Fetches one list from each instance at a time; one that takes long stays under way for a later poll.

    Args:
        fetch: answers requests, as `Client.fetch` does.
        sleep: waits for a number of seconds.

    Attributes:
        crns: the CRNs of the account's instances at the last poll, in order of preference.
        behind: the age in seconds of the oldest list that another process fetched for the last poll.
    """

    def __init__(self, fetch: Fetch, sleep: Callable[[float], Awaitable[None]]) -> None:
        self.crns: Sequence[str] = ()
        self.behind = 0.0
        self._fetch = fetch
        self._sleep = sleep
        self._tasks: dict[str, asyncio.Task[BackendList]] = {}  # under way, by CRN

    @property
    def under_way(self) -> Collection[asyncio.Task[BackendList]]:
        """The fetches that have not been collected."""
        return self._tasks.values()

    async def poll(
        self, crns: Sequence[str], patience: float, **how: Any
    ) -> dict[str, BackendList | QRBackendsError]:
        """Return each instance's list or error, without those that take longer than `patience` seconds.

        Args:
            crns: the CRNs of the account's instances.
            patience: seconds to wait.
            how: the options of `fetch`.

        Raises:
            Exception: a fetch failed with an error that is final, or not one of this package's.
        """
        self.crns, self.behind = crns, 0.0
        await stopped([self._tasks.pop(crn) for crn in self._tasks.keys() - set(crns)])
        for crn in crns:
            if crn not in self._tasks:
                self._tasks[crn] = asyncio.ensure_future(self._list(crn, how))
        waiting = asyncio.ensure_future(self._sleep(patience))
        try:
            while not waiting.done() and (under_way := [t for t in self._tasks.values() if not t.done()]):
                await asyncio.wait({waiting, *under_way}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await stopped([waiting])
        return self.arrived()

    def arrived(self) -> dict[str, BackendList | QRBackendsError]:
        """Return the lists and errors that have arrived since the last call, by CRN.

        Raises:
            Exception: as `poll` does.
        """
        found: dict[str, BackendList | QRBackendsError] = {}
        for crn, task in [(crn, task) for crn, task in self._tasks.items() if task.done()]:
            del self._tasks[crn]
            if task.cancelled():
                found[crn] = TransportError("its list was cancelled by other code").about(instance=crn)
                continue
            error = task.exception()
            if isinstance(error, QRBackendsError) and not error.final:
                found[crn] = error
            else:
                found[crn] = task.result()  # or raises what ends the watch
        return found

    def forgotten(self) -> Collection[asyncio.Task[BackendList]]:
        """Return the fetches that are under way, which the caller has to stop, and forget them."""
        tasks, self._tasks = self._tasks, {}
        return tasks.values()

    async def _list(self, crn: str, how: dict[str, Any]) -> BackendList:
        listed = await self._fetch(Request("backends"), instance=crn, **how)
        if listed.source != "origin":
            self.behind = max(self.behind, listed.age)
        backends: BackendList = listed.value
        return backends
