"""Integers of more than 64 bits are refused wherever they are, and numbers are finite."""

import json
import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from msgspec import inspect as types

from qrbackends import BackendFilter, CachePolicy, Client, InvalidRequest, Limits, Memory, RetryPolicy
from qrbackends.analysis.qubits import best_chain, best_qubits
from qrbackends.errors import DecodeError
from qrbackends.models import GateProperties
from qrbackends.protocol.answers import parse
from qrbackends.protocol.requests import ANSWER_TYPES

from ..odd import odd_places
from .shapes import REQUESTS, Steps, minimal, put

TYPED = {name: types.type_info(kind) for name, kind in ANSWER_TYPES.items() if name != "defaults"}
BEYOND = [2**63, -(2**63) - 1, 10**20, 10**309, -(10**4000)]


def integers(kind: types.Type, at: Steps = ()) -> Iterator[tuple[Steps, types.IntType]]:
    """Yield the place and the type of each integer in a type."""
    match kind:
        case types.IntType():
            yield at, kind
        case types.UnionType():
            for one in kind.types:
                yield from integers(one, at)
        case types.StructType():
            for field in kind.fields:
                yield from integers(field.type, (*at, field.encode_name))
        case types.VarTupleType():
            yield from integers(kind.item_type, (*at, 0))


PLACES = [(name, at) for name, kind in TYPED.items() for at, _ in integers(kind)]


def with_number(resource: str, at: Steps, number: Any) -> bytes:
    kind = TYPED[resource]
    assert isinstance(kind, types.StructType)
    return json.dumps(put(minimal(kind), kind, at, "@")).encode().replace(b'"@"', str(number).encode(), 1)


@pytest.mark.parametrize(("resource", "at"), PLACES)
def test_an_integer_beyond_64_bits_is_told(resource: str, at: Steps) -> None:
    place = "$" + "".join("[0]" if step == 0 else f".{step}" for step in at)
    for number in BEYOND:
        assert odd_places(REQUESTS[resource], with_number(resource, at, number)) == (place,)
    for number in (2**63 - 1, -(2**63), 0):
        assert odd_places(REQUESTS[resource], with_number(resource, at, number)) == ()


def test_every_integer_is_bounded() -> None:
    assert len(PLACES) > 30
    for kind in TYPED.values():
        assert all((one.ge, one.le) == (-(2**63), 2**63 - 1) for _, one in integers(kind))


NUMBERS: list[tuple[str, Steps, str]] = [
    ("properties", ("qubits", 0, 0, "value"), "$.qubits[0][0].value"),
    ("configuration", ("dt",), "$.dt"),
    ("configuration", ("rep_times", 0), "$.rep_times[0]"),
    ("status", ("length_queue",), "$.length_queue"),
]


@pytest.mark.parametrize("number", ["1e309", "-1e999999", "1" + "0" * 309, "1" * 100_000])
def test_a_number_that_is_not_finite_is_told(number: str) -> None:
    for resource, at, place in NUMBERS:
        assert odd_places(REQUESTS[resource], with_number(resource, at, number)) == (place,)
    assert math.isfinite(
        parse(REQUESTS["configuration"], 200, {}, with_number("configuration", ("dt",), "1e308")).dt
    )


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "-NaN"])
def test_a_literal_that_is_no_number_is_told_as_what_it_is(literal: str) -> None:
    bodies = [(resource, with_number(resource, at, literal)) for resource, at, _ in NUMBERS]
    bodies.append(("backends", b'{"devices":[],"x":[%s]}' % literal.encode()))
    for resource, body in bodies:
        with pytest.raises(DecodeError, match=rf"holds {literal.lstrip('-')}, which is no number") as caught:
            parse(REQUESTS[resource], 200, {}, body)
        assert not any((caught.value.malformed, caught.value.retryable, caught.value.outage))
        with pytest.raises(DecodeError) as caught:
            parse(REQUESTS[resource], 200, {}, body.replace(literal.encode(), literal.encode() + b"s"))
        assert caught.value.malformed


@pytest.mark.parametrize("qubit", [-1, 2**31, "-1", str(2**31), "9" * 4000, "9" * 5000, "x", ""])
def test_a_gate_on_what_is_no_qubit_s_number_is_an_error(qubit: int | str) -> None:
    gate = GateProperties("cz", (0, qubit), ())
    with pytest.raises(DecodeError, match="qubit of gate 'cz'"):
        _ = gate.on
    assert GateProperties("cz", (0, "7"), ()).on == (0, 7)
    assert GateProperties("cz", (), ()).on == ()


@pytest.mark.anyio
async def test_numbers_of_numpy_are_taken_wherever_a_whole_number_is(client: Client) -> None:
    name = "synthetic_falcon_27"
    five: Any
    half: Any
    five, half = np.int64(5), np.float32(0.5)  # for type checkers, no `int` and no `float`
    configuration, properties = await client.configuration(name), await client.properties(name)
    chosen = best_qubits(configuration, properties, five)
    assert len(chosen.qubits) == 5
    assert len(best_chain(configuration, properties, five).qubits) == 5
    assert properties.t1(five) == properties.t1(5)
    (pair,) = chosen.couplings[:1]
    entangler = properties.native_entangler or ""
    assert properties.gate_error(entangler, np.array(pair)) == properties.gate_error(entangler, pair)
    assert await client.least_busy(min_qubits=five)
    assert BackendFilter(min_qubits=five)
    assert client.watch(threshold=five) is not None
    assert RetryPolicy(attempts=five, base=five).attempts == 5
    assert Limits(per_region=five, body=five).body == 5
    assert CachePolicy(max_bytes=five, status=half).max_bytes == 5
    assert Memory(five * 1000) is not None
    wrong: Any
    for wrong in (True, np.bool_(True), 5.0, np.float64(5), "5", np.array([5]), None):
        for refusing in (
            partial(best_qubits, configuration, properties, wrong),
            partial(client.watch, threshold=wrong),
            partial(RetryPolicy, attempts=wrong),
            partial(Limits, per_region=wrong),
            partial(Memory, wrong),
        ):
            with pytest.raises((InvalidRequest, ValueError), match="whole number"):
                refusing()
