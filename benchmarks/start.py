"""What an import costs, each in a process of its own."""

import subprocess
import sys
import time

from .measure import Table, summarized

PROGRAMS = {
    "from qrbackends import Client": "from qrbackends import Client",
    "import qrbackends": "import qrbackends",
    "import aiohttp": "import aiohttp",
    "official client": "from qiskit_ibm_runtime import QiskitRuntimeService",
    "qrbackends --version": None,
}
TIMED = "import time; began = time.perf_counter(); {}; print(time.perf_counter() - began)"


def once(program: str | None) -> float:
    """Return the seconds that it took."""
    if program is None:
        began = time.perf_counter()
        command = [sys.executable, "-m", "qrbackends", "--version"]
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - began
    command = [sys.executable, "-c", TIMED.format(program)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def run(rounds: int) -> list[Table]:
    """Measure, and return the table."""
    seconds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(min(rounds, 15)):
        for name, program in PROGRAMS.items():
            seconds[name].append(once(program))
    return [Table("start: imports", {name: summarized(found) for name, found in seconds.items()})]
