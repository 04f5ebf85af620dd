"""Choosing a backend for a circuit: the page's program, and mapomatic beside it."""

import importlib
import math
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import mapomatic
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit.library import QFTGate, quantum_volume
from qiskit_ibm_runtime import fake_provider

from qrbackends import Client
from qrbackends.analysis.scoring import Score, score
from qrbackends.emulator import Emulator, Status
from qrbackends.interop.qiskit import to_target

from ..interop import fakes
from ..profiles import some_of
from ..snapshots import real
from ..test_readme import run

# mapomatic takes instructions for tuples, which Qiskit is going to stop.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Treating CircuitInstruction as an iterable:DeprecationWarning"
)

PAGE = (Path(__file__).parents[2] / "docs" / "choosing.md").read_text(encoding="utf-8")
PROGRAM, BESIDE = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def ghz(qubits: int = 6) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits)
    circuit.h(0)
    for qubit in range(qubits - 1):
        circuit.cx(qubit, qubit + 1)
    return circuit


def fourier() -> QuantumCircuit:
    circuit = QuantumCircuit(4)
    circuit.append(QFTGate(4), range(4))
    return circuit


def qaoa_ring() -> QuantumCircuit:
    circuit = QuantumCircuit(6)
    circuit.h(range(6))
    for qubit in range(6):
        circuit.rzz(0.7, qubit, (qubit + 1) % 6)
    circuit.rx(0.4, range(6))
    return circuit


def bernstein_vazirani() -> QuantumCircuit:
    circuit = QuantumCircuit(6)
    circuit.x(5)
    circuit.h(range(6))
    for qubit in range(5):
        circuit.cx(qubit, 5)
    circuit.h(range(5))
    return circuit


def square() -> QuantumCircuit:
    return quantum_volume(4, 4, seed=3)


CIRCUITS = [ghz, fourier, qaoa_ring, bernstein_vazirani, square]


official = cache(fakes.official)


class Transpiled(NamedTuple):
    """A circuit that was transpiled for a device: whole, and on its own qubits only; its score there."""

    circuit: QuantumCircuit
    small: QuantumCircuit
    score: Score

    @property
    def error_without_idling(self) -> float:
        return -math.expm1(-(self.score.gates + self.score.readout))


@cache
def transpiled(build: Callable[[], QuantumCircuit], name: str) -> Transpiled:
    """Return the best of two tries, as the page's program does it."""
    circuit = build()
    circuit.measure_all()
    target = to_target(*real(name))
    tries = [transpile(circuit, target=target, optimization_level=3, seed_transpiler=seed) for seed in (0, 1)]
    found = min(tries, key=lambda one: score(one, *real(name)).cost)
    return Transpiled(found, mapomatic.deflate_circuit(found), score(found, *real(name)))


def assert_equal_layout_by_layout(build: Callable[[], QuantumCircuit], name: str) -> None:
    small, backend = transpiled(build, name).small, official(name)
    layouts = mapomatic.matching_layouts(small, backend)
    theirs = mapomatic.evaluate_layouts(small, layouts, backend)
    assert len(theirs) == len(layouts) > 0
    for layout, error in theirs[:100]:
        found = score(small, *real(name), layout=layout)
        assert -math.expm1(-(found.gates + found.readout)) == pytest.approx(error, rel=1e-9)
        assert found.expected_error >= error * (1 - 1e-9), "idling is an error, too"


def mapomatics_error(build: Callable[[], QuantumCircuit], name: str) -> float:
    """Return the error of the best layout that mapomatic finds."""
    _, _, error = mapomatic.best_overall_layout(transpiled(build, name).small, official(name))
    assert isinstance(error, float)
    return error


def assert_same_order(build: Callable[[], QuantumCircuit], names: list[str]) -> None:
    """Without idling the order is mapomatic's; with idling, who goes down has the dearer waits."""
    theirs = sorted(names, key=lambda name: mapomatics_error(build, name))
    assert sorted(names, key=lambda name: transpiled(build, name).error_without_idling) == theirs
    ours = sorted(names, key=lambda name: transpiled(build, name).score.cost)
    for place, worse in enumerate(ours):
        for better in ours[:place]:
            if theirs.index(worse) < theirs.index(better):
                assert transpiled(build, worse).score.idling > transpiled(build, better).score.idling


SMALL = ["lagos", "guadalupe", "montreal"]
LARGE = ["boston", "pittsburgh", "kingston", "fez", "torino", "sherbrooke", "brisbane", "montreal"]


@pytest.mark.parametrize("name", ["guadalupe", "torino"])
@pytest.mark.parametrize("build", some_of([fourier, qaoa_ring]))
def test_without_idling_each_layout_has_mapomatics_number(
    build: Callable[[], QuantumCircuit], name: str
) -> None:
    assert_equal_layout_by_layout(build, name)


@pytest.mark.parametrize("build", CIRCUITS)
def test_without_idling_the_order_is_mapomatics(build: Callable[[], QuantumCircuit]) -> None:
    assert_same_order(build, SMALL)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("build", CIRCUITS)
