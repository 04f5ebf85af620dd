"""Tools about a backend's calibrations over time: the history of a figure, and what has changed."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated, ClassVar, Final, Literal, NamedTuple, TypeAlias, get_args

from anyio import to_thread
from msgspec import Meta, Struct

from ...analysis.comparison import Comparison, compare
from ...errors import InvalidRequest, NotFound
from ...fleet.history import History
from ...models import BackendProperties, usable
from ..reading import Reading
from ..schemas import Answer, Arguments, BackendName, Limit, Offset, Page, Qubit, Unit

_EPOCH, _HOUR = datetime(1970, 1, 1, tzinfo=UTC), timedelta(hours=1)
_SHORTEST = timedelta(minutes=1)  # between two samples

Hours: TypeAlias = Annotated[
    float, Meta(gt=0, le=24 * 366 * 10, description="How far to look back, in hours.")
]
Until: TypeAlias = Annotated[
    Annotated[datetime, Meta(tz=True)] | None,
    Meta(description="End of the period, ISO 8601 with an offset; left out: now."),
]
FigureName: TypeAlias = Literal[
    "t1", "t2", "readout_error", "two_qubit_error", "frequency", "anharmonicity", "readout_length"
]


class Figure(NamedTuple):
    """A figure of a calibration.

    Attributes:
        quantity: its name in the service's documents.
        unit: its unit.
    """

    quantity: str
    unit: Unit


FIGURES: Final[Mapping[FigureName, Figure]] = {
    "t1": Figure("T1", "s"),
    "t2": Figure("T2", "s"),
    "readout_error": Figure("readout_error", "1"),
    "two_qubit_error": Figure("gate_error", "1"),
    "frequency": Figure("frequency", "Hz"),
    "anharmonicity": Figure("anharmonicity", "Hz"),
    "readout_length": Figure("readout_length", "s"),
}
"""The figures; the two-qubit error is that of the native gate."""

Kind: TypeAlias = Literal["broken", "repaired", "appeared", "gone"]
"""The lists of a `Comparison` without values."""

_COMPARED: Final[tuple[FigureName, ...]] = ("t1", "t2", "readout_error", "two_qubit_error")


class HistoryArguments(Arguments, frozen=True, kw_only=True):
    """The arguments of `calibration_history`."""

    backend: BackendName
    figure: FigureName
    qubits: Annotated[
        tuple[Qubit, ...],
        Meta(
            max_length=2,
            description="One qubit, or for two_qubit_error the two of a coupling. Left out: the median.",
        ),
    ] = ()
    hours: Hours = 7 * 24.0
    until: Until = None
    points: Annotated[
        int, Meta(ge=1, le=30, description="Samples, at equal distances; each is one request.")
    ] = 7


class DriftArguments(Arguments, frozen=True, kw_only=True):
    """The arguments of `calibration_drift`."""

    backend: BackendName
    hours: Hours = 24.0
    until: Until = None
    offset: Offset = 0
    limit: Limit = 20


class Point(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A figure at one calibration."""

    calibrated_at: datetime
    value: float | None = None


