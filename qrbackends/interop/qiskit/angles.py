"""The angles that IBM calibrates, and the wrapper that folds others into their range."""

import math
from collections.abc import Sequence
from typing import Final

from qiskit.circuit import Qubit
from qiskit.circuit.library import RZGate, RZZGate, XGate
from qiskit.dagcircuit import DAGCircuit
from qiskit.transpiler.passes import WrapAngles

WRAPPERS = WrapAngles.DEFAULT_REGISTRY
BOUNDS: Final = {"rzz": [(0.0, math.pi / 2)]}
"""The range of each bounded gate's angle, in radians."""


def register_rzz() -> None:
    """Register the wrapper that folds the angle of `rzz`, unless Qiskit has one; only a trial shows that."""
    try:
        WRAPPERS.substitute_angle_bounds("rzz", [0.0], [])
    except KeyError:
        WRAPPERS.add_wrapper("rzz", _fold_rzz)


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
