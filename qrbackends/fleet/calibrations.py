"""The summaries of a monitored fleet's calibrations, each made anew when the calibration has changed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container, Mapping
from functools import partial
from typing import NamedTuple
from weakref import ref

from anyio import to_thread
from msgspec.structs import replace

from ..cache.entry import Fetch
from ..errors import (
    ClientClosed,
    InvalidRequest,
    NotFound,
    QRBackendsError,
    TransportError,
    WrongEventLoop,
)
from ..models import Backend, BackendProperties, BackendSummary, summary
from ..protocol.requests import Request
from ..tasks.fanout import answers
from ..tasks.flight import stopped
from .changes import RegionalName
from .monitored import MonitoredBackend

CLOSED = (ClientClosed, WrongEventLoop)
"""The errors of a client after which nothing more will come from it."""

_ROUND = 60.0  # seconds between two rounds; the cache decides whether a request is sent
_AT_ONCE = 8  # calibrations that are requested at the same time
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
        fetch: answers requests, as `Client.fetch` does.
        fleet: the backends at each moment.
        failing: the instances that cannot be listed, by CRN, at each moment.
        summarized: is called with a backend and the summary of its properties, without their age.
        judged: is called with a backend after each look: with the error if its calibration cannot be read, or
            with None. `NotFound` is no such error, as simulators and new backends have no calibration, unless
            all have none; nor is the failure of a whole instance, after which it is not called.
        sleep: waits for a number of seconds.
        clock: returns the seconds of a monotonic clock.
    """

    def __init__(
        self,
        fetch: Fetch,
        fleet: Mapping[RegionalName, MonitoredBackend],
        failing: Container[str | None],
        summarized: Callable[[RegionalName, BackendSummary], None],
        judged: Callable[[RegionalName, QRBackendsError | None], None],
        *,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self._fetch = fetch
        self._fleet = fleet
        self._summarized = summarized
        self._judged = judged
        self._failing = failing
        self._sleep = sleep
        self._clock = clock
        self._looks: dict[RegionalName, _Look] = {}
        self._absent: dict[RegionalName, NotFound] = {}
        self._unreached: set[RegionalName] = set()  # to which the connection failed at the last look
        self._wanted = asyncio.Event()  # set when a round has to begin
        self._summarizing = asyncio.Lock()

    def added(self) -> None:
        """Begin a round soon, as the fleet has another backend."""
        self._wanted.set()

    def removed(self, key: RegionalName) -> None:
        """Forget what is known of a backend that has left the fleet."""
        self._looks.pop(key, None)
        self._absent.pop(key, None)
        self._unreached.discard(key)

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
            self._judge_absence()
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

    def _judge_absence(self) -> None:
        """Take it for a failure where no quantum computer at all has properties."""
        devices = [key for key, one in self._fleet.items() if not one.backend.is_simulator]
        is_failure = bool(devices) and all(key in self._absent for key in devices)
        for key, error in self._absent.items():
            self._judge(key, error if is_failure else None)

    def _judge(self, key: RegionalName, error: QRBackendsError | None) -> None:
        """Tell whether a calibration can be read, unless the whole instance fails."""
        if error is None:
            self._unreached.discard(key)
        elif self._is_of_instance(key, error):
            return
        self._judged(key, error)

    def _is_of_instance(self, key: RegionalName, error: QRBackendsError) -> bool:
        """Return whether an error is that of the whole instance, as far as this is known by now.

        Where a connection fails, the list of the instance may be about to fail, too: the next look decides.
        """
        if isinstance(error, TransportError) and key not in self._unreached:
            self._unreached.add(key)
            return True
        crn = self._fleet[key].backend.instance
        return error.final or None in self._failing or (error.outage and crn in self._failing)

    async def _look(self, key: RegionalName) -> None:
        known = self._fleet.get(key)
        if known is None:
            return
        failure: QRBackendsError | None = None
        try:
            await self._read(key, known.backend)
        except InvalidRequest:  # nobody can ask for a backend of this name
            return
        except NotFound as error:
            if key in self._fleet:  # it may have disappeared meanwhile
                self._absent[key] = error
            return
        except CLOSED:
            raise
        except QRBackendsError as error:
            failure = error
        except Exception as error:  # one odd document must not keep the other backends' from being read
            logger.debug("a calibration cannot be used", exc_info=True)
            failure = QRBackendsError(f"its calibration cannot be used: {type(error).__name__}")
            failure.about(region=key[0], instance=known.backend.instance, backend=key[1])
        self._absent.pop(key, None)
        if key in self._fleet:
            self._judge(key, failure)

    async def _read(self, key: RegionalName, backend: Backend) -> None:
        """Ask for a backend's properties, and summarize them if they are new."""
        last = self._looks.get(key)
        fetched = await self._fetch(Request("properties", backend.name), instance=backend.instance)
        if key not in self._fleet:  # it has disappeared meanwhile
            return
        look = _Look(ref(fetched.value), self._clock() + fetched.fresh_for)
        if last is None or fetched.value is not last.document():
            found = await self._summary(fetched.value)
            if key not in self._fleet:
                return
            self._summarized(key, found)
        self._looks[key] = look  # of a document without a summary there is none: it is tried again

    async def _summary(self, properties: BackendProperties) -> BackendSummary:
        """Return the summary of a document, without its age."""
        made = partial(summary, properties=properties)
        if len(properties.qubits) <= _LARGE:
            found = made()
        else:
            async with self._summarizing:  # several threads would delay the event loop, too
                found = await to_thread.run_sync(made)
        return replace(found, calibration_age=None)
