"""Changes in the fleet: the differences between what a consumer was last given and what is known now."""

from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from typing import Literal, NamedTuple, TypeAlias

from ..errors import QRBackendsError
from ..messages.counts import counted
from ..models import Backend, BackendList
from ..models.backend import is_of_entry
from ..models.formatting import visible
from ..models.shown import Shown

Kind: TypeAlias = Literal[
    "present", "appeared", "disappeared", "status", "queue", "recalibrated", "failed", "recovered"
]
ListedName: TypeAlias = tuple[str | None, str]
"""The CRN of an instance, and the name of a backend that it lists; empty for an entry without a name."""

RegionalName: TypeAlias = tuple[str | None, str]
"""A region and a backend's name: they identify a backend, whichever instance lists it."""

_LONGEST = 512  # characters of a name or state in a line; a CRN has at most as many


class Change(Shown, frozen=True):
    """A change of one backend, or of whether an instance can be listed, or an entry of its list be read.

    Its `str` is a line such as `ibm_boston (eu-de): online (available) to offline (maintenance)`.

    Attributes:
        kind: `present`: the first list of its instance had the backend; `appeared` and `disappeared`: a later
            list gained or lost it; `status`: its state or the reason for it changed, and perhaps its queue
            as well; `queue`: only the number of waiting jobs changed; `recalibrated`: it has a new
            calibration; `failed` and `recovered`: the instance cannot be listed, or can be again; with a
            backend, its entry in the list cannot be read, or can be again.
        at: when this client saw the change.
        backend: the backend's name, empty for an entry without one; None for `failed` and `recovered` of an
            instance.
        region: the region.
        instance: the instance's CRN, for a backend that of the one whose list is used; None where not even
            the instances could be looked up.
        before: the list's entry that was reported last, or None.
        after: the list's entry as it is now, or None.
        calibrated_at: the date of the new calibration, for `recalibrated`.
        error: the error, for `failed`.
    """

    kind: Kind
    at: datetime
    backend: str | None = None
    region: str | None = None
    instance: str | None = None
    before: Backend | None = None
    after: Backend | None = None
    calibrated_at: datetime | None = None
    error: QRBackendsError | None = None

    def __str__(self) -> str:
        return f"{visible(_where(self), _LONGEST)}: {_described(self)}"


def _where(change: Change) -> str:
    """Return the backend's name; for an instance the beginning of its GUID, which tells it from others."""
    if change.backend is not None:
        name = change.backend or "a backend without a name"
        return f"{name} ({change.region})" if change.region else name
    if change.instance is None:
        return "the service"
    guid = change.instance.split(":")[7:8]
    return f"{change.region}, instance {guid[0][:8]}" if guid and change.region else change.instance


def _described(change: Change) -> str:
    before, after = change.before, change.after
    match change.kind:
        case "failed":
            return f"fails: {str(change.error).removeprefix(f'[{change.region}]: ')}"
        case "recovered" if change.backend is not None:
            return "its entry in the list can be read again"
        case "recovered":
            return "answers again"
        case "recalibrated" if change.calibrated_at is not None:
            return f"recalibrated at {change.calibrated_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        case "queue" if before is not None and after is not None:
            return f"queue {before.queue_length:,} to {after.queue_length:,}"
        case "status" if before is not None and after is not None:
            return f"{_state(before)} to {_state(after)}"
    if after is None:
        return change.kind
    return f"{change.kind}, {_state(after)}, {counted(after.queue_length, 'job')}"


def _state(backend: Backend) -> str:
    name, reason = backend.status.name, backend.status.reason
    return visible(f"{name} ({reason})" if reason else name, _LONGEST)


class _Listing(NamedTuple):
    """What is known from one instance's lists.

    Attributes:
        answer: the newest list.
        backends: its entries; those that cannot be read any more are as they were.
        odd: the errors of the entries that cannot be read.
        whole: the entries that can be read, by region and name.
        outdated: the entries that cannot be read any more, by region and name.
    """

    answer: BackendList
    backends: dict[ListedName, Backend]
    odd: dict[ListedName, QRBackendsError]
    whole: dict[RegionalName, Backend]
    outdated: dict[RegionalName, Backend]


