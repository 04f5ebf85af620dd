"""The history of a backend's calibrations, in order of time, fetched in several windows concurrently."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from ..accounts.account import AnInstance
from ..cache.entry import Fetch
from ..errors import (
    DecodeError,
    InvalidRequest,
    NotFound,
    QRBackendsError,
    RedirectRefused,
    ResponseError,
    TLSError,
)
from ..messages.counts import counted
from ..models import ABackend, BackendProperties
from ..models.formatting import probability, scaled, visible
from ..models.notebook import html_table
from ..models.shown import Shown
from ..protocol.requests import Request
from ..tasks.flight import stopped
from ..tasks.misuse import AsyncIteration

_WINDOWS = 8  # windows that are fetched at a time
_WANTED = 12  # calibrations per window; all calibrations of a window are in memory before it is yielded
_FIRST = timedelta(hours=12)  # the length of the first windows, before the rate of calibrations is known
_SHORTEST, _LONGEST = timedelta(hours=1), timedelta(days=60)
_SHORTEST_STEP = timedelta(minutes=1)
_BURST = 100  # calibrations of a window that may be closer together than `_SHORTEST_STEP` on average
_TRIES = 3  # calls per calibration, each with the client's own retries, before a gap is reported
_RESOLUTION = timedelta(seconds=1)  # the resolution of the dates of calibrations


class Gap(Shown, frozen=True):
    """A period whose calibrations are unknown, because the service failed, or gave far too many of them.

    `bool(gap)` is False, and `bool` of a calibration is True.

    Attributes:
        since: the beginning of the period.
        until: the end of the period.
        error: the error of the service.
    """

    since: datetime
    until: datetime
    error: QRBackendsError

    def __bool__(self) -> Literal[False]:
        return False


class Window(NamedTuple):
    """A period, and all calibrations in it.

    Attributes:
        since: the beginning of the period, inclusive.
        until: the end of the period, exclusive.
        calibrations: the calibrations, in order of time.
        gap: the part of the period whose calibrations are unknown, or None; it is before the calibrations.
    """

    since: datetime
    until: datetime
    calibrations: tuple[BackendProperties, ...]
    gap: Gap | None = None


class CalibrationList(tuple[BackendProperties | Gap, ...]):
    """The calibrations of a backend in order of time, and the gaps between them.

    A notebook shows a table of the medians.
    """

    @property
    def emulated(self) -> bool:
        """Whether an emulator sent any of the calibrations, and not IBM's service."""
        return any(one.emulated for one in self if isinstance(one, BackendProperties))

    def __repr__(self) -> str:
        return f"<CalibrationList: {self._caption()}>"

    def _repr_html_(self) -> str | None:
        head = ("calibrated", "T1 µs", "T2 µs", "readout error", "two-qubit error", "faulty qubits")
        try:
            return html_table(self._caption(), map(_row, self), head, emulated=self.emulated)
        except DecodeError:  # such as a unit that is not known
            return None

    def _caption(self) -> str:
        known = [one for one in self if isinstance(one, BackendProperties)]
        of = f" of {visible(known[0].backend_name, 100)}" if known else ""
        return f"{counted(len(known), 'calibration')}{of}, {counted(len(self) - len(known), 'gap')}"


def _row(one: BackendProperties | Gap) -> tuple[object, ...]:
    if isinstance(one, Gap):
        return one.since, f"not known until {one.until:%Y-%m-%d %H:%M}: {one.error}"
    times = [scaled(one.qubit_measurements(name).median, 1e6) for name in ("T1", "T2")]
    errors = [probability(error) for error in (one.median_readout_error(), one.median_two_qubit_error())]
    return one.last_update_date, *times, *errors, len(one.faulty_qubits())


