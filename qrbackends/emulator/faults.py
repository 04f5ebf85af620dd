"""Faults that can be scripted.

A fault is added with `Emulator.fault(action, …)`, and affects the first `times` requests that match it.
Nothing is random: a request gets the first added fault that matches it and has not affected `times` requests.
"""

import asyncio
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

_BLOCK = 1 << 20

ErrorBody: TypeAlias = bytes | str | dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Status:
    """The answer has this status.

    Attributes:
        status: the HTTP status.
        headers: further headers.
        body: a dict is sent as JSON, bytes as they are, a str as HTML, as gateways do; None stands for the
            service's own error body.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: ErrorBody = None


@dataclass(frozen=True, slots=True)
class Hold:
    """The request waits for `Fault.release()`, and is then answered normally."""


@dataclass(frozen=True, slots=True)
class Delay:
    """The request waits for some seconds, and is then answered normally."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset by TCP, without an answer."""


@dataclass(frozen=True, slots=True)
class Truncate:
    """Only a part of the body is sent.

    Attributes:
        gzip: if False, Content-Length is that of the whole body, and the connection closes early. If True,
            the body is a gzip stream without its end, and Content-Length is that of the part sent.
        keep: the fraction of the body that is sent, from 0 to 1.
    """

    gzip: bool = False
    keep: float = 0.5


@dataclass(frozen=True, slots=True)
class Garbage:
    """The answer has status 200 and a body that is not JSON."""

    body: bytes = b"<html>\xff\x00 this is not JSON"
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Bomb:
    """The answer has status 200 and a gzip body that decompresses to `size` bytes, 1000 times its own."""

    size: int = 256 << 20


@dataclass(frozen=True, slots=True)
class Redirect:
    """The answer is a redirect to `url`."""

    url: str
    status: int = 302


@dataclass(frozen=True, slots=True)
class Drip:
    """The answer is sent slowly.

    Attributes:
        interval: seconds between two pieces.
        size: bytes in a piece.
        head: whether status line and headers are sent in pieces, too.
    """

    interval: float = 1.0
    size: int = 1
    head: bool = False


@dataclass(frozen=True, slots=True)
class Endless:
    """The answer has status 200 and a body without an end, sent as fast as the client reads."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Requests beyond a rate are answered with 429, the others normally; a token bucket decides.

    Attributes:
        rate: requests per second.
        burst: number of requests that may come at once.
        retry_after: the `Retry-After` that is sent, in seconds; None for no such header.
    """

    rate: float = 50.0
    burst: int = 10
    retry_after: int | None = 1


@dataclass(frozen=True, slots=True)
class NotModified:
    """The answer has status 304 and no body, whether the request has a condition or not.

    Attributes:
        etag: the `ETag` that is sent; None for no such header.
    """

    etag: str | None = None


@dataclass(frozen=True, slots=True)
class WithHeaders:
    """The request is answered normally, but with these headers, which replace those of the same names.

    So answers get validators that are malformed, too long or never the same. The emulator does not compare
    them with a request's condition, but those that it would have sent itself.
    """

    headers: Mapping[str, str]


Action: TypeAlias = (
    Status
    | Hold
    | Delay
    | Reset
    | Truncate
    | Garbage
    | Bomb
    | Redirect
    | Drip
    | Endless
    | RateLimit
    | NotModified
    | WithHeaders
)


class Bucket:
    """A token bucket, full at first.

    Args:
        rate: tokens added per second.
        burst: number of tokens that it can hold.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._counted = 0.0

    def take(self, now: float) -> bool:
        """Take a token if there is one; return whether there was one.

        Args:
            now: the time in seconds, of any clock.
        """
        self._tokens = min(self._burst, self._tokens + (now - self._counted) * self._rate)
        self._counted = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Fault:
    """A fault that was added to an emulator.

    Attributes:
        action: what it does.
        hits: the number of requests that it has affected.
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
        """Return when it has affected `hits` requests.

        Raises:
            RuntimeError: it will not: `hits` is more than its `times`, or it has been removed.
        """
        if self.hits < hits:
            if self._times is not None and hits > self._times:
                raise RuntimeError(f"the fault affects no more than {self._times} requests")
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((hits, waiter))
            await waiter

    def release(self) -> None:
        """Answer the requests that it holds, and hold no more."""
        self._released.set()

    def cancel(self) -> None:
        """Affect no more requests, answer those that it holds, and let `reached` raise."""
        self._times = self.hits
        self.release()
        for waiter in [w for _, w in self._waiters if not w.done()]:
            waiter.set_exception(RuntimeError(f"the fault was removed after {self.hits} requests"))

    async def released(self) -> None:
        """Return when `release()` has been called."""
        await self._released.wait()

    def takes(self, resource: str | None, backend: str | None, region: str) -> bool:
        """Return whether it affects this request; if so, the request is counted."""
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
        """Add a fault behind the others, and return it."""
        self._faults.append(fault)
        return fault

    def take(self, resource: str | None, backend: str | None, region: str) -> Fault | None:
        """Return the fault that affects this request, or None."""
        return next((fault for fault in self._faults if fault.takes(resource, backend, region)), None)

    def clear(self) -> None:
        """Remove all faults, and answer the requests that they hold."""
        for fault in self._faults:
            fault.cancel()
        self._faults.clear()


@lru_cache(maxsize=2)
def gzip_bomb(size: int) -> bytes:
    """Return gzip bytes that decompress to `size` bytes of JSON: blanks, and an empty object at the end."""
    pack = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    block = b" " * _BLOCK
    whole, rest = divmod(max(size - 2, 0), _BLOCK)
    pieces = [pack.compress(block) for _ in range(whole)]
    pieces += [pack.compress(block[:rest]), pack.compress(b"{}"), pack.flush()]
    return b"".join(pieces)
