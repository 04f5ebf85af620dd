"""Transpiler targets: what the official client's converter makes of a configuration and properties."""

import warnings
from collections.abc import Container, Iterator, Mapping
from typing import Any, TypeAlias, TypedDict

from msgspec.structs import asdict
from qiskit.circuit import Gate, Instruction, Parameter
from qiskit.circuit.controlflow import (
    CONTROL_FLOW_OP_NAMES,
    ForLoopOp,
    IfElseOp,
    SwitchCaseOp,
    WhileLoopOp,
)
from qiskit.circuit.library.standard_gates import get_standard_gate_name_mapping
from qiskit.exceptions import QiskitError
from qiskit.providers import QubitProperties
from qiskit.transpiler import InstructionProperties, Target

from ...errors import DecodeError
from ...models import BackendConfiguration, BackendProperties, Nduv
from ...models.arguments import check_document
from .angles import BOUNDS, register_rzz
from .fitting import Fitting, Qubits
from .fractional import check_choice, is_fractional, with_choice

Places: TypeAlias = dict[Qubits, InstructionProperties | None] | None  # None: on all qubits

_NON_UNITARY = ("measure", "reset", "delay")
_CONTROL_FLOW = {
    "for_loop": ForLoopOp,
    "if_else": IfElseOp,
    "switch_case": SwitchCaseOp,
    "while_loop": WhileLoopOp,
}


class TargetOptions(TypedDict, total=False):
    """The options of `to_target`, which all that builds targets takes."""

    use_fractional_gates: bool | None
    include_control_flow: bool
    include_fractional_gates: bool | None
    filter_faulty: bool
    custom_name_mapping: Mapping[str, Instruction] | None


def to_target(
    configuration: BackendConfiguration,
    properties: BackendProperties | None = None,
    *,
    use_fractional_gates: bool | None = None,
    include_control_flow: bool = True,
    include_fractional_gates: bool | None = None,
    filter_faulty: bool = True,
    custom_name_mapping: Mapping[str, Instruction] | None = None,
) -> Target:
    """Return a backend's transpiler target, the same one as the official client's converter returns.

    Durations are in seconds, errors are probabilities. The angle of `rzz` is bounded (0 to π/2); the wrapper
    that folds other angles into this range is registered with Qiskit, unless Qiskit has one already.

    Entries of a gate on qubits that do not fit it, such as a `cx` on one qubit, or that the device does not
    have, are left out, and logged. If the configuration names no others, the gate is on all qubits of a
    simulator, and on none of another device.

    Args:
        configuration: gives the instructions, the couplings and the timing.
        properties: give errors and durations; without them the target has none, and nothing is faulty.
        use_fractional_gates: as in the official client. True: the device has to have `rx` or `rzz`, and the
            target has them. False: the target has neither them nor any other gate whose angle is more than a
            phase. None: the target has what the device has. Control flow stays in all three cases: IBM's
            devices run it together with fractional gates.
        include_control_flow: whether the target has `if_else` and the other control-flow instructions.
        include_fractional_gates: False leaves gates whose angle is more than a phase out of the target, those
            of `custom_name_mapping` among them; True keeps them; None does what `use_fractional_gates` says.
        filter_faulty: whether faulty qubits and gates are left out.
        custom_name_mapping: instructions for names that Qiskit does not know, or uses for something else.

    Warns:
        RuntimeWarning: Qiskit does not know a basis gate, and the target lacks it.

    Raises:
        DecodeError: a unit cannot be read, the documents contradict each other, or a number is out of range.
        InvalidRequest: `use_fractional_gates` and `include_fractional_gates` contradict each other.
        UnknownGate: `use_fractional_gates` is True, and the device has no fractional gate.
    """
    check_choice(use_fractional_gates, include_fractional_gates)
    check_document("configuration", configuration, BackendConfiguration)
    check_document("properties", properties, BackendProperties, optional=True)
    configuration = with_choice(configuration, use_fractional_gates)
    known = get_standard_gate_name_mapping() | dict(custom_name_mapping or {})
    unwanted: set[str] = set()
    if include_fractional_gates is False:
        unwanted.update(name for name, one in known.items() if is_fractional(one))
    if not include_control_flow:
        unwanted.update(_CONTROL_FLOW)
    operations = dict(_operations(configuration, known, unwanted))
    faulty = set(properties.faulty_qubits()) if properties is not None and filter_faulty else set()
    try:
        operations |= _signatures(configuration)
        target = _empty_target(configuration, properties)
    except (QiskitError, OverflowError) as error:  # for example a negative number of qubits
        raise _misfit(configuration, error) from None
    gates = {gate.name: gate for gate in configuration.gates}  # of equal names, the last one counts
    fitting = Fitting(operations, configuration)
    places = {name: fitting.coupled(gates.get(name)) for name in operations}
    if properties is not None:
        _calibrate(places, properties, faulty, filter_faulty, fitting)
        if "measure" in places:
            places["measure"] = _readouts(configuration, properties, faulty)
    for name in set(_NON_UNITARY).intersection(_supported(configuration)):
        if places[name] is None:
            places[name] = {(qubit,): None for qubit in configuration.qubit_numbers if qubit not in faulty}
    if "rzz" in operations:
        register_rzz()
    fitting.log()
    try:
        return _filled(target, operations, places)
    except QiskitError as error:  # for example a two-qubit gate on three qubits
        raise _misfit(configuration, error) from None


