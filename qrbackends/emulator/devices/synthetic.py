"""A fleet of synthetic backends, which follow from a seed and are calibrated every hour."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor
from random import Random
from typing import Literal

from .blueprint import configuration_document
from .calibration import HOUR, DocumentShape, properties_document
from .chip import EXTRA_GATES, Chip, make_chip
from .fleets import Device, DocumentKind
from .generations import FALCON, HERON_2, Generation, generation_for
from .lattice import SMALLEST, Shape, lattice
from .pulse_defaults import defaults_document

# 2024-01-01. It is fixed, so that the answer for an instant of the past is always the same.
_EPOCH = 1_704_067_200
_LAUNCH_WINDOW_DAYS = 300
_CHIPS = 32  # kept; a chip of 4,000 qubits takes some 10 MB
_EMPTY = "an empty object"  # the key of defaults documents without content


@dataclass(frozen=True, slots=True)
class Calibration:
    """The key of a properties document."""

    name: str
    variant: str | None
    hour: int


@dataclass(frozen=True, slots=True)
class Blueprint:
    """The key of a configuration document."""

    name: str
    variant: str | None


@dataclass(frozen=True, slots=True)
class PulseDefaults:
    """The key of a defaults document."""

    name: str


@dataclass(frozen=True, slots=True)
class _Backend:
    """What does not change about a backend."""

    device: Device
    generation: Generation
    online: float  # Unix seconds
    second: float  # of each hour, at which its calibration ends


class SyntheticFleet:
    """Backends whose values are drawn from distributions fitted to the real calibrations.

    A document is a pure function of the seed, the backend, the calibration_id and the hour. A backend's
    first calibration is that of its `online_date`, in the year 2024.

    Args:
        sizes: number of qubits by backend name; left out, eight backends of the real sizes.
        lattice: `heavy-hex` or `square`, for all backends; left out, that of the real devices of the same
            size, or heavy-hex if there are none.
        statuses: `paused` or `offline` by backend name; the other backends are online.
        seed: the seed.
        shape: documents as the service sends them (`live`), or as its contract says (`contract`).

    Raises:
        ValueError: there are no backends, or one has fewer than two qubits.
    """

    def __init__(
        self,
        sizes: Mapping[str, int] | None = None,
        *,
        lattice: Shape | None = None,
        statuses: Mapping[str, Literal["paused", "offline"]] | None = None,
        seed: int | str = 0,
        shape: DocumentShape = "live",
    ) -> None:
        if sizes is not None and min(sizes.values(), default=0) < SMALLEST:
            raise ValueError(f"a fleet has backends, and each of them at least {SMALLEST} qubits")
        self.seed = str(seed)
        self._shape = shape
        self._backends: dict[str, _Backend] = {}
        statuses = (statuses or {}) if sizes is not None else {**_STATUSES, **(statuses or {})}
        for name, qubits in (_SIZES if sizes is None else sizes).items():
            generation = generation_for(qubits, lattice)
            if sizes is None and name in _HERONS_2:
                generation = HERON_2
            self._backends[name] = self._backend(name, qubits, generation, statuses.get(name, "online"))
        self._names = tuple(sorted(self._backends))
        self._chip = lru_cache(_CHIPS)(self._make_chip)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all backends, sorted."""
        return self._names

    def device(self, name: str) -> Device:
        """Return what the list says of a backend."""
        return self._backends[name].device

    def find(
        self, kind: DocumentKind, name: str, calibration_id: str | None, before: float | None, now: float
    ) -> Hashable | None:
        """Return the key of a document, or None; properties are the newest ones before `before`, or now."""
        if kind == "defaults":  # Falcons have them still; of the others some have an empty object
            if self._backends[name].generation is FALCON:
                return PulseDefaults(name)
            return _EMPTY if self._names.index(name) % 4 == 0 else None
        if calibration_id not in (None, EXTRA_GATES):
            return None
        if kind == "configuration":
            return Blueprint(name, calibration_id)
        backend = self._backends[name]
        hour = floor((now - backend.second) / HOUR)
        if before is not None:
            hour = min(hour, ceil((before - backend.second) / HOUR) - 1)
        if hour * HOUR + backend.second < backend.online:
            return None
        return Calibration(name, calibration_id, hour)

    def build(self, key: Hashable) -> bytes:
        """Return the JSON document for a key that `find` returned."""
        match key:
            case Calibration(name, variant, hour):
                backend = self._backends[name]
                chip = self._chip(name, variant)
                return properties_document(chip, backend.device.version, hour, backend.second, self._shape)
            case Blueprint(name, variant):
                backend = self._backends[name]
                chip = self._chip(name, variant)
                return configuration_document(chip, backend.device.version, backend.online, self._shape)
            case PulseDefaults(name):
                return defaults_document(self._chip(name, None))
            case _:
                return b"{}"

    def _make_chip(self, name: str, variant: str | None) -> Chip:
        backend = self._backends[name]
        return make_chip(self.seed, name, backend.device.qubits, backend.generation, variant)

    def _backend(self, name: str, qubits: int, generation: Generation, status: str) -> _Backend:
        random = Random(f"{self.seed}/{name}/launch")
        device = Device(
            name=name,
            version=f"1.{random.randrange(4)}.{random.randrange(100)}",
            qubits=qubits,
            clops=("hardware", generation.clops),
            physical_qubits=None if self._shape == "contract" else _physical_qubits(generation, qubits),
            processor=(generation.family, str(generation.revision), None),
            status=status,
            reason=_REASONS.get(status, ""),
        )
        online = _EPOCH + random.randrange(_LAUNCH_WINDOW_DAYS) * 24 * HOUR
        return _Backend(device, generation, float(online), float(random.randrange(HOUR)))


@lru_cache(64)
def _physical_qubits(generation: Generation, qubits: int) -> int:
    """Return the number of qubits on the chip: where couplings are listed, each has a coupler of its own."""
    return qubits + (len(lattice(generation.shape, qubits).edges) if generation.couplings else 0)


_SIZES = {
    "synthetic_eagle_127": 127,
    "synthetic_falcon_27": 27,
    "synthetic_heron_133": 133,
    "synthetic_heron_156_a": 156,
    "synthetic_heron_156_b": 156,
    "synthetic_heron_156_c": 156,
    "synthetic_nighthawk_120_a": 120,
    "synthetic_nighthawk_120_b": 120,
}
_HERONS_2 = ("synthetic_heron_156_c",)
_STATUSES: dict[str, Literal["paused", "offline"]] = {
    "synthetic_falcon_27": "paused",
    "synthetic_nighthawk_120_b": "offline",
}
_REASONS = {"paused": "calibration under way", "offline": "maintenance"}
