"""How likely a transpiled circuit is to succeed on a device, by the device's calibration.

`score` multiplies the success probabilities of all operations of a circuit, and of all waits between them:

    P = prod(1 - e) * prod(1 - r) * prod(F)

- e is the error of each gate, on the qubits on which the circuit has it.
- r is the readout error of each qubit that is measured or reset: a reset measures the qubit, too.
- F is the average fidelity of each qubit that waits, as `qrbackends.analysis.costs.waiting_cost` defines it.

The first two factors are the "estimated success probability" of noise-aware compilers (P. Murali et al.,
ASPLOS 2019; S. Nishio et al., ACM J. Emerg. Technol. Comput. Syst. 16, 32, 2020). mapomatic's default cost is
1 less their product (P. D. Nation and M. Treinish, PRX Quantum 4, 010327, 2023), over the operations that it
counts: `sx`, `x`, all gates on two qubits, `measure` and `reset`.

A qubit waits from the end of one of its operations to the beginning of the next one; barriers and delays are
no operations. Each operation begins as late as possible, as Qiskit's transpiler schedules by default. A qubit
that has no state waits for free: before its first operation, after its last one, before and after a reset.
The error of a gate includes what its qubits lose while it runs.

A value that was not measured, or is one that no device can have, counts as the worst value of the device, and
as no loss if the device reports none. A gate that is faulty, is on a faulty qubit, or has an error of 1 or
more never succeeds.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from operator import index
from typing import Any, Protocol, TypeAlias

from msgspec import Struct

from ..errors import InvalidRequest
from ..messages.counts import counted
from ..models import BackendConfiguration, BackendProperties
from ..models.arguments import check_document
from .costs import DeviceCosts, is_readout, is_reset

Wire: TypeAlias = Any  # the number of a qubit of the device, or a classical bit of the circuit

_NO_OPERATIONS = frozenset(("barrier", "delay", "break_loop", "continue_loop"))


class Circuit(Protocol):
    """The attributes of Qiskit's `QuantumCircuit` that `score` needs."""

    @property
    def qubits(self) -> Sequence[Any]:
        """Its qubits, in order."""
        ...

    @property
    def clbits(self) -> Sequence[Any]:
        """Its classical bits, in order."""
        ...

    @property
    def data(self) -> Sequence[Any]:
        """Its instructions, in order, each with `operation`, `qubits` and `clbits`."""
        ...


class Score(Struct, frozen=True, gc=False):
    """How likely a circuit is to succeed on a device.

    The attributes are negative natural logarithms of success probabilities, so that they add up, and tell
    long circuits apart. Each is 0 or more, and infinite if something never succeeds.

    Attributes:
        gates: of all gates.
        readout: of all measurements and resets.
        idling: of all waits.
    """

    gates: float
    readout: float
    idling: float

    @property
    def cost(self) -> float:
        """The sum of the three; the smaller, the better."""
        return self.gates + self.readout + self.idling

    @property
    def success_probability(self) -> float:
        """The probability that nothing fails."""
        return math.exp(-self.cost)

    @property
    def expected_error(self) -> float:
        """The probability that anything fails."""
        return -math.expm1(-self.cost)


def score(
    circuit: Circuit,
    configuration: BackendConfiguration,
    properties: BackendProperties,
    *,
    layout: Sequence[int] | None = None,
) -> Score:
    """Return how likely a circuit is to succeed on a device, as this module's docstring defines it.

    A gate counts whatever its angles are, so its parameters need no values. Of an `if_else` or `switch_case`
    the branch that is least likely to succeed counts, of a `for_loop` all turns, of a `box` what is in it.
    How long the device takes to decide is not in its calibration, and does not count.

    Args:
        circuit: a Qiskit `QuantumCircuit` in the gates of the device.
        configuration: gives the gates, the qubits that have them, and `dt`, a unit of delays.
        properties: give errors, durations, T1 and T2.
        layout: the number of the device's qubit for each qubit of the circuit; None if they have the same
            numbers, as in a circuit that was transpiled for the device.

    Raises:
        UnknownGate: the device does not have a gate of the circuit, or not on these qubits.
        UnknownQubit: the device does not have a qubit of the circuit.
        InvalidRequest: the documents are of different backends; the layout does not fit the circuit; a delay
            is no number of seconds or `dt`; or it is not known how often a loop runs.
        DecodeError: the unit of a measured value is not known.
    """
    if not all(hasattr(circuit, name) for name in ("qubits", "clbits", "data")):
        kind = type(circuit).__name__
        raise InvalidRequest(f"a circuit has to be a QuantumCircuit of Qiskit, not {kind:.80}")
    check_document("configuration", configuration, BackendConfiguration)
    check_document("properties", properties, BackendProperties)
    if configuration.backend_name != properties.backend_name:
        names = f"{configuration.backend_name:.80}, and the properties are of {properties.backend_name:.80}"
        raise InvalidRequest(f"the configuration is of {names}")
    qubits = zip(circuit.qubits, _numbers(circuit, layout), strict=True)
    wires = {bit: bit for bit in circuit.clbits} | dict(qubits)
    return _Schedule(DeviceCosts(configuration, properties), circuit, wires).end()[0]


