"""An asyncio-native client for the IBM Quantum (Qiskit Runtime) Backends API.

    from qrbackends import Client

    async with Client.from_account() as client:  # or Client(Account("an API key"))
        fleet = await client.backends()  # of all instances and regions
        print(fleet["ibm_boston"].queue_length)
        properties = await client.properties("ibm_boston")  # cached; accessors in SI units
        print(properties.t1(17), "s;", properties.gate_error("cz", (3, 4)))

What there is:
    Client: `help(Client)` tells its methods, and the arguments that many of them take.
    Account, Instance, InstanceSearch: credentials, and what they are used for.
    CachePolicy, Limits, RetryPolicy, SessionPool, Memory, FileStore, RedisStore: options of a client.
    BackendList of Backend, BackendConfiguration, BackendProperties, BackendStatus, BackendDefaults: what the
        service sends; `summary()` makes a BackendSummary of it.
    Request and Fetched: any question as a value, and its answer with age and source.
    Snapshot, History, Change, Monitor: all backends at once, and what happens over time.
    QRBackendsError: the base of all errors; `help(qrbackends.errors)` draws them.
    qrbackends.analysis: tables, plot, qubits, layout, scoring, comparison, archive.
    qrbackends.interop: qiskit and prometheus; qrbackends.web: FastAPI, Starlette, aiohttp.web.
    qrbackends.emulator: the whole service on this machine, for tests without an account.
    qrbackends.accounts: saving accounts; `qrbackends --help` in a shell: the command line.

A script that is not async keeps one event loop: `with asyncio.Runner() as runner: runner.run(…)`.

For those who read the source: users hold a `Client` (`client`, which `assembly` puts together) and get the
errors that `errors` draws. The folders below it, from the top down: `fleet`, `cache`, `service` (IBM's, as
one account reaches it), `transport`, `protocol`, `tasks`, `accounts`, `models`. Above it: `cli`, `web`,
`analysis`, `interop`. Each name is imported at its first use, so that `qrbackends --version` is quick, and so
that the command line can handle a Ctrl-C during the imports.
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
        ArchiveError,
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
        UnknownBackend,
        UnknownGate,
        UnknownQubit,
        WrongBackend,
        WrongEventLoop,
    )
    from .fleet.changes import Change
    from .fleet.filters import BackendFilter
    from .fleet.history import CalibrationList, Gap, History, Window
    from .fleet.keys import RankKey
    from .fleet.monitor import Monitor
    from .fleet.monitored import FleetView, InstanceFailure, MonitoredBackend, MonitorEvent
    from .fleet.snapshot import AnySnapshotItem, Snapshot, SnapshotItem
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
    from .service.instances import ServiceInstance
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
            "fleet.filters",
            "service.discovery",
            "service.versions",
            "fleet.snapshot",
            "fleet.history",
            "client",
        ),
        *("fleet.monitored", "fleet.monitor", "cache.stores.file", "cache.stores.redis"),
    )

    _ELSEWHERE = {  # names that are looked for here; `qrbackends` itself imports none of their modules
        "emulator": ("Emulator", "Scenario", "SyntheticFleet", "ThreadedEmulator", "running_account"),
        "analysis.tables": (
            "backend_rows",
            "backend_table",
            "gate_rows",
            "gate_table",
            "qubit_rows",
            "qubit_table",
        ),
        "analysis.plot": ("error_map", "fleet_plot", "history_plot"),
        "analysis.qubits": ("best_chain", "best_qubits"),
        "analysis.comparison": ("compare", "stability"),
        "analysis.archive": ("Archive",),
        "accounts": ("delete_account", "list_accounts", "save_account", "use_account"),
        "interop.qiskit": ("LocalBackend", "fetch_backend", "to_target"),
        "web": ("ClientDep", "api_app", "board_app", "client_ctx", "lifespan"),
    }

    def __getattr__(name):
        import sys
        from importlib import import_module

        if name in __all__:
            for home in _HOMES:
                module = import_module(f".{home}", __name__)
                if hasattr(module, name):
                    globals()[name] = getattr(module, name)
                    return globals()[name]
        for home, names in _ELSEWHERE.items():
            if name in names:
                home = f"{__name__}.{home}"
                hint = f"{name} is in {home}: from {home} import {name}"
                # `from qrbackends import …` would lose the text of an `AttributeError`; others need one, such
                # as `hasattr`, and pickle, which asks every module for a function without one.
                if sys._getframe(1).f_code.co_name == "_handle_fromlist":
                    raise ImportError(hint, name=__name__)
                raise AttributeError(hint, name=name, obj=sys.modules[__name__])
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message, name=name, obj=sys.modules[__name__])

    def __dir__():
        return __all__


__all__ = [
    "Account",
    "AccountError",
    "AnySnapshotItem",
    "ApiVersion",
    "ArchiveError",
    "Attempt",
    "AuthenticationFailed",
    "Backend",
    "BackendConfiguration",
    "BackendDefaults",
    "BackendFilter",
    "BackendList",
    "BackendProperties",
    "BackendStatus",
    "BackendSummary",
    "BadRequest",
    "BodyDamaged",
    "BodyTooLarge",
    "CachePolicy",
    "CacheStats",
    "CalibrationList",
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
    "RankKey",
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
    "UnknownBackend",
    "UnknownGate",
    "UnknownQubit",
    "Window",
    "WrongBackend",
    "WrongEventLoop",
    "__version__",
    "summary",
]
