"""Documents that are swapped, or others than are wanted: which argument it is, and what it has to be."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas
import pytest

from qrbackends import Backend, BackendList, Client, InvalidRequest, summary
from qrbackends.analysis.comparison import compare, qubit_values, stability
from qrbackends.analysis.layout import coordinates
from qrbackends.analysis.plot import error_map, fleet_plot, history_plot
from qrbackends.analysis.qubits import best_chain, best_qubits
from qrbackends.analysis.scoring import score
from qrbackends.analysis.tables import backend_rows, gate_rows, qubit_rows
from qrbackends.interop.qiskit import to_target
from qrbackends.models import DeviceStatus

from ..snapshots import real

DOCUMENTS: tuple[Any, Any] = real("quito")
C, P = DOCUMENTS
ENTRY = Backend("a", DeviceStatus("online"), 3)


class Circuit:
    qubits = clbits = data = ()


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda: error_map(P, C), "configuration has to be a BackendConfiguration, not BackendProperties"),
        (lambda: best_qubits(P, C, 5), "configuration has to be a BackendConfiguration"),
        (lambda: best_chain(C, C, 5), "properties has to be a BackendProperties, not BackendConfiguration"),
        (lambda: score(Circuit(), P, C), "configuration has to be a BackendConfiguration"),
        (lambda: coordinates(P), "configuration has to be a BackendConfiguration"),
        (lambda: to_target(P, C), "configuration has to be a BackendConfiguration"),
        (lambda: to_target(C, C), "properties has to be a BackendProperties"),
        (lambda: summary(P), "configuration has to be a BackendConfiguration, not BackendProperties"),
        (lambda: summary(C, C), "properties has to be a BackendProperties"),
        (lambda: summary(C, P, P), "status has to be a BackendStatus"),
        (lambda: summary(C, listed=P), "listed has to be a Backend, not BackendProperties"),
        (lambda: compare(C, P), "before has to be a BackendProperties"),
        (lambda: compare(P, C), "after has to be a BackendProperties"),
        (lambda: next(qubit_values(C)), "properties has to be a BackendProperties"),
        (lambda: stability(C, "a", 7), "window has to be a timedelta"),  # type: ignore[arg-type]
        (lambda: history_plot([C]), "each calibration of history has to be a BackendProperties"),
        (lambda: fleet_plot([P]), "each of backends has to be a Backend, not BackendProperties"),
        (lambda: list(backend_rows([P])), "each of backends has to be a Backend"),
        (lambda: list(qubit_rows(C)), "properties has to be a BackendProperties, not BackendConf"),
        (lambda: list(gate_rows([C])), "each of properties has to be a BackendProperties"),
    ],
)
def test_a_wrong_document_is_named(call: Callable[[], object], problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        call()


@pytest.mark.anyio
async def test_what_was_not_awaited_is_told_so(client: Client) -> None:
    asked: Any = client.configuration("synthetic_falcon_27")
    with pytest.raises(InvalidRequest, match=r"configuration has to be a .*, not coroutine; await it first"):
        summary(asked)
    await asked
    history: Any = client.history("a", datetime.now(UTC) - timedelta(days=1))
    with pytest.raises(TypeError, match=r"History is read by .*collect\(\)"):
        history_plot(history)


@pytest.mark.anyio
async def test_fetch_takes_a_request(client: Client) -> None:
    name: Any = "ibm_boston"
    with pytest.raises(InvalidRequest, match=r"request has to be a Request, such as .*, not str"):
        await client.fetch(name)


def test_pandas_takes_rows_and_says_so_of_a_list_of_backends() -> None:
    fleet: Any = BackendList([ENTRY])
    with pytest.raises(AttributeError, match=r"pandas takes rows: pandas.DataFrame\(.*backend_rows"):
        pandas.DataFrame(fleet)
    assert pandas.DataFrame(backend_rows(fleet)).backend.tolist() == ["a"]
    assert not hasattr(fleet, "dtype")
