"""The accounted size of decoded answers, against what they really take."""

import gzip
import re
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import pytest

from qrbackends import BackendConfiguration, BackendDefaults, BackendProperties, DecodeError, Request
from qrbackends.cache.entry import Entry
from qrbackends.cache.footprint import retained_size
from qrbackends.cache.memory import Memory
from qrbackends.emulator import SnapshotFleet
from qrbackends.emulator.devices.fleets import DocumentKind
from qrbackends.protocol.answers import parse
from qrbackends.protocol.validators import Validators
from qrbackends.transport.body import Wire

from ..models.shapes import REQUESTS, dense, repeated
from ..traced_memory import taken

pytest.importorskip("qiskit_ibm_runtime")
NAMES = SnapshotFleet().names
SOME = NAMES[::14]


def look_up(value: Any) -> None:
    """Let a document build its index."""
    if isinstance(value, BackendProperties):
        assert value.working_qubits() is not None
        assert value.gate_names is not None
    elif isinstance(value, BackendDefaults):
        assert len(value) >= 0
    elif isinstance(value, BackendConfiguration):
        assert value.gates == () or value.gate(value.gates[0].name)


def ratio(resource: Any, body: bytes) -> float:
    """Return the accounted size of an answer, cached, over its real one."""
    request = Request(resource, None if resource == "backends" else "b")
    memory = Memory(share=1.0)
    packed = gzip.compress(body, 1)

    def cached() -> Any:
        value = parse(request, 200, {}, body)
        look_up(value)
        own = msgspec.structs.replace(request, fields=request.fields)
        wire = Wire(bytes(bytearray(packed)), "gzip")
        validators = Validators(f'"{packed[-8:].hex()}"')
        size = retained_size(body, value, wire.data)
        memory.put(
            memory.epoch(("s" * 64, own)),
            Entry(value, 0.0, 1e12, 1e12, size, wire=wire, validators=validators),
        )
        return value

    real, value = taken(cached)
    return retained_size(body, value, packed) / real


def retained(resource: Any, body: bytes) -> int:
    value = parse(Request(resource, "b"), 200, {}, body)
    return retained_size(body, value)


def compact(body: bytes) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(body))


def padded(body: bytes) -> bytes:
    """Return a compact body with blanks, tabs and line ends around each mark that is outside of texts."""
    outside = re.split(rb'("(?:[^"\\]|\\.)*")', compact(body))
    outside[::2] = [re.sub(rb"([\[\]{},:])", b"\t \r\n    \\1     ", part) for part in outside[::2]]
    return b"".join(outside)


SHAPES: dict[str, Callable[[bytes], bytes]] = {
    "compact": compact,
    "pretty": lambda body: msgspec.json.format(body, indent=2),
    "wide": lambda body: msgspec.json.format(body, indent=8),
    "padded": padded,
}


def documents(name: str) -> list[tuple[str, bytes]]:
    fleet = SnapshotFleet()
    kinds: tuple[DocumentKind, ...] = ("configuration", "properties")
    recorded = {kind: fleet.build(fleet.find(kind, name, None, None, 0.0)) for kind in kinds}
    return list(recorded.items())


def check_size(name: str, small: int) -> None:
    for kind, body in documents(name):
        for shape, shaped in SHAPES.items():  # the service sends it compact
            if shape != "compact" and len(body) > small:
                continue
            text = shaped(body)
            known = ratio(kind, text)
            blank = retained(kind, text) <= len(text) + 1200  # then it counts as much as its text is long
            assert 0.75 <= known <= 1.25 or (blank and known > 1), (kind, shape)


@pytest.mark.parametrize("name", SOME)
def test_the_size_of_real_documents_is_known_to_a_quarter(name: str) -> None:
    check_size(name, small=100_000)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_the_size_of_all_real_documents_is_known_to_a_quarter(name: str) -> None:
    check_size(name, small=10**9)


