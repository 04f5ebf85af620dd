"""Which backend to use: the least busy one, or all of them in some order."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import inf, isnan, nan
from typing import Final, TypeAlias

from ..cache.entry import Fetch
from ..errors import InstanceUnavailable, InvalidRequest, NotFound
from ..models import Backend, BackendList, Metric, TwoQubitMetric
from ..protocol.requests import Request
from ..tasks.fanout import answers, awaited

BackendTest: TypeAlias = Callable[[Backend], bool | Awaitable[bool]]
Value: TypeAlias = float | None
RankKey: TypeAlias = Callable[[Backend], Value | Awaitable[Value]]

_AT_ONCE = 32  # questions of the caller's own that may be under way


def _error(metric: Metric | TwoQubitMetric | None) -> Value:
    return None if metric is None else metric.value


def _clops(backend: Backend) -> Value:
    try:
        return None if backend.clops is None else -float(backend.clops.value)
    except (ValueError, OverflowError):  # the wire may send it as text, or as any number
        return None


def _two_qubit(name: str) -> Callable[[Backend], Value]:
    return lambda one: _error(getattr(one.performance_metrics, name, None))


KEYS: Final[Mapping[str, Callable[[Backend], Value]]] = {
    "queue": lambda one: one.queue_length,
    "wait_time": lambda one: None if one.wait_time_seconds is None else one.wait_time_seconds.p50,
    "clops": _clops,
    "two_qubit_error": _two_qubit("two_q_error_median"),
    "two_qubit_error_best": _two_qubit("two_q_error_best"),
    "two_qubit_error_layered": _two_qubit("two_q_error_layered"),
    "readout_error": _two_qubit("readout_error_median"),
    "qubits": lambda one: None if one.qubits is None else -one.qubits,
}
"""What backends are ranked by; the smallest value is the best one."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a backend has to be.

    Args:
        min_qubits: how many it has at least.
        operational: True for those that are online, False for the others, None for any.
        simulator: whether it is one; None for either.
        where: a test of the caller's own, plain or async; asked last, of those only that pass all else.
    """

    min_qubits: int | None = None
    operational: bool | None = True
    simulator: bool | None = False
    where: BackendTest | None = None

    def fits(self, backend: Backend) -> bool:
        """Return whether the list alone says so; `where` is not asked."""
        return (
            (self.min_qubits is None or (backend.qubits or 0) >= self.min_qubits)
            and self.operational in (None, backend.online)
            and self.simulator in (None, backend.is_simulator is True)
        )

    async def accepts(self, backend: Backend) -> bool:
        """Return what `where` says."""
        return self.where is None or bool(await awaited(self.where(backend)))


async def least_busy(fetch: Fetch, wanted: Wanted, timeout: float | None = None) -> Backend:
    """Return the backend that is wanted and has the fewest jobs waiting; of two, the first by name.

    Raises:
        NotFound: there is none.
        InstanceUnavailable: there is none in the lists that came, and not all came.
    """
    listed: BackendList = (await fetch(Request("backends"), timeout=timeout)).value
    for backend in sorted(filter(wanted.fits, listed), key=lambda one: (one.queue_length, one.name)):
        if await wanted.accepts(backend):
            return backend
    if listed.errors:
        raise InstanceUnavailable(
            "no backend that is wanted is in the lists that came, and some did not come: "
            + "; ".join(map(str, listed.errors)),
            listed.errors,
        )
    raise NotFound(f"none of the account's {len(listed)} backends is what is wanted", 404)


async def rank(
    fetch: Fetch, by: str | RankKey, wanted: Wanted, *, reverse: bool = False, timeout: float | None = None
) -> tuple[Backend, ...]:
    """Return the backends that are wanted, best first; those without the value last, in order of names.

    Args:
        fetch: answers requests, as `Client.fetch` does.
        by: one of `KEYS`, or a callable, plain or async, whose smallest value is the best.
        wanted: what they have to be.
        reverse: whether the worst come first; those without the value come last in either case.
        timeout: seconds for the list; left out, the client's limit.

    Raises:
        InvalidRequest: there is no such key.
    """
    key: RankKey | None = KEYS.get(by) if isinstance(by, str) else by
    if key is None:
        raise InvalidRequest(f"there is no key {by!r:.80}; there are {', '.join(KEYS)}, and callables")
    fields = ("wait_time_seconds",) if by == "wait_time" else ()
    listed: BackendList = (await fetch(Request("backends", fields=fields), timeout=timeout)).value
    fitting = [one for one in listed if wanted.fits(one)]
    accepted = await answers(fitting, wanted.accepts, _AT_ONCE)
    chosen = [one for one, is_accepted in zip(fitting, accepted, strict=True) if is_accepted]

    async def value(backend: Backend) -> Value:
        given: Value = await awaited(key(backend))
        return given

    values = zip(chosen, await answers(chosen, value, _AT_ONCE), strict=True)
    sign = -1 if reverse else 1

    def place(valued: tuple[Backend, Value]) -> tuple[bool, float, str]:
        backend, value = valued
        try:
            number = nan if value is None else float(value)
        except OverflowError:
            number = inf
        return (isnan(number), 0.0 if isnan(number) else sign * number, backend.name)

    return tuple(backend for backend, _ in sorted(values, key=place))
