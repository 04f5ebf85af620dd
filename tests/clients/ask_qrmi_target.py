"""QRMI: what needs no job: the list, the least busy resource, and its target, by all ways of `gateway.md`."""

import json
import os
import re
import sys
from pathlib import Path

import qrmi

PAGE = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text(encoding="utf-8")
KIND = qrmi.ResourceType.IBMQuantumComputeService

settings = {name: value for name, value in os.environ.items() if name.startswith("QRMI_IBM_QCS_")}
provider = qrmi.ResourceProvider(KIND, settings)
least_busy = provider.least_busy("status=online")
name = least_busy.resource_id()

configured = json.loads(re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[0])
(resource,) = configured["resources"]
exported = re.findall(rf"^export {resource['name']}_(\w+)=", PAGE, re.MULTILINE)
assert set(resource["environment"]) == set(exported) == set(settings)
resource |= {"name": name, "environment": settings}
Path("qrmi_config.json").write_text(json.dumps(configured), encoding="utf-8")
given = qrmi.Config.load("qrmi_config.json").resource_map[name]
os.environ |= {f"{name}_{variable}": settings[variable] for variable in exported}

target = json.loads(least_busy.target().value)
for other in (
    qrmi.QuantumResource.from_config(name, given.resource_type, given.environment),
    qrmi.QuantumResource(name, KIND),
):
    assert json.loads(other.target().value) == target
found = {
    "all": [one.resource_id() for one in provider.resources(None)],
    "accessible": {one.resource_id(): one.is_accessible() for one in provider.resources()},
    "target": target["configuration"]["backend_name"],
    "calibrated_qubits": len(target["properties"]["qubits"]),
}
json.dump(found, sys.stdout)
