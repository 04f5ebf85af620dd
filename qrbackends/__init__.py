"""An asyncio-native client for the IBM Quantum (Qiskit Runtime) Backends API.

Names are imported when they are first asked for, so that `qrbackends --version` is quick, and Ctrl-C during
the imports finds somebody who can handle it.
"""

from ._version import __version__

TYPE_CHECKING = False  # type checkers take it for true, as they do typing's own, which is slow to import
if TYPE_CHECKING:
    from .account import Account, Instance, InstanceSearch, Secret
    from .api import Request
    from .cache import Fetched
    from .changes import Change
    from .client import Client
    from .discovery import ServiceInstance
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
        WrongEventLoop,
    )
    from .file_store import FileStore
    from .history import Gap, History, Window
    from .memory import Memory
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
    from .monitor import Calibration, Failure, Known, Monitor, News
    from .policy import CachePolicy
    from .pool import Limits, SessionPool
    from .redis_store import RedisStore
    from .retry import RetryPolicy
    from .snapshot import Item, Snapshot
    from .stats import CacheStats, ClientStats, ResourceStats
    from .store import Store, StoreStats
    from .traffic import RegionStats
else:
    _HOMES = (  # those that import little first
        *(
            "errors",
            "account",
            "models",
            "api",
            "memory",
            "policy",
            "retry",
            "pool",
            "store",
            "stats",
            "traffic",
            "cache",
        ),
        *("changes", "discovery", "snapshot", "history", "client", "monitor", "file_store", "redis_store"),
    )

    def __getattr__(name):
        from importlib import import_module

        if name in __all__:
            for home in _HOMES:
                module = import_module(f".{home}", __name__)
                if hasattr(module, name):
                    globals()[name] = getattr(module, name)
                    return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return __all__


__all__ = [
    "Account",
    "AccountError",
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
    "Calibration",
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
    "Failure",
    "Fetched",
    "FileStore",
    "Forbidden",
    "Gap",
    "HeldBack",
    "History",
    "Instance",
    "InstanceSearch",
    "InstanceUnavailable",
    "InvalidRequest",
    "Item",
    "Known",
    "Limits",
    "Locked",
    "Memory",
    "Monitor",
    "News",
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
    "Store",
    "StoreStats",
    "TLSError",
    "Timeout",
    "TransportError",
    "Unauthorized",
    "UnknownGate",
    "UnknownQubit",
    "Window",
    "WrongEventLoop",
    "__version__",
    "summary",
]
