"""pytket-qiskit with our backends, beside the official client: its service, and its fake backends."""

import asyncio
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace
from pytket import Circuit
from pytket.extensions.qiskit import AerBackend, IBMQBackend, IBMQEmulatorBackend, tk_to_qiskit

from qrbackends import BackendConfiguration, BackendProperties, Client, InvalidRequest
from qrbackends.emulator import Emulator
from qrbackends.interop.qiskit import LocalBackend, backend, noise_model
from qrbackends.models.properties import Nduv

from ..emulator.background import in_background
from ..emulator.test_official_client import make, point_at
from ..snapshots import real
from ..test_readme import run
from .fakes import FIVE, official, quiet_elsewhere

# pytket-qiskit makes all simulators of Aer to find one of them by its name.
pytestmark = pytest.mark.filterwarnings("ignore:The `.*Simulator` backend will be:PendingDeprecationWarning")

PAGE = (Path(__file__).parents[2] / "docs" / "pytket.md").read_text(encoding="utf-8")
NAMES = {short: real(short)[0].backend_name for short in FIVE}
SOME = [short if short == "boston" else pytest.param(short, marks=pytest.mark.long) for short in FIVE]
KINDS = ("node_gate", "edge_gate", "readout")
Documents = tuple[BackendConfiguration, BackendProperties]


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with in_background(Emulator("snapshots", backends=list(NAMES.values()))) as running:
        yield running


@pytest.fixture(scope="module")
def service(emulator: Emulator) -> Iterator[Any]:
    """The official client's service."""
    with pytest.MonkeyPatch.context() as patch:
        point_at(emulator, patch)
        patch.setattr(logging.getLogger("qiskit_ibm_runtime"), "disabled", True)
        yield make(emulator, "auto")


@pytest.fixture(scope="module")
def fetched(emulator: Emulator) -> dict[str, Documents]:
    """The documents of all devices, as our client fetches them."""

    async def all_of_them() -> dict[str, Documents]:
        async with Client(emulator.account()) as client:
            return {
                short: (await client.configuration(name), await client.properties(name))
                for short, name in NAMES.items()
            }

    return asyncio.run(all_of_them())


def serving(local: LocalBackend) -> Any:
    """Return what pytket takes for a service, as on the page."""
    return SimpleNamespace(backend=lambda name, **options: local, backends=lambda: [local])


def circuit() -> Circuit:
    """Return one that has to be routed, rebased and squashed."""
    begun = Circuit(4).H(0).CX(0, 1).CX(0, 2).CX(0, 3).Ry(0.2, 0).ZZPhase(0.3, 0, 2)
    return begun.Rx(0.7, 1).SWAP(0, 3).CCX(0, 1, 2).measure_all()


def content(one: Circuit) -> dict[str, Any]:
    """Return all of a circuit but its name, which has a number that counts circuits."""
    return {**one.to_dict(), "name": None}


def counts(simulator: Any, one: Circuit) -> Any:
    """Return how often each outcome is simulated."""
    return simulator.run_circuit(one, n_shots=500, seed=11).get_counts()


@pytest.mark.parametrize(
    ("short", "fractional", "levels"),
    [
        ("lima", False, [2]),
        ("boston", True, [2]),
        *(pytest.param(short, False, [2], marks=pytest.mark.long) for short in FIVE[1:]),
        *(pytest.param(short, False, [0, 1, 3], marks=pytest.mark.long) for short in FIVE),
        *(pytest.param(short, True, [0, 1, 2, 3], marks=pytest.mark.long) for short in ("torino", "boston")),
    ],
)
def test_information_and_compiled_circuits_are_those_of_the_official_service(
    service: Any, fetched: dict[str, Documents], short: str, fractional: bool, levels: list[int]
) -> None:
    name, (configuration, properties) = NAMES[short], fetched[short]
    local = backend(configuration, properties, use_fractional_gates=fractional)
    theirs = IBMQBackend(name, service=service, use_fractional_gates=fractional)
    ours = IBMQBackend(name, service=serving(local), use_fractional_gates=fractional)
    assert ours.backend_info == theirs.backend_info
    assert len(ours.backend_info.architecture.nodes) == configuration.n_qubits
    assert IBMQBackend.available_devices(service=serving(local)) == [ours.backend_info]
    for level in levels:
        mine, other = (one.get_compiled_circuit(circuit(), level) for one in (ours, theirs))
        assert content(mine) == content(other)
        assert ours.valid_circuit(mine)


