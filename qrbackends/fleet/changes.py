"""Changes in the fleet: the differences between what a consumer was last given and what is known now."""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import Literal, TypeAlias

from msgspec import Struct

from ..errors import QRBackendsError
from ..models import Backend, BackendList

Kind: TypeAlias = Literal[
    "present", "appeared", "disappeared", "status", "queue", "recalibrated", "failed", "recovered"
]
ListedName: TypeAlias = tuple[str | None, str]
"""The CRN of an instance, and the name of a backend that it lists."""


class Change(Struct, frozen=True):
    """A change of one backend, or of whether an instance can be listed.

    Attributes:
        kind: `present`: the first list of its instance had the backend; `appeared` and `disappeared`: a later
            list gained or lost it; `status`: its state or the reason for it changed, and perhaps its queue
            as well; `queue`: only the number of waiting jobs changed; `recalibrated`: it has a new
            calibration; `failed` and `recovered`: the instance cannot be listed, or can be again.
        at: when this client saw the change.
        backend: the backend's name; None for `failed` and `recovered`.
        region: the region.
        instance: the instance's CRN; None where not even the instances could be looked up.
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
    """The backends, errors and calibration dates that are known, or that were reported to one consumer."""

    def __init__(self) -> None:
        self.at = datetime.min
        self.instances: frozenset[str] = frozenset()  # whose lists have come
        self.backends: dict[ListedName, Backend] = {}
        self.failing: dict[str | None, QRBackendsError] = {}  # by the instance's CRN
        self.calibrated: dict[ListedName, datetime] = {}

    def listed(
        self, answers: dict[str, BackendList | QRBackendsError], instances: Collection[str], at: datetime
    ) -> None:
        """Store new lists; the backends of an instance whose list is missing stay as they were."""
        good = {crn: answer for crn, answer in answers.items() if isinstance(answer, BackendList)}
        self.instances = (self.instances & frozenset(instances)) | good.keys()
        bad = {crn: answer for crn, answer in answers.items() if isinstance(answer, QRBackendsError)}
        late = {crn: error for crn, error in self.failing.items() if crn in instances and crn not in good}
        self.failing = late
        self.failing.update(bad)
        kept = {k: one for k, one in self.backends.items() if k[0] in instances and k[0] not in good}
        self.backends = kept | {(crn, one.name): one for crn, listed in good.items() for one in listed}
        self.at = at

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
) -> Iterator[Change]:
    """Yield the changes from `reported` to `state`, and add each to `reported` as it is yielded.

    Args:
        reported: what the consumer was given until now.
        state: what is known now.
        wants: returns whether the consumer watches the backend of a name.
        threshold: the number of jobs by which a queue has to change.
        detail: whether the consumer wants new calibrations.
    """
    instances = state.instances  # while changes are handled, more lists may come
    for instance in {**reported.failing, **state.failing}:
        yield from _of_instance(reported, state, instance)
    for key in {**reported.backends, **state.backends}:
        if wants(key[1]):
            yield from _of_backend(reported, state, key, threshold)
            if detail:
                yield from _of_calibration(reported, state, key)
    reported.instances = instances


def _of_backend(reported: FleetState, state: FleetState, key: ListedName, threshold: int) -> Iterator[Change]:
    first = key[0] not in reported.instances  # there may be backends in a list that comes late
    before, after = reported.backends.get(key), state.backends.get(key)
    one = after or before
    kind = kind_of(before, after, threshold, first)
    if kind is None or one is None:
        return
    if after is None:
        del reported.backends[key]
    else:
        reported.backends[key] = after
    yield Change(kind, state.at, one.name, one.region, one.instance, before, after)


def _of_calibration(reported: FleetState, state: FleetState, key: ListedName) -> Iterator[Change]:
    now, known, one = state.calibrated.get(key), reported.calibrated.get(key), state.backends.get(key)
    if now is None or (known is not None and now <= known):
        return
    reported.calibrated[key] = now
    if known is not None and one is not None:
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


def _region(crn: str | None) -> str | None:
    parts = (crn or "").split(":")
    return parts[5] if len(parts) > 5 else None