def _listing(crn: str, answer: BackendList, before: dict[ListedName, Backend]) -> _Listing:
    odd: dict[ListedName, QRBackendsError] = {
        (crn, error.backend or ""): error for error in answer.errors if is_of_entry(error)
    }
    backends = {key: before[key] for key in odd if key in before}
    backends.update({(crn, one.name): one for one in answer})
    whole: dict[RegionalName, Backend] = {}
    outdated: dict[RegionalName, Backend] = {}
    for key, one in backends.items():
        (outdated if key in odd else whole)[one.region, one.name] = one
    return _Listing(answer, backends, odd, whole, outdated)


class FleetState:
    """The backends, errors and calibration dates that are known, or that were reported to one consumer.

    Attributes:
        at: when the last lists came.
        version: another object whenever there are other backends, failing instances, odd entries or dates.
        instances: the CRNs of the instances whose lists have come.
        backends: the entries of all lists.
        unique: each backend once: the entry of the first instance in the account's order that does not fail,
            or else of the first one. An entry that cannot be read any more counts as one that fails.
        failing: the errors of the instances that fail, by CRN.
        odd: the errors of the entries that cannot be read.
        calibrated: the dates of the newest calibrations.
    """

    def __init__(self) -> None:
        self.at = datetime.min
        self.version = object()
        self.instances: frozenset[str] = frozenset()
        self.backends: dict[ListedName, Backend] = {}
        self.unique: dict[RegionalName, Backend] = {}
        self.failing: dict[str | None, QRBackendsError] = {}
        self.odd: dict[ListedName, QRBackendsError] = {}
        self.calibrated: dict[RegionalName, datetime] = {}
        self._listings: dict[str, _Listing] = {}
        self._order: tuple[str, ...] = ()  # of all instances

    def listed(
        self, answers: dict[str, BackendList | QRBackendsError], instances: Collection[str], at: datetime
    ) -> None:
        """Store new lists; backends whose list is missing, or whose entry is odd, stay as they were.

        A list that is the same object as the instance's last one costs nothing. `instances` are the CRNs of
        all instances, in the account's order.
        """
        self.at = at
        good = {crn: answer for crn, answer in answers.items() if isinstance(answer, BackendList)}
        bad = {crn: answer for crn, answer in answers.items() if isinstance(answer, QRBackendsError)}
        late = {crn: error for crn, error in self.failing.items() if crn in instances and crn not in good}
        known, failed = self._listings, self.failing.keys()
        self.failing = late
        self.failing.update(bad)
        order = tuple(instances)
        new = [crn for crn, one in good.items() if crn not in known or known[crn].answer is not one]
        if new or order != self._order or self.failing.keys() != failed:
            made = {crn: _listing(crn, good[crn], self.backends) for crn in new}
            self._listings = {crn: one for crn, one in {**known, **made}.items() if crn in instances}
            self._order = order
            self._merge()
            self.version = object()

    def _merge(self) -> None:
        listings = self._listings
        self.instances = frozenset(listings)
        self.odd = {key: error for one in listings.values() for key, error in one.odd.items()}
        self.backends, self.unique = {}, {}
        for one in listings.values():  # new backends are reported in the order in which their lists came
            self.backends.update(one.backends)
            self.unique.update(one.outdated | one.whole)
        ranked = [(listings[crn], crn in self.failing) for crn in reversed(self._order) if crn in listings]
        for one, fails in ranked:  # the best entry of each backend is put last
            self.unique.update(one.outdated | one.whole if fails else one.outdated)
        for one, fails in ranked:
            if not fails:
                self.unique.update(one.whole)

    def entries(self, per_instance: bool) -> dict[tuple[str | None, str], Backend]:
        """Return the entries of all lists, or each backend once."""
        return self.backends if per_instance else self.unique

    def unlisted(self, error: QRBackendsError, at: datetime) -> None:
        """Store that the instances could not be looked up: every known instance fails with `error`."""
        self.at = at
        failed = self.failing.keys()
        crns: list[str | None] = [crn for crn, one in self._listings.items() if one.backends]
        self.failing = dict.fromkeys(crns or [None], error)
        if self.failing.keys() != failed:
            self._order, self.version = (), object()  # the next lists are merged anew

    def recalibrated(self, backend: Backend, date: datetime) -> None:
        """Store the date of a backend's newest calibration."""
        key = backend.region, backend.name
        if self.calibrated.get(key) != date:
            self.calibrated[key] = date
            self.version = object()


