"""What can go wrong, on request.

A fault is added with `Emulator.fault(action, …)`, and strikes the first `times` requests that match it.
Nothing here is random: the first fault added that still has strikes left takes the request.
"""

import asyncio
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

_BLOCK = 1 << 20

Body: TypeAlias = bytes | str | dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Status:
    """An error answer: `body` as given, or the service's own error body.

    A dict is sent as JSON, a str as the HTML that gateways send.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = None


@dataclass(frozen=True, slots=True)
class Hold:
    """The request waits for `Fault.release()`, and is then answered as ever."""


@dataclass(frozen=True, slots=True)
class Delay:
    """The request waits for some seconds, and is then answered as ever."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset, without an answer."""


@dataclass(frozen=True, slots=True)
class Truncate:
    """Only the first `keep` (0 to 1) of the body is sent.

    Plain, Content-Length still announces the whole body and the connection closes early. With `gzip`, the
    body is a gzip stream that stops short of its end, and Content-Length agrees with what is sent.
    """

    gzip: bool = False
    keep: float = 0.5


@dataclass(frozen=True, slots=True)
class Garbage:
    """A 200 whose body is not JSON."""

    body: bytes = b"<html>\xff\x00 this is not JSON"
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Bomb:
    """A 200 with a gzip body of some 1/1000 of the `size`, in bytes, to which it unpacks."""

    size: int = 256 << 20


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect to `url`."""

    url: str
    status: int = 302


@dataclass(frozen=True, slots=True)
class Drip:
    """The answer comes in pieces of `size` bytes every `interval` seconds; with `head` its headers, too."""

    interval: float = 1.0
    size: int = 1
    head: bool = False


@dataclass(frozen=True, slots=True)
class Endless:
    """A 200 whose body never ends, as fast as the client takes it."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A token bucket: what finds it empty is answered with 429, and everything else as ever.

    Args:
        rate: requests per second.
        burst: requests at once.
        retry_after: the `Retry-After` to send, in seconds; None sends none.
    """

    rate: float = 50.0
    burst: int = 10
    retry_after: int | None = 1


Action: TypeAlias = (
    Status | Hold | Delay | Reset | Truncate | Garbage | Bomb | Redirect | Drip | Endless | RateLimit
)


class Bucket:
    """A token bucket, full at first.

    Args:
        rate: tokens per second.
        burst: how many it holds.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._counted = 0.0

    def take(self, now: float) -> bool:
        """Take a token if there is one, and return whether there was."""
        self._tokens = min(self._burst, self._tokens + (now - self._counted) * self._rate)
        self._counted = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Fault:
    """A fault as it was added: what it does, to which requests, and how often it has struck.

    Attributes:
        action: what it does.
        hits: how many requests it has struck.
    """

    def __init__(
        self, action: Action, resource: str | None, backend: str | None, region: str | None, times: int | None
    ) -> None:
        self.action = action
        self.hits = 0
        self._target = (resource, backend, region)
        self._times = times
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._released = asyncio.Event()
        self._bucket = Bucket(action.rate, action.burst) if isinstance(action, RateLimit) else None

    async def reached(self, hits: int = 1) -> None:
        """Return once it has struck `hits` requests.

        Raises:
            RuntimeError: it never will: it strikes less often, or has been removed.
        """
        if self.hits < hits:
            if self._times is not None and hits > self._times:
                raise RuntimeError(f"the fault strikes no more than {self._times} requests")
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((hits, waiter))
            await waiter

    def release(self) -> None:
        """Let go of the requests that it holds, now and from now on."""
        self._released.set()

    def cancel(self) -> None:
        """Strike no more, and let go of the requests that it holds and of those who wait for more."""
        self._times = self.hits
        self.release()
        for waiter in [w for _, w in self._waiters if not w.done()]:
            waiter.set_exception(RuntimeError(f"the fault was removed after {self.hits} requests"))

    async def released(self) -> None:
        """Return once `release()` has been called."""
        await self._released.wait()

    def takes(self, resource: str | None, backend: str | None, region: str) -> bool:
        """Return whether it strikes this request, and count it if so."""
        if self._times is not None and self.hits >= self._times:
            return False
        actual = (resource, backend, region)
        if any(wanted not in (None, given) for wanted, given in zip(self._target, actual, strict=True)):
            return False
        if self._bucket is not None and self._bucket.take(asyncio.get_running_loop().time()):
            return False
        self.hits += 1
        for waiter in [w for hits, w in self._waiters if hits <= self.hits and not w.done()]:
            waiter.set_result(None)
        return True


class Faults:
    """The faults of one emulator."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Add a fault, after those that are there already."""
        self._faults.append(fault)
        return fault

    def take(self, resource: str | None, backend: str | None, region: str) -> Fault | None:
        """Return the fault that strikes this request, if there is one."""
        return next((fault for fault in self._faults if fault.takes(resource, backend, region)), None)

    def clear(self) -> None:
        """Remove all faults, and let go of the requests that they hold."""
        for fault in self._faults:
            fault.cancel()
        self._faults.clear()


@lru_cache(maxsize=2)
def gzip_bomb(size: int) -> bytes:
    """Return gzip bytes that unpack to `size` bytes of JSON: blanks, and an empty object at the end."""
    pack = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    block = b" " * _BLOCK
    whole, rest = divmod(max(size - 2, 0), _BLOCK)
    pieces = [pack.compress(block) for _ in range(whole)]
    pieces += [pack.compress(block[:rest]), pack.compress(b"{}"), pack.flush()]
    return b"".join(pieces)
