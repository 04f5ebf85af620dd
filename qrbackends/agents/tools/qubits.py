"""Tools about the qubits of one backend: what was measured of them, how they are coupled, which to use."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal, TypeAlias

from anyio import to_thread
from msgspec import Meta, Struct

from ...analysis.layout import couplings as couplings_of
from ...fleet import ranking
from ...fleet.ranking import Wanted
from ...models import BackendProperties, GateProperties, is_out_of_order, usable
from ...models.properties import readable
from ...tasks.fanout import together
from ..reading import Reading
from ..schemas import (
    MOST_ROWS,
    Answer,
    Arguments,
    BackendName,
    Limit,
    Offset,
    OneBackend,
    Page,
    Probability,
    Qubit,
)

_MOST_NAMED = 1000  # qubits in a question

Pairs: TypeAlias = tuple[tuple[int, int], ...]


class BestArguments(Arguments, frozen=True, kw_only=True):
    """The arguments of `best_qubits`."""

    n: Annotated[int, Meta(ge=1, le=100, description="Number of qubits.")]
    shape: Annotated[
        Literal["line", "set"],
        Meta(description="line: each is coupled to the next; set: they are connected in any way."),
    ] = "line"
    backend: Annotated[
        BackendName | None, Meta(description="Left out: the least busy backend that has n qubits.")
    ] = None


class QubitsArguments(Arguments, frozen=True, kw_only=True):
    """The arguments of `list_qubits`."""

    backend: BackendName
    qubits: Annotated[
        Annotated[tuple[Qubit, ...], Meta(max_length=_MOST_NAMED)] | None, Meta(description="Only these.")
    ] = None
    sort: Annotated[
        Literal["number", "t1", "t2", "readout_error"], Meta(description="The best values are first.")
    ] = "number"
    worst_first: bool = False
    offset: Offset = 0
    limit: Limit = MOST_ROWS


class OneQubit(OneBackend, frozen=True, kw_only=True):
    """The arguments of `qubit_calibration`."""

    qubit: Qubit


class MapArguments(OneBackend, frozen=True, kw_only=True):
    """The arguments of `coupling_map`."""

    offset: Offset = 0


class QubitRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A qubit."""

    qubit: int
    t1_seconds: float | None = None
    t2_seconds: float | None = None
    readout_error: Probability = None
    works: bool = True


