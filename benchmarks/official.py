"""The official client, pointed at an emulated service."""

import logging
import os
from typing import Any

from .service import Service


def make(service: Service) -> Any:
    """Return a `QiskitRuntimeService` over all regions."""
    from qiskit_ibm_runtime import QiskitRuntimeService

    logging.getLogger("qiskit_ibm_runtime").disabled = True
    os.environ |= {
        "IAM_URL": service.iam_url,
        "GLOBAL_SEARCH_URL": service.search_url,
        "GLOBAL_CATALOG_URL": service.catalog_url,
    }

    def resolve(url: str, instance: str | None, *args: Any, **kwargs: Any) -> str:
        return service.urls[instance.split(":")[5] if instance else next(iter(service.urls))]

    return QiskitRuntimeService(
        channel="ibm_quantum_platform", token=service.api_key, instance="auto", url_resolver=resolve
    )
