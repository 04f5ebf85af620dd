"""A synthetic processor: everything about it that does not change with time."""

from dataclasses import dataclass
from random import Random

from .generations import Generation
from .lattice import Lattice, lattice
from .walk import Walk

EXTRA_GATES = "extra_gates"  # the only calibration_id of synthetic devices: all of them have `rzz` in it
RZZ = "rzz"

# Shares of qubits and gates with `operational: 0`, and of qubits without a T1 or T2, as in the snapshots.
_FAULTY_QUBITS = 0.006
_FAULTY_GATES = 0.004
_UNMEASURED = 0.004

# Hours between two measurements. Readout is measured every hour, so that no two calibrations are the same.
_T1_EVERY, _T2_EVERY, _READOUT_EVERY, _SX_EVERY, _ENTANGLER_EVERY = 24, 12, 1, 6, 4


@dataclass(frozen=True, slots=True)
class Qubit:
    """One qubit.

    Attributes:
        t1, t2, readout, asymmetry, sx: how the logarithms of these values change with time.
        frequency: in GHz; 0 if its generation has none.
        has_t1, has_t2: whether they were measured.
        operational: whether it works.
    """

    t1: Walk
    t2: Walk
    readout: Walk
    asymmetry: Walk
    sx: Walk
    frequency: float
    has_t1: bool
    has_t2: bool
    operational: bool


@dataclass(frozen=True, slots=True)
class Coupling:
    """One coupled pair of qubits.

    Attributes:
        qubits: their numbers, in the direction of the native gate.
        entangler, rzz: how the logarithms of the errors of the native gate and of `rzz` change.
        strength: of the coupling, in GHz.
        broken: whether the gate's error says that it does not work.
        operational: whether the gate's flag says that it works.
    """

    qubits: tuple[int, int]
    entangler: Walk
    rzz: Walk
    strength: float
    broken: bool
    operational: bool


@dataclass(frozen=True, slots=True)
class Chip:
    """A processor.

    Attributes:
        name: the backend's name.
        generation: the generation that it belongs to.
        lattice: the positions of its qubits.
        qubits: its qubits.
        couplings: its coupled pairs, in the direction of the native gate.
        has_rzz: whether it has the gate `rzz`.
        hours_east: the UTC offset of the dates in its documents, in hours.
    """

    name: str
    generation: Generation
    lattice: Lattice
    qubits: tuple[Qubit, ...]
    couplings: tuple[Coupling, ...]
    has_rzz: bool
    hours_east: int


def make_chip(seed: str, name: str, qubits: int, generation: Generation, variant: str | None) -> Chip:
    """Return the chip of a backend; its variants have the same lattice and faults, and other values.

    Args:
        seed: the chip follows from it, the name and the variant.
        name: the backend's name.
        qubits: the number of qubits.
        generation: the generation that it belongs to.
        variant: the calibration_id, or None.
    """
    hardware = Random(f"{seed}/{name}")  # the same for all variants
    values = Random(f"{seed}/{name}/{variant or ''}")
    positions = lattice(generation.shape, qubits)
    return Chip(
        name=name,
        generation=generation,
        lattice=positions,
        qubits=tuple(_qubit(hardware, values, generation) for _ in range(qubits)),
        couplings=tuple(_coupling(hardware, values, generation, pair) for pair in positions.edges),
        has_rzz=variant == EXTRA_GATES or RZZ in generation.fractional,
        hours_east=Random(f"{seed}/{name}/zone").choice((-5, -4, 1, 2)),
    )


def _qubit(hardware: Random, values: Random, generation: Generation) -> Qubit:
    return Qubit(
        t1=Walk(values, _T1_EVERY),
        t2=Walk(values, _T2_EVERY),
        readout=Walk(values, _READOUT_EVERY),
        asymmetry=Walk(values, _READOUT_EVERY),
        sx=Walk(values, _SX_EVERY),
        frequency=hardware.gauss(1.0, 0.025) * (generation.frequency or 0.0),
        has_t1=hardware.random() >= _UNMEASURED,
        has_t2=hardware.random() >= _UNMEASURED,
        operational=hardware.random() >= _FAULTY_QUBITS,
    )


def _coupling(hardware: Random, values: Random, generation: Generation, pair: tuple[int, int]) -> Coupling:
    turned = not generation.both_ways and hardware.random() < 0.5  # the faster direction is the native one
    return Coupling(
        qubits=(pair[1], pair[0]) if turned else pair,
        entangler=Walk(values, _ENTANGLER_EVERY),
        rzz=Walk(values, _ENTANGLER_EVERY),
        strength=hardware.lognormvariate(-7.4, 0.1),
        broken=hardware.random() < generation.broken,
        operational=hardware.random() >= _FAULTY_GATES,
    )
