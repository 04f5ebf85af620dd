"""Calibrations as tables: a row for each qubit or gate, in SI units, of one backend or of many.

`qubit_rows` and `gate_rows` yield plain dictionaries. `qubit_table` and `gate_table` return Arrow tables,
which pandas, polars and DuckDB read without copying; the metadata of a field contains its unit. Arrow tables
need pyarrow (`pip install "qrbackends[arrow]"`).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..messages.extras import missing_extra
from ..models import BackendProperties
from ..models.properties import readable

if TYPE_CHECKING:
    import pyarrow as pa

Calibrations: TypeAlias = BackendProperties | Iterable[BackendProperties]

_QUBIT_VALUES: Final[Mapping[str, tuple[str, str]]] = {  # the service's name, and the unit
    "t1": ("T1", "s"),
    "t2": ("T2", "s"),
    "frequency": ("frequency", "Hz"),
    "anharmonicity": ("anharmonicity", "Hz"),
    "readout_error": ("readout_error", ""),
    "readout_length": ("readout_length", "s"),
    "prob_meas0_prep1": ("prob_meas0_prep1", ""),
    "prob_meas1_prep0": ("prob_meas1_prep0", ""),
}
_GATE_VALUES: Final[Mapping[str, tuple[str, str]]] = {
    "error": ("gate_error", ""),
    "length": ("gate_length", "s"),
}


MEASURED: Final = tuple(name for names in (_QUBIT_VALUES, _GATE_VALUES) for name, _ in names.values())
"""The service's names of the values in the tables, such as `T1` and `gate_error`."""


def qubit_rows(properties: Calibrations) -> Iterator[dict[str, Any]]:
    """Yield a row for each qubit.

    Its keys are `backend`, `calibrated_at` (a datetime), `qubit`, `operational`; `t1`, `t2` and
    `readout_length` in seconds; `frequency` and `anharmonicity` in hertz; `readout_error`,
    `prob_meas0_prep1` and `prob_meas1_prep0` as probabilities. A value that was not measured is None.

    Raises:
        DecodeError: a unit is not known.
    """
    for calibration in _each(properties):
        for number, values in enumerate(calibration.qubits):
            by_name = {value.name: value for value in values}
            yield {
                "backend": calibration.backend_name,
                "calibrated_at": calibration.last_update_date,
                "qubit": number,
                "operational": calibration.is_qubit_operational(number),
                **{
                    column: by_name[name].si if name in by_name else None
                    for column, (name, _) in _QUBIT_VALUES.items()
                },
            }


def gate_rows(properties: Calibrations) -> Iterator[dict[str, Any]]:
    """Yield a row for each gate on each set of qubits; a gate whose qubits cannot be read is left out.

    Its keys are `backend`, `calibrated_at` (a datetime), `gate`, `qubits` (a list of numbers),
    `operational`, `error` (a probability) and `length` in seconds. A value that was not measured is None.

    Raises:
        DecodeError: a unit is not known.
    """
    for calibration in _each(properties):
        for on, gate in readable(calibration.gates):
            by_name = {value.name: value for value in gate.parameters}
            yield {
                "backend": calibration.backend_name,
                "calibrated_at": calibration.last_update_date,
                "gate": gate.gate,
                "qubits": list(on),
                "operational": gate.operational,
                **{
                    column: by_name[name].si if name in by_name else None
                    for column, (name, _) in _GATE_VALUES.items()
                },
            }


def qubit_table(properties: Calibrations) -> "pa.Table":
    """Return `qubit_rows` as an Arrow table.

    Raises:
        ImportError: pyarrow is not installed.
        DecodeError: as `qubit_rows` does.
    """
    pa = _pyarrow()
    return _table(qubit_rows(properties), [pa.field("qubit", pa.int32(), nullable=False)], _QUBIT_VALUES)


def gate_table(properties: Calibrations) -> "pa.Table":
    """Return `gate_rows` as an Arrow table.

    Raises:
        ImportError: pyarrow is not installed.
        DecodeError: as `gate_rows` does.
    """
    pa = _pyarrow()
    own = [
        pa.field("gate", pa.string(), nullable=False),
        pa.field("qubits", pa.list_(pa.field("item", pa.int32(), nullable=False)), nullable=False),
    ]
    return _table(gate_rows(properties), own, _GATE_VALUES)


def _each(properties: Calibrations) -> Iterable[BackendProperties]:
    return (properties,) if isinstance(properties, BackendProperties) else properties


def _table(
    rows: Iterable[dict[str, Any]], own: "list[pa.Field]", values: Mapping[str, tuple[str, str]]
) -> "pa.Table":
    pa = _pyarrow()
    schema = pa.schema(
        [
            pa.field("backend", pa.string(), nullable=False),
            pa.field("calibrated_at", pa.timestamp("us", tz="UTC"), nullable=False),
            *own,
            pa.field("operational", pa.bool_(), nullable=False),
            *(pa.field(name, pa.float64(), metadata={"unit": unit}) for name, (_, unit) in values.items()),
        ]
    )
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    for row in rows:
        for name, column in columns.items():
            column.append(row[name])
    return pa.table(columns, schema=schema)


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise missing_extra("tables need pyarrow", "arrow") from error
    return pyarrow
