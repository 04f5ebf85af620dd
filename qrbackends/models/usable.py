"""Which measured values count: the one rule for medians, spreads, comparisons, rankings and drawings.

Raw fields and accessors show every value as it was sent. What counts is what a device can have, and what is
in order: an error from 0 to less than 1, as 1 and more mark what is out of order; a time or a frequency above
0, as the service reports failed fits as 0 or less. Only a virtual gate takes no time.
"""

from collections.abc import Iterable, Mapping
from math import inf
from statistics import median
from typing import Final, NamedTuple, TypeAlias

Pair: TypeAlias = tuple[int, int]
"""Two coupled qubits, the lower number first."""

_ERRORS: Final = frozenset(("gate_error", "readout_error", "prob_meas0_prep1", "prob_meas1_prep0"))
_SIGNED: Final = frozenset(("anharmonicity",))  # the difference of two frequencies
_VIRTUAL: Final = frozenset(("rz", "p", "u1"))  # gates that only shift the phase of later pulses


def usable(name: str, value: float | None, gate: str | None = None) -> float | None:
    """Return a value if it counts, or None.

    Args:
        name: the quantity's name on the wire, such as `T1` or `gate_error`.
        value: in SI units; None where it is not known.
        gate: the gate's name, for a value of a gate.
    """
    if value is None:
        return None
    if name in _ERRORS:
        counts = 0.0 <= value < 1.0
    elif name in _SIGNED:
        counts = -inf < value < inf
    else:
        counts = 0.0 < value < inf or (value == 0.0 and gate in _VIRTUAL)
    return value if counts else None


def is_out_of_order(error: float | None) -> bool:
    """Return whether an error marks what is out of order: it is known, and 1 or more."""
    return error is not None and error >= 1.0


class Measurements(NamedTuple):
    """The values of one quantity that count, over the working qubits or gates.

    Attributes:
        name: the quantity's name on the wire.
        values: the values in SI units, and the qubit or qubits of each.
        left_out: the number of values that do not count.
    """

    name: str
    values: tuple[tuple[float, tuple[int, ...]], ...]
    left_out: int

    @property
    def median(self) -> float | None:
        """The median of the values, in SI units; `why_none` says why there is none."""
        return median(value for value, _ in self.values) if self.values else None

    @property
    def why_none(self) -> str | None:
        """Why there is no median, as a sentence's end; None where there is one."""
        if self.values:
            return None
        if not self.left_out:
            return "nothing that works reports it"
        those = "the only value is" if self.left_out == 1 else f"all {self.left_out} values are"
        if self.name in _ERRORS:
            return f"{those} out of order (1 or more) or negative"
        return f"{those} 0 or less, which no device can have"


def measurements(
    name: str, measured: Iterable[tuple[tuple[int, ...], float | None]], gate: str | None = None
) -> Measurements:
    """Return the values that count.

    Args:
        name: the quantity's name on the wire.
        measured: the qubits of what works, and the value in SI units, or None where it is not known.
        gate: the gate's name, for values of a gate.
    """
    known = [(value, on) for on, value in measured if value is not None]
    values = tuple(one for one in known if usable(name, one[0], gate) is not None)
    return Measurements(name, values, len(known) - len(values))


def by_pair(
    entries: Iterable[tuple[tuple[int, ...], float | None, bool]],
) -> tuple[Mapping[Pair, float | None], tuple[Pair, ...]]:
    """Return the error on each pair of qubits that can be used, and the pairs that cannot, in order.

    Of the directions of a pair, the smaller error counts; it is None where none is known.

    Args:
        entries: the qubits, the error, and whether the flags say that it works, of each entry of a gate.
    """
    errors: dict[Pair, float | None] = {}
    pairs: set[Pair] = set()
    for on, error, works in entries:
        if len(on) != 2 or on[0] == on[1]:
            continue
        pair = (min(on), max(on))
        pairs.add(pair)
        if works and not is_out_of_order(error):
            known = [e for e in (errors.get(pair), usable("gate_error", error)) if e is not None]
            errors[pair] = min(known, default=None)
    return errors, tuple(sorted(pairs - errors.keys()))
