"""The best qubits: as brute force says where it can, whole and valid where it cannot."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from qrbackends import BackendConfiguration, BackendProperties, InvalidRequest
from qrbackends.analysis.qubits import Choice, best_chain, best_qubits
from qrbackends.emulator import SyntheticFleet
from qrbackends.models import Nduv

from ..profiles import some_of
from ..snapshots import BOTH, real

Documents = tuple[BackendConfiguration, BackendProperties]
SMALL = [name for name in BOTH if real(name)[0].n_qubits <= 16]
ENTANGLED = [name for name in SMALL if real(name)[1].native_entangler]
LARGE = ["boston", "brisbane", "torino", "washington", "rochester"]


@dataclass
class Chances:
    """How likely each qubit and each coupling is to go right, as the module's docstring defines it."""

    qubits: dict[int, float]
    couplings: dict[tuple[int, int], float]

    @classmethod
    def of(cls, properties: BackendProperties, n: int) -> "Chances":
        gate = properties.native_entangler
        assert gate is not None
        wait = properties.median_gate_length(gate) if n > 1 else 0.0  # one qubit waits for no gate
        assert wait is not None
        qubits = {}
        for qubit in set(range(len(properties.qubits))) - set(properties.faulty_qubits()):
            t1, t2, readout = (f(qubit) for f in (properties.t1, properties.t2, properties.readout_error))
            assert t1 is not None
            assert t2 is not None
            assert readout is not None
            idle = 1 / 2 + math.exp(-wait / t1) / 6 + math.exp(-wait / t2) / 3
            qubits[qubit] = (1 - readout) * idle
        couplings: dict[tuple[int, int], float] = {}
        for one in properties.gates:
            error = properties.gate_error(one.gate, one.on) if one.gate == gate else None
            if error is not None and error < 1 and one.operational and qubits.keys() >= set(one.on):
                a, b = one.on
                couplings[a, b] = couplings[b, a] = max(1 - error, couplings.get((a, b), 0.0))
        return cls(qubits, couplings)

    def error(self, qubits: tuple[int, ...], couplings: tuple[tuple[int, int], ...]) -> float:
        right = math.prod(self.qubits[one] for one in qubits)
        return 1 - right * math.prod(self.couplings[pair] for pair in couplings)

    def lines(self, n: int, line: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
        if len(line) == n:
            yield line
            return
        for one in self.qubits:
            if one not in line and (not line or (line[-1], one) in self.couplings):
                yield from self.lines(n, (*line, one))

    def tree(self, qubits: tuple[int, ...]) -> tuple[tuple[int, int], ...] | None:
        """Return the best spanning tree of a set, after Prim; None where it is not connected."""
        inside, found = {qubits[0]}, []
        while len(inside) < len(qubits):
            out = [
                (self.couplings[a, b], a, b)
                for a in inside
                for b in qubits
                if b not in inside and (a, b) in self.couplings
            ]
            if not out:
                return None
            _, a, b = max(out)
            inside.add(b)
            found.append((a, b))
        return tuple(found)


def assert_valid(found: Choice, n: int, chances: Chances) -> None:
    assert len(set(found.qubits)) == len(found.qubits) == n
    assert len(found.couplings) == n - 1
    assert {one for pair in found.couplings for one in pair} <= set(found.qubits)
    assert n == 1 or chances.tree(found.qubits) is not None, "it is connected"
    assert found.expected_error == pytest.approx(chances.error(found.qubits, found.couplings), rel=1e-9)


@pytest.mark.parametrize("name", ENTANGLED)
def test_brute_force_agrees_on_lines(name: str) -> None:
    configuration, properties = real(name)
    for n in range(1, configuration.n_qubits + 1):
        chances = Chances.of(properties, n)
        errors = [chances.error(line, tuple(pairwise(line))) for line in chances.lines(n)]
        if not errors:
            with pytest.raises(InvalidRequest, match=f"a line of {n} working qubits was not found"):
                best_chain(configuration, properties, n)
            continue
        found = best_chain(configuration, properties, n)
        assert_valid(found, n, chances)
        assert found.couplings == tuple(pairwise(found.qubits))
        assert found.expected_error == pytest.approx(min(errors), rel=1e-9)


@pytest.mark.parametrize("name", ENTANGLED)
def test_brute_force_agrees_on_sets(name: str) -> None:
    configuration, properties = real(name)
    sizes = range(1, configuration.n_qubits + 1) if configuration.n_qubits < 10 else (1, 2, 4, 7, 14)
    for n in sizes:
        chances = Chances.of(properties, n)
        trees = [(one, chances.tree(one)) for one in combinations(chances.qubits, n)]
        errors = [chances.error(one, tree) for one, tree in trees if tree is not None]
        if not errors:
            with pytest.raises(InvalidRequest, match=f"{n} working qubits that are connected were not found"):
                best_qubits(configuration, properties, n)
            continue
        found = best_qubits(configuration, properties, n)
        assert_valid(found, n, chances)
        assert found.qubits == tuple(sorted(found.qubits))
        assert found.expected_error == pytest.approx(min(errors), rel=1e-9)


def test_the_small_devices_are_many() -> None:
    assert len(ENTANGLED) >= 20
    assert max(real(name)[0].n_qubits for name in ENTANGLED) == 16


@pytest.mark.parametrize("name", some_of(LARGE))
@pytest.mark.parametrize("n", [1, 10, 20, pytest.param(50, marks=pytest.mark.long)])
def test_what_is_found_on_a_large_device_is_whole_and_a_set_no_worse_than_a_line(name: str, n: int) -> None:
    configuration, properties = real(name)
    chances = Chances.of(properties, n)
    free, line = best_qubits(configuration, properties, n), best_chain(configuration, properties, min(n, 40))
    assert_valid(free, n, chances)
    assert_valid(line, min(n, 40), chances)
    if n <= 40:
        assert free.expected_error <= line.expected_error + 1e-12
    assert best_qubits(configuration, properties, n) == free, "the same every time"


@pytest.mark.parametrize(
    "name", ["boston", *(pytest.param(one, marks=pytest.mark.long) for one in ("brisbane", "washington"))]
)
def test_lines_through_most_of_a_device_are_found(name: str) -> None:
    configuration, properties = real(name)
    found = best_chain(configuration, properties, 100)
    assert_valid(found, 100, Chances.of(properties, 100))


# --- what devices do not report, or report wrongly


def changed(properties: BackendProperties, qubit: int, **values: float | None) -> BackendProperties:
    """Return a calibration with some of a qubit's values replaced, or removed."""
    kept = [nduv for nduv in properties.qubits[qubit] if nduv.name not in values]
    added = [Nduv("2026-01-01T00:00:00Z", name, "", v) for name, v in values.items() if v is not None]
    qubits = list(properties.qubits)
    qubits[qubit] = (*kept, *added)
    return replace(properties, qubits=tuple(qubits))


@pytest.mark.parametrize(
    ("n", "values"),
    [
        (1, {"operational": 0.0}),
        (1, {"readout_error": 1.0}),
        (1, {"readout_error": 0.9}),
        (2, {"T1": 1e-12, "T2": 1e-12}),
    ],
)
def test_what_is_bad_is_not_chosen(n: int, values: dict[str, float | None]) -> None:
    configuration, properties = real("boston")
    best = best_qubits(configuration, properties, n).qubits[0]
    assert best not in best_qubits(configuration, changed(properties, best, **values), n).qubits
    assert best not in best_chain(configuration, changed(properties, best, **values), 5).qubits


@pytest.mark.parametrize(
    ("n", "values"),
    [
        (1, {"readout_error": None}),
        (1, {"readout_error": -0.2}),
        (2, {"T1": None}),
        (2, {"T1": 0.0}),
        (2, {"T2": -3.0}),
    ],
)
def test_what_was_not_measured_counts_as_the_worst(n: int, values: dict[str, float | None]) -> None:
    configuration, properties = real("boston")
    best = best_qubits(configuration, properties, n).qubits[0]
    assert best not in best_qubits(configuration, changed(properties, best, **values), n).qubits


@pytest.mark.parametrize("name", ["armonk", "kyoto", "boston", "lima"])
@pytest.mark.parametrize("choose", [best_qubits, best_chain])
def test_one_qubit_is_the_best_by_readout(choose: Callable[..., Choice], name: str) -> None:
    """The device of one qubit has no native two-qubit gate, and ibm_kyoto none that works."""
    configuration, properties = real(name)
    found = choose(configuration, properties, 1)
    errors = {one: properties.readout_error(one) or 0.0 for one in range(len(properties.qubits))}
    assert (found.couplings, len(found.qubits)) == ((), 1)
    assert errors[found.qubits[0]] == min(errors.values())
    assert found.expected_error == pytest.approx(min(errors.values()), rel=1e-9)


@pytest.mark.parametrize("choose", [best_qubits, best_chain])
@pytest.mark.parametrize("odd", [None, -0.1])
def test_a_qubit_that_was_not_read_out_is_no_better_than_the_worst_that_was(
    choose: Callable[..., Choice], odd: float | None
) -> None:
    configuration, properties = real("lima")
    for qubit in (0, 1, 2, 4):
        properties = changed(properties, qubit, readout_error=odd)
    assert choose(configuration, properties, 1).qubits == (3,)


def test_where_no_coupling_works_two_qubits_are_not_found() -> None:
    for choose in (best_qubits, best_chain):
        with pytest.raises(InvalidRequest, match="not found"):
            choose(*real("kyoto"), 2)


def test_where_nothing_was_measured_anything_will_do() -> None:
    configuration, properties = real("lima")
    bare = replace(
        properties,
        qubits=((),) * 5,
        gates=tuple(replace(gate, parameters=()) for gate in properties.gates),
    )
    assert best_chain(configuration, bare, 4).expected_error == 0.0


def test_a_gate_that_is_out_of_order_is_not_used() -> None:
    configuration, properties = real("boston")
    pair = best_chain(configuration, properties, 2).qubits

    def broken(name: str, value: float) -> BackendProperties:
        wrong = (Nduv("2026-01-01T00:00:00Z", name, "", value),)
        gates = (
            replace(gate, parameters=wrong) if gate.gate == "cz" and set(gate.on) == set(pair) else gate
            for gate in properties.gates
        )
        return replace(properties, gates=tuple(gates))

    for name, value in (("operational", 0.0), ("gate_error", 1.0), ("gate_error", 1.5)):
        assert set(best_chain(configuration, broken(name, value), 2).qubits) != set(pair)


def test_a_coupling_that_the_configuration_does_not_have_is_not_used() -> None:
    configuration, properties = real("boston")
    pair = best_chain(configuration, properties, 2).qubits
    gates = tuple(
        replace(gate, coupling_map=tuple(p for p in gate.coupling_map or () if set(p) != set(pair)))
        if gate.name == "cz"
        else gate
        for gate in configuration.gates
    )
    assert set(best_chain(replace(configuration, gates=gates), properties, 2).qubits) != set(pair)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "3", None])
