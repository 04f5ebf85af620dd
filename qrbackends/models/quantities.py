"""The quantities that the service measures, what is said of other names, and the native two-qubit gates."""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol, TypeAlias

from ..errors import CalibrationLookupError
from ..messages.suggestions import suggested
from .formatting import visible

QUBIT_QUANTITIES: Final = (
    "T1",
    "T2",
    "frequency",
    "anharmonicity",
    "readout_error",
    "readout_length",
    "prob_meas0_prep1",
    "prob_meas1_prep0",
    "operational",
)
"""The known values of qubits, by their names on the wire."""

GATE_QUANTITIES: Final = ("gate_error", "gate_length", "operational")
"""The known values of gates, by their names on the wire."""

NATIVE_ENTANGLERS: Final = ("cz", "ecr", "cx")
"""Two-qubit gates that IBM's devices implement natively, newest first.

A device's two-qubit error is that of the first of them that it has, also where it reports `rzz`, or both
`ecr` and `cx`."""

_MOST_LISTED = 20
_LONGEST_LISTED = 40  # characters


class Named(Protocol):
    """A value that has a name, such as an `Nduv`."""

    @property
    def name(self) -> str:
        """The name."""
        ...


Groups: TypeAlias = Iterable[Iterable[Named]]
"""The values of each qubit, or of each gate."""


def check_quantity(name: object, known: Sequence[str], values: Groups, backend: str) -> None:
    """Raise `CalibrationLookupError` for a name that is no known quantity's, nor that of any value.

    It is called where no value was found: a known quantity that a device does not report is no mistake.

    Args:
        name: the name that was asked for.
        known: the names of the known quantities.
        values: all values in the document: those of each qubit, or of each gate.
        backend: the backend's name.
    """
    if name in known:
        return
    names = dict.fromkeys((*known, *(value.name for group in values for value in group)))
    if name not in names:
        shown = [visible(one, _LONGEST_LISTED) for one in tuple(names)[:_MOST_LISTED]]
        problem = f"no quantity {name!r:.80}; there are {', '.join(shown)}"
        raise CalibrationLookupError(suggested(problem, name, names)).about(backend=backend)
