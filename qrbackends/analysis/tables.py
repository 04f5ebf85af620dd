"""The fleet and its calibrations as tables: a row for each backend, qubit or gate, in SI units.

`backend_rows`, `qubit_rows` and `gate_rows` yield plain dictionaries, of which `pandas.DataFrame` and the
like make frames. `backend_table`, `qubit_table` and `gate_table` return Arrow tables, which pandas, polars
and DuckDB read without copying; the metadata of a field contains its unit. Arrow tables need pyarrow
(`pip install "qrbackends[arrow]"`).
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias, TypedDict, TypeVar, cast, get_args, get_type_hints

from ..messages.extras import missing_extra
from ..models import Backend, BackendProperties, Metric, Nduv, PerformanceMetrics, TwoQubitMetric
from ..models.arguments import check_document
from ..models.properties import readable

D = TypeVar("D")
Calibrations: TypeAlias = BackendProperties | Iterable[BackendProperties]


class BackendRow(TypedDict):
    """An entry of the list of backends. A value that was not sent is None.

    The errors are probabilities, as sent; `two_qubit_error`, `readout_error` and `wait_time` (in seconds) are
    medians. `clops` is in circuit layer operations per second.
    """

    backend: str
    region: str | None
    instance: str | None
    status: str
    reason: str | None
    online: bool
    queue_length: int
    qubits: int | None
    physical_qubits: int | None
    processor: str | None
    clops: float | None
    two_qubit_error: float | None
    two_qubit_error_best: float | None
    two_qubit_error_layered: float | None
    readout_error: float | None
    wait_time: float | None
    is_simulator: bool | None
    is_mock: bool
    emulated: bool


class QubitRow(TypedDict):
    """A qubit of one calibration. A value that was not measured is None.

    `t1`, `t2` and `readout_length` are in seconds, `frequency` and `anharmonicity` in hertz; the others are
    probabilities.
    """

    backend: str
    calibrated_at: datetime
    qubit: int
    operational: bool
    t1: float | None
    t2: float | None
    frequency: float | None
    anharmonicity: float | None
    readout_error: float | None
    readout_length: float | None
    prob_meas0_prep1: float | None
    prob_meas1_prep0: float | None


class GateRow(TypedDict):
    """A gate on one set of qubits, of one calibration; `error` is a probability, `length` is in seconds.

    A value that was not measured is None.
    """

    backend: str
    calibrated_at: datetime
    gate: str
    qubits: list[int]
    operational: bool
    error: float | None
    length: float | None


class ArrowTable(Protocol):
    """A `pyarrow.Table` as type checkers see it, as pyarrow has no types; every attribute may be used."""

    @property
    def num_rows(self) -> int: ...
    @property
    def column_names(self) -> list[str]: ...
    def to_pylist(self) -> list[dict[str, Any]]: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def __getitem__(self, key: int | str) -> Any: ...
    def __getattr__(self, name: str) -> Any: ...


_QUBIT_VALUES: Final[Mapping[str, str]] = {  # the column, and the service's name
    "t1": "T1",
    "t2": "T2",
    "frequency": "frequency",
    "anharmonicity": "anharmonicity",
    "readout_error": "readout_error",
    "readout_length": "readout_length",
    "prob_meas0_prep1": "prob_meas0_prep1",
    "prob_meas1_prep0": "prob_meas1_prep0",
}
_GATE_VALUES: Final[Mapping[str, str]] = {"error": "gate_error", "length": "gate_length"}
_UNITS: Final[Mapping[str, str]] = {
    "t1": "s",
    "t2": "s",
    "frequency": "Hz",
    "anharmonicity": "Hz",
    "readout_length": "s",
    "length": "s",
    "wait_time": "s",
    "clops": "1/s",
}
"""The units of the columns of numbers; those that are not named are probabilities."""


MEASURED: Final = (*_QUBIT_VALUES.values(), *_GATE_VALUES.values())
"""The service's names of the values in the tables, such as `T1` and `gate_error`."""


def backend_rows(backends: Iterable[Backend]) -> Iterator[BackendRow]:
    """Yield a row for each entry of a list of backends; `.unique()` of the list has each backend once."""
    for one in _checked("each of backends", backends, Backend):
        metrics, waits = one.performance_metrics or PerformanceMetrics(), one.wait_time_seconds
        yield {
            "backend": one.name,
            "region": one.region,
            "instance": one.instance,
            "status": one.status.name,
            "reason": one.status.reason,
            "online": one.online,
            "queue_length": one.queue_length,
            "qubits": one.qubits,
            "physical_qubits": one.physical_qubits,
            "processor": str(one.processor_type or "") or None,
            "clops": None if one.clops is None else _number(one.clops.value),
            "two_qubit_error": _value(metrics.two_q_error_median),
            "two_qubit_error_best": _value(metrics.two_q_error_best),
            "two_qubit_error_layered": _value(metrics.two_q_error_layered),
            "readout_error": _value(metrics.readout_error_median),
            "wait_time": None if waits is None else float(waits.p50),
            "is_simulator": one.is_simulator,
            "is_mock": one.is_mock,
            "emulated": one.emulated,
        }


