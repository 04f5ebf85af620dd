"""A backend in Qiskit's types: its transpiler target, and a read-only `BackendV2` with that target.

The module needs Qiskit 2.3 or newer (`pip install "qrbackends[qiskit]"`), and not the official client.
"""

import math
import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NoReturn, TypeAlias

import anyio.to_thread
from msgspec.structs import asdict

from ..messages.extras import missing_extra

try:
    from qiskit.circuit import Delay, Gate, Instruction, Parameter, Qubit
    from qiskit.circuit.controlflow import (
        CONTROL_FLOW_OP_NAMES,
        ForLoopOp,
        IfElseOp,
        SwitchCaseOp,
        WhileLoopOp,
    )
    from qiskit.circuit.library import PhaseGate, RZGate, RZZGate, U1Gate, XGate
    from qiskit.circuit.library.standard_gates import get_standard_gate_name_mapping
    from qiskit.dagcircuit import DAGCircuit
    from qiskit.exceptions import QiskitError
    from qiskit.providers import BackendV2, Options, QubitProperties
    from qiskit.transpiler import InstructionProperties, Target
    from qiskit.transpiler.passes import WrapAngles

    _WRAPPERS = WrapAngles.DEFAULT_REGISTRY
except (ImportError, AttributeError) as error:
    raise missing_extra("qrbackends.interop.qiskit needs Qiskit 2.3 or newer", "qiskit") from error

from ..accounts.account import Instance
from ..client import Client
from ..errors import DecodeError, NotFound, QRBackendsError
from ..models import BackendConfiguration, BackendProperties, Nduv
from ..tasks.fanout import together
from .fitting import Fitting, Qubits

Places: TypeAlias = dict[Qubits, InstructionProperties | None] | None  # None: on all qubits

_NON_UNITARY = ("measure", "reset", "delay")
_CONTROL_FLOW = {
    "for_loop": ForLoopOp,
    "if_else": IfElseOp,
    "switch_case": SwitchCaseOp,
    "while_loop": WhileLoopOp,
}
_VIRTUAL = (RZGate, PhaseGate, U1Gate, Delay)  # their parameter shifts the phase of later pulses, or waits
_ANGLES = {"rzz": [(0.0, math.pi / 2)]}  # in radians: the range that IBM calibrates