def _misfit(configuration: BackendConfiguration, error: Exception) -> DecodeError:
    name = configuration.backend_name
    reason = getattr(error, "message", str(error))
    problem = f"the documents of {name} do not fit each other: {reason:.200}"
    return DecodeError(problem).about(backend=name)


def _filled(target: Target, operations: Mapping[str, Any], places: Mapping[str, Places]) -> Target:
    for name, operation in operations.items():
        if name in _CONTROL_FLOW:
            target.add_instruction(operation, name=name)
        else:
            target.add_instruction(operation, places[name], name, angle_bounds=BOUNDS.get(name))
    return target


def _supported(configuration: BackendConfiguration) -> tuple[str, ...]:
    named = configuration.supported_instructions
    return _NON_UNITARY if named is None else named


def _operations(
    configuration: BackendConfiguration, known: Mapping[str, Instruction], unwanted: Container[str]
) -> Iterator[tuple[str, Any]]:
    """Yield the name and the instruction of each basis gate and each other supported instruction."""
    gates = {gate.name: gate for gate in configuration.gates}
    others = CONTROL_FLOW_OP_NAMES.union(_NON_UNITARY)
    supported = (name for name in _supported(configuration) if name in others)
    for name in dict.fromkeys((*configuration.basis_gates, *supported)):
        if name in unwanted:
            continue
        if name in _CONTROL_FLOW:
            yield name, _CONTROL_FLOW[name]
        elif name in known:
            yield name, known[name]
        elif name in gates:
            gate = gates[name]
            width = len(gate.coupling_map[0]) if gate.coupling_map else 0
            yield name, Gate(name, width, [Parameter(one) for one in gate.parameters or ()])
        else:
            warnings.warn(
                f"Qiskit does not know the instruction {name!r:.80} of {configuration.backend_name}, so the "
                "target has none; custom_name_mapping can say what it is",
                RuntimeWarning,
                stacklevel=3,
            )


def _signatures(configuration: BackendConfiguration) -> dict[str, Instruction]:
    """Return the instructions beyond Qiskit's own, such as `measure_2`."""
    return {
        one.name: Instruction(
            one.name,
            one.num_qubits or 0,
            one.num_clbits or 0,
            [Parameter(name) for name in one.parameters or ()],
        )
        for one in configuration.instruction_signatures or ()
    }


def _calibrate(
    places: dict[str, Places],
    properties: BackendProperties,
    faulty: set[int],
    filter_faulty: bool,
    fitting: Fitting,
) -> None:
    """Add the gates' errors and durations to `places`, and remove faulty gates."""
    for (name, on), gate in fitting.calibrated(properties).items():
        found = places[name]
        if found is None:  # the properties name its qubits, so that it is not on all of them
            found = places[name] = {}
        if filter_faulty and not (gate.operational and faulty.isdisjoint(on)):
            found.pop(on, None)
            continue
        found[on] = _measured(gate.parameter("gate_error"), gate.parameter("gate_length"))


def _readouts(
    configuration: BackendConfiguration, properties: BackendProperties, faulty: set[int]
) -> dict[Qubits, InstructionProperties | None]:
    """Return error and duration of each qubit's readout, which the service sends with the qubit."""
    found: dict[Qubits, InstructionProperties | None] = {
        (qubit,): None for qubit in configuration.qubit_numbers if qubit not in faulty
    }
    for (qubit,) in found:
        if qubit < len(properties.qubits):
            found[qubit,] = _measured(
                properties.qubit_property(qubit, "readout_error"),
                properties.qubit_property(qubit, "readout_length"),
            )
    return found


def _measured(error: Nduv | None, length: Nduv | None) -> InstructionProperties:
    return InstructionProperties(length and length.si, error and error.si)


def _empty_target(configuration: BackendConfiguration, properties: BackendProperties | None) -> Target:
    timing = configuration.timing_constraints
    return Target(
        num_qubits=len(configuration.qubit_numbers),
        dt=configuration.dt,
        qubit_properties=None if properties is None else _qubits(configuration, properties),
        **{name: value for name, value in (asdict(timing) if timing else {}).items() if value is not None},
    )


def _qubits(configuration: BackendConfiguration, properties: BackendProperties) -> list[QubitProperties]:
    known = range(len(properties.qubits))
    return [
        QubitProperties(properties.t1(qubit), properties.t2(qubit), properties.frequency(qubit))
        if qubit in known
        else QubitProperties()
        for qubit in configuration.qubit_numbers
    ]
