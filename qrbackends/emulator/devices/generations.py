"""The generations of processors, and the distributions of their calibrated values.

The distributions were fitted to all snapshots of qiskit-ibm-runtime 0.51.0 whose processor has that family,
revision and size, without zeros and without gate errors of 1 or more. A lognormal is given by the median of
the values, and by half the distance between the 15.87 % and 84.13 % quantiles of their logarithms; outliers
change neither. The ratios of T2 to T1, and of the two readout probabilities, were fitted qubit by qubit, as
each pair is correlated. `broken` is the share of two-qubit gates with a gate_error of 1 or more.
"""

from dataclasses import dataclass
from typing import TypeAlias

from .lattice import Shape

LogNormal: TypeAlias = tuple[float, float]
"""The median, and the standard deviation of the natural logarithm."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of processors.

    Attributes:
        family, revision: of the processor; the type of the revision is that in its snapshots.
        shape: its lattice.
        entangler: its native two-qubit gate.
        both_ways: whether the entangler is listed in both directions.
        dt: the sampling time, in ns.
        t1: in µs.
        t2_by_t1: the ratio T2 / T1; T2 is at most 2·T1.
        readout: the readout error.
        asymmetry: prob_meas0_prep1 / prob_meas1_prep0.
        sx: the error of sx; x, id and rx have the same.
        entangling: the entangler's error.
        broken: the share of entanglers that do not work.
        readout_ns, sx_ns, entangler_ns: durations, in ns.
        frequency: the qubits' mean frequency, in GHz; None if the service does not send frequencies.
        clops: circuit layer operations per second.
        channels: whether its configuration describes control channels.
        couplings: whether `general` lists couplings.
        fractional: its fractional gates.
        microsecond: how the unit of T1 and T2 is written.
    """

    family: str
    revision: str | int | float
    shape: Shape
    entangler: str
    both_ways: bool
    dt: float
    t1: LogNormal
    t2_by_t1: LogNormal
    readout: LogNormal
    asymmetry: LogNormal
    sx: LogNormal
    entangling: LogNormal
    broken: float
    readout_ns: float
    sx_ns: float
    entangler_ns: float
    frequency: float | None
    clops: int
    channels: bool
    couplings: bool
    fractional: tuple[str, ...] = ()
    microsecond: str = "us"


FALCON = Generation(
    "Falcon", "5.11", "heavy-hex", "cx", True, 2 / 9,
    t1=(117.2, 0.329), t2_by_t1=(0.870, 0.776), readout=(9.70e-3, 0.552), asymmetry=(1.51, 0.390),
    sx=(2.25e-4, 0.526), entangling=(7.70e-3, 0.475), broken=0.017,
    readout_ns=785.8, sx_ns=35.56, entangler_ns=382.2, frequency=5.024, clops=2441,
    channels=True, couplings=False, microsecond="µs",
)  # fmt: skip
EAGLE = Generation(
    "Eagle", 3, "heavy-hex", "ecr", False, 2 / 9,
    t1=(240.1, 0.417), t2_by_t1=(0.607, 0.811), readout=(2.09e-2, 0.996), asymmetry=(0.906, 0.691),
    sx=(2.70e-4, 0.743), entangling=(8.71e-3, 0.636), broken=0.148,
    readout_ns=1349, sx_ns=60, entangler_ns=660, frequency=4.883, clops=30_000,
    channels=True, couplings=False,
)  # fmt: skip
HERON_1 = Generation(
    "Heron", "1", "heavy-hex", "cz", True, 1.0,
    t1=(185.0, 0.468), t2_by_t1=(0.867, 0.626), readout=(2.30e-2, 1.075), asymmetry=(0.969, 0.837),
    sx=(2.71e-4, 0.614), entangling=(4.08e-3, 0.498), broken=0.073,
    readout_ns=1560, sx_ns=32, entangler_ns=68, frequency=None, clops=210_000,
    channels=False, couplings=True, fractional=("rx", "rzz"),
)  # fmt: skip
HERON_2 = Generation(
    "Heron", "2", "heavy-hex", "cz", True, 4.0,
    t1=(192.6, 0.481), t2_by_t1=(0.629, 0.767), readout=(9.09e-3, 0.914), asymmetry=(1.91, 1.050),
    sx=(2.30e-4, 0.449), entangling=(3.09e-3, 0.604), broken=0.051,
    readout_ns=2280, sx_ns=32, entangler_ns=68, frequency=None, clops=195_000,
    channels=False, couplings=True, fractional=("rx", "rzz"),
)  # fmt: skip
HERON_3 = Generation(
    "Heron", "3", "heavy-hex", "cz", True, 4.0,
    t1=(270.3, 0.279), t2_by_t1=(1.196, 0.259), readout=(5.37e-3, 0.555), asymmetry=(1.42, 1.027),
    sx=(1.76e-4, 0.452), entangling=(1.42e-3, 0.527), broken=0.015,
    readout_ns=2584, sx_ns=32, entangler_ns=68, frequency=None, clops=330_000,
    channels=False, couplings=True, fractional=("rx", "rzz"),
)  # fmt: skip
NIGHTHAWK = Generation(
    "Nighthawk", "1", "square", "cz", True, 4.0,
    t1=(297.9, 0.299), t2_by_t1=(0.956, 0.386), readout=(1.50e-2, 0.931), asymmetry=(1.43, 0.634),
    sx=(1.80e-4, 0.493), entangling=(2.63e-3, 0.636), broken=0.020,
    readout_ns=2400, sx_ns=32, entangler_ns=68, frequency=None, clops=25_000,
    channels=False, couplings=True, fractional=("rx",),
)  # fmt: skip

_BY_SIZE = {27: FALCON, 120: NIGHTHAWK, 127: EAGLE, 133: HERON_1}


def generation_for(qubits: int, shape: Shape | None) -> Generation:
    """Return the generation that has devices with so many qubits, or else the newest one of the shape.

    Args:
        qubits: the number of qubits.
        shape: the lattice; None for the generation's own.
    """
    known = _BY_SIZE.get(qubits)
    if known is not None and shape in (None, known.shape):
        return known
    return NIGHTHAWK if shape == "square" else HERON_3
