"""One connection to Redis that receives messages for all who wait in this process."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio

from ...tasks.deadlines import answer_timeout
from .redis_errors import translated

if TYPE_CHECKING:
    from redis.asyncio.client import PubSub

_PING = 0.4  # seconds between pings while somebody waits: a Redis that hangs holds up nobody for longer


class _Channel:
    """Those who wait for a message on one channel, and whether Redis has confirmed the subscription."""

    def __init__(self) -> None:
        self.subscribed = asyncio.Event()
        self.waiting: set[asyncio.Event] = set()


class Listener:
    """One connection that receives messages for all calls of `wait` in this process.

    It is subscribed to the channels for which somebody waits. Redis answers in the order of the commands, so
    a confirmation belongs to the oldest subscription that has none.

    Args:
        pubsub: redis-py's side of the connection, not yet connected.
        timeout: returns the seconds in which Redis has to answer a command.

    Attributes:
        users: the number of calls that use it.
        failure: the error that has ended it, or None.
        was_cut: whether it has ended because the connection was cut; a new one may do.
    """

    def __init__(self, pubsub: "PubSub", timeout: Callable[[], float]) -> None:
        self.users = 0
        self.failure: Exception | None = None
        self.was_cut = False
        self._pubsub = pubsub
        self._timeout = timeout
        self._commands: asyncio.Queue[Callable[[], Awaitable[object]]] = asyncio.Queue()
        self._channels: dict[str, _Channel] = {}
        self._unconfirmed: deque[_Channel] = deque()
        self._received = asyncio.Event()
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
    async def hearing(self, name: str) -> AsyncIterator[asyncio.Event]:
        """Subscribe to a channel; yield an event that the next message sets, or the listener's end.

        Raises:
            ConnectionError: Redis does not confirm the subscription in time.
        """
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = _Channel()
            self._commands.put_nowait(partial(self._subscribe, name, channel))
        heard = asyncio.Event()
        channel.waiting.add(heard)
        try:
            failure: Exception | None = None
            try:
                with answer_timeout(self._timeout()):
                    await channel.subscribed.wait()
            except TimeoutError as error:
                failure = translated(error)
            self.check()
            if failure is not None:
                raise failure
            yield heard
        finally:
            channel.waiting.discard(heard)
            if not channel.waiting:
                del self._channels[name]
                self._commands.put_nowait(partial(self._pubsub.unsubscribe, name))

    async def _subscribe(self, name: str, channel: _Channel) -> None:
        self._unconfirmed.append(channel)
        await self._pubsub.subscribe(name)

    async def _run(self) -> None:
        try:
            async with self._pubsub, asyncio.TaskGroup() as group:
                connect = await self._commands.get()
                with answer_timeout(self._timeout()):
                    await connect()
                group.create_task(self._read())
                group.create_task(self._ping())
                while True:  # in this task: a caller that is cancelled does not break the connection
                    await (await self._commands.get())()
        except* Exception as group:
            error = group.exceptions[0]
            self.failure = translated(error)
            self.was_cut = isinstance(self.failure, ConnectionError) and not isinstance(error, TimeoutError)
        finally:
            self.failure = self.failure or RuntimeError("the store is closed")
            for channel in self._channels.values():
                channel.subscribed.set()
                for heard in channel.waiting:
                    heard.set()

    async def _read(self) -> None:
        while True:
            message = await self._pubsub.get_message(timeout=None)
            self._received.set()
            if message is None:
                continue
            if message["type"] == "subscribe":
                self._unconfirmed.popleft().subscribed.set()
            elif message["type"] == "message":
                channel = self._channels.get(message["channel"].decode())
                for heard in channel.waiting if channel else ():
                    heard.set()

    async def _ping(self) -> None:
        """Raise a TimeoutError when nothing comes from Redis any more."""
        while True:
            await anyio.sleep(_PING)
            self._received.clear()
            self._commands.put_nowait(self._pubsub.ping)
            with answer_timeout(self._timeout()):
                await self._received.wait()
