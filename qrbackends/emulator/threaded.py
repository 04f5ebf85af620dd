"""The emulator in a thread of its own, for code that is not async, or runs in other event loops."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from ..accounts.account import Account, InstanceSearch
from ..models import ABackend
from ..surface.addresses import Addresses
from .server import Emulator
from .services.emulated_instances import EmulatedInstance
from .steering.clock import ClockState
from .steering.states import EmulatorState
from .surface.actions import Action
from .surface.faults import Fault
from .surface.log import LoggedRequest

T = TypeVar("T")


class ThreadedEmulator:
    """An `Emulator` with an event loop and a thread of its own; its methods can be called from any thread.

    So can those of the faults that it returns: `fault.wait_reached()` blocks until requests have arrived, and
    `fault.release()` lets them go.

    A child process that is forked can send it requests, but cannot control it: the thread is the parent's.

        with ThreadedEmulator() as emulator:
            ...

    Args:
        options: the arguments of `Emulator`.
    """

    def __init__(self, **options: Any) -> None:
        self._emulator = Emulator(**options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="emulator", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._run(self._emulator.__aenter__())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._thread.is_alive():  # a fork: thread, sockets and event loop are the parent's
            return
        try:
            self._run(self._emulator.__aexit__(None, None, None))
        finally:
            self._end()

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions."""
        return self._emulator.regions

    @property
    def instances(self) -> tuple[EmulatedInstance, ...]:
        """All service instances, in the order in which Global Search lists them."""
        return self._emulator.instances

    @property
    def api_keys(self) -> tuple[str, ...]:
        """The API keys that IAM accepts."""
        return self._emulator.api_keys

    @property
    def requests(self) -> tuple[LoggedRequest, ...]:
        """The requests since the last `reset_log()`, in the order of arrival."""
        return self._call(lambda: self._emulator.requests)

    @property
    def iam_url(self) -> str:
        """The address of IAM."""
        return self._emulator.iam_url

    @property
    def search_url(self) -> str:
        """The address of Global Search."""
        return self._emulator.search_url

    @property
    def catalog_url(self) -> str:
        """The address of Global Catalog, which ends in /api/v1."""
        return self._emulator.catalog_url

    @property
    def control_url(self) -> str:
        """The address of the control API, as `Emulator.control_url`."""
        return self._emulator.control_url

    @property
    def control_token(self) -> str:
        """The token of the control API, as `Emulator.control_token`."""
        return self._emulator.control_token

    @property
    def clock(self) -> ClockState:
        """The emulator's time, and how fast it passes."""
        return self._call(lambda: self._emulator.clock)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults, in the order in which they were added."""
        return self._call(lambda: self._emulator.faults)

    def url(self, region: str) -> str:
        """Return the base address of a region's Backends API, or for `cloud` of the other services."""
        return self._emulator.url(region)

    def backends(self, region: str | None = None) -> tuple[str, ...]:
        """Return the sorted names of the backends of a region, or of all regions."""
        return self._emulator.backends(region)

    def account(self, key: int = 0, *, search: InstanceSearch | None = None) -> Account:
        """Return an account with one of the API keys, as `Emulator.account` does."""
        return self._emulator.account(key, search=search)

    def addresses(self, host: str | None = None) -> Addresses:
        """Return where the emulator is, as `Emulator.addresses` does."""
        return self._emulator.addresses(host)

    def make_token(self, key: int = 0) -> str:
        """Return a new bearer token, as `Emulator.make_token` does."""
        return self._call(lambda: self._emulator.make_token(key))

    def count(
        self, resource: str | None = None, backend: ABackend | None = None, region: str | None = None
    ) -> int:
        """Return the number of requests that match; an argument that is left out matches any request."""
        return self._call(lambda: self._emulator.count(resource, backend, region))

    def reset_log(self) -> None:
        """Forget all requests, and count from 0 again."""
        self._call(self._emulator.reset_log)

    def reset(self) -> None:
        """Bring it back to its start, for the next test, as `Emulator.reset` does."""
        self._run(self._emulator.reset())

    def fault(
        self,
        action: Action,
        *,
        resource: str | None = None,
        backend: ABackend | None = None,
        region: str | None = None,
        times: int | None = 1,
        name: str | None = None,
    ) -> Fault:
        """Add a fault and return it, as `Emulator.fault` does."""
        return self._call(
            lambda: self._emulator.fault(
                action, resource=resource, backend=backend, region=region, times=times, name=name
            )
        )

    def find_fault(self, name: str) -> Fault:
        """Return the fault of a name, as `Emulator.find_fault` does."""
        return self._call(lambda: self._emulator.find_fault(name))

    def remove_fault(self, name: str) -> None:
        """Remove a fault, and answer the requests that it holds, as `Emulator.remove_fault` does."""
        self._call(lambda: self._emulator.remove_fault(name))

    def clear_faults(self) -> None:
        """Remove all faults, and answer the requests that they hold."""
        self._call(self._emulator.clear_faults)

    def set_backend(
        self,
        backend: ABackend,
        *,
        status: Literal["online", "paused", "offline"] | None = None,
        reason: str = "",
        queue_length: int | None = None,
        hidden: bool = False,
        retired: bool = False,
    ) -> None:
        """Set how a backend is from now on, as `Emulator.set_backend` does."""
        self._call(
            lambda: self._emulator.set_backend(
                backend,
                status=status,
                reason=reason,
                queue_length=queue_length,
                hidden=hidden,
                retired=retired,
            )
        )

    def recalibrate(self, backend: ABackend) -> None:
        """Let a calibration of a backend end at this moment, as `Emulator.recalibrate` does."""
        self._call(lambda: self._emulator.recalibrate(backend))

    def advance(self, seconds: float) -> None:
        """Move the clock forward, as `Emulator.advance` does."""
        self._run(self._emulator.advance(seconds))

    def set_clock(self, *, now: float | None = None, rate: float | None = None) -> None:
        """Set the time, or how fast it passes, as `Emulator.set_clock` does."""
        self._run(self._emulator.set_clock(now=now, rate=rate))

    def state(self) -> EmulatorState:
        """Return the clock, regions, backends and faults, as `Emulator.state` does."""
        return self._call(self._emulator.state)

    def journal(self) -> bytes:
        """Return the requests since the last `reset_log()` as lines of JSON, as `Emulator.journal` does."""
        return self._call(self._emulator.journal)

    def expire_tokens(self) -> None:
        """Refuse all tokens issued until now."""
        self._call(self._emulator.expire_tokens)

    def stop_region(self, region: str) -> None:
        """Stop the port of a region, or of `cloud`: connections are closed, and new ones refused."""
        self._run(self._emulator.stop_region(region))

    def start_region(self, region: str) -> None:
        """Start a stopped region, or `cloud`, on the same port."""
        self._run(self._emulator.start_region(region))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if not self._thread.is_alive():
            work.close()
            raise RuntimeError(
                "the emulator's thread does not run in this process: it has not begun, has ended, or is that "
                "of the process that this one was forked from"
            )
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _call(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return self._run(call())

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
