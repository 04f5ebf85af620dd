"""An asyncio-native client for the IBM Quantum (Qiskit Runtime) Backends API.

Users hold a `Client` (`client`, which `assembly` puts together) and get the errors that `errors` draws. The
folders below it, from the top down: `fleet`, `cache`, `service` (IBM's, as one account reaches it),
`transport`, `protocol`, `tasks`, `accounts`, `models`. Above it: `cli`, `web`, `analysis`, `interop`.

Each name is imported at its first use, so that `qrbackends --version` is quick, and so that the command line
can handle a Ctrl-C during the imports.
"""

from ._version import __version__

TYPE_CHECKING = False  # type checkers read it as true; the one of `typing` is slow to import
if TYPE_CHECKING:
    from .accounts.account import Account, Instance, InstanceSearch
    from .accounts.secret import Secret
    from .cache.entry import Fetched
    from .cache.memory import Memory
    from .cache.policy import CachePolicy
    from .cache.stats import CacheStats, ClientStats, ResourceStats
    from .cache.stores.base import LeasingStore, Store
    from .cache.stores.file import FileStore
    from .cache.stores.redis import RedisStore
    from .cache.stores.sealed import StoreStats
    from .client import Client
    from .errors import (
        AccountError,
        Attempt,
        AuthenticationFailed,
        BadRequest,
        BodyDamaged,
        BodyTooLarge,
        CalibrationLookupError,
        CircuitOpen,
        ClientClosed,
        Conflict,
        ConnectError,
        ConnectionLost,
        ConnectTimeout,
        DecodeError,
        Forbidden,
        HeldBack,
        InstanceUnavailable,
        InvalidRequest,
        Locked,
        NotFound,
        QRBackendsError,
        RateLimited,
        ReadTimeout,
        RedirectRefused,
        ResponseError,
        ServerError,
        ServiceUnavailable,
        Timeout,
        TLSError,
        TransportError,
        Unauthorized,
        UnknownGate,
        UnknownQubit,
        WrongBackend,
        WrongEventLoop,
    )
    from .fleet.changes import Change
    from .fleet.history import Gap, History, Window
    from .fleet.monitor import Monitor
    from .fleet.monitored import FleetView, InstanceFailure, MonitoredBackend, MonitorEvent
    from .fleet.snapshot import Snapshot, SnapshotItem
    from .models import (
        Backend,
        BackendConfiguration,
        BackendDefaults,
        BackendList,
        BackendProperties,
        BackendStatus,
        BackendSummary,
        summary,
    )
    from .protocol.requests import Request
    from .service.discovery import ServiceInstance
    from .service.versions import ApiVersion
    from .transport.limits import Limits
    from .transport.pool import SessionPool
    from .transport.retry import RetryPolicy
    from .transport.traffic import RegionStats
else:
    _HOMES = (  # the modules with public names; those that import few modules come first
        *(
            "errors",
            "accounts.secret",
            "accounts.account",
            "models",
            "protocol.requests",
            "cache.memory",
            "cache.policy",
        ),
        *(
            "transport.retry",
            "transport.pool",
            "transport.traffic",
            "cache.stores.base",
            "cache.stores.sealed",
            "cache.stats",
        ),
        *(
            "cache.entry",
            "fleet.changes",
            "service.discovery",
            "service.versions",
            "fleet.snapshot",
            "fleet.history",
            "client",
        ),
        *("fleet.monitored", "fleet.monitor", "cache.stores.file", "cache.stores.redis"),
    )

    def __getattr__(name):
        import sys
        from importlib import import_module

        if name in __all__:
            for home in _HOMES:
                module = import_module(f".{home}", __name__)
                if hasattr(module, name):
                    globals()[name] = getattr(module, name)
                    return globals()[name]
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message, name=name, obj=sys.modules[__name__])

    def __dir__():
        return __all__


__all__ = [
    "Account",
    "AccountError",
    "ApiVersion",
    "Attempt",
    "AuthenticationFailed",
    "Backend",
    "BackendConfiguration",
    "BackendDefaults",
    "BackendList",
    "BackendProperties",
    "BackendStatus",
    "BackendSummary",
    "BadRequest",
    "BodyDamaged",
    "BodyTooLarge",
    "CachePolicy",
    "CacheStats",
    "CalibrationLookupError",
    "Change",
    "CircuitOpen",
    "Client",
    "ClientClosed",
    "ClientStats",
    "Conflict",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionLost",
    "DecodeError",
    "Fetched",
    "FileStore",
    "FleetView",
    "Forbidden",
    "Gap",
    "HeldBack",
    "History",
    "Instance",
    "InstanceFailure",
    "InstanceSearch",
    "InstanceUnavailable",
    "InvalidRequest",
    "LeasingStore",
    "Limits",
    "Locked",
    "Memory",
    "Monitor",
    "MonitorEvent",
    "MonitoredBackend",
    "NotFound",
    "QRBackendsError",
    "RateLimited",
    "ReadTimeout",
    "RedirectRefused",
    "RedisStore",
    "RegionStats",
    "Request",
    "ResourceStats",
    "ResponseError",
    "RetryPolicy",
    "Secret",
    "ServerError",
    "ServiceInstance",
    "ServiceUnavailable",
    "SessionPool",
    "Snapshot",
    "SnapshotItem",
    "Store",
    "StoreStats",
    "TLSError",
    "Timeout",
    "TransportError",
    "Unauthorized",
    "UnknownGate",
    "UnknownQubit",
    "Window",
    "WrongBackend",
    "WrongEventLoop",
    "__version__",
    "summary",
]
