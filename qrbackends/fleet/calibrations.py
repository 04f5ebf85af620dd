"""The summaries of a monitored fleet's calibrations, each made anew when the calibration has changed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias
from weakref import ref

from anyio import to_thread
from msgspec.structs import replace

from ..cache.entry import Fetched
from ..errors import ClientClosed, DecodeError, InvalidRequest, WrongEventLoop
from ..models import BackendProperties, BackendSummary, summary
from ..protocol.requests import Request
from ..tasks.fanout import answers
from ..tasks.flight import stopped
from .changes import RegionalName
from .monitored import MonitoredBackend

CLOSED = (ClientClosed, WrongEventLoop)
"""The errors of a client after which nothing more will come from it."""

Ask: TypeAlias = Callable[[Request, str | None], Awaitable[Fetched[Any] | None]]
"""Returns an instance's answer to a request, or None if the request failed; raises one of `CLOSED`."""

_ROUND = 60.0  # seconds between two rounds; the cache decides whether a request is sent
_AT_ONCE = 8  # calibrations that are requested at the same time
_LONGEST = 100  # characters of a backend's name in the log
_LARGE = 500  # qubits of a device whose summary is made in a thread; it takes 50 ms for 2,000

logger = logging.getLogger("qrbackends.monitor")


class _Look(NamedTuple):
    """The last look at a backend's properties: the document, which the cache may have evicted, and its end.

    Attributes:
        document: the document; nothing here keeps it in memory.
        fresh_until: when its freshness ends, by the monitor's clock.
    """

    document: ref[BackendProperties]
    fresh_until: float


class Calibrations:
    """Asks for each backend's properties again when their freshness ends, and summarizes the new ones.

    Args:
        ask: sends the requests.
        fleet: the backends at each moment.
        summarized: is called with a backend and the summary of its properties, without their age.
        sleep: waits for a number of seconds.
        clock: returns the seconds of a monotonic clock.
    """

    def __init__(
        self,
        ask: Ask,
        fleet: Mapping[RegionalName, MonitoredBackend],
        summarized: Callable[[RegionalName, BackendSummary], None],
        *,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self._ask = ask
        self._fleet = fleet
        self._summarized = summarized
        self._sleep = sleep
        self._clock = clock
        self._looks: dict[RegionalName, _Look] = {}
        self._wanted = asyncio.Event()  # set when a round has to begin
        self._summarizing = asyncio.Lock()

    def added(self) -> None:
        """Begin a round soon, as the fleet has another backend."""
        self._wanted.set()

    def removed(self, key: RegionalName) -> None:
        """Forget what is known of a backend that has left the fleet."""
        self._looks.pop(key, None)

    async def follow(self) -> None:
        """Follow the calibrations without an end.

        Raises:
            ClientClosed: the client was closed.
            WrongEventLoop: the client belongs to another event loop.
        """
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await answers([key for key in self._fleet if self._is_due(key)], self._look, _AT_ONCE)
            waiting = asyncio.ensure_future(self._wanted.wait())
            resting = asyncio.ensure_future(self._sleep(_ROUND))
            try:
                await asyncio.wait({waiting, resting}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await stopped([waiting, resting])
            self._wanted.set()

    def _is_due(self, key: RegionalName) -> bool:
        last = self._looks.get(key)
        return last is None or self._clock() >= last.fresh_until

    async def _look(self, key: RegionalName) -> None:
        known, last = self._fleet.get(key), self._looks.get(key)
        if known is None:
            return
        try:
            request = Request("properties", known.backend.name)
            fetched = await self._ask(request, known.backend.instance)
            if fetched is None or key not in self._fleet:
                return  # simulators and new backends have none; the next round asks again
            self._looks[key] = _Look(ref(fetched.value), self._clock() + fetched.fresh_for)
            if last is None or fetched.value is not last.document():
                found = await self._summary(fetched.value)
                if key in self._fleet:  # it may have disappeared meanwhile
                    self._summarized(key, found)
        except (InvalidRequest, DecodeError):  # this backend's name, or its document, cannot be used
            return
        except CLOSED:
            raise
        except Exception:  # one odd document must not keep the other backends' from being read
            logger.exception("the calibration of %r cannot be used", known.backend.name[:_LONGEST])

    async def _summary(self, properties: BackendProperties) -> BackendSummary:
        """Return the summary of a document, without its age."""
        made = partial(summary, properties=properties)
        if len(properties.qubits) <= _LARGE:
            found = made()
        else:
            async with self._summarizing:  # several threads would delay the event loop, too
                found = await to_thread.run_sync(made)
        return replace(found, calibration_age=None)
