"""Environments of other clients of the service, one for each, in which nothing else is installed.

Where a client is given what this package has fetched, what this package needs is there, too.

    python -m pip install uv
    python tests/clients/environments.py DIRECTORY [NAME ...]

makes those that DIRECTORY does not hold yet: all, or the named ones. The name of each follows from its
requirement and from the version of Python. The tests take the same directory from QRBACKENDS_CLIENTS.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


class Client(NamedTuple):
    """What a client is installed and imported as."""

    requirement: str
    module: str
    extras: tuple[str, ...] = ()  # of this package, which the client's script imports from the checkout


CLIENTS = {
    "runtime": Client("qiskit-ibm-runtime>=0.51", "qiskit_ibm_runtime"),
    # The first that takes the address of IAM from the environment.
    "runtime-oldest": Client("qiskit-ibm-runtime==0.49.0", "qiskit_ibm_runtime"),
    "qrmi": Client("qrmi>=0.26.4,<0.27", "qrmi"),  # `is_accessible()` is deprecated
    "qbraid": Client("qbraid[qiskit]>=0.13", "qbraid.runtime.ibm"),
    "mcp-server": Client("qiskit-ibm-runtime-mcp-server>=0.6.2", "qiskit_ibm_runtime_mcp_server.server"),
    "pennylane": Client("pennylane-qiskit>=0.45", "pennylane_qiskit", ("aer", "qiskit")),
}


def requirements_of(name: str) -> list[str]:
    """Return what is installed for a client."""
    client = CLIENTS[name]
    if not client.extras:
        return [client.requirement]
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in client.extras)]
    own = (one for listed in lists for one in listed if not one.startswith("qrbackends["))
    return [client.requirement, *own]


def environment_of(directory: Path, name: str) -> Path:
    """Return the path of a client's environment, which may be missing."""
    made_of = "\n".join([sys.version, *requirements_of(name)])
    return directory / f"{name}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"


def make(directory: Path, name: str) -> None:
    """Make a client's environment, unless it is there; one that cannot be finished leaves nothing behind."""
    finished, module = environment_of(directory, name), CLIENTS[name].module
    if finished.exists():
        return
    directory.mkdir(parents=True, exist_ok=True)
    begun = Path(tempfile.mkdtemp(prefix=f"{name}-", suffix=".begun", dir=directory))
    uv = [sys.executable, "-m", "uv", "--quiet", "--no-python-downloads"]
    install = [*uv, "pip", "install", "--only-binary", ":all:", "--python", str(begun)]
    try:
        subprocess.run([*uv, "venv", "--allow-existing", "--python", sys.executable, str(begun)], check=True)
        subprocess.run([*install, *requirements_of(name)], check=True)
        # It is proved to work, and its modules are compiled.
        subprocess.run([begun / "bin" / "python", "-I", "-c", f"import {module}"], check=True)
        begun.rename(finished)  # at once, as another process may be making the same one
    except OSError:
        if not finished.exists():
            raise
    finally:
        shutil.rmtree(begun, ignore_errors=True)


if __name__ == "__main__":
    for one in sys.argv[2:] or CLIENTS:
        make(Path(sys.argv[1]), one)
