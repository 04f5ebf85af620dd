"""The memory tier: decoded answers, bounded by what they take. No I/O."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from cachetools import TLRUCache

from ..errors import NotFound
from ..protocol.requests import Request

Key: TypeAlias = tuple[str, Request]
"""A scope's id, and what was asked in it."""

MAX_BYTES = 256 * 2**20


class Entry:
    """An answer, and how long it may be used. Instants are those of the memory's clock.

    Attributes:
        value: the answer, or the error where the service has none.
        stored_at: when the service gave it.
        fresh_until: until when it is as good as a new one.
        expires: until when it is kept at all.
        size: the bytes that it takes.
        retry_at: where the service failed since: not to be asked before.
        kept: whether a memory has it now.
    """

    __slots__ = ("__weakref__", "expires", "fresh_until", "kept", "retry_at", "size", "stored_at", "value")

    def __init__(self, value: Any, stored_at: float, fresh_until: float, expires: float, size: int) -> None:
        self.value = value
        self.stored_at = stored_at
        self.fresh_until = fresh_until
        self.expires = expires
        self.size = size
        self.retry_at: float | None = None
        self.kept = False

    @property
    def negative(self) -> bool:
        """Whether it says that there is no answer."""
        return isinstance(self.value, NotFound)


class Ticket:
    """The right to store the answer to one question, until somebody invalidates it."""

    __slots__ = ("__weakref__", "key", "valid")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.valid = True


class Memory:
    """Answers of any number of clients, the least recently used of which leave when there is no room.

    Nobody reads what their own credential could not read: every entry belongs to a scope. Like its clients,
    it belongs to one event loop.

    Args:
        max_bytes: what all entries may take together, with their indices.
        share: the part of it that the entries of one scope may take, so that none drives out all others.
        clock: seconds; any steady clock.

    Raises:
        ValueError: `max_bytes` is negative, or `share` not above 0 and at most 1.
    """

    def __init__(
        self, max_bytes: int = MAX_BYTES, *, share: float = 0.25, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if not isinstance(max_bytes, int) or max_bytes < 0:
            raise ValueError("max_bytes has to be a whole number, 0 or more")
        if not 0 < share <= 1:
            raise ValueError("share has to be above 0 and at most 1")
        self.clock = clock
        self.used: dict[Key, None] = {}
        """What was read without asking `get`, which would have noted it; until the next `put`."""
        self._share = int(max_bytes * share)
        self._entries = _Entries(max_bytes, clock)
        self._tickets: WeakValueDictionary[Key, Ticket] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """What the entries take."""
        self._entries.expire()
        return int(self._entries.currsize)

    @property
    def evictions(self) -> int:
        """How many entries had to leave for others."""
        return self._entries.evictions

    def get(self, key: Key) -> Entry | None:
        """Return what is kept for a question, however old, or None."""
        if not self._entries.has(key):
            return None
        try:
            return self._entries[key]
        except KeyError:  # it has expired
            return None

    def put(self, ticket: Ticket, entry: Entry) -> None:
        """Keep an entry, unless its ticket is not valid any more, or it is larger than one may be."""
        if not ticket.valid:
            return
        with self._entries.timer as now:  # one instant for all of it: nothing expires half-way
            used, self.used = self.used, {}
            for key in used:
                self.get(key)
            self._entries.pop(ticket.key, None)
            if entry.size <= self._share and now < entry.expires:
                self._entries.make_room(ticket.key[0], self._share - entry.size)
                self._entries[ticket.key] = entry

    def ticket(self, key: Key) -> Ticket:
        """Return the ticket that all who ask this question share until it is invalidated."""
        ticket = self._tickets.get(key)
        if ticket is None:
            ticket = self._tickets[key] = Ticket(key)
        return ticket

    def new_ticket(self, key: Key) -> Ticket:
        """Return a new ticket; what was asked with the old one is not kept."""
        old = self._tickets.get(key)
        if old is not None:
            old.valid = False
        ticket = self._tickets[key] = Ticket(key)
        return ticket

    def remove(self, scopes: Iterable[str], matches: Callable[[Request], bool]) -> int:
        """Remove the matching entries of some scopes, and return how many there were.

        What is being fetched for such a question now is not kept either.
        """
        wanted = set(scopes)
        for key, ticket in list(self._tickets.items()):
            if key[0] in wanted and matches(key[1]):
                ticket.valid = False
                del self._tickets[key]
        self._entries.expire()
        gone = [key for scope in wanted for key in self._entries.keys_of(scope) if matches(key[1])]
        for key in gone:
            self._entries.pop(key, None)
        return len(gone)


class _Entries(TLRUCache[Key, Entry]):
    """cachetools' cache, which also knows the keys of each scope, least recently used first."""

    def __init__(self, max_bytes: int, clock: Callable[[], float]) -> None:
        super().__init__(max_bytes, lambda _key, entry, _now: entry.expires, clock, lambda entry: entry.size)
        self.evictions = 0
        self._scopes: dict[str, OrderedDict[Key, Entry]] = {}
        self._bytes: dict[str, int] = {}

    def has(self, key: Key) -> bool:
        """Return whether there is an entry, be it expired."""
        return key in self._scopes.get(key[0], ())

    def keys_of(self, scope: str) -> list[Key]:
        return list(self._scopes.get(scope, ()))

    def make_room(self, scope: str, limit: int) -> None:
        """Let a scope's least recently used entries leave until its others take no more than `limit`."""
        self.expire()
        while self._bytes.get(scope, 0) > limit:
            del self[next(iter(self._scopes[scope]))]
            self.evictions += 1

    def __getitem__(self, key: Key) -> Entry:
        entry: Entry = super().__getitem__(key)
        self._scopes[key[0]].move_to_end(key)
        return entry

    def __setitem__(self, key: Key, entry: Entry) -> None:
        super().__setitem__(key, entry)
        entry.kept = True
        self._scopes.setdefault(key[0], OrderedDict())[key] = entry
        self._bytes[key[0]] = self._bytes.get(key[0], 0) + entry.size

    def __delitem__(self, key: Key) -> None:
        self._forget(key)
        super().__delitem__(key)

    def popitem(self) -> tuple[Key, Entry]:
        self.evictions += 1
        return super().popitem()

    def expire(self, time: float | None = None) -> Any:
        expired = super().expire(time)
        for key, _ in expired:
            self._forget(key)
        return expired

    def _forget(self, key: Key) -> None:
        keys = self._scopes[key[0]]
        entry = keys.pop(key)
        entry.kept = False
        self._bytes[key[0]] -= entry.size
        if not keys:
            del self._scopes[key[0]], self._bytes[key[0]]
