"""All that is public, as a program with strict type checks uses it; `test_types` has it checked."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import assert_type

import qrbackends as qr
from qrbackends.accounts import SavedAccount, delete_account, list_accounts, save_account, use_account
from qrbackends.analysis.archive import Archive, Holding, Synced
from qrbackends.analysis.comparison import Comparison, Stabilities, compare, stability
from qrbackends.analysis.layout import coordinates
from qrbackends.analysis.plot import error_map, fleet_plot, history_plot
from qrbackends.analysis.qubits import Choice, best_chain, best_qubits
from qrbackends.analysis.tables import (
    BackendRow,
    GateRow,
    QubitRow,
    backend_rows,
    backend_table,
    gate_rows,
    gate_table,
    qubit_rows,
    qubit_table,
)
from qrbackends.emulator import Emulator, Status, ThreadedEmulator
from qrbackends.interop.prometheus import Collector
from qrbackends.interop.qiskit import backend, target, to_target
from qrbackends.web import ClientDep, MsgspecResponse, api_app, board_app, exception_handlers, lifespan


async def documents(client: qr.Client, one: qr.Backend) -> qr.BackendSummary:
    """Every document, by name and by entry, as a call and as a request."""
    configuration = await client.configuration(one, calibration_id="extra_gates", timeout=5)
    properties = await client.properties("ibm_boston", instance="lab", refresh=True)
    status, defaults = await client.status(one), await client.defaults(one)
    assert_type(await client.fetch(qr.Request.configuration(one)), qr.Fetched[qr.BackendConfiguration])
    assert_type(await client.fetch(qr.Request.properties("x")), qr.Fetched[qr.BackendProperties])
    assert_type((await client.fetch(qr.Request.status("x"))).value, qr.BackendStatus)
    assert_type((await client.fetch(qr.Request.defaults("x"))).value, qr.BackendDefaults)
    assert_type((await client.fetch(qr.Request.backends())).value, qr.BackendList)
    fetched = await client.fetch(qr.Request("status", one), max_age=5)
    assert_type(properties.t1(17), float | None)
    print(
        fetched.source, fetched.age, status.operational, dict(defaults), properties.gate_error("cz", (3, 4))
    )
    await client.invalidate(backend=one, resource="properties")
    return qr.summary(configuration, properties, status, listed=one)


async def fleets(client: qr.Client) -> None:
    """All backends at once."""
    fleet = await client.backends(fields=["wait_time_seconds"], include_mocks=True)
    assert_type(fleet["ibm_boston"], qr.Backend)
    assert_type(fleet[:2], tuple[qr.Backend, ...])
    assert_type(fleet.unique(), qr.BackendList)
    print("ibm_boston" in fleet, fleet[0] in fleet, fleet.errors, fleet.instances_of("ibm_boston"))
    best = await client.least_busy(min_qubits=100, where=lambda one: one.online)
    key: qr.RankKey = "two_qubit_error"
    good = qr.BackendFilter(name="ibm_*", max_two_qubit_error=3e-3)
    ranked = await client.rank(key, where=good) or await client.rank(lambda one: one.queue_length)
    snapshot = client.snapshot(["status", "properties"])
    assert_type(snapshot, qr.Snapshot)
    async for item in snapshot:
        if item.error is not None or item.value is None:
            print(item.backend.name, item.error)
        elif item.resource == "properties":
            assert_type(item.value, qr.BackendProperties)
        elif item.resource == "status":
            assert_type(item.value, qr.BackendStatus)
    collected = await snapshot.collect()
    assert_type(collected["x"]["properties"].value, qr.BackendProperties | None)
    async for change in client.watch(interval=30, backends=[best, "ibm_torino"], instance="lab"):
        assert_type(change, qr.Change)
        break
    entry = await client.wait_for(ranked[0], lambda one: one.online, timeout=600)
    when = await client.wait_for_recalibration(entry, timeout=600)
    assert_type(when, datetime)


async def calibrations(client: qr.Client, since: datetime) -> None:
    """Calibrations over time, and what is made of them."""
    history = client.history("ibm_boston", since, every=timedelta(days=1), refresh=True)
    async for one in history:
        assert_type(one, qr.BackendProperties | qr.Gap)
    found = await history.collect()
    assert_type(found, qr.CalibrationList)
    first, last = [one for one in found if isinstance(one, qr.BackendProperties)][:2]
    assert_type(compare(first, last), Comparison)
    for difference in compare(first, last).differences:
        print(difference.name == "T1", difference.relative)
    archive = Archive("calibrations")
    assert_type(await archive.sync(client, ["ibm_boston"], since=since), Synced)
    assert_type(archive.info(), tuple[Holding, ...])
    assert_type(stability(archive, "ibm_boston", timedelta(days=7)), Stabilities)
    configuration = await client.configuration("ibm_boston")
    assert_type(best_chain(configuration, first, 5), Choice)
    print(best_qubits(configuration, first, 5).qubits, coordinates(configuration)[0])
    print(error_map(configuration, first), history_plot(found, "t2"), fleet_plot(await client.backends()))
    assert_type(list(backend_rows(await client.backends())), list[BackendRow])
    assert_type(list(qubit_rows(first)), list[QubitRow])
    assert_type(next(gate_rows([first, last])), GateRow)
    print(backend_table(await client.backends()).num_rows, qubit_table(first).column_names, gate_table(last))
    print(await target(client, "ibm_boston"), to_target(configuration, first), backend(configuration))


async def clients(key: qr.Secret, search: qr.InstanceSearch) -> None:
    """What a client is made of, its views, its counts, and how it is closed."""
    instance = qr.Instance("crn:v1:bluemix:public:quantum-computing:us-east:a/1:2::")
    account = qr.Account(key, instances=[instance]) if search.name else qr.Account(key, search=search)
    policy, limits, retry = qr.CachePolicy(properties=600), qr.Limits(total=60), qr.RetryPolicy(attempts=3)
    memory, stores = qr.Memory(max_bytes=2**20), (qr.FileStore("kept.db"), qr.RedisStore("redis://localhost"))
    assert_type(stores, tuple[qr.FileStore, qr.RedisStore])
    kept: list[qr.Store | qr.LeasingStore] = [*stores]
    async with qr.SessionPool(limits) as pool, stores[0] as store:
        client = qr.Client(account, cache=policy, pool=pool, memory=memory, store=store)
        assert_type(client.with_options(timeout=5, retry=retry, instance=instance), qr.Client)
        stats: qr.CacheStats = client.stats()
        print(stats.properties.hits, client.stats().regions, len(kept))
        await client.aclose()
    async with qr.Client.from_account("mine", region="eu-de", limits=limits) as client:
        assert_type(await client.instances(refresh=True), tuple[qr.ServiceInstance, ...])
        assert_type(await client.versions(instance=instance), tuple[qr.ApiVersion, ...])
        assert_type(await client.addresses(timeout=5), dict[str, str])
        async with qr.Monitor(client, interval=60) as monitor:
            monitor.listeners.add(lambda event: print(event.kind, event.name))
            view: qr.FleetView = monitor.view
            backends: tuple[qr.MonitoredBackend, ...] = view.backends
            failures: tuple[qr.InstanceFailure, ...] = view.failures
            print(backends, failures, list(Collector(client, monitor).collect()))


def kinds(
    event: qr.MonitorEvent,
    item: qr.AnySnapshotItem | qr.SnapshotItem,
    stats: qr.ClientStats | qr.ResourceStats | qr.RegionStats | qr.StoreStats,
    history: qr.History | qr.Window,
) -> str:
    """Values that others return."""
    return f"{qr.__version__} {event} {item} {stats} {history}"


async def told(call: Callable[[], Awaitable[object]]) -> str:
    """Errors, the special ones first."""
    try:
        await call()
    except (qr.RateLimited, qr.HeldBack, qr.ServiceUnavailable) as error:
        return f"{error.retry_after} {error.attempts} {error.history}"
    except (qr.UnknownBackend, qr.NotFound, qr.BadRequest, qr.Forbidden, qr.Unauthorized) as error:
        return error.code or error.message
    except (qr.Conflict, qr.Locked, qr.ServerError, qr.ResponseError) as error:
        return f"{error.status} {error.solution}"
    except (qr.TLSError, qr.ConnectionLost, qr.ConnectTimeout, qr.ReadTimeout, qr.ConnectError) as error:
        return error.region or ""
    except (qr.WrongBackend, qr.BodyDamaged, qr.BodyTooLarge, qr.CircuitOpen, qr.RedirectRefused) as error:
        return f"{error.outage} {error.retryable} {error.final}"
    except (qr.Timeout, qr.TransportError, qr.InstanceUnavailable) as error:
        attempts: tuple[qr.Attempt, ...] = error.history
        return str(attempts)
    except (qr.DecodeError, qr.UnknownGate, qr.UnknownQubit, qr.CalibrationLookupError) as error:
        return error.backend or ""
    except (qr.AuthenticationFailed, qr.AccountError, qr.ArchiveError, qr.InvalidRequest) as error:
        return error.message
    except (qr.ClientClosed, qr.WrongEventLoop, qr.QRBackendsError) as error:
        return error.message
    return "nothing"


async def emulated() -> None:
    """The emulator, in this event loop and in a thread."""
    async with Emulator("synthetic", seed=7) as emulator, qr.Client(emulator.account()) as client:
        one = (await client.backends())[0]
        emulator.set_backend(one, status="paused", queue_length=3)
        emulator.fault(Status(503), resource="status", backend=one)
        print(emulator.count("status", one), await told(lambda: client.status(one)))
    with ThreadedEmulator(fleet="synthetic") as threaded:
        threaded.recalibrate(threaded.backends()[0])


async def properties(name: str, client: ClientDep) -> MsgspecResponse:
    """Answer a visitor of a web app."""
    return MsgspecResponse(await client.properties(name))


def saved() -> tuple[SavedAccount, ...]:
    """Return the saved accounts; web apps are made with `APP` and `MOUNTED`."""
    save_account("mine", "an API key")
    use_account("mine")
    delete_account("mine")
    return tuple(list_accounts())


APP = {"lifespan": lifespan(), "exception_handlers": exception_handlers}
MOUNTED = (api_app(), board_app())