class Series(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of `calibration_history`."""

    lists: ClassVar[tuple[str, ...]] = ("errors", "points")
    rest: ClassVar[str] = "ask for fewer points, or a shorter period"

    backend: str
    figure: str
    unit: Unit
    since: datetime
    until: datetime
    newest_calibration: datetime | None = None
    points: tuple[Point, ...]


class MedianChange(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A median in both calibrations."""

    figure: str
    unit: Unit
    before: float | None = None
    after: float | None = None


class Change(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is different of a qubit, or of a gate on its qubits."""

    change: Literal["broken", "repaired", "appeared", "gone", "worse", "better"]
    qubits: tuple[int, ...]
    gate: str | None = None
    figure: str | None = None
    before: float | None = None
    after: float | None = None
    relative: Annotated[float | None, Meta(description="(after - before) / before")] = None


class Drift(Page, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of `calibration_drift`."""

    lists: ClassVar[tuple[str, ...]] = ("changes",)

    backend: str
    before: Annotated[datetime, Meta(description="Date of the earlier calibration.")]
    after: Annotated[datetime, Meta(description="Date of the later one; equal, if there is no newer one.")]
    counts: Annotated[dict[str, int], Meta(description="Changes of each kind.")]
    medians: tuple[MedianChange, ...]
    changes: Annotated[
        tuple[Change, ...],
        Meta(
            description="What is broken or repaired is first, then the greatest relative changes. SI units."
        ),
    ]


async def calibration_history(reading: Reading, ask: HistoryArguments) -> Series:
    """Tell how a figure of a backend, or of one of its qubits or couplings, was over time."""
    if len(ask.qubits) not in ((0, 2) if ask.figure == "two_qubit_error" else (0, 1)):
        raise InvalidRequest(
            f"qubits: {ask.figure} is a figure of {'two' if len(ask.qubits) == 1 else 'one'}"
        )
    until = _end(ask.until, _HOUR if ask.hours >= 24 else _SHORTEST)  # so that memory knows the samples
    since = _before(until, ask.hours)
    every = max((until - since) / ask.points, _SHORTEST)
    history = History(reading.fetch, ask.backend, since, until, every)
    points, errors = [], []
    async for one in history:
        if isinstance(one, BackendProperties):
            points.append(
                Point(calibrated_at=one.last_update_date, value=_value(one, ask.figure, ask.qubits))
            )
        else:
            errors.append(f"from {one.since.isoformat()} to {one.until.isoformat()}: {one.error}")
    return Series(
        backend=ask.backend,
        figure=ask.figure,
        unit=FIGURES[ask.figure].unit,
        since=since,
        until=until,
        newest_calibration=history.newest,
        points=tuple(points),
        errors=tuple(errors),
    )


async def calibration_drift(reading: Reading, ask: DriftArguments) -> Drift:
    """Tell what has changed between the calibration of some hours ago and the newest one."""
    then = _before(_end(ask.until), ask.hours)
    after = await reading.properties(ask.backend, updated_before=ask.until)
    try:
        before = await reading.properties(ask.backend, updated_before=then)
    except NotFound:
        problem = f"it has no calibration before {then.isoformat()}: ask for fewer hours"
        raise NotFound(problem, 404).about(backend=ask.backend) from None
    found: Comparison = await to_thread.run_sync(compare, before, after)
    worse = sum(one.worse for one in found.differences)
    counts: dict[str, int] = {kind: len(getattr(found, kind)) for kind in get_args(Kind)}
    counts |= {"worse": worse, "better": len(found.differences) - worse}
    return Drift(
        backend=ask.backend,
        before=found.before,
        after=found.after,
        counts=counts,
        medians=tuple(
            MedianChange(
                figure=name,
                unit=FIGURES[name].unit,
                before=_value(before, name, ()),
                after=_value(after, name, ()),
            )
            for name in _COMPARED
        ),
        changes=tuple(islice(_changes(found), ask.offset, ask.offset + ask.limit)),
        total=sum(counts.values()),
        offset=ask.offset,
    )


def _end(until: datetime | None, step: timedelta = _SHORTEST) -> datetime:
    """Return the end of a period: by default that of the running minute or hour, the same for all in it."""
    now = datetime.now(UTC)
    return now + (_EPOCH - now) % step if until is None else until


def _before(until: datetime, hours: float) -> datetime:
    """Return the instant some hours before another one.

    Raises:
        InvalidRequest: there is no such instant.
    """
    try:
        return until.astimezone(UTC) - timedelta(hours=hours)
    except OverflowError:
        raise InvalidRequest("the period is out of range") from None


def _value(properties: BackendProperties, name: FigureName, qubits: tuple[int, ...]) -> float | None:
    """Return a figure in SI units: its median, or that of a qubit or coupling; None if it does not count.

    Raises:
        InvalidRequest: the two qubits are not coupled.
        UnknownQubit: the device has no such qubit.
    """
    if name == "two_qubit_error":
        return _two_qubit_error(properties, qubits)
    quantity = FIGURES[name].quantity
    if not qubits:
        return properties.qubit_measurements(quantity).median
    return usable(quantity, getattr(properties, name)(qubits[0]))


def _two_qubit_error(properties: BackendProperties, qubits: tuple[int, ...]) -> float | None:
    if not qubits:
        return properties.median_two_qubit_error()
    pair = (min(qubits), max(qubits))
    errors = properties.coupling_errors()
    if pair not in errors and pair not in properties.broken_couplings():
        raise InvalidRequest(f"qubits: {pair[0]} and {pair[1]} are not coupled")
    return errors.get(pair)


def _changes(found: Comparison) -> Iterator[Change]:
    for kind in get_args(Kind):
        for element in getattr(found, kind):
            yield Change(change=kind, qubits=element.qubits, gate=element.gate)
    for one in found.differences:
        yield Change(
            change="worse" if one.worse else "better",
            qubits=one.qubits,
            gate=one.gate,
            figure=one.name,
            before=one.before,
            after=one.after,
            relative=one.relative,
        )
