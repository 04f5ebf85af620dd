"""The shared tier in Redis or Valkey: one store for the workers of many machines.

Keys, for a prefix, a scope and a name; the braces keep a scope in one slot of a cluster:

    qrbackends:1:{scope}:v:name   the value
    qrbackends:1:{scope}:l:name   the lease: its owner; also the channel on which its end is published
    qrbackends:1:{scope}:n        the names, sorted by when they end
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool, Redis
    from redis.asyncio.client import PubSub

T = TypeVar("T")

_CONNECTIONS = 32  # at a time; other operations wait for their turn
_MAX_VALUE = 64 * 2**20  # bytes
_LAYOUT = 1  # of the keys and of what is under them

# The scripts are sent whole with every call: they are short, and no restarted server has to learn them again.
# A lease that is no text, or that never ends, is not one of ours, and so nobody's.
_HOLDER = """
local function holder(key)
  if redis.call('TYPE', key).ok ~= 'string' or redis.call('PTTL', key) < 0 then return false end
  return redis.call('GET', key)
end
"""
# A name that has a value for a day keeps its place although its lease ends before.
_NAMED = """
local function named(key, name, px)
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'zset' and kind ~= 'none' then redis.call('DEL', key) end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('(%.0f', now))
  local ends = math.max(now + px, tonumber(redis.call('ZSCORE', key, name) or 0))
  redis.call('ZADD', key, string.format('%.0f', ends), name)
  if redis.call('PTTL', key) < px then redis.call('PEXPIRE', key, px) end
end
"""
_ACQUIRE = f"""{_HOLDER}{_NAMED}
local lease, names, owner, px, name, force = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local held = holder(lease)
if held and held ~= owner and force == '0' then return 0 end
redis.call('SET', lease, owner, 'PX', px)
named(names, name, px)
return 1
"""
_RENEW = f"""{_HOLDER}{_NAMED}
local lease, names, owner, px, name = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), ARGV[3]
if holder(lease) ~= owner then return 0 end
redis.call('PEXPIRE', lease, px)
named(names, name, px)
return 1
"""
# The lease ends even if there is no room for the value: nobody has to wait for a value that does not come.
# An empty owner stands for none.
_PUT = f"""{_HOLDER}{_NAMED}
local lease, names, value = KEYS[1], KEYS[2], KEYS[3]
local owner, px, name = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if owner ~= '' and holder(lease) ~= owner then return 0 end
local stored = redis.pcall('SET', value, ARGV[4], 'PX', px)
if not stored.err then named(names, name, px) end
if owner ~= '' then
  redis.call('DEL', lease)
  redis.pcall('PUBLISH', lease, '')
end
if stored.err then return stored end
return 1
"""
_RELEASE = f"""{_HOLDER}
if holder(KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.pcall('PUBLISH', KEYS[1], '')
end
"""
_LEFT = f"""{_HOLDER}
return holder(KEYS[1]) and redis.call('PTTL', KEYS[1]) or -1
"""
# What is no text, or too long to be one of ours, is nothing; the next answer takes its place.
_GET = """
if redis.call('TYPE', KEYS[1]).ok ~= 'string' or redis.call('STRLEN', KEYS[1]) > tonumber(ARGV[1]) then
  return false
end
return redis.call('GET', KEYS[1])
"""
_NAMES = """
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then return {} end
local time = redis.call('TIME')
return redis.call('ZRANGEBYSCORE', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), '+inf')
"""
_DELETE = """
local named = redis.call('TYPE', KEYS[1]).ok == 'zset'
for number, name in ipairs(ARGV) do
  local lease, value = KEYS[2 * number], KEYS[2 * number + 1]
  redis.call('DEL', lease, value)
  if named then redis.call('ZREM', KEYS[1], name) end
  redis.pcall('PUBLISH', lease, '')
