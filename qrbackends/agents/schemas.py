"""The bases of the tools' arguments and answers: structs that are the JSON schemas which agents are shown."""

from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

MOST_ROWS: Final = 100
"""The entries of a list that one answer has at most; its size allows for fewer."""

BackendName: TypeAlias = Annotated[str, Meta(max_length=500, description="The backend, such as ibm_boston.")]
Qubit: TypeAlias = Annotated[int, Meta(ge=0, lt=2**31)]
Offset: TypeAlias = Annotated[
    int, Meta(ge=0, lt=2**31, description="Entries to skip: next_offset of the last answer.")
]
Limit: TypeAlias = Annotated[
    int, Meta(ge=1, le=MOST_ROWS, description="Entries to return; fewer where they would be too long.")
]
Unit: TypeAlias = Literal["s", "Hz", "1"]
"""An SI unit; a probability has the unit 1."""

Probability: TypeAlias = Annotated[float | None, Meta(description="A probability.")]


class Arguments(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of a tool.

    A field that is not known is refused: who misspells a filter must not get an unfiltered answer.
    """


class OneBackend(Arguments, frozen=True, kw_only=True):
    """The arguments of a tool that needs nothing but a backend."""

    backend: BackendName


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every answer tells of its data. What is not known is left out.

    Attributes:
        lists: the names of the lists that may be shortened; the first is shortened first.
        rest: how to ask for what is left out of them.
    """

    lists: ClassVar[tuple[str, ...]] = ()
    rest: ClassVar[str] = ""

    emulated: Annotated[bool | None, Meta(description="true: an emulator's, not IBM's.")] = None
    age_seconds: Annotated[float | None, Meta(description="Since the service gave it.")] = None
    stale: Annotated[bool, Meta(description="true: older than usual.")] = False
    errors: Annotated[tuple[str, ...], Meta(description="Why a part is missing.")] = ()
    left_out: Annotated[dict[str, int], Meta(description="Missing entries, by list.")] = {}
    more: Annotated[str, Meta(description="How to get the rest.")] = ""


class Page(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """An answer with a part of one list, which is the first of `lists`."""

    total: Annotated[int, Meta(description="Entries of the whole list.")]
    offset: int = 0
    next_offset: int | None = None


def schema_of(kind: type[Struct]) -> dict[str, Any]:
    """Return the JSON schema of a struct, as short as it can be: agents are sent those of all tools.

    It is without titles, and a field that may be null is shown as one that may be left out.
    """
    (root,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    shown = {name: _shortened(part) for name, part in parts.items()}
    schema: dict[str, Any] = shown.pop(root["$ref"].rpartition("/")[2])
    return schema | ({"$defs": shown} if shown else {})


def _shortened(part: dict[str, Any]) -> dict[str, Any]:
    fields = {name: _without_null(field) for name, field in part.get("properties", {}).items()}
    return {"type": "object", "properties": fields} | {
        key: part[key] for key in ("required", "additionalProperties") if key in part
    }


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    if field.get("default", ...) in (None, [], {}, ""):
        field.pop("default")
    match field.pop("anyOf", None):
        case None:
            return field
        case [one, {"type": "null"}]:
            return dict(one) | field
        case several:
            return {"anyOf": [one for one in several if one != {"type": "null"}]} | field