def _numbers(circuit: Circuit, layout: Sequence[int] | None) -> Sequence[int]:
    """Return the number of the device's qubit for each qubit of the circuit."""
    count = len(circuit.qubits)
    if layout is None:
        return range(count)
    try:
        numbers = tuple(map(index, layout))
    except TypeError:
        numbers = ()
    if len(numbers) != count or len(set(numbers)) != count:
        raise InvalidRequest(f"the layout has to be {counted(count, 'different number')}, one for each qubit")
    return numbers


class _Schedule:
    """The instructions of a circuit, each as late as possible; the last one is looked at first.

    Args:
        costs: gives costs and durations.
        circuit: the circuit, or a block of control flow.
        wires: what each of its bits is.
        block: whether it is a block, whose qubits are in use from its beginning to its end.
    """

    def __init__(
        self, costs: DeviceCosts, circuit: Circuit, wires: Mapping[Any, Wire], *, block: bool = False
    ) -> None:
        self._costs, self._circuit, self._wires, self._block = costs, circuit, wires, block
        self._gates: list[float] = []
        self._readout: list[float] = []
        self._idling: list[float] = []
        # Seconds before the end: when the next instruction, and the next operation, begins on a wire.
        self._begins = dict.fromkeys(wires.values(), 0.0)
        self._used: dict[Wire, float] = {wires[bit]: 0.0 for bit in circuit.qubits} if block else {}
        for instruction in reversed(circuit.data):
            if instruction.qubits:  # others are global phases, and classical
                self._add(instruction)

    def end(self, shortest: float = 0.0) -> tuple[Score, float]:
        """Return the score, and the seconds that the circuit takes; a block takes at least `shortest`."""
        seconds = max(self._begins.values(), default=0.0)
        if self._block:
            seconds = max(seconds, shortest)
            self._wait(self._used, seconds)
        return Score(*map(math.fsum, (self._gates, self._readout, self._idling))), seconds

    def _add(self, instruction: Any) -> None:
        operation, wires = instruction.operation, self._wires
        name, on = operation.name, tuple(wires[bit] for bit in instruction.qubits)
        has_blocks = hasattr(operation, "blocks")
        # A condition may read bits that are not among those of its instruction.
        bits = self._circuit.clbits if has_blocks else instruction.clbits
        touched = (*on, *(wires[bit] for bit in bits))
        end = max(self._begins[wire] for wire in touched)
        if has_blocks:
            seconds = self._add_blocks(operation, instruction)
        elif name in _NO_OPERATIONS:
            seconds = self._costs.duration(operation) if name == "delay" else 0.0
        else:
            cost, seconds = self._costs.operation(name, on)
            (self._readout if is_readout(name) else self._gates).append(cost)
        self._begins.update(dict.fromkeys(touched, end + seconds))
        if is_reset(name):
            for qubit in on:
                self._used.pop(qubit, None)
        elif name not in _NO_OPERATIONS:
            self._wait(on, end)
            self._used.update(dict.fromkeys(on, end + seconds))

    def _wait(self, qubits: Iterable[Wire], end: float) -> None:
        """Let qubits wait from `end` seconds before the end of the circuit to their next operations."""
        used = self._used
        self._idling += [self._costs.wait(one, end - used[one]) for one in qubits if one in used]

    def _add_blocks(self, operation: Any, instruction: Any) -> float:
        """Add what is in a control-flow operation, and return the seconds that it takes."""
        turns, shortest = _turns(operation), 0.0
        if getattr(operation, "duration", None) is not None:  # of a box
            shortest = self._costs.duration(operation)
        outer = [self._wires[bit] for bit in (*instruction.qubits, *instruction.clbits)]
        found = []
        for block in operation.blocks if turns else ():
            wires = dict(zip((*block.qubits, *block.clbits), outer, strict=True))
            found.append(_Schedule(self._costs, block, wires, block=True).end(shortest))
        if not found:
            return 0.0
        worst = max((one for one, _ in found), key=lambda one: one.cost)
        self._gates.append(turns * worst.gates)
        self._readout.append(turns * worst.readout)
        self._idling.append(turns * worst.idling)
        return turns * max(seconds for _, seconds in found)


def _turns(operation: Any) -> int:
    """Return how often the blocks of a control-flow operation run."""
    if operation.name == "for_loop":
        return len(operation.params[0])
    if operation.name == "while_loop":
        raise InvalidRequest("nobody knows how often a while_loop runs, and so how often it fails")
    return 1


__all__ = ["Circuit", "Score", "score"]
