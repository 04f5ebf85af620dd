"""Fleets, from which an emulator takes its backends: the protocol, and recorded calibrations."""

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import msgspec

from ...messages.extras import install
from .dates import parse_instant
from .fractional import with_fractional_gates

DocumentKind: TypeAlias = Literal["configuration", "properties", "defaults"]

_WHEEL = "qiskit_ibm_runtime"
_WHERE = "fake_provider/backends"
_EMPTY = "an empty object"  # the key of defaults documents without content


class SnapshotsMissing(ModuleNotFoundError):
    """The qiskit-ibm-runtime wheel, which contains the real calibrations, is not installed."""

    def __init__(self, message: str) -> None:
        super().__init__(message, name=_WHEEL)


@dataclass(frozen=True, slots=True)
class RecordedAnswers:
    """What a service answered about a backend, which is served as it was.

    Attributes:
        entry: the backend's entry in the list; None if the list leaves it out.
        answers: HTTP status and body by resource: of `status`, and of documents that were not answered with
            200. A `status` that is not there is answered with 404.
    """

    entry: bytes | None
    answers: Mapping[str, tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Device:
    """What the list says of a backend, except queue and metrics.

    Attributes:
        name: the backend's name.
        version: its version, such as `1.0.4`.
        qubits: the number of its qubits.
        clops: the type, `virtual` or `hardware`, and the value; None if they are not known.
        processor: family, revision and segment; None if they are not known.
        status: `online`, `paused` or `offline`.
        reason: the reason of the status in the list; left out, the one that is usual for it.
        message: what the status endpoint says of it, besides that it is emulated; left out, the reason.
        physical_qubits: the number of qubits on the chip, those of tunable couplers included; None to leave
            it out, as the published contract does.
    """

    name: str
    version: str
    qubits: int
    clops: tuple[str, int] | None = None
    processor: tuple[str, str, str | None] | None = None
    status: str = "online"
    reason: str = ""
    message: str = ""
    physical_qubits: int | None = None
    recorded: RecordedAnswers | None = field(default=None, hash=False)


class Fleet(Protocol):
    """The backends that an emulator serves.

    `find` is called for every request, and has to be fast. `build` is called in a worker thread, once for
    each document as long as the emulator keeps it.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all backends, sorted."""
        ...

    def device(self, name: str) -> Device:
        """Return what the list says of a backend."""
        ...

    def find(
        self, kind: DocumentKind, name: str, calibration_id: str | None, before: float | None, now: float
    ) -> Hashable | None:
        """Return the key of a document, or None if there is none, which is answered with 404.

        Args:
            kind: which of the backend's documents.
            name: one of `names`.
            calibration_id: the variant asked for, or None.
            before: the Unix time, in seconds, before which the calibration has to be done, or None.
            now: the Unix time of the emulator's clock, in seconds.
        """
        ...

    def build(self, key: Hashable) -> bytes:
        """Return the JSON document for a key that `find` returned."""
        ...


class _Clops(msgspec.Struct):
    type: str
    value: int | str


class _Processor(msgspec.Struct):
    family: str
    revision: str | int | float
    segment: str | None = None


class _Configuration(msgspec.Struct):
    """The fields of a configuration that the list needs."""

    backend_name: str
    backend_version: str
    n_qubits: int
    clops: int | _Clops | None = None
    clops_h: int | str | None = None
    clops_v: int | str | None = None
    processor_type: _Processor | None = None


class _Updated(msgspec.Struct):
    last_update_date: str


_PHYSICAL_QUBITS = re.compile(r"^\s*_physical_qubits = (\d+)$", re.MULTILINE)
_CONFIGURATION = msgspec.json.Decoder(_Configuration)
_UPDATED = msgspec.json.Decoder(_Updated)


def wheel_directory() -> Path:
    """Return the directory of the real calibrations; their package is not imported.

    Raises:
        SnapshotsMissing: the wheel is not installed.
    """
    try:
        spec = find_spec(_WHEEL)
    except (ImportError, ValueError):  # somebody keeps it from being imported
        spec = None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        directory = Path(place, _WHERE)
        if directory.is_dir():
            return directory
    raise SnapshotsMissing(
        f"the real calibrations come with the qiskit-ibm-runtime wheel: {install(['snapshots'])}"
    )


class SnapshotFleet:
    """Recorded calibrations, served byte for byte.

    There is one exception: nine configurations of the wheel were stored without the fractional gates `rx` and
    `rzz`, which the properties beside them have. They are served as the service sends them, with these gates.

    Args:
        directory: a tree with files `conf_NAME.json`, each beside its `props_NAME.json` and, where there are
            pulse-level defaults, `defs_NAME.json`. A file `props_NAME_VARIANT.json` is for the calibration_id
            VARIANT. Left out, the real calibrations in the installed wheel of qiskit-ibm-runtime.

    Raises:
        SnapshotsMissing: no directory is given, and the wheel is not installed.
        FileNotFoundError: the directory contains no configuration.
    """

    def __init__(self, directory: Path | str | None = None) -> None:
        root = Path(directory) if directory is not None else wheel_directory()
        self._from_wheel = directory is None
        self._devices: dict[str, Device] = {}
        self._configurations: dict[str, Path] = {}
        self._properties: dict[tuple[str, str | None], Path] = {}
        self._defaults: dict[str, Path] = {}
        self._updated: dict[Path, float] = {}
        for path in sorted(root.rglob("conf_*.json")):
            self._add(path)
        if not self._devices:
            raise FileNotFoundError(f"{root} holds no conf_*.json")
        self._names = tuple(sorted(self._devices))

    def _add(self, path: Path) -> None:
        device = described(path.read_bytes(), _physical_qubits(path))
        name = device.name
        self._devices[name] = device
        self._configurations[name] = path
        defaults = path.with_name(path.name.replace("conf_", "defs_", 1))
        if defaults.exists():
            self._defaults[name] = defaults
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
        self, kind: DocumentKind, name: str, calibration_id: str | None, before: float | None, now: float
    ) -> Hashable | None:
        """Return the path of the document, or None."""
        if kind == "defaults":
            return self._defaults.get(name) or (_EMPTY if self._has_defaults(name) else None)
        path = self._properties.get((name, calibration_id))
        if kind == "configuration":
            # A variant has its own properties, and the same configuration.
            known = calibration_id is None or path is not None
            return self._configurations[name] if known else None
        if path is None or (before is not None and before <= self._last_update(path)):
            return None
        return path

    def build(self, key: Hashable) -> bytes:
        """Return the bytes of a file that `find` returned; fractional gates are added if they are missing."""
        if not isinstance(key, Path):
            return b"{}"
        properties = key.with_name(key.name.replace("conf_", "props_", 1))
        if self._from_wheel and properties != key and properties.is_file():
            return with_fractional_gates(key.read_bytes(), properties.read_bytes())
        return key.read_bytes()

    def calibrated(self, name: str) -> float | None:
        """Return the date of a backend's calibration in Unix seconds; None if it has none."""
        path = self._properties.get((name, None))
        return None if path is None else self._last_update(path)

    def _has_defaults(self, name: str) -> bool:
        """Return whether `defaults` are an empty object; of most backends the service answers 404."""
        return self._names.index(name) % 4 == 0

    def _last_update(self, path: Path) -> float:
        if path not in self._updated:
            self._updated[path] = last_update(path.read_bytes())
        return self._updated[path]


