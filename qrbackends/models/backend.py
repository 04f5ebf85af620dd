"""The list of backends: the body of `GET /backends`."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, NoReturn, TypeAlias, overload

from msgspec import field
from msgspec.structs import force_setattr

from ..errors import DecodeError, QRBackendsError, UnknownBackend
from ..messages.counts import counted
from ..messages.suggestions import nearest, with_question
from .formatting import visible
from .integers import Integer
from .left_out import Document
from .shown import MOST, Shown, joined


class Clops(Shown, frozen=True, gc=False):
    """Circuit layer operations per second, and the kind of measurement: `virtual` or `hardware`."""

    type: str
    value: Integer | str


class ProcessorType(Shown, frozen=True, gc=False, omit_defaults=True):
    """The processor's family and revision; the service sends revisions as text or as a number."""

    family: str | None = None
    revision: str | float | Integer | None = None
    segment: str | None = None

    def __str__(self) -> str:
        revision = None if self.revision is None else f"r{self.revision}"
        return " ".join(part for part in (self.family, revision, self.segment) if part)


class DeviceStatus(Shown, frozen=True, gc=False, omit_defaults=True):
    """The state of a backend, `online`, `paused` or `offline`, and the reason for it."""

    name: str
    reason: str | None = None


class Metric(Shown, frozen=True, gc=False, omit_defaults=True):
    """An error of the whole device: a probability; the unit on the wire is empty."""

    value: float
    unit: str | None = None


class TwoQubitMetric(Shown, frozen=True, gc=False, omit_defaults=True):
    """The error of the device's best two-qubit gate, a probability, and its qubits."""

    value: float
    gate: str
    qubits: tuple[Integer | float, ...]
    unit: str | None = None


class PerformanceMetrics(Shown, frozen=True, gc=False, omit_defaults=True):
    """Errors of the whole device, as probabilities."""

    two_q_error_best: TwoQubitMetric | None = None
    two_q_error_layered: Metric | None = None
    two_q_error_median: Metric | None = None
    readout_error_median: Metric | None = None


class WaitTime(Shown, frozen=True, gc=False):
    """How long jobs wait before they run, in seconds."""

    average: Integer
    p50: Integer
    p95: Integer


class Backend(Shown, frozen=True, gc=False, omit_defaults=True):
    """An entry of the list: a quantum computer or simulator that an instance can use.

    Attributes:
        queue_length: the number of waiting jobs; 0 where the service sends a negative one.
        qubits: the number of qubits that circuits can use.
        physical_qubits: the number of qubits on the chip, those of tunable couplers included.
        device_class: `mock` for a device that only imitates a quantum computer; the wire's `class`.
        wait_time_seconds: the jobs' waiting times; sent only for `fields=["wait_time_seconds"]`.
        region: the region that lists it; filled in by the client.
        instance: the CRN of the instance that lists it; filled in by the client.
        emulated: whether an emulator lists it, and not IBM's service; filled in by the client.
    """

    name: str
    status: DeviceStatus
    queue_length: Integer
    is_simulator: bool | None = None
    qubits: Integer | None = None
    clops: Clops | None = None
    processor_type: ProcessorType | None = None
    performance_metrics: PerformanceMetrics | None = None
    wait_time_seconds: WaitTime | None = None
    physical_qubits: Integer | None = None
    device_class: str | None = field(name="class", default=None)
    # A name of our own on the wire: a field that the service may add later must not be read as these.
    region: str | None = field(name="qrbackends_region", default=None)
    instance: str | None = field(name="qrbackends_instance", default=None)
    emulated: bool = field(name="qrbackends_emulated", default=False)

    if TYPE_CHECKING:  # otherwise mypy takes `"ibm_boston" in fleet` for a mistake

        def __eq__(self, other: object) -> bool: ...
        def __hash__(self) -> int: ...

    def __post_init__(self) -> None:
        if self.queue_length < 0:
            force_setattr(self, "queue_length", 0)

    @property
    def online(self) -> bool:
        """Whether the backend takes and runs jobs now."""
        return self.status.name == "online"

    @property
    def is_mock(self) -> bool:
        """Whether it only imitates a quantum computer; lists have mocks only with `include_mocks=True`."""
        return self.device_class == "mock"


ABackend: TypeAlias = Backend | str
"""A backend: its name, or its entry in the list, which stands for the name."""


def name_of(backend: ABackend) -> str:
    """Return the name of a backend."""
    return backend.name if isinstance(backend, Backend) else backend


