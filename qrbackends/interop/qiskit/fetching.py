"""What a client fetches of a backend, and the target that is built from it."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar, Unpack

import anyio.to_thread
from qiskit.transpiler import Target

from ...accounts.account import Instance
from ...client import Client
from ...errors import NotFound
from ...models import ABackend, BackendConfiguration, BackendProperties, BackendStatus
from ...tasks.fanout import together
from .converter import TargetOptions, to_target
from .fractional import check_choice

T = TypeVar("T")


class Documents(NamedTuple):
    """What is known of a backend.

    Attributes:
        configuration: the configuration.
        properties: the properties, or None.
        status: the status, or None.
    """

    configuration: BackendConfiguration
    properties: BackendProperties | None = None
    status: BackendStatus | None = None


async def target(
    client: Client,
    backend: ABackend,
    *,
    calibration_id: str | None = None,
    updated_before: datetime | None = None,
    instance: Instance | str | None = None,
    timeout: float | None = None,
    **options: Unpack[TargetOptions],
) -> Target:
    """Fetch a backend's configuration and properties concurrently, and return its target.

    The target is built in a thread, as that takes some ten milliseconds for a large device. A device
    without properties, such as a simulator, has a target without errors and durations.

    Args:
        client: fetches the documents.
        backend: the backend's name, or its entry in the list.
        calibration_id: the variant of both documents, such as `extra_gates`.
        updated_before: asks for the newest properties before this instant.
        instance: the instance to ask, or its CRN; by default the one that lists the backend.
        timeout: seconds for the requests; by default the client's limit.
        options: as for `to_target`.

    Raises:
        InvalidRequest: two options contradict each other; nothing was sent.
        QRBackendsError: as `to_target`, `Client.configuration` and `Client.properties` do.
    """
    check_choice(options.get("use_fractional_gates"), options.get("include_fractional_gates"))
    known = await fetched(client, backend, calibration_id, updated_before, instance=instance, timeout=timeout)
    return await built(known, options)


async def fetched(
    client: Client,
    backend: ABackend,
    calibration_id: str | None = None,
    updated_before: datetime | None = None,
    *,
    with_status: bool = False,
    **common: Any,
) -> Documents:
    """Fetch the documents of a backend concurrently; without properties or a status, they are None."""
    variant = {"calibration_id": calibration_id, **common}
    properties = partial(client.properties, backend, updated_before=updated_before, **variant)
    # A device that does not exist fails for its configuration.
    asked: list[Any] = [client.configuration(backend, **variant), _or_none(properties)]
    if with_status:
        asked.append(_or_none(partial(client.status, backend, **common)))
    return Documents(*await together(*asked))


async def built(known: Documents, options: TargetOptions) -> Target:
    """Return the target of a backend, built in a thread."""
    build = partial(to_target, known.configuration, known.properties, **options)
    return await anyio.to_thread.run_sync(build, abandon_on_cancel=True)


async def _or_none(ask: Callable[[], Awaitable[T]]) -> T | None:
    """Return the answer to a question, or None if there is no such thing."""
    try:
        return await ask()
    except NotFound:
        return None
