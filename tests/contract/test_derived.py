"""Real documents with one odd change each: where the official client answers, ours does, with equal values.

What is odd is left out, or refuses the document where it is required; both are told with a JSON path.
"""

import json
import math
import random
import re
from collections.abc import Callable, Iterator
from copy import copy
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import msgspec
import pytest
from msgspec import inspect as types

from qrbackends import BackendConfiguration, BackendProperties
from qrbackends.errors import DecodeError
from qrbackends.protocol.answers import parse
from qrbackends.protocol.requests import Request

from . import LONG
from .snapshots import Kind, paths
from .test_models import json_path, takes

Steps: TypeAlias = tuple[str | int, ...]

REQUESTS = {"conf": Request("configuration", "ibm_x"), "props": Request("properties", "ibm_x")}
MODELS = (BackendConfiguration, BackendProperties)
KINDS: dict[type, types.Type] = {one: types.type_info(one) for one in MODELS}
NAMES: dict[Kind, list[str]] = {kind: sorted(paths(kind)) for kind in ("conf", "props")}
_SIZES = {kind: [path.stat().st_size for _, path in sorted(paths(kind).items())] for kind in NAMES}
# The official client takes a tenth of a second for the largest documents: those are drawn less often.
WEIGHTS = {kind: [size**-0.7 for size in sizes] for kind, sizes in _SIZES.items()}
SMALLEST = {kind: [float(size < 12_000) for size in sizes] for kind, sizes in _SIZES.items()}

# Where ours refuses a document that the official client answers with, and why.
EXCEPTIONS: dict[str, str] = {
    r"\$\.(backend_version|n_qubits|basis_gates|gates)": "required; the official client checks no type",
    r"\$\.(qubits|gates|general)": "required; the official client also iterates over an empty text or object",
    r"\$\.backend_name": "required: it shows whose document it is. The official client does not look at it",
    r"\$\.last_update_date": "required; the official client takes null, and a wrong type, for no date",
}
# The official client takes whatever follows a prefix for a unit, such as `usus`; ours keeps it as it was
# sent, and raises `DecodeError` where it shall be converted.
UNITS = {"", "s", "ms", "us", "\N{MICRO SIGN}s", "ns", "Hz", "kHz", "MHz", "GHz"}


class Derived(NamedTuple):
    """A document that was changed at one place."""

    kind: Kind
    source: str
    what: str
    body: bytes

    def __str__(self) -> str:
        return f"{self.source}: {self.what}"


@cache
def real(kind: Kind, name: str) -> Any:
    """Return a parsed document. Not to be changed."""
    return json.loads(paths(kind)[name].read_bytes())


def derived(draw: random.Random, weights: dict[Kind, list[float]] = WEIGHTS) -> Derived:
    """Return a real document with one odd change."""
    kind: Kind = draw.choice(("conf", "props"))
    (name,) = draw.choices(NAMES[kind], weights[kind])
    document = real(kind, name)
    at = place(draw, document)
    changes = list(CHANGES.items())
    draw.shuffle(changes)
    for what, change in changes:
        text = change(draw, document, at)
        if text is not None:
            return Derived(kind, name, f"{what} at {json_path(at)}", text.encode())
    raise AssertionError("null is always possible")


def place(draw: random.Random, value: Any) -> Steps:
    """Return a place in a document: fields near its root, of which there are few, are drawn most often."""
    at: Steps = ()
    while isinstance(value, (dict, list)) and value and not (at and draw.random() < 0.25):
        step = draw.choice(list(value) if isinstance(value, dict) else range(len(value)))
        value, at = value[step], (*at, step)
    return at


def value_at(document: Any, at: Steps) -> Any:
    for step in at:
        document = document[step]
    return document


def edited(document: Any, at: Steps, edit: Callable[[Any, Any], None]) -> Any:
    """Return a copy of a document of which `edit` has changed the container of the place."""
    twin = copy(document)
    if len(at) == 1:
        edit(twin, at[0])
    else:
        twin[at[0]] = edited(document[at[0]], at[1:], edit)
    return twin


