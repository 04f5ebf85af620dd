"""Looks inside the package, for what has no public sign: each private name is used here, and nowhere else."""

from asyncio import Task
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from qrbackends import Client, FileStore, Memory, Monitor, SessionPool
from qrbackends.accounts.scope import Scopes
from qrbackends.assembly import Parts
from qrbackends.cache.cache import Cache
from qrbackends.cache.stores.sealed import Lease, Shared
from qrbackends.emulator import Emulator
from qrbackends.emulator.services.tokens import Issuer
from qrbackends.emulator.surface.ports import Port
from qrbackends.fleet.directory import Directory
from qrbackends.fleet.watch import Watcher
from qrbackends.protocol import answers
from qrbackends.service.discovery import Discovery
from qrbackends.service.instances import ServiceInstance
from qrbackends.service.tokens import Tokens
from qrbackends.tasks.flight import Flights
from qrbackends.transport.queue import RequestQueue
from qrbackends.web.events import Hub

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

    from qrbackends import RedisStore

# --- a client


def parts(client: Client) -> Parts:
    """Return a client's parts, whose attributes are public."""
    return client._parts


def watcher(client: Client) -> Watcher:
    """Return what polls for all of a client's watches."""
    return client._watcher


def set_watcher(client: Client, watcher: Watcher) -> None:
    """Let another watcher, such as one with a clock of a test, poll for a client's watches."""
    client._watcher = watcher


def let_ask(client: Client, fetch: Callable[..., Any]) -> None:
    """Let a client's directory ask instances in another way."""
    directory = parts(client).directory
    directory._fetch = directory._unlisted._fetch = fetch


def let_know(client: Client, instances: Collection[ServiceInstance]) -> None:
    """Let a client know other instances, as after another look-up."""
    parts(client).discovery._known = tuple(instances)


def set_calendar(client: Client, sleep: Callable[[float], Any], now: Callable[[], datetime]) -> None:
    """Let another calendar say when a client looks for the API's versions, and what day it is."""
    versions = parts(client).versions
    versions._sleep, versions._now = sleep, now


def flights(part: Cache | Directory | Discovery | Tokens) -> Flights[Any]:
    """Return the single flights of one part; their `under_way` is public."""
    return part._flights


def deadlines(flights: Flights[Any]) -> int:
    """Return how many deadlines are kept, those of callers who have left included."""
    return len(flights._alarms._due)


def renewals(client: Client) -> Collection[Any]:
    """Return what the cache renews in the background now."""
    return parts(client).cache._renewals


def renewing(lease: Lease) -> "Task[None]":
    """Return the task that renews a lease, which has begun."""
    assert lease._renewing is not None
    return lease._renewing


def tier(client: Client) -> Shared:
    """Return the tier that a client with a store shares with other workers."""
    shared = parts(client).cache._shared
    assert shared is not None
    return shared


def containers(client: Client) -> list[Collection[Any]]:
    """Return every container in which a call, while it is under way, leaves a trace of itself."""
    own = parts(client)
    cached, listed = flights(own.cache), flights(own.directory)
    return [
        cached.under_way,
        cached._tasks,
        listed.under_way,
        renewals(client),
        epochs(own.cache._memory),
        own.calls._scopes,
    ]


def secret_holders(client: Client) -> list[Any]:
    """Return the objects that hold, or know who holds, an API key or a token."""
    own = parts(client)
    tokens = own.tokens
    return [client, own.pool, own.calls, tokens, tokens._account, tokens._token, tokens._refusal]


def listed_instances(directory: Directory) -> set[str]:
    """Return the CRNs of the instances whose lists a directory has read."""
    return set(directory._names)


def kept_scopes(scopes: Scopes) -> set[str]:
    """Return the CRNs of the instances whose scopes are kept."""
    return {instance.crn for instance in scopes._scopes}


# --- single parts


def set_clock(part: Tokens | Shared, clock: Callable[[], float]) -> None:
    """Let a part of a client, which has the system's clock, see the time of a test."""
    part._clock = clock


def epochs(memory: Memory) -> Collection[Any]:
    """Return the keys of which a call that is under way holds the epoch."""
    return memory._epochs


def poll_task(watcher: Watcher) -> Any:
    """Return the task that polls, or None."""
    return watcher._task


def polled_at(watcher: Watcher) -> float:
    """Return when the last poll began that has ended, by the watcher's clock."""
    return watcher._polled_at


def subscriptions(watcher: Watcher) -> Collection[Any]:
    """Return the subscriptions, of which each watch that runs has one."""
    return watcher._subscriptions


def monitor_tasks(monitor: Monitor) -> set[Any]:
    """Return the background tasks of a monitor."""
    return monitor._tasks


def told_of_a_change(monitor: Monitor) -> None:
    """Let a monitor, into whose fleet a test has put backends, make a new view."""
    monitor._changed()


# --- answers


def decoders() -> dict[str, Callable[[bytes], Any]]:
    """Return what decodes the bodies, by resource; a test may put other functions into it."""
    return answers._DECODERS


# --- web


def last_id(hub: Hub) -> str:
    """Return the id of a hub's last event."""
    return hub._id_of(hub._count)


def next_second(hub: Hub) -> None:
    """Let a hub take the view that its pages show anew, as in another second."""
    hub._seen = hub._seen._replace(second=-1)


def log_bytes(hub: Hub) -> int:
    """Return the bytes of the encoded events in a hub's log."""
    return hub._bytes


# --- the wire


def pool_regions(pool: SessionPool) -> Mapping[tuple[str, str, str | None], Any]:
    """Return the `session` and the `queue` of each region, origin and SOCKS proxy."""
    return pool._regions


def connected_sockets(pool: SessionPool) -> int:
    """Return how many of a pool's connections have a socket that is connected."""
    found = 0
    for region in pool._regions.values():
        for guard in region.connector._guards:
            with suppress(OSError):
                found += bool(guard.socket and guard.socket.getpeername())
    return found


class QueueState(NamedTuple):
    """The waiting requests by tenant, the throttles by tenant, the free slots, and the tenants that wait."""

    waiting: Mapping[Any, Any]
    throttles: Mapping[Any, Any]
    free: int
    delayed: int


def state_of(queue: RequestQueue) -> QueueState:
    """Return what a queue holds now."""
    return QueueState(queue._queues, queue._throttles, queue._free, len(queue._delayed))


# --- the stores


def operations_waiting(store: FileStore) -> int:
    """Return how many operations wait for the one that the store's thread does now."""
    return store._worker._work_queue.qsize()


async def execute(store: FileStore, statement: str) -> list[Any]:
    """Run SQL on the store's own connection, and return the rows."""
    rows: list[Any] = await store._do(lambda db: db.execute(statement).fetchall())
    return rows


def connections(store: "RedisStore") -> "ConnectionPool":
    """Return redis-py's connections of a store."""
    return store._pool


def connections_in_use(store: "RedisStore") -> int:
    """Return how many connections an operation, or the listener, has now."""
    return len(connections(store)._in_use_connections)


def is_waited_for(store: "RedisStore", callers: int) -> bool:
    """Return whether so many callers wait for the end of a lease."""
    return store._listener is not None and store._listener.users == callers


# --- the emulator


def issuer(emulator: Emulator) -> Issuer:
    """Return what issues and checks the tokens."""
    return emulator._issuer


def ports(emulator: Emulator) -> Mapping[str, Port]:
    """Return the ports by region."""
    return emulator._ports


def http_connections(port: Port) -> list[Any]:
    """Return the server's side of the connections that are open at a port."""
    runner = port._runner
    return [] if runner is None or runner.server is None else list(runner.server.connections)
