"""PennyLane with our backends, beside the official client's fake backends, and `docs/pennylane.md`."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from qrbackends.emulator import ThreadedEmulator

from .asking import ask, needs_environments
from .environments import CLIENTS

pytestmark = needs_environments

QUBITS = {"ibmq_lima": 5, "ibmq_guadalupe": 16, "ibmq_kolkata": 27, "ibm_brisbane": 127, "ibm_fez": 156}


@pytest.fixture(scope="module")
def emulator() -> Iterator[ThreadedEmulator]:
    with ThreadedEmulator(fleet="snapshots", backends=list(QUBITS), regions=("us-east",)) as running:
        yield running


@pytest.mark.parametrize(
    "names",
    [
        ["ibmq_lima", "ibm_fez"],
        pytest.param(["ibmq_guadalupe", "ibmq_kolkata", "ibm_brisbane"], marks=pytest.mark.long),
    ],
    ids=" ".join,
)
def test_results_are_those_with_the_official_fake_backends(
    emulator: ThreadedEmulator, tmp_path: Path, names: list[str]
) -> None:
    found = ask(emulator, tmp_path, "pennylane", "ask_pennylane.py", *names)
    assert Requirement(CLIENTS["pennylane"].requirement).specifier.contains(found["version"])
    assert found["devices"].keys() == set(names)
    for name, one in found["devices"].items():
        assert one["qubits"] == QUBITS[name]
        assert one["ours"] == one["theirs"]
        _, (counts, _, _) = one["ours"]
        assert sum(counts.values()) == 400
        assert len(counts) > 4  # there is noise
    value, counts = found["page"]
    assert 0.5 < value <= 1
    assert sum(counts.values()) == 1000