def test_a_number_that_makes_no_sense_is_refused(wrong: Any) -> None:
    for choose in (best_qubits, best_chain):
        with pytest.raises(InvalidRequest, match="n has to be a whole number"):
            choose(*real("lima"), wrong)


def test_too_many_are_refused_and_so_is_a_device_without_couplings() -> None:
    for choose in (best_qubits, best_chain):
        with pytest.raises(InvalidRequest, match="not found") as caught:
            choose(*real("lima"), 6)
        assert caught.value.backend == "ibmq_lima"
        with pytest.raises(InvalidRequest, match="no native two-qubit gate"):
            choose(*real("armonk"), 2)


@pytest.mark.long
def test_a_device_of_a_thousand_qubits_is_searched_as_well() -> None:
    fleet = SyntheticFleet({"condor": 1121})
    documents = []
    for resource in ("configuration", "properties"):
        key = fleet.find(resource, "condor", None, None, 1.8e9)
        assert key is not None
        documents.append(fleet.build(key))
    configuration = msgspec.json.decode(documents[0], type=BackendConfiguration)
    properties = msgspec.json.decode(documents[1], type=BackendProperties)
    for choose in (best_chain, best_qubits):
        found = choose(configuration, properties, 30)
        assert (len(set(found.qubits)), len(found.couplings)) == (30, 29)
        pairs = {frozenset(pair) for pair in configuration.coupling_map or ()}
        assert {frozenset(pair) for pair in found.couplings} <= pairs
