"""PennyLane: the results of circuits with our backends and the official fake ones, and those of its page."""

import ast
import asyncio
import inspect
import json
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pennylane as qml
from qiskit_ibm_runtime import fake_provider

from qrbackends import Client
from qrbackends.interop.qiskit import LocalBackend, fetch_backend

PAGE = Path(__file__).parents[2] / "docs" / "pennylane.md"

FAKES = {
    "ibmq_lima": fake_provider.FakeLimaV2,
    "ibmq_guadalupe": fake_provider.FakeGuadalupeV2,
    "ibmq_kolkata": fake_provider.FakeKolkataV2,
    "ibm_brisbane": fake_provider.FakeBrisbane,
    "ibm_fez": fake_provider.FakeFez,
}


def plain(result: Any) -> Any:
    """Return a result as JSON has it."""
    if isinstance(result, dict):
        return {str(key): plain(value) for key, value in result.items()}
    if isinstance(result, tuple):
        return [plain(one) for one in result]
    return result.tolist()


def results(backend: Any, qubits: list[int]) -> Any:
    """Return what a circuit on three qubits gives: by the estimator, and by the sampler."""
    options = {"seed_transpiler": 1, "initial_layout": qubits, "simulator": {"seed_simulator": 7}}
    device = qml.device("qiskit.remote", wires=3, backend=backend, **options)

    def prepare(angle: float) -> None:
        qml.RX(angle, wires=0)
        qml.CNOT(wires=[0, 1])
        qml.CNOT(wires=[0, 2])

    def estimated(angle: float) -> Any:
        prepare(angle)
        return qml.expval(qml.Z(0) @ qml.Z(2)), qml.expval(qml.Z(1))

    def sampled(angle: float) -> Any:
        prepare(angle)
        return qml.counts(), qml.probs(wires=[0, 2]), qml.sample(wires=1)

    return plain(tuple(qml.qnode(device, shots=400)(one)(0.4) for one in (estimated, sampled)))


async def fetched(name: str) -> LocalBackend:
    """Return our backend of a device."""
    wanted = False if name == "ibm_fez" else None  # the wheel has it without fractional gates
    async with Client.from_account() as client:
        return await fetch_backend(client, name, use_fractional_gates=wanted)


def both(name: str) -> dict[str, Any]:
    """Return the results with our backend, and with the official fake one."""
    local, fake = asyncio.run(fetched(name)), FAKES[name]()
    couplings = local.target.build_coupling_map()
    around = {qubit: list(couplings.neighbors(qubit)) for qubit in range(local.num_qubits)}
    middle = next(qubit for qubit, others in around.items() if len(others) > 1)
    qubits = [middle, *around[middle][:2]]
    assert fake.target is not None  # made from all properties
    # The noise of the other gates, which takes long to model, has no part in the results.
    fake._props_dict["gates"] = [one for one in fake._props_dict["gates"] if set(one["qubits"]) <= {*qubits}]
    return {"qubits": local.num_qubits, "ours": results(local, qubits), "theirs": results(fake, qubits)}


async def of_the_page() -> Any:
    """Run the page's program, and return what its circuit gives."""
    (block,) = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    names: dict[str, Any] = {"print": lambda *shown: None}
    code = compile(block, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    outcome = eval(code, names)  # noqa: S307  # it is our own page
    if inspect.isawaitable(outcome):
        await outcome
    return plain(names["circuit"](0.4))


found = {
    "version": version("pennylane-qiskit"),
    "devices": {name: both(name) for name in sys.argv[1:]},
    "page": asyncio.run(of_the_page()),
}
json.dump(found, sys.stdout)
