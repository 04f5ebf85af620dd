"""The documents as Qiskit's tools know them, from `backend.configuration()` and its like.

Tools expect lists and dictionaries where our structs have tuples and structs, pairs of a value and its date,
no attribute at all where the service sent nothing, and errors where our accessors return None.
"""

import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache, cached_property
from types import SimpleNamespace
from typing import Any, Final, TypeAlias

from msgspec import Raw, Struct
from msgspec.structs import fields
from qiskit.exceptions import QiskitError

from ...errors import CalibrationLookupError, DecodeError, UnknownGate
from ...models import (
    BackendConfiguration,
    BackendProperties,
    BackendStatus,
    GateProperties,
    JSONObject,
    Nduv,
    UChannelLO,
)
from ...models.properties import Qubits, readable

Measured: TypeAlias = tuple[float, datetime | str]
"""A value in SI units, and when it was measured."""

# What the official client's configuration has also where the service sends nothing, or null.
_FLAGS = ("conditional", "dynamic_reprate_enabled", "local", "memory", "open_pulse", "simulator")
_NULLABLE = (
    *("clops", "clops_h", "clops_v", "coupling_map"),
    *("discriminators", "meas_kernels", "meas_levels", "quantum_volume"),
)
_ALWAYS: Final[dict[str, Any]] = dict.fromkeys(_FLAGS, False) | dict.fromkeys(_NULLABLE)

_FLAG: Final = "operational"  # of a qubit or gate; the service sends it with any unit, such as `0/1`


class DocumentPart(SimpleNamespace):
    """A part of a document, such as a gate: its attributes are the fields that were sent."""

    def to_dict(self) -> dict[str, Any]:
        """Return the part as dictionaries and lists."""
        return {name: _dicts(value) for name, value in vars(self).items()}


class _Document:
    """What both documents have in common: fields that were sent are attributes, of lists and dictionaries.

    An attribute is made at its first access. It is the same object from then on, as of the official client.

    Attributes:
        document: the struct.
    """

    def __init__(self, document: BackendConfiguration | BackendProperties) -> None:
        self.document = document

    def __getattr__(self, name: str) -> Any:
        # By the wire's names, properties are in SI units. Before there is a document, copy and pickle ask.
        known = "document" in vars(self) and name in _names(type(self.document)).values()
        value = getattr(self.document, name) if known else None
        if value is None:
            raise AttributeError(f"{name!r:.80} was not sent, or is not known")
        vars(self)[name] = value = _plain(value)
        return value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Document) and self.document == other.document

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self.document.backend_name!r})>"


class QiskitConfiguration(_Document):
    """A configuration as the official client's `backend.configuration()` returns it.

    Attributes have the names of the service's fields, and are in SI units. What was not sent is no attribute,
    except flags, which are False, and a few lists, which are None.

    Args:
        document: the configuration.
    """

    document: BackendConfiguration

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name not in _ALWAYS:
                raise
        return _ALWAYS[name]

    def __contains__(self, name: str) -> bool:
        return name in _names(BackendConfiguration).values() and hasattr(self, name)

    @property
    def num_qubits(self) -> int:
        """The number of qubits."""
        return self.document.n_qubits

    @cached_property
    def gates(self) -> list[DocumentPart]:
        """The gates: name, parameters, definition in OpenQASM, and the qubits that have them."""
        return [
            DocumentPart(**{"parameters": None, "qasm_def": None} | _plain(one))
            for one in self.document.gates
        ]

    @cached_property
    def rep_times(self) -> list[float]:
        """The supported times between two executions, in seconds."""
        if self.document.rep_times is None:
            raise AttributeError("'rep_times' was not sent")
        return [microseconds / 1e6 for microseconds in self.document.rep_times]

    def to_dict(self) -> dict[str, Any]:
        """Return the document as dictionaries and lists, in the units of the service."""
        return _ALWAYS | _sent(self.document) | {"gates": _dicts(self.gates)}


