"""Documents as small HTML tables, which notebooks show. Every text in them is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import singledispatch
from html import escape
from typing import Any, Final

from ..errors import QRBackendsError
from ..messages.counts import counted
from .backend import Backend, BackendList, BackendsResponse, BackendTuple, PerformanceMetrics
from .configuration import BackendConfiguration
from .defaults import BackendDefaults
from .formatting import DASH, probability, scaled, visible
from .properties import BackendProperties
from .status import BackendStatus
from .summary import BackendSummary, median_of, summary

MOST_ROWS: Final = 100
"""The rows of a table, unless fewer are wanted."""

_MOST_OF_TEXT = 100  # characters of a cell
_FLEET = (
    "backend",
    "region",
    "status",
    "queue",
    "qubits",
    "processor",
    "CLOPS",
    "readout error",
    "two-qubit error",
)


def html_of(document: object) -> str | None:
    """Return a document as a table; None if there is none for its class, or if it cannot be read."""
    try:
        return _html(document)
    except QRBackendsError:  # such as a unit that is not known
        return None


def html_table(
    caption: str,
    rows: Iterable[Sequence[Any]],
    head: Sequence[str] = (),
    *,
    emulated: bool = False,
    most: int = MOST_ROWS,
) -> str:
    """Return a table.

    Args:
        caption: what it shows.
        rows: the cells of each row, of which the first is its heading; None is shown as a dash.
        head: the headings of the columns; none, if there is nothing to say.
        emulated: whether the data is an emulator's, which the caption then says.
        most: the rows that are shown; below them it says how many more there are.
    """
    mark = " · <strong>Emulated data</strong>, not from IBM’s service" if emulated else ""
    lines = list(rows)
    style = ' style="white-space: nowrap"' if head else ""  # a region that wraps makes rows twice as high
    parts = [f"<table{style}><caption>{_cell(caption)}{mark}</caption>"]
    if head:
        parts.append(f"<thead><tr>{''.join(f'<th>{_cell(one)}</th>' for one in head)}</tr></thead>")
    parts.append("<tbody>")
    for first, *others in lines[:most]:
        cells = "".join(f"<td>{_cell(one)}</td>" for one in others)
        parts.append(f"<tr><th>{_cell(first)}</th>{cells}</tr>")
    if len(lines) > most:
        parts.append(f"<tr><th>… and {len(lines) - most:,} more</th></tr>")
    return "".join([*parts, "</tbody></table>"])


def _cell(value: Any) -> str:
    """Return a value as text in HTML: short, escaped, and without invisible characters."""
    match value:
        case None | "":
            return DASH
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        case int() if not isinstance(value, bool):
            return f"{value:,}"
    return escape(visible(str(value), _MOST_OF_TEXT))


@singledispatch
def _html(document: object) -> str | None:
    return None


@_html.register(BackendSummary)
def _summary(found: BackendSummary) -> str:
    return _facts_table(found.backend_name, _facts(found), emulated=found.emulated)


def _facts_table(name: str, facts: Mapping[str, Any], *, emulated: bool) -> str:
    known = [(fact, value) for fact, value in facts.items() if value not in (None, "")]
    return html_table(name, known, emulated=emulated)


def _facts(found: BackendSummary) -> dict[str, Any]:
    broken = {"qubit": found.faulty_qubits, "gate": found.faulty_gates, "coupling": found.broken_couplings}
    faulty = [counted(len(some), what) for what, some in broken.items() if some]
    return {
        "region": found.region,
        "processor": found.processor,
        "version": found.backend_version,
        "status": ", ".join(filter(None, (found.status, found.reason))),
        "queue": found.queue_length,
        "qubits": found.qubits,
        "lattice": found.lattice,
        "basis gates": ", ".join(found.basis_gates),
        "calibrated": found.calibrated_at,
        "faulty": ", ".join(faulty) or (found.calibrated_at and "nothing"),
        "median T1": _micro(median_of(found.t1)),
        "median T2": _micro(median_of(found.t2)),
        "median readout error": _error(median_of(found.readout_error)),
        f"median {found.two_qubit_gate} error": _error(median_of(found.two_qubit_error)),
        "layered error": _error(found.two_qubit_error_layered),
        "CLOPS": found.clops,
    }


@_html.register(BackendConfiguration)
def _configuration(document: BackendConfiguration) -> str:
    return _summary(summary(document))


@_html.register(BackendProperties)
def _properties(document: BackendProperties) -> str:
    return _summary(summary(properties=document))


@_html.register(Backend)
def _entry(entry: Backend) -> str:
    readout, two_qubit = _errors(entry)
    facts = _facts(summary(listed=entry))
    facts |= {"median readout error": readout, "median two-qubit error": two_qubit}
    return _facts_table(entry.name, facts, emulated=entry.emulated)


@_html.register(BackendStatus)
def _status(document: BackendStatus) -> str:
    facts: dict[str, Any] = {
        "operational": "yes" if document.operational else "no",
        "status": document.status,
        "message": document.message,
        "queue": document.queue_length,
        "version": document.backend_version,
    }
    return _facts_table("status of a backend", facts, emulated=document.emulated)


@_html.register(BackendDefaults)
def _defaults(document: BackendDefaults) -> str:
    kinds = [(name, type(value).__name__) for name, value in document.items()]
    return html_table("pulse-level defaults", kinds, ("field", "type"), emulated=document.emulated)


@_html.register(BackendsResponse)
def _response(document: BackendsResponse) -> str:
    return _list(BackendList(document.devices, document.errors))


@_html.register(BackendList)
def _list(backends: BackendList) -> str:
    caption = counted(len(backends), "backend")
    if backends.errors:
        caption += f", {counted(len(backends.errors), 'error')}"
    return html_table(caption, map(_row, backends), _FLEET, emulated=backends.emulated)


@_html.register(BackendTuple)
def _some(backends: BackendTuple) -> str:
    return _list(BackendList(backends))


def _row(one: Backend) -> Sequence[Any]:
    speed = None if one.clops is None else one.clops.value
    state = (one.region, one.status.name, one.queue_length, one.qubits)
    return (one.name, *state, one.processor_type, speed, *_errors(one))


def _errors(one: Backend) -> tuple[str | None, str | None]:
    """Return the device's median readout and two-qubit errors as texts."""
    metrics = one.performance_metrics or PerformanceMetrics()
    medians = (metrics.readout_error_median, metrics.two_q_error_median)
    readout, two_qubit = (None if metric is None else probability(metric.value) for metric in medians)
    return readout, two_qubit


def _micro(seconds: float | None) -> str | None:
    return None if seconds is None else f"{scaled(seconds, 1e6)} µs"


def _error(value: float | None) -> str | None:
    return None if value is None else probability(value)
