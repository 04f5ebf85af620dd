"""The real configurations and properties out of the installed qiskit-ibm-runtime wheel."""

import functools
import importlib.util
import json
from pathlib import Path
from typing import Any, Literal

Kind = Literal["conf", "props"]

SCHEMA: dict[Kind, str] = {"conf": "BackendConfigurationResponse", "props": "BackendPropertiesResponse"}


@functools.cache
def paths(kind: Kind) -> dict[str, Path]:
    """Return the files of a kind by their names."""
    # The package is found and not imported: importing it takes seconds and all of qiskit.
    spec = importlib.util.find_spec("qiskit_ibm_runtime")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent / "fake_provider" / "backends"
    return {path.stem: path for path in sorted(root.glob(f"*/{kind}_*.json"))}


@functools.cache
def documents(kind: Kind) -> dict[str, Any]:
    """Return the parsed documents of a kind by their files' names. Not to be changed."""
    return {name: json.loads(path.read_bytes()) for name, path in paths(kind).items()}