class QiskitProperties(_Document):
    """Properties as the official client's `backend.properties()` returns them.

    Values are in SI units, those in `qubits`, `gates` and `general` as sent. All that looks up a value raises
    an error where it was not measured: a `CalibrationLookupError` and a `QiskitError`, and, where the
    official client is imported, its `BackendPropertyError`.

    Args:
        document: the properties.
    """

    document: BackendProperties

    @cached_property
    def qubits(self) -> list[list[DocumentPart]]:
        """The measured values of each qubit: `name`, `value`, `unit` and `date`."""
        return [list(map(_item, qubit)) for qubit in self.document.qubits]

    @cached_property
    def gates(self) -> list[DocumentPart]:
        """The gates, `gate` on `qubits`, and the measured values of each in `parameters`."""
        return [_gate(on, gate) for on, gate in readable(self.document.gates)]

    @cached_property
    def general(self) -> list[DocumentPart | str]:
        """The measured values of the whole device."""
        return [one if isinstance(one, str) else _item(one) for one in self.document.general]

    def qubit_property(self, qubit: int, name: str | None = None) -> Any:
        """Return a value of a qubit and its date, or, without a name, all of them by name."""
        if qubit not in range(len(self.document.qubits)):
            raise _missing(f"no qubit {qubit!r:.80}; there are {len(self.document.qubits)}")
        return _looked_up(self.document.qubits[int(qubit)], name, f"qubit {qubit}")

    def gate_property(self, gate: str, qubits: Qubits | None = None, name: str | None = None) -> Any:
        """Return a value of a gate on qubits and its date; without a name all of them by name.

        Without qubits, it is all values of the gate by its qubits.
        """
        try:
            if qubits is not None:
                found = self.document.gate_properties(gate, qubits)
                return _looked_up(found.parameters, name, f"{gate!r:.80} on {qubits!r:.80}")
            entries = [(on, one) for on, one in readable(self.document.gates) if one.gate == gate]
        except UnknownGate as error:
            raise _missing(error.message) from None
        if name is not None or not entries:
            raise _missing(f"no gate {gate!r:.80}" if name is None else f"{name!r:.80} needs qubits")
        return {on: _measured(one.parameters) for on, one in entries}

    def t1(self, qubit: int) -> float:
        """Return the relaxation time T1 in seconds."""
        return self._of_qubit(qubit, "T1")

    def t2(self, qubit: int) -> float:
        """Return the dephasing time T2 in seconds."""
        return self._of_qubit(qubit, "T2")

    def frequency(self, qubit: int) -> float:
        """Return the qubit's frequency in hertz."""
        return self._of_qubit(qubit, "frequency")

    def readout_error(self, qubit: int) -> float:
        """Return the probability that a readout is wrong."""
        return self._of_qubit(qubit, "readout_error")

    def readout_length(self, qubit: int) -> float:
        """Return the duration of a readout in seconds."""
        return self._of_qubit(qubit, "readout_length")

    def gate_error(self, gate: str, qubits: Qubits) -> float:
        """Return the gate's error probability; a value of 1 or more marks a gate that does not work."""
        return self._of_gate(gate, qubits, "gate_error")

    def gate_length(self, gate: str, qubits: Qubits) -> float:
        """Return the gate's duration in seconds."""
        return self._of_gate(gate, qubits, "gate_length")

    def is_qubit_operational(self, qubit: int) -> bool:
        """Return whether the qubit works; true where the service sends no `operational` flag."""
        return bool(self.qubit_property(qubit).get(_FLAG, (True,))[0])

    def is_gate_operational(self, gate: str, qubits: Qubits) -> bool:
        """Return whether the gate works on `qubits`; true where the service sends no `operational` flag."""
        return bool(self.gate_property(gate, qubits).get(_FLAG, (True,))[0])

    def faulty_qubits(self) -> list[int]:
        """Return the numbers of the qubits that do not work."""
        return list(self.document.faulty_qubits())

    def faulty_gates(self) -> list[DocumentPart]:
        """Return the gates whose own flag says that they do not work."""
        return [_gate(on, gate) for on, gate in readable(self.document.faulty_gates())]

    def to_dict(self) -> dict[str, Any]:
        """Return the document as dictionaries and lists, with dates as such."""
        names = [name for name in _names(BackendProperties) if getattr(self.document, name) is not None]
        return {name: _dicts(getattr(self, name)) for name in names}

    def _of_qubit(self, qubit: int, name: str) -> float:
        value: float = self.qubit_property(qubit, name)[0]
        return value

    def _of_gate(self, gate: str, qubits: Qubits, name: str) -> float:
        value: float = self.gate_property(gate, qubits, name)[0]
        return value


