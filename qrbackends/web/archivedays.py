"""The part of a device's page that an archive gives: its figures day by day, read beside the event loop."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cachetools import LRUCache
from markupsafe import Markup

from ..errors import ArchiveError, Timeout
from ..fleet.recent import CalibrationFigures
from ..models import Backend
from ..models.formatting import probability, scaled
from .charts import DaysChart, days_chart
from .pages import rendered
from .problems import problem_log
from .renderings import Renderings

if TYPE_CHECKING:
    from ..analysis.daily import Daily, Day

logger = logging.getLogger("qrbackends.web")

_PATIENCE = 2.0  # seconds that a page waits for the archive
_LASTING, _FAILED = 300.0, 60.0  # seconds for which an answer, or a failure, is given to all
_MOST = 1024  # devices and numbers of days that are kept
_FIGURES: Final[tuple[tuple[str, str, Callable[[float], str]], ...]] = (
    ("T1, µs", "t1", partial(scaled, scale=1e6)),
    ("T2, µs", "t2", partial(scaled, scale=1e6)),
    ("Readout error", "readout_error", probability),
    ("Two-qubit error", "two_qubit_error", probability),
)


class _Reading:
    """One look into the archive, and until when what it found is given: unlimited while it runs."""

    until = inf


class ArchiveDays:
    """Shows what an archive has of a device. One thread reads, whoever asks, and all get its answer.

    Args:
        url: where the archive is.
        clock: returns the seconds of a monotonic clock.

    Raises:
        ImportError: the extra `arrow` is missing.
        InvalidRequest: no archive can be at such a URL.
    """

    def __init__(self, url: str | Path, clock: Callable[[], float] = time.monotonic) -> None:
        from ..analysis.archive import Archive

        self._url = str(url)
        self._archive = Archive(url)
        self._clock = clock
        self._readings: LRUCache[tuple[str, str, int], _Reading] = LRUCache(_MOST)
        self._rendered: Renderings[bytes] = Renderings(_PATIENCE, "archive")

    async def part(self, backend: Backend, address: str, count: int) -> Markup:
        """Return the charts and the table of a device; what is missing, and why, is said in their place.

        Args:
            backend: the device's entry in the list.
            address: that of the API which has it; an archive may have another device of its name.
            count: the number of days, today included.
        """
        key = backend.name, address, count
        reading = self._readings.get(key)
        if reading is None or self._clock() >= reading.until:
            reading = self._readings[key] = _Reading()
        read = partial(self._read, reading, backend, address, count)
        try:
            return Markup((await self._rendered.part(key, (reading,), read)).decode())  # noqa: S704  # a template's
        except Timeout:
            return Markup("<p>The archive is still being read; load the page again in a moment.</p>")

    def _read(self, reading: _Reading, backend: Backend, address: str, count: int) -> bytes:
        lasting = _FAILED
        try:
            part, lasting = self._shown(backend, address, count), _LASTING
        except ArchiveError as error:
            problem_log.add(error)
            part = rendered("days.html", problem=_reason(error, self._url))
        except (ArithmeticError, ValueError, LookupError, TypeError) as error:  # values that others wrote
            logger.warning("the archive's rows of %.80r are odd: %s", backend.name, type(error).__name__)
            part = rendered("days.html", problem="its rows are odd")
        reading.until = self._clock() + lasting
        return part

    def _shown(self, backend: Backend, address: str, count: int) -> bytes:
        from ..analysis.archive_rows import portless
        from ..analysis.daily import daily_figures

        origin = portless(address, backend.emulated)
        until = datetime.combine(datetime.now(UTC).date() + timedelta(days=1), datetime.min.time(), UTC)
        since = until - timedelta(days=count)
        found = daily_figures(self._archive, backend.name, since, until, origin)
        return rendered(
            "days.html",
            found=found,
            listed=origin,
            newest=None if found.days else self._archive.backends().get(backend.name),
            count=count,
            charts=_charts(found, since.date(), count),
            medians=list(map(_medians, found.days)),
            since=since,
            last=until - timedelta(days=1),
            problem=None,
        )


def _reason(error: ArchiveError, url: str) -> str:
    """Return why an archive cannot be read, without where it is and what a library said: visitors read it."""
    text = error.message.removeprefix(f"{url}: ")
    return "it failed; the server’s log says how" if text.startswith("it failed: ") else text


def _charts(found: "Daily", since: date, count: int) -> list[DaysChart]:
    charts = []
    for title, name, show in _FIGURES:
        known = {day.at.date(): three for day in found.days if (three := getattr(day, name)) is not None}
        charts.append(days_chart(title, known, since, count, show))
    return charts


def _medians(day: "Day") -> CalibrationFigures:
    return CalibrationFigures(day.at, *(three and three.median for three in day[1:]))
