"""Circuits, simulated on this machine with a device's noise."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from qiskit import QuantumCircuit
from qiskit.circuit import ControlFlowOp
from qiskit.providers import Options

from ...models import BackendConfiguration, BackendProperties
from .fitting import Qubits
from .noise import noise_model, required_aer

if TYPE_CHECKING:
    from qiskit_aer.jobs import AerJob
    from qiskit_aer.noise import NoiseModel


class Simulation:
    """Simulates circuits of a device, and keeps the noise model of the qubits that were used last.

    Args:
        configuration: the configuration of the device.
        properties: the properties; without them there is no noise.
    """

    def __init__(self, configuration: BackendConfiguration, properties: BackendProperties | None) -> None:
        self._configuration = configuration
        self._properties = properties
        self._kept: tuple[frozenset[int], Any] | None = None

    def __deepcopy__(self, memo: object) -> Self:
        return self  # the primitives copy a backend for each job; what is kept serves all copies

    def run(
        self, circuits: QuantumCircuit | Sequence[QuantumCircuit], options: Mapping[str, Any]
    ) -> "AerJob":
        """Begin to simulate, and return the job; `options` are those of `AerSimulator.run`.

        Raises:
            DecodeError: the noise cannot be modelled.
            ImportError: qiskit-aer is not installed.
            InvalidRequest: a circuit uses qubits that the device does not have.
        """
        simulator = required_aer().AerSimulator()
        simulator.name = f"aer_simulator_from({self._configuration.backend_name})"  # as Aer names its own
        if "noise_model" not in options and self._properties is not None:
            options = {**options, "noise_model": self._noise(self._properties, _used(circuits))}
        return simulator.run(circuits, **options)

    def _noise(self, properties: BackendProperties, used: frozenset[int]) -> "NoiseModel":
        if self._kept is None or not used <= self._kept[0]:
            self._kept = used, noise_model(self._configuration, properties, qubits=used)
        return self._kept[1]


def default_options() -> Options:
    """Return the options of simulations and their defaults; none where qiskit-aer is not installed."""
    try:
        return required_aer().AerSimulator().options
    except ImportError:
        return Options()


def instructions_of(
    circuit: QuantumCircuit, numbers: Sequence[int] | None = None
) -> Iterator[tuple[str, Qubits]]:
    """Yield the name and the qubits of each instruction but barriers; of control flow, those in its blocks.

    Args:
        circuit: the circuit.
        numbers: the numbers of its qubits in the whole circuit, for a block of control flow.
    """
    for one in circuit.data:
        if one.operation.name == "barrier":
            continue
        places = [circuit.find_bit(qubit).index for qubit in one.qubits]
        on = tuple(places if numbers is None else [numbers[place] for place in places])
        if isinstance(one.operation, ControlFlowOp):
            for block in one.operation.blocks:
                yield from instructions_of(block, on)
        else:
            yield one.operation.name, on


def _used(circuits: QuantumCircuit | Sequence[QuantumCircuit]) -> frozenset[int]:
    listed = [circuits] if isinstance(circuits, QuantumCircuit) else circuits
    return frozenset(qubit for circuit in listed for _, on in instructions_of(circuit) for qubit in on)