def qubit_rows(properties: Calibrations) -> Iterator[QubitRow]:
    """Yield a row for each qubit of one calibration, or of many.

    Raises:
        DecodeError: a unit is not known.
    """
    for calibration in _each(properties):
        for number, values in enumerate(calibration.qubits):
            row = {
                "backend": calibration.backend_name,
                "calibrated_at": calibration.last_update_date,
                "qubit": number,
                "operational": calibration.is_qubit_operational(number),
                **_si(values, _QUBIT_VALUES),
            }
            yield cast("QubitRow", row)


def gate_rows(properties: Calibrations) -> Iterator[GateRow]:
    """Yield a row for each gate on each set of qubits; a gate whose qubits cannot be read is left out.

    Raises:
        DecodeError: a unit is not known.
    """
    for calibration in _each(properties):
        for on, gate in readable(calibration.gates):
            row = {
                "backend": calibration.backend_name,
                "calibrated_at": calibration.last_update_date,
                "gate": gate.gate,
                "qubits": list(on),
                "operational": gate.operational,
                **_si(gate.parameters, _GATE_VALUES),
            }
            yield cast("GateRow", row)


def backend_table(backends: Iterable[Backend]) -> ArrowTable:
    """Return `backend_rows` as an Arrow table.

    Raises:
        ImportError: pyarrow is not installed.
    """
    return _table(BackendRow, backend_rows(backends))


def qubit_table(properties: Calibrations) -> ArrowTable:
    """Return `qubit_rows` as an Arrow table.

    Raises:
        ImportError: pyarrow is not installed.
        DecodeError: as `qubit_rows` does.
    """
    return _table(QubitRow, qubit_rows(properties))


def gate_table(properties: Calibrations) -> ArrowTable:
    """Return `gate_rows` as an Arrow table.

    Raises:
        ImportError: pyarrow is not installed.
        DecodeError: as `gate_rows` does.
    """
    return _table(GateRow, gate_rows(properties))


def _each(properties: Any) -> Iterable[BackendProperties]:
    if not isinstance(properties, Iterable):
        check_document("properties", properties, BackendProperties)
        return (properties,)
    return _checked("each of properties", properties, BackendProperties)


def _checked(name: str, documents: Iterable[D], kind: type[D]) -> Iterator[D]:
    for one in documents:
        check_document(name, one, kind)
        yield one


def _si(measured: Iterable[Nduv], columns: Mapping[str, str]) -> dict[str, float | None]:
    by_name = {one.name: one for one in measured}
    return {column: by_name[name].si if name in by_name else None for column, name in columns.items()}


def _value(metric: Metric | TwoQubitMetric | None) -> float | None:
    return None if metric is None else metric.value


def _number(value: float | str) -> float | None:
    """Return a number that the service may send as text; None if it is none, or too large for a float."""
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _table(row: type[Any], rows: Iterable[Any]) -> ArrowTable:
    """Return an Arrow table of rows that are all of one type; its schema follows from the type."""
    pa = _pyarrow()
    kinds = {
        str: pa.string(),
        bool: pa.bool_(),
        int: pa.int64(),
        float: pa.float64(),
        datetime: pa.timestamp("us", tz="UTC"),
        list[int]: pa.list_(pa.field("item", pa.int32(), nullable=False)),
    }
    fields = []
    for name, hint in get_type_hints(row).items():
        kind, *rest = get_args(hint) if type(None) in get_args(hint) else (hint,)
        unit = {"unit": _UNITS.get(name, "")} if kind is float else None
        arrow = pa.int32() if name == "qubit" else kinds[kind]
        fields.append(pa.field(name, arrow, nullable=bool(rest), metadata=unit))
    schema = pa.schema(fields)
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    for one in rows:
        for name, column in columns.items():
            column.append(one[name])
    return cast("ArrowTable", pa.table(columns, schema=schema))


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise missing_extra("tables need pyarrow", "arrow") from error
    return pyarrow


__all__ = [
    "ArrowTable",
    "BackendRow",
    "GateRow",
    "QubitRow",
    "backend_rows",
    "backend_table",
    "gate_rows",
    "gate_table",
    "qubit_rows",
    "qubit_table",
]
