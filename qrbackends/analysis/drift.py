"""How a device changes: between two calibrations, and over days."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct

from ..errors import InvalidRequest
from ..models import BackendProperties
from ..models.properties import GateProperties, Nduv

if TYPE_CHECKING:
    from .archive import Archive

_GROWING_IS_BETTER: Final = frozenset(("T1", "T2"))
_FIGURES: Final = ("T1", "T2", "readout_error")
_GATE_FIGURES: Final = ("gate_error",)


class Shift(NamedTuple):
    """How one figure of a qubit or gate changed.

    Attributes:
        gate: the gate's name; None for a qubit.
        qubits: which.
        name: the figure: `T1` and `T2` in seconds, `readout_error` and `gate_error` as probabilities.
        before, after: in SI units.
        change: relative: `(after - before) / before`.
        worse: whether that is for the worse: a shorter time, or a greater error.
    """

    gate: str | None
    qubits: tuple[int, ...]
    name: str
    before: float
    after: float
    change: float
    worse: bool


class Element(NamedTuple):
    """A qubit, where `gate` is None, or a gate on its qubits."""

    gate: str | None
    qubits: tuple[int, ...]


class Drift(Struct, frozen=True):
    """What changed between two calibrations.

    Attributes:
        before, after: when they were done.
        shifts: the figures that changed, the greatest relative change first.
        broken: qubits and gates that worked, and do not any more.
        mended: those that did not work, and do again.
        appeared, gone: those that only the later, or only the earlier one tells of.
    """

    before: datetime
    after: datetime
    shifts: tuple[Shift, ...]
    broken: tuple[Element, ...]
    mended: tuple[Element, ...]
    appeared: tuple[Element, ...]
    gone: tuple[Element, ...]


def drift(before: BackendProperties, after: BackendProperties) -> Drift:
    """Return what changed from one calibration to another.

    The relative change of a figure `x` is `(x_after - x_before) / x_before`; figures that were zero or not
    measured, and errors of 1 and more, which mark what does not work, have none. An element works unless
    its own flag says otherwise, or its error is 1 or more; a gate on a faulty qubit is not counted again.

    Args:
        before: the earlier calibration.
        after: the later one, of the same device.

    Raises:
        InvalidRequest: they are of two devices.
        DecodeError: a unit in them is not known.
    """
    if before.backend_name != after.backend_name:
        raise InvalidRequest(f"drift is of one device, not {before.backend_name} and {after.backend_name}")
    earlier, later = _elements(before), _elements(after)
    both = [element for element in later if element in earlier]
    shifts = [shift for one in both for shift in _shifts(one, earlier[one].values, later[one].values)]
    return Drift(
        before.last_update_date,
        after.last_update_date,
        tuple(sorted(shifts, key=lambda shift: -abs(shift.change))),
        tuple(one for one in both if earlier[one].works and not later[one].works),
        tuple(one for one in both if later[one].works and not earlier[one].works),
        tuple(one for one in later if one not in earlier),
        tuple(one for one in earlier if one not in later),
    )


class _State(NamedTuple):
    values: dict[str, float]
    works: bool


def _elements(properties: BackendProperties) -> dict[Element, _State]:
    found = {}
    for qubit, measured in enumerate(properties.qubits):
        values = _values(measured, _FIGURES)
        works = properties.is_qubit_operational(qubit) and values.get("readout_error", 0.0) < 1
        found[Element(None, (qubit,))] = _State(values, works)
    for gate in properties.gates:
        found[Element(gate.gate, gate.on)] = _of_gate(gate)
    return found


def _of_gate(gate: GateProperties) -> _State:
    values = _values(gate.parameters, _GATE_FIGURES)
    return _State(values, gate.operational and values.get("gate_error", 0.0) < 1)


def _values(measured: Iterable[Nduv], names: tuple[str, ...]) -> dict[str, float]:
    return {one.name: one.si for one in measured if one.name in names}


def _shifts(element: Element, before: dict[str, float], after: dict[str, float]) -> Iterator[Shift]:
    for name, was in before.items():
        now = after.get(name)
        better = name in _GROWING_IS_BETTER
        if now is None or was <= 0 or was == now or (not better and max(was, now) >= 1):
            continue
        yield Shift(*element, name, was, now, (now - was) / was, (now < was) == better)


class Steadiness(NamedTuple):
    """How steady one figure of one qubit was.

    Attributes:
        qubit: which.
        name: `T1`, `T2` or `readout_error`.
        calibrations: in how many it was measured.
        median: in SI units.
        spread: the interquartile range over the median; 0 for what never changes.
        lowest, highest: in SI units.
    """

    qubit: int
    name: str
    calibrations: int
    median: float
    spread: float
    lowest: float
    highest: float


def stability(
    archive: "Archive", backend_id: str, window: timedelta, *, until: datetime | None = None
) -> tuple[Steadiness, ...]:
    """Return how steady each qubit was over the last days of an archive, the least steady first.

    The spread is the interquartile range divided by the median, a measure that outliers do not move
    (NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.5.6); quartiles are by definition 6 of
    R. Hyndman and Y. Fan (The American Statistician 50(4), 1996), as `statistics.quantiles` has them.

    Args:
        archive: where the calibrations are.
        backend_id: the backend's name.
        window: how far back from `until`.
        until: left out, after the archive's newest calibration of the backend.

    Raises:
        InvalidRequest: the archive has nothing of the backend, or `window` is not positive.
    """
    if window <= timedelta():
        raise InvalidRequest("window has to be a timedelta greater than zero")
    if until is None:
        held = next((one for one in archive.info() if one.backend == backend_id), None)
        if held is None:
            raise InvalidRequest(f"the archive has nothing of {backend_id!r:.100}")
        until = held.last + timedelta(microseconds=1)
    rows = archive.scan([backend_id], since=until - window, until=until, kinds=["qubit"], names=_FIGURES)
    measured: dict[tuple[int, str], list[float]] = {}
    for batch in rows.to_batches(columns=["qubits", "name", "value", "calibration_id"]):
        columns = (batch.column(name).to_pylist() for name in ("qubits", "name", "value", "calibration_id"))
        for qubits, name, value, variant in zip(*columns, strict=True):
            if not variant:
                measured.setdefault((qubits[0], name), []).append(value)
    found = [_steadiness(qubit, name, values) for (qubit, name), values in measured.items()]
    return tuple(sorted(found, key=lambda one: (-one.spread, one.qubit, one.name)))


def _steadiness(qubit: int, name: str, values: list[float]) -> Steadiness:
    middle = median(values)
    lower, _, upper = quantiles(values, n=4) if len(values) > 1 else (middle, middle, middle)
    spread = (upper - lower) / middle if middle else 0.0
    return Steadiness(qubit, name, len(values), middle, spread, min(values), max(values))


__all__ = ["Drift", "Element", "Shift", "Steadiness", "drift", "stability"]
