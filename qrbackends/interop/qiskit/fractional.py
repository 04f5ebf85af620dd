"""Which gates are fractional, and what `use_fractional_gates` leaves of a configuration."""

from collections.abc import Iterable

from msgspec.structs import replace
from qiskit.circuit import Delay, Instruction
from qiskit.circuit.library import PhaseGate, RZGate, U1Gate
from qiskit.circuit.library.standard_gates import get_standard_gate_name_mapping

from ...errors import InvalidRequest, UnknownGate
from ...models import BackendConfiguration
from ...models.configuration import FRACTIONAL_GATES

_VIRTUAL = (RZGate, PhaseGate, U1Gate, Delay)  # their parameter shifts the phase of later pulses, or waits


def is_fractional(operation: Instruction) -> bool:
    """Return whether a gate has an angle that the device turns by: it is no phase, and no duration."""
    return bool(operation.params) and not isinstance(operation, _VIRTUAL)


def check_choice(use_fractional_gates: bool | None, include_fractional_gates: bool | None) -> None:
    """Check that the two options do not contradict each other.

    Raises:
        InvalidRequest: they do.
    """
    if {use_fractional_gates, include_fractional_gates} == {True, False}:
        raise InvalidRequest(
            f"use_fractional_gates={use_fractional_gates} and include_fractional_gates="
            f"{include_fractional_gates} contradict each other; leave one of them out"
        )


def with_choice(
    configuration: BackendConfiguration, use_fractional_gates: bool | None
) -> BackendConfiguration:
    """Return what a choice leaves of a configuration, as the official client does it.

    Args:
        configuration: the configuration.
        use_fractional_gates: False removes fractional gates from the basis gates, the gates and the supported
            instructions; True and None remove nothing. None of them removes control flow.

    Raises:
        UnknownGate: it is True, and the device has no fractional gate.
    """
    if use_fractional_gates and not configuration.has_fractional_gates:
        raise UnknownGate(
            f"the device has no fractional gate ({' or '.join(FRACTIONAL_GATES)}); use_fractional_gates=None "
            "takes devices with and without them"
        ).about(backend=configuration.backend_name)
    if use_fractional_gates or use_fractional_gates is None:
        return configuration
    known = get_standard_gate_name_mapping()
    removed = {name for name, operation in known.items() if is_fractional(operation)}
    supported = configuration.supported_instructions

    def left(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(name for name in names if name not in removed)

    return replace(
        configuration,
        basis_gates=left(configuration.basis_gates),
        gates=tuple(gate for gate in configuration.gates if gate.name not in removed),
        supported_instructions=None if supported is None else left(supported),
    )
