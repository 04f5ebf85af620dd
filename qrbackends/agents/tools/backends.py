"""Tools about the account's backends: which there are, which to take, and what each is like."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, ClassVar, Final

from anyio import to_thread
from msgspec import Meta, Struct

from ...fleet import ranking
from ...fleet.filters import BackendFilter
from ...fleet.keys import KEYS, RankKey
from ...fleet.ranking import Wanted
from ...models import Backend, BackendSummary, GateSummary, Spread, summary
from ...tasks.fanout import together
from ..reading import Reading
from ..schemas import MOST_ROWS, Answer, Arguments, Limit, Offset, OneBackend, Page, Unit

_UNITS: Final[Mapping[RankKey, str]] = {
    "queue": "jobs",
    "wait_time": "s",
    "clops": "layers/s",
    "qubits": "qubits",
}


class Filter(Arguments, frozen=True, kw_only=True):
    """Which backends are meant."""

    name: Annotated[str, Meta(max_length=100, description="Pattern of names, such as ibm_*.")] = "*"
    region: Annotated[str | None, Meta(description="Region, such as us-east.")] = None
    min_qubits: Annotated[int, Meta(ge=0, lt=2**31)] = 0

    def wanted(self, operational: bool | None = True, simulator: bool | None = False) -> Wanted:
        """Return the conditions for backends in this state, and of this kind."""
        named = BackendFilter(name=self.name)
        return Wanted(
            min_qubits=self.min_qubits,
            operational=operational,
            simulator=simulator,
            where=lambda one: self.region in (None, one.region) and named(one),
        )


class ListArguments(Filter, frozen=True, kw_only=True):
    """The arguments of `list_backends`."""

    online: Annotated[
        bool | None, Meta(description="true: only those that run jobs now; false: only the others.")
    ] = None
    offset: Offset = 0
    limit: Limit = MOST_ROWS


class RankArguments(Filter, frozen=True, kw_only=True):
    """The arguments of `rank_backends`."""

    by: RankKey
    online: Annotated[bool, Meta(description="Whether to rank only those that run jobs now.")] = True
    worst_first: bool = False
    offset: Offset = 0
    limit: Limit = 10


class BackendRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A backend; `value` is what it is ranked by."""

    name: str
    region: str | None = None
    status: Annotated[str, Meta(description="online, paused or offline.")]
    queue_length: Annotated[int, Meta(description="Jobs that wait.")]
    qubits: int | None = None
    processor: str | None = None
    simulator: bool = False
    value: float | None = None