def last_update(properties: bytes) -> float:
    """Return the date of a calibration in Unix seconds.

    Raises:
        msgspec.MsgspecError: the document has no date.
        ValueError: the date is not well-formed.
    """
    return parse_instant(_UPDATED.decode(properties).last_update_date)


def _has_configuration(properties: Path) -> bool:
    """Return whether properties belong to a backend of their own, and are not a variant of another's."""
    return properties.with_name(properties.name.replace("props_", "conf_", 1)).exists()


def _physical_qubits(configuration: Path) -> int | None:
    """Return the number of qubits on the chip, which the wheel has in the source of its fake device."""
    source = configuration.with_name(f"{configuration.stem.replace('conf_', 'fake_', 1)}.py")
    found = _PHYSICAL_QUBITS.search(source.read_text("utf-8")) if source.exists() else None
    return int(found[1]) if found else None


def described(document: bytes, physical_qubits: int | None = None) -> Device:
    """Return what the list says of a backend with this configuration.

    Raises:
        msgspec.MsgspecError: the document is not a configuration.
    """
    configuration = _CONFIGURATION.decode(document)
    processor = configuration.processor_type
    return Device(
        name=configuration.backend_name,
        version=configuration.backend_version,
        qubits=configuration.n_qubits,
        clops=_clops(configuration),
        processor=(processor.family, str(processor.revision), processor.segment) if processor else None,
        physical_qubits=physical_qubits or configuration.n_qubits,
    )


def _clops(configuration: _Configuration) -> tuple[str, int] | None:
    """Return type and value of the CLOPS, for which recorded configurations have three optional fields."""
    if isinstance(configuration.clops_h, int):
        return "hardware", configuration.clops_h
    for value in (configuration.clops, configuration.clops_v):
        if isinstance(value, int):
            return "virtual", value
    if isinstance(configuration.clops, _Clops) and isinstance(configuration.clops.value, int):
        return configuration.clops.type, configuration.clops.value
    return None
