"""The memory tier: decoded answers, limited by the bytes that they take. No I/O."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from operator import attrgetter
from typing import Any, TypeAlias
from weakref import ref

from cachetools import TLRUCache
from msgspec import Struct

from ..models.integers import whole
from ..protocol.requests import Request
from .entry import Entry

Key: TypeAlias = tuple[str, Request]
"""The cache key: the id of a scope, and a request."""


def clock_of(system: Any) -> Callable[[], float]:
    """Return the clock of the module `time` that never goes back, and goes on while the machine sleeps.

    `monotonic` stands still meanwhile on Linux and macOS, so that an answer of yesterday would be fresh.
    """
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):  # Linux; macOS, where `monotonic` is another clock
        if hasattr(system, name):
            return partial(system.clock_gettime, getattr(system, name))
    clock: Callable[[], float] = system.monotonic
    return clock


_SYSTEM_CLOCK = clock_of(time)
MAX_BYTES = 256 * 2**20
"""The default limit of a memory in bytes."""


class Epoch(Struct, eq=False, weakref=True):
    """The time of a key between two invalidations; an answer is kept only if its epoch is not over."""

    key: Key
    over: bool = False


class Memory:
    """The entries of any number of clients. When it is full, the least recently used entries are evicted.

    Each entry belongs to a scope, so that a client reads only entries that its own credential may read. A
    memory belongs to one event loop, as its clients do; only its statistics, `len(memory)`, `bytes` and
    `evictions`, may be read in another thread. They change nothing.

    Args:
        max_bytes: the bytes that all entries may take together, with their indices.
        share: the part of `max_bytes` that the entries of one scope may take, so that no scope evicts all
            others.
        clock: returns the time in seconds; by default that since the machine was started.

    Raises:
        ValueError: `max_bytes` is not an integer of 0 or more, or `share` is not above 0 and at most 1.
    """

    def __init__(
        self,
        max_bytes: int = MAX_BYTES,
        *,
        share: float = 0.25,
        clock: Callable[[], float] = _SYSTEM_CLOCK,
    ) -> None:
        most = whole(max_bytes)
        if most is None or most < 0:
            raise ValueError("max_bytes has to be a whole number, 0 or more")
        if not 0 < share <= 1:
            raise ValueError("share has to be above 0 and at most 1")
        self._clock = clock
        self._share = int(most * share)
        self._entries = _Entries(most, clock)
        # Not a `WeakValueDictionary`, whose methods take longer than a hit.
        self._epochs: dict[Key, ref[Epoch]] = {}

    @property
    def clock(self) -> Callable[[], float]:
        """The clock of all times of the entries."""
        return self._clock

    def __len__(self) -> int:
        return len(self._entries.usable(self._clock()))

    @property
    def bytes(self) -> int:
        """The bytes that all entries take."""
        return sum(entry.size for entry in self._entries.usable(self._clock()))

    @property
    def evictions(self) -> int:
        """How many entries were evicted to make room for others."""
        return self._entries.evictions

    def get(self, key: Key, now: float | None = None) -> Entry | None:
        """Return the entry of a key, fresh or stale, or None; `now`, if given, is the time of the clock."""
        recent = self._entries.recent
        entry = recent.get(key)
        if entry is None or entry.expires <= (self._clock() if now is None else now):
            return None
        recent.move_to_end(key)
        return entry

    def holds(self, scope: str) -> bool:
        """Return whether there is an entry of a scope, which may have expired."""
        return scope in self._entries.by_scope

    def put(self, epoch: Epoch, entry: Entry) -> None:
        """Keep an entry, unless its epoch is over or it is larger than a scope's share."""
        if epoch.over:
            return
        key = epoch.key
        with self._entries.timer as now:  # the clock stands still inside, so that nothing expires meanwhile
            if key in self._entries.recent:
                self._entries.pop(key, None)
            if entry.size <= self._share and now < entry.expires:
                self._entries.make_room(key[0], self._share - entry.size)
                self._entries[key] = entry

    def epoch(self, key: Key) -> Epoch:
        """Return the current epoch of a key; it is the same until the key is invalidated."""
        known = self._epochs.get(key)
        return (known and known()) or self._begin(key)

    def new_epoch(self, key: Key) -> Epoch:
        """Begin a new epoch of a key, and return it; answers to earlier requests are not kept."""
        self.epoch(key).over = True
        return self._begin(key)

    def _begin(self, key: Key) -> Epoch:
        epoch = Epoch(key)
        # What replaces the reference, or removes it, drops the only one to it, and then it calls nothing.
        self._epochs[key] = ref(epoch, partial(self._epochs.pop, key))
        return epoch

    def remove(self, scopes: Iterable[str], matches: Callable[[Request], bool]) -> int:
        """Remove the matching entries of some scopes, and return how many there were.

        Matching answers that are being fetched now are not kept either.
        """
        wanted = set(scopes)
        for key in list(self._epochs):
            if key[0] in wanted and matches(key[1]):
                self.epoch(key).over = True
                self._epochs.pop(key, None)
        self._entries.expire()
        gone = [key for key in self._entries.recent if key[0] in wanted and matches(key[1])]
        for key in gone:
            self._entries.pop(key, None)
        return len(gone)


class _Entries(TLRUCache[Key, Entry]):
    """A `TLRUCache` that keeps the order of use in a dict of its own, which makes `get` cheaper.

    Attributes:
        recent: the entries, the least recently used one first.
        evictions: how many entries were evicted.
        by_scope: the bytes of each scope's entries.
    """

    def __init__(self, max_bytes: int, clock: Callable[[], float]) -> None:
        super().__init__(max_bytes, lambda _key, entry, _now: entry.expires, clock, attrgetter("size"))
        self.recent: OrderedDict[Key, Entry] = OrderedDict()
        self.evictions = 0
        self.by_scope: dict[str, int] = {}

    def usable(self, now: float) -> list[Entry]:
        """Return the entries that have not expired, the others of which stay; any thread may call it."""
        # Here `list` copies all entries in one step, as the keys' hashes run no Python code. The methods of
        # `TLRUCache` would remove expired entries, and its timer may be used in one thread only.
        return [entry for entry in list(self.recent.values()) if now < entry.expires]

    def make_room(self, scope: str, limit: int) -> None:
        """Evict a scope's least recently used entries until the rest take at most `limit` bytes."""
        if self.by_scope.get(scope, 0) > limit:
            self.expire()
        while self.by_scope.get(scope, 0) > limit:
            del self[next(key for key in self.recent if key[0] == scope)]
            self.evictions += 1

    def __setitem__(self, key: Key, entry: Entry) -> None:
        super().__setitem__(key, entry)
        self.recent[key] = entry
        self.by_scope[key[0]] = self.by_scope.get(key[0], 0) + entry.size

    def __delitem__(self, key: Key) -> None:
        self._forget(key)
        super().__delitem__(key)

    def popitem(self) -> tuple[Key, Entry]:
        key, entry = next(iter(self.recent.items()))
        del self[key]
        self.evictions += 1
        return key, entry

    def expire(self, time: float | None = None) -> Any:
        expired = super().expire(time)
        for key, _ in expired:
            self._forget(key)
        return expired

    def _forget(self, key: Key) -> None:
        entry = self.recent.pop(key)
        left = self.by_scope.pop(key[0], 0) - entry.size
        if left:
            self.by_scope[key[0]] = left
