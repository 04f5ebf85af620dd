"""Answers as the cache holds and gives them."""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from msgspec import Struct

T = TypeVar("T")

Source = Literal["memory", "shared", "origin", "stale"]


class Entry(Struct, eq=False):
    """An answer, and how long it may be used. Instants are those of the memory's clock.

    Attributes:
        value: the answer, or the `NotFound` where the service has none.
        stored_at: when the service gave it.
        fresh_until: until when it is as good as a new one.
        expires: until when it is kept at all.
        size: the bytes that it takes.
        negative: whether the value is an error.
        retry_at: None, or where the service failed since: when it may be asked again in the background.
    """

    value: Any
    stored_at: float
    fresh_until: float
    expires: float
    size: int
    negative: bool = False
    retry_at: float | None = None


class Found(Struct, frozen=True):
    """An entry, and where it was found."""

    entry: Entry
    source: Source


class Fetched(Struct, Generic[T], frozen=True):
    """An answer, and where it came from.

    Attributes:
        value: the answer.
        age: seconds since the service gave it.
        source: `memory`; `shared`, the store that workers share; `origin`, the service itself; or `stale`,
            from memory though it is not fresh any more.
        fresh_for: seconds for which it stays fresh; 0 for what is not, or is never kept.
    """

    value: T
    age: float
    source: Source
    fresh_for: float = 0.0


Fetch: TypeAlias = Callable[..., Awaitable[Fetched[Any]]]
"""`Client.fetch`, or a function like it: takes the request, and some of its keyword arguments."""
