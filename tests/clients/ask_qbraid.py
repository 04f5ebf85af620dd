"""qBraid's provider of IBM's devices: the status and the queue of each, and the least busy one."""

import json
import os
import sys
from importlib.metadata import version

from qbraid.runtime.ibm import QiskitRuntimeProvider

# It passes the key on, and so the official client does not read QISKIT_IBM_URL itself.
provider = QiskitRuntimeProvider(url=os.environ["QISKIT_IBM_URL"])
devices = provider.get_devices(operational=True) + provider.get_devices(operational=False)
found = {
    "version": version("qbraid"),
    "status": {one.id: one.status().name for one in devices},
    "queue": {one.id: one.queue_depth() for one in devices},
    "qubits": {one.id: one.num_qubits for one in devices},
    "least_busy": provider.least_busy().id,
    "basis_gates": sorted(provider.get_device(sys.argv[1]).metadata()["basis_gates"]),
}
json.dump(found, sys.stdout)
