"""`python -m benchmarks [NAME …] [--short] [--json FILE]`."""

import argparse
import json
import os
import platform
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .measure import Table

NAMES = (
    "archive", "chain", "decode", "fleet", "formats", "frames", "gateway", "herd", "hit", "lag", "poll",
    "region", "renew", "serve", "shared", "start", "status", "storm", "target", "year",
)  # fmt: skip


def main() -> None:
    """Run the benchmarks that are named, or all, and print their tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(NAMES)}")
    parser.add_argument("--short", action="store_true", help="few rounds, to show that they run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}")
    machine = described()
    print(", ".join(f"{name} {what}" for name, what in machine.items()))
    results: list[dict[str, Any]] = []
    for name in arguments.names or NAMES:
        for result in import_module(f"benchmarks.{name}").run(3 if arguments.short else 100):
            print(result, flush=True)
            results.append({"benchmark": name} | as_json(result))
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1))


def described() -> dict[str, str]:
    """Return what the figures depend on."""
    packages = {name: version(name) for name in ("aiohttp", "msgspec", "qiskit-ibm-runtime")}
    return {
        "CPython": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()),
    } | packages


def as_json(result: Table | str) -> dict[str, Any]:
    """Return a result as plain values."""
    if isinstance(result, str):
        return {"text": result}
    ratios = result.ratios()
    rows = {name: {**timing._asdict(), "ratio": ratios[name]} for name, timing in result.timings.items()}
    return {"title": result.title, "seconds": rows, "note": result.note}


if __name__ == "__main__":
    main()