def put(document: Any, at: Steps, value: Any) -> str:
    return json.dumps(edited(document, at, lambda holder, step: holder.__setitem__(step, value)))


def null(_: random.Random, document: Any, at: Steps) -> str:
    return put(document, at, None)


def wrong_type(draw: random.Random, document: Any, at: Steps) -> str | None:
    old = value_at(document, at)
    others: tuple[Any, ...] = (True, 7, 0.5, "text", [], {}, [None])
    values = [other for other in others if type(other) is not type(old)]
    return put(document, at, draw.choice(values))


def missing(_: random.Random, document: Any, at: Steps) -> str:
    return json.dumps(edited(document, at, lambda holder, step: holder.__delitem__(step)))


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def negative(_: random.Random, document: Any, at: Steps) -> str | None:
    old = value_at(document, at)
    return put(document, at, -abs(old) - 1) if is_number(old) else None


def huge(draw: random.Random, document: Any, at: Steps) -> str | None:
    old = value_at(document, at)
    if is_number(old):
        return put(document, at, draw.choice((2**31, 2**63, 10**30, 1e300)))
    return put(document, at, old * 500) if isinstance(old, str) else None


def empty(_: random.Random, document: Any, at: Steps) -> str | None:
    old = value_at(document, at)
    return put(document, at, type(old)()) if isinstance(old, (str, list, dict)) and old else None


def duplicate(_: random.Random, document: Any, at: Steps) -> str:
    old = value_at(document, at)
    if isinstance(at[-1], int):
        return json.dumps(edited(document, at, lambda holder, step: holder.insert(step, old)))
    text = json.dumps(edited(document, at, lambda holder, _: holder.__setitem__("@@", old)))
    return text.replace('"@@"', json.dumps(at[-1]), 1)


def whole(_: random.Random, document: Any, at: Steps) -> str | None:
    old = value_at(document, at)
    return put(document, at, float(old)) if is_number(old) else None


CHANGES: dict[str, Callable[[random.Random, Any, Steps], str | None]] = {
    "null": null,
    "wrong type": wrong_type,
    "missing": missing,
    "negative": negative,
    "huge": huge,
    "empty": empty,
    "duplicate": duplicate,
    "whole": whole,
}


# --- the official client


def official(kind: Kind, body: bytes) -> Any:
    """Return what the official client's models make of a body, or None if they refuse it."""
    decoder = pytest.importorskip("qiskit_ibm_runtime.utils.backend_decoder")
    document = json.loads(body)
    if kind == "conf":
        return decoder.configuration_from_server_data(document, use_fractional_gates=None)
    try:
        document["backend_name"] = "ibm_x"  # as its client does
        return decoder.properties_from_server_data(document, use_fractional_gates=None)
    except Exception:  # it raises whatever comes
        return None


def check_same_values(theirs: Any, ours: Any) -> None:
    """Assert that the official client's accessors give the values of ours, for what ours has not left out."""
    if isinstance(ours, BackendConfiguration):
        for name in ("n_qubits", "basis_gates", "dt", "dtm", "max_shots", "coupling_map", "rep_times"):
            value = getattr(ours, name)
            told = any(one.path.startswith(f"$.{name}") for one in ours.left_out)
            if value is not None and not told:
                scale = 1e-6 if name == "rep_times" else 1
                assert_close(plain(getattr(theirs, name)), plain(value), scale)
        names = [gate.name for gate in theirs.gates]
        assert all(gate.name in names for gate in ours.gates)
        return
    assert isinstance(ours, BackendProperties)
    for number, qubit in enumerate(ours.qubits):
        told = any(one.path.startswith(f"$.qubits[{number}]") for one in ours.left_out)
        for nduv in {one.name: one for one in qubit}.values():
            value, _ = theirs.qubit_property(number, nduv.name) if not told else (None, None)
            if value is not None and nduv.unit in UNITS:
                assert math.isclose(value, nduv.si, rel_tol=1e-12)
    if not any(one.path.startswith("$.gates") for one in ours.left_out):
        assert len(ours.gates) == len(theirs.gates)
        for own, their in zip(ours.gates, theirs.gates, strict=True):
            assert (own.gate, list(own.qubits)) == (their.gate, their.qubits)
            values = [float(one.value) for one in their.parameters]
            assert [one.value for one in own.parameters] == values