def differences(
    reported: FleetState,
    state: FleetState,
    wants: Callable[[str], bool],
    threshold: int,
    detail: bool,
    per_instance: bool = False,
    only: str | None = None,
) -> Iterator[Change]:
    """Yield the changes from `reported` to `state`, and add each to `reported` as it is yielded.

    A state in whose version nothing was left to be reported costs nothing.

    Args:
        reported: what the consumer was given until now.
        state: what is known now.
        wants: returns whether the consumer watches the backend of a name.
        threshold: the number of jobs by which a queue has to change.
        detail: whether the consumer wants new calibrations.
        per_instance: whether a backend is reported for each instance that lists it, and not only once.
        only: the CRN of the instance whose list alone counts; it goes with `per_instance`. None for all.
    """
    if state.version is reported.version:
        return
    version, instances = state.version, state.instances  # while changes are handled, more lists may come
    for instance in {**reported.failing, **state.failing}:
        yield from _of_instance(reported, state, instance, only)
    for entry in {**reported.odd, **state.odd}:
        if wants(entry[1]) and only in (None, entry[0]):
            yield from _of_entry(reported, state, entry)
    told = reported.entries(per_instance)
    for key in {**told, **state.entries(per_instance)}:
        before, after = told.get(key), state.entries(per_instance).get(key)
        if (before is after and not detail) or not wants(key[1]) or only not in (None, key[0]):
            continue
        one = after or before
        first = one is not None and one.instance not in reported.instances  # its list may have come late
        kind = kind_of(before, after, threshold, first)
        if kind is not None and one is not None:
            if after is None:
                del told[key]
            else:
                told[key] = after
            yield Change(kind, state.at, one.name, one.region, one.instance, before, after)
        if detail:
            yield from _of_calibration(reported, state, key, state.entries(per_instance).get(key))
    reported.instances, reported.version = instances, version


def _of_calibration(
    reported: FleetState, state: FleetState, key: tuple[str | None, str], one: Backend | None
) -> Iterator[Change]:
    now = None if one is None else state.calibrated.get((one.region, one.name))
    known = reported.calibrated.get(key)
    if one is None or now is None or (known is not None and now <= known):
        return
    reported.calibrated[key] = now
    if known is not None:
        yield Change(
            "recalibrated", state.at, one.name, one.region, one.instance, after=one, calibrated_at=now
        )


def kind_of(
    before: Backend | None, after: Backend | None, threshold: int = 1, first: bool = False
) -> Kind | None:
    """Return the kind of a backend's change, or None if it is not reported; arguments as `differences`."""
    if before is None:
        return None if after is None else "present" if first else "appeared"
    if after is None:
        return "disappeared"
    if (before.status.name, before.status.reason) != (after.status.name, after.status.reason):
        return "status"
    return "queue" if abs(before.queue_length - after.queue_length) >= threshold else None


def _of_instance(
    reported: FleetState, state: FleetState, crn: str | None, only: str | None
) -> Iterator[Change]:
    if only is not None and crn not in (None, only):
        return
    before, error = reported.failing.get(crn), state.failing.get(crn)
    region = _region(crn) or (error or before or QRBackendsError("")).region
    if error is not None and before is None:
        reported.failing[crn] = error
        yield Change("failed", state.at, None, region, crn, error=error)
    elif error is None and before is not None:
        del reported.failing[crn]
        yield Change("recovered", state.at, None, region, crn)


def _of_entry(reported: FleetState, state: FleetState, key: ListedName) -> Iterator[Change]:
    before, error = reported.odd.get(key), state.odd.get(key)
    if error is not None and before is None:
        reported.odd[key] = error
        yield Change("failed", state.at, key[1], _region(key[0]) or error.region, key[0], error=error)
    elif error is None and before is not None:
        del reported.odd[key]
        yield Change("recovered", state.at, key[1], _region(key[0]) or before.region, key[0])


def _region(crn: str | None) -> str | None:
    parts = (crn or "").split(":")
    return parts[5] if len(parts) > 5 else None
