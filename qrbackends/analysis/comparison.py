"""Calibrations of a device compared: two of them, or all of the last days in an archive."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from math import isnan, nan
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from ..errors import InvalidRequest
from ..messages.counts import counted
from ..messages.suggestions import suggested
from ..models import ABackend, BackendProperties, GateProperties, Nduv, is_out_of_order, name_of, usable
from ..models.arguments import check_document
from ..models.formatting import DASH, probability, scaled, visible
from ..models.notebook import html_table
from ..models.properties import readable
from ..models.shown import Shown

if TYPE_CHECKING:
    from .archive import Archive

QubitQuantity: TypeAlias = Literal["T1", "T2", "readout_error"]
Quantity: TypeAlias = QubitQuantity | Literal["gate_error"]

_MOST_ROWS: Final = 20  # of a table in a notebook
_GREATER_IS_BETTER: Final = frozenset(("T1", "T2"))
_QUBIT_QUANTITIES: Final[tuple[QubitQuantity, ...]] = ("T1", "T2", "readout_error")
_GATE_QUANTITIES: Final[tuple[Quantity, ...]] = ("gate_error",)


class Difference(NamedTuple):
    """How one quantity of a qubit or gate differs between two calibrations.

    Attributes:
        gate: the gate's name; None for a qubit.
        qubits: the numbers of the qubit, or of the gate's qubits.
        name: `T1` and `T2`, in seconds; `readout_error` and `gate_error`, probabilities.
        before: the earlier value, in SI units.
        after: the later value, in SI units.
        relative: the relative change, `(after - before) / before`.
        worse: whether the quantity got worse: a shorter time, or a greater error.
    """

    gate: str | None
    qubits: tuple[int, ...]
    name: Quantity
    before: float
    after: float
    relative: float
    worse: bool


class Element(NamedTuple):
    """A qubit, if `gate` is None, or a gate on its qubits."""

    gate: str | None
    qubits: tuple[int, ...]


class Comparison(Shown, frozen=True):
    """What changed between two calibrations of a device.

    Attributes:
        before: when the earlier calibration was done.
        after: when the later calibration was done.
        differences: the quantities that changed, the greatest relative change first.
        broken: qubits and gates that worked before, and do not work after.
        repaired: qubits and gates that did not work before, and work after.
        appeared: qubits and gates that only the later calibration contains.
        gone: qubits and gates that only the earlier calibration contains.
        backend: the device's name.
        emulated: whether an emulator sent one of the calibrations.
    """

    before: datetime
    after: datetime
    differences: tuple[Difference, ...]
    broken: tuple[Element, ...]
    repaired: tuple[Element, ...]
    appeared: tuple[Element, ...]
    gone: tuple[Element, ...]
    backend: str = ""
    emulated: bool = False

    def _repr_html_(self) -> str:
        told = [counted(len(self.differences), "difference")] if self.differences else []
        elements = {"broken": self.broken, "repaired": self.repaired}
        elements |= {"appeared": self.appeared, "gone": self.gone}
        told += [f"{len(found):,} {what}" for what, found in elements.items() if found]
        period = f"{self.before:%Y-%m-%d %H:%M} to {self.after:%Y-%m-%d %H:%M}"
        caption = f"{self.backend}, {period}: {', '.join(told) or 'no differences'}"
        rows = [
            (
                f"{one.gate or 'qubit'} {'-'.join(map(str, one.qubits))}",
                *_shown(one.name, one.before, one.after),
                f"{one.relative:+.1%}",
                "worse" if one.worse else "better",
            )
            for one in self.differences[: _MOST_ROWS + 1]
        ]
        head = ("on", "quantity", "before", "after", "change", "")
        return html_table(caption, rows, head, emulated=self.emulated, most=_MOST_ROWS)


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
    check_document("before", before, BackendProperties)
    check_document("after", after, BackendProperties)
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
        before.backend_name,
        before.emulated or after.emulated,
    )


class _State(NamedTuple):
    values: dict[Quantity, float]  # in SI units
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


def _values(measured: Iterable[Nduv], names: Iterable[Quantity]) -> dict[Quantity, float]:
    by_name = {one.name: one for one in measured}
    return {name: by_name[name].si for name in names if name in by_name}


def _differences(
    element: Element, before: dict[Quantity, float], after: dict[Quantity, float]
) -> Iterator[Difference]:
    for name, old in before.items():
        new = after.get(name)
        greater_is_better = name in _GREATER_IS_BETTER
        # An error of 0 is one that counts, and nothing can be related to it.
        if not usable(name, old) or usable(name, new) is None or new is None or old == new:
            continue
        yield Difference(*element, name, old, new, (new - old) / old, (new < old) == greater_is_better)


class QubitValue(NamedTuple):
    """A measured value of a qubit, in SI units; `emulated` is whether an emulator sent it."""

    qubit: int
    name: QubitQuantity
    value: float
    emulated: bool = False


class Stability(NamedTuple):
    """How stable one quantity of one qubit was.

    Attributes:
        qubit: the qubit's number.
        name: `T1` and `T2`, in seconds; `readout_error`, a probability.
        calibrations: number of calibrations in which it was measured.
        median: in SI units.
        relative_iqr: the interquartile range divided by the median; 0 if the quantity never changes, and NaN
            where there is one calibration only, which has no range.
        lowest: in SI units.
        highest: in SI units.
    """

    qubit: int
    name: QubitQuantity
    calibrations: int
    median: float
    relative_iqr: float
    lowest: float
    highest: float


class Stabilities(tuple[Stability, ...]):
    """How stable the quantities of a device's qubits were; a notebook shows a table.

    Attributes:
        backend: the device's name.
        emulated: whether an emulator sent one of the calibrations.
    """

    backend: str = ""
    emulated: bool = False

    def __repr__(self) -> str:
        return f"<Stabilities of {visible(self.backend, 100)}: {len(self)}{self._why_no_range()}>"

    def _why_no_range(self) -> str:
        is_one = len(self) > 0 and all(one.calibrations == 1 for one in self)
        return ", of one calibration only; a range takes two or more" if is_one else ""

    def _repr_html_(self) -> str:
        rows = [
            (
                one.qubit,
                *_shown(one.name, one.median, one.lowest, one.highest),
                DASH if isnan(one.relative_iqr) else f"{one.relative_iqr:.1%}",
                one.calibrations,
            )
            for one in self
        ]
        head = ("qubit", "quantity", "median", "lowest", "highest", "IQR / median", "calibrations")
        what = f"stability of {self.backend}{self._why_no_range()}"
        return html_table(what, rows, head, emulated=self.emulated, most=_MOST_ROWS)


def stability(
    archive: "Archive", backend: ABackend, window: timedelta, *, until: datetime | None = None
) -> Stabilities:
    """Return how stable each qubit was over the last days of an archive, the least stable first.

    The measure is the interquartile range divided by the median, which a few outliers do not change
    (NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.5.6). Quartiles are by definition 6 of
    R. Hyndman and Y. Fan (The American Statistician 50(4), 1996), the default of `statistics.quantiles`.

    Values that do not count in medians, such as a time of 0 or less, are left out.

    Args:
        archive: contains the calibrations; those of named variants are left out.
        backend: the backend's name, or its entry in the list.
        window: how far to look back from `until`.
        until: the end, exclusive; left out, just after the archive's newest calibration of the backend.

    Raises:
        InvalidRequest: the archive has no calibration of the backend, or `window` is not positive.
        ArchiveError: there is no archive, or it cannot be read.
    """
    if not isinstance(window, timedelta) or window <= timedelta():
        raise InvalidRequest("window has to be a timedelta greater than zero")
    name = name_of(backend)
    archive.check()
    if until is None:
        newest = archive.backends()
        if name not in newest:
            problem = f"the archive has no calibration of {name!r:.100}"
            raise InvalidRequest(suggested(problem, name, newest))
        until = newest[name] + timedelta(microseconds=1)
    return stability_of(_archived(archive, name, until - window, until), name)


def stability_of(values: Iterable[QubitValue], backend: ABackend = "") -> Stabilities:
    """Return how stable each qubit was, the least stable first, by the measure of `stability`.

    Args:
        values: those of several calibrations, such as `qubit_values` yields for each.
        backend: the device's name, or its entry in the list, for what a notebook shows.
    """
    measured: dict[tuple[int, QubitQuantity], array[float]] = {}  # a year of them is millions
    emulated = False
    for one in values:
        measured.setdefault((one.qubit, one.name), array("d")).append(one.value)
        emulated = emulated or one.emulated
    found = [_stability(qubit, name, values) for (qubit, name), values in measured.items()]
    stable = Stabilities(sorted(found, key=_least_stable_first))
    stable.backend, stable.emulated = name_of(backend), emulated
    return stable


def qubit_values(properties: BackendProperties) -> Iterator[QubitValue]:
    """Yield a calibration's values of T1, T2 and readout error that count in medians.

    Raises:
        DecodeError: a unit in it is not known.
    """
    check_document("properties", properties, BackendProperties)
    for qubit, measured in enumerate(properties.qubits):
        values = _values(measured, _QUBIT_QUANTITIES)
        for name in _QUBIT_QUANTITIES:
            if (value := usable(name, values.get(name))) is not None:
                yield QubitValue(qubit, name, value, properties.emulated)


def _archived(archive: "Archive", name: str, since: datetime, until: datetime) -> Iterator[QubitValue]:
    columns = ("qubits", "name", "value", "calibration_id", "emulated")
    how: dict[str, Any] = {"since": since, "until": until, "kinds": ["qubit"], "names": _QUBIT_QUANTITIES}
    for batch in archive.batches(columns, backends=[name], **how):
        cells = (batch.column(column).to_pylist() for column in columns)
        for qubits, quantity, value, variant, emulated in zip(*cells, strict=True):
            if not variant and usable(quantity, value) is not None:
                # None: written before there was this column
                yield QubitValue(qubits[0], quantity, value, bool(emulated))


def _stability(qubit: int, name: QubitQuantity, values: Sequence[float]) -> Stability:
    middle = median(values)
    relative_iqr = nan
    if len(values) > 1:
        lower, _, upper = quantiles(values, n=4)
        relative_iqr = (upper - lower) / middle if middle else 0.0
    return Stability(qubit, name, len(values), middle, relative_iqr, min(values), max(values))


def _least_stable_first(one: Stability) -> tuple[bool, float, int, str]:
    is_unknown = isnan(one.relative_iqr)
    return is_unknown, 0.0 if is_unknown else -one.relative_iqr, one.qubit, one.name


def _shown(name: Quantity, *values: float) -> Iterator[str]:
    """Yield a quantity with its unit, and its values: times in microseconds, errors as probabilities."""
    is_time = name in _GREATER_IS_BETTER
    yield f"{name} (µs)" if is_time else name
    for value in values:
        yield scaled(value, 1e6) if is_time else probability(value)


__all__ = [
    "Comparison",
    "Difference",
    "Element",
    "QubitValue",
    "Stabilities",
    "Stability",
    "compare",
    "qubit_values",
    "stability",
    "stability_of",
]
