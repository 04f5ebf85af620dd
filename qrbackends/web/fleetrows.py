"""The fleet's table and what is told above it, rendered once for all visitors, then filtered and sorted."""

from collections.abc import Iterable
from datetime import datetime
from secrets import token_hex
from typing import Any, NamedTuple

from markupsafe import Markup
from msgspec import Struct

from ..fleet.changes import RegionalName
from ..fleet.monitor import Monitor
from ..fleet.monitored import FleetView, MonitoredBackend
from ..models import Backend
from ..models.formatting import visible
from .charts import sparkline
from .columns import BY_KEY, COLUMNS, OPTIONAL, Value, clock
from .filtering import LONGEST, Filter, Filtered, parsed
from .pages import rendered, shown

_END = token_hex(16)  # stands between the rows in a template's text; nobody can send it
_TOLD = 8  # backends that are named above the table
_LONGEST_REASON = 60  # characters of a reason above the table; the table has all
_HOUR = 3600.0


class Query(NamedTuple):
    """What a visitor wants to see, as an address has it.

    Attributes:
        text: the filter.
        filter: the filter, read.
        sort: the key of the column by which rows are sorted.
        down: whether they are in descending order.
        columns: the keys of the columns that are shown beside the name.
        chosen: whether the visitor has chosen them.
    """

    text: str
    filter: Filter
    sort: str
    down: bool
    columns: tuple[str, ...]
    chosen: bool

    @classmethod
    def of(cls, parameters: Any) -> "Query":
        """Return the query of an address; what cannot be read is as if it was left out."""
        text = parameters.get("q", "")[:LONGEST]
        sort = parameters.get("sort", "name")[:20]
        down = sort.startswith("-")
        key = sort.removeprefix("-")
        named = [one for part in parameters.getlist("cols") for one in part[:200].split(",")]
        columns = tuple(one for one in OPTIONAL if one in named)
        known = key in BY_KEY
        return cls(
            text, parsed(text), key if known else "name", down and known, columns or OPTIONAL, bool(columns)
        )


class Row(NamedTuple):
    """A row: what filters and sorting look at, and the HTML behind its `<tr `."""

    seen: Filtered
    html: bytes


class Told(NamedTuple):
    """A backend that is named above the table, since when something is so, and why."""

    name: str
    region: str | None
    text: str
    at: datetime | None
    why: str = ""


class FleetRows:
    """The rows of all backends, and what is told above them.

    Attributes:
        counts: the number of backends in each state.
        jobs: all waiting jobs.
        down: those that are not online, and since when, the newest first; at most a few.
        recent: those that were calibrated within the last hour; at most a few.
        down_count, recent_count: how many there are.
        now: when the ages were told.
        emulated: whether an emulator sent any of it.
    """

    def __init__(
        self, known: Iterable[MonitoredBackend], view: FleetView, monitor: Monitor, base: str, now: datetime
    ) -> None:
        backends = sorted(known, key=lambda one: (one.backend.name, one.backend.region or ""))
        old = _old(view)
        cells = [_Cells.of(one, monitor, old, now) for one in backends]
        html = rendered("rows.html", rows=cells, base=base, end=_END, now=now).split(_END.encode())
        self.rows = [Row(one.seen, part.strip()) for one, part in zip(cells, html, strict=False)]
        self.counts: dict[str, int] = {}
        for one in backends:
            name = shown(one.backend.status.name)
            self.counts[name] = self.counts.get(name, 0) + 1
        self.jobs = sum(one.backend.queue_length for one in backends)
        down = sorted((one for one in cells if one.state != "online"), key=_newest_first)
        recent = sorted(
            (one for one in cells if _is_recent(one)), key=lambda one: one.seen.values["age"] or 0.0
        )
        self.down_count, self.recent_count = len(down), len(recent)
        self.down = [
            Told(one.name, one.region, f"{shown(one.status)}{one.since}", one.since_at, _why(one))
            for one in down[:_TOLD]
        ]
        self.recent = [Told(one.name, one.region, "", one.calibrated_at) for one in recent[:_TOLD]]
        self.now = now
        self.emulated = any(one.backend.emulated for one in backends)

    def __len__(self) -> int:
        """Return the bytes of the rows."""
        return sum(len(row.html) for row in self.rows)

    def arranged(self, query: Query) -> tuple[bytes, int]:
        """Return the rows as a visitor wants them, with the others hidden, and the number of those shown."""
        column = BY_KEY[query.sort]
        known = [row for row in self.rows if row.seen.values[query.sort] is not None]
        unknown = [row for row in self.rows if row.seen.values[query.sort] is None]

        def order(row: Row) -> Any:
            value = row.seen.values[query.sort]
            return value if column.is_number else str(value).lower()

        known.sort(key=order, reverse=query.down)
        passing = [(row, query.filter(row.seen)) for row in (*known, *unknown)]
        parts = [(b"<tr " if passes else b"<tr hidden ") + row.html for row, passes in passing]
        return b"\n".join(parts), sum(passes for _, passes in passing)


class _Cells(Struct, frozen=True):
    """A backend as the template of rows takes it."""

    name: str
    region: str | None
    state: str
    status: str
    reason: str | None
    since: str
    since_at: datetime | None
    is_old: bool
    seen: Filtered
    texts: tuple[str, ...]
    spark: Markup
    calibrated_at: datetime | None

    @classmethod
    def of(cls, known: MonitoredBackend, monitor: Monitor, old: set[Any], now: datetime) -> "_Cells":
        backend = known.backend
        values: dict[str, Value] = {column.key: column.value(known, now) for column in COLUMNS}
        texts = tuple(column.text(values[column.key]) for column in COLUMNS)
        state = backend.status.name if backend.status.name in _STATES else "other"
        key: RegionalName = (backend.region, backend.name)
        return cls(
            backend.name,
            backend.region,
            state,
            backend.status.name,
            reason_of(backend),
            since_text(known, now),
            known.status_since if known.status_changed and not backend.online else None,
            bool(old & {backend.region or "", key}),
            Filtered.of(values, (*texts, reason_of(backend) or "")),
            texts,
            sparkline(monitor.queue_history(key), now),
            known.calibration.calibrated_at if known.calibration else None,
        )


_STATES = ("online", "paused", "offline")


def reason_of(backend: Backend) -> str | None:
    """Return why a backend is in its state, where this says more than the state."""
    reason = backend.status.reason
    return None if backend.online and reason == "available" else reason


def since_text(known: MonitoredBackend, now: datetime) -> str:
    """Return since when a backend is down, as a sentence's end; empty if it is online, or nobody knows."""
    if known.status_since is None or known.backend.online:
        return ""
    if not known.status_changed:
        return f" since before {clock(known.status_since, now)}"
    return f" since {clock(known.status_since, now)}"


def _newest_first(cells: _Cells) -> float:
    """Return what sorts those that went down before our eyes to the front; the others have been down long."""
    return -cells.since_at.timestamp() if cells.since_at else 0.0


def _why(cells: _Cells) -> str:
    return f", {visible(cells.reason, _LONGEST_REASON)}" if cells.reason else ""


def _is_recent(cells: _Cells) -> bool:
    age = cells.seen.values["age"]
    return isinstance(age, float) and age < _HOUR


def _old(view: FleetView) -> set[Any]:
    """Return the regions and the backends whose data is old."""
    regions = {one.region or "" for one in view.failures}
    return regions | {(one.region, one.name) for one in view.entry_failures}
