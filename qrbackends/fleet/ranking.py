"""Choosing a backend: the least busy one, or all of them in order of a key."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf, isnan, nan
from typing import TypeAlias

from anyio import current_time

from ..cache.entry import Fetch
from ..errors import InstanceUnavailable, InvalidRequest, NotFound, QRBackendsError
from ..messages.counts import counted
from ..messages.suggestions import suggested
from ..models import Backend, BackendConfiguration, BackendList, unique
from ..models.backend import BackendTuple
from ..protocol.requests import Request
from ..tasks.fanout import answers, awaited
from ..tasks.loops import running_loop
from .checks import check_choice, check_count, check_where
from .filters import BackendFilter
from .keys import KEYS, RankKey, Value

BackendTest: TypeAlias = Callable[[Backend], bool | Awaitable[bool]]
"""A test of a backend's entry in the list, plain or async."""

RankFunction: TypeAlias = Callable[[Backend], Value | Awaitable[Value]]
"""Returns the value of a backend, plain or async; the smallest value is the best."""

_AT_ONCE = 32  # calls of the caller's own async functions, and configurations, that may be awaited at a time
_AHEAD = 4  # configurations that are read at a time, where the first one will often do
_FOREVER = 1e9  # seconds; an integer may be too large for a float
_AT_LAST = 1e-6  # seconds that are left after the deadline, for what is known already

