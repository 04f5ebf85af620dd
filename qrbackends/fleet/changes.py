"""Changes in the fleet: the differences between what a consumer was last given and what is known now."""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import Literal, TypeAlias

from msgspec import Struct

from ..errors import QRBackendsError
from ..models import Backend, BackendList
from ..models.backend import is_of_entry

Kind: TypeAlias = Literal[
    "present", "appeared", "disappeared", "status", "queue", "recalibrated", "failed", "recovered"
]
ListedName: TypeAlias = tuple[str | None, str]
"""The CRN of an instance, and the name of a backend that it lists; empty for an entry without a name."""

RegionalName: TypeAlias = tuple[str | None, str]
"""A region and a backend's name: they identify a backend, whichever instance lists it."""


class Change(Struct, frozen=True):
    """A change of one backend, or of whether an instance can be listed, or an entry of its list be read.

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


class FleetState:
    """The backends, errors and calibration dates that are known, or that were reported to one consumer.

    Attributes:
        at: when the last lists came.
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
        self.instances: frozenset[str] = frozenset()
        self.backends: dict[ListedName, Backend] = {}
        self.unique: dict[RegionalName, Backend] = {}
        self.failing: dict[str | None, QRBackendsError] = {}
        self.odd: dict[ListedName, QRBackendsError] = {}
        self.calibrated: dict[RegionalName, datetime] = {}

    def listed(
        self, answers: dict[str, BackendList | QRBackendsError], instances: Collection[str], at: datetime
    ) -> None:
        """Store new lists; backends whose list is missing, or whose entry is odd, stay as they were.

        `instances` are the CRNs of all instances, in the account's order.
        """
        good = {crn: answer for crn, answer in answers.items() if isinstance(answer, BackendList)}
        self.instances = (self.instances & frozenset(instances)) | good.keys()
        bad = {crn: answer for crn, answer in answers.items() if isinstance(answer, QRBackendsError)}
        late = {crn: error for crn, error in self.failing.items() if crn in instances and crn not in good}
        self.failing = late
        self.failing.update(bad)
        odd = {
            (crn, error.backend or ""): error
            for crn, listed in good.items()
            for error in listed.errors
            if is_of_entry(error)
        }
        late_odd = {k: one for k, one in self.odd.items() if k[0] in instances and k[0] not in good}
        self.odd = late_odd | odd
        kept = {
            k: one for k, one in self.backends.items() if k[0] in instances and (k[0] not in good or k in odd)
        }
        self.backends = kept | {(crn, one.name): one for crn, listed in good.items() for one in listed}
        self.unique = self._each_once(instances)
        self.at = at

    def _each_once(self, instances: Collection[str]) -> dict[RegionalName, Backend]:
        places: dict[str | None, int] = {crn: place for place, crn in enumerate(instances)}
        best: dict[RegionalName, tuple[tuple[bool, int], Backend]] = {}
        for (crn, name), one in self.backends.items():
            known, rank = best.get((one.region, name)), (self._is_outdated(crn, name), places[crn])
            if known is None or rank < known[0]:
                best[one.region, name] = rank, one
        return {key: one for key, (_, one) in best.items()}

    def _is_outdated(self, crn: str | None, name: str) -> bool:
        return crn in self.failing or (crn, name) in self.odd

    def entries(self, per_instance: bool) -> dict[tuple[str | None, str], Backend]:
        """Return the entries of all lists, or each backend once."""
        return self.backends if per_instance else self.unique

    def unlisted(self, error: QRBackendsError, at: datetime) -> None:
        """Store that the instances could not be looked up: every known instance fails with `error`."""
        self.failing = dict.fromkeys([crn for crn, _ in self.backends] or [None], error)
        self.at = at


def differences(
    reported: FleetState,
    state: FleetState,
    wants: Callable[[str], bool],
    threshold: int,
    detail: bool,
    per_instance: bool = False,
) -> Iterator[Change]:
    """Yield the changes from `reported` to `state`, and add each to `reported` as it is yielded.

    Args:
        reported: what the consumer was given until now.
        state: what is known now.
        wants: returns whether the consumer watches the backend of a name.
        threshold: the number of jobs by which a queue has to change.
        detail: whether the consumer wants new calibrations.
        per_instance: whether a backend is reported for each instance that lists it, and not only once.
    """

    instances = state.instances  # while changes are handled, more lists may come
    for instance in {**reported.failing, **state.failing}:
        yield from _of_instance(reported, state, instance)
    for entry in {**reported.odd, **state.odd}:
        if wants(entry[1]):
            yield from _of_entry(reported, state, entry)
    told = reported.entries(per_instance)
    for key in {**told, **state.entries(per_instance)}:
        if not wants(key[1]):
            continue
        before, after = told.get(key), state.entries(per_instance).get(key)
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
    reported.instances = instances


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


def _of_instance(reported: FleetState, state: FleetState, crn: str | None) -> Iterator[Change]:
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
