"""Recordings: directories with what a service answered about its devices, and the fleet that serves them.

A recording has the files of a directory of calibrations (`conf_NAME.json` and `props_NAME.json`), and an
index that says which file is which answer, and has the devices' entries in the list.
"""

from collections.abc import Hashable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from errno import ENOENT
from math import inf
from pathlib import Path
from typing import Annotated, Final, cast, get_args
from urllib.parse import quote

import msgspec

from .fleets import Device, DocumentKind, RecordedAnswers, described, last_update

INDEX = "recording.json"

_PREFIXES: Final = {
    "configuration": "conf",
    "properties": "props",
    "defaults": "defs",
    "status": "status",
}
_LONGEST_STEM = 100  # characters
_FAILURES = (msgspec.MsgspecError, ValueError, RecursionError)  # of a document that is not as it should be


class _File(msgspec.Struct):
    file: str
    status: Annotated[int, msgspec.Meta(ge=200, le=599)]


class _Index(msgspec.Struct, omit_defaults=True):
    entries: dict[str, msgspec.Raw]
    answers: dict[str, dict[str, _File]]
    broken_lists: list[str] = []

    def files(self) -> Iterator[str]:
        """Yield the names of all files.

        Raises:
            ValidationError: one of them is not in the directory; others may have made the index.
        """
        answers = (one.file for files in self.answers.values() for one in files.values())
        for file in (*answers, *self.broken_lists):
            if not file or Path(file).name != file:
                raise msgspec.ValidationError(f"{INDEX} names a file outside of the directory")
            yield file


def _read_index(directory: Path) -> _Index:
    return msgspec.json.decode((directory / INDEX).read_bytes(), type=_Index)


class RecordingWriter:
    """Writes a recording; it is complete after `close()`.

    Args:
        directory: where to write; it is made if it does not exist, and an earlier recording in it is removed.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._remove_earlier()
        self._index = _Index({}, {}, [])
        self._stems: dict[str, str] = {}
        self._written: list[Path] = []
        self.answers = 0
        """The number of answers."""
        self.size = 0
        """Their number of bytes."""

    def add_entry(self, name: str, entry: bytes) -> None:
        """Add a device's entry in the list, which is well-formed JSON."""
        self._index.entries[name] = msgspec.Raw(entry)
        self._index.answers.setdefault(name, {})

    def add_answer(self, name: str, resource: str, status: int, body: bytes) -> None:
        """Add the answer to a request for one of a device's resources, such as `properties`."""
        stem = f"{_PREFIXES[resource]}_{self._stem(name)}"
        file = f"{stem}.json" if status == 200 else f"{status}_{stem}.txt"
        self._put(file, body)
        self._index.answers.setdefault(name, {})[resource] = _File(file, status)
        self.answers += 1
        self.size += len(body)

    def add_broken_list(self, number: int, body: bytes) -> None:
        """Keep a list that cannot be read beside the recording; it is not served."""
        file = f"list_{number}.txt"
        self._put(file, body)
        self._index.broken_lists.append(file)

    def close(self) -> None:
        """Write the index."""
        self._put(INDEX, msgspec.json.encode(self._index))

    def discard(self) -> None:
        """Remove what was written, as it is not complete."""
        for path in reversed(self._written):
            path.unlink(missing_ok=True)

    def _put(self, file: str, body: bytes) -> None:
        path = self._directory / file
        self._written.append(path)
        try:
            path.write_bytes(body)
        except OSError as error:
            error.filename = str(path)  # of a full disk it is not told
            raise

    def _remove_earlier(self) -> None:
        """Remove the files of an earlier recording: a part of them would be mixed with those of this one."""
        files: list[str] = []
        with suppress(FileNotFoundError, *_FAILURES):
            files += _read_index(self._directory).files()
        for path in (self._directory / file for file in (INDEX, *files)):
            if path.is_file():
                path.unlink()

    def _stem(self, name: str) -> str:
        """Return a part of a file's name that no other device has, whatever case the disk distinguishes."""
        if name not in self._stems:
            stem = quote(name, safe="")[:_LONGEST_STEM]
            while stem.casefold() in map(str.casefold, self._stems.values()):
                stem += "_"
            self._stems[name] = stem
        return self._stems[name]


class RecordedFleet:
    """The devices of a recording, served as they were: list entries, documents, status and errors.

    What was not recorded is answered with 404.

    Args:
        directory: the recording.

    Raises:
        msgspec.MsgspecError: the index is not as it should be.
        FileNotFoundError: the index, or a file that it names, is missing.
    """

    def __init__(self, directory: Path | str) -> None:
        self._directory = Path(directory)
        index = _read_index(self._directory)
        self._answers = index.answers
        self._updated: dict[Path, float] = {}
        for file in index.files():
            if not (self._directory / file).is_file():
                raise FileNotFoundError(ENOENT, f"{INDEX} names a file that is not there", file)
        self._devices = {
            name: self._device(name, index.entries.get(name), index.answers[name])
            for name in sorted(index.answers)
        }

    def _device(self, name: str, entry: msgspec.Raw | None, files: Mapping[str, _File]) -> Device:
        bodies = {resource: (one.status, self._directory / one.file) for resource, one in files.items()}
        answers = {
            resource: (status, path.read_bytes())
            for resource, (status, path) in bodies.items()
            if status != 200 or resource not in get_args(DocumentKind)
        }
        device = Device(name, version="", qubits=0)
        status, path = bodies.get("configuration", (404, self._directory))
        if status == 200:
            with suppress(*_FAILURES):
                device = described(path.read_bytes())
        recorded = RecordedAnswers(None if entry is None else bytes(entry), answers)
        return replace(device, name=name, recorded=recorded)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all backends, sorted."""
        return tuple(self._devices)

    def device(self, name: str) -> Device:
        """Return what the list says of a backend."""
        return self._devices[name]

    def find(
        self, kind: DocumentKind, name: str, calibration_id: str | None, before: float | None, now: float
    ) -> Hashable | None:
        """Return the path of the document, or None."""
        answer = self._answers[name].get(kind)
        if answer is None or answer.status != 200 or calibration_id is not None:
            return None
        path = self._directory / answer.file
        is_too_new = before is not None and before <= self._last_update(path)
        return None if is_too_new else path

    def _last_update(self, properties: Path) -> float:
        """Return the date of a calibration in Unix seconds; of what has none, a date before all others."""
        if properties not in self._updated:
            self._updated[properties] = -inf
            with suppress(*_FAILURES):
                self._updated[properties] = last_update(properties.read_bytes())
        return self._updated[properties]

    def build(self, key: Hashable) -> bytes:
        """Return the bytes of a file that `find` returned."""
        return cast("Path", key).read_bytes()
