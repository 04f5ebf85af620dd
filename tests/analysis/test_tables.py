"""Calibrations as rows and Arrow tables, and what other libraries see of them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from qrbackends import Backend, BackendList, BackendProperties, Client
from qrbackends.analysis.tables import (
    backend_rows,
    backend_table,
    gate_rows,
    gate_table,
    qubit_rows,
    qubit_table,
)
from qrbackends.emulator import Emulator
from qrbackends.messages.extras import install
from qrbackends.models import Clops, DeviceStatus

from ..snapshots import BOTH, real

UNITS = {
    "t1": "s",
    "t2": "s",
    "frequency": "Hz",
    "anharmonicity": "Hz",
    "readout_error": "",
    "readout_length": "s",
    "prob_meas0_prep1": "",
    "prob_meas1_prep0": "",
}


def units(table: pa.Table) -> dict[str, str]:
    return {
        one.name: one.metadata[b"unit"].decode()
        for one in table.schema
        if one.metadata and b"unit" in one.metadata
    }


def all_of_them() -> list[BackendProperties]:
    return [real(name)[1] for name in BOTH]


@pytest.mark.parametrize("name", BOTH)
def test_rows_hold_what_the_accessors_say(name: str) -> None:
    _, properties = real(name)
    qubits = list(qubit_rows(properties))
    assert [row["qubit"] for row in qubits] == list(range(len(properties.qubits)))
    for number, row in enumerate(qubits):
        assert row["backend"] == properties.backend_name
        assert row["calibrated_at"] == properties.last_update_date
        assert row["operational"] is properties.is_qubit_operational(number)
        for column in UNITS:
            assert dict(row)[column] == getattr(properties, column)(number)
    gates = list(gate_rows(properties))
    assert len(gates) == len(properties.gates)
    for one in gates:
        assert one["error"] == properties.gate_error(one["gate"], one["qubits"])
        assert one["length"] == properties.gate_length(one["gate"], one["qubits"])
        assert one["operational"] is properties.is_gate_operational(one["gate"], one["qubits"])


def test_a_table_holds_the_rows_with_their_units() -> None:
    _, properties = real("boston")
    qubits, gates = qubit_table(properties), gate_table(properties)
    assert qubits.to_pylist() == list(qubit_rows(properties))
    assert gates.to_pylist() == list(gate_rows(properties))
    assert units(qubits) == UNITS
    assert units(gates) == {"error": "", "length": "s"}
    assert [one.num_chunks for one in qubits.columns] == [1] * qubits.num_columns


def test_many_backends_are_one_table() -> None:
    table = qubit_table(all_of_them())
    assert table.num_rows == sum(len(properties.qubits) for properties in all_of_them())
    assert set(table["backend"].to_pylist()) == {properties.backend_name for properties in all_of_them()}
    assert qubit_table([]).schema == table.schema
    assert gate_table(iter([])).num_rows == 0


def test_parquet_keeps_values_and_units(tmp_path: Path) -> None:
    for number, table in enumerate((qubit_table(all_of_them()), gate_table(all_of_them()))):
        pq.write_table(table, tmp_path / f"{number}.parquet")
        read = pq.read_table(tmp_path / f"{number}.parquet")
        assert read.equals(table, check_metadata=False)
        assert units(read) == units(table)


def test_pandas_takes_it_without_copying_and_gives_it_back() -> None:
    _, properties = real("boston")
    full = qubit_table(properties).select(["qubit", "t1", "t2", "readout_error"])
    frame = full.to_pandas(zero_copy_only=True, split_blocks=True)
    assert frame["t1"].to_numpy().ctypes.data == full["t1"].chunk(0).buffers()[1].address
    again = pa.Table.from_pandas(frame, schema=full.schema, preserve_index=False)
    assert again.equals(full)
    assert units(again) == units(full)
    everything = qubit_table(all_of_them())
    mapped = everything.to_pandas(types_mapper=pd.ArrowDtype)
    back = pa.Table.from_pandas(mapped, schema=everything.schema, preserve_index=False)
    assert back.equals(everything)
    assert units(back) == UNITS


def test_polars_takes_it_and_gives_it_back() -> None:
    table = qubit_table(all_of_them())
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    assert frame.height == table.num_rows
    back = frame.to_arrow().cast(table.schema)
    assert back.equals(table)
    assert units(back) == UNITS
    best = frame.group_by("backend").agg(pl.col("t1").median()).sort("t1")
    expected = {one.backend_name: one.median_t1() for one in all_of_them()}
    assert dict(best.iter_rows())["ibm_boston"] == expected["ibm_boston"]
    gates = gate_table(all_of_them())
    assert pl.from_arrow(gates)["qubits"].to_list() == gates["qubits"].to_pylist()


def test_duckdb_asks_the_whole_fleet() -> None:
    gates = gate_table(all_of_them())
    found = duckdb.sql(
        "select backend, median(error) from gates where gate = 'cz' and error < 1 and operational "
        "group by backend order by 2 limit 3"
    ).fetchall()
    expected = sorted(
        (error, one.backend_name)
        for one in all_of_them()
        if "cz" in {gate.gate for gate in one.gates} and (error := one.median_gate_error("cz")) is not None
    )
    assert found == [(name, pytest.approx(error)) for error, name in expected[:3]]
    assert gates.num_rows > 10_000


def test_what_was_not_measured_is_null() -> None:
    _, properties = real("lima")
    bare = replace(properties, qubits=((), *properties.qubits[1:]))
    column = qubit_table(bare)["t1"]
    assert column.null_count == 1
    assert column[0].as_py() is None
    assert qubit_table(bare)["operational"].to_pylist() == [True] * 5


@pytest.fixture
async def fleet(real_emulator: Emulator) -> BackendList:
    async with Client(real_emulator.account()) as client:
        return await client.backends(fields=["wait_time_seconds"])


@pytest.mark.anyio
async def test_the_list_as_rows(fleet: BackendList) -> None:
    rows = list(backend_rows(fleet))
    assert [row["backend"] for row in rows] == [one.name for one in fleet]
    boston, row = fleet["ibm_boston"], next(row for row in rows if row["backend"] == "ibm_boston")
    metrics, waits = boston.performance_metrics, boston.wait_time_seconds
    assert metrics is not None
    assert metrics.two_q_error_median is not None
    assert waits is not None
    assert boston.clops is not None
    assert row["two_qubit_error"] == metrics.two_q_error_median.value
    assert row["wait_time"] == waits.p50
    assert row["clops"] == boston.clops.value
    assert (row["region"], row["instance"], row["qubits"]) == (boston.region, boston.instance, 156)
    assert (row["status"], row["online"], row["queue_length"]) == ("online", True, boston.queue_length)
    assert (row["processor"], row["is_mock"], row["emulated"]) == ("Heron r3", False, True)
    assert len(list(backend_rows(fleet.unique()))) == len(fleet.unique())


@pytest.mark.anyio
async def test_the_list_as_a_table(fleet: BackendList) -> None:
    backends = backend_table(fleet)
    assert backends.to_pylist() == list(backend_rows(fleet))
    assert backend_table([]).schema == backends.schema
    metrics = ("two_qubit_error", "two_qubit_error_best", "two_qubit_error_layered", "readout_error")
    assert units(backends) == {"clops": "1/s", "wait_time": "s", **dict.fromkeys(metrics, "")}
    assert not backends.schema.field("queue_length").nullable
    ((fastest, clops),) = duckdb.sql(
        "select backend, clops from backends order by clops desc nulls last limit 1"
    ).fetchall()
    known = {one.name: float(one.clops.value) for one in fleet if one.clops is not None}
    assert clops == known[fastest] == max(known.values())


@pytest.mark.anyio
async def test_frames_of_rows(fleet: BackendList) -> None:
    frame = pd.DataFrame(backend_rows(fleet))
    assert list(frame.columns) == list(next(backend_rows(fleet)))
    assert frame.set_index("backend").loc["ibm_boston", "queue_length"] == fleet["ibm_boston"].queue_length
    assert frame["clops"].dtype == frame["two_qubit_error"].dtype == "float64"
    assert len(pd.DataFrame(qubit_rows(all_of_them()))) == qubit_table(all_of_them()).num_rows
    assert len(pd.DataFrame(gate_rows(all_of_them()))) == gate_table(all_of_them()).num_rows
    assert pl.DataFrame(backend_rows(fleet), infer_schema_length=None).height == len(fleet)


@pytest.mark.parametrize(("sent", "expected"), [("12.5", 12.5), ("many", None), (10**400, None), (7, 7.0)])
def test_an_entry_of_which_little_was_sent(sent: Any, expected: float | None) -> None:
    bare = Backend("a", DeviceStatus("offline"), 0, clops=Clops("x", sent))
    (row,) = backend_rows([bare])
    known = {"backend": "a", "status": "offline", "online": False, "queue_length": 0}
    known |= {"is_mock": False, "emulated": False}
    assert {name: value for name, value in row.items() if value is not None and name != "clops"} == known
    assert row["clops"] == expected
    assert backend_table([bare]).to_pylist() == [row]


def test_without_pyarrow_there_are_rows_and_it_says_what_to_install() -> None:
    code = """
import sys
sys.modules["pyarrow"] = None
import msgspec
from qrbackends import BackendProperties
from qrbackends.analysis.tables import gate_rows, qubit_rows, qubit_table
empty = BackendProperties("x", "1", __import__("datetime").datetime(2026, 1, 1), ((),), (), ())
print(len(list(qubit_rows(empty))), len(list(gate_rows(empty))))
qubit_table(empty)
"""
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert outcome.stdout == "1 0\n"
    assert outcome.stderr.splitlines()[-1] == f"ImportError: tables need pyarrow: {install(['arrow'])}"