def test_the_size_of_lists_is_known_to_a_quarter() -> None:
    best = {"value": 0.0, "gate": "cz", "qubits": [300, 301], "unit": ""}
    devices = [
        {
            "name": f"ibm_{number}",
            "status": {"name": "online", "reason": "available"},
            "is_simulator": False,
            "qubits": 156,
            "clops": {"type": "hardware", "value": 250000},
            "processor_type": {"family": "Heron", "revision": "2"},
            "queue_length": 1000 + number,
            "performance_metrics": {"two_q_error_best": best | {"value": 0.001 * number}},
        }
        for number in range(50)
    ]
    assert 0.75 <= ratio("backends", msgspec.json.encode({"devices": devices})) <= 1.25


def test_small_answers_are_not_forgotten() -> None:
    body = b'{"state":true,"status":"active","message":"","length_queue":3000,"backend_version":"1.2.3"}'
    assert 0.6 <= ratio("status", body) <= 1.7


def test_what_a_memory_holds_is_within_its_bound_whatever_the_shape_of_the_bodies() -> None:
    bound, random = 400_000, Random(7)
    known = [body for name in SOME for kind, body in documents(name) if kind == "properties"]
    recorded = [body for body in known if len(body) < 100_000]
    bodies = [SHAPES[random.choice([*SHAPES])](random.choice(recorded)) for _ in range(8)]
    request = Request("properties", "b")

    def filled() -> Memory:
        memory = Memory(bound, share=1.0, clock=lambda: 0.0)
        for number, body in enumerate(bodies):
            value = parse(request, 200, {}, body)
            look_up(value)
            entry = Entry(value, 0.0, 1.0, 1.0, retained_size(body, value))
            memory.put(memory.epoch(("s" * 64, Request("properties", f"b{number}"))), entry)
        return memory

    real, memory = taken(filled)
    assert memory.evictions > 0
    assert real <= bound, "not more than it may take"
    assert real >= 0.6 * memory.bytes, "and no less than half, because of large accounts"


