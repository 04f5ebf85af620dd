"""Answers as the cache keeps and returns them."""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from msgspec import Struct

from ..models.shown import Shown
from ..protocol.validators import NONE, Validators
from ..transport.body import Wire

T = TypeVar("T")

Source = Literal["memory", "shared", "origin", "stale"]


class Entry(Struct, eq=False):
    """An answer, and how long it may be used. All times are those of the memory's clock.

    Attributes:
        value: the answer, or a `NotFound` if the service answered with a 404.
        stored_at: when the service gave the answer.
        fresh_until: when the answer becomes stale.
        expires: when the entry can no longer be used, and is removed.
        size: the bytes that the entry takes in memory.
        negative: whether the value is a `NotFound`.
        retry_at: when the next renewal may begin, if the last one failed; otherwise None.
        wire: the body as it came, or compressed; None if the entry is negative.
        validators: what the service names this version of the answer by.
        confirmed: how many answers in a row were a 304, without a body; infinite if the validators cannot be
            trusted.
    """

    value: Any
    stored_at: float
    fresh_until: float
    expires: float
    size: int
    negative: bool = False
    retry_at: float | None = None
    wire: Wire | None = None
    validators: Validators = NONE
    confirmed: float = 0


class Found(Struct, frozen=True, gc=False):
    """An entry, which tier or service it came from, and whether that had nothing new."""

    entry: Entry
    source: Source
    unchanged: bool = False

    @property
    def value(self) -> Any:
        """The entry's answer."""
        return self.entry.value


class Fetched(Shown, Generic[T], frozen=True):
    """An answer, its age, and where it came from.

    Attributes:
        value: the answer.
        age: seconds since the service gave the answer.
        source: `memory`; `shared`, the store that workers share; `origin`, the service; or `stale`, an entry
            in memory that is not fresh.
        fresh_for: seconds for which the answer stays fresh; 0 if it is stale or never kept.
        unchanged: whether the service, or the shared store, was asked and has the answer that memory had
            before, whose object `value` is. A caller's own last answer may be older than that one: compare
            the two with `is`. False where nobody was asked.
    """

    value: T
    age: float
    source: Source
    fresh_for: float = 0.0
    unchanged: bool = False


Fetch: TypeAlias = Callable[..., Awaitable[Fetched[Any]]]
"""`Client.fetch`, or a function that takes a request and some of the same keyword arguments."""
