"""Which entries of the documents fit their gate and their device, for the transpiler's target. No Qiskit."""

import logging
from collections.abc import Mapping
from typing import Any, TypeAlias

from ...errors import DecodeError
from ...messages.counts import counted
from ...models import BackendConfiguration, BackendProperties, GateConfig, GateProperties

logger = logging.getLogger("qrbackends.qiskit")

Qubits: TypeAlias = tuple[int, ...]


class Fitting:
    """Tells which entries of a gate fit the gate and the device, and counts the others.

    Args:
        operations: Qiskit's instruction for each name.
        configuration: the configuration of the device.
    """

    def __init__(self, operations: Mapping[str, Any], configuration: BackendConfiguration) -> None:
        self._operations = operations
        self._configuration = configuration
        self._numbers = configuration.qubit_numbers
        self._left_out: dict[str, list[Any]] = {}

    def fits(self, name: str, on: Qubits) -> bool:
        """Return whether a gate can be on these qubits; if not, count the entry as left out."""
        operation = self._operations[name]
        width = len(on) if isinstance(operation, type) else operation.num_qubits
        # With qubits that do not exist, Qiskit would enlarge the target.
        if width == len(on) == len(set(on)) and all(qubit in self._numbers for qubit in on):
            return True
        self._left_out.setdefault(name, []).append(on)
        return False

    def coupled(self, gate: GateConfig | None) -> dict[Qubits, None] | None:
        """Return where the configuration has a gate; None if it does not say."""
        if gate is None or not gate.coupling_map:
            return None
        found: dict[Qubits, None] = {on: None for on in gate.coupling_map if self.fits(gate.name, on)}
        return found or (None if self._configuration.simulator else {})

    def calibrated(self, properties: BackendProperties) -> dict[tuple[str, Qubits], GateProperties]:
        """Return the calibrated entries that fit, the last one for each gate and qubits."""
        found: dict[tuple[str, Qubits], GateProperties] = {}
        for gate in properties.gates:
            if gate.gate not in self._operations:
                continue
            try:
                on = gate.on
            except DecodeError:
                self._left_out.setdefault(gate.gate, []).append(gate.qubits)
                continue
            if self.fits(gate.gate, on):
                found[gate.gate, on] = gate
        return found

    def log(self) -> None:
        """Log what was left out, a line for each gate."""
        for name, entries in self._left_out.items():
            logger.warning(
                "the target of %.80r lacks %.80r on %s of qubits that do not fit it, such as %.80s",
                self._configuration.backend_name,
                name,
                counted(len(entries), "set"),
                entries[0],
            )