@pytest.mark.parametrize("short", SOME)
def test_simulated_counts_are_those_of_the_official_fake_backend(
    fetched: dict[str, Documents], short: str
) -> None:
    local, fake = backend(*fetched[short], use_fractional_gates=False), official(short)
    compiled = IBMQBackend(NAMES[short], service=serving(local)).get_compiled_circuit(circuit())
    used = [qubit.index[0] for qubit in compiled.qubits]
    quiet_elsewhere(fake, used).run(tk_to_qiskit(compiled), shots=1)  # from then on it has its noise
    mine = counts(AerBackend(noise_model=noise_model(*fetched[short], qubits=used)), compiled)
    assert mine == counts(AerBackend(noise_model=fake.options.noise_model), compiled)
    assert mine != counts(AerBackend(), compiled)


@pytest.mark.long
# These have the noise of all qubits, which takes tens of seconds.
@pytest.mark.parametrize(
    "short",
    [
        "lima",
        *(pytest.param(short, marks=[pytest.mark.long, pytest.mark.timeout(600)]) for short in FIVE[1:]),
    ],
)
def test_simulators_with_all_of_the_noise_are_those_of_the_official_fake_backend(short: str) -> None:
    local, fake = backend(*real(short)), official(short)
    mine, theirs = (IBMQEmulatorBackend(NAMES[short], service=serving(one)) for one in (local, fake))
    compiled = mine.get_compiled_circuit(circuit())
    assert content(compiled) == content(theirs.get_compiled_circuit(circuit()))
    assert counts(mine, compiled) == counts(theirs, compiled)
    fake.run(tk_to_qiskit(compiled), shots=1)  # from then on it has its noise
    ours = AerBackend(noise_model=noise_model(*real(short)))
    other = AerBackend(noise_model=fake.options.noise_model)
    assert counts(ours, compiled) == counts(other, compiled)
    for name in ("architecture", "gate_set", *(f"averaged_{kind}_errors" for kind in KINDS)):
        assert getattr(ours.backend_info, name) == getattr(other.backend_info, name)


def test_a_compiled_circuit_on_a_faulty_qubit_is_found(fetched: dict[str, Documents]) -> None:
    configuration, properties = fetched["lima"]
    compiled = IBMQBackend("", service=serving(backend(configuration, properties))).get_compiled_circuit(
        circuit()
    )
    faulty = compiled.qubits[0].index[0]
    flag = Nduv(date="2026-11-01T00:00:00Z", name="operational", unit="", value=0.0)
    qubits = [(*values, flag) if one == faulty else values for one, values in enumerate(properties.qubits)]
    local = backend(configuration, replace(properties, qubits=tuple(qubits)))
    device = IBMQBackend("", service=serving(local))
    assert content(device.get_compiled_circuit(circuit())) == content(compiled)  # pytket does not ask
    with pytest.raises(InvalidRequest, match="faulty"):
        local.check_faulty(tk_to_qiskit(compiled))


@pytest.mark.anyio
async def test_the_page_runs(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    monkeypatch.setattr("qrbackends.client.load_account", lambda name, path: emulator.account())
    names = await run(block)
    configuration, properties, info = (
        names["configuration"],
        names["properties"],
        names["device"].backend_info,
    )
    assert info.device_name == names["name"] == configuration.backend_name
    times = dict(info.misc["characterisation"]["t1times"])
    assert {qubit: time / 1e6 for qubit, time in times.items() if time is not None} == {
        qubit: pytest.approx(time)
        for qubit in configuration.qubit_numbers
        if (time := properties.t1(qubit)) is not None
    }
    printed = capsys.readouterr().out
    assert sum(map(int, re.findall(r"\): (\d+)", printed.splitlines()[-1]))) == 1000
