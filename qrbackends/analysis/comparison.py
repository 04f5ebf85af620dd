"""Calibrations of a device compared: two of them, or all of the last days in an archive."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct

from ..errors import InvalidRequest
from ..messages.suggestions import suggested
from ..models import BackendProperties, GateProperties, Nduv, is_out_of_order, usable
from ..models.properties import readable

if TYPE_CHECKING:
    from .archive import Archive

_GREATER_IS_BETTER: Final = frozenset(("T1", "T2"))
_QUBIT_QUANTITIES: Final = ("T1", "T2", "readout_error")
_GATE_QUANTITIES: Final = ("gate_error",)


class Difference(NamedTuple):
    """How one quantity of a qubit or gate differs between two calibrations.

    Attributes:
        gate: the gate's name; None for a qubit.
        qubits: the numbers of the qubit, or of the gate's qubits.
        name: `T1` and `T2`, in seconds; `readout_error` and `gate_error`, probabilities.
        before, after: the values, in SI units.
        relative: the relative change, `(after - before) / before`.
        worse: whether the quantity got worse: a shorter time, or a greater error.
    """

    gate: str | None
    qubits: tuple[int, ...]
    name: str
    before: float
    after: float
    relative: float
    worse: bool


class Element(NamedTuple):
    """A qubit, if `gate` is None, or a gate on its qubits."""

    gate: str | None
    qubits: tuple[int, ...]


class Comparison(Struct, frozen=True):
    """What changed between two calibrations of a device.

    Attributes:
        before, after: when the two calibrations were done.
        differences: the quantities that changed, the greatest relative change first.
        broken: qubits and gates that worked before, and do not work after.
        repaired: qubits and gates that did not work before, and work after.
        appeared: qubits and gates that only the later calibration contains.
        gone: qubits and gates that only the earlier calibration contains.
    """

    before: datetime
    after: datetime
    differences: tuple[Difference, ...]
    broken: tuple[Element, ...]
    repaired: tuple[Element, ...]
    appeared: tuple[Element, ...]
    gone: tuple[Element, ...]


def compare(before: BackendProperties, after: BackendProperties) -> Comparison:
    """Return what changed from one calibration to another.

    The relative change of a quantity `x` is `(x_after - x_before) / x_before`. It is not given if one of the
    two was not measured, or does not count: an error of 1 or more, which marks what does not work, or a value
    that no device can have. A qubit or gate works unless its own flag says otherwise, or its error is 1 or
    more. A gate on a faulty qubit is not listed for that reason alone. A gate whose qubits cannot be read is
    left out.

    Args:
        before: the earlier calibration.
        after: the later one, of the same device.

    Raises:
        InvalidRequest: the calibrations are of two devices.
        DecodeError: a unit in them is not known.
    """
    if before.backend_name != after.backend_name:
        raise InvalidRequest(
            f"both calibrations have to be of one device, not {before.backend_name} and {after.backend_name}"
        )
    earlier, later = _elements(before), _elements(after)
    both = [element for element in later if element in earlier]
    differences = [
        difference for one in both for difference in _differences(one, earlier[one].values, later[one].values)
    ]
    return Comparison(
        before.last_update_date,
        after.last_update_date,
        tuple(sorted(differences, key=lambda difference: -abs(difference.relative))),
        tuple(one for one in both if earlier[one].works and not later[one].works),
        tuple(one for one in both if later[one].works and not earlier[one].works),
        tuple(one for one in later if one not in earlier),
        tuple(one for one in earlier if one not in later),
    )


class _State(NamedTuple):
    values: dict[str, float]  # in SI units
    works: bool


def _elements(properties: BackendProperties) -> dict[Element, _State]:
    found = {}
    for qubit, measured in enumerate(properties.qubits):
        values = _values(measured, _QUBIT_QUANTITIES)
        works = properties.is_qubit_operational(qubit) and not is_out_of_order(values.get("readout_error"))
        found[Element(None, (qubit,))] = _State(values, works)
    for on, gate in readable(properties.gates):
        found[Element(gate.gate, on)] = _gate_state(gate)
    return found


def _gate_state(gate: GateProperties) -> _State:
    values = _values(gate.parameters, _GATE_QUANTITIES)
    return _State(values, gate.operational and not is_out_of_order(values.get("gate_error")))


def _values(measured: Iterable[Nduv], names: tuple[str, ...]) -> dict[str, float]:
    return {one.name: one.si for one in measured if one.name in names}


def _differences(element: Element, before: dict[str, float], after: dict[str, float]) -> Iterator[Difference]:
    for name, old in before.items():
        new = after.get(name)
        greater_is_better = name in _GREATER_IS_BETTER
        # An error of 0 is one that counts, and nothing can be related to it.
        if not usable(name, old) or usable(name, new) is None or new is None or old == new:
            continue
        yield Difference(*element, name, old, new, (new - old) / old, (new < old) == greater_is_better)


class Stability(NamedTuple):
    """How stable one quantity of one qubit was.

    Attributes:
        qubit: the qubit's number.
        name: `T1` and `T2`, in seconds; `readout_error`, a probability.
        calibrations: number of calibrations in which it was measured.
        median: in SI units.
        relative_iqr: the interquartile range divided by the median; 0 if the quantity never changes.
        lowest, highest: in SI units.
    """

    qubit: int
    name: str
    calibrations: int
    median: float
    relative_iqr: float
    lowest: float
    highest: float


def stability(
    archive: "Archive", backend_id: str, window: timedelta, *, until: datetime | None = None
) -> tuple[Stability, ...]:
    """Return how stable each qubit was over the last days of an archive, the least stable first.

    The measure is the interquartile range divided by the median, which a few outliers do not change
    (NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.5.6). Quartiles are by definition 6 of
    R. Hyndman and Y. Fan (The American Statistician 50(4), 1996), the default of `statistics.quantiles`.

    Values that do not count in medians, such as a time of 0 or less, are left out.

    Args:
        archive: contains the calibrations; those of named variants are left out.
        backend_id: the backend's name.
        window: how far to look back from `until`.
        until: the end, exclusive; left out, just after the archive's newest calibration of the backend.

    Raises:
        InvalidRequest: the archive has no calibration of the backend, or `window` is not positive.
    """
    if window <= timedelta():
        raise InvalidRequest("window has to be a timedelta greater than zero")
    if until is None:
        held = {one.backend: one for one in archive.info()}
        if backend_id not in held:
            problem = f"the archive has no calibration of {backend_id!r:.100}"
            raise InvalidRequest(suggested(problem, backend_id, held))
        until = held[backend_id].last + timedelta(microseconds=1)
    rows = archive.scan(
        [backend_id], since=until - window, until=until, kinds=["qubit"], names=_QUBIT_QUANTITIES
    )
    measured: dict[tuple[int, str], list[float]] = {}
    for batch in rows.to_batches(columns=["qubits", "name", "value", "calibration_id"]):
        columns = (batch.column(name).to_pylist() for name in ("qubits", "name", "value", "calibration_id"))
        for qubits, name, value, variant in zip(*columns, strict=True):
            if not variant and usable(name, value) is not None:
                measured.setdefault((qubits[0], name), []).append(value)
    found = [_stability(qubit, name, values) for (qubit, name), values in measured.items()]
    return tuple(sorted(found, key=lambda one: (-one.relative_iqr, one.qubit, one.name)))


def _stability(qubit: int, name: str, values: list[float]) -> Stability:
    middle = median(values)
    lower, _, upper = quantiles(values, n=4) if len(values) > 1 else (middle, middle, middle)
    relative_iqr = (upper - lower) / middle if middle else 0.0
    return Stability(qubit, name, len(values), middle, relative_iqr, min(values), max(values))


__all__ = ["Comparison", "Difference", "Element", "Stability", "compare", "stability"]
