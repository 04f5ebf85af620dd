"""qiskit-ibm-runtime: all backends, the least busy one, one in detail, and the usage of an instance."""

import json
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

from qiskit_ibm_runtime import QiskitRuntimeService


def about(backend: Any) -> dict[str, Any]:
    """Return what is known of a backend now, and what was known of it three days ago."""
    backend.refresh()
    properties, status = backend.properties(), backend.status()
    past = datetime.now(UTC) - timedelta(days=3)
    return {
        "qubits": backend.num_qubits,
        "operations": sorted(backend.target.operation_names),
        "t1": properties.t1(0),
        "t1_then": backend.properties(datetime=past).t1(0),
        "t1_of_target_then": backend.target_history(datetime=past).qubit_properties[0].t1,
        "status": [status.operational, status.status_msg, status.pending_jobs],
    }


service = QiskitRuntimeService()
backends = service.backends()
found = {
    "version": version("qiskit-ibm-runtime"),
    "instances": [one["name"] for one in service.instances()],
    "backends": sorted(one.name for one in backends),
    "physical_qubits": {one.name: one.physical_qubits for one in backends},
    "status": {one.name: [one.status().operational, one.status().status_msg] for one in backends},
    "least_busy": service.least_busy().name,
    "least_busy_of_many_qubits": service.least_busy(min_num_qubits=150).name,
    "fractional": "rzz" in service.backend(sys.argv[1], use_fractional_gates=True).basis_gates,
    "about": about(service.backend(sys.argv[2])),
    "usage": service.usage(),
}
json.dump(found, sys.stdout)
