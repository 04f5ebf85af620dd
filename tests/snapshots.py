"""The real snapshots in the official client's wheel, decoded."""

from functools import cache

import msgspec

from qrbackends import BackendConfiguration, BackendProperties

from .contract.snapshots import paths

CONFIGURATIONS = {path.parent.name: path for path in paths("conf").values()}
PROPERTIES = {path.parent.name: path for path in paths("props").values()}
BOTH = sorted(CONFIGURATIONS.keys() & PROPERTIES.keys())


@cache
def real(name: str) -> tuple[BackendConfiguration, BackendProperties]:
    """Return both documents of a real snapshot."""
    return (
        msgspec.json.decode(CONFIGURATIONS[name].read_bytes(), type=BackendConfiguration),
        msgspec.json.decode(PROPERTIES[name].read_bytes(), type=BackendProperties),
    )
