"""A device with much that is out of order or impossible: over sockets, from documents to target."""

import json
from typing import Any

import msgspec
import pytest

from qrbackends import BackendProperties, Client, summary
from qrbackends.analysis.qubits import best_chain, best_qubits
from qrbackends.emulator import Emulator, Garbage
from qrbackends.interop import qiskit as interop

pytestmark = pytest.mark.anyio

NAME = "synthetic_heron_133"


def _set(values: list[dict[str, Any]], name: str, value: float) -> None:
    """Replace a measured value."""
    values[:] = [one for one in values if one["name"] != name]
    values.append(
        {"name": name, "value": value, "unit": "" if "error" in name else "s", "date": "2026-06-01"}
    )


@pytest.fixture
async def healthy(client: Client) -> BackendProperties:
    """Return the device's properties as they are without faults."""
    return await client.properties(NAME)


@pytest.fixture
async def odd(emulator: Emulator, client: Client, healthy: BackendProperties) -> BackendProperties:
    """Serve the device with values of our own, and return its properties."""
    sent = {
        "configuration": json.loads(msgspec.json.encode(await client.configuration(NAME))),
        "properties": json.loads(msgspec.json.encode(healthy)),
    }
    qubits, gates = sent["properties"]["qubits"], sent["properties"]["gates"]
    for qubit, name, value in (
        (3, "T2", -1.6),
        (5, "T1", 0.0),
        (7, "frequency", -4.0),
        (9, "readout_error", -0.25),
    ):
        _set(qubits[qubit], name, value)
    for gate in gates:
        if gate["gate"] == "cz" and set(gate["qubits"]) == {0, 1}:
            _set(gate["parameters"], "gate_error", 1.25)
        if gate["gate"] == "cz" and gate["qubits"] == [1, 2]:  # the other direction works
            _set(gate["parameters"], "gate_error", 1.0)
    gates.append({"gate": "cz", "qubits": [2, 7_000_000_000], "parameters": []})
    gates.append({"gate": "cz", "qubits": ["q1", 2], "parameters": []})
    for gate in sent["configuration"]["gates"]:
        if gate["name"] == "cz":
            gate["coupling_map"].append([0])
    for resource, document in sent.items():
        body = Garbage(json.dumps(document).encode())
        emulator.fault(body, resource=resource, backend=NAME, times=None)
    await client.invalidate(backend=NAME)
    return await client.properties(NAME)


async def test_its_couplings(healthy: BackendProperties, odd: BackendProperties) -> None:
    assert odd.broken_couplings() == tuple(sorted({(0, 1), *healthy.broken_couplings()}))
    assert odd.coupling_errors()[1, 2] == odd.gate_error("cz", (2, 1))


async def test_its_medians(healthy: BackendProperties, odd: BackendProperties) -> None:
    assert (odd.t2(3), odd.t1(5), odd.readout_error(9)) == (-1.6, 0.0, -0.25)
    found, before = summary(properties=odd), summary(properties=healthy)
    counts = {name: found.left_out[name] - before.left_out[name] for name in found.left_out}
    assert counts == {"t1": 1, "t2": 1, "readout_error": 1, "two_qubit_error": 3}
    assert found.t1 is not None
    assert found.t2 is not None
    assert found.t2.worst > 0
    assert odd.qubit_measurements("T1").median == odd.median_t1() == found.t1.median


async def test_its_target_and_its_best_qubits(
    client: Client, odd: BackendProperties, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING", "qrbackends.qiskit"):
        target = await interop.target(client, NAME)
    assert target.num_qubits == 133
    assert (0, 1) in target["cz"], "as the official client has it"
    assert "lacks 'cz' on 3 sets of qubits that do not fit it" in caplog.text
    configuration = await client.configuration(NAME)
    for choose in (best_qubits, best_chain):
        (best,) = choose(configuration, odd, 1).qubits
        assert best != 9, "a negative error is not the least"
        assert (0, 1) not in choose(configuration, odd, 20).couplings
