"""The official client's fake backend of each real snapshot, beside which ours are tested."""

import warnings
from collections.abc import Collection
from importlib import import_module
from typing import Any

from qrbackends.interop.qiskit import LocalBackend, backend

from ..snapshots import PROPERTIES, real

FIVE = ("lima", "kolkata", "brisbane", "torino", "boston")
"""Snapshots of 5, 27, 127, 133 and 156 qubits, whose two-qubit gates are cx, ecr and cz."""


def official(name: str) -> Any:
    """Return the official client's fake backend of a snapshot."""
    module = import_module(f"qiskit_ibm_runtime.fake_provider.backends.{name}.fake_{name}")
    (kind,) = [one for one in vars(module).values() if getattr(one, "__module__", "") == module.__name__]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one of them says that its values are not typical
        fake = kind()
    fake.props_filename = PROPERTIES[name].name  # one device has two
    return fake


def quiet_elsewhere(fake: Any, qubits: Collection[int]) -> Any:
    """Leave the noise of gates on other qubits out of a fake backend; its target keeps them.

    The official client models the noise of all gates, which takes 8 s for 156 qubits. A circuit on a few
    qubits meets none of the others'.
    """
    assert fake.target is not None  # made from all properties
    gates = [gate for gate in fake._props_dict["gates"] if set(gate["qubits"]).issubset(qubits)]
    fake._props_dict = {**fake._props_dict, "gates": gates}
    return fake


def ours(name: str, **options: Any) -> LocalBackend:
    """Return our backend of a snapshot."""
    return backend(*real(name), **options)
