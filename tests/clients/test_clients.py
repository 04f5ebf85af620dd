"""Other clients of the service, as they are, against the emulator.

Each runs in a process and an environment of its own.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from packaging.requirements import Requirement

from qrbackends.emulator import SyntheticFleet, ThreadedEmulator

from .environments import CLIENTS, environment_of

HERE = Path(__file__).parent
DIRECTORY = os.environ.get("QRBACKENDS_CLIENTS")

pytestmark = pytest.mark.skipif(
    not DIRECTORY, reason="QRBACKENDS_CLIENTS names no directory of environments (docs/clients.md)"
)


@dataclass(frozen=True)
class State:
    """How a backend is set for the tests."""

    queue: int
    status: Literal["online", "paused", "offline"] = "online"


STATES = {
    "ibm_boston": State(3),
    "ibm_brussels": State(1),  # the second instance alone has it
    "ibm_kingston": State(0, "paused"),
    "ibm_miami": State(0, "offline"),
    "ibm_strasbourg": State(9),
    "synthetic_7": State(5),
}
OF_FIRST_INSTANCE = sorted(STATES.keys() - {"ibm_brussels"})
RUNNING = {name for name, state in STATES.items() if state.status == "online"}
QUBITS = {
    "ibm_boston": 156,
    "ibm_brussels": 127,
    "ibm_kingston": 156,
    "ibm_miami": 120,
    "ibm_strasbourg": 127,
    "synthetic_7": 7,
}
# Tunable couplers are qubits of the chip, too.
PHYSICAL_QUBITS = {"ibm_boston": 332, "ibm_kingston": 332, "ibm_miami": 338, "synthetic_7": 13}


@pytest.fixture(scope="module")
def emulator() -> Iterator[ThreadedEmulator]:
    """One region with two instances, which see different backends: real ones, and one with a history."""
    with ThreadedEmulator(
        fleet=["snapshots", SyntheticFleet({"synthetic_7": 7})],
        backends=list(STATES),
        regions=("us-east",),
        instances=2,
        allocation={1: OF_FIRST_INSTANCE, 2: ["ibm_brussels"]},
    ) as running:
        for name, state in STATES.items():
            running.set_backend(name, status=state.status, queue_length=state.queue)
        yield running


def settings(emulator: ThreadedEmulator, home: Path) -> dict[str, str]:
    """Return the environment variables that a client needs, and no others."""
    url, cloud = emulator.url("us-east"), emulator.url("cloud")
    crn, key = emulator.instances[0].crn, emulator.api_keys[0]
    return {
        "HOME": str(home),
        "IAM_URL": cloud,
        "GLOBAL_SEARCH_URL": cloud,
        "GLOBAL_CATALOG_URL": f"{cloud}/api/v1",
        "QISKIT_IBM_CHANNEL": "ibm_quantum_platform",
        "QISKIT_IBM_TOKEN": key,
        "QISKIT_IBM_INSTANCE": "auto",
        "QISKIT_IBM_URL": url.replace("/api/v1", "/experimental/../api/v1"),  # docs/clients.md says why
        "QRMI_IBM_QCS_ENDPOINT": url,
        "QRMI_IBM_QCS_IAM_ENDPOINT": cloud,
        "QRMI_IBM_QCS_IAM_APIKEY": key,
        "QRMI_IBM_QCS_SERVICE_CRN": crn,
    }


def ask(emulator: ThreadedEmulator, home: Path, client: str, script: str, *arguments: str) -> Any:
    """Run a script with a client, and return what it found; no request of it was refused."""
    python = environment_of(Path(DIRECTORY or ""), client) / "bin" / "python"
    assert python.exists(), f"run tests/clients/environments.py: there is no environment of {client}"
    emulator.reset_log()
    ran = subprocess.run(
        [python, "-I", HERE / script, *arguments],
        env=settings(emulator, home),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    assert {request.status for request in emulator.requests} == {200}
    return json.loads(ran.stdout)


@pytest.mark.parametrize("client", ["runtime", "runtime-oldest"])
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


def test_qbraid(emulator: ThreadedEmulator, tmp_path: Path) -> None:
    found = ask(emulator, tmp_path, "qbraid", "ask_qbraid.py", "ibm_strasbourg")
    words = {"online": "ONLINE", "paused": "UNAVAILABLE", "offline": "OFFLINE"}
    assert found["status"] == {name: words[state.status] for name, state in STATES.items()}
    assert found["queue"] == {name: state.queue for name, state in STATES.items()}
    assert found["qubits"] == QUBITS
    assert found["least_busy"] == "ibm_brussels"
    assert found["basis_gates"] == ["ecr", "id", "rz", "sx", "x"]


def test_the_mcp_server(emulator: ThreadedEmulator, tmp_path: Path) -> None:
    found = ask(emulator, tmp_path, "mcp-server", "ask_mcp_server.py", "ibm_strasbourg")
    assert {one["status"] for name, one in found.items() if name != "version"} == {"success"}
    listed = {one["name"]: one for one in found["backends"]["backends"]}
    assert {name: one["num_qubits"] for name, one in listed.items()} == QUBITS
    assert {name: one["pending_jobs"] for name, one in listed.items()} == {
        name: state.queue for name, state in STATES.items()
    }
    assert {name for name, one in listed.items() if one["status_msg"] == "active"} == RUNNING
    # 0.6.2 asks whether jobs are taken, and not whether they are run.
    assert found["least_busy"]["backend_name"] in ("ibm_kingston", "ibm_brussels")
    assert found["properties"]["basis_gates"] == ["ecr", "id", "rz", "sx", "x"]
    assert [one["qubit"] for one in found["calibration"]["qubit_calibration"]] == [0, 1]
    assert all(1 < one["t1_us"] < 10_000 for one in found["calibration"]["qubit_calibration"])
    assert found["coupling_map"]["num_edges"] == 144
    assert all(len(chain["qubits"]) == 3 for chain in found["chains"]["chains"])
    assert len(found["instances"]["instances"]) == 2
    assert found["usage"]["usage"]["usage_limit_seconds"] == 600
