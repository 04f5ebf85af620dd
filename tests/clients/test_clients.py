"""Other clients of the service, as they are, against the emulator.

Each runs in a process and an environment of its own.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from qrbackends.emulator import ThreadedEmulator

from ..profiles import some_of
from .asking import OF_FIRST_INSTANCE, PHYSICAL_QUBITS, QUBITS, RUNNING, STATES, ask, needs_environments
from .environments import CLIENTS

pytestmark = needs_environments


@pytest.mark.parametrize("client", some_of(["runtime", "runtime-oldest"]))
def test_the_official_client(emulator: ThreadedEmulator, tmp_path: Path, client: str) -> None:
    found = ask(emulator, tmp_path, client, "ask_runtime.py", "ibm_boston", "synthetic_7")
    assert Requirement(CLIENTS[client].requirement).specifier.contains(found["version"])
    assert found["instances"] == [one.name for one in emulator.instances]
    assert found["backends"] == sorted(STATES)
    assert found["physical_qubits"] == QUBITS | PHYSICAL_QUBITS
    words = {"online": [True, "active"], "paused": [True, "internal"], "offline": [False, "maintenance"]}
    assert found["status"] == {name: words[state.status] for name, state in STATES.items()}
    assert found["least_busy"] == "ibm_brussels"
    assert found["least_busy_of_many_qubits"] == "ibm_boston"
    assert found["fractional"]
    about, usage = found["about"], found["usage"]
    assert about["qubits"] == 7
    assert {"measure", "rz", "reset"} <= set(about["operations"])
    assert 0 < about["t1"] != about["t1_then"] == about["t1_of_target_then"] < 1
    assert about["status"] == [True, "active", STATES["synthetic_7"].queue]
    remaining = usage["usage_limit_seconds"] - usage["usage_consumed_seconds"]
    assert usage["usage_remaining_seconds"] == remaining


def test_qrmi(emulator: ThreadedEmulator, tmp_path: Path) -> None:
    filters = ["status=online", "num_qubits=127&status=online", "name=ibm_*n*", "is_simulator=true"]
    found = ask(emulator, tmp_path, "qrmi", "ask_qrmi.py", *filters)
    assert sorted(found["all"]) == OF_FIRST_INSTANCE
    assert [STATES[name].queue for name in found["all"]] == [0, 0, 3, 5, 9]
    assert list(found["filtered"].values()) == [
        ["ibm_boston", "synthetic_7", "ibm_strasbourg"],
        ["ibm_boston", "ibm_strasbourg"],
        ["ibm_kingston", "ibm_boston"],
        [],
    ]
    assert found["accessible"] == {name: name in RUNNING for name in OF_FIRST_INSTANCE}
    assert {name: (one["status"], one["pending_job_count"]) for name, one in found["status"].items()} == {
        name: (STATES[name].status, STATES[name].queue) for name in OF_FIRST_INSTANCE
    }
    assert found["least_busy"] == found["target"]["name"] == "ibm_boston"
    assert {"cz", "rx", "rzz"} <= set(found["target"]["basis_gates"])
    assert found["target"]["calibrated_qubits"] == 156


@pytest.mark.long
def test_qbraid(emulator: ThreadedEmulator, tmp_path: Path) -> None:
    found = ask(emulator, tmp_path, "qbraid", "ask_qbraid.py", "ibm_strasbourg")
    words = {"online": "ONLINE", "paused": "UNAVAILABLE", "offline": "OFFLINE"}
    assert found["status"] == {name: words[state.status] for name, state in STATES.items()}
    assert found["queue"] == {name: state.queue for name, state in STATES.items()}
    assert found["qubits"] == QUBITS
    assert found["least_busy"] == "ibm_brussels"
    assert found["basis_gates"] == ["ecr", "id", "rz", "sx", "x"]


@pytest.mark.long
def test_the_mcp_server(emulator: ThreadedEmulator, tmp_path: Path) -> None:
    about = {"backend_name": "ibm_strasbourg"}
    calls: dict[str, dict[str, Any]] = {
        "list_backends": {},
        "least_busy_backend": {},
        "get_backend_properties": about,
        "get_backend_calibration": about | {"qubit_indices": [0, 1]},
        "get_coupling_map": about,
        "find_optimal_qubit_chains": about | {"chain_length": 3},
        "available_instances": {},
        "usage_info": {},
    }
    told = ask(emulator, tmp_path, "mcp-server", "ask_mcp_server.py", json.dumps(list(calls.items())))
    found = dict(zip(calls, told["answers"], strict=True))
    assert {one["status"] for one in found.values()} == {"success"}
    listed = {one["name"]: one for one in found["list_backends"]["backends"]}
    assert {name: one["num_qubits"] for name, one in listed.items()} == QUBITS
    assert {name: one["pending_jobs"] for name, one in listed.items()} == {
        name: state.queue for name, state in STATES.items()
    }
    assert {name for name, one in listed.items() if one["status_msg"] == "active"} == RUNNING
    # 0.6.2 asks whether jobs are taken, and not whether they are run.
    assert found["least_busy_backend"]["backend_name"] in ("ibm_kingston", "ibm_brussels")
    assert found["get_backend_properties"]["basis_gates"] == ["ecr", "id", "rz", "sx", "x"]
    calibration = found["get_backend_calibration"]["qubit_calibration"]
    assert [one["qubit"] for one in calibration] == [0, 1]
    assert all(1 < one["t1_us"] < 10_000 for one in calibration)
    assert found["get_coupling_map"]["num_edges"] == 144
    assert all(len(chain["qubits"]) == 3 for chain in found["find_optimal_qubit_chains"]["chains"])
    assert len(found["available_instances"]["instances"]) == 2
    assert found["usage_info"]["usage"]["usage_limit_seconds"] == 600