def plain(value: Any) -> Any:
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def assert_close(theirs: Any, ours: Any, scale: float) -> None:
    if isinstance(ours, list):
        assert len(theirs) == len(ours)
        for their, own in zip(theirs, ours, strict=True):
            assert_close(their, own, scale)
    elif isinstance(ours, float):
        assert math.isclose(theirs, ours * scale, rel_tol=1e-12)
    else:
        assert theirs == ours


# --- what is left


def steps_of(path: str) -> Steps:
    """Return the steps of a JSON path such as `$.qubits[3][0]`."""
    found = re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", path)
    return tuple(name or int(number) for name, number in found)


def without(document: Any, left_out: Iterator[str]) -> Any:
    """Return a document without the parts that were left out; a qubit's place stays, as it is its number."""
    for at in sorted(map(steps_of, left_out), key=lambda at: [(str(type(s)), s) for s in at], reverse=True):
        positional = len(at) == 2 and at[0] in ("qubits", "u_channel_lo", "qubit_channel_mapping")

        def edit(holder: Any, step: Any, positional: bool = positional) -> None:
            if positional:
                holder[step] = []
            else:
                del holder[step]

        document = edited(document, at, edit)
    return document


def known(value: Any, kind: types.Type) -> Any:
    """Return a JSON value without nulls and fields that the type does not know, dates parsed."""
    if isinstance(kind, types.UnionType):
        kind = next(one for one in kind.types if takes(one, value))
    if isinstance(kind, types.StructType):
        fields = {field.encode_name: field.type for field in kind.fields}
        members = ((key, one) for key, one in value.items() if key in fields and one is not None)
        return {key: known(one, fields[key]) for key, one in members}
    if isinstance(kind, types.VarTupleType):
        return [known(element, kind.item_type) for element in value]
    if isinstance(kind, types.TupleType):
        return [known(element, inner) for element, inner in zip(value, kind.item_types, strict=True)]
    if isinstance(kind, types.DateTimeType):
        when = datetime.fromisoformat(value)
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    return float(value) if isinstance(kind, types.FloatType) else value


def is_exception(error: DecodeError) -> bool:
    missing = re.search(r"missing required field `(\w+)` at \$$", error.message)
    path = f"$.{missing[1]}" if missing else error.path
    return any(re.fullmatch(exception, path) for exception in EXCEPTIONS)


def check(one: Derived) -> bool:
    """Check one document; return whether the official client answers."""
    theirs = official(one.kind, one.body)
    try:
        ours = parse(REQUESTS[one.kind], 200, {}, one.body)
    except DecodeError as error:
        assert theirs is None or is_exception(error)  # noqa: PT017
        return theirs is not None
    kind = KINDS[type(ours)]
    document = without(json.loads(one.body), (part.path for part in ours.left_out))
    encoded = msgspec.json.encode(ours)
    assert known(json.loads(encoded), kind) == known(document, kind), one
    assert msgspec.json.encode(msgspec.json.decode(encoded, type=type(ours))) == encoded, one
    if theirs is not None:
        check_same_values(theirs, ours)
    return theirs is not None


def test_wherever_the_official_client_answers_ours_does() -> None:
    check_many(0, 300, SMALLEST)


@pytest.mark.parametrize("seed", range(1, 21))
@pytest.mark.parametrize("count", [pytest.param(1000, marks=LONG)])
def test_twenty_thousand_documents(seed: int, count: int) -> None:
    check_many(seed, count, WEIGHTS)


def check_many(seed: int, count: int, weights: dict[Kind, list[float]]) -> None:
    draw = random.Random(seed)
    answered = 0
    for _ in range(count):
        one = derived(draw, weights)
        try:
            answered += check(one)
        except Exception as error:
            error.add_note(str(one))
            raise
    assert answered > count / 4, "the official client, too, answers to many"
