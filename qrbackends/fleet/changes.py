"""What changed in the fleet: what was told of it, held against what there is."""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import Literal, TypeAlias

from msgspec import Struct

from ..errors import QRBackendsError
from ..models import Backend, BackendList

Kind: TypeAlias = Literal[
    "present", "appeared", "disappeared", "status", "queue", "recalibrated", "failed", "recovered"
]
Key: TypeAlias = tuple[str | None, str]
"""An instance's CRN, and a backend's name."""


class Change(Struct, frozen=True):
    """Something that happened to a backend, or to an instance's list.

    Attributes:
        kind: `present` tells what there is when the watching begins; `appeared` and `disappeared`;
            `status`: online, paused or offline, or its reason, and perhaps the queue as well; `queue`: only
            the number of jobs waiting; `recalibrated`; `failed` and `recovered`: whether an instance can
            be listed.
        at: when it was seen.
        backend: the backend's name; None for `failed` and `recovered`.
        region: the region.
        instance: the instance's CRN; None where not even the instances could be looked up.
        before: the entry in the list that was told last, or None.
        after: the entry as it is now, or None.
        calibrated_at: the date of the new calibration, for `recalibrated`.
        error: why, for `failed`.
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


class State:
    """What was seen of the fleet, or told of it."""

    def __init__(self) -> None:
        self.at = datetime.min
        self.backends: dict[Key, Backend] = {}
        self.failing: dict[str | None, QRBackendsError] = {}  # by the instance's CRN
        self.calibrated: dict[Key, datetime] = {}

    def listed(
        self, answers: dict[str, BackendList | QRBackendsError], instances: Collection[str], at: datetime
    ) -> None:
        """Take new lists; backends of instances that did not give theirs stay as they were."""
        good = {crn: answer for crn, answer in answers.items() if isinstance(answer, BackendList)}
        bad = {crn: answer for crn, answer in answers.items() if isinstance(answer, QRBackendsError)}
        late = {crn: error for crn, error in self.failing.items() if crn in instances and crn not in good}
        self.failing = late
        self.failing.update(bad)
        kept = {k: one for k, one in self.backends.items() if k[0] in instances and k[0] not in good}
        self.backends = kept | {(crn, one.name): one for crn, listed in good.items() for one in listed}
        self.at = at

    def unlisted(self, error: QRBackendsError, at: datetime) -> None:
        """Take that not even the instances could be looked up."""
        self.failing = dict.fromkeys([crn for crn, _ in self.backends] or [None], error)
        self.at = at


def differences(
    told: State, state: State, wants: Callable[[str], bool], threshold: int, first: bool, detail: bool
) -> Iterator[Change]:
    """Yield what is to be told, each as it is when it is asked for, and note it as told.

    Args:
        told: what was told until now.
        state: what there is.
        wants: whether a backend of a name is watched.
        threshold: by how many jobs a queue has to change.
        first: whether nothing was told yet.
        detail: whether new calibrations are told.
    """
    for instance in {**told.failing, **state.failing}:
        yield from _of_instance(told, state, instance)
    for key in {**told.backends, **state.backends}:
        if wants(key[1]):
            yield from _of_backend(told, state, key, threshold, first)
            if detail:
                yield from _of_calibration(told, state, key)


def _of_backend(told: State, state: State, key: Key, threshold: int, first: bool) -> Iterator[Change]:
    before, after = told.backends.get(key), state.backends.get(key)
    one = after or before
    kind = kind_of(before, after, threshold, first)
    if kind is None or one is None:
        return
    if after is None:
        del told.backends[key]
    else:
        told.backends[key] = after
    yield Change(kind, state.at, one.name, one.region, one.instance, before, after)


def _of_calibration(told: State, state: State, key: Key) -> Iterator[Change]:
    now, known, one = state.calibrated.get(key), told.calibrated.get(key), state.backends.get(key)
    if now is None or (known is not None and now <= known):
        return
    told.calibrated[key] = now
    if known is not None and one is not None:
        yield Change(
            "recalibrated", state.at, one.name, one.region, one.instance, after=one, calibrated_at=now
        )


def kind_of(
    before: Backend | None, after: Backend | None, threshold: int = 1, first: bool = False
) -> Kind | None:
    """Return what became of a backend, or None if nothing that is told; arguments as for `differences`."""
    if before is None:
        return None if after is None else "present" if first else "appeared"
    if after is None:
        return "disappeared"
    if (before.status.name, before.status.reason) != (after.status.name, after.status.reason):
        return "status"
    return "queue" if abs(before.queue_length - after.queue_length) >= threshold else None


def _of_instance(told: State, state: State, crn: str | None) -> Iterator[Change]:
    before, error = told.failing.get(crn), state.failing.get(crn)
    region = _region(crn) or (error or before or QRBackendsError("")).region
    if error is not None and before is None:
        told.failing[crn] = error
        yield Change("failed", state.at, None, region, crn, error=error)
    elif error is None and before is not None:
        del told.failing[crn]
        yield Change("recovered", state.at, None, region, crn)


def _region(crn: str | None) -> str | None:
    parts = (crn or "").split(":")
    return parts[5] if len(parts) > 5 else None