def to_target(
    configuration: BackendConfiguration,
    properties: BackendProperties | None = None,
    *,
    include_control_flow: bool = True,
    include_fractional_gates: bool = True,
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
        include_control_flow: whether the target has `if_else` and the other control-flow instructions.
        include_fractional_gates: whether the target has gates whose angle is more than a phase, such as `rx`
            and `rzz`. IBM's compiler does not accept them together with control flow.
        filter_faulty: whether faulty qubits and gates are left out.
        custom_name_mapping: instructions for names that Qiskit does not know, or uses for something else.

    Warns:
        RuntimeWarning: Qiskit does not know a basis gate, and the target lacks it.

    Raises:
        DecodeError: a unit cannot be read, the documents contradict each other, or a number is out of range.
    """
    known = get_standard_gate_name_mapping() | dict(custom_name_mapping or {})
    if not include_fractional_gates:
        unwanted = {name for name, one in known.items() if _is_fractional(one)}
    else:
        unwanted = set()
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
        _register_rzz()
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
            target.add_instruction(operation, places[name], name, angle_bounds=_ANGLES.get(name))
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


def _is_fractional(operation: Instruction) -> bool:
    return bool(operation.params) and not isinstance(operation, _VIRTUAL)


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


def _register_rzz() -> None:
    """Register the wrapper that folds the angle of `rzz`, unless Qiskit has one; only a trial shows that."""
    try:
        _WRAPPERS.substitute_angle_bounds("rzz", [0.0], [])
    except KeyError:
        _WRAPPERS.add_wrapper("rzz", _fold_rzz)


def _fold_rzz(angles: Sequence[float], qubits: object) -> DAGCircuit:
    """Return a circuit for RZZ(θ) that uses RZZ of 0 to π/2 only.

    RZZ(θ + 2π) = −RZZ(θ); RZZ(±π) = ±i·RZ(π)⊗RZ(π); RZZ(−θ) = (X⊗1)·RZZ(θ)·(X⊗1).
    """
    dag = DAGCircuit()
    dag.add_qubits([Qubit(), Qubit()])
    both = dag.qubits
    angle = math.remainder(angles[0], 2 * math.pi)
    dag.global_phase = math.pi * (round((angles[0] - angle) / (2 * math.pi)) % 2)
    if abs(angle) > math.pi / 2:
        half_turn = math.copysign(math.pi, angle)
        dag.global_phase += half_turn / 2
        angle -= half_turn
        for qubit in both:
            dag.apply_operation_back(RZGate(math.pi), [qubit])
    if math.isclose(angle, 0.0, abs_tol=1e-12):
        return dag
    for gate in (XGate(), None, XGate()):
        if gate is None:
            dag.apply_operation_back(RZZGate(abs(angle)), both)
        elif angle < 0:
            dag.apply_operation_back(gate, both[:1])
    return dag


class ReadOnlyBackend(BackendV2):  # type: ignore[misc]  # mypy does not follow Qiskit's imports
    """A `BackendV2` for the transpiler and its tools. It cannot run jobs.

    Attributes:
        configuration: the configuration that it was made from.
        properties: the properties that it was made from, or None.
    """

    def __init__(
        self, configuration: BackendConfiguration, properties: BackendProperties | None, target: Target
    ) -> None:
        super().__init__(
            name=configuration.backend_name,
            description=configuration.description,
            online_date=configuration.online_date,
            backend_version=configuration.backend_version,
        )
        self.configuration = configuration
        self.properties = properties
        self._target = target

    @property
    def target(self) -> Target:
        """The transpiler target."""
        return self._target

    @property
    def max_circuits(self) -> int | None:
        """The greatest number of circuits in one job, or None where the service does not send it."""
        return self.configuration.max_experiments

    @property
    def dtm(self) -> float | None:
        """The sampling time of measurement channels, in seconds."""
        return self.configuration.dtm

    @property
    def meas_map(self) -> list[list[int]]:
        """The groups of qubits that are measured together."""
        return [list(group) for group in self.configuration.meas_map or ()]

    @classmethod
    def _default_options(cls) -> Options:
        return Options()

    def run(self, run_input: object, **options: object) -> NoReturn:
        """Raise `QRBackendsError`: this package does not execute jobs."""
        raise QRBackendsError(
            f"{self.name} is read-only here: this package does not execute jobs; the primitives of "
            "qiskit-ibm-runtime do"
        )


def backend(
    configuration: BackendConfiguration, properties: BackendProperties | None = None, **options: Any
) -> ReadOnlyBackend:
    """Return a read-only `BackendV2`, for `transpile` and the preset pass managers.

    Args:
        configuration: gives the instructions, the couplings and the timing.
        properties: give errors and durations, or None.
        options: as for `to_target`.

    Raises:
        DecodeError: as `to_target` does.
    """
    return ReadOnlyBackend(configuration, properties, to_target(configuration, properties, **options))


async def target(
    client: Client,
    name: str,
    *,
    calibration_id: str | None = None,
    updated_before: datetime | None = None,
    instance: Instance | str | None = None,
    timeout: float | None = None,
    **options: Any,
) -> Target:
    """Fetch a backend's configuration and properties concurrently, and return its target.

    The target is built in a thread, as that takes some ten milliseconds for a large device. A device
    without properties, such as a simulator, has a target without errors and durations.

    Args:
        client: fetches the documents.
        name: the backend's name.
        calibration_id: the variant of both documents, such as `extra_gates`.
        updated_before: asks for the newest properties before this instant.
        instance: the instance to ask, or its CRN; by default the one that lists the backend.
        timeout: seconds for the requests; by default the client's limit.
        options: as for `to_target`.

    Raises:
        QRBackendsError: as `Client.configuration` and `Client.properties` do.
    """
    common: Any = {"calibration_id": calibration_id, "instance": instance, "timeout": timeout}

    async def calibrated() -> BackendProperties | None:
        try:
            return await client.properties(name, updated_before=updated_before, **common)
        except NotFound:  # a device that does not exist fails for its configuration
            return None

    configuration, properties = await together(client.configuration(name, **common), calibrated())
    build = partial(to_target, configuration, properties, **options)
    return await anyio.to_thread.run_sync(build, abandon_on_cancel=True)
