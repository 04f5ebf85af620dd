"""The configuration of a backend: its gates, couplings, limits and timing."""

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property

from msgspec import Raw, field
from msgspec.structs import force_setattr

from ..errors import DecodeError, UnknownGate
from .backend import Clops, ProcessorType
from .integers import Integer
from .json_object import JSONObject, object_or_null, read_only
from .left_out import Document
from .shown import Shown
from .times import aware
from .topology import Topology, topology_of
from .usable import Pair

FRACTIONAL_GATES = ("rx", "rzz")
"""Gates that turn by an angle of the circuit's choice, in one pulse. Devices that have none compose them."""

_MOST_QUBITS = 10_000  # of a device whose document names none of them, such as a simulator of 5,000


class GateConfig(Shown, frozen=True, gc=False, omit_defaults=True):
    """A gate of the backend: its parameters' names, its OpenQASM definition, and the qubits that have it."""

    name: str
    parameters: tuple[str, ...] | None = None
    qasm_def: str | None = None
    coupling_map: tuple[tuple[Integer, ...], ...] | None = None
    conditional: bool | None = None
    latency_map: tuple[tuple[Integer, ...], ...] | None = None
    description: str | None = None


class InstructionSignature(Shown, frozen=True, gc=False, omit_defaults=True):
    """An instruction beyond Qiskit's standard ones, such as `measure_2`."""

    name: str
    num_qubits: Integer | None = None
    num_clbits: Integer | None = None
    parameters: tuple[str, ...] | None = None
    return_type: str | None = None
    description: str | None = None


class TimingConstraints(Shown, frozen=True, gc=False, omit_defaults=True):
    """Alignments and lengths, in samples (units of dt)."""

    granularity: Integer | None = None
    min_length: Integer | None = None
    pulse_alignment: Integer | None = None
    acquire_alignment: Integer | None = None


class ComplexNumber(Shown, frozen=True, gc=False):
    """A complex number in the contract's form; the service itself sends `[re, im]`."""

    number: tuple[float, float]


class UChannelLO(Shown, frozen=True, gc=False):
    """A control channel's local oscillator in terms of a qubit's."""

    q: Integer
    scale: ComplexNumber | tuple[float, float]

    @property
    def factor(self) -> complex:
        """The scale as a complex number."""
        pair = self.scale.number if isinstance(self.scale, ComplexNumber) else self.scale
        return complex(*pair)


class Hamiltonian(Shown, frozen=True, gc=False, omit_defaults=True):
    """The device's Hamiltonian, which the service sends for some devices only."""

    h_latex: str | None = None
    description: str | None = None
    h_str: tuple[str, ...] | None = None
    vars_json: Raw = field(name="vars", default=Raw())
    osc_json: Raw = field(name="osc", default=Raw())
    qub_json: Raw = field(name="qub", default=Raw())

    def __post_init__(self) -> None:
        for name in ("vars", "osc", "qub"):
            force_setattr(self, f"{name}_json", object_or_null(getattr(self, f"{name}_json"), name))

    def __hash__(self) -> int:
        return hash((self.h_latex, self.h_str))  # msgspec.Raw has no hash

    @property
    def vars(self) -> JSONObject | None:
        """The values of the variables in `h_str`, in 2π·GHz."""
        return read_only(self.vars_json)

    @property
    def osc(self) -> JSONObject | None:
        """The number of levels of each oscillator mode."""
        return read_only(self.osc_json)

    @property
    def qub(self) -> JSONObject | None:
        """The number of levels of each qubit."""
        return read_only(self.qub_json)


