"""The documents as lists of facts for the terminal."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from rich.text import Text

from ..messages.counts import counted
from ..models import (
    BackendConfiguration,
    BackendDefaults,
    BackendProperties,
    BackendStatus,
    BackendSummary,
    Measurements,
    Spread,
)
from ..models.formatting import DASH, probability, scaled
from .columns import Cell
from .text import age, clean, whole

Fact = tuple[str, Cell]

_SOME = 24  # items of a longer list that are shown


def configuration(document: BackendConfiguration) -> list[Fact]:
    """Return the main facts of a configuration; values that were not sent are left out."""
    delays = document.rep_delay_range
    facts = {
        "backend": document.backend_name,
        "version": document.backend_version,
        "description": document.description,
        "processor": str(document.processor_type or ""),
        "online since": document.online_date and document.online_date.date().isoformat(),
        "qubits": whole(document.n_qubits),
        "couplings": _couplings(*document.topology),
        "basis gates": ", ".join(document.basis_gates),
        "gates": ", ".join(gate.name for gate in document.gates),
        "instructions": ", ".join(document.supported_instructions or ()),
        "features": ", ".join(document.supported_features or ()),
        "quantum volume": document.quantum_volume and f"{document.quantum_volume:g}",
        "max shots": document.max_shots and whole(document.max_shots),
        "max circuits": document.max_experiments and whole(document.max_experiments),
        "dt": document.dt and f"{scaled(document.dt, 1e9, 3)} ns",
        "dtm": document.dtm and f"{scaled(document.dtm, 1e9, 3)} ns",
        "rep delay": document.default_rep_delay and f"{scaled(document.default_rep_delay, 1e6)} µs",
        "rep delays": delays and " to ".join(scaled(delay, 1e6) for delay in delays) + " µs",
        "tags": ", ".join(document.tags or ()),
        "simulator": "yes" if document.simulator else None,
    }
    return [(name, value) for name, value in facts.items() if value]


def properties(document: BackendProperties, now: datetime) -> list[Fact]:
    """Return the facts of a calibration: the device's medians, and what is faulty or cannot be used."""
    when = document.last_update_date
    faulty_gates = [on(gate.gate, gate.qubits) for gate in document.faulty_gates()]
    of, entangler = document.qubit_measurements, document.native_entangler
    errors = None if entangler is None else document.gate_measurements(entangler, "gate_error")
    return [
        ("backend", document.backend_name),
        ("version", document.backend_version),
        ("calibrated", _dated(when, (now - when).total_seconds())),
        ("qubits", whole(len(document.qubits))),
        ("faulty qubits", some(document.faulty_qubits())),
        ("faulty gates", some(faulty_gates)),
        ("bad couplings", some(document.broken_couplings())),
        ("median T1", _median(of("T1"), lambda t1: _with_unit(scaled(t1, 1e6), "µs"))),
        ("median T2", _median(of("T2"), lambda t2: _with_unit(scaled(t2, 1e6), "µs"))),
        ("median frequency", _median(of("frequency"), lambda at: _with_unit(scaled(at, 1e-9, 3), "GHz"))),
        ("median anharmonicity", _with_unit(scaled(document.median_anharmonicity(), 1e-6), "MHz")),
        ("median readout error", _median(of("readout_error"), probability)),
        ("median readout length", _median(of("readout_length"), lambda t: _with_unit(scaled(t, 1e9), "ns"))),
        ("median two-qubit error", DASH if errors is None else _median(errors, probability)),
        ("two-qubit gate", entangler or DASH),
    ]


def status(document: BackendStatus) -> list[Fact]:
    """Return the facts of a status."""
    return [
        ("operational", _operational(document)),
        ("status", document.status or DASH),
        ("message", document.message or DASH),
        ("queue", whole(document.queue_length)),
        ("version", document.backend_version or DASH),
    ]


def _operational(document: BackendStatus) -> Text:
    if document.operational:
        return Text("yes", "green")
    return Text("no: paused, it takes jobs and runs none" if document.paused else "no", "red")