PROPERTIES = b'{"backend_name":"","backend_version":"","last_update_date":"2026-01-01T00:00:00Z",%s}'
CONFIGURATION = b'{"backend_name":"","backend_version":"","n_qubits":5,"basis_gates":[],%s}'
VALUE = b'{"date":"","name":"","unit":"","value":0}'
LISTS = b'"qubits":[[%s]],"gates":[],"general":[],"general_qlists":[{"name":"","qubits":[%%s]}]'
STARTS = {
    PROPERTIES[:50]: "properties",
    CONFIGURATION[:44]: "configuration",
    b'{"devices"': "backends",
    b'{"length_queue"': "status",
    b'{"a"': "defaults",
}
DENSE = {
    "values": (PROPERTIES % b'"qubits":[[%s]],"gates":[],"general":[]', VALUE),
    "qubits": (PROPERTIES % b'"qubits":[%s],"gates":[],"general":[]', b"[]"),
    "gates": (
        PROPERTIES % b'"qubits":[],"gates":[%s],"general":[]',
        b'{"gate":"","qubits":[],"parameters":[]}',
    ),
    "numbers": (
        PROPERTIES % b'"qubits":[],"gates":[{"gate":"","qubits":[%s],"parameters":[]}],"general":[]',
        b"999",
    ),
    "lists": (PROPERTIES % (LISTS % b""), b"999"),
    "negative lists": (PROPERTIES % (LISTS % b""), b"-9"),
    "lists beside values": (PROPERTIES % (LISTS % b",".join([VALUE] * 2000)), b"999"),
    "general": (PROPERTIES % b'"qubits":[],"gates":[],"general":[%s]', b'"ab"'),
    "blanks": (PROPERTIES % b'"qubits":[],"gates":[],"general":["%s"]', b" " * 99),
    "euros": (PROPERTIES % b'"qubits":[],"gates":[],"general":["%s"]', "a\u20ac".encode()),
    "escapes": (PROPERTIES % b'"qubits":[],"gates":[],"general":["%s"]', b"\\ud83d\\ude00aaaaaaaaaaaaaaa"),
    "map": (CONFIGURATION % b'"gates":[],"meas_map":[%s]', b"[0]"),
    "large map": (CONFIGURATION.replace(b":5,", b":1121,") % b'"gates":[],"coupling_map":[%s]', b"[999,998]"),
    "mapping": (CONFIGURATION % b'"gates":[],"qubit_channel_mapping":[%s]', b'["a","b"]'),
    "spaced mapping": (CONFIGURATION % b'"gates": [],"qubit_channel_mapping":[%s]', b'["a","b"]'),
    "mapping beside blanks": (
        CONFIGURATION % b'\n"gates":[],"description":"%b","qubit_channel_mapping":[%%s]' % (b" " * 300_000),
        b'["a","b"]',
    ),
    **{
        name: (CONFIGURATION % b'"gates":[],"%b":[%%s]' % name.encode(), b"[1,2,3]")
        for name in ("qubit_lo_range", "meas_lo_range", "acquisition_latency", "conditional_latency")
    },
    "one escape": (
        PROPERTIES % b'"qubits":[],"gates":[],"general":["%s\\ud83d\\ude00"]',
        b"a" * 99,
    ),
    "tags": (CONFIGURATION % b'"gates":[],"tags":[%s]', b'"a"'),
    "delays": (CONFIGURATION % b'"gates":[],"rep_delays":[%s]', b"0.5"),
    "configured gates": (CONFIGURATION % b'"gates":[%s]', b'{"name":""}'),
    "channels": (CONFIGURATION % b'"gates":[],"channels":{"a":[%s]}', b"[]"),
    "signatures": (CONFIGURATION % b'"gates":[],"instruction_signatures":[%s]', b'{"name":""}'),
    "description": (CONFIGURATION % b'"gates":[],"description":"%s"', b" " * 99),
    "devices": (b'{"devices":[%s]}', b'{"name":"","status":{"name":""},"queue_length":999}'),
    "status": (b'{"length_queue":1,"message":"%s"}', b" " * 99),
    "open objects": (b'{"a":[%s]}', b"{}"),
    "open pairs": (b'{"a":[%s]}', b'{"a":1}'),
    "open numbers": (b'{"a":[%s]}', b"1.5"),
    "open texts": (b'{"a":[%s]}', b'"ab"'),
}


@pytest.mark.parametrize("name", DENSE)
def test_not_even_the_densest_bodies_take_much_more_than_is_accounted(name: str) -> None:
    document, element = DENSE[name]
    separator = b"" if document.count(b'"%s"') else b","
    resource = next(one for start, one in STARTS.items() if document.startswith(start))
    assert ratio(resource, document.replace(b"%s", separator.join([element] * 3000))) >= 0.7


def test_whatever_can_be_decoded_is_accounted_for() -> None:
    accounted = []
    for depth in range(700, 1000):  # laid out for people, and nested deeper and deeper
        nested = b'\n"gates":[],"x":' + b"[" * depth + b"]" * depth
        try:
            accounted.append(retained("configuration", CONFIGURATION % nested))
        except DecodeError:
            break
    assert len(accounted) > 100
    assert accounted == sorted(accounted)


@pytest.mark.parametrize("resource", sorted(REQUESTS))
def test_no_array_of_any_answer_takes_much_more_than_is_accounted(resource: str) -> None:
    for name, place, head, element, tail in dense():
        if name == resource:
            body = repeated(head, element, tail, 12_000)
            request = REQUESTS[resource]

            def decoded(request: Request = request, body: bytes = body) -> Any:
                value = parse(request, 200, {}, body)
                look_up(value)
                return value

            real, value = taken(decoded)
            assert retained_size(body, value) >= 0.6 * real, (place, element)
