"""Circuits, simulated on this machine with a device's noise."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from qiskit import QuantumCircuit
from qiskit.circuit import ControlFlowOp
from qiskit.providers import Options

from ...errors import DecodeError, InvalidRequest
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
            InvalidRequest: these are no circuits, or they use qubits that the device does not have.
        """
        listed = _listed(circuits)
        used = frozenset(qubit for one in listed for _, on in instructions_of(one) for qubit in on)
        if not used.issubset(self._configuration.qubit_numbers):
            raise InvalidRequest(
                f"the circuits use qubit {max(used)}; {self._configuration.backend_name} has "
                f"{self._configuration.n_qubits}: transpile them for it"
            )
        simulator = required_aer().AerSimulator()
        simulator.name = f"aer_simulator_from({self._configuration.backend_name})"  # as Aer names its own
        if "noise_model" not in options and self._properties is not None:
            options = {**options, "noise_model": self._noise(self._properties, used)}
        return simulator.run(listed, **options)

    def _noise(self, properties: BackendProperties, used: frozenset[int]) -> "NoiseModel":
        kept = self._kept  # read once, as jobs may begin in several threads
        if kept is None or not used <= kept[0]:
            chosen = used | _of_long_coherence(self._configuration, properties)
            kept = self._kept = chosen, noise_model(self._configuration, properties, qubits=chosen)
        return kept[1]


def _of_long_coherence(configuration: BackendConfiguration, properties: BackendProperties) -> set[int]:
    """Return one qubit whose T2 is above its T1, if the device has one.

    The relaxation of such a qubit is a Kraus channel, and if there is one anywhere in a model, Aer simulates
    all circuits in another way. So each model has one, as that of all qubits has: what a seed gives does not
    depend on which circuits ran before.
    """
    for qubit in configuration.qubit_numbers[: len(properties.qubits)]:
        with suppress(DecodeError):  # a value that is not known is told where the qubit is used
            if 0 < (properties.t1(qubit) or 0) < (properties.t2(qubit) or 0):
                return {qubit}
    return set()


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


def _listed(circuits: QuantumCircuit | Sequence[QuantumCircuit]) -> list[QuantumCircuit]:
    listed = [circuits] if isinstance(circuits, QuantumCircuit) else circuits
    if (
        not isinstance(listed, Sequence)
        or not listed
        or not all(isinstance(one, QuantumCircuit) for one in listed)
    ):
        raise InvalidRequest(f"a QuantumCircuit, or a list of them, is expected, and not {circuits!r:.80}")
    return list(listed)  # Aer changes the list