def summary(found: BackendSummary) -> list[Fact]:
    """Return the facts of a summary other than the figures of its calibration; unknown ones are left out."""
    when, layered = found.calibrated_at, found.two_qubit_error_layered
    facts: dict[str, Cell | None] = {
        "processor": found.processor,
        "version": found.backend_version,
        "status": _up(found),
        "queue": None if found.queue_length is None else whole(found.queue_length),
        "qubits": whole(found.qubits),
        "couplings": _couplings(found.couplings, found.bidirectional, found.lattice),
        "basis gates": ", ".join(found.basis_gates),
        "calibrated": None if when is None else _dated(when, found.calibration_age or 0.0),
        "faulty qubits": some(found.faulty_qubits) if when else None,
        "faulty gates": some(on(gate.gate, gate.qubits) for gate in found.faulty_gates) if when else None,
        "bad couplings": some(found.broken_couplings) if when else None,
        "left out": ", ".join(_left_out(found)),
        "no median": "; ".join(
            f"{_figure_name(one.figure, one.gate)}: {one.reason}" for one in found.missing
        ),
        "layered error": None if layered is None else probability(layered),
    }
    return [(name, value) for name, value in facts.items() if value]


def _left_out(found: BackendSummary) -> Iterator[str]:
    """Yield how many values of each figure do not count."""
    spreads: dict[tuple[str, str | None], Spread | None]
    spreads = {("t1", None): found.t1, ("t2", None): found.t2, ("readout_error", None): found.readout_error}
    spreads |= {("gate_error", gate.gate): gate.error for gate in found.gates}
    missing: dict[tuple[str, str | None], int]
    missing = {(one.figure, one.gate): one.left_out for one in found.missing}
    for key, spread in spreads.items():
        count = missing.get(key, 0) if spread is None else spread.left_out
        if count:
            yield f"{count:,} of {_figure_name(*key)}"


def _figure_name(figure: str, gate: str | None) -> str:
    if gate is not None:
        return f"{gate} error"
    return "readout error" if figure == "readout_error" else figure.upper()


def _couplings(couplings: int | None, bidirectional: bool | None, lattice: str | None) -> str | None:
    if not couplings:
        return None
    return f"{couplings:,}, {'' if bidirectional else 'not '}all in both directions, lattice: {lattice}"


def _median(found: Measurements, shown: Callable[[float | None], str]) -> str:
    """Return a median as text, with the number of values that it leaves out, or the reason why it is none."""
    text = shown(found.median)
    if not found.left_out:
        return text
    return f"{text} ({found.why_none or f'{found.left_out:,} left out'})"


def _dated(when: datetime, seconds: float) -> str:
    return f"{when.isoformat(' ', 'seconds')} ({age(seconds)} ago)"


def _up(found: BackendSummary) -> Text | None:
    if found.operational is None:
        return None
    word = Text("operational", "green") if found.operational else Text("not operational", "red")
    return word.append(f" ({clean(found.status)})", "") if found.status else word


def on(gate: str, qubits: Iterable[object]) -> str:
    """Return a gate and its qubits as text."""
    return f"{gate}({', '.join(map(str, qubits))})"


def defaults(document: BackendDefaults) -> list[Fact]:
    """Return the names of the pulse-level defaults, with their sizes."""
    facts: list[Fact] = [(name, _size(value)) for name, value in document.items()]
    none = "None: the service answered with an empty object. It has withdrawn pulse-level defaults."
    return facts or [("", none)]


def _size(value: Any) -> str:
    if isinstance(value, tuple):
        return counted(len(value), "entry", "entries")
    if isinstance(value, Mapping):
        return counted(len(value), "key")
    return str(value)


def some(items: Iterable[Any]) -> str:
    """Return the first items of a list as text, and how many there are if these are not all."""
    names = [str(item) for item in items]
    if not names:
        return "none"
    more = f", … ({len(names):,} in all)" if len(names) > _SOME else ""
    return ", ".join(names[:_SOME]) + more


def _with_unit(figure: str, unit: str) -> str:
    return figure if figure == DASH else f"{figure} {unit}"
