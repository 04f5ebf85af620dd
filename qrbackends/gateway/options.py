"""How a gateway answers."""

from dataclasses import dataclass
from typing import Final

STATUS_AGE: Final = 5.0
"""Seconds for which a list is the answer to the status of its backends by default."""


@dataclass(frozen=True, slots=True)
class CloudAddresses:
    """Where IAM, Global Search and Global Catalog are, for callers whose own credential is passed on."""

    iam: str
    search: str
    catalog: str


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """How a gateway answers.

    Args:
        status_age: seconds for which a list is the answer to the status of its backends, as one list answers
            for all of them; 0 asks the service for each status.
        warm: the backends, or globs such as `ibm_*`, whose documents are kept fresh ahead of time; for a
            gateway with an account of its own.
        pass_through: whether requests for anything but the Backends API, such as jobs, are passed on.
        hosts: the names that are allowed as Host beside addresses and `localhost`.
    """

    status_age: float = STATUS_AGE
    warm: tuple[str, ...] = ()
    pass_through: bool = False
    hosts: tuple[str, ...] = ()