@dataclass(frozen=True, slots=True)
class QiskitStatus:
    """A status as the official client's `backend.status()` returns it.

    Attributes:
        backend_name: the name of the backend.
        backend_version: its version, such as `1.0.3`.
        operational: whether jobs are taken; with the message `internal`, they are not run for now.
        pending_jobs: the number of waiting jobs.
        status_msg: `active`, or another name of the state.
    """

    backend_name: str
    backend_version: str
    operational: bool
    pending_jobs: int
    status_msg: str

    @classmethod
    def of(cls, backend_name: str, status: BackendStatus) -> "QiskitStatus":
        """Return the status of a backend."""
        version = status.backend_version or "0.0.0"
        return cls(backend_name, version, bool(status.state), status.pending_jobs, status.status_msg)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


def _plain(value: Any) -> Any:
    """Return a part of a document as dictionaries, lists and numbers."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, UChannelLO):
        return {"q": value.q, "scale": value.factor}
    if isinstance(value, JSONObject):
        return value.to_dict()
    return _sent(value) if isinstance(value, Struct) else value


def _sent(document: Struct) -> dict[str, Any]:
    """Return what was sent of a struct, by the names and in the units of the service."""
    found = {wire: getattr(document, name) for name, wire in _names(type(document)).items()}
    return {wire: _plain(value) for wire, value in found.items() if value is not None}


@cache
def _names(kind: type[Struct]) -> dict[str, str]:
    """Return the wire's name of each field; of an open object, that of the property that decodes it."""
    return {one.encode_name if one.type is Raw else one.name: one.encode_name for one in fields(kind)}


def _dicts(value: Any) -> Any:
    if isinstance(value, list):
        return [_dicts(one) for one in value]
    return value.to_dict() if isinstance(value, DocumentPart) else value


def _item(nduv: Nduv) -> DocumentPart:
    return DocumentPart(date=_date(nduv), name=nduv.name, unit=nduv.unit, value=nduv.value)


def _gate(on: tuple[int, ...], gate: GateProperties) -> DocumentPart:
    name = {} if gate.name is None else {"name": gate.name}
    return DocumentPart(qubits=list(on), gate=gate.gate, parameters=list(map(_item, gate.parameters)), **name)


def _date(nduv: Nduv) -> datetime | str:
    try:
        return nduv.measured_at
    except DecodeError:
        return nduv.date


def _measured(values: Iterable[Nduv]) -> dict[str, Measured]:
    """Return values and dates by name, the last one of each; without those whose unit is not known."""
    found: dict[str, Measured] = {}
    for one in values:
        with suppress(DecodeError):
            found[one.name] = (one.value if one.name == _FLAG else one.si), _date(one)
    return found


def _looked_up(values: Iterable[Nduv], name: str | None, of: str) -> dict[str, Measured] | Measured:
    found = _measured(values)
    if name is None:
        return found
    if name not in found:
        raise _missing(f"the device does not report {name!r:.80} of {of}, or in a unit that is not known")
    return found[name]


def _missing(problem: str) -> CalibrationLookupError:
    """Return the error about a value that the device does not report, to be raised.

    Tools that bring the official client catch its own type, which is not imported here for that.
    """
    official = sys.modules.get("qiskit_ibm_runtime.models.exceptions")
    return _error_type(getattr(official, "BackendPropertyError", QiskitError))(problem)


@cache
def _error_type(official: type[Exception]) -> type[CalibrationLookupError]:
    return type("BackendPropertyError", (CalibrationLookupError, official), {"__reduce__": _reduced})


def _reduced(error: CalibrationLookupError) -> tuple[Any, ...]:
    return _missing, (error.message,), vars(error)  # pickle finds no class that was made at run time
