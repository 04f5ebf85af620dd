"""Decoding the largest real properties: ours, the official client's, and plain `json.loads`."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from qrbackends import BackendProperties, Request
from qrbackends.api import parse

from .measure import alternate, table


def largest_properties() -> bytes:
    """Return the largest calibration in the official client's wheel."""
    spec = find_spec("qiskit_ibm_runtime")
    if spec is None or spec.origin is None:
        raise SystemExit("the benchmarks need qiskit-ibm-runtime: pip install 'qrbackends[bench]'")
    files = Path(spec.origin).parent.glob("fake_provider/backends/*/props_*.json")
    return max(files, key=lambda file: file.stat().st_size).read_bytes()


def run(rounds: int) -> str:
    """Measure, and return the table."""
    from qiskit_ibm_runtime.models import BackendProperties as Official

    body = largest_properties()
    request = Request("properties", "any")

    def ours() -> BackendProperties:
        properties: BackendProperties = parse(request, 200, {}, body)
        return properties

    def official() -> Any:
        return Official.from_dict(json.loads(body))

    mine, theirs = ours(), official()
    assert all(mine.readout_error(q) == theirs.readout_error(q) for q in range(len(mine.qubits)))
    contestants = {"qrbackends": ours, "official client": official, "json.loads": lambda: json.loads(body)}
    return table(f"decode: properties of {len(body)} bytes", alternate(contestants, rounds), "qrbackends")
