"""A store in Redis or Valkey, for the workers of many machines.

The keys for a prefix, a scope and a name; the braces keep the keys of a scope in one slot of a cluster:

    qrbackends:1:{scope}:v:name   a string: the value
    qrbackends:1:{scope}:l:name   a string: the owner of the lease; also a channel, which tells its end
    qrbackends:1:{scope}:n        a sorted set: the names, by when value and lease have ended
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio

from ...tasks.loops import LoopBound, let_go
from . import redis_scripts as scripts

if TYPE_CHECKING:
    import socket

    from redis.asyncio import ConnectionPool, Redis
    from redis.asyncio.client import PubSub

T = TypeVar("T")

_CONNECTIONS = 32  # at most; further operations wait for a free one
_MAX_VALUE = 64 * 2**20  # bytes
_LAYOUT = 1  # version of the keys and their values


class RedisStore(LoopBound):
    """A `LeasingStore` in Redis 6 or later, or in Valkey.

    The program that makes it has to close it, after the clients that use it. It belongs to the event loop and
    the process in which it is first used, and raises `WrongEventLoop` in others. It connects at the first
    operation, and again after a connection is lost. Its methods raise a `ConnectionError` if Redis does not
    answer within `timeout`, and a `RuntimeError` if Redis refuses an operation, or if the store is closed.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`, with user, password and database if needed.
        timeout: seconds that one operation may take, including connecting and waiting for a connection.
        prefix: the beginning of the names of all keys and channels.

    Raises:
        ImportError: the package `redis` is not installed.
        ValueError: the URL, the timeout or the prefix cannot be used.
    """

    def __init__(self, url: str, *, timeout: float = 0.25, prefix: str = "qrbackends") -> None:
        if not isinstance(timeout, (int, float)) or not 0 < timeout < math.inf:
            raise ValueError("timeout has to be a number of seconds greater than zero")
        if not (prefix and prefix.isascii() and prefix.isprintable()):
            raise ValueError("prefix has to be printable ASCII")
        self._timeout = float(timeout)
        self._prefix = prefix
        self._pool = _pool(url, self._timeout)
        self._redis = _client(self._pool)
        self._limiter = anyio.CapacityLimiter(_CONNECTIONS)
        self._listener: _Listener | None = None
        self._stopping: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None

    @property
    def timeout(self) -> float:
        """Seconds that one operation may take, `wait` excepted."""
        return self._timeout

    async def get(self, scope: str, name: str) -> bytes | None:
        """Return the value; None if there is none, or if the key is not a string of at most 64 MiB."""
        value = await self._script(scripts.GET, (self._value(scope, name),), _MAX_VALUE)
        return value if isinstance(value, bytes) else None

    async def acquire(self, scope: str, name: str, owner: str, lease: float, *, force: bool = False) -> bool:
        """Give the lease to `owner` for `lease` seconds, and return True; False if another owner has it.

        With `force`, take it from another owner.
        """
        keys = (self._lease(scope, name), self._names(scope))
        return bool(await self._script(scripts.ACQUIRE, keys, owner, _milliseconds(lease), name, int(force)))

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
        """End the lease if `owner` has it, and wake those who wait."""
        await self._script(scripts.RELEASE, (self._lease(scope, name),), owner)

    async def wait(self, scope: str, name: str, timeout: float) -> None:
        """Return when nobody has the lease, and after `timeout` seconds at the latest."""
        self._check()
        lease = self._lease(scope, name)
        with anyio.move_on_after(timeout):
            async with self._listening() as listener, listener.hearing(lease, self._timeout) as heard:
                # Asked only after subscribing: the end of a lease before that is not received.
                while not heard.is_set() and (left := await self._script(scripts.LEFT, (lease,))) >= 0:
                    with anyio.move_on_after((left + 1) / 1000):
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
        from redis.exceptions import RedisError

        self._check()
        try:
            with anyio.fail_after(self._timeout):
                async with self._limiter:
                    self._check()  # it may have been closed while this operation waited
                    return await operation()
        except (RedisError, OSError) as error:
            failure = _translated(error)
        raise failure  # outside of `except`: redis-py's error, which may quote what was sent, is no context

    @asynccontextmanager
    async def _listening(self) -> "AsyncIterator[_Listener]":
        """Yield the listener that all calls of `wait` share; the last one stops it."""
        self._check()
        if self._listener is None or self._listener.failure is not None:
            self._stop()
            self._listener = _Listener(self._redis.pubsub())
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


class _Listener:
    """One connection that receives messages for all calls of `wait` in this process.

    It never unsubscribes, so that no late reply of the server is taken for the reply to a later command. When
    nobody waits any more, it is stopped.

    Attributes:
        users: the number of calls that use it.
        failure: the error that has ended it, or None.
    """

    def __init__(self, pubsub: "PubSub") -> None:
        self.users = 0
        self.failure: Exception | None = None
        self._pubsub = pubsub
        self._wanted: asyncio.Queue[str] = asyncio.Queue()
        self._subscribed: dict[str, asyncio.Event] = {}
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._task = asyncio.create_task(self._run())

    def stop(self) -> asyncio.Task[None]:
        """Begin to stop; return a task that ends when it has stopped."""
        self._task.cancel()
        return self._task

    def check(self) -> None:
        """Raise the error that has ended it, if it has ended."""
        if self.failure is not None:
            raise type(self.failure)(*self.failure.args)

    @asynccontextmanager
    async def hearing(self, channel: str, timeout: float) -> AsyncIterator[asyncio.Event]:
        """Subscribe to a channel; yield an event that the next message sets, or the listener's end.

        Raises:
            ConnectionError: Redis does not confirm the subscription within `timeout` seconds.
        """
        heard = asyncio.Event()
        waiting = self._waiting.setdefault(channel, set())
        waiting.add(heard)
        try:
            if channel not in self._subscribed:
                self._subscribed[channel] = asyncio.Event()
                self._wanted.put_nowait(channel)
            with anyio.move_on_after(timeout):
                await self._subscribed[channel].wait()
            self.check()
            if not self._subscribed[channel].is_set():
                raise ConnectionError("Redis does not answer (TimeoutError)")
            yield heard
        finally:
            waiting.discard(heard)

    async def _run(self) -> None:
        try:
            async with self._pubsub, asyncio.TaskGroup() as group:
                await self._subscribe()  # opens the connection from which `_read` reads
                group.create_task(self._read())
                while True:  # in this task: a caller that is cancelled does not break the connection
                    await self._subscribe()
        except* Exception as group:
            self.failure = _translated(group.exceptions[0])
        finally:
            self.failure = self.failure or RuntimeError("the store is closed")
            for event in (*self._subscribed.values(), *(e for some in self._waiting.values() for e in some)):
                event.set()

    async def _subscribe(self) -> None:
        await self._pubsub.subscribe(await self._wanted.get())

    async def _read(self) -> None:
        while True:
            message = await self._pubsub.get_message(timeout=None)
            if message is not None:
                channel = message["channel"].decode()
                if message["type"] == "subscribe":
                    self._subscribed[channel].set()
                else:
                    for heard in self._waiting.get(channel, ()):
                        heard.set()


def _pool(url: str, timeout: float) -> "ConnectionPool":
    try:
        from redis.asyncio.connection import ConnectionPool, parse_url
    except ImportError:
        raise ImportError("RedisStore needs the package redis: pip install 'qrbackends[redis]'") from None
    try:
        options: dict[str, Any] = {
            **parse_url(url),
            "protocol": 2,
            "decode_responses": False,
            "max_connections": 2**16,  # `_limiter` is the limit: further operations wait, and do not fail
            "socket_connect_timeout": timeout,
            # `_ask` limits the time of a whole operation. redis-py limits each of its steps, whose times add
            # up, and in Python 3.11 its `wait_for` can swallow a cancellation.
            "socket_timeout": None,
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


def _translated(error: Exception) -> Exception:
    """Return a store's error for one of redis-py, without its text, which may quote what was sent."""
    from redis import exceptions as theirs

    kind = type(error).__name__
    match error:
        case theirs.AuthenticationError() | theirs.AuthorizationError():
            return RuntimeError(f"Redis does not accept the user or the password ({kind})")
        case theirs.ConnectionError() | theirs.TimeoutError() | OSError():
            return ConnectionError(f"Redis does not answer ({kind})")
        case theirs.ResponseError():
            code = str(error).partition(" ")[0]
            known = f"{kind}, {code}" if code.isalpha() and code.isupper() else kind
            return RuntimeError(f"Redis refused the operation ({known})")
    return RuntimeError(f"Redis did not understand, or was not understood ({kind})")


def _milliseconds(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))
