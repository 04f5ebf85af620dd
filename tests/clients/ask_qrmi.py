"""QRMI, which is written in Rust: the resources of an instance, and the target of the least busy one."""

import json
import os
import sys
from importlib.metadata import version

import qrmi

settings = {name: value for name, value in os.environ.items() if name.startswith("QRMI_IBM_QCS_")}
provider = qrmi.ResourceProvider(qrmi.ResourceType.IBMQuantumComputeService, settings)


def names(filters: str | None = None) -> list[str]:
    """Return the names of the resources that match, the least busy one first."""
    return [one.resource_id() for one in provider.resources(filters)]


# As a job of Slurm's gets it: one device, whose variables alone are there.
for name in settings:
    del os.environ[name]
resource = qrmi.QuantumResource("ibm_boston", qrmi.ResourceType.IBMQuantumComputeService)

least_busy = provider.least_busy("status=online")
target = json.loads(least_busy.target().value)
found = {
    "version": version("qrmi"),
    "all": names(),
    "filtered": {filters: names(filters) for filters in sys.argv[1:]},
    "accessible": {one.resource_id(): one.is_accessible() for one in provider.resources()},
    "status": {one.resource_id(): one.status().to_dict() for one in provider.resources()},
    "resource": json.loads(resource.target().value)["configuration"]["backend_name"],
    "resource_status": resource.status().to_dict(),
    "least_busy": least_busy.resource_id(),
    "target": {
        "name": target["configuration"]["backend_name"],
        "basis_gates": target["configuration"]["basis_gates"],
        "calibrated_qubits": len(target["properties"]["qubits"]),
    },
}
json.dump(found, sys.stdout)
