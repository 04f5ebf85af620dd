"""Asking the emulator with another client, in a process and an environment of the client's own."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from qrbackends.emulator import Addresses, ThreadedEmulator

from .environments import CLIENTS, environment_of

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DIRECTORY = os.environ.get("QRBACKENDS_CLIENTS")

needs_environments = pytest.mark.skipif(
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


def settings(at: Addresses, home: Path) -> dict[str, str]:
    """Return the environment variables that a client needs, and no others."""
    crn, url = at.instances[0].crn, at.instances[0].url
    qrmi = {
        "QRMI_IBM_QCS_ENDPOINT": url,
        "QRMI_IBM_QCS_IAM_ENDPOINT": at.iam_url,
        "QRMI_IBM_QCS_IAM_APIKEY": at.api_key,
        "QRMI_IBM_QCS_SERVICE_CRN": crn,
    }
    return {
        "HOME": str(home),
        "IAM_URL": at.iam_url,
        "GLOBAL_SEARCH_URL": at.search_url,
        "GLOBAL_CATALOG_URL": at.catalog_url,
        "QISKIT_IBM_CHANNEL": "ibm_quantum_platform",
        "QISKIT_IBM_TOKEN": at.api_key,
        "QISKIT_IBM_INSTANCE": "auto",
        "QISKIT_IBM_URL": url.replace("/api/v1", "/experimental/../api/v1"),  # docs/clients.md says why
        **qrmi,
        **{f"ibm_boston_{name}": value for name, value in qrmi.items()},
    }


def ask(
    emulator: ThreadedEmulator,
    home: Path,
    client: str,
    script: str,
    *arguments: str,
    through: Addresses | None = None,
) -> Any:
    """Run a script with a client, and return what it found; no request of it was refused.

    Args:
        emulator: what is asked.
        home: the client's directory.
        client: the client's name.
        script: the script.
        arguments: those of the script.
        through: where the gateway is that stands in front of the emulator; None for none.
    """
    python = environment_of(Path(DIRECTORY or ""), client) / "bin" / "python"
    assert python.exists(), f"run tests/clients/environments.py: there is no environment of {client}"
    own = {"PYTHONPATH": str(ROOT)} if CLIENTS[client].extras else {}
    emulator.reset_log()
    ran = subprocess.run(
        [python, "-Ps", HERE / script, *arguments],
        env=settings(through or emulator.addresses(), home) | own,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    assert {request.status for request in emulator.requests} <= {200}
    return json.loads(ran.stdout)