class BackendConfiguration(Document, frozen=True, dict=True, weakref=True, omit_defaults=True):
    """The body of `GET /backends/{id}/configuration`.

    Fields hold the values as sent; where the wire's unit is implicit, the field's name has it (`dt_ns`).
    Properties without such an ending are in SI units. A field that the service did not send is None.
    """

    backend_name: str
    backend_version: str
    n_qubits: Integer
    basis_gates: tuple[str, ...]
    gates: tuple[GateConfig, ...]
    coupling_map: tuple[tuple[Integer, ...], ...] | None = None
    simulator: bool | None = None
    local: bool | None = None
    memory: bool | None = None
    conditional: bool | None = None
    configurable: bool | None = None
    description: str | None = None
    display_name: str | None = None
    sample_name: str | None = None
    url: str | None = None
    online_date: datetime | None = None
    processor_type: ProcessorType | None = None
    quantum_volume: float | Integer | None = None
    clops: Clops | Integer | None = None
    clops_h: Integer | str | None = None
    clops_v: Integer | str | None = None
    coords: tuple[tuple[Integer, ...], ...] | None = None
    max_experiments: Integer | None = None
    max_shots: Integer | None = None
    supported_features: tuple[str, ...] | None = None
    supported_instructions: tuple[str, ...] | None = None
    instruction_signatures: tuple[InstructionSignature, ...] | None = None
    tags: tuple[str, ...] | None = None
    credits_required: bool | None = None
    input_allowed: tuple[str, ...] | None = None
    timing_constraints: TimingConstraints | None = None
    dt_ns: float | None = field(name="dt", default=None)
    dtm_ns: float | None = field(name="dtm", default=None)
    dynamic_reprate_enabled: bool | None = None
    default_rep_delay_us: float | None = field(name="default_rep_delay", default=None)
    rep_delay_range_us: tuple[float, ...] | None = field(name="rep_delay_range", default=None)
    rep_times: tuple[float, ...] | None = None
    rep_delays: tuple[float, ...] | None = None
    meas_levels: tuple[Integer, ...] | None = None
    meas_kernels: tuple[str, ...] | None = None
    discriminators: tuple[str, ...] | None = None
    meas_map: tuple[tuple[Integer, ...], ...] | None = None
    meas_lo_range_ghz: tuple[tuple[float, ...], ...] | None = field(name="meas_lo_range", default=None)
    qubit_lo_range_ghz: tuple[tuple[float, ...], ...] | None = field(name="qubit_lo_range", default=None)
    measure_esp_enabled: bool | None = None
    multi_meas_enabled: bool | None = None
    n_registers: float | Integer | None = None
    register_map: tuple[tuple[Integer, ...], ...] | None = None
    acquisition_latency: tuple[tuple[float, ...], ...] | None = None
    conditional_latency: tuple[tuple[float, ...], ...] | None = None
    open_pulse: bool | None = None
    parametric_pulses: tuple[str, ...] | None = None
    n_uchannels: float | Integer | None = None
    uchannels_enabled: bool | None = None
    u_channel_lo: tuple[tuple[UChannelLO, ...], ...] | None = None
    channels_json: Raw = field(name="channels", default=Raw())
    qubit_channel_mapping: tuple[tuple[str, ...], ...] | None = None
    pulse_num_channels: Integer | None = None
    pulse_num_qubits: Integer | None = None
    hamiltonian: Hamiltonian | None = None
    parallel_compilation: bool | None = None
    live_data: bool | None = None
    allow_q_object: bool | None = None
    allow_object_storage: bool | None = None

    def __post_init__(self) -> None:
        force_setattr(self, "channels_json", object_or_null(self.channels_json, "channels"))
        force_setattr(self, "online_date", aware(self.online_date))

    def __hash__(self) -> int:
        return hash((self.backend_name, self.backend_version, self.gates))  # msgspec.Raw has no hash

    @cached_property
    def _gates(self) -> Mapping[str, GateConfig]:
        return {gate.name: gate for gate in self.gates}

    def gate(self, name: str) -> GateConfig:
        """Return the gate called `name`.

        Raises:
            UnknownGate: the backend has none.
        """
        try:
            return self._gates[name]
        except KeyError:
            raise UnknownGate(f"no gate {name!r}; it has {', '.join(self._gates)}").about(
                backend=self.backend_name
            ) from None

    @property
    def has_fractional_gates(self) -> bool:
        """Whether one of `FRACTIONAL_GATES` is a basis gate; the official client asks the same."""
        return any(name in self.basis_gates for name in FRACTIONAL_GATES)

    @property
    def qubit_numbers(self) -> range:
        """The numbers of the qubits, from 0 to `n_qubits` - 1.

        Whatever makes something for each qubit uses them: the document alone may say any number.

        Raises:
            DecodeError: `n_qubits` is below 1, or above 10,000 and above the number of listed couplings.
        """
        listed = 0
        if self.n_qubits > _MOST_QUBITS:
            maps = (self.coupling_map, *(gate.coupling_map for gate in self.gates))
            listed = sum(len(pairs) for pairs in maps if pairs)
        if 1 <= self.n_qubits <= max(_MOST_QUBITS, listed):
            return range(self.n_qubits)
        raise DecodeError(
            f"the configuration says that the device has {self.n_qubits} qubits",
            path="$.n_qubits",
            text=str(self.n_qubits),
        ).about(backend=self.backend_name)

    @property
    def num_qubits(self) -> int:
        """The number of qubits, `n_qubits`, by Qiskit's name for it."""
        return self.n_qubits

    def directed_couplings(self) -> set[Pair]:
        """Return the couplings between two qubits of the device, each direction as a pair of its own.

        They are those of the coupling map, or of the gates where there is none.
        """
        known = self.coupling_map or (pair for gate in self.gates for pair in gate.coupling_map or ())
        own = range(self.n_qubits)
        pairs = ((pair[0], pair[1]) for pair in known if len(pair) == 2 and pair[0] != pair[1])
        return {(one, other) for one, other in pairs if one in own and other in own}

    @cached_property
    def topology(self) -> Topology:
        """The couplings at a glance: the number of pairs, whether both directions are there, the lattice."""
        return topology_of(self.directed_couplings())

    @property
    def channels(self) -> JSONObject | None:
        """The pulse channels: the qubits, purpose and type of each. Decoded at each access."""
        return read_only(self.channels_json)

    def raw_parts(self) -> tuple[Raw, ...]:
        """Return the parts that are kept as undecoded JSON, and decoded at each access."""
        of = self.hamiltonian
        return (self.channels_json, *((of.vars_json, of.osc_json, of.qub_json) if of else ()))

    @property
    def dt(self) -> float | None:
        """The sampling time of drive and control channels, in seconds."""
        return None if self.dt_ns is None else self.dt_ns / 1e9

    @property
    def dtm(self) -> float | None:
        """The sampling time of measurement channels, in seconds."""
        return None if self.dtm_ns is None else self.dtm_ns / 1e9

    @property
    def default_rep_delay(self) -> float | None:
        """The default delay between two programs, in seconds."""
        return None if self.default_rep_delay_us is None else self.default_rep_delay_us / 1e6

    @property
    def rep_delay_range(self) -> tuple[float, ...] | None:
        """The shortest and the longest delay between two programs, in seconds."""
        return None if self.rep_delay_range_us is None else tuple(us / 1e6 for us in self.rep_delay_range_us)

    @property
    def qubit_lo_range(self) -> tuple[tuple[float, ...], ...] | None:
        """Each qubit's range of local-oscillator frequencies, in hertz."""
        return _hertz(self.qubit_lo_range_ghz)

    @property
    def meas_lo_range(self) -> tuple[tuple[float, ...], ...] | None:
        """Each readout resonator's range of local-oscillator frequencies, in hertz."""
        return _hertz(self.meas_lo_range_ghz)


def _hertz(ranges: tuple[tuple[float, ...], ...] | None) -> tuple[tuple[float, ...], ...] | None:
    return None if ranges is None else tuple(tuple(ghz * 1e9 for ghz in pair) for pair in ranges)