def test_without_idling_the_order_of_large_devices_is_mapomatics(build: Callable[[], QuantumCircuit]) -> None:
    for name in LARGE:
        assert_equal_layout_by_layout(build, name)
        own = transpiled(build, name).error_without_idling
        assert own == pytest.approx(mapomatics_error(build, name), rel=1e-3), "the search adds nothing"
    assert_same_order(build, LARGE)


def test_idling_puts_a_device_with_slow_gates_behind_one_with_fast_gates() -> None:
    """The page's example: five qubits that wait for one another, on an Eagle and on a Heron."""
    slow, fast = (transpiled(bernstein_vazirani, name) for name in ("sherbrooke", "torino"))
    assert slow.error_without_idling < fast.error_without_idling
    assert slow.score.cost > fast.score.cost
    eagle, heron = real("sherbrooke")[1], real("torino")[1]
    assert (eagle.median_gate_length("ecr") or 0) > 5 * (heron.median_gate_length("cz") or math.inf)


def test_mapomatic_leaves_out_what_the_page_says() -> None:
    """Its default cost takes no gate on one qubit but sx and x; so a circuit of others has no error."""
    configuration, properties = real("boston")
    circuit = QuantumCircuit(1)
    circuit.rx(0.3, 0)
    ((_, error),) = mapomatic.layouts.default_cost(circuit, [[0]], official("boston"))
    assert error == 0.0
    found = score(circuit, configuration, properties)
    assert found.expected_error == pytest.approx(properties.gate_error("rx", 0))


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The page's program, as a file that workers can import."""
    (tmp_path / "choose.py").write_text(PROGRAM, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("choose")
    del sys.modules["choose"]


@pytest.mark.anyio
async def test_the_program_prints_backends_and_qubits(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("ibmq_manila", "ibm_lagos", "ibmq_guadalupe")
    async with Emulator("snapshots", backends=(*small, "ibmq_lima", "ibmq_armonk")) as emulator:
        emulator.fault(Status(400), resource="properties", backend="ibmq_lima", times=None)
        monkeypatch.setattr("qrbackends.client.load_account", lambda name, path: emulator.account())
        await program.main()
    told, *lines = capsys.readouterr().out.splitlines()
    assert told.startswith("left out: ibmq_lima ")
    found = [re.fullmatch(r"(\w+): (0\.\d{4}) on \[(.*)\], queue length \d+", line) for line in lines]
    assert sorted(one[1] for one in found if one) == sorted(small), "and not the one with a single qubit"
    chances = [float(one[2]) for one in found if one]
    assert chances == sorted(chances, reverse=True)
    for one in found:
        assert one is not None
        configuration, _ = real(one[1].rpartition("_")[2])
        qubits = [int(qubit) for qubit in one[3].split(", ")]
        assert len(set(qubits)) == 5
        assert set(qubits) <= set(configuration.qubit_numbers)


def test_the_program_has_no_score_for_what_does_not_fit(
    program: ModuleType,
) -> None:
    assert program.best_layout(*real("manila"), QuantumCircuit(6), seeds=1) is None
    found, circuit = program.best_layout(*real("manila"), ghz(3), seeds=1)
    assert 0.9 < found.success_probability == score(circuit, *real("manila")).success_probability


@pytest.mark.long
@pytest.mark.anyio
async def test_the_program_goes_on_without_what_has_no_score(
    program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("manila", "lima"):
        shutil.copytree(Path(fake_provider.__file__).parent / "backends" / name, tmp_path / "fleet" / name)
    odd = tmp_path / "fleet" / "lima" / "props_lima.json"
    odd.write_text(odd.read_text().replace('"us"', '"furlong"'))
    async with Emulator(str(tmp_path / "fleet")) as emulator, Client(emulator.account()) as client:
        ((best, _, _),) = await program.choose(client, ghz(3))
    assert best.name == "ibmq_manila"
    assert capsys.readouterr().out == "left out: ibmq_lima: the unit of 'T1' is not known\n"


@pytest.mark.long
def test_an_interrupt_ends_a_worker_of_the_program_at_once(program: ModuleType) -> None:
    with ProcessPoolExecutor(1, get_context("spawn"), program.start_worker) as pool:
        # Ctrl-C sends it to all processes of a terminal; this one is sure to be at work then.
        interrupted = pool.submit(signal.raise_signal, signal.SIGINT)
        assert isinstance(interrupted.exception(), BrokenProcessPool)


@pytest.mark.anyio
async def test_the_comparison_prints_equal_numbers(
    real_emulator: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("qrbackends.client.load_account", lambda name, path: real_emulator.account())
    await run(BESIDE)
    theirs, ours, with_idling = map(float, capsys.readouterr().out.splitlines()[-1].split())
    assert ours == pytest.approx(theirs, rel=1e-9)
    assert with_idling > theirs
