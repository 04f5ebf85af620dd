"""Which qubits to use: the connected sets and lines of qubits with the least expected error.

It needs rustworkx, which comes with Qiskit (`pip install "qrbackends[graph]"`).

The expected error is defined for this circuit: n qubits are entangled by n - 1 two-qubit gates, one on each
coupling of a tree (for a chain: of the line); each qubit idles once, for as long as such a gate takes; each
qubit is read out once. It is the probability that any of these operations fails,

    1 - prod(1 - e_c) * prod((1 - r_q) * F_q),

where e_c is the error of the native two-qubit gate on a coupling (the smaller one of its two directions), r_q
the readout error, and F_q the average fidelity of a qubit that idles for the gate's median length t,

    F_q = 1/2 + exp(-t / T1) / 6 + exp(-t / T2) / 3,

which follows for amplitude and phase damping from M. A. Nielsen's formula (Phys. Lett. A 303, 249, 2002).
Noise-aware compilers choose qubits by the product of such success probabilities, the "estimated success
probability" (P. Murali et al., ASPLOS 2019; P. D. Nation and M. Treinish, PRX Quantum 4, 010327, 2023).

One qubit alone runs no such gate and waits for none: the expected error is that of its readout, also where
the device has no couplings. A qubit whose readout was measured goes before all others.

Qubits and gates that are faulty, or have an error of 1 or more, are not used. A value that was not measured,
or is one that no device can have, counts as the worst value of the device.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any, TypeAlias, TypeVar

from ..messages.extras import missing_extra

try:
    import rustworkx as rx
except ImportError as error:
    raise missing_extra(
        "qrbackends.analysis.qubits needs rustworkx, which comes with Qiskit", "graph"
    ) from error

from ..errors import InvalidRequest
from ..models import BackendConfiguration, BackendProperties, is_out_of_order, usable
from ..models.arguments import check_document
from ..models.integers import whole
from ..models.shown import Shown
from .costs import error_cost, waiting_cost

_MOST_QUBITS = 10_000  # a set of them is a number with a bit for each
_EXACT = 16  # qubits of a device up to which the search is complete
_LINES, _FAR_SIGHTED_LINES, _SETS = 50_000, 20_000, 30_000  # partial solutions kept, over all sizes

K = TypeVar("K")
V = TypeVar("V", bound=tuple[Any, ...])
Line: TypeAlias = tuple[int, ...]
Costs: TypeAlias = dict[int, float]
Couplings: TypeAlias = dict[int, Costs]


class Choice(Shown, frozen=True, gc=False):
    """Qubits to use.

    Attributes:
        qubits: their numbers, for a chain in the order of the line, otherwise ascending.
        couplings: the pairs on which two-qubit gates are needed; one fewer than qubits.
        expected_error: the probability that an operation fails, as this module's docstring defines it.
    """

    qubits: tuple[int, ...]
    couplings: tuple[tuple[int, int], ...]
    expected_error: float


def best_qubits(configuration: BackendConfiguration, properties: BackendProperties, n: int) -> Choice:
    """Return the connected set of `n` qubits with the least expected error.

    On devices of up to 16 qubits, all connected sets are compared, and the result is exact. On larger ones,
    a beam search adds one qubit at a time to the best sets of each size. One qubit is the best by readout.

    Raises:
        InvalidRequest: there is no such set, or more than one qubit is wanted and the device reports no
            native two-qubit gate.
    """
    n = _checked(n)
    device = _Device(configuration, properties, n)
    # A line is a connected set, too; the search for lines sometimes finds a better one.
    line = min(_chains(device, n, _LINES), default=None)
    lines = [] if line is None else [(device.cost(line[1]), tuple(sorted(line[1])))]
    found = min([*_sets(device, n), *lines], default=None)
    if found is None:
        raise InvalidRequest(f"{n} working qubits that are connected were not found").about(
            backend=configuration.backend_name
        )
    return Choice(found[1], device.tree(found[1]), -math.expm1(-found[0]))


def best_chain(configuration: BackendConfiguration, properties: BackendProperties, n: int) -> Choice:
    """Return the line of `n` coupled qubits with the least expected error.

    On devices of up to 16 qubits, the result is exact. On larger ones, it comes from a beam search, as for
    `best_qubits`. If no line of the beam can be continued, as happens with long lines, the search is repeated
    and prefers the lines from whose end the most unused qubits can be reached. One qubit is the best by
    readout.

    Raises:
        InvalidRequest: there is no such line, or more than one qubit is wanted and the device reports no
            native two-qubit gate.
    """
    n = _checked(n)
    device = _Device(configuration, properties, n)
    lines = _chains(device, n, _LINES) or _chains(device, n, _FAR_SIGHTED_LINES, device.stranded)
    found = min(lines, default=None)
    if found is None:
        raise InvalidRequest(f"a line of {n} working qubits was not found").about(
            backend=configuration.backend_name
        )
    line = found[1]
    return Choice(line, tuple(pairwise(line)), -math.expm1(-found[0]))


def _checked(n: int) -> int:
    number = whole(n)
    if number is None or number < 1:
        raise InvalidRequest("n has to be a whole number, 1 or more")
    return number


class _Device:
    """The working part of a device, and its costs.

    The cost of an operation is the negative logarithm of its success probability, so that costs add up.

    Attributes:
        qubits: the cost of each working qubit.
        couplings: the cost of each working coupling, by its one end and then by its other end.
    """

    def __init__(self, configuration: BackendConfiguration, properties: BackendProperties, n: int) -> None:
        check_document("configuration", configuration, BackendConfiguration)
        check_document("properties", properties, BackendProperties)
        gate = properties.native_entangler
        if gate is None and n > 1:
            raise InvalidRequest("the device reports no native two-qubit gate: cz, ecr or cx").about(
                backend=configuration.backend_name
            )
        if len(properties.qubits) > _MOST_QUBITS:
            raise InvalidRequest(f"the best of more than {_MOST_QUBITS} qubits are not searched for").about(
                backend=configuration.backend_name
            )
        wait = properties.median_gate_length(gate) if gate is not None and n > 1 else None
        self.qubits = _qubit_costs(properties, wait or 0.0)
        if n == 1:  # of one qubit alone nothing but its readout counts: one that has none is not as good
            known = [
                q for q in self.qubits if usable("readout_error", properties.readout_error(q)) is not None
            ]
            self.qubits = {one: self.qubits[one] for one in known or self.qubits}
        self.couplings: Couplings = {qubit: {} for qubit in self.qubits}
        for (a, b), cost in _coupling_costs(configuration, properties).items():
            if a in self.qubits and b in self.qubits:
                self.couplings[a][b] = self.couplings[b][a] = cost
        self._all = sum(1 << one for one in self.qubits)
        self._neighbours = {one: sum(1 << b for b in near) for one, near in self.couplings.items()}

    def around(self, used: int, around: Costs, one: int) -> Costs:
        """Return the neighbours of a set after `one` joined it, each with the cost of its cheapest coupling.

        Args:
            used: the qubits of the set, a bit for each.
            around: the same for the set without `one`.
            one: the qubit that was added.
        """
        larger = around.copy()
        del larger[one]
        for other, cost in self.couplings[one].items():
            if not used >> other & 1 and cost < larger.get(other, math.inf):
                larger[other] = cost
        return larger

    def stranded(self, line: tuple[int, int]) -> int:
        """Return how many unused qubits cannot be reached from the end of a line.

        Args:
            line: its qubits, a bit for each, and the last one of them.
        """
        used, end = line
        free = self._all & ~used
        reached = 0
        ahead = self._neighbours[end] & free
        while ahead:
            one = ahead & -ahead
            reached |= one
            ahead = (ahead | self._neighbours[one.bit_length() - 1] & free) & ~reached
        return (free & ~reached).bit_count()

    def width(self, n: int, effort: int) -> int | None:
        """Return how many partial solutions of each size to keep, or None for all of them."""
        return None if len(self.qubits) <= _EXACT else max(effort // n, 50)

    def tree(self, qubits: Iterable[int]) -> tuple[tuple[int, int], ...]:
        """Return the cheapest couplings that connect these qubits."""
        numbers = sorted(qubits)
        graph = rx.PyGraph()
        graph.add_nodes_from(numbers)
        at = {qubit: index for index, qubit in enumerate(numbers)}
        for a in numbers:
            graph.add_edges_from(
                [(at[a], at[b], w) for b, w in self.couplings[a].items() if a < b and b in at]
            )
        edges = rx.minimum_spanning_edges(graph, weight_fn=float)
        return tuple(sorted((numbers[a], numbers[b]) for a, b, _ in edges))

    def cost(self, qubits: Iterable[int]) -> float:
        """Return the cost of a connected set."""
        numbers = tuple(qubits)
        return sum(self.qubits[one] for one in numbers) + sum(
            self.couplings[a][b] for a, b in self.tree(numbers)
        )


def _qubit_costs(properties: BackendProperties, wait: float) -> Costs:
    working = [
        one for one in properties.working_qubits() if not is_out_of_order(properties.readout_error(one))
    ]
    errors = {one: usable("readout_error", properties.readout_error(one)) for one in working}
    readout = _filled(errors, max, 0.0)
    t1 = _filled({one: usable("T1", properties.t1(one)) for one in working}, min, math.inf)
    t2 = _filled({one: usable("T2", properties.t2(one)) for one in working}, min, math.inf)
    return {one: error_cost(readout[one]) + waiting_cost(wait, t1[one], t2[one]) for one in working}


def _coupling_costs(
    configuration: BackendConfiguration, properties: BackendProperties
) -> dict[tuple[int, int], float]:
    gate = properties.native_entangler
    known = {one.name: one.coupling_map for one in configuration.gates}.get(gate or "")
    pairs = {frozenset(pair) for pair in known or configuration.coupling_map or ()}
    measured = properties.coupling_errors()
    used = {pair: error for pair, error in measured.items() if not pairs or frozenset(pair) in pairs}
    return {pair: error_cost(error) for pair, error in _filled(used, max, 0.0).items()}


def _filled(
    values: Mapping[K, float | None], worst: Callable[[Iterable[float]], float], unknown: float
) -> dict[K, float]:
    """Return the values with the worst one in place of None, or `unknown` if all are None."""
    known = [value for value in values.values() if value is not None]
    instead = worst(known) if known else unknown
    return {key: instead if value is None else value for key, value in values.items()}


def _chains(
    device: _Device, n: int, effort: int, rank: Callable[[tuple[int, int]], int] | None = None
) -> list[tuple[float, Line]]:
    """Return lines of `n` qubits with their costs: all of them, or those that a beam search finds.

    Args:
        device: the working qubits and couplings.
        n: number of qubits in a line.
        effort: how many partial lines to keep, over all lengths.
        rank: gives a number for the qubits of a line, a bit for each, and its end; the smallest are kept,
            before the cheapest.
    """
    ahead = {
        end: [(one, 1 << one, coupling, device.qubits[one]) for one, coupling in near.items()]
        for end, near in device.couplings.items()
    }
    # Two lines over the same qubits with the same end have the same continuations: the cheaper one is kept.
    lines: dict[tuple[int, int], tuple[float, Line]] = {
        (1 << one, one): (cost, (one,)) for one, cost in device.qubits.items()
    }
    for _ in range(n - 1):
        longer: dict[tuple[int, int], tuple[float, Line]] = {}
        for (used, end), (cost, line) in lines.items():
            for one, bit, coupling, qubit in ahead[end]:
                if not used & bit:
                    total, key = cost + coupling + qubit, (used | bit, one)
                    if key not in longer or total < longer[key][0]:
                        longer[key] = (total, (*line, one))
        lines = _best(longer, device.width(n, effort), rank)
    return list(lines.values())


def _sets(device: _Device, n: int) -> list[tuple[float, Line]]:
    """Return connected sets of `n` qubits with their costs: all, or those that a beam search finds."""
    # For each set: its cost, and the cost of the cheapest coupling to each of its neighbours.
    sets: dict[int, tuple[float, Costs]] = {
        1 << one: (cost, dict(device.couplings[one])) for one, cost in device.qubits.items()
    }
    qubits = device.qubits
    for _ in range(n - 1):
        larger: dict[int, tuple[float, int, int]] = {}
        for used, (cost, around) in sets.items():
            for one, coupling in around.items():
                total, key = cost + coupling + qubits[one], used | 1 << one
                if key not in larger or total < larger[key][0]:
                    larger[key] = (total, used, one)
        sets = {
            key: (total, device.around(key, sets[used][1], one))
            for key, (total, used, one) in _best(larger, device.width(n, _SETS)).items()
        }
    found = [tuple(one for one in qubits if used >> one & 1) for used in sets]
    return [(device.cost(numbers), numbers) for numbers in found]


def _best(found: dict[K, V], width: int | None, rank: Callable[[K], int] | None = None) -> dict[K, V]:
    """Return the `width` entries whose ranks, and then values, are smallest, or all of them for None."""
    if width is None or len(found) <= width:
        return found
    if rank is None:
        kept = sorted(found, key=found.__getitem__)
    else:
        kept = sorted(found, key=lambda key: (rank(key), found[key]))
    return {key: found[key] for key in kept[:width]}


__all__ = ["Choice", "best_chain", "best_qubits"]
