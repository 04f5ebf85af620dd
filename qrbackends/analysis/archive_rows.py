"""The rows of an archive: one for each measured value of a calibration, in SI units."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from ..errors import DecodeError
from ..models import BackendProperties
from ..models.properties import Nduv, readable
from .arrow import pa, pc

SCHEMA: Final[Any] = pa.schema(
    [
        pa.field("origin", pa.string(), nullable=False),
        pa.field("calibration_id", pa.string(), nullable=False),
        pa.field("calibrated_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("measured_at", pa.timestamp("us", tz="UTC")),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("gate", pa.string()),
        pa.field("qubits", pa.list_(pa.field("item", pa.int32(), nullable=False)), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("unit", pa.string(), nullable=False),
        pa.field("emulated", pa.bool_()),
        pa.field("backend", pa.string(), nullable=False),
        pa.field("month", pa.string(), nullable=False),
    ]
)
"""The columns of an archive. `kind` is `qubit`, `gate` or `general`, `month` that of `calibrated_at` in UTC,
such as `2026-05`; `emulated` says whether an emulator sent the value.
"""

_Row: TypeAlias = tuple[str, str | None, tuple[int, ...], Nduv]


def table_of(properties: BackendProperties, origin: str, calibration_id: str) -> Any:
    """Return a calibration as an Arrow table of `SCHEMA`.

    Args:
        properties: the calibration.
        origin: which service it comes from.
        calibration_id: the variant of the backend; empty for none.

    Raises:
        DecodeError: a unit is not known.
    """
    rows = list(_rows(properties))
    at = properties.last_update_date.astimezone(UTC)
    count = len(rows)
    kinds, gates, qubits, values = zip(*rows, strict=True) if rows else ((), (), (), ())
    columns = [
        [origin] * count,
        [calibration_id] * count,
        [at] * count,
        [_measured_at(value) for value in values],
        kinds,
        gates,
        qubits,
        [value.name for value in values],
        [value.si for value in values],
        [value.si_unit for value in values],
        [properties.emulated] * count,
        [properties.backend_name] * count,
        [f"{at:%Y-%m}"] * count,
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def portless(origin: str, emulated: bool) -> str:
    """Return the address of an API as `origin` has it: an emulator's port is another one each time."""
    if not emulated or not origin:
        return origin
    parts = urlsplit(origin)
    return parts._replace(netloc=parts.hostname or "").geturl()


def csv_batch(batch: Any) -> Any:
    """Return a record batch with numbers and blanks in place of the list of qubits: CSV has no lists."""
    place = batch.schema.get_field_index("qubits")
    numbers = batch.column(place).cast(pa.list_(pa.string()))
    return batch.set_column(place, pa.field("qubits", pa.string()), pc.binary_join(numbers, " "))


def _rows(properties: BackendProperties) -> Iterator[_Row]:
    for number, measured in enumerate(properties.qubits):
        for value in measured:
            yield "qubit", None, (number,), value
    for on, gate in readable(properties.gates):
        for value in gate.parameters:
            yield "gate", gate.gate, on, value
    for general in properties.general:
        if not isinstance(general, str):
            yield "general", None, (), general


def _measured_at(value: Nduv) -> datetime | None:
    try:
        return value.measured_at
    except DecodeError:  # some flags have no date
        return None
