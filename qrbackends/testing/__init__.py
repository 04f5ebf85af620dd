"""For tests of programs that use this package, and of stores that others write.

`StoreContract` and `LeasingStoreContract` are the tests that a `Store` of anybody has to pass. The emulator
with its faults and scenarios is here, too, and the fixtures that pytest has once this package is installed;
`docs/testing.md` and `docs/stores.md` show how to use them. It needs pytest, and knows nothing of the
command line, the web apps, `analysis` and `interop`. Start with `contract`.
"""

try:
    from ..pytest_plugin import (
        MovedClock,
        qrbackends_client,
        qrbackends_clock,
        qrbackends_emulator,
        qrbackends_fleet,
        qrbackends_scenario,
    )
except ModuleNotFoundError as error:
    if error.name != "pytest":
        raise
    raise ImportError(
        "qrbackends.testing is for tests that pytest runs: pip install pytest; "
        "without it, qrbackends.emulator has the emulator"
    ) from None

from .. import emulator
from ..emulator import *  # noqa: F403  # its `__all__` is the list
from .contract import LeasingStoreContract, StoreContract
from .fixtures import StoreClock

__all__ = [
    "LeasingStoreContract",
    "MovedClock",
    "StoreClock",
    "StoreContract",
    "qrbackends_client",
    "qrbackends_clock",
    "qrbackends_emulator",
    "qrbackends_fleet",
    "qrbackends_scenario",
]
__all__ += emulator.__all__
