"""The best line of qubits: ours, and the best of 100,000 lines drawn at random."""

import math
import random
import time
from importlib.util import find_spec
from pathlib import Path

import msgspec

from qrbackends import BackendConfiguration, BackendProperties
from qrbackends.analysis.qubits import _Device, best_chain

DEVICES = ("boston", "brisbane", "torino", "washington")
TRIES = 100_000


def documents(device: str) -> tuple[BackendConfiguration, BackendProperties]:
    """Return a real snapshot of the official client's wheel."""
    spec = find_spec("qiskit_ibm_runtime")
    if spec is None or spec.origin is None:
        raise SystemExit("the benchmarks need qiskit-ibm-runtime: pip install 'qrbackends[bench]'")
    folder = Path(spec.origin).parent / "fake_provider/backends" / device
    conf, props = (next(folder.glob(f"{kind}_*.json")).read_bytes() for kind in ("conf", "props"))
    return (
        msgspec.json.decode(conf, type=BackendConfiguration),
        msgspec.json.decode(props, type=BackendProperties),
    )


def at_random(device: _Device, n: int, tries: int) -> float:
    """Return the least expected error of lines that go on at random until they are long enough or stuck."""
    draw, starts, best = random.Random(7), list(device.qubits), math.inf
    for _ in range(tries):
        line = [draw.choice(starts)]
        cost = device.qubits[line[0]]
        while len(line) < n:
            ahead = [one for one in device.couplings[line[-1]] if one not in line]
            if not ahead:
                break
            one = draw.choice(ahead)
            cost += device.couplings[line[-1]][one] + device.qubits[one]
            line.append(one)
        if len(line) == n:
            best = min(best, cost)
    return -math.expm1(-best)


def run(rounds: int) -> list[str]:
    """Measure, and return the table."""
    tries = TRIES if rounds > 10 else 1_000
    lines = [f"chain: expected error of the best line found, and of {tries} at random"]
    for name in DEVICES:
        configuration, properties = documents(name)
        for n in (10, 20, 50):
            began = time.perf_counter()
            found = best_chain(configuration, properties, n)
            seconds = time.perf_counter() - began
            other = at_random(_Device(configuration, properties, n), n, tries)
            assert found.expected_error <= other + 1e-12
            ours = f"{found.expected_error:.4f} in {seconds:.2f} s"
            ratio = f"at random {other:.4f}   {found.expected_error / other:.3f} of it"
            lines.append(f"  {configuration.backend_name:<18} {n:3} qubits   {ours}   {ratio}")
    return ["\n".join(lines)]
