"""`BackendFilter`: one test for `where=` and for the command line."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qrbackends import Account, Backend, BackendFilter, Client, Instance, InvalidRequest
from qrbackends.emulator import Emulator
from qrbackends.fleet.keys import KEYS
from qrbackends.models.backend import Clops, DeviceStatus, Metric, PerformanceMetrics, ProcessorType

HERON = Backend(
    "ibm_boston",
    DeviceStatus("online"),
    12,
    qubits=156,
    clops=Clops("hardware", 340_000),
    processor_type=ProcessorType("Heron", "3"),
    performance_metrics=PerformanceMetrics(
        two_q_error_median=Metric(1.2e-3),
        two_q_error_layered=Metric(3e-3),
        readout_error_median=Metric(5e-3),
    ),
)
CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/1:2::"
BARE = Backend("bare", DeviceStatus("paused"), 0)


@pytest.mark.parametrize(
    ("conditions", "passes"),
    [
        ({}, True),
        ({"name": "ibm_b*"}, True),
        ({"name": "IBM_BOSTON"}, True),
        ({"name": "ibm"}, False),
        ({"name": ["x*", "*boston"]}, True),
        ({"name": ["x*", "y*"]}, False),
        ({"processor": "heron"}, True),
        ({"processor": "Heron r[23]"}, True),
        ({"processor": "heron r1"}, False),
        ({"processor": "her"}, False),
        ({"online": True}, True),
        ({"min_qubits": 156}, True),
        ({"min_qubits": 157}, False),
        ({"max_queue": 12}, True),
        ({"max_queue": 11}, False),
        ({"min_clops": 340_000}, True),
        ({"min_clops": 340_001}, False),
        ({"max_two_qubit_error": 1.2e-3}, True),
        ({"max_two_qubit_error": 1.1e-3}, False),
        ({"max_two_qubit_error_layered": 3e-3}, True),
        ({"max_two_qubit_error_layered": 2e-3}, False),
        ({"max_readout_error": 5e-3}, True),
        ({"max_readout_error": 4e-3}, False),
        ({"min_qubits": 100, "max_queue": 5}, False),
    ],
)
def test_each_condition_has_to_be_met(conditions: dict[str, Any], passes: bool) -> None:
    assert BackendFilter(**conditions)(HERON) is passes


@pytest.mark.parametrize(
    ("conditions", "passes"),
    [
        ({"online": True}, False),
        ({"processor": "*"}, False),
        ({"min_qubits": 0}, True),
        ({"min_qubits": 1}, False),
        ({"min_clops": 1}, False),
        ({"max_queue": 0}, True),
        ({"max_two_qubit_error": 1}, False),
    ],
)
def test_what_is_unknown_is_0_for_a_minimum_and_within_no_maximum(
    conditions: dict[str, Any], passes: bool
) -> None:
    assert BackendFilter(**conditions)(BARE) is passes


@given(st.floats(allow_nan=True), st.floats(0, 1))
def test_an_error_that_does_not_count_is_within_no_bound(error: float, bound: float) -> None:
    one = Backend(
        "b",
        DeviceStatus("online"),
        0,
        performance_metrics=PerformanceMetrics(readout_error_median=Metric(error)),
    )
    assert BackendFilter(max_readout_error=bound)(one) is (0 <= error < 1 and error <= bound)


@pytest.mark.parametrize("name", [[1], [None], (b"x",)])
def test_a_name_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(InvalidRequest, match="name has to be a glob"):
        BackendFilter(name=name)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"min_qubits": "100"}, "min_qubits has to be a whole number, 0 or more, and not '100'"),
        ({"min_qubits": 100.0}, "min_qubits has to be a whole number"),
        ({"min_qubits": True}, "min_qubits has to be a whole number"),
        ({"max_queue": -1}, "max_queue has to be a whole number, 0 or more, and not -1"),
        ({"min_clops": "1e5"}, "min_clops has to be a number, 0 or more"),
        ({"max_two_qubit_error": 3}, "max_two_qubit_error has to be a probability from 0 to 1, and not 3"),
        ({"max_two_qubit_error_layered": -1e-9}, "max_two_qubit_error_layered has to be a probability"),
        ({"max_readout_error": float("nan")}, "max_readout_error has to be a probability"),
        ({"online": "yes"}, "online has to be True, False or None, and not 'yes'"),
        ({"processor": 3}, "processor has to be a glob"),
        ({"name": 5}, "name has to be a glob"),
    ],
)
def test_a_condition_that_is_none_is_refused(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        BackendFilter(**wrong)


def test_numbers_of_other_libraries_are_numbers() -> None:
    numbers: dict[str, Any] = {"min_qubits": np.int64(156), "max_readout_error": np.float64(5e-3)}
    assert BackendFilter(**numbers)(HERON)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"min_qubits": "100"}, "min_qubits has to be a whole number"),
        ({"operational": "yes"}, "operational has to be True, False or None"),
        ({"simulator": 1}, "simulator has to be True, False or None"),
        ({"use_fractional_gates": "no"}, "use_fractional_gates has to be True, False or None"),
        ({"where": "x"}, "where has to be a function, such as lambda one: .*, and not 'x'"),
    ],
)
async def test_choosing_by_a_wrong_condition_is_refused_before_anything_is_asked(
    wrong: dict[str, Any], problem: str
) -> None:
    async with Client(Account("no-such-key", instances=[Instance(CRN, url="http://127.0.0.1:1")])) as client:
        with pytest.raises(InvalidRequest, match=problem):
            await client.rank("queue", **wrong)
        with pytest.raises(InvalidRequest, match=problem):
            await client.least_busy(**wrong)


@pytest.mark.anyio
async def test_what_has_to_be_a_function_is_one() -> None:
    wrong: Any = True
    async with Client(Account("no-such-key", instances=[Instance(CRN, url="http://127.0.0.1:1")])) as client:
        with pytest.raises(InvalidRequest, match="until has to be a function, such as lambda one: one"):
            await client.wait_for("ibm_boston", wrong)
        with pytest.raises(InvalidRequest, match="there is no key True"):
            await client.rank(wrong)
        with pytest.raises(InvalidRequest, match="where has to be a function"):
            client.snapshot(where=wrong)
        with pytest.raises(InvalidRequest, match="progress has to be a function"):
            client.snapshot(progress=wrong)
        with pytest.raises(InvalidRequest, match="resources have to be some of"):
            client.snapshot(wrong)
        for names in ([wrong], 5):
            with pytest.raises(InvalidRequest, match="name"):
                client.watch(backends=names)  # type: ignore[arg-type]


def test_filters_are_values() -> None:
    assert BackendFilter(name="a*") == BackendFilter(name=["a*"])
    assert len({BackendFilter(min_qubits=5), BackendFilter(min_qubits=5)}) == 1
    assert "min_qubits=5" in repr(BackendFilter(min_qubits=5))


@pytest.mark.anyio
async def test_every_where_takes_it(client: Client, emulator: Emulator) -> None:
    wanted = BackendFilter(name="*_heron_*", max_two_qubit_error=2e-3)
    names = {one.name for one in await client.backends() if wanted(one)}
    assert 0 < len(names) < len(emulator.backends())
    assert {one.name for one in await client.rank("queue", operational=None, where=wanted)} == names
    assert (await client.least_busy(where=wanted)).name in names
    assert set(await client.snapshot(["status"], where=wanted).collect()) == names
    ranked = await client.rank("two_qubit_error", operational=None)
    worst = KEYS["two_qubit_error"](ranked[2])
    assert worst is not None
    assert {*filter(BackendFilter(max_two_qubit_error=worst), ranked)} == {*ranked[:3]}


def test_a_glob_that_matches_nothing_is_told_with_what_is_like_it() -> None:
    listed = [HERON, BARE]
    assert BackendFilter(name=["ibm_*", "BARE"], processor="heron").unmatched(listed) == ()
    assert BackendFilter(name=["ibm_*", "bostn*"], processor="hreon r3").unmatched(listed) == (
        "no backend's name matches 'bostn*'; did you mean ibm_boston?",
        "no backend's processor matches 'hreon r3'; did you mean Heron r3?",
    )
    assert BackendFilter(processor="eagle").unmatched(listed) == (
        "no backend's processor matches 'eagle'; there is Heron",
    )
