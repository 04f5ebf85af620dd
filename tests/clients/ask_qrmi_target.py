"""QRMI: what needs no job, which is the list, the least busy resource, and its target."""

import json
import os
import sys

import qrmi

settings = {name: value for name, value in os.environ.items() if name.startswith("QRMI_IBM_QCS_")}
provider = qrmi.ResourceProvider(qrmi.ResourceType.IBMQuantumComputeService, settings)

least_busy = provider.least_busy("status=online")
target = json.loads(least_busy.target().value)
found = {
    "all": [one.resource_id() for one in provider.resources(None)],
    "accessible": {one.resource_id(): one.is_accessible() for one in provider.resources()},
    "target": target["configuration"]["backend_name"],
    "calibrated_qubits": len(target["properties"]["qubits"]),
}
json.dump(found, sys.stdout)