logger = logging.getLogger("qrbackends.ranking")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The conditions that a backend has to meet.

    Args:
        min_qubits: the smallest number of qubits.
        operational: True for backends that are online, False for the others, None for all.
        simulator: True for simulators, False for the others, None for all.
        where: the caller's own test, plain or async; it is called only if all other conditions are met. A
            `BackendFilter`, which needs no more than the entry, is asked before configurations are read.
        include_mocks: whether mock devices may be chosen.
        use_fractional_gates: True for backends that have fractional gates; others, for all.

    Raises:
        InvalidRequest: a condition has the wrong type, or is out of its range.
    """

    min_qubits: int | None = None
    operational: bool | None = True
    simulator: bool | None = False
    where: BackendTest | None = None
    include_mocks: bool = False
    use_fractional_gates: bool | None = False

    def __post_init__(self) -> None:
        check_count("min_qubits", self.min_qubits)
        for name in ("operational", "simulator", "use_fractional_gates"):
            check_choice(name, getattr(self, name))
        check_where(self.where)

    def request(self, fields: Sequence[str] = ()) -> Request:
        """Return the request for the list that has every backend that is wanted."""
        return Request("backends", fields=fields, include_mocks=self.include_mocks)

    def fits(self, backend: Backend) -> bool:
        """Return whether a backend meets all conditions that its entry alone can tell."""
        return (
            (self.min_qubits is None or (backend.qubits or 0) >= self.min_qubits)
            and self.operational in (None, backend.online)
            and self.simulator in (None, backend.is_simulator is True)
            and (not isinstance(self.where, BackendFilter) or self.where(backend))
        )

    def fitting(self, backends: Iterable[Backend]) -> list[list[Backend]]:
        """Return the entries that fit, those of each backend together."""
        found: dict[tuple[str | None, str], list[Backend]] = {}
        for one in backends:
            if self.fits(one):
                found.setdefault((one.region, one.name), []).append(one)
        return list(found.values())

    async def accepts(self, backend: Backend) -> bool:
        """Return the result of `where`."""
        return self.where is None or bool(await awaited(self.where(backend)))


class _GateCheck:
    """Tells which backends have the gates that are wanted, by their configurations.

    Attributes:
        errors: one error for each configuration that could not be read.

    Args:
        fetch: answers requests, as `Client.fetch` does.
        wanted: the conditions.
        timeout: seconds from now on that they may take together; None for the client's limit for each.
    """

    def __init__(self, fetch: Fetch, wanted: Wanted, timeout: float | None) -> None:
        self.errors: list[QRBackendsError] = []
        self._fetch, self._wanted, self._timeout = fetch, wanted, timeout
        running_loop()  # or else it says what to do
        self._began = current_time()

    async def passed(self, backends: Sequence[Backend]) -> list[bool]:
        """Return whether each backend has the gates; False, too, if its configuration cannot be read."""
        if not self._wanted.use_fractional_gates:
            return [True] * len(backends)
        return await answers(backends, self._has_fractional_gates, _AT_ONCE)

    async def _has_fractional_gates(self, backend: Backend) -> bool:
        left = self._timeout
        if left is not None:
            left = max(min(left, _FOREVER) - (current_time() - self._began), _AT_LAST)
        try:
            request = Request("configuration", backend.name)
            fetched = await self._fetch(request, instance=backend.instance, timeout=left)
        except QRBackendsError as error:
            if error.final:
                raise
            self.errors.append(error)
            return False
        configuration: BackendConfiguration = fetched.value
        return configuration.has_fractional_gates


async def least_busy(fetch: Fetch, wanted: Wanted, timeout: float | None = None) -> Backend:
    """Return the backend with the shortest queue that meets the conditions; of two, the first by name.

    Configurations are read only if they have to be, a few at a time, beginning with the shortest queue. What
    cannot be read is passed over, and logged.

    Raises:
        NotFound: no backend meets the conditions.
        InstanceUnavailable: none was found that does, and some lists or configurations could not be read.
    """
    gates = _GateCheck(fetch, wanted, timeout)
    listed: BackendList = (await fetch(wanted.request(), timeout=timeout)).value
    # Lists are of different ages: what the first instance says of a backend counts, as everywhere.
    queue = sorted(wanted.fitting(listed), key=lambda same: (same[0].queue_length, same[0].name))
    for first in range(0, len(queue), _AHEAD):
        some = queue[first : first + _AHEAD]
        for same, passed in zip(some, await gates.passed([one for one, *_ in some]), strict=True):
            for backend in same if passed else ():
                if await wanted.accepts(backend):
                    _log_unread(listed, gates)
                    return backend
    errors = (*listed.errors, *gates.errors)
    if errors:
        raise InstanceUnavailable(
            "no backend that is wanted was found; of lists and configurations, some did not come or were not "
            "read completely: " + "; ".join(map(str, errors)),
            errors,
        )
    raise NotFound(_none_wanted(listed.unique(), wanted), 404)


def _log_unread(listed: BackendList, gates: _GateCheck) -> None:
    """Log the lists and configurations that could not be read, whose backends may be better ones."""
    for error in listed.errors:
        logger.warning("backends are not ranked: %s", error)
    for error in gates.errors:
        logger.warning("a backend is not ranked: %s", error)


def _none_wanted(listed: BackendList, wanted: Wanted) -> str:
    """Return that no backend of a list is what is wanted, and why, where a single condition tells it."""
    problem = f"none of the account's {len(listed):,} backends is what is wanted"
    if len(listed) < 2:
        problem = "the account's only backend is not what is wanted" if listed else "no backend is listed"
    largest = max((one.qubits or 0 for one in listed), default=0)
    reasons = wanted.where.unmatched(listed) if listed and isinstance(wanted.where, BackendFilter) else ()
    if wanted.min_qubits is not None and largest < wanted.min_qubits:
        reasons += (f"the largest has {counted(largest, 'qubit')}",)
    return "; ".join((problem, *reasons))


async def rank(
    fetch: Fetch,
    by: RankKey | RankFunction,
    wanted: Wanted,
    *,
    reverse: bool = False,
    timeout: float | None = None,
) -> tuple[Backend, ...]:
    """Return the backends that meet the conditions, best first; unknown values come last, in order of names.

    A backend that several instances list is in the result once, with the first of its entries that is wanted.
    Configurations are read only if they have to be; backends whose list or configuration cannot be read are
    left out, and logged.

    Args:
        fetch: answers requests, as `Client.fetch` does.
        by: one of `KEYS`, or a callable, plain or async, whose smallest value is the best.
        wanted: the conditions.
        reverse: whether the worst backend comes first; unknown values come last in either case.
        timeout: seconds that the list and the configurations may take together; None for the client's limit
            for each.

    Raises:
        InvalidRequest: there is no such key.
    """
    key: RankFunction | None = KEYS.get(by) if isinstance(by, str) else by
    if not callable(key):
        problem = f"there is no key {by!r:.80}; there are {', '.join(KEYS)}, and callables"
        raise InvalidRequest(suggested(problem, str(by), KEYS))
    fields = ("wait_time_seconds",) if by == "wait_time" else ()
    gates = _GateCheck(fetch, wanted, timeout)
    listed: BackendList = (await fetch(wanted.request(fields), timeout=timeout)).value
    found = wanted.fitting(listed)
    passed = zip(found, await gates.passed([one for one, *_ in found]), strict=True)
    fitting = [one for same, has_gates in passed if has_gates for one in same]
    _log_unread(listed, gates)
    accepted = await answers(fitting, wanted.accepts, _AT_ONCE)
    chosen = unique(one for one, is_accepted in zip(fitting, accepted, strict=True) if is_accepted)

    async def value(backend: Backend) -> Value:
        given: Value = await awaited(key(backend))
        return given

    values = zip(chosen, await answers(chosen, value, _AT_ONCE), strict=True)
    sign = -1 if reverse else 1

    def sort_key(valued: tuple[Backend, Value]) -> tuple[bool, float, str]:
        backend, value = valued
        try:
            number = nan if value is None else float(value)
        except OverflowError:
            number = inf
        return (isnan(number), 0.0 if isnan(number) else sign * number, backend.name)

    return BackendTuple(backend for backend, _ in sorted(values, key=sort_key))
