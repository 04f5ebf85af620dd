"""Where the emulated backends come from: the protocol, and the real calibrations of an installed wheel."""

from collections.abc import Hashable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import msgspec

from .dates import parse_instant

Kind: TypeAlias = Literal["configuration", "properties", "defaults"]

_WHEEL = "qiskit_ibm_runtime"
_WHERE = "fake_provider/backends"
_EMPTY = "an empty object"


class SnapshotsMissing(ModuleNotFoundError):
    """The wheel that holds the real calibrations is not installed."""


@dataclass(frozen=True, slots=True)
class Device:
    """What the list of backends says of one of them, apart from queue and metrics.

    Attributes:
        name: the backend's name.
        version: its version, such as `1.0.4`.
        qubits: the number of its qubits.
        clops: `virtual` or `hardware`, and the value; None when it is not known.
        processor: family, revision and segment; None when it is not known.
        status: `online`, `paused` or `offline`.
        reason: why; it also says that the backend is emulated.
        message: what the status endpoint says.
    """

    name: str
    version: str
    qubits: int
    clops: tuple[str, int] | None = None
    processor: tuple[str, str, str | None] | None = None
    status: str = "online"
    reason: str = "emulated"
    message: str = "emulated"


class Fleet(Protocol):
    """The backends that an emulator serves.

    `find` is cheap and decides which document answers; `build` makes it, may take a while, and is called
    in a worker thread, once as long as the emulator keeps the document.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all backends, sorted."""
        ...

    def device(self, name: str) -> Device:
        """Return what the list says of a backend."""
        ...

    def find(
        self, kind: Kind, name: str, calibration_id: str | None, before: float | None, now: float
    ) -> Hashable | None:
        """Return the key of a document; None when there is none, which is a 404.

        Args:
            kind: which of the backend's documents.
            name: one of `names`.
            calibration_id: the variant asked for, or None.
            before: the Unix time before which the calibration has to lie, or None.
            now: the Unix time of the emulator's clock.
        """
        ...

    def build(self, key: Hashable) -> bytes:
        """Return the JSON document of a key that `find` returned."""
        ...


class _Clops(msgspec.Struct):
    type: str
    value: int | str


class _Processor(msgspec.Struct):
    family: str
    revision: str | int | float
    segment: str | None = None


class _Configuration(msgspec.Struct):
    """The part of a configuration that the list needs."""

    backend_name: str
    backend_version: str
    n_qubits: int
    clops: int | _Clops | None = None
    clops_h: int | str | None = None
    clops_v: int | str | None = None
    processor_type: _Processor | None = None


class _Updated(msgspec.Struct):
    last_update_date: str


_CONFIGURATION = msgspec.json.Decoder(_Configuration)
_UPDATED = msgspec.json.Decoder(_Updated)


def wheel_directory() -> Path:
    """Return the directory of the real calibrations, without importing the package around them.

    Raises:
        SnapshotsMissing: the wheel is not installed.
    """
    spec = find_spec(_WHEEL)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        directory = Path(place, _WHERE)
        if directory.is_dir():
            return directory
    raise SnapshotsMissing(
        "the real calibrations come with the qiskit-ibm-runtime wheel: pip install 'qrbackends[snapshots]'"
    )


class SnapshotFleet:
    """Recorded calibrations, served byte for byte.

    Args:
        directory: a tree with files `conf_NAME.json`, and beside each its `props_NAME.json`. A file
            `props_NAME_VARIANT.json` answers to the calibration_id VARIANT. Left out: the real
            calibrations in the installed wheel of qiskit-ibm-runtime.

    Raises:
        SnapshotsMissing: no directory is given, and the wheel is not installed.
        FileNotFoundError: the directory holds no configuration.
    """

    def __init__(self, directory: Path | str | None = None) -> None:
        root = Path(directory) if directory is not None else wheel_directory()
        self._devices: dict[str, Device] = {}
        self._configurations: dict[str, Path] = {}
        self._properties: dict[tuple[str, str | None], Path] = {}
        self._updated: dict[Path, float] = {}
        for path in sorted(root.rglob("conf_*.json")):
            self._add(path)
        if not self._devices:
            raise FileNotFoundError(f"{root} holds no conf_*.json")
        self._names = tuple(sorted(self._devices))

    def _add(self, path: Path) -> None:
        configuration = _CONFIGURATION.decode(path.read_bytes())
        name = configuration.backend_name
        self._devices[name] = _device(configuration)
        self._configurations[name] = path
        stem = path.stem.replace("conf_", "props_", 1)
        for found in sorted(path.parent.glob(f"{stem}*.json")):
            variant = found.stem.removeprefix(stem)
            if not variant:
                self._properties[name, None] = found
            elif variant.startswith("_") and not _has_configuration(found):
                self._properties[name, variant[1:]] = found

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all backends, sorted."""
        return self._names

    def device(self, name: str) -> Device:
        """Return what the list says of a backend."""
        return self._devices[name]

    def find(
        self, kind: Kind, name: str, calibration_id: str | None, before: float | None, now: float
    ) -> Hashable | None:
        """Return the path of the file that answers, or None."""
        if kind == "defaults":
            return _EMPTY if self._has_defaults(name) else None
        path = self._properties.get((name, calibration_id))
        if kind == "configuration":
            # a variant that only has properties of its own shares the configuration
            known = calibration_id is None or path is not None
            return self._configurations[name] if known else None
        if path is None or (before is not None and before <= self._last_update(path)):
            return None
        return path

    def build(self, key: Hashable) -> bytes:
        """Return a file's bytes."""
        return key.read_bytes() if isinstance(key, Path) else b"{}"

    def _has_defaults(self, name: str) -> bool:
        """The live service has withdrawn them: most backends answer 404, some with an empty object."""
        return self._names.index(name) % 4 == 0

    def _last_update(self, path: Path) -> float:
        if path not in self._updated:
            text = _UPDATED.decode(path.read_bytes()).last_update_date
            self._updated[path] = parse_instant(text)
        return self._updated[path]


def _has_configuration(properties: Path) -> bool:
    """Whether properties belong to a backend of their own rather than being a variant of another's."""
    return properties.with_name(properties.name.replace("props_", "conf_", 1)).exists()


def _device(configuration: _Configuration) -> Device:
    processor = configuration.processor_type
    return Device(
        name=configuration.backend_name,
        version=configuration.backend_version,
        qubits=configuration.n_qubits,
        clops=_clops(configuration),
        processor=(processor.family, str(processor.revision), processor.segment) if processor else None,
    )


def _clops(configuration: _Configuration) -> tuple[str, int] | None:
    """The list sends one object where the recorded configurations have three numbers, most of them absent."""
    if isinstance(configuration.clops_h, int):
        return "hardware", configuration.clops_h
    for value in (configuration.clops, configuration.clops_v):
        if isinstance(value, int):
            return "virtual", value
    if isinstance(configuration.clops, _Clops) and isinstance(configuration.clops.value, int):
        return configuration.clops.type, configuration.clops.value
    return None
