"""A store in Redis or Valkey, for the workers of many machines.

The keys for a prefix, a scope and a name; the braces keep the keys of a scope in one slot of a cluster:

    qrbackends:2:{scope}:v:name   a string: the value
    qrbackends:2:{scope}:l:name   a string: a lease, its time and owners; also a channel, which tells its end
    qrbackends:2:{scope}:n        a sorted set: the names, by when value and lease have ended
"""

import asyncio
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio

from ...messages.extras import missing_extra
from ...tasks.deadlines import answer_timeout
from ...tasks.loops import LoopBound, let_go
from . import redis_scripts as scripts
from .redis_errors import is_replica, translated
from .redis_listener import Listener

if TYPE_CHECKING:
    import socket

    from redis.asyncio import ConnectionPool, Redis

T = TypeVar("T")

_CONNECTIONS = 32  # at most; further operations wait for a free one
_MAX_VALUE = 64 * 2**20  # bytes
_SLOWEST = 5.0  # seconds to which a slow Redis prolongs the timeout, at most
_LOST = 0.5  # seconds after which a message that tells the end of a lease is taken for lost
_CLOSING = 5.0  # seconds that closing a connection may take, at least
_LAYOUT = 2  # version of the keys and their values


class RedisStore(LoopBound):
    """A `LeasingStore` in Redis 6 or later, or in Valkey.

    The program that makes it has to close it, after the clients that use it. It belongs to the event loop and
    the process in which it is first used, and raises `WrongEventLoop` in others. It connects at the first
    operation, and again after a connection is lost. Its methods raise a `ConnectionError` if Redis does not
    answer within `timeout`, and a `RuntimeError` if Redis refuses an operation, or if the store is closed.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`, with user, password and database if needed. It has
            to lead to one server, in a cluster to one that has all slots. Where Sentinel or a provider
            appoints another master, this name or proxy has to lead to the new one: the store connects again
            when a connection is lost, or leads to a replica.
        timeout: seconds that one operation may take, including connecting and waiting for a connection. While
            Redis is slow it is up to four times what an answer takes, but not more than 5 s; time for which
            this process itself is late does not count.
        prefix: the beginning of the names of all keys and channels.

    Raises:
        ImportError: the package `redis` is not installed.
        ValueError: the URL, the timeout or the prefix cannot be used.
    """

    def __init__(self, url: str, *, timeout: float = 0.5, prefix: str = "qrbackends") -> None:
        if not isinstance(timeout, (int, float)) or not 0 < timeout < math.inf:
            raise ValueError("timeout has to be a number of seconds greater than zero")
        if not (prefix and prefix.isascii() and prefix.isprintable()):
            raise ValueError("prefix has to be printable ASCII")
        self._timeout = float(timeout)
        self._latency = 0.0  # seconds: how slow Redis was lately; soon that of the slowest, later less
        self._prefix = prefix
        self._pool = _pool(url, self._timeout)
        self._redis = _client(self._pool)
        self._limiter = anyio.CapacityLimiter(_CONNECTIONS)
        self._listener: Listener | None = None
        self._stopping: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None

    @property
    def timeout(self) -> float:
        """Seconds that one operation may take, `wait` excepted; more than asked for while Redis is slow."""
        return max(self._timeout, min(4 * self._latency, _SLOWEST))

    async def get(self, scope: str, name: str) -> bytes | None:
        """Return the value; None if there is none, or if the key is not a string of at most 64 MiB."""
        value = await self._script(scripts.GET, (self._value(scope, name),), _MAX_VALUE)
        return value if isinstance(value, bytes) else None

    async def acquire(self, scope: str, name: str, owner: str, lease: float, *, force: bool = False) -> bool:
        """Give the lease to `owner` for `lease` seconds, and return True; False if another owner has it.

        If another one has had it for `lease` seconds, both have it. With `force`, take it from another one.
        """
        keys = (self._lease(scope, name), self._names(scope))
        asked = (owner, _milliseconds(lease), name, int(force))
        held: bool = await self._script(scripts.ACQUIRE, keys, *asked) == b"held"
        return not held

    async def renew(self, scope: str, name: str, owner: str, lease: float) -> bool:
        """Let the lease end `lease` seconds from now; return False if `owner` does not have it any more."""
        keys = (self._lease(scope, name), self._names(scope))
        return bool(await self._script(scripts.RENEW, keys, owner, _milliseconds(lease), name))

    async def put(self, scope: str, name: str, value: bytes, ttl: float, owner: str | None = None) -> bool:
        """Store a value for `ttl` seconds; return whether it was stored.

        With an `owner`, the value is stored only if this owner has the lease; then the lease ends, and the
        workers that wait for it wake up. Without an `owner`, the value is stored, and a lease stays as it is.
        """
        keys = (self._lease(scope, name), self._names(scope), self._value(scope, name))
        return bool(await self._script(scripts.PUT, keys, owner or "", _milliseconds(ttl), name, value))

    async def release(self, scope: str, name: str, owner: str) -> None:
        """End the lease if `owner` has it alone, or if it was lost, and wake those who wait."""
        await self._script(scripts.RELEASE, (self._lease(scope, name),), owner)

    async def wait(self, scope: str, name: str, timeout: float) -> None:
        """Return when nobody has the lease, and after `timeout` seconds at the latest."""
        self._check()
        lease = self._lease(scope, name)
        with anyio.move_on_after(timeout):
            for again in (True, False):
                async with self._listening() as listener:
                    try:
                        await self._heard(listener, lease)
                        return
                    except ConnectionError:
                        if not (again and listener.was_cut):
                            raise

    async def _heard(self, listener: Listener, lease: str) -> None:
        async with listener.hearing(lease) as heard:
            # Asked only after subscribing: the end of a lease before that is not received.
            while not heard.is_set() and (left := await self._script(scripts.LEFT, (lease,))) >= 0:
                with anyio.move_on_after(min((left + 1) / 1000, _LOST)):
                    await heard.wait()
            listener.check()

    async def names(self, scope: str) -> Sequence[str]:
        """Return the names that have a value or a lease; some of both may have ended meanwhile."""
        names = await self._script(scripts.NAMES, (self._names(scope),))
        return [name.decode() for name in names if name.isascii()]

    async def delete(self, scope: str, names: Iterable[str]) -> None:
        """Delete values and leases, and wake those who wait; later puts by their owners are refused."""
        names = tuple(names)
        if names:
            places = [key(scope, name) for name in names for key in (self._lease, self._value)]
            await self._script(scripts.DELETE, (self._names(scope), *places), *names)

    async def aclose(self) -> None:
        """Close all connections when the running operations have ended, which `timeout` bounds."""
        self.check_loop()
        if self._closing is None:
            # In a task of its own, so that it closes even if the caller is cancelled.
            self._closing = asyncio.create_task(self._close())
        with anyio.CancelScope(shield=True):
            await asyncio.wait([self._closing])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        # Without the URL, which may contain a password.
        return f"RedisStore(timeout={self._timeout:g}, prefix={self._prefix!r})"

    def _value(self, scope: str, name: str) -> str:
        return f"{self._prefix}:{_LAYOUT}:{{{scope}}}:v:{name}"

    def _lease(self, scope: str, name: str) -> str:
        return f"{self._prefix}:{_LAYOUT}:{{{scope}}}:l:{name}"

    def _names(self, scope: str) -> str:
        return f"{self._prefix}:{_LAYOUT}:{{{scope}}}:n"

    async def _script(self, script: str, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        return await self._ask(lambda: self._redis.eval(script, len(keys), *keys, *arguments))

    async def _ask(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Return the result of an operation, within `timeout`; errors of redis-py are translated."""
        self._check()
        try:
            with answer_timeout(self.timeout) as on_time:
                async with self._limiter:
                    self._check()  # it may have been closed while this operation waited
                    began = on_time()
                    result = await self._twice(operation)
                    took = on_time() - began
            self._latency = max(took, self._latency + (took - self._latency) / 8)
            return result
        except Exception as error:  # of redis-py, whose parser raises any for an answer that is none
            if self._closing is not None and isinstance(error, RuntimeError):
                raise
            failure = translated(error)
        raise failure  # outside of `except`: redis-py's error, which may quote what was sent, is no context

    async def _twice(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Try an operation a second time if its connection was cut, or led to a replica.

        A new connection may lead to the server that is the master now. Any operation may be done twice.
        """
        from redis import exceptions as theirs

        try:
            return await operation()
        except theirs.AuthenticationError:
            raise
        except (theirs.ConnectionError, theirs.ResponseError) as error:
            if isinstance(error, theirs.ResponseError) and not is_replica(error):
                raise
        await self._pool.disconnect(inuse_connections=False)
        return await operation()

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[Listener]:
        """Yield the listener that all calls of `wait` share; the last one stops it."""
        self._check()
        if self._listener is None or self._listener.failure is not None:
            self._stop()
            self._listener = Listener(self._redis.pubsub(), lambda: self.timeout)
        listener = self._listener
        listener.users += 1
        try:
            yield listener
        finally:
            listener.users -= 1
            if not listener.users and listener is self._listener:
                self._stop()

    def _stop(self) -> None:
        if self._listener is not None:
            task = self._listener.stop()
            self._listener = None
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)

    async def _close(self) -> None:
        from redis.exceptions import RedisError

        self._stop()
        if self._stopping:
            await asyncio.wait(self._stopping)
        borrowers = [object() for _ in range(_CONNECTIONS)]
        for borrower in borrowers:  # when all are acquired, no operation is running
            await self._limiter.acquire_on_behalf_of(borrower)
        with suppress(RedisError, OSError):  # a connection that is lost already
            await self._pool.disconnect()
        for borrower in borrowers:
            self._limiter.release_on_behalf_of(borrower)

    def _check(self) -> None:
        if self._closing is not None:
            raise RuntimeError("the store is closed")
        self.check_loop()

    def leave_to_parent(self) -> None:
        """Refuse every use, and let go of the connections, which the parent goes on using."""
        super().leave_to_parent()
        let_go(_sockets(self._pool))


def _pool(url: str, timeout: float) -> "ConnectionPool":
    kind = re.match(r"rediss?\+(sentinel|cluster)://", url) if isinstance(url, str) else None
    if kind:
        raise ValueError(f"a {kind[1]} is not supported; url has to lead to one server, the master")
    try:
        from redis.asyncio.connection import ConnectionPool, parse_url
    except ImportError:
        raise missing_extra("RedisStore needs the package redis", "redis") from None
    try:
        options: dict[str, Any] = {
            **parse_url(url),
            "protocol": 2,
            "decode_responses": False,
            "max_connections": 2**16,  # `_limiter` is the limit: further operations wait, and do not fail
            # `_ask` limits the time of a whole operation, and allows for a busy event loop. redis-py limits
            # each of its steps, whose times add up; in Python 3.11 its `wait_for` can swallow a cancellation.
            "socket_connect_timeout": max(timeout, _CLOSING),  # also of closing
            "socket_timeout": None,
            "health_check_interval": 0,  # the listener has pings of its own
            "retry": None,
            "retry_on_timeout": False,
            "retry_on_error": [],
        }
        pool = ConnectionPool(**options)
        pool.connection_class(**pool.connection_kwargs)  # does not connect; raises for unknown options
    except Exception:  # errors of redis-py, of int(), and others
        pool = None
    if pool is None:  # outside of `except`: the error, which may quote the URL, is no context
        raise ValueError("url has to be redis://host:port/database, rediss://… for TLS, or unix://path")
    return pool


def _client(pool: "ConnectionPool") -> "Redis":
    from redis.asyncio import Redis

    return Redis(connection_pool=pool)


def _sockets(pool: "ConnectionPool") -> "Iterator[socket.socket]":
    """Yield the sockets of all connections. redis-py has no public names for them."""
    for connection in (*pool._available_connections, *pool._in_use_connections):
        if connection._writer is not None:
            yield connection._writer.get_extra_info("socket")


def _milliseconds(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))
