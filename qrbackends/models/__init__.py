"""The service's documents as frozen msgspec structs, and the summary of a backend.

Fields hold the values and units as sent, so that a document decodes from the service's JSON and encodes back
to it (null and absent are the same). Accessors return SI units: seconds, hertz, probabilities.
It knows nothing of requests, HTTP and caches. Start with `backend`, an entry of the list, or `properties`.
"""

from .backend import (
    ABackend,
    Backend,
    BackendList,
    BackendsResponse,
    Clops,
    DeviceStatus,
    Metric,
    PerformanceMetrics,
    ProcessorType,
    TwoQubitMetric,
    WaitTime,
    name_of,
    unique,
)
from .configuration import (
    BackendConfiguration,
    ComplexNumber,
    GateConfig,
    Hamiltonian,
    InstructionSignature,
    TimingConstraints,
    UChannelLO,
)
from .defaults import BackendDefaults
from .json_object import JSONObject
from .left_out import LeftOut
from .properties import BackendProperties, GateProperties, Nduv, QubitList
from .status import BackendStatus
from .summary import BackendSummary, FaultyGate, GateSummary, MissingFigure, Spread, median_of, summary
from .topology import Topology
from .usable import Measurements, is_out_of_order, usable

__all__ = [
    "ABackend",
    "Backend",
    "BackendConfiguration",
    "BackendDefaults",
    "BackendList",
    "BackendProperties",
    "BackendStatus",
    "BackendSummary",
    "BackendsResponse",
    "Clops",
    "ComplexNumber",
    "DeviceStatus",
    "FaultyGate",
    "GateConfig",
    "GateProperties",
    "GateSummary",
    "Hamiltonian",
    "InstructionSignature",
    "JSONObject",
    "LeftOut",
    "Measurements",
    "Metric",
    "MissingFigure",
    "Nduv",
    "PerformanceMetrics",
    "ProcessorType",
    "QubitList",
    "Spread",
    "TimingConstraints",
    "Topology",
    "TwoQubitMetric",
    "UChannelLO",
    "WaitTime",
    "is_out_of_order",
    "median_of",
    "name_of",
    "summary",
    "unique",
    "usable",
]
