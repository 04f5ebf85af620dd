"""qiskit-ibm-runtime, given the address of a gateway: the list, and each backend's documents."""

import json
import sys
from typing import Any

from qiskit_ibm_runtime import QiskitRuntimeService


def resolve(*_: Any) -> str:
    """Return the address of the gateway, which is that of every region."""
    return sys.argv[1]


service = QiskitRuntimeService(url_resolver=resolve)
backends = service.backends()
found = {
    "names": sorted(one.name for one in backends),
    "qubits": {one.name: one.num_qubits for one in backends},
    "calibrated": {one.name: str(one.properties().last_update_date) for one in backends},
    "statuses": {one.name: one.status().operational for one in backends},
    "targets": {one.name: len(one.target.operation_names) for one in backends[:3]},
    "least_busy": service.least_busy().name,
}
json.dump(found, sys.stdout)