class BackendsResponse(Document, frozen=True):
    """The body of `GET /backends`.

    Attributes:
        errors: one error for each entry that could not be read; filled in by the client, and not encoded.
    """

    devices: tuple[Backend, ...]
    errors: ClassVar[tuple[DecodeError, ...]] = ()

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of all backends but mocks, those with an entry that could not be read included."""
        odd = (error.backend for error in self.errors if error.backend is not None)
        return frozenset((*(device.name for device in self.devices if not device.is_mock), *odd))


class BackendTuple(tuple[Backend, ...]):
    """Some entries of a list, such as those of `rank` in their order; its `repr` is short.

    A notebook shows it as a table; of a plain list of entries, `BackendList(entries)` does.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        begin = f"<{counted(len(self), 'backend')}" + ": " * bool(self)
        return joined(begin, (visible(one.name, MOST) for one in self), ">")

    def _repr_html_(self) -> str | None:
        from .notebook import html_of  # which imports this class

        return html_of(self)


class BackendList(Sequence[Backend]):
    """The backends of one or more instances, in order of the instances; immutable.

    A backend is in it once for each instance that lists it; `unique` leaves out all but the first.
    `fleet["ibm_boston"]` is the first entry of this name, or raises `UnknownBackend`; `"ibm_boston" in fleet`
    tells whether there is one. Numbers and slices count entries.

    Attributes:
        errors: one error for each instance that could not be listed, and a `DecodeError` for each entry that
            could not be read, whose `path` begins with `$.devices[`; empty when the list is complete.
    """

    __slots__ = ("__weakref__", "_backends", "errors")

    def __init__(self, backends: Iterable[Backend], errors: Iterable[QRBackendsError] = ()) -> None:
        self._backends = tuple(backends)
        self.errors = tuple(errors)

    @property
    def emulated(self) -> bool:
        """Whether an emulator lists any of the backends, and not IBM's service."""
        return any(one.emulated for one in self._backends)

    def unique(self) -> "BackendList":
        """Return the list with each backend once: the entry of the first instance that lists it."""
        return BackendList(unique(self), self.errors)

    def instances_of(self, backend: ABackend) -> tuple[str, ...]:
        """Return the CRNs of the instances that list a backend, in order of the instances."""
        name = name_of(backend)
        crns = (one.instance for one in self._backends if one.name == name)
        return tuple(dict.fromkeys(crn for crn in crns if crn is not None))

    @overload
    def __getitem__(self, key: int | ABackend) -> Backend: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Backend, ...]: ...
    def __getitem__(self, key: int | slice | ABackend) -> Backend | tuple[Backend, ...]:
        if not isinstance(key, (str, Backend)):
            return BackendTuple(self._backends[key]) if isinstance(key, slice) else self._backends[key]
        name = name_of(key)
        for one in self._backends:
            if one.name == name:
                return one
        why = ", which is not complete: see its `errors`" if self.errors else ""
        near = () if self.errors else nearest(name, (one.name for one in self._backends))
        problem = f"there is no backend {name!r:.80} in the list{why}"
        absent = UnknownBackend(with_question(problem, near), 404)
        absent.suggestions = near
        raise absent

    def __contains__(self, value: object) -> bool:
        if isinstance(value, str):
            return any(one.name == value for one in self._backends)
        return value in self._backends

    def __len__(self) -> int:
        return len(self._backends)

    if not TYPE_CHECKING:  # for type checkers, every attribute would be one

        def __getattr__(self, name: str) -> NoReturn:
            """Say what pandas takes: it looks for `ndim` in what is no list of rows."""
            hint = "; pandas takes rows: pandas.DataFrame(qrbackends.analysis.tables.backend_rows(…))"
            problem = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(problem + hint if name == "ndim" else problem, name=name, obj=self)

    def __iter__(self) -> Iterator[Backend]:
        return iter(self._backends)

    def __repr__(self) -> str:
        begin = f"<BackendList of {len(self)}, {counted(len(self.errors), 'error')}: "
        return joined(begin, (visible(one.name, MOST) for one in self._backends), ">")

    def _repr_html_(self) -> str | None:
        from .notebook import html_of  # which imports this class

        return html_of(self)


def unique(backends: Iterable[Backend]) -> tuple[Backend, ...]:
    """Return each backend once: the first one of those with equal region and name."""
    found: dict[tuple[str | None, str], Backend] = {}
    for one in backends:
        found.setdefault((one.region, one.name), one)
    return tuple(found.values())


def is_of_entry(error: QRBackendsError) -> bool:
    """Return whether an error of a list is about one entry, and not about a whole instance."""
    return isinstance(error, DecodeError) and error.path.startswith("$.devices[")