class Backends(Page, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of `list_backends`, and of `rank_backends`."""

    lists: ClassVar[tuple[str, ...]] = ("backends", "errors")
    rest: ClassVar[str] = ", or narrow name, region or min_qubits"

    value_unit: str | None = None
    backends: tuple[BackendRow, ...]


class LeastBusy(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of `least_busy`."""

    lists: ClassVar[tuple[str, ...]] = ("errors",)

    backend: BackendRow


class Status(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of `backend_status`."""

    backend: str
    operational: Annotated[bool, Meta(description="Whether it takes and runs jobs.")]
    status: str | None = None
    message: str | None = None
    queue_length: Annotated[int, Meta(description="Jobs that wait.")]
    version: str | None = None


class FigureRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A figure over all qubits, or all places of a gate, that work."""

    figure: Annotated[str, Meta(description="T1, T2, readout error, or the error of a gate.")]
    unit: Unit
    median: float
    best: float
    best_on: tuple[int, ...]
    worst: float
    worst_on: tuple[int, ...]
    not_counted: Annotated[int, Meta(description="Errors of 1 and more, and values no device can have.")] = 0
    length_seconds: Annotated[float | None, Meta(description="Median length of the gate.")] = None


class FaultyGate(Struct, frozen=True, kw_only=True):
    """A gate that does not work on its qubits."""

    gate: str
    qubits: tuple[int, ...]


class Summary(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of `backend_summary`."""

    lists: ClassVar[tuple[str, ...]] = (
        *("other_gates", "faulty_gates", "broken_couplings", "faulty_qubits"),
        *("basis_gates", "missing", "errors"),
    )
    rest: ClassVar[str] = "list_qubits, qubit_calibration and coupling_map tell of single qubits"

    backend: str
    region: str | None = None
    version: str | None = None
    processor: str | None = None
    simulator: bool = False
    status: str | None = None
    reason: str | None = None
    queue_length: Annotated[int | None, Meta(description="Jobs that wait.")] = None
    qubits: int | None = None
    couplings: Annotated[int | None, Meta(description="Coupled pairs of qubits.")] = None
    bidirectional: bool | None = None
    lattice: str | None = None
    basis_gates: tuple[str, ...] = ()
    two_qubit_gate: str | None = None
    clops: Annotated[int | str | None, Meta(description="Circuit layers per second.")] = None
    max_shots: int | None = None
    max_circuits: Annotated[int | None, Meta(description="Circuits of one job.")] = None
    calibrated_at: datetime | None = None
    calibration_age_seconds: float | None = None
    faulty_qubits: tuple[int, ...] = ()
    broken_couplings: Annotated[
        tuple[tuple[int, int], ...], Meta(description="Pairs that cannot be used.")
    ] = ()
    faulty_gates: tuple[FaultyGate, ...] = ()
    missing: Annotated[tuple[str, ...], Meta(description="Why a figure is missing.")] = ()
    figures: Annotated[tuple[FigureRow, ...], Meta(description="T1, T2, readout and two-qubit error.")] = ()
    other_gates: tuple[FigureRow, ...] = ()


async def list_backends(reading: Reading, ask: ListArguments) -> Backends:
    """List the account's backends (quantum computers and simulators), in order of their names."""
    wanted = ask.wanted(ask.online, simulator=None)
    listed = (await reading.backends()).unique()
    found = [one for one in listed if wanted.fits(one) and await wanted.accepts(one)]
    found.sort(key=lambda one: (one.name, one.region or ""))
    rows = tuple(map(_row, found[ask.offset : ask.offset + ask.limit]))
    return Backends(total=len(found), offset=ask.offset, backends=rows)


async def least_busy(reading: Reading, ask: Filter) -> LeastBusy:
    """Find the quantum computer that runs jobs now and has the fewest jobs waiting."""
    return LeastBusy(backend=_row(await ranking.least_busy(reading.fetch, ask.wanted())))


async def rank_backends(reading: Reading, ask: RankArguments) -> Backends:
    """Rank quantum computers by one value, the best first; those without a value are last.

    Errors are a device's medians, unless the name says best or layered; wait_time is the median.
    """
    found = await ranking.rank(reading.fetch, ask.by, ask.wanted(ask.online or None), reverse=ask.worst_first)
    value = KEYS[ask.by]
    rows = tuple(_row(one, value(one)) for one in found[ask.offset : ask.offset + ask.limit])
    unit = _UNITS.get(ask.by, "1")
    return Backends(total=len(found), offset=ask.offset, value_unit=unit, backends=rows)


async def backend_status(reading: Reading, ask: OneBackend) -> Status:
    """Tell whether a backend runs jobs now, and how many wait for it."""
    found = await reading.status(ask.backend)
    return Status(
        backend=ask.backend,
        operational=found.operational,
        status=found.status,
        message=found.message,
        queue_length=found.queue_length,
        version=found.backend_version,
    )


async def backend_summary(reading: Reading, ask: OneBackend) -> Summary:
    """Summarize a backend: size, gates, state, queue, and what its calibration says.

    That is the median, best and worst T1, T2, readout and gate errors, and what is faulty.
    """
    configuration, properties, entry = await together(
        reading.configuration(ask.backend),
        reading.properties_if_any(ask.backend),
        reading.entry(ask.backend),
    )
    found: BackendSummary = await to_thread.run_sync(
        partial(summary, configuration, properties, listed=entry)
    )
    gates = {one.gate: one for one in found.gates}
    native = gates.pop(found.two_qubit_gate or "", None)
    return Summary(
        backend=found.backend_name,
        region=found.region,
        version=found.backend_version,
        processor=found.processor,
        simulator=configuration.simulator is True,
        status=found.status,
        reason=found.reason,
        queue_length=found.queue_length,
        qubits=found.qubits,
        couplings=found.couplings,
        bidirectional=found.bidirectional,
        lattice=found.lattice,
        basis_gates=found.basis_gates,
        two_qubit_gate=found.two_qubit_gate,
        clops=found.clops,
        max_shots=configuration.max_shots,
        max_circuits=configuration.max_experiments,
        calibrated_at=found.calibrated_at,
        calibration_age_seconds=found.calibration_age,
        faulty_qubits=found.faulty_qubits,
        broken_couplings=found.broken_couplings,
        faulty_gates=tuple(FaultyGate(gate=one.gate, qubits=one.qubits) for one in found.faulty_gates),
        missing=tuple(f"{one.gate or one.figure}: {one.reason}" for one in found.missing),
        figures=(
            *_figure("T1", "s", found.t1),
            *_figure("T2", "s", found.t2),
            *_figure("readout error", "1", found.readout_error),
            *(_gate(native) if native else ()),
        ),
        other_gates=tuple(figure for one in gates.values() for figure in _gate(one)),
    )


def _row(backend: Backend, value: float | None = None) -> BackendRow:
    return BackendRow(
        name=backend.name,
        region=backend.region,
        status=backend.status.name,
        queue_length=backend.queue_length,
        qubits=backend.qubits,
        processor=str(backend.processor_type or "") or None,
        simulator=backend.is_simulator is True,
        value=None if value is None else abs(value),  # where more is better, the key is negative
    )


def _gate(gate: GateSummary) -> Iterator[FigureRow]:
    return _figure(f"{gate.gate} error", "1", gate.error, gate.length)


def _figure(name: str, unit: Unit, spread: Spread | None, length: float | None = None) -> Iterator[FigureRow]:
    if spread is not None:
        yield FigureRow(
            figure=name,
            unit=unit,
            median=spread.median,
            best=spread.best,
            best_on=spread.best_on,
            worst=spread.worst,
            worst_on=spread.worst_on,
            not_counted=spread.left_out,
            length_seconds=length,
        )