class History(AsyncIteration):
    """A backend's calibrations in a period, in order of time: an async iterable.

    The period is cut into windows. In each window the calibrations are fetched from the newest to the oldest:
    the newest before the window's end, the newest before that one, and so on. This takes one request for each
    calibration, and one more for each window. A window with more than a hundred calibrations that are less
    than a minute apart, on average, ends with a gap, so that no service can make it endless. Several windows
    are fetched concurrently; the next one begins when one was yielded, so that memory does not grow with the
    period. A second iteration fetches again everything that the shared tier does not have.

    Args:
        fetch: answers requests, as `Client.fetch` does.
        backend: the backend's name, or its entry in the list.
        since: the beginning of the period, inclusive.
        until: the end of the period, exclusive.
        every: the interval of samples: fetch only the newest calibration before each of the instants
            `since + every`, `since + 2 * every`, …, and before `until`. None: fetch all calibrations.
        calibration_id: a named variant of the backend.
        instance: the instance to ask; None for the first that lists the backend.

    Raises:
        InvalidRequest: an instant has no time zone, `since` is not before `until`, or `every` is less than a
            minute.
    """

    read_by = "`async for one in client.history(…)`, or by `await client.history(…).collect()`"

    def __init__(
        self,
        fetch: Fetch,
        backend: ABackend,
        since: datetime,
        until: datetime,
        every: timedelta | None = None,
        calibration_id: str | None = None,
        instance: AnInstance = None,
    ) -> None:
        if every is not None and (not isinstance(every, timedelta) or every < _SHORTEST_STEP):
            raise InvalidRequest("every has to be a timedelta of a minute or more")
        self._newest = Request("properties", backend, calibration_id)
        self._since, self._until = checked_range(since, until)
        every = every and min(every, self._until - self._since)
        self._fetch = fetch
        self._every = every
        self._instance = instance
        self._inclusive = False  # whether the service takes `updated_before` as "at or before"
        self.newest: datetime | None = None
        """The date of the device's newest calibration; None before the first window was yielded."""

    async def __aiter__(self) -> AsyncGenerator[BackendProperties | Gap, None]:
        async with aclosing(self.windows()) as windows:
            async for window in windows:
                if window.gap is not None:  # it is before the window's calibrations
                    yield window.gap
                for one in window.calibrations:
                    yield one

    async def collect(self) -> CalibrationList:
        """Return all calibrations and gaps; all are in memory then."""
        return CalibrationList([one async for one in self])

    def __repr__(self) -> str:
        period = f"{self._since:%Y-%m-%d %H:%M} to {self._until:%Y-%m-%d %H:%M} UTC"
        return f"<History of {self._newest.backend:.100}, {period}>"

    def _repr_html_(self) -> str:
        rows = [("from", self._since), ("until", self._until), ("every", self._every or "calibration")]
        rows.append(("to read it", "async for one in history, or await history.collect()"))
        return html_table(f"history of {self._newest.backend}", rows)

    async def windows(self) -> AsyncGenerator[Window, None]:
        """Yield the windows in order of time; each begins where the one before it ends.

        Raises:
            NotFound: there is no such backend, or it was never calibrated.
            QRBackendsError: the error would be the same for any other instant, such as a refused key.
        """
        found = await self._fetch(self._newest, instance=self._instance, refresh=True)
        self.newest = newest = found.value.last_update_date
        # Dates may be at the very end of what a datetime can be.
        until = max(self._since, newest + min(_RESOLUTION, self._until - newest))
        under_way: deque[asyncio.Task[Window]] = deque()
        length = _FIRST if self._every is None else _WANTED * self._every
        begun = self._since
        try:
            while under_way or begun < until:
                while begun < until and len(under_way) < _WINDOWS:
                    end = begun + min(length, until - begun)
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
        """Return the calibrations from `since`, inclusive, to `until`, exclusive; fetch the newest first."""
        found: deque[BackendProperties] = deque()
        asked = until
        requests = 0
        while asked > since:
            if requests > _BURST + (until - asked) / _SHORTEST_STEP:
                stuck = DecodeError(
                    f"the service gave {counted(len(found), 'calibration')} within {until - asked}: each is "
                    "only just before the instant asked for"
                )
                return Window(since, until, tuple(found), Gap(since, asked, stuck))
            requests += 1
            try:
                one = await self._before(asked)
            except NotFound:  # there is no calibration before `asked`
                break
            except QRBackendsError as error:
                if ends_history(error):
                    raise
                return Window(since, until, tuple(found), Gap(since, asked, error))
            at = one.last_update_date
            if at == asked and (at == until or (found and at == found[0].last_update_date)):
                self._inclusive = True  # the answer is not before `asked`; ask for an earlier instant
                asked -= min(_RESOLUTION, asked - since)
                continue
            if at < since:
                break
            found.appendleft(one)
            asked = self._next(at)
        return Window(since, until, tuple(found))

    def _next(self, at: datetime) -> datetime:
        """Return the instant to ask for next, after a calibration of the instant `at`."""
        if self._every is not None:
            at = self._since + (at - self._since) // self._every * self._every
        return at - min(_RESOLUTION, at - self._since) if self._inclusive else at

    async def _before(self, asked: datetime) -> BackendProperties:
        request = Request("properties", self._newest.backend, self._newest.calibration_id, asked)
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
    """Return whether the service would answer with the same error for any other instant."""
    return error.final or (isinstance(error, (RedirectRefused, ResponseError, TLSError)) and not error.outage)


def _fitting(window: Window, length: timedelta) -> timedelta:
    """Return the length for new windows: by the density of `window`, they hold `_WANTED` calibrations."""
    count = len(window.calibrations)
    if window.gap is not None and count >= _BURST / 2:  # more windows would only bring more such gaps
        count = 0
    fitting = (window.until - window.since) * _WANTED / count if count else 2 * length
    return min(max(fitting, length / 4, _SHORTEST), 4 * length, _LONGEST)


def checked_range(since: datetime, until: datetime) -> tuple[datetime, datetime]:
    """Return the beginning and the end of a period in UTC.

    Raises:
        InvalidRequest: one of them has no time zone, or `since` is not before `until`.
    """
    begin, end = checked_instant("since", since), checked_instant("until", until)
    if begin >= end:
        raise InvalidRequest("since has to be before until")
    return begin, end


def checked_instant(name: str, when: datetime) -> datetime:
    """Return an instant in UTC.

    Raises:
        InvalidRequest: it has no time zone; the error calls it `name`.
    """
    if not isinstance(when, datetime) or when.utcoffset() is None:
        raise InvalidRequest(f"{name} has to be a datetime with a time zone, such as datetime.now(UTC)")
    return when.astimezone(UTC)
