"""What a store is: bytes outside this process, for other workers or a later run."""

from collections.abc import Iterable, Sequence
from typing import Protocol


class Store(Protocol):
    """Bytes by scope and name, with a time to live and a lease, in a place that several processes share.

    A method raises an OSError (`ConnectionError` among them) where the place cannot be reached, and anything
    else where this one operation failed. Scopes and names are printable ASCII.
    """

    @property
    def timeout(self) -> float:
        """Seconds that one operation, other than `wait`, may take."""
        ...

    async def get(self, scope: str, name: str) -> bytes | None:
        """Return what is stored, or None where there is nothing, or nothing of this kind."""
        ...

    async def acquire(self, scope: str, name: str, owner: str, lease: float, *, force: bool = False) -> bool:
        """Take the lease for so many seconds, unless another owner holds it; by force, even then.

        A lease that was taken while its taker was cancelled is released by the taker.
        """
        ...

    async def renew(self, scope: str, name: str, owner: str, lease: float) -> bool:
        """Prolong the lease; False where the owner does not hold it any more."""
        ...

    async def put(self, scope: str, name: str, value: bytes, ttl: float, owner: str) -> bool:
        """Store for `ttl` seconds, end the lease and wake who waits; only return False if it is lost."""
        ...

    async def release(self, scope: str, name: str, owner: str) -> None:
        """End the lease, where the owner still holds it, and wake who waits."""
        ...

    async def wait(self, scope: str, name: str, timeout: float) -> None:
        """Return when the lease has ended, one way or another, and after `timeout` seconds at the latest."""
        ...

    async def names(self, scope: str) -> Sequence[str]:
        """Return the names that have a value or a lease; some may have ended meanwhile."""
        ...

    async def delete(self, scope: str, names: Iterable[str]) -> None:
        """Delete values and leases, and wake who waits; a leader's `put` is refused from then on."""
        ...
