"""The figures of a device day by day, from an archive: the newest calibration of each day counts."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from statistics import quantiles
from typing import Any, Final, NamedTuple

from ..models import BackendProperties, GateProperties, Nduv
from ..models.quantities import NATIVE_ENTANGLERS
from ..models.usable import Measurements
from .archive import Archive
from .arrow import pa, pc

_UNITS: Final = {"T1": "s", "T2": "s", "readout_error": "", "gate_error": "", "operational": ""}
_KEYS: Final = ("origin", "calibration_id", "calibrated_at", "emulated")
_MEASURED: Final = ("gate", "qubits", "name", "value")


class Quartiles(NamedTuple):
    """The quartiles of a figure over what works, in its SI unit; the middle one is the median."""

    lower: float
    median: float
    upper: float


class Day(NamedTuple):
    """The figures of a day's newest calibration.

    Attributes:
        at: when it was done, in UTC.
        t1, t2: in seconds, or None.
        readout_error, two_qubit_error: probabilities, or None.
    """

    at: datetime
    t1: Quartiles | None
    t2: Quartiles | None
    readout_error: Quartiles | None
    two_qubit_error: Quartiles | None


class Daily(NamedTuple):
    """The figures of a device over some days.

    Attributes:
        days: those of which the archive has a calibration, in order of time.
        origin: which service they come from; empty where the archive does not know, or has none.
        emulated: whether an emulator sent any of it.
    """

    days: tuple[Day, ...]
    origin: str = ""
    emulated: bool = False


def daily_figures(archive: Archive, backend: str, since: datetime, until: datetime, origin: str) -> Daily:
    """Return the figures of a device day by day in UTC; medians are those of `summary`.

    The calibrations of named variants are left out. It takes memory for one calibration a day.

    Args:
        archive: contains the calibrations.
        backend: the device's name.
        since: where it begins, inclusive.
        until: where it ends, exclusive.
        origin: which service is meant, as the archive has it. Where it has nothing from there, the
            calibrations count of the service that sent the newest one.

    Raises:
        ArchiveError: the archive cannot be read.
        DecodeError, InvalidRequest: it has what no archive should, or an instant has no time zone.
    """
    wanted: dict[str, Any] = {"backends": [backend], "since": since, "until": until, "names": [*_UNITS]}
    wanted["kinds"] = ["qubit", "gate"]
    newest = _newest(archive.batches((*_KEYS, *_MEASURED), **wanted))
    if not newest:
        return Daily(())
    if not any(one == origin for one, _ in newest):
        origin = max(newest, key=lambda key: newest[key].at)[0]
    days = [newest[key] for key in sorted(newest) if key[0] == origin]
    return Daily(
        tuple(_figures(_calibration(backend, one)) for one in days),
        origin,
        any(pc.any(rows["emulated"]).as_py() for one in days for rows in one.rows),
    )


class _Calibration(NamedTuple):
    at: datetime
    rows: list[Any]  # record batches


def _newest(batches: Iterable[Any]) -> Mapping[tuple[str, date], _Calibration]:
    """Return the rows of the newest calibration of each origin and day."""
    found: dict[tuple[str, date], _Calibration] = {}
    natives = pa.array(NATIVE_ENTANGLERS)
    for batch in batches:
        counts = pc.or_(pc.is_null(batch["gate"]), pc.is_in(batch["gate"], value_set=natives))
        rows = batch.filter(pc.and_(counts, pc.equal(batch["calibration_id"], "")))
        for origin in rows["origin"].unique().to_pylist():
            own = rows.filter(pc.equal(rows["origin"], origin))
            for at in sorted(own["calibrated_at"].unique().to_pylist(), reverse=True):
                key = origin, at.astimezone(UTC).date()
                if key not in found or at > found[key].at:
                    found[key] = _Calibration(at, [])
                if at == found[key].at:
                    found[key].rows.append(own.filter(pc.equal(own["calibrated_at"], pa.scalar(at))))
    return found


def _calibration(backend: str, found: _Calibration) -> BackendProperties:
    """Return what was kept of a calibration as the document that it was, so that the same rules hold.

    Qubits get new numbers, as those of an archive may be any.
    """
    qubits: dict[int, list[Nduv]] = {}
    gates: dict[tuple[str, tuple[int, ...]], list[Nduv]] = {}
    for rows in found.rows:
        cells = (rows[column].to_pylist() for column in _MEASURED)
        for gate, on, name, value in zip(*cells, strict=True):
            for number in on:
                qubits.setdefault(number, [])
            measured = Nduv("", name, _UNITS[name], value)
            if gate is not None:
                gates.setdefault((gate, tuple(on)), []).append(measured)
            elif on:
                qubits[on[0]].append(measured)
    places = {number: place for place, number in enumerate(sorted(qubits))}
    return BackendProperties(
        backend,
        "",
        found.at.astimezone(UTC),
        tuple(tuple(qubits[number]) for number in places),
        tuple(
            GateProperties(gate, tuple(places[one] for one in on), tuple(values))
            for (gate, on), values in gates.items()
        ),
        (),
    )


def _figures(properties: BackendProperties) -> Day:
    t1, t2, readout = (
        _quartiles(properties.qubit_measurements(name)) for name in ("T1", "T2", "readout_error")
    )
    native = properties.native_entangler
    entangling = _quartiles(properties.gate_measurements(native, "gate_error")) if native else None
    return Day(properties.last_update_date, t1, t2, readout, entangling)


def _quartiles(found: Measurements) -> Quartiles | None:
    values: Sequence[float] = [value for value, _ in found.values]
    if len(values) < 2:
        return Quartiles(values[0], values[0], values[0]) if values else None
    return Quartiles(*quantiles(values, n=4, method="inclusive"))
