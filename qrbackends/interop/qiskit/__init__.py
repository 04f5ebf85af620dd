"""A backend in Qiskit's types: its transpiler target, a `BackendV2` for other tools, and its noise.

It needs Qiskit 2.3 or newer (extra `qiskit`), and for simulations qiskit-aer (extra `aer`); it does not need
the official client. Start with `converter`, which builds targets, or `local_backend`.
"""

from ...messages.extras import missing_extra

try:
    from .converter import to_target  # which needs `WrapAngles.DEFAULT_REGISTRY`, new in Qiskit 2.3
except (ImportError, AttributeError) as error:
    raise missing_extra("qrbackends.interop.qiskit needs Qiskit 2.3 or newer", "qiskit") from error

from .documents import QiskitConfiguration, QiskitProperties, QiskitStatus
from .fetching import target
from .local_backend import LocalBackend, backend, fetch_backend
from .noise import noise_model

__all__ = [
    "LocalBackend",
    "QiskitConfiguration",
    "QiskitProperties",
    "QiskitStatus",
    "backend",
    "fetch_backend",
    "noise_model",
    "target",
    "to_target",
]
