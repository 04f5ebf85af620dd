"""Other people's tools on our backends, beside the official client's fake backends: what they find is equal.

Both simulate; with equal seeds, counts are equal. Tools that were written for either take the other.
"""

from collections.abc import Iterator
from typing import Any

import mapomatic
import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.primitives import BackendEstimatorV2, BackendSamplerV2
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator
from qiskit_experiments.library import T1, LocalReadoutError, StandardRB
from qiskit_ibm_runtime import EstimatorV2, SamplerV2, Session
from qiskit_ibm_runtime.executor_sampler import Sampler

from ..profiles import some_of
from ..snapshots import real
from .fakes import FIVE, official, ours, quiet_elsewhere
from .test_qiskit import ghz

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:.*V2 class is deprecated:DeprecationWarning"
    ),  # newer ones are tested, too
    pytest.mark.filterwarnings(
        "ignore:Treating CircuitInstruction as an iterable:DeprecationWarning"
    ),  # mapomatic
]

SEED = 7


class Pair:
    """Our backend of a snapshot, the official fake one, and a GHZ state that is transpiled for both."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ours = ours(name)
        state = ghz(3)
        self.circuit = transpile(state, self.ours, seed_transpiler=1, optimization_level=1)
        self.qubits = self.circuit.layout.final_index_layout()
        self.official = quiet_elsewhere(official(name), self.qubits)

    def __iter__(self) -> Iterator[Any]:
        return iter((self.ours, self.official))


@pytest.fixture(scope="module", params=some_of(FIVE))
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair(request.param)


# --- the primitives


def test_samplers_count_the_same(pair: Pair) -> None:
    options = {"default_shots": 400, "simulator": {"seed_simulator": SEED}}
    found = [SamplerV2(mode=one, options=options).run([pair.circuit]).result()[0].data.meas for one in pair]
    assert found[0].get_bitstrings() == found[1].get_bitstrings()
    assert len(found[0].get_counts()) > 2, "there is noise"
    again = BackendSamplerV2(backend=pair.ours, options={"default_shots": 400, "seed_simulator": SEED})
    assert again.run([pair.circuit]).result()[0].data.meas.get_bitstrings() == found[0].get_bitstrings()


def test_estimators_estimate_the_same(pair: Pair) -> None:
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    bell = transpile(bell, pair.ours, seed_transpiler=1, initial_layout=pair.qubits[:2])
    observable = SparsePauliOp(["ZZ", "XX"]).apply_layout(bell.layout)
    options = {"default_shots": 400, "simulator": {"seed_simulator": SEED}}
    found = [
        EstimatorV2(mode=one, options=options).run([(bell, observable)]).result()[0].data for one in pair
    ]
    assert found[0].evs == found[1].evs
    assert 1.2 < found[0].evs < 2.0
    again = BackendEstimatorV2(backend=pair.ours, options={"default_precision": 0.05, "seed_simulator": SEED})
    assert again.run([(bell, observable)]).result()[0].data.evs == found[0].evs


def test_the_newer_sampler_and_sessions_take_it() -> None:
    pair = Pair("lima")
    found = []
    for one in pair:
        with Session(backend=one) as session:
            sampler = Sampler(mode=session, options={"default_shots": 400})
            sampler.options.simulator.seed_simulator = SEED
            found.append(sampler.run([pair.circuit]).result()[0].data.meas.get_counts())
    assert found[0] == found[1]


def test_aer_makes_the_same_simulator_of_it() -> None:
    circuit = Pair("lima").circuit
    found = [
        AerSimulator.from_backend(one).run(circuit, seed_simulator=SEED).result().get_counts()
        for one in (ours("lima"), official("lima"))
    ]
    assert found[0] == found[1]
    assert len(found[0]) > 2


# --- mthree


def test_m3_calibrates_and_mitigates_the_same(pair: Pair) -> None:
    mthree = pytest.importorskip("mthree")  # it has no wheels for Python 3.13
    found = []
    for one in pair:
        one.set_options(seed_simulator=SEED)
        mitigation = mthree.M3Mitigation(one)
        # Left to itself, it calibrates backends with "fake" in their name in another way.
        mitigation.cals_from_system(pair.qubits, shots=1000, method="balanced")
        counts = one.run(pair.circuit, shots=1000).result().get_counts()
        quasi = mitigation.apply_correction(counts, mthree.utils.final_measurement_mapping(pair.circuit))
        found.append((mitigation.single_qubit_cals, quasi))
        one.set_options(seed_simulator=None)
    (mine, corrected), (theirs, expected) = found
    assert [None if cal is None else cal.tolist() for cal in mine] == [
        None if cal is None else cal.tolist() for cal in theirs
    ]
    assert sum(cal is not None for cal in mine) == 3
    assert corrected == expected
    assert corrected["000"] + corrected["111"] > 0.8


# --- mapomatic


def test_mapomatic_scores_layouts_the_same(pair: Pair) -> None:
    small = mapomatic.deflate_circuit(pair.circuit)
    layouts = mapomatic.matching_layouts(small, pair.ours)
    assert layouts == mapomatic.matching_layouts(small, pair.official)
    assert len(layouts) > 1
    whole = [pair.ours, official(pair.name)]  # with the errors of all gates
    scores = [mapomatic.evaluate_layouts(small, layouts[:300], one) for one in whole]
    assert scores[0] == scores[1]
    assert mapomatic.inflate_circuit(small, scores[0][0][0], pair.ours).num_qubits == pair.ours.num_qubits


def test_mapomatic_finds_the_same_best_layout_of_several_backends() -> None:
    small = mapomatic.deflate_circuit(Pair("lima").circuit)
    found = [
        mapomatic.best_overall_layout(small, [make("lima"), make("kolkata")]) for make in (ours, official)
    ]
    assert found[0][0] == found[1][0]
    assert found[0][2] == found[1][2] > 0
    assert found[0][1] in ("ibmq_lima", "ibmq_kolkata")


# --- qiskit-experiments


def ran(experiment: Any, result: str, **options: Any) -> Any:
    data = experiment.run(shots=300, seed_simulator=SEED, **options).block_for_results()
    assert str(data.status()) == "ExperimentStatus.DONE", data.errors()
    return data.analysis_results(result, dataframe=True).value.iloc[0]


def test_experiments_measure_the_same_t1(pair: Pair) -> None:
    qubit = pair.qubits[0]
    expected = pair.ours.qubit_properties(qubit).t1
    delays = np.linspace(1e-6, 2 * expected, 6)
    found = [ran(T1([qubit], delays, backend=one), "T1", backend_run=True) for one in pair]
    assert found[0].nominal_value == found[1].nominal_value == pytest.approx(expected, rel=0.4)


def test_experiments_measure_the_same_readout_error() -> None:
    pair = Pair("lima")
    found = [ran(LocalReadoutError([1], backend=one), "Local Readout Mitigator") for one in pair]
    matrices = [mitigator.assignment_matrix(1).tolist() for mitigator in found]
    assert matrices[0] == matrices[1]
    wrong = real("lima")[1].prob_meas1_prep0(1)
    assert matrices[0][1][0] == pytest.approx(wrong, abs=0.05)


def test_experiments_benchmark_the_same_error_per_clifford() -> None:
    pair = Pair("lima")
    qubit = pair.qubits[0]
    found = [
        ran(StandardRB([qubit], [1, 100, 200], num_samples=2, seed=1, backend=one), "EPC") for one in pair
    ]
    assert found[0].nominal_value == found[1].nominal_value > 0
