"""The page that compares backends: their figures side by side, and the distributions behind the medians."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from ..client import Client
from ..errors import DecodeError, QRBackendsError
from ..fleet.monitored import MonitoredBackend
from ..models import Backend, BackendProperties
from ..models.formatting import probability, scaled
from ..tasks.fanout import together
from .charts import Distributions, distributions
from .columns import COLUMNS, Column, Value
from .fleetrows import since_text
from .mounting import Hubs, own_client
from .pages import page, shown
from .visitors import VisitorCache

_FEWEST, _MOST = 2, 6
_LOW_IS_BEST = ("queue", "readout", "2q", "broken", "age")
_HIGH_IS_BEST = ("qubits", "t1", "t2", "clops")


class Figures(NamedTuple):
    """A row of the table: a figure's title, and for each backend its text and whether it is the best."""

    title: str
    cells: tuple[tuple[str, bool], ...]


class ComparePage:
    """Answers requests for the page that compares two to six backends.

    Args:
        cached: gives the lists and documents.
        hubs: give what the monitor knows.
    """

    def __init__(self, cached: VisitorCache, hubs: Hubs) -> None:
        self._cached = cached
        self._hubs = hubs

    async def answer(self, request: Request) -> Response:
        """Return the page; a backend is named as `region/name`."""
        client, now = own_client(request), datetime.now(UTC)
        monitor = self._hubs.of(client).wake()
        wanted = tuple(dict.fromkeys(request.query_params.getlist("b")))
        listed = {f"{one.region or '-'}/{one.name}": one for one in (await self._cached.list(client)).value}
        problems = [f"There is no backend {shown(one)}." for one in wanted[:_MOST] if one not in listed]
        if not _FEWEST <= len(wanted) <= _MOST:
            problems.append(f"Choose {_FEWEST} to {_MOST} backends on the page of all backends.")
        backends = [listed[one] for one in wanted if one in listed][:_MOST]
        known = [monitor.fleet.get((one.region, one.name)) or MonitoredBackend(one) for one in backends]
        documents = await together(*(self._calibration(client, one) for one in backends)) if backends else []
        return page(
            "compare.html",
            request,
            columns=known,
            rows=_rows(known, now),
            figures=_distributions(backends, documents),
            problems=problems,
            emulated=any(one.emulated for one in backends),
        )

    async def _calibration(self, client: Client, backend: Backend) -> BackendProperties | None:
        try:
            found: BackendProperties = (await self._cached.document(client, "properties", backend)).value
        except QRBackendsError:
            return None
        return found


def _rows(known: Sequence[MonitoredBackend], now: datetime) -> list[Figures]:
    states = tuple((f"{one.backend.status.name}{since_text(one, now)}", False) for one in known)
    others = (
        Figures(column.title, _cells(column, [column.value(one, now) for one in known]))
        for column in COLUMNS
        if column.key not in ("name", "state")
    )
    return [Figures("State", states), *others]


def _cells(column: Column, values: Sequence[Value]) -> tuple[tuple[str, bool], ...]:
    numbers = [value for value in values if isinstance(value, float)]
    best: str | None = None
    # By what is shown: of values that look the same, all are the best or none is.
    if len({column.text(one) for one in numbers}) > 1 and column.key in _LOW_IS_BEST + _HIGH_IS_BEST:
        best = column.text(min(numbers) if column.key in _LOW_IS_BEST else max(numbers))
    return tuple((text, text == best) for text in map(column.text, values))


def _distributions(
    backends: Sequence[Backend], documents: Sequence[BackendProperties | None]
) -> list[Distributions]:
    if not backends:
        return []
    names = [one.name for one in backends]
    labels = [one.name if names.count(one.name) == 1 else f"{one.name} ({one.region})" for one in backends]
    found = []
    for title, values, show in _FIGURES:
        known = {label: values(doc) if doc else [] for label, doc in zip(labels, documents, strict=True)}
        found.append(distributions(title, known, show))
    return found


def _of_qubits(name: str) -> Callable[[BackendProperties], list[float]]:
    def values(properties: BackendProperties) -> list[float]:
        try:
            return [value for value, _ in properties.qubit_measurements(name).values]
        except DecodeError:  # such as a unit that is not known
            return []

    return values


def _of_couplings(properties: BackendProperties) -> list[float]:
    return [error for error in properties.coupling_errors().values() if error is not None]


_MICRO = partial(scaled, scale=1e6)
_FIGURES: Final[
    tuple[tuple[str, Callable[[BackendProperties], list[float]], Callable[[float], str]], ...]
] = (
    ("T1, µs", _of_qubits("T1"), _MICRO),
    ("T2, µs", _of_qubits("T2"), _MICRO),
    ("Readout error", _of_qubits("readout_error"), probability),
    ("Two-qubit error", _of_couplings, probability),
)
