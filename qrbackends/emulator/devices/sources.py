"""The devices that an emulator serves: those of one source or of several, or some of them."""

from collections.abc import Hashable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

from ...messages.suggestions import suggested
from .calibration import DocumentShape
from .fleets import Device, DocumentKind, Fleet, SnapshotFleet
from .invalid import NoSuchBackend, known_backend
from .recording import INDEX, RecordedFleet
from .synthetic import SyntheticFleet

CURRENT = "snapshots:current"
NAMED_SOURCES = ("snapshots", CURRENT, "synthetic")

NO_NAME = "backends names none: give at least one, or leave it out for all"
Source: TypeAlias = Fleet | Path | str
"""One of `NAMED_SOURCES`, a directory of calibrations or a recording, or a `Fleet`."""


def load_fleet(
    sources: Source | Sequence[Source],
    backends: Sequence[str] | None = None,
    *,
    seed: int | str = 0,
    shape: DocumentShape = "live",
) -> Fleet:
    """Return the fleet with the devices of all sources; it reads files.

    A device that several sources have is that of the first one.

    Args:
        sources: a source, or several. `snapshots` are the real calibrations of the installed wheel;
            `snapshots:current` those of them that were calibrated in the same calendar year as the newest
            one: as far as the wheel tells, these devices are in service, and the others may be retired.
        backends: the names of the devices to serve; None for all.
        seed: the seed of `synthetic`.
        shape: the shape of the documents of `synthetic`.

    Raises:
        ValueError: there is no source.
        NoSuchBackend: there is no name, or no device with one of the names.
        SnapshotsMissing: the wheel is not installed.
        FileNotFoundError: a directory contains no configuration.
    """
    several = [sources] if isinstance(sources, (str, Path)) or not isinstance(sources, Sequence) else sources
    fleets = [_load(source, seed, shape) for source in several]
    if not fleets:
        raise ValueError("an emulator needs a fleet, and none is given")
    if len(fleets) == 1 and backends is None:
        return fleets[0]
    return _Selection(fleets, backends)


def _load(source: Source, seed: int | str, shape: DocumentShape) -> Fleet:
    match source:
        case "synthetic":
            return SyntheticFleet(seed=seed, shape=shape)
        case "snapshots":
            return SnapshotFleet()
        case "snapshots:current":
            return _current(SnapshotFleet())
        case str() if not Path(source).exists():
            problem = f"{source!r:.200} is neither {', '.join(NAMED_SOURCES)} nor a directory"
            raise FileNotFoundError(suggested(problem, source, NAMED_SOURCES))
        case str() | Path():
            recorded = Path(source, INDEX).is_file()
            return RecordedFleet(source) if recorded else SnapshotFleet(source)
        case _:
            return source


def _current(fleet: SnapshotFleet) -> Fleet:
    """Return the part of a fleet that was calibrated in the year (UTC) of its newest calibration."""
    instants = {name: fleet.calibrated(name) for name in fleet.names}
    years = {name: datetime.fromtimestamp(at, UTC).year for name, at in instants.items() if at is not None}
    newest = max(years.values(), default=0)
    return _Selection([fleet], [name for name, year in years.items() if year == newest])


class _Key(NamedTuple):
    """The key of a document: keys of different fleets may be equal."""

    fleet: int
    key: Hashable


class _Selection:
    """Some devices of several fleets.

    Args:
        fleets: the fleets; of two devices with the same name, that of the first fleet counts.
        backends: the names of the devices; None for all.

    Raises:
        NoSuchBackend: no name is given, or no fleet has a device with one of the names.
    """

    def __init__(self, fleets: Sequence[Fleet], backends: Iterable[str] | None) -> None:
        self._fleets = tuple(fleets)
        wanted = [backends] if isinstance(backends, str) else backends
        first = {name: at for at, fleet in reversed([*enumerate(fleets)]) for name in fleet.names}
        names = sorted(first if wanted is None else {known_backend(name, first) for name in wanted})
        if not names:
            raise NoSuchBackend(NO_NAME)
        self._places = {name: first[name] for name in names}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all backends, sorted."""
        return tuple(self._places)

    def device(self, name: str) -> Device:
        """Return what the list says of a backend."""
        return self._fleets[self._places[name]].device(name)

    def find(
        self, kind: DocumentKind, name: str, calibration_id: str | None, before: float | None, now: float
    ) -> Hashable | None:
        """Return the key of a document, or None."""
        place = self._places[name]
        key = self._fleets[place].find(kind, name, calibration_id, before, now)
        return None if key is None else _Key(place, key)

    def build(self, key: Hashable) -> bytes:
        """Return the JSON document for a key that `find` returned."""
        place, inner = cast("_Key", key)
        return self._fleets[place].build(inner)
