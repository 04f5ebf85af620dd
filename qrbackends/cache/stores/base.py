"""What a store is: bytes outside this process, for other processes or a later run."""

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable


class Store(Protocol):
    """Bytes by scope and name, each with a time to live, in a place that several processes may share.

    Every method raises an OSError, for example a `ConnectionError`, if the place cannot be reached, and any
    other exception if this one operation failed. It may be called concurrently, and cancelled at any moment;
    in an event loop where it cannot work it raises. A scope is of lower-case letters and digits, usually 64.
    A name is of printable ASCII, usually some 60 characters, at most 8,000; names may differ in case only.

    The program that makes a store closes it. Where it has `aclose`, that may be called again; the calls that
    run then end or raise, and so do all later ones. `qrbackends.testing.StoreContract` tests a store.

    A client that fetches through a plain `Store` does not wait for another process that fetches the same
    answer. After `delete`, an answer whose fetch began before is not written any more, but only within the
    client that deletes. A `LeasingStore` does both among all processes.
    """

    @property
    def timeout(self) -> float:
        """Seconds that one operation may take, `LeasingStore.wait` excepted."""
        ...

    async def get(self, scope: str, name: str) -> bytes | None:
        """Return the value; None if there is none, or if what is there is not of this store's format."""
        ...

    async def put(self, scope: str, name: str, value: bytes, ttl: float) -> bool:
        """Store a value for `ttl` seconds, in place of an older one; return whether it was stored."""
        ...

    async def names(self, scope: str) -> Sequence[str]:
        """Return the names that have a value; some of the values may have expired meanwhile."""
        ...

    async def delete(self, scope: str, names: Iterable[str]) -> None:
        """Delete the values of these names; a name without a value is no error.

        That includes the value of a `put` that was called on this object before, and has not returned.
        """
        ...


@runtime_checkable
class LeasingStore(Store, Protocol):
    """A `Store` that also elects which process fetches a value, by leases; the others wait for it.

    A lease belongs to an owner, a random text, and ends after some seconds unless its owner renews it. So
    no process waits long for one that was killed. Nor for one that cannot reach the service: a lease that is
    renewed for long may be shared with another owner, of whom the first to put a value ends it.
    """

    async def acquire(self, scope: str, name: str, owner: str, lease: float, *, force: bool = False) -> bool:
        """Give the lease to `owner` for `lease` seconds, and return True; False if another owner has it.

        It may be given although another owner has it, if that one got it `lease` seconds ago or earlier. With
        `force`, take it from another owner. If the caller is cancelled, it has to call `release`: the lease
        may have been given.
        """
        ...

    async def renew(self, scope: str, name: str, owner: str, lease: float) -> bool:
        """Let the lease end `lease` seconds from now; return False if `owner` does not have it any more."""
        ...

    async def put(self, scope: str, name: str, value: bytes, ttl: float, owner: str | None = None) -> bool:
        """Store a value for `ttl` seconds; return whether it was stored.

        With an `owner`, the value is stored only if this owner has the lease; then the lease ends, and the
        workers that wait for it wake up. Without an `owner`, the value is stored, and a lease stays as it is.
        """
        ...

    async def release(self, scope: str, name: str, owner: str) -> None:
        """End the lease if `owner` has it alone, or if it was lost, and wake those who wait."""
        ...

    async def wait(self, scope: str, name: str, timeout: float) -> None:
        """Return when nobody has the lease, and after `timeout` seconds at the latest."""
        ...

    async def names(self, scope: str) -> Sequence[str]:
        """Return the names that have a value or a lease; some of both may have ended meanwhile."""
        ...

    async def delete(self, scope: str, names: Iterable[str]) -> None:
        """Delete values and leases, and wake those who wait; later puts by their owners are refused."""
        ...
