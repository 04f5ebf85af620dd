"""Calibrations of the past, in order of time: `updated_before`, walked in many windows at once."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from msgspec import Struct

from ..accounts.account import AnInstance
from ..cache.entry import Fetch
from ..errors import (
    DecodeError,
    InvalidRequest,
    NotFound,
    QRBackendsError,
    ResponseError,
)
from ..models import BackendProperties
from ..protocol.requests import Request
from ..tasks.flight import stopped

_WINDOWS = 8  # that are walked at once
_WANTED = 12  # calibrations in a window: what waits for its turn is held in memory
_FIRST = timedelta(hours=12)  # a window's length, until it is known how often the device is calibrated
_SHORTEST, _LONGEST = timedelta(hours=1), timedelta(days=60)
_SHORTEST_STEP = timedelta(minutes=1)
_TRIES = 3  # of a question, each with the client's own repetitions, before a gap is reported
_RESOLUTION = timedelta(seconds=1)  # of the dates of calibrations


class Gap(Struct, frozen=True):
    """A stretch of time of which nothing is known, as the service failed; it is false, calibrations are true.

    Attributes:
        since: where it begins.
        until: where it ends.
        error: why.
    """

    since: datetime
    until: datetime
    error: QRBackendsError

    def __bool__(self) -> Literal[False]:
        return False


class Window(NamedTuple):
    """A stretch of time, and all calibrations in it.

    Attributes:
        since: where it begins, inclusive.
        until: where it ends, exclusive.
        calibrations: in order of time.
        gap: what of it is not known, or None.
    """

    since: datetime
    until: datetime
    calibrations: tuple[BackendProperties, ...]
    gap: Gap | None = None


class History:
    """A backend's calibrations in a stretch of time, in order; an async iterable, also by windows.

    The range is cut into windows, each of which is walked backward: the newest calibration before an instant,
    the newest before that one, and so on; one request for each calibration, and one for each window. Several
    windows are walked at once. No more is begun than is taken, so that memory stays the same however long
    the range is. Whoever iterates once more asks anew, for what the shared tier does not have.

    Args:
        fetch: answers requests.
        backend_id: the backend's name.
        since: where the range begins, inclusive.
        until: where it ends, exclusive.
        every: the newest calibration before each of the instants that lie so far apart; left out, all.
        calibration_id: a named variant of the backend.
        instance: ask this one.

    Raises:
        InvalidRequest: an instant has no time zone, or the range or `every` makes no sense.
    """

    def __init__(
        self,
        fetch: Fetch,
        backend_id: str,
        since: datetime,
        until: datetime,
        every: timedelta | None = None,
        calibration_id: str | None = None,
        instance: AnInstance = None,
    ) -> None:
        if every is not None and (not isinstance(every, timedelta) or every < _SHORTEST_STEP):
            raise InvalidRequest("every has to be a timedelta of a minute or more")
        self._newest = Request("properties", backend_id, calibration_id)
        self._since, self._until = checked_range(since, until)
        self._fetch = fetch
        self._every = every
        self._instance = instance
        self._inclusive = False
        self.newest: datetime | None = None
        """The date of the device's newest calibration, once the first window has come."""

    async def __aiter__(self) -> AsyncGenerator[BackendProperties | Gap, None]:
        async with aclosing(self.windows()) as windows:
            async for window in windows:
                if window.gap is not None:  # it is the older part of what the window holds
                    yield window.gap
                for one in window.calibrations:
                    yield one

    async def windows(self) -> AsyncGenerator[Window, None]:
        """Yield windows in order of time, one after the other without a break.

        Raises:
            NotFound: there is no such backend, or it never was calibrated.
            AccountError: or another error that asking for something else will not mend.
        """
        found = await self._fetch(self._newest, instance=self._instance, refresh=True)
        self.newest = newest = found.value.last_update_date
        until = max(self._since, min(self._until, newest + _RESOLUTION))
        under_way: deque[asyncio.Task[Window]] = deque()
        length = _FIRST if self._every is None else _WANTED * self._every
        begun = self._since
        try:
            while under_way or begun < until:
                while begun < until and len(under_way) < _WINDOWS:
                    end = min(begun + length, until)
                    under_way.append(asyncio.ensure_future(self._window(begun, end)))
                    begun = end
                window = await under_way[0]
                under_way.popleft()
                if self._every is None:
                    length = _fitting(window, length)
                yield window
        finally:
            await stopped(under_way)

    async def _window(self, since: datetime, until: datetime) -> Window:
        """Return all calibrations from `since` on and before `until`, walking backward."""
        found: deque[BackendProperties] = deque()
        asked = until
        while asked > since:
            try:
                one = await self._before(asked)
            except NotFound:  # there was none before then
                break
            except QRBackendsError as error:
                if ends_history(error):
                    raise
                return Window(since, until, tuple(found), Gap(since, asked, error))
            at = one.last_update_date
            if at == asked and (at == until or (found and at == found[0].last_update_date)):
                self._inclusive = True  # the service means "until then": what is before it is wanted
                asked -= _RESOLUTION
                continue
            if at < since:
                break
            found.appendleft(one)
            asked = self._next(at)
        return Window(since, until, tuple(found))

    def _next(self, at: datetime) -> datetime:
        """Return the instant to ask for after a calibration of `at`: between them the answer is the same."""
        if self._every is not None:
            at = self._since + (at - self._since) // self._every * self._every
        return at - _RESOLUTION if self._inclusive else at

    async def _before(self, asked: datetime) -> BackendProperties:
        request = Request("properties", self._newest.backend_id, self._newest.calibration_id, asked)
        tries = 1
        while True:
            try:
                return await self._answer(request)
            except QRBackendsError as error:
                if tries == _TRIES or ends_history(error):
                    raise
            tries += 1

    async def _answer(self, request: Request) -> BackendProperties:
        properties: BackendProperties = (await self._fetch(request, instance=self._instance)).value
        if request.updated_before is not None and properties.last_update_date > request.updated_before:
            raise DecodeError("the service answered with a calibration after the instant asked for")
        return properties


def ends_history(error: QRBackendsError) -> bool:
    """Return whether other instants would be refused for the same reason."""
    return error.final or (isinstance(error, ResponseError) and not error.outage)


def _fitting(window: Window, length: timedelta) -> timedelta:
    """Return how long a window has to be to hold as many calibrations as are wanted, by the last one."""
    count = len(window.calibrations)
    fitting = (window.until - window.since) * _WANTED / count if count else 2 * length
    return min(max(fitting, length / 4, _SHORTEST), 4 * length, _LONGEST)


def checked_range(since: datetime, until: datetime) -> tuple[datetime, datetime]:
    """Return the ends of a range in UTC.

    Raises:
        InvalidRequest: one of them has no time zone, or they are not in order.
    """
    begin, end = _utc("since", since), _utc("until", until)
    if begin >= end:
        raise InvalidRequest("since has to be before until")
    return begin, end


def _utc(name: str, when: datetime) -> datetime:
    if not isinstance(when, datetime) or when.utcoffset() is None:
        raise InvalidRequest(f"{name} has to be a datetime with a time zone, such as datetime.now(UTC)")
    return when.astimezone(UTC)
