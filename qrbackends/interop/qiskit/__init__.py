"""A backend in Qiskit's types: its transpiler target, and a read-only `BackendV2` with that target.

It needs Qiskit 2.3 or newer (`pip install "qrbackends[qiskit]"`), and not the official client.
Start with `converter`, which builds targets.
"""

try:
    from qiskit.transpiler.passes import WrapAngles

    WrapAngles.DEFAULT_REGISTRY  # noqa: B018  # new in Qiskit 2.3
except (ImportError, AttributeError) as error:
    raise ImportError(
        'qrbackends.interop.qiskit needs Qiskit 2.3 or newer: pip install "qrbackends[qiskit]"'
    ) from error

from .converter import to_target
from .fetching import target
from .local_backend import ReadOnlyBackend, backend

__all__ = ["ReadOnlyBackend", "backend", "target", "to_target"]
