"""A store, made safe to use: values are authenticated, and errors of the store are logged, not raised."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from contextvars import Context
from math import inf
from typing import Any, Final, TypeVar

import anyio
from msgspec import Struct

from ...accounts.scope import Scope
from ...protocol.answers import printable
from ...tasks.deadlines import answer_timeout
from ...tasks.flight import stopped
from ...tasks.loops import off_loop, raise_own_cancellation
from .base import LeasingStore, Store
from .seal import Stored, seal, unseal

T = TypeVar("T")
logger = logging.getLogger("qrbackends.store")

LEASE = 5.0
"""Seconds after which a lease ends unless its owner renews it: others wait so long for a killed worker."""

_PAUSE = 1.0  # seconds for which a store that could not be reached is not asked again
_AGAIN = 0.25  # seconds after which a lease is released again, if that failed
_PROBED = ("probe", "probe")  # scope and name of what a store is asked for to learn whether it works again
_FAILED: Final[bytes | None] = b"failed"  # compared by identity: a store may return equal bytes
_AT_ONCE = 8  # operations; further ones wait, without using up the store's timeout


class StoreStats(Struct, frozen=True):
    """Counts of what a client did with its store.

    Attributes:
        hits: answers found, fresh or not.
        misses: look-ups that found nothing.
        rejected: values that were damaged, or written without the credential.
        errors: operations that failed or took too long.
        writes: answers stored.
    """

    hits: int = 0
    misses: int = 0
    rejected: int = 0
    errors: int = 0
    writes: int = 0


class Shared:
    """A store, made safe to use: values are authenticated, and no method raises an error of the store.

    With a `LeasingStore`, one worker fetches an answer and the others wait for it. With a plain `Store`,
    each worker that asks fetches. Then `delete`, and `lead` with `force`, refuse the older answers of the
    fetches that began before through this object; those of other processes may still be written.

    Args:
        store: where the bytes are.
        limit: bytes that an answer may have, decompressed.
        clock: Unix seconds, as on the other machines.
    """

    def __init__(self, store: Store, limit: int, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._leasing = store if isinstance(store, LeasingStore) else None
        self.limit = limit
        self._clock = clock
        self._open = False  # the circuit: while it is open, no caller's operation is tried
        self._failed_at = -inf
        self._probe: asyncio.Task[bytes | None] | None = None
        self._failing: set[str] = set()  # the kinds of operations that failed when they were last tried
        self._logged: set[str] = set()
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)
        self._releasing = anyio.CapacityLimiter(_AT_ONCE)  # of its own: no caller waits for a release
        self._tasks: set[asyncio.Task[None]] = set()  # renewals and releases
        self._closing = asyncio.Event()
        self._fetching: set[tuple[str, str, str]] = set()  # scope, name, owner; with a plain store only
        self.hits = self.misses = self.rejected = self.errors = self.writes = 0

    def stats(self) -> StoreStats:
        """Return the counts since this object was made."""
        return StoreStats(self.hits, self.misses, self.rejected, self.errors, self.writes)

    async def get(self, scope: Scope, name: str) -> Stored | None:
        """Return the answer stored under this name; None if there is none, or the store fails."""
        sealed = await self._attempt("read", lambda: self._store.get(scope.id, name), _FAILED)
        if sealed is None or sealed is _FAILED:
            self.misses += sealed is None
            return None
        stored = None
        if isinstance(sealed, bytes):  # a store may be anybody's code
            stored = await off_loop(
                len(sealed), lambda: unseal(scope.key, scope.id, name, sealed, self._clock())
            )
        if stored is None:
            self.rejected += 1
            self._tell_once("a value in the shared cache is not one of ours, or damaged; it is not used")
        else:
            self.hits += 1
        return stored

    async def lead(self, scope: Scope, name: str, *, force: bool = False) -> "Lease | None":
        """Return the right to fetch an answer and to store it; None while another worker has it.

        With a plain store, and while a store fails, every caller gets the right. With `force`, an answer
        that another worker fetches now is not stored.
        """
        lease = Lease(self, scope, name, secrets.token_hex(16))
        leasing = self._leasing
        if leasing is None:
            if force:
                self._refuse(scope, [name])
            self._fetching.add((scope.id, name, lease.owner))
            lease.asked = True
            return lease

        async def acquire() -> bool:
            lease.asked = True  # whatever becomes of the answer, the store may have given it
            return bool(await leasing.acquire(scope.id, name, lease.owner, LEASE, force=force))

        try:
            leads = await self._attempt("write", acquire, True)
        except BaseException:  # cancelled: the store may have given the lease by now
            lease.release()
            raise
        if leads and lease.asked:
            lease.begin()
        return lease if leads else None

    async def wait(self, scope: Scope, name: str) -> bool:
        """Return True when the worker that leads has stored, failed or died; False if that cannot be known.

        It waits for `LEASE` seconds at most. With a plain store, it returns False at once.
        """
        leasing = self._leasing
        if leasing is None:
            return False

        async def waited() -> bool:
            await leasing.wait(scope.id, name, LEASE)
            return True

        return await self._attempt("wait", waited, False, LEASE)

    async def names(self, scope: Scope) -> Sequence[str]:
        """Return the names that are stored in a scope, or fetched for it now."""

        async def stored() -> list[str]:
            return [name for name in await self._store.names(scope.id) if isinstance(name, str)]

        names: list[str] = await self._attempt("read", stored, [])
        fetching = {name for scope_id, name, _ in self._fetching if scope_id == scope.id}
        return [*names, *fetching.difference(names)]

    async def delete(self, scope: Scope, names: Sequence[str]) -> None:
        """Delete the answers of these names; those that are being fetched now are not stored."""
        if names:
            self._refuse(scope, names)
            await self._attempt("write", lambda: self._store.delete(scope.id, names), None)

    async def renew(self, scope: Scope, name: str, owner: str) -> bool:
        """Prolong a lease by `LEASE` seconds; return False if it is lost, True while the store fails."""
        leasing = self._leasing
        if leasing is None:
            return (scope.id, name, owner) in self._fetching
        return await self._attempt("write", lambda: leasing.renew(scope.id, name, owner, LEASE), True)

    async def put(self, scope: Scope, name: str, owner: str, answer: Stored, ttl: float) -> bool:
        """Store what the owner of a lease fetched, and end the lease; return whether it was stored."""
        fetched_at = self._clock()
        sealed = await off_loop(
            len(answer.wire.data), lambda: seal(scope.key, scope.id, name, answer, fetched_at)
        )
        done = await self._attempt("write", lambda: self._put(scope.id, name, owner, sealed, ttl), False)
        self.writes += done
        return done

    def release(self, scope: Scope, name: str, owner: str) -> None:
        """End a lease in the background, if its owner still has it.

        The store is asked even if it could not be reached a moment ago, as others wait for this lease.
        """
        self._fetching.discard((scope.id, name, owner))
        leasing = self._leasing
        if leasing is None:
            return

        async def release() -> bool:
            await leasing.release(scope.id, name, owner)
            return True

        self.begin(self._released(release))

    async def _released(self, release: Callable[[], Awaitable[bool]]) -> None:
        with anyio.move_on_after(LEASE):  # by then the lease has ended by itself
            async with self._releasing:
                while not (await self._tried("write", release, False) or self._closing.is_set()):
                    with anyio.move_on_after(_AGAIN):
                        await self._closing.wait()

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin some work in the background, which `aclose` ends at the latest."""
        task = asyncio.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _put(self, scope_id: str, name: str, owner: str, sealed: bytes, ttl: float) -> bool:
        if self._leasing is not None:
            return bool(await self._leasing.put(scope_id, name, sealed, ttl, owner))
        # Nothing is awaited between this check and the call, so no `delete` can come between them.
        if (scope_id, name, owner) not in self._fetching:
            return False
        stored = bool(await self._store.put(scope_id, name, sealed, ttl))
        self._fetching.discard((scope_id, name, owner))
        return stored

    def _refuse(self, scope: Scope, names: Sequence[str]) -> None:
        """Let no answer be stored under these names whose fetch has begun; with a plain store only."""
        refused = {(scope.id, name) for name in names}
        self._fetching = {place for place in self._fetching if place[:2] not in refused}

    async def aclose(self) -> None:
        """End what runs in the background, leases first; the store itself stays open."""
        self._closing.set()
        try:
            if self._tasks and not self._open:
                await asyncio.wait(self._tasks, timeout=_PAUSE)
        finally:
            await stopped([*self._tasks, *([self._probe] if self._probe is not None else [])])

    async def _attempt(
        self, kind: str, operation: Callable[[], Awaitable[T]], default: T, longer: float = 0.0
    ) -> T:
        """Return the result of an operation, or the default if it fails or the store cannot be reached.

        Args:
            kind: `read`, `write` or `wait`; a store may fail at one and not at another.
            operation: calls the store.
            default: the result of a failure.
            longer: seconds that the operation may take beyond the store's timeout. If it is not 0, the
                operation is not counted in the limit of operations at once.
        """
        async with AsyncExitStack() as stack:
            if not longer:
                await stack.enter_async_context(self._limiter)
            if self._open:
                self._probe_after_pause()
                return default
            return await self._tried(kind, operation, default, longer)

    async def _tried(
        self, kind: str, operation: Callable[[], Awaitable[T]], default: T, longer: float = 0.0
    ) -> T:
        try:
            with answer_timeout(self._store.timeout + longer):
                result = await operation()
        except OSError as error:  # a TimeoutError is one
            self.errors += 1
            self._open, self._failed_at = True, self._clock()
            if not self._failing:
                said = error.strerror or str(error) or f"no answer within {self._store.timeout:g} s"
                logger.warning("the shared cache cannot be used (%s); going on without it", said)
            self._failing.add(kind)
            return default
        except BaseException as error:  # a store may be anybody's code; SystemExit is one failure, too
            raise_own_cancellation()
            self._open = False
            self.errors += 1
            self._tell_once(f"an operation of the shared cache failed ({_told(error)})")
            return default
        self._open = False
        if kind in self._failing:
            self._failing.discard(kind)
            if not self._failing:
                self._logged.clear()
                logger.info("the shared cache can be used again")
        return result

    def _probe_after_pause(self) -> None:
        """Learn in the background whether the store works again: no caller waits for that."""
        paused = 0 <= self._clock() - self._failed_at < _PAUSE  # negative if the clock was set back
        if not paused and (self._probe is None or self._probe.done()):
            self._probe = asyncio.create_task(
                self._tried("read", lambda: self._store.get(*_PROBED), None), context=Context()
            )

    def _tell_once(self, problem: str) -> None:
        if problem not in self._logged and len(self._logged) < 10:
            self._logged.add(problem)
            logger.warning("%s", problem)


