"""The qubits and couplings of a device as tables: for its page, and as CSV."""

import csv
from collections.abc import Iterable, Sequence
from datetime import datetime
from io import StringIO
from typing import NamedTuple

from ..analysis.devicemap import device_map
from ..models import BackendConfiguration, BackendProperties


class QubitRow(NamedTuple):
    """A qubit: T1 and T2 in seconds, the readout error, the frequency in hertz, and whether it works."""

    qubit: int
    t1: float | None
    t2: float | None
    readout_error: float | None
    frequency: float | None
    operational: bool
    measured_at: datetime | None


class CouplingRow(NamedTuple):
    """A coupling: its two qubits, the native gate's error and length in seconds, and whether it works."""

    qubit: int
    other: int
    error: float | None
    length: float | None
    operational: bool
    measured_at: datetime | None


def qubit_rows(properties: BackendProperties) -> list[QubitRow]:
    """Return what was measured of each qubit, as it was sent.

    Raises:
        DecodeError: a unit or a date cannot be read.
    """
    faulty = frozenset(properties.faulty_qubits())
    rows = []
    for number in range(len(properties.qubits)):
        measured = properties.qubit_property(number, "readout_error")
        rows.append(
            QubitRow(
                number,
                properties.t1(number),
                properties.t2(number),
                properties.readout_error(number),
                properties.frequency(number),
                number not in faulty,
                measured.measured_at if measured and measured.date else None,
            )
        )
    return rows


def coupling_rows(configuration: BackendConfiguration, properties: BackendProperties) -> list[CouplingRow]:
    """Return what was measured of each coupled pair, with the lower error of its two directions.

    Raises:
        ImportError, DecodeError, InvalidRequest: the device cannot be drawn, as for `device_map`.
    """
    errors = properties.coupling_errors()
    native = properties.native_entangler
    lengths: dict[tuple[int, int], float] = {}
    for gate in properties.working_gates(native) if native else ():
        length = gate.parameter("gate_length")
        if length is not None and len(gate.on) == 2:
            lengths.setdefault((min(gate.on), max(gate.on)), length.si)
    return [
        CouplingRow(*one.pair, errors.get(one.pair), lengths.get(one.pair), not one.faulty, one.measured_at)
        for one in device_map(configuration, properties, "operational").couplings
    ]


def qubits_csv(properties: BackendProperties) -> bytes:
    """Return the table of qubits as CSV, with SI units."""
    head = ("qubit", "t1_s", "t2_s", "readout_error", "frequency_hz", "operational", "measured_at")
    return _csv(head, qubit_rows(properties))


def couplings_csv(configuration: BackendConfiguration, properties: BackendProperties) -> bytes:
    """Return the table of couplings as CSV, with SI units."""
    head = ("qubit", "other_qubit", "two_qubit_error", "gate_length_s", "operational", "measured_at")
    return _csv(head, coupling_rows(configuration, properties))


def _csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(head)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return text.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else value
