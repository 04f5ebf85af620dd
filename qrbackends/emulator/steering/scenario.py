"""Scenarios: what happens to an emulator, and when, from a TOML file or from Python.

[[step]]
at = 10.0             # seconds of the emulator's clock since its start
do = "stop_region"    # an operation of the control API
region = "eu-de"
"""

import re
import tomllib
from bisect import bisect_left
from collections.abc import Collection
from functools import reduce
from operator import or_
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, TypeAlias, cast, get_args

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import astuple

from ...messages.suggestions import instead, suggested
from ..devices.invalid import located
from ..surface.faults import CLOUD
from .operations import WORDS, AddFault, ClearFaults, Operation, ReleaseFault, RemoveFault, Scripted
from .schemas import with_descriptions

_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
_STATEMENT = re.compile(r"""\s*(\[|["']|[\w-]+\s*[.=])""", re.ASCII)  # how its line begins; values may, too
_LATEST = 1e10
_At: TypeAlias = Annotated[
    float, Meta(ge=0, le=_LATEST, description="Seconds of the emulator's clock since its start.")
]


def _timed(operation: type[Operation]) -> Any:
    """Return the struct of a step in a file: the fields of an operation, and `at`."""
    return msgspec.defstruct(
        operation.__name__,
        [("at", _At)],
        bases=(operation,),
        namespace={"__doc__": operation.__doc__},
        tag=operation.__struct_config__.tag,
        kw_only=True,
        frozen=True,
    )


_STEPS = GenericAlias(list, (reduce(or_, map(_timed, get_args(Scripted))),))
_File = msgspec.defstruct(
    "Scenario",
    [("step", _STEPS)],
    namespace={"__doc__": "A scenario of the emulator of qrbackends: what happens to it, and when."},
    forbid_unknown_fields=True,
)


class ScenarioError(ValueError):
    """A scenario is not as it should be; the message names its file, the line and the field."""


class Step(Struct, frozen=True):
    """One step.

    Attributes:
        at: seconds of the emulator's clock since its start or its last `reset()`.
        operation: what happens.

    Raises:
        ScenarioError: `at` is negative or beyond 1e10.
    """

    at: float
    operation: Scripted

    def __post_init__(self) -> None:
        """Refuse what no clock can reach."""
        if not 0 <= self.at <= _LATEST:
            raise ScenarioError(f"at: {self.at} does not lie between 0 and {_LATEST:.0e} s")


class Scenario:
    """Steps that happen to an emulator by its clock.

    Args:
        steps: the steps; those of the same time are run in this order.
        file: the name of the file that they come from, for messages.
        text: the text of that file.
    """

    def __init__(self, steps: Collection[Step], *, file: str = "", text: str = "") -> None:
        self.steps = tuple(steps)
        self._file = file
        self._text = text

    @classmethod
    def load(cls, path: Path | str) -> "Scenario":
        """Return the scenario of a TOML file.

        Raises:
            ScenarioError: it is not TOML, or not a scenario.
            OSError: it cannot be read.
        """
        try:
            text = Path(path).read_text("utf-8-sig")  # editors of Windows write a byte order mark
        except UnicodeDecodeError:
            raise ScenarioError(f"{path}: it is not UTF-8") from None
        return cls.parse(text, file=str(path))

    @classmethod
    def parse(cls, text: str, *, file: str = "scenario") -> "Scenario":
        """Return the scenario of a TOML text.

        Raises:
            ScenarioError: it is not TOML, or not a scenario.
        """
        try:
            document = tomllib.loads(text)
        except RecursionError:
            raise ScenarioError(f"{file}: it is nested too deeply") from None
        except ValueError as error:  # a TOMLDecodeError, but for numbers with thousands of digits
            raise ScenarioError(f"{file}: {error}") from None
        try:
            (given,) = astuple(msgspec.convert(document, _File))
        except msgspec.ValidationError as error:
            path, why = located(error, WORDS)
            raise ScenarioError(_message(file, text, path, why)) from None
        steps = [Step(one.at, _operation(one)) for one in given]
        return cls(steps, file=file, text=text)

    def check(self, regions: Collection[str], backends: Collection[str]) -> None:
        """Check the names that the steps use.

        Args:
            regions: the emulator's regions.
            backends: the names of its backends.

        Raises:
            ScenarioError: there is no such region, backend or fault, or a fault's name is given twice.
        """
        known = {"region": {*regions, CLOUD}, "backend": set(backends)}
        faults: set[str] = set()
        for index in sorted(range(len(self.steps)), key=lambda index: self.steps[index].at):
            operation = self.steps[index].operation
            for field, names in known.items():
                name = getattr(operation, field, None)
                if name is not None and name not in names:
                    why = f"The emulator has no {field} {name!r}; {instead(name, sorted(names), 'it has')}"
                    raise self._error(index, field, why)
            match operation:
                case AddFault(fault=str(name)) if name in faults:
                    raise self._error(index, "fault", f"An earlier step adds the fault {name!r}")
                case AddFault(fault=str(name)):
                    faults.add(name)
                case ReleaseFault(name) | RemoveFault(name) if name not in faults:
                    why = suggested(f"No earlier step adds a fault {name!r}", name, faults)
                    raise self._error(index, "fault", why)
                case RemoveFault(name):
                    faults.remove(name)
                case ClearFaults():
                    faults.clear()

    def _error(self, index: int, field: str, why: str) -> ScenarioError:
        return ScenarioError(_message(self._file, self._text, f"step[{index}].{field}", why))


def _operation(step: Any) -> Scripted:
    """Return the operation of a step in a file."""
    operation: type[Operation] = type(step).__bases__[0]
    fields = {name: getattr(step, name) for name in operation.__struct_fields__}
    return cast("Scripted", operation(**fields))


def _message(file: str, text: str, path: str, why: str) -> str:
    line = _line(text, [int(key) if key.isdecimal() else key for key in re.findall(r"[^.\[\]]+", path)])
    where = [file] * bool(file) + [f"line {line}"] * bool(text) + [path] * bool(path)
    return f"{', '.join(where)}: {why}"


def _line(text: str, keys: list[str | int]) -> int:
    """Return the number of the line where a value of a TOML text ends; where it has none, its table's.

    tomllib does not tell. But a value is in all beginnings of the text that contain its line.
    """
    lines = text.split("\n")

    def contains(count: int) -> bool:
        begins = (fewer for fewer in range(count - 1, -1, -1) if _STATEMENT.match(lines[fewer]))
        for fewer in (count, *begins):
            try:
                value: Any = tomllib.loads("\n".join(lines[:fewer]))
            except tomllib.TOMLDecodeError:  # it ends within a value
                continue
            try:
                for key in keys:
                    value = value[key]
            except (KeyError, IndexError, TypeError):
                return False
            return True
        return False

    while keys and not contains(len(lines)):
        keys = keys[:-1]
    return max(1, bisect_left(range(len(lines) + 1), True, key=contains))


def schema() -> dict[str, Any]:
    """Return the JSON schema of scenarios, with which editors check and complete their TOML files."""
    (root,), schemas = msgspec.json.schema_components((_File,), ref_template="#/$defs/{name}")
    return {"$schema": _SCHEMA, **root, "$defs": with_descriptions(schemas)}