class Lease:
    """The right to fetch one answer and to store it for other workers, until `put` or `release`.

    Attributes:
        owner: a random text.
        asked: whether the store was asked for it; if not, there is nothing to renew or to end.
    """

    def __init__(self, shared: Shared, scope: Scope, name: str, owner: str) -> None:
        self.owner = owner
        self.asked = False
        self._shared = shared
        self._lease_key = (scope, name, owner)
        self._renewing: asyncio.Task[None] | None = None
        self._ended = False

    def begin(self) -> None:
        """Renew the lease in the background from now on."""
        self._renewing = self._shared.begin(self._renew())

    async def put(self, answer: Stored, ttl: float) -> None:
        """Store the answer for `ttl` seconds and end the lease; does neither if the lease was lost."""
        if self.asked:
            self._ended = await self._shared.put(*self._lease_key, answer, ttl)

    def release(self) -> None:
        """End the lease in the background, if it has not ended."""
        if self._renewing is not None:
            self._renewing.cancel()
        if self.asked and not self._ended:
            self._shared.release(*self._lease_key)

    async def _renew(self) -> None:
        held = True
        while held:
            await anyio.sleep(LEASE / 3)
            held = await self._shared.renew(*self._lease_key)


def _told(error: BaseException) -> str:
    try:
        return printable(f"{type(error).__name__}: {error}")
    except BaseException:  # the text of an error may raise anything, too
        return type(error).__name__
