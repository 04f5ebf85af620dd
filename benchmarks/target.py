"""From nothing to a transpiler target of 156 qubits: ours from cached structs, and the official client."""

import statistics
import subprocess
import sys
from pathlib import Path

from .measure import Table, Timing, summarized

DEVICE = "boston"
OURS = """
import sys, time
began = time.perf_counter()
from qrbackends import BackendConfiguration, BackendProperties
import msgspec
conf, props = (open(path, "rb").read() for path in sys.argv[1:])
decoding = time.perf_counter()
conf = msgspec.json.decode(conf, type=BackendConfiguration)
props = msgspec.json.decode(props, type=BackendProperties)
decoded = time.perf_counter()
from qrbackends.interop.qiskit import to_target
imported = time.perf_counter()
target = to_target(conf, props)
ended = time.perf_counter()
print(imported - decoded, ended - imported, len(target.instructions))
"""
OFFICIAL = """
import sys, time
conf, props = (open(path, "rb").read() for path in sys.argv[1:])
began = time.perf_counter()
import json
from qiskit_ibm_runtime.models import BackendConfiguration, BackendProperties
from qiskit_ibm_runtime.utils.backend_converter import convert_to_target
imported = time.perf_counter()
target = convert_to_target(
    BackendConfiguration.from_dict(json.loads(conf)), BackendProperties.from_dict(json.loads(props))
)
ended = time.perf_counter()
print(imported - began, ended - imported, len(target.instructions))
"""
QISKIT = """
import time
began = time.perf_counter()
import qiskit
print(time.perf_counter() - began, 0.0, 0)
"""


def files() -> list[str]:
    """Return the device's configuration and properties in the official client's wheel."""
    from importlib.util import find_spec

    spec = find_spec("qiskit_ibm_runtime")
    if spec is None or spec.origin is None:
        raise SystemExit("the benchmarks need qiskit-ibm-runtime: pip install 'qrbackends[bench]'")
    folder = Path(spec.origin).parent / "fake_provider/backends" / DEVICE
    return [str(folder / f"{kind}_{DEVICE}.json") for kind in ("conf", "props")]


def once(code: str, paths: list[str]) -> tuple[float, float, int]:
    """Run in a process of its own; return the seconds of importing and building, and how much was built."""
    command = [sys.executable, "-c", code, *paths]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(output[0]), float(output[1]), int(output[2])


def run(rounds: int) -> list[Table]:
    """Measure, and return the table."""
    paths = files()
    codes = {"qrbackends": OURS, "official client": OFFICIAL, "import qiskit alone": QISKIT}
    found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in codes}
    for _ in range(min(rounds, 7)):
        for name, code in codes.items():
            found[name].append(once(code, paths))
    assert found["qrbackends"][0][2] == found["official client"][0][2], "both build the same"
    timings: dict[str, Timing] = {}
    for name, runs in found.items():
        timings[name] = summarized([importing + building for importing, building, _ in runs])
    for name in ("qrbackends", "official client"):
        timings[f"{name}, building only"] = summarized([building for _, building, _ in found[name]])
    share = statistics.median(importing for importing, _, _ in found["qrbackends"])
    where = f"of ours, importing Qiskit takes {share / timings['qrbackends'].median:.0%}"
    return [Table(f"target: ibm_{DEVICE}, imported and built", timings, where)]
