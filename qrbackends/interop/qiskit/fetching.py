"""What a client fetches, in Qiskit's types."""

from datetime import datetime
from functools import partial
from typing import Any

import anyio.to_thread
from qiskit.transpiler import Target

from ...accounts.account import Instance
from ...client import Client
from ...errors import NotFound
from ...models import BackendProperties
from ...tasks.fanout import together
from .converter import to_target


async def target(
    client: Client,
    name: str,
    *,
    calibration_id: str | None = None,
    updated_before: datetime | None = None,
    instance: Instance | str | None = None,
    timeout: float | None = None,
    **options: Any,
) -> Target:
    """Fetch a backend's configuration and properties concurrently, and return its target.

    The target is built in a thread, as that takes some ten milliseconds for a large device. A device
    without properties, such as a simulator, has a target without errors and durations.

    Args:
        client: fetches the documents.
        name: the backend's name.
        calibration_id: the variant of both documents, such as `extra_gates`.
        updated_before: asks for the newest properties before this instant.
        instance: the instance to ask, or its CRN; by default the one that lists the backend.
        timeout: seconds for the requests; by default the client's limit.
        options: as for `to_target`.

    Raises:
        QRBackendsError: as `Client.configuration` and `Client.properties` do.
    """
    common: Any = {"calibration_id": calibration_id, "instance": instance, "timeout": timeout}

    async def calibrated() -> BackendProperties | None:
        try:
            return await client.properties(name, updated_before=updated_before, **common)
        except NotFound:  # a device that does not exist fails for its configuration
            return None

    configuration, properties = await together(client.configuration(name, **common), calibrated())
    build = partial(to_target, configuration, properties, **options)
    return await anyio.to_thread.run_sync(build, abandon_on_cancel=True)