class Coupling(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A coupling, and the error of the native two-qubit gate on it."""

    qubits: tuple[int, int]
    error: Probability = None


class Gate(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A gate on its qubits."""

    gate: str
    qubits: tuple[int, ...]
    error: Probability = None
    length_seconds: float | None = None
    works: bool = True


class Choice(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of `best_qubits`."""

    lists: ClassVar[tuple[str, ...]] = ("details", "couplings", "errors")
    rest: ClassVar[str] = "ask list_qubits for these qubits"

    backend: str
    calibrated_at: datetime
    qubits: Annotated[tuple[int, ...], Meta(description="A line in its order; a set in ascending order.")]
    expected_error: Annotated[
        float,
        Meta(description="Probability that one of n-1 two-qubit gates, the waiting or n readouts fails."),
    ]
    couplings: tuple[Coupling, ...]
    details: tuple[QubitRow, ...]


class Qubits(Page, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of `list_qubits`."""

    lists: ClassVar[tuple[str, ...]] = ("qubits",)
    rest: ClassVar[str] = ", or name qubits"

    backend: str
    calibrated_at: datetime
    qubits: tuple[QubitRow, ...]


class QubitCalibration(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of `qubit_calibration`."""

    lists: ClassVar[tuple[str, ...]] = ("gates", "coupled_to")
    rest: ClassVar[str] = "the resource qrbackends://backends/{id}/properties?part=gates has all"

    backend: str
    qubit: int
    works: bool
    calibrated_at: datetime
    t1_seconds: float | None = None
    t2_seconds: float | None = None
    frequency_hertz: float | None = None
    anharmonicity_hertz: float | None = None
    readout_error: Probability = None
    prob_meas0_prep1: Probability = None
    prob_meas1_prep0: Probability = None
    readout_length_seconds: float | None = None
    coupled_to: tuple[int, ...] = ()
    gates: Annotated[tuple[Gate, ...], Meta(description="Those of two qubits are first.")] = ()


class CouplingMap(Page, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of `coupling_map`."""

    lists: ClassVar[tuple[str, ...]] = ("couplings", "broken_couplings")

    backend: str
    qubits: int
    bidirectional: bool | None = None
    lattice: str | None = None
    broken_couplings: Annotated[Pairs, Meta(description="Pairs that cannot be used.")] = ()
    couplings: Annotated[Pairs, Meta(description="Each pair once.")]


_ORDERS: Final[dict[str, tuple[str, Callable[[QubitRow], float | None]]]] = {
    "t1": ("T1", lambda row: row.t1_seconds),
    "t2": ("T2", lambda row: row.t2_seconds),
    "readout_error": ("readout_error", lambda row: row.readout_error),
}


async def best_qubits(reading: Reading, ask: BestArguments) -> Choice:
    """Find the n qubits of a backend with the least expected error, and tell their errors, T1 and T2.

    Two-qubit errors, readout errors and idling against T1 and T2 count.
    """
    from ...analysis.qubits import best_chain  # they need rustworkx
    from ...analysis.qubits import best_qubits as best_set

    name = ask.backend
    if name is None:
        name = (await ranking.least_busy(reading.fetch, Wanted(min_qubits=ask.n))).name
    configuration, properties = await together(reading.configuration(name), reading.properties(name))
    find = best_chain if ask.shape == "line" else best_set
    found = await to_thread.run_sync(find, configuration, properties, ask.n, abandon_on_cancel=True)
    errors = properties.coupling_errors()
    return Choice(
        backend=name,
        calibrated_at=properties.last_update_date,
        qubits=found.qubits,
        expected_error=found.expected_error,
        couplings=tuple(Coupling(qubits=on, error=errors[min(on), max(on)]) for on in found.couplings),
        details=tuple(_row(properties, qubit) for qubit in found.qubits),
    )


async def list_qubits(reading: Reading, ask: QubitsArguments) -> Qubits:
    """List T1, T2 and readout error of a backend's qubits, in any order: to find the best or worst ones."""
    properties = await reading.properties(ask.backend)
    asked = range(len(properties.qubits)) if ask.qubits is None else dict.fromkeys(ask.qubits)
    rows = _sorted([_row(properties, qubit) for qubit in asked], ask)
    return Qubits(
        backend=ask.backend,
        calibrated_at=properties.last_update_date,
        total=len(rows),
        offset=ask.offset,
        qubits=tuple(rows[ask.offset : ask.offset + ask.limit]),
    )


async def qubit_calibration(reading: Reading, ask: OneQubit) -> QubitCalibration:
    """Tell all that was measured of one qubit: T1, T2, frequency, readout, its gates and neighbours."""
    properties, qubit = await reading.properties(ask.backend), ask.qubit
    row = _row(properties, qubit)
    gates = sorted(
        (_gate(on, one) for on, one in readable(properties.gates) if qubit in on),
        key=lambda gate: (-len(gate.qubits), gate.gate, gate.qubits),
    )
    return QubitCalibration(
        backend=ask.backend,
        qubit=qubit,
        works=row.works,
        calibrated_at=properties.last_update_date,
        t1_seconds=row.t1_seconds,
        t2_seconds=row.t2_seconds,
        frequency_hertz=properties.frequency(qubit),
        anharmonicity_hertz=properties.anharmonicity(qubit),
        readout_error=row.readout_error,
        prob_meas0_prep1=properties.prob_meas0_prep1(qubit),
        prob_meas1_prep0=properties.prob_meas1_prep0(qubit),
        readout_length_seconds=properties.readout_length(qubit),
        coupled_to=tuple(
            sorted({one for gate in gates if len(gate.qubits) == 2 for one in gate.qubits} - {qubit})
        ),
        gates=tuple(gates),
    )


async def coupling_map(reading: Reading, ask: MapArguments) -> CouplingMap:
    """List which qubits of a backend are coupled, and which couplings cannot be used."""
    configuration, properties = await together(
        reading.configuration(ask.backend), reading.properties_if_any(ask.backend)
    )
    pairs = sorted(couplings_of(configuration))
    broken = () if properties is None else properties.broken_couplings()
    return CouplingMap(
        backend=ask.backend,
        qubits=configuration.n_qubits,
        bidirectional=configuration.topology.bidirectional,
        lattice=configuration.topology.lattice,
        broken_couplings=broken,
        couplings=tuple(pairs[ask.offset :]),
        total=len(pairs),
        offset=ask.offset,
    )


def _row(properties: BackendProperties, qubit: int) -> QubitRow:
    error = properties.readout_error(qubit)
    return QubitRow(
        qubit=qubit,
        t1_seconds=properties.t1(qubit),
        t2_seconds=properties.t2(qubit),
        readout_error=error,
        works=properties.is_qubit_operational(qubit) and not is_out_of_order(error),
    )


def _gate(on: tuple[int, ...], gate: GateProperties) -> Gate:
    error, length = gate.parameter("gate_error"), gate.parameter("gate_length")
    value = None if error is None else error.si
    return Gate(
        gate=gate.gate,
        qubits=on,
        error=value,
        length_seconds=None if length is None else length.si,
        works=gate.operational and not is_out_of_order(value),
    )


def _sorted(rows: list[QubitRow], ask: QubitsArguments) -> list[QubitRow]:
    """Return the rows in the order that was asked for; those without a value that counts are last."""
    if ask.sort == "number":
        return sorted(rows, key=lambda row: row.qubit, reverse=ask.worst_first)
    name, value = _ORDERS[ask.sort]
    known = [row for row in rows if usable(name, value(row)) is not None]
    known.sort(key=lambda row: value(row) or 0.0, reverse=(ask.sort != "readout_error") != ask.worst_first)
    return known + [row for row in rows if usable(name, value(row)) is None]