end
"""


class RedisStore:
    """A `LeasingStore` in Redis 6 or Valkey, or later versions of them.

    It belongs to whoever makes it, who closes it after the clients that use it, and to the event loop in
    which it is first used. It connects when it is first needed, and again after a connection was lost.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`, with user, password and database where needed.
        timeout: seconds that one operation may take, with connecting and with waiting for its turn.
        prefix: begins the name of every key and channel.

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
        self._turns = anyio.CapacityLimiter(_CONNECTIONS)
        self._listener: _Listener | None = None
        self._stopping: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None

    @property
    def timeout(self) -> float:
        """Seconds that one operation, other than `wait`, may take."""
        return self._timeout

    async def get(self, scope: str, name: str) -> bytes | None:
        """Return what is stored, or None where there is nothing, or nothing of this kind."""
        value = await self._script(_GET, (self._value(scope, name),), _MAX_VALUE)
        return value if isinstance(value, bytes) else None

    async def acquire(self, scope: str, name: str, owner: str, lease: float, *, force: bool = False) -> bool:
        """Take the lease for so many seconds, unless another owner holds it; by force, even then."""
        keys = (self._lease(scope, name), self._names(scope))
        return bool(await self._script(_ACQUIRE, keys, owner, _milliseconds(lease), name, int(force)))

    async def renew(self, scope: str, name: str, owner: str, lease: float) -> bool:
        """Prolong the lease; False where the owner does not hold it any more."""
        keys = (self._lease(scope, name), self._names(scope))
        return bool(await self._script(_RENEW, keys, owner, _milliseconds(lease), name))

    async def put(self, scope: str, name: str, value: bytes, ttl: float, owner: str | None = None) -> bool:
        """Store a value for `ttl` seconds; return whether it was stored.

        With an `owner`: only if this owner has the lease, which ends and wakes those who wait. Without
        the lease, nothing is changed. Without an `owner`: whoever has the lease, who keeps it.
        """
        keys = (self._lease(scope, name), self._names(scope), self._value(scope, name))
        return bool(await self._script(_PUT, keys, owner or "", _milliseconds(ttl), name, value))

    async def release(self, scope: str, name: str, owner: str) -> None:
        """End the lease, where the owner still holds it, and wake who waits."""
        await self._script(_RELEASE, (self._lease(scope, name),), owner)

    async def wait(self, scope: str, name: str, timeout: float) -> None:
        """Return when the lease has ended, one way or another, and after `timeout` seconds at the latest."""
        lease = self._lease(scope, name)
        with anyio.move_on_after(timeout):
            async with self._listening() as listener, listener.hearing(lease, self._timeout) as heard:
                # Asked only now: had it ended before anybody listened, nothing would be heard of it.
                while not heard.is_set() and (left := await self._script(_LEFT, (lease,))) >= 0:
                    with anyio.move_on_after((left + 1) / 1000):
                        await heard.wait()
                listener.check()

    async def names(self, scope: str) -> Sequence[str]:
        """Return the names that have a value or a lease; some may have ended meanwhile."""
        names = await self._script(_NAMES, (self._names(scope),))
        return [name.decode() for name in names if name.isascii()]

    async def delete(self, scope: str, names: Iterable[str]) -> None:
        """Delete values and leases; a leader's `put` is refused from then on."""
        names = tuple(names)
        if names:
            places = [key(scope, name) for name in names for key in (self._lease, self._value)]
            await self._script(_DELETE, (self._names(scope), *places), *names)

    async def aclose(self) -> None:
        """Let the operations that run end, for which their time is short, and close every connection."""
        if self._closing is None:
            # A task of its own, so that it closes even if whoever closes it is cancelled.
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
        # Without the URL: it may hold a password.
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
        """Do one operation, in time, and raise its errors as a store's."""
        from redis.exceptions import RedisError

        self._check()
        try:
            with anyio.fail_after(self._timeout):
                async with self._turns:
                    self._check()  # it may have been closed while this one waited for its turn
                    return await operation()
        except (RedisError, OSError) as error:
            failure = _translated(error)
        raise failure  # out here: redis' own errors, which may tell what was sent, do not come along

    @asynccontextmanager
    async def _listening(self) -> "AsyncIterator[_Listener]":
        """Lend the listener that all who wait share; it is stopped when nobody does any more."""
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
        turns = [object() for _ in range(_CONNECTIONS)]
        for turn in turns:  # who has them all is alone
            await self._turns.acquire_on_behalf_of(turn)
        with suppress(RedisError, OSError):  # one that says no goodbye
            await self._pool.disconnect()
        for turn in turns:
            self._turns.release_on_behalf_of(turn)

    def _check(self) -> None:
        if self._closing is not None:
            raise RuntimeError("the store is closed")


class _Listener:
    """One connection that listens for all who wait in this process.

    It never unsubscribes, so that no late answer of the server is taken for another one's: it is stopped
    instead when nobody waits any more.
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
        """Begin to stop; return what ends when it has."""
        self._task.cancel()
        return self._task

    def check(self) -> None:
        """Raise an error if it does not listen any more."""
        if self.failure is not None:
            raise type(self.failure)(*self.failure.args)

    @asynccontextmanager
    async def hearing(self, channel: str, timeout: float) -> AsyncIterator[asyncio.Event]:
        """Subscribe to a channel; the event is set by the next message, or where none can come any more."""
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
                await self._subscribe()  # makes the connection that is read from
                group.create_task(self._read())
                while True:  # in a task of its own: the connection outlives whoever is cancelled meanwhile
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
            "max_connections": 2**16,  # `_turns` bounds them: the others wait, rather than fail
            "socket_connect_timeout": timeout,
            # No time per step: `_ask` bounds an operation as a whole. The times of redis-py's steps add up,
            # and in Python 3.11 its `wait_for` can swallow a cancellation.
            "socket_timeout": None,
            "retry": None,
            "retry_on_timeout": False,
            "retry_on_error": [],
        }
        pool = ConnectionPool(**options)
        pool.connection_class(**pool.connection_kwargs)  # not connected: only tells if these are options
    except Exception:  # of many kinds, redis' own and those of int() among them
        pool = None
    if pool is None:  # out here: the error may quote the URL
        raise ValueError("url has to be redis://host:port/database, rediss://… for TLS, or unix://path")
    return pool


def _client(pool: "ConnectionPool") -> "Redis":
    from redis.asyncio import Redis

    return Redis(connection_pool=pool)


def _translated(error: Exception) -> Exception:
    """Return a store's error for one of redis; its text, which may quote what was sent, is not kept."""
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
